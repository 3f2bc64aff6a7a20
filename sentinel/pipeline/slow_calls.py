"""The share of slow calls of each place as a series of its own, made from a window's histograms when it closes.

It is made before the window is decided and stored, so that whatever is decided once more, after a restart or in a preview, is
decided on the same numbers and needs neither histograms nor the bounds of then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sentinel.core.baseline import NO_BOUND, SlowBounds, slow_shares
from sentinel.core.model import SIGNAL_SLOW, Kind, SeriesKey
from sentinel.core.series import ClosedWindow


def with_slow_calls(
    window: ClosedWindow, bounds: SlowBounds | None, ids: Mapping[SeriesKey, int]
) -> ClosedWindow:
    """The window with a share of slow calls beside each latency that has a bound at its hour.

    Args:
        window: as it was closed.
        bounds: what counts as slow; None adds nothing.
        ids: of the series that the store knows.
    """
    if bounds is None:
        return window
    latencies = np.flatnonzero(window.kind == Kind.LATENCY)
    named = np.fromiter((ids.get(window.keys[at], -1) for at in latencies), np.int64)
    place = np.minimum(np.searchsorted(bounds.series, named), len(bounds.series) - 1)
    bound = np.where(bounds.series[place] == named, bounds.at(window.start_ns)[place], NO_BOUND)
    told = np.flatnonzero(bound != NO_BOUND)
    if not told.size:
        return window
    value = np.full(len(latencies), np.nan, np.float32)
    weight = np.zeros(len(latencies), np.float32)
    histograms = window.histograms
    if histograms is not None:
        # One window: the number of a row is that of its series.
        at = np.searchsorted(latencies, histograms.row)
        value[at], weight[at] = slow_shares(histograms, bound[at].astype(np.uint16))
    late = window.weight[latencies] < 0
    weight[late] = window.weight[latencies][late]
    value[late] = np.nan
    return replace(
        window,
        keys=(
            *window.keys,
            *(window.keys[one]._replace(signal=SIGNAL_SLOW) for one in latencies[told].tolist()),
        ),
        kind=np.append(window.kind, np.full(told.size, int(Kind.SLOW), window.kind.dtype)),
        value=np.append(window.value, value[told]),
        weight=np.append(window.weight, weight[told]),
        heard=np.append(window.heard, window.heard[latencies[told]]),
    )
