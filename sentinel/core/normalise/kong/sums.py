"""Which series of Kong's prometheus plugin are added up to what: a request is on the page in many places.

A bucket that nothing fell into yet is not on the page, and would change where its neighbours lie when it comes. So where the
observations of a bucket are taken to be is Kong's own list of bounds, never what a page happens to have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sentinel.core.model import PointStream, Scope, StreamTable
from sentinel.core.normalise.kong import names as kong_names
from sentinel.core.normalise.kong.names import outcome_of, route_label
from sentinel.core.normalise.kong.placing import (
    STAGE_GATEWAY,
    STAGE_UPSTREAM,
    TIMES,
    Part,
    part_of,
)
from sentinel.core.normalise.kong.tiers import Tiers
from sentinel.core.normalise.labels import label_of
from sentinel.core.stats import log_linear

SIGNAL_CALLS = "kong_requests"
SERVED, FAILED = "served", "failed"
USED, TOTAL = "used", "total"
WELL, ILL = "well", "ill"
_HEALTHY = frozenset({"healthy", "healthchecks_off"})
_UNHEALTHY = frozenset({"unhealthy", "dns_error"})
_FROM_TIMES = {
    Part.KONG_TIMES: kong_names.KONG_LATENCY,
    Part.UPSTREAM_TIMES: kong_names.UPSTREAM_LATENCY,
}

_KONG_BOUNDS_MS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
_UPSTREAM_BOUNDS_MS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
_BOUNDS_MS: Mapping[Part, tuple[int, ...]] = {
    Part.KONG_TIMES: _KONG_BOUNDS_MS,
    Part.UPSTREAM_TIMES: _UPSTREAM_BOUNDS_MS,
    Part.REQUEST_TIMES: _UPSTREAM_BOUNDS_MS,
    Part.SESSION_TIMES: _UPSTREAM_BOUNDS_MS,
}
_MIDDLE_RATIO = 0.75
"""Where in a bucket of a bound that is not listed its observations are taken to be."""


class Sum(NamedTuple):
    """Something numbers of a page are added up to.

    Attributes:
        scope: its place.
        what: a signal, or one side of what is divided.
        times: whether it is a histogram.
    """

    scope: Scope
    what: str
    times: bool = False


class Summing:
    """Which cells of one table belong to which sums; grows with the table.

    Attributes:
        table: whose series it knows.
        numbers: what is added up, and its number.
        cell, number: pairs of a cell and a sum it belongs to.
        bucket_of_cell: log-linear bucket of each cell, where it is of a histogram.
        is_part: of each stream of the table that was looked at, whether it is a part.
        has_source, has_consumer: whether any request on the page names who answered it, and who asked.
    """

    def __init__(self, table: StreamTable, *, service: str, tiers: Tiers) -> None:
        self.table = table
        self.numbers: dict[Sum, int] = {}
        self.cell: list[int] = []
        self.number: list[int] = []
        self.is_part: list[bool] = []
        self.bucket_of_cell: list[int] = []
        self.has_source = False
        self.has_consumer = False
        self._sums_of_stream: list[tuple[int, ...]] = []
        self._service = service
        self._tiers = tiers

    @property
    def cell_count(self) -> int:
        """How many cells of the table are known."""
        return len(self.bucket_of_cell)

    def learn(self) -> None:
        """Look at what the table has gained."""
        table = self.table
        for stream in range(len(self.is_part), table.stream_count):
            sums = self._sums_of(table.identity[stream])
            self.is_part.append(sums is not None)
            self._sums_of_stream.append(tuple(self._number_of(each) for each in sums or ()))
        stream_of_cell = table.stream_of_cell
        for cell in range(self.cell_count, table.cell_count):
            stream = int(stream_of_cell[cell])
            self.bucket_of_cell.append(_bucket_of(table.identity[stream], table.bound[cell]))
            for number in self._sums_of_stream[stream]:
                self.cell.append(cell)
                self.number.append(number)

    def _number_of(self, each: Sum) -> int:
        return self.numbers.setdefault(each, len(self.numbers))

    def _sums_of(self, identity: PointStream) -> Sequence[Sum] | None:
        """What a series is added to; None when it is no part of anything."""
        labels = _labels_of(identity)
        part = part_of(str(identity[2]), labels)
        if part is None:
            return None
        service = self._service
        route = route_label(labels.get("route", ""))
        if part is Part.REQUESTS:
            return self._sums_of_requests(Scope(service, kong_names.STAGE_EDGE, route), labels)
        if part is Part.SESSIONS:
            side = FAILED if _code_of(labels) >= kong_names.FAILED_STATUS else SERVED
            return (Sum(Scope(service, kong_names.STAGE_STREAM, route), side),)
        if part in TIMES:
            stage = (
                kong_names.STAGE_STREAM if part is Part.SESSION_TIMES else kong_names.STAGE_EDGE
            )
            what = _FROM_TIMES.get(part, SIGNAL_CALLS)
            return (Sum(Scope(service, stage, route), what, times=True),)
        if part is Part.TARGET_HEALTH:
            state = labels.get("state", "")
            upstream = Scope(
                service, STAGE_UPSTREAM, label_of(labels.get("upstream", "")) or "all"
            )
            if state in _HEALTHY:
                return (Sum(upstream, WELL),)
            return (Sum(upstream, ILL),) if state in _UNHEALTHY else ()
        shared = label_of(labels.get("shared_dict", "")) or "all"
        side = USED if part is Part.DICT_USED else TOTAL
        return (Sum(Scope(service, STAGE_GATEWAY, shared), side),)

    def _sums_of_requests(self, scope: Scope, labels: Mapping[str, str]) -> Sequence[Sum]:
        code = _code_of(labels)
        found = [Sum(scope, FAILED if code >= kong_names.FAILED_STATUS else SERVED)]
        source = labels.get("source", "")
        outcome = ""
        if source:
            self.has_source = True
            # Each route has all of its outcomes from its first request on.
            for signal in kong_names.OUTCOMES:
                self._number_of(Sum(scope, signal))
            outcome = outcome_of(code, by_gateway=source == "kong")
            if outcome:
                found.append(Sum(scope, outcome))
        consumer = labels.get("consumer", "")
        self.has_consumer = self.has_consumer or bool(consumer)
        if self._tiers and "consumer" in labels:
            tier = self._tiers.of(usernames=[consumer] if consumer else [])
            place = Scope(scope.service, kong_names.STAGE_TIER, route_label(tier))
            found.append(Sum(place, kong_names.REQUESTS))
            if source:
                self._number_of(Sum(place, kong_names.RATE_LIMITED))
            if outcome == kong_names.RATE_LIMITED:
                at_route = Scope(
                    scope.service, kong_names.STAGE_TIER, route_label(f"{tier} {scope.route}")
                )
                found += [Sum(place, outcome), Sum(at_route, outcome)]
        return found


def _labels_of(identity: PointStream) -> dict[str, str]:
    pairs: tuple[tuple[str, str], ...] = identity[5:]  # type: ignore[assignment]  # after five other things
    return dict(pairs)


def _bucket_of(identity: PointStream, bound_ms: float) -> int:
    """The log-linear bucket for what fell under a bound of a histogram of milliseconds, and above the one before."""
    part = part_of(str(identity[2]), _labels_of(identity))
    bounds_ms = _BOUNDS_MS.get(part) if part is not None else None
    if bounds_ms is None or math.isnan(bound_ms):
        return log_linear.UNTIMED
    if math.isinf(bound_ms):
        value_ms = float(bounds_ms[-1])
    elif bound_ms in bounds_ms:
        below = bounds_ms.index(int(bound_ms)) - 1
        value_ms = (bound_ms + (bounds_ms[below] if below >= 0 else 0)) / 2
    else:
        value_ms = bound_ms * _MIDDLE_RATIO
    return int(log_linear.bucket_of(np.array([max(value_ms, 0.0) / 1000.0]))[0])


def _code_of(labels: Mapping[str, str]) -> int:
    code = labels.get("code", "")
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 3 else 0
