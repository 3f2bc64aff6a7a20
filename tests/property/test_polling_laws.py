"""Goal: targets are spread over their interval, whatever they are called and however long it is, and a restart moves none.

Method: names as people and machines give them, numbered and drawn; how many fall into each tenth of the interval.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.runtime.polling.component import place_ns

SECOND_NS = 10**9
COUNT = 400
INTERVALS_S = (1, 10, 15, 60, 300, 3600)
PATTERNS = (
    "{}",
    "pod-{}",
    "10.0.0.{}:9100",
    "orders-{:04}",
    "payments-7d9c6b5f4-{:x}",
    "{}.shop.example",
)


def tenths(places_ns: list[int], interval_ns: int) -> list[int]:
    counts = [0] * 10
    for place in places_ns:
        counts[10 * place // interval_ns] += 1
    return counts


@pytest.mark.parametrize("interval_s", INTERVALS_S)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_numbered_names_are_spread_evenly(pattern: str, interval_s: int) -> None:
    """Every target with an interval of a minute was asked in its first four seconds: remainders of 32 bits, in nanoseconds."""
    interval_ns = interval_s * SECOND_NS
    names = [pattern.format(number) for number in range(COUNT)]
    counts = tenths(
        [place_ns("scrapers.prometheus", name, interval_ns=interval_ns) for name in names],
        interval_ns,
    )
    # Forty in each if all were alike; chance alone has a standard deviation of six.
    assert min(counts) >= 40 - 4 * 6
    assert max(counts) <= 40 + 4 * 6


@given(
    st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=20),
    st.integers(SECOND_NS, 86_400 * SECOND_NS),
)
def test_a_place_is_in_the_interval_and_stays(names: list[str], interval_ns: int) -> None:
    for name in names:
        place = place_ns("scrapers.nats", name, interval_ns=interval_ns)
        assert 0 <= place < interval_ns
        assert place == place_ns("scrapers.nats", name, interval_ns=interval_ns)
        # A longer interval leaves it in the same part of it.
        longer = place_ns("scrapers.nats", name, interval_ns=6 * interval_ns)
        assert 0 <= longer - 6 * place <= 6


def test_scrapers_of_one_name_are_apart() -> None:
    places = {
        place_ns(scraper, "main", interval_ns=SECOND_NS)
        for scraper in ("scrapers.kong", "scrapers.nats", "scrapers.postgres")
    }
    assert len(places) == 3
