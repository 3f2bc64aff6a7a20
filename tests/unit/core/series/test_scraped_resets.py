"""Goal: a process that began anew while its page was not read is counted from the first page after it on, all its streams alike.

Method: pages by hand, one a window; what a window says is the assertion.
"""

from __future__ import annotations

import math

import pytest

from sentinel.core.series import Aggregator, SeriesSettings
from tests.support.batches import START_NS, at
from tests.support.pages import Numbers, PageMaker

WELL, ILL = "r1/well", "r1/ill"


def rates(pages: dict[int, Numbers], *, starts_s: dict[int, float]) -> list[dict[str, float]]:
    """What each window says of either counter, given its page."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    maker = PageMaker()
    found: list[dict[str, float]] = []
    for window in range(max(pages) + 1):
        if window in pages:
            start_s = starts_s.get(window)
            told = None if start_s is None else dict.fromkeys(pages[window], start_s)
            batch = maker.batch(10 * window + 5, pages[window], starts_s=told)
            aggregator.add(batch, at(10 * window + 6))
        (closed,) = aggregator.close(at(10 * window + 15)).windows
        values = zip(closed.keys, closed.value.tolist(), strict=True)
        found.append({key.scope.route: value for key, value in values})
    return found


PAGES: dict[int, Numbers] = {
    0: {WELL: 100.0, ILL: 1.0},
    1: {WELL: 150.0, ILL: 1.0},
    # Fewer failures than that before: they did not fall.
    13: {WELL: 50.0, ILL: 3.0},
    14: {WELL: 100.0, ILL: 3.0},
}


def test_a_restart_while_a_page_was_not_read_is_no_rate() -> None:
    found = rates(PAGES, starts_s={})
    assert found[1] == {"well": pytest.approx(5.0), "ill": 0.0}
    assert all(math.isnan(value) for window in found[2:14] for value in window.values())
    assert found[14] == {"well": pytest.approx(5.0), "ill": 0.0}


def test_a_page_that_tells_when_it_began_counts_from_then() -> None:
    found = rates(PAGES, starts_s={0: -500.0, 1: -500.0, 13: 125.0, 14: 125.0})
    assert found[13] == {"well": pytest.approx(5.0), "ill": pytest.approx(0.3)}
    assert found[14] == {"well": pytest.approx(5.0), "ill": 0.0}
