"""The order of series in a window."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    OVERFLOW,
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_TRAFFIC,
    Kind,
    Scope,
    SeriesKey,
    kind_of_signal,
)
from sentinel.core.series.logs import STAGE_LOGS
from sentinel.core.series.slots import Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The live series: first the places of calls, three series each, then the gauges.

    Attributes:
        version: of the slots it was made from.
        scopes: slots of the live places, ascending.
        gauges: slots of the live gauges, ascending.
        keys: the series in order.
        kind: int8[S], of each.
        counted: bool[G], gauges that count things, so that no point means 0.
    """

    version: tuple[int, int]
    scopes: NDArray[np.intp]
    gauges: NDArray[np.intp]
    keys: tuple[SeriesKey, ...]
    kind: NDArray[np.int8]
    counted: NDArray[np.bool_]


def layout_of(
    scopes: Slots[Scope],
    gauges: Slots[SeriesKey],
    *,
    measured: Set[SeriesKey],
    last: Layout | None,
) -> Layout:
    """The layout of the series that are live; the last one itself when they are the same.

    Gauges that are `measured` have the kind that their signal means.
    """
    version = (scopes.version, gauges.version)
    live_scopes = np.flatnonzero(scopes.born[: scopes.width])
    live_gauges = np.flatnonzero(gauges.born[: gauges.width])
    if (
        last is not None
        and last.version == version
        and np.array_equal(last.scopes, live_scopes)
        and np.array_equal(last.gauges, live_gauges)
    ):
        return last
    names = [scopes.names[slot] for slot in live_scopes]
    gauge_keys = [key for slot in live_gauges if (key := gauges.names[slot]) is not None]
    call_keys = [
        SeriesKey(*scope, signal)
        for scope in names
        if scope is not None
        for signal in (SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY)
    ]
    kinds = [Kind.TRAFFIC, Kind.ERRORS, Kind.LATENCY] * len(live_scopes)
    kinds += [kind_of_signal(key.signal) if key in measured else Kind.GAUGE for key in gauge_keys]
    return Layout(
        version=version,
        scopes=live_scopes,
        gauges=live_gauges,
        keys=tuple(call_keys + gauge_keys),
        kind=np.array(kinds, np.int8),
        counted=np.array([key.stage in (STAGE_LOGS, OVERFLOW) for key in gauge_keys], np.bool_),
    )
