"""Goal: a business that rests at weekends is not paged for resting, and a fault on such a day is still found.

Method: weeks of made traffic at 5-minute windows, half to a tenth of it at weekends, replayed through the code that
decides live. The first three weeks teach what a weekend is; after them no page at all, and one on a halved Saturday noon.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind
from sentinel.pipeline.replay import PlainSeries, replay

pytestmark = pytest.mark.timeout(300)

BIN_S = 300
DAY_S = 86_400
WEEKS = 6
TAUGHT_DAYS = 21
MONDAY_S = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp())
TIME_S = MONDAY_S + np.arange(WEEKS * 7 * DAY_S // BIN_S) * BIN_S
FAULT_S = MONDAY_S + 33 * DAY_S + 11 * 3600
"""11:00 on the fifth Saturday."""


def calls(at_weekends: float, seed: int, *, fault: bool = False) -> np.ndarray:
    """Calls a second: working hours, a night of a fifth, and noise of five percent beside that of counting."""
    hour = TIME_S % DAY_S / 3600
    is_weekend = (TIME_S - MONDAY_S) // DAY_S % 7 >= 5
    shape = 0.2 + 1 / (1 + np.exp(-(hour - 8) * 2)) / (1 + np.exp((hour - 18) * 2))
    expected = 60 * shape * np.where(is_weekend, at_weekends, 1.0)
    if fault:
        expected *= np.where((TIME_S >= FAULT_S) & (TIME_S < FAULT_S + 7200), 0.4, 1.0)
    rng = np.random.default_rng(seed)
    own = np.exp(0.05 * rng.standard_normal(len(TIME_S)))
    return np.asarray(rng.poisson(expected * own * BIN_S) / BIN_S)


def test_weekends_bring_no_page_and_a_fault_on_one_is_found_at_once() -> None:
    """In one replay, because each costs seconds."""
    values = {
        "half": calls(0.5, 1),
        "a fifth": calls(0.2, 2),
        "a tenth": calls(0.1, 3),
        "faulty": calls(0.5, 4, fault=True),
    }
    replayed = replay(
        [
            PlainSeries(name=name, time_ns=TIME_S * 10**9, value=value)
            for name, value in values.items()
        ],
        kind=Kind.TRAFFIC,
        settings=DecisionSettings(),
    )
    taught_s = MONDAY_S + TAUGHT_DAYS * DAY_S
    found = [
        page for page in replayed.pages if page.start_s >= taught_s and page.reason == "opened"
    ]
    assert [page.series for page in found] == ["faulty"]
    assert FAULT_S <= found[0].start_s <= FAULT_S + 3 * BIN_S
