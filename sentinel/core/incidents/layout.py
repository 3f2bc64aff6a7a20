"""Which column is what: names, services and limits of a block's series, worked out once per set of series."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.settings import GaugeGuard, GuardDirection, GuardSettings
from sentinel.core.model import OVERFLOW, Kind, SeriesKey, name_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything about a set of series that does not change from window to window.

    Attributes:
        series: int64[S], ids, ascending.
        keys: the name of each column.
        kind: int8[S].
        services: the distinct services, sorted.
        service_of: int64[S], position in `services`.
        by_service: int64[S], columns ordered by service.
        service_start: int64[K], where each service's run begins in `by_service`.
        watched: bool[K], whether silence of the service means that it is blind.
        guards: the limits it was worked out with; others need another layout.
        limit: float32[S], the guard's limit on errors, latency and gauges, infinite elsewhere.
        low: int64[...], columns that are wrong at their limit and below it.
        window_count: int64[S], for how many windows in a row a limit must be broken.
        call_count: float64[S], how many calls, of errors failed ones, that must be.
        gauge_guards: of each column of a gauge that has one.
        traffic, errors: int64[...], the columns of each.
        latency_of: of each column of a share of slow calls, that of the latency it is about.
    """

    series: NDArray[np.int64]
    keys: tuple[SeriesKey, ...]
    kind: NDArray[np.int8]
    services: tuple[str, ...]
    service_of: NDArray[np.int64]
    by_service: NDArray[np.int64]
    service_start: NDArray[np.int64]
    watched: NDArray[np.bool_]
    guards: GuardSettings
    limit: NDArray[np.float32]
    low: NDArray[np.int64]
    window_count: NDArray[np.int64]
    call_count: NDArray[np.float64]
    gauge_guards: Mapping[int, GaugeGuard]
    traffic: NDArray[np.int64]
    errors: NDArray[np.int64]
    latency_of: Mapping[int, int]

    def place_of(self, service: str) -> int | None:
        """Its position in `services`, None when no series is its."""
        at = bisect_left(self.services, service)
        return at if at < len(self.services) and self.services[at] == service else None

    def heard_services(self, heard: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether any series of each service was heard."""
        if heard.all():
            return np.ones(len(self.services), dtype=np.bool_)
        return np.logical_or.reduceat(heard[self.by_service], self.service_start)


def layout_of(
    series: NDArray[np.int64],
    kind: NDArray[np.int8],
    keys: Mapping[int, SeriesKey],
    guards: GuardSettings,
) -> Layout:
    """The layout of these series; a KeyError means that a series has no name."""
    names = tuple(keys[int(series_id)] for series_id in series)
    services = tuple(sorted({name.service for name in names}))
    position = {service: index for index, service in enumerate(services)}
    service_of = np.array([position[name.service] for name in names], dtype=np.int64)
    by_service = np.argsort(service_of, kind="stable").astype(np.int64)
    limit = np.full(len(series), np.inf, dtype=np.float32)
    limit[kind == Kind.ERRORS] = guards.error_ratio
    limit[kind == Kind.LATENCY] = guards.latency_s
    is_errors = kind == Kind.ERRORS
    window_count = np.where(is_errors, guards.error_window_count, guards.latency_window_count)
    call_count = np.where(is_errors, guards.error_failed_count, guards.latency_call_count)
    gauge_guards = _gauge_guards(names, kind, guards)
    for at, guard in gauge_guards.items():
        limit[at], window_count[at], call_count[at] = guard.limit, guard.window_count, 0.0
    low = [at for at, one in gauge_guards.items() if one.direction is GuardDirection.LOW]
    return Layout(
        series=series,
        keys=names,
        kind=kind,
        services=services,
        service_of=service_of,
        by_service=by_service,
        service_start=np.searchsorted(service_of[by_service], np.arange(len(services))),
        watched=np.array([service != OVERFLOW for service in services], dtype=np.bool_),
        guards=guards,
        limit=limit,
        low=np.array(low, dtype=np.int64),
        window_count=window_count.astype(np.int64),
        call_count=call_count.astype(np.float64),
        gauge_guards=gauge_guards,
        traffic=np.flatnonzero(kind == Kind.TRAFFIC).astype(np.int64),
        errors=np.flatnonzero(kind == Kind.ERRORS).astype(np.int64),
        latency_of=_latency_of(names, kind),
    )


def _gauge_guards(
    names: Sequence[SeriesKey], kind: NDArray[np.int8], guards: GuardSettings
) -> dict[int, GaugeGuard]:
    found: dict[int, GaugeGuard] = {}
    # A signal has few names and many series: most are asked about once.
    by_signal: dict[str, list[GaugeGuard]] = {}
    for at in np.flatnonzero(kind == Kind.GAUGE).tolist():
        key = names[at]
        if key.signal not in by_signal:
            by_signal[key.signal] = [
                one for one in guards.gauges if name_matches(key.signal, one.series.signal)
            ]
        guard = next((one for one in by_signal[key.signal] if one.matches(key)), None)
        if guard is not None:
            found[at] = guard
    return found


def _latency_of(names: Sequence[SeriesKey], kind: NDArray[np.int8]) -> dict[int, int]:
    slow = np.flatnonzero(kind == Kind.SLOW).tolist()
    if not slow:
        return {}
    at = {names[one].scope: one for one in np.flatnonzero(kind == Kind.LATENCY).tolist()}
    return {one: at[names[one].scope] for one in slow if names[one].scope in at}
