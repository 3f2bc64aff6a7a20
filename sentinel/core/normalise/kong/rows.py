"""Rows of Kong's http-log to the columns of a batch: its calls, and what else the records tell by series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sentinel.core.model import CallColumns, CallExemplar, EventColumns, Scope, SeriesKey
from sentinel.core.normalise.kong import names as kong_names


class Row(NamedTuple):
    """One record.

    Attributes:
        identity: the same when the record is sent again.
        end_ns: when its call ended.
        scope: where it was.
        duration_s: how long it took, NaN when that is not known.
        failed: whether it failed.
        severity, event, text: as a log record; text is "" below WARN.
        trace_id: 32 hexadecimal digits, or "".
        events: what else it tells, by series; the value is NaN where it is only counted.
        otlp: the record as OTLP, or b"".
    """

    identity: bytes
    end_ns: int
    scope: Scope
    duration_s: float
    failed: bool
    severity: int
    event: str
    text: str
    trace_id: str
    events: tuple[tuple[SeriesKey, float], ...]
    otlp: bytes


def calls_of(rows: Sequence[Row]) -> CallColumns:
    """Their calls; the log is taken to tell of every one."""
    numbers: dict[Scope, int] = {}
    index = np.array([numbers.setdefault(row.scope, len(numbers)) for row in rows], np.int32)
    return CallColumns(
        scopes=tuple(numbers),
        scope_index=index,
        end_ns=np.array([row.end_ns for row in rows], np.int64),
        duration_s=np.array([row.duration_s for row in rows], np.float64),
        error=np.array([row.failed for row in rows], np.bool_),
        exemplars=tuple(_exemplars(rows, index.tolist())),
        complete=True,
    )


def _exemplars(rows: Sequence[Row], index: Sequence[int]) -> Iterable[CallExemplar]:
    """The first and the slowest traced call of each place and outcome."""
    chosen: dict[tuple[int, bool], tuple[int, int]] = {}
    for at, row in enumerate(rows):
        if not row.trace_id or math.isnan(row.duration_s):
            continue
        name = (index[at], row.failed)
        first, slowest = chosen.get(name, (at, at))
        if row.end_ns < rows[first].end_ns:
            first = at
        if row.duration_s > rows[slowest].duration_s:
            slowest = at
        chosen[name] = (first, slowest)
    for (place, failed), pair in chosen.items():
        for at in sorted(set(pair)):
            yield CallExemplar(
                scope_index=place,
                trace_id=rows[at].trace_id,
                end_ns=rows[at].end_ns,
                duration_s=rows[at].duration_s,
                error=failed,
            )


def events_of(rows: Sequence[Row]) -> EventColumns | None:
    """What else they tell by series; None when that is nothing."""
    numbers: dict[SeriesKey, int] = {}
    index: list[int] = []
    time_ns: list[int] = []
    value: list[float] = []
    for row in rows:
        for key, number in row.events:
            index.append(numbers.setdefault(key, len(numbers)))
            time_ns.append(row.end_ns)
            value.append(number)
    if not index:
        return None
    # Named although nothing of the kind came: what has always been 0 can be strange from its first time on.
    for scope in dict.fromkeys(
        row.scope for row in rows if row.scope.stage == kong_names.STAGE_EDGE
    ):
        for signal in kong_names.OUTCOMES:
            numbers.setdefault(SeriesKey(*scope, signal), len(numbers))
    for key in [key for key in numbers if key.signal == kong_names.REQUESTS]:
        numbers.setdefault(SeriesKey(*key.scope, kong_names.RATE_LIMITED), len(numbers))
    return EventColumns(
        keys=tuple(numbers),
        key_index=np.array(index, np.int32),
        time_ns=np.array(time_ns, np.int64),
        value=np.array(value, np.float64),
    )
