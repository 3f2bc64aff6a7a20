"""Goal: the order of arrival inside a window, how calls are packed into batches, and points sent twice change nothing.

Method: hypothesis makes calls and counter readings. Calls are compared with themselves in another order and packing;
counters with a reference that does the sums one reading at a time, written as plainly as can be.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.model import NumberPoint, Scope, SeriesKey
from sentinel.core.series import Aggregator, SeriesSettings
from tests.support.batches import START_NS, Call, at, calls, number, numbers

SCOPES = [Scope(service, "edge", route) for service in ("a", "b") for route in ("/x", "/y")]
JOBS = SeriesKey("ledger", "metrics", "all", "jobs")

Closed = dict[tuple[int, SeriesKey], tuple[str, float, bool]]

call = st.tuples(
    st.sampled_from(SCOPES),
    st.floats(0, 29.9),
    st.floats(0, 100),
    st.booleans(),
)


def closed_after(batches: list[list[Call]]) -> Closed:
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    for batch in batches:
        if batch:
            aggregator.add(calls(batch), at(30))
    found: Closed = {}
    for window in aggregator.close(at(36)).windows:
        for position, key in enumerate(window.keys):
            found[window.start_ns, key] = (
                float(window.value[position]).hex(),
                float(window.weight[position]),
                bool(window.heard[position]),
            )
        if window.histograms is not None:
            weight = sum(window.weight[position] for position in window.histograms.row)
            assert weight == window.histograms.count.sum()
    return found


@given(st.lists(call, max_size=60), st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_and_packing_change_nothing(given_calls: list[Call], rng: object, size: int) -> None:
    shuffled = list(given_calls)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    packed = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    assert closed_after(packed) == closed_after([given_calls])


@given(st.lists(call, min_size=1, max_size=60))
def test_every_call_is_counted_once(given_calls: list[Call]) -> None:
    found = closed_after([given_calls])
    total = sum(weight for (_, key), (_, weight, _) in found.items() if key.signal == "traffic")
    assert total == len(given_calls)


reading = st.tuples(st.integers(0, 29_999), st.integers(0, 1000), st.sampled_from([-1000, -500]))


def reference_rate(points: list[NumberPoint]) -> dict[int, float]:
    """The gain a second of each window by its start, one reading at a time; none where a fall came after one was left out."""
    last: NumberPoint | None = None
    gain: dict[int, float] = {}
    took_ns: dict[int, int] = {}
    unknown: set[int] = set()
    before_ns = 0
    for point in sorted(points, key=lambda each: (each.time_ns, each.start_ns, each.value)):
        if last is not None and point.time_ns == last.time_ns:
            continue
        if last is not None:
            window = point.time_ns - point.time_ns % (10 * 10**9)
            fall = last.value - point.value
            rounding = fall > 0 and point.start_ns == last.start_ns and fall < 0.001 * last.value
            if rounding:
                change = 0.0
                point = number(
                    (point.time_ns - START_NS) / 1e9,
                    last.value,
                    start_s=(point.start_ns - START_NS) / 1e9,
                )
            else:
                change = point.value if fall > 0 else -fall
                if fall > 0 and 0 < 1.5 * before_ns < point.time_ns - last.time_ns:
                    unknown.add(window)
            gain[window] = gain.get(window, 0.0) + change
            before_ns = point.time_ns - last.time_ns
            took_ns[window] = took_ns.get(window, 0) + before_ns
        last = point
    return {
        window: gain[window] / (took_ns[window] / 1e9) for window in gain if window not in unknown
    }


@given(st.lists(reading, max_size=25), st.randoms(use_true_random=False), st.integers(1, 3))
def test_counters_agree_with_the_reference_in_any_order_and_sent_again(
    readings: list[tuple[int, int, int]], rng: object, copies: int
) -> None:
    points = [
        number(milliseconds / 1000, float(value), start_s=float(start_s))
        for milliseconds, value, start_s in readings
    ]
    sent = points * copies
    rng.shuffle(sent)  # type: ignore[attr-defined]
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    for point in sent:
        aggregator.add(numbers(point), at(30))
    found: dict[int, float] = {}
    for window in aggregator.close(at(36)).windows:
        if JOBS in window.keys and not np.isnan(window.value[window.keys.index(JOBS)]):
            found[window.start_ns] = float(window.value[window.keys.index(JOBS)])
    expected = {key: float(np.float32(rate)) for key, rate in reference_rate(points).items()}
    assert found.keys() == expected.keys()
    for start_ns, rate in expected.items():
        assert abs(found[start_ns] - rate) <= 1e-6 * max(1.0, abs(rate))
