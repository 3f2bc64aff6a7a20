"""Calls that one metric counts, by their outcome, and another one times: made into one distribution each.

Kong counts requests by their code and times them in a histogram that knows no code. What both gained in one scrape is of
the same calls, so each failed call of the counter is one of the histogram's. Which one is not known, and nothing asks: the
latency of a place is that of all its calls. The slowest are taken for the failed ones, so that the choice is always the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sentinel.core.model import Scope
from sentinel.core.series.call_sources.stage_calls import Family, Gain
from sentinel.core.stats import log_linear


def with_times(gains: Iterable[Gain]) -> list[Gain]:
    """The gains with the durations of those that only time calls put on those that count them, scope by scope.

    Where nothing counts, what times them counts as well. Calls without a duration have none that is known; durations
    without a call are calls that did not fail.
    """
    counted: dict[tuple[Scope, Family], list[Gain]] = {}
    timing: dict[tuple[Scope, Family], list[Gain]] = {}
    for gain in gains:
        found = timing if gain.point.times_only else counted
        found.setdefault((gain.point.scope, gain.point.stream.family), []).append(gain)
    joined: list[Gain] = []
    for name, own in counted.items():
        joined += _joined(own, timing[name]) if name in timing else own
    for name, own in timing.items():
        if name not in counted:
            joined += own
    return joined


def _joined(counted: list[Gain], timing: list[Gain]) -> list[Gain]:
    bucket, left = log_linear.merge(
        *(gain.histogram for gain in timing if gain.histogram is not None)
    )
    left = left.copy()
    made = []
    # Failed ones first, and in an order that does not depend on how the points came.
    for gain in sorted(counted, key=lambda gain: (not gain.point.error, repr(gain.point.stream))):
        taken = _taken_from_the_top(left, round(gain.value))
        left -= taken
        missing = round(gain.value) - int(taken.sum())
        filled = np.flatnonzero(taken)
        own = (bucket[filled], taken[filled])
        if missing > 0:
            untimed = np.array([log_linear.UNTIMED], np.int16), np.array([missing], np.int64)
            own = log_linear.merge(own, untimed)
        made.append(replace(gain, histogram=own))
    if over := int(left.sum()):
        filled = np.flatnonzero(left)
        made.append(
            replace(timing[0], value=float(over), histogram=(bucket[filled], left[filled]))
        )
    return made


def _taken_from_the_top(count: log_linear.Counts, wanted: int) -> log_linear.Counts:
    """How many of each bucket are taken, the highest first, so that they are `wanted`, or all there are.

    >>> _taken_from_the_top(np.array([5, 2, 1]), 4).tolist()
    [1, 2, 1]
    """
    above = np.cumsum(count[::-1])[::-1] - count
    taken: log_linear.Counts = np.clip(wanted - above, 0, count)
    return taken
