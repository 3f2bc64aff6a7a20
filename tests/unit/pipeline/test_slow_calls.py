"""Goal: a closed window gets a share of slow calls beside each latency that has a bound, and nothing else changes.

Method: windows and bounds made by hand.
"""

from __future__ import annotations

import numpy as np

from sentinel.core.baseline import NO_BOUND, SlowBounds
from sentinel.core.model import LATE_WEIGHT, HistogramBlock, Kind, SeriesKey
from sentinel.core.series import ClosedWindow
from sentinel.core.stats.log_linear import bucket_of
from sentinel.pipeline.slow_calls import with_slow_calls

HOUR_NS = 3_600_000_000_000
FAST, SLOW, BOUND = (int(bucket_of(np.array([one]))[0]) for one in (0.1, 0.9, 0.5))


def key(route: str, signal: str) -> SeriesKey:
    return SeriesKey("pay", "edge", route, signal)


KEYS = (
    key("/a", "traffic"),
    key("/a", "latency"),
    key("/b", "latency"),
    key("/c", "latency"),
    key("/d", "latency"),
)
IDS = {one: 10 + at for at, one in enumerate(KEYS)}


def window(*, has_calls: bool = True) -> ClosedWindow:
    """Ten calls at /a of which three are slow, four fast ones at /b, none at /c, late data at /d."""
    calls = HistogramBlock(
        row=np.array([1, 2], np.int32),
        offset=np.array([0, 2, 3], np.int32),
        bucket=np.array([FAST, SLOW, FAST], np.int16),
        count=np.array([7, 3, 4]),
    )
    return ClosedWindow(
        start_ns=5 * HOUR_NS,
        step_ns=10_000_000_000,
        keys=KEYS,
        kind=np.array([Kind.TRAFFIC, *[Kind.LATENCY] * 4], np.int8),
        value=np.array([1.0, 0.9, 0.1, np.nan, np.nan], np.float32),
        weight=np.array([10, 10, 4, 0, LATE_WEIGHT], np.float32),
        heard=np.array([True, True, True, True, False]),
        histograms=calls if has_calls else None,
    )


def bounds(*without: int) -> SlowBounds:
    bucket = np.full((2, 4), BOUND, np.uint16)
    bucket[:, list(without)] = NO_BOUND
    return SlowBounds(start_ns=5 * HOUR_NS, series=np.array([11, 12, 13, 14]), bucket=bucket)


def test_each_latency_with_a_bound_gets_its_share() -> None:
    whole = window()
    made = with_slow_calls(whole, bounds(), IDS)
    assert made.keys == (*KEYS, *(key(route, "slow_calls") for route in ("/a", "/b", "/c", "/d")))
    assert made.kind[5:].tolist() == [Kind.SLOW] * 4
    assert np.allclose(made.value[5:7], [0.3, 0.0])
    assert np.isnan(made.value[7:]).all()
    assert made.weight[5:].tolist() == [10, 4, 0, LATE_WEIGHT]
    assert made.heard[5:].tolist() == [True, True, True, False]
    for name in ("value", "weight", "heard", "kind"):
        mine, theirs = getattr(made, name)[:5], getattr(whole, name)
        assert mine.tobytes() == theirs.tobytes()
    assert made.histograms is whole.histograms


def test_without_a_bound_there_is_no_share() -> None:
    made = with_slow_calls(window(), bounds(1, 3), IDS)
    assert made.keys[5:] == (key("/a", "slow_calls"), key("/c", "slow_calls"))
    assert np.allclose(made.value[5], 0.3)
    for unchanged in (
        with_slow_calls(window(), None, IDS),
        with_slow_calls(window(), bounds(0, 1, 2, 3), IDS),
        # Names that the store does not know yet have learned nothing.
        with_slow_calls(window(), bounds(), {}),
    ):
        assert unchanged.keys == KEYS


def test_a_window_without_any_call_has_shares_of_none() -> None:
    made = with_slow_calls(window(has_calls=False), bounds(), IDS)
    assert len(made.keys) == 9
    assert np.isnan(made.value[5:]).all()
    assert made.weight[5:8].tolist() == [0, 0, 0]


def test_outside_the_hours_that_are_known_there_is_no_share() -> None:
    late = SlowBounds(
        start_ns=0, series=np.array([11, 12, 13, 14]), bucket=np.full((2, 4), BOUND, np.uint16)
    )
    assert with_slow_calls(window(), late, IDS).keys == KEYS
