"""The audit of a baseline: which series, their history, what ours expected then, and what statsmodels says in its child.

Reads the store beside whoever writes it. How many series, how long each and all together are bounded, and what a bound left out is said.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.app.audit_ours import ASKED_DAYS, FitBasis, Ours
from sentinel.core.baseline import BIN_NS, LAG_DAYS, Calendar, Model, quarantined, without_habits
from sentinel.core.baseline.profile import DAY_NS
from sentinel.core.baseline.wall_clock import on_wall_clock
from sentinel.core.incidents import primary
from sentinel.core.model import Incident, SeriesKey, WindowBlock, name_matches
from sentinel.pipeline.fit_history import (
    FIT_INCIDENTS_MAX,
    HISTORY_DAYS,
    HistoryReader,
    read_history,
)
from sentinel.pipeline.fit_result import fit_from_snapshot
from sentinel.pipeline.models import Foretell, ModelFailedError
from sentinel.ports import SeriesRow

INCIDENTS_MAX = 1000
TOP_MAX = 50
LIMIT_S = 60.0
TOTAL_S = 600.0
_READ_DAYS = max(HISTORY_DAYS, ASKED_DAYS + LAG_DAYS[-1] + 3)
"""So that the first fit that is asked knows as much as it did; what statsmodels sees is `HISTORY_DAYS`."""


class AuditReader(HistoryReader, Protocol):
    """What of a store an audit reads."""

    def incidents(self, *, limit: int) -> list[Incident]:
        """The newest incidents."""
        ...

    def history_span(self) -> list[tuple[int, int, int]]:
        """Of each resolution: step, start of the first window, end of the last."""
        ...


Examine = Callable[..., dict[str, Any]]
"""`AuditChild.examine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A series that is audited: of how many incidents it was named first, and in how many it took part."""

    row: SeriesRow
    paged_count: int
    member_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was found of a series.

    Attributes:
        chosen: the series.
        model: by what ours expects it.
        days: of history that was looked at; 0 without any.
        left_out_count: windows of incidents that statsmodels was not shown.
        fits: how many of ours were asked.
        fallbacks: for how many of them the profile stood in for the model, by reason.
        found: see `sentinel.audit.examine`; None when it could not be examined.
        why_not: why, then.
    """

    chosen: Chosen
    model: Model = Model.PROFILE
    days: float = 0.0
    left_out_count: int = 0
    fits: int = 0
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    found: dict[str, Any] | None = None
    why_not: str = ""


@dataclass(slots=True, kw_only=True)
class Audit:
    """A whole audit.

    Attributes:
        zone: whose wall clock all of it is on.
        end_ns: end of the history that was looked at; 0 without any.
        series: those audited, most paged first.
        notes: what a bound left out.
    """

    zone: str
    end_ns: int = 0
    series: list[Audited] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose(
    rows: Iterable[SeriesRow], incidents: Iterable[Incident], *, top: int, pattern: str | None
) -> list[Chosen]:
    """The series that paged most; with a pattern those whose name matches it, also when they never did.

    Args:
        rows: every series.
        incidents: of which is counted who was on them.
        top: at most so many.
        pattern: for the name `service stage route signal`, as in a shell.
    """
    paged: Counter[object] = Counter()
    members: Counter[object] = Counter()
    for incident in incidents:
        members.update({member.key for member in incident.members})
        first = primary(incident)
        if first is not None:
            paged[first.key] += 1
    found = [
        Chosen(row=row, paged_count=paged[row.key], member_count=members[row.key])
        for row in rows
        if (members[row.key] if pattern is None else name_matches(str(row.key), pattern))
    ]
    found.sort(key=lambda one: (-one.paged_count, -one.member_count, one.row.series_id))
    return found[:top]


def audit(
    reader: AuditReader,
    examine: Examine,
    *,
    top: int,
    pattern: str | None,
    basis: FitBasis | None = None,
    foretell: Foretell | None = None,
    total_s: float = TOTAL_S,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Audit:
    """Audit the series that paged most, against our baseline as the live fit makes it.

    Args:
        reader: the store.
        examine: asks statsmodels.
        top: at most so many series.
        pattern: see `choose`.
        basis: what the live fit goes by; None for a fit without a configuration.
        foretell: asks statsmodels for what is expected, of series whose model is MSTL.
        total_s: for all series.
        monotonic_s: measures what it takes.

    Raises:
        StoreError: the store cannot be read.
    """
    basis = basis or FitBasis()
    result = Audit(zone=basis.calendar.zone)
    incidents = reader.incidents(limit=FIT_INCIDENTS_MAX)
    counted = incidents[:INCIDENTS_MAX]
    if len(incidents) > INCIDENTS_MAX:
        result.notes.append(f"only the newest {INCIDENTS_MAX} incidents were counted")
    rows = reader.series()
    chosen = choose(rows, counted, top=top, pattern=pattern)
    ends = [end_ns for step_ns, _, end_ns in reader.history_span() if step_ns == BIN_NS]
    if not chosen or not ends:
        result.series = [Audited(chosen=one, why_not="no history is stored") for one in chosen]
        return result
    result.end_ns = max(ends)
    result.notes += _differs_from_live(reader, basis)
    keys = {row.series_id: row.key for row in rows}
    ids = np.array(sorted(one.row.series_id for one in chosen), np.int64)
    history = read_history(reader, ids, now_ns=result.end_ns, days=_READ_DAYS)
    ours = Ours(
        reader,
        keys,
        incidents,
        asked=ids,
        end_ns=result.end_ns,
        basis=basis,
        foretell=foretell,
        monotonic_s=monotonic_s,
    )
    one_by_one = _OneByOne(
        ours=ours,
        examine=examine,
        incidents=incidents,
        keys=keys,
        calendar=basis.calendar,
        monotonic_s=monotonic_s,
    )
    deadline_s = monotonic_s() + total_s
    unreached = 0
    for one in chosen:
        left_s = min(LIMIT_S, deadline_s - monotonic_s())
        if left_s <= 0:
            unreached += 1
            continue
        result.series.append(one_by_one.audited(one, history, limit_s=left_s))
    if unreached:
        result.notes.append(
            f"the time of {total_s:g} s was used up: {unreached} series were not looked at"
        )
    return result


def _differs_from_live(reader: AuditReader, basis: FitBasis) -> list[str]:
    """A note when the newest fit was made by something else."""
    for snapshot in reader.fits(limit=1):
        try:
            fit = fit_from_snapshot(snapshot)
        except ValueError:
            break
        models = {rule.model for rule in basis.models.rules} | {Model.PROFILE}
        others = sorted(name for name, count in fit.used.items() if count and name not in models)
        told = []
        if fit.calendar and fit.calendar != basis.calendar.digest:
            told.append("follows another calendar")
        if others:
            told.append(f"expects series by {' and '.join(others)}")
        if told:
            said = f"the newest fit of the store {' and '.join(told)}"
            return [f"{said}: --config with the sidecar's configuration audits that one"]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneByOne:
    """What all series are audited with."""

    ours: Ours
    examine: Examine
    incidents: list[Incident]
    keys: Mapping[int, SeriesKey]
    calendar: Calendar
    monotonic_s: Callable[[], float]

    def audited(self, one: Chosen, history: WindowBlock | None, *, limit_s: float) -> Audited:
        """One series."""
        own = None if history is None else _own(history, one.row.series_id)
        if own is None:
            return Audited(chosen=one, why_not="no history is stored")
        begun_s = self.monotonic_s()
        expected = self.ours.expected(own, limit_s=limit_s)
        shown = self._shown(own, expected.value)
        audited = Audited(
            chosen=one,
            model=self.ours.model_of(one.row.series_id),
            days=len(shown.value) * BIN_NS / DAY_NS,
            left_out_count=shown.left_out_count,
            fits=expected.fits,
            fallbacks=expected.fallbacks,
        )
        if not len(shown.value):
            return replace(audited, why_not="all that is stored of it was an incident")
        try:
            found = self.examine(
                shown.value,
                expected=shown.expected,
                per_day=DAY_NS // BIN_NS,
                start_ns=shown.start_ns,
                zone=self.calendar.zone,
                limit_s=max(1.0, limit_s - (self.monotonic_s() - begun_s)),
            )
        except ModelFailedError as error:
            return replace(audited, why_not=f"{_TOLD[error.reason]}: {error}")
        return replace(audited, found=found)

    def _shown(self, own: WindowBlock, expected: NDArray[np.float32]) -> _Shown:
        """What statsmodels is shown: on the wall clock, without what was seen in incidents."""
        first = max(0, own.window_count - HISTORY_DAYS * DAY_NS // BIN_NS)
        marked = quarantined(self.incidents, own, self.keys, at_ns=own.end_ns)
        out = np.zeros(own.value.shape, np.bool_) if marked is None else marked
        columns = np.stack([own.value[:, 0], expected, out[:, 0].astype(np.float32)], axis=1)
        three = WindowBlock(
            start_ns=own.start_ns,
            step_ns=own.step_ns,
            series=np.arange(3),
            kind=np.zeros(3, np.int8),
            value=columns,
            weight=np.broadcast_to(np.float32(1), columns.shape),
            heard=np.broadcast_to(np.True_, columns.shape),
        ).windows(first, own.window_count)
        wall = on_wall_clock(three, self.calendar)
        value, ours = wall.value[:, 0].copy(), wall.value[:, 1]
        left_out = without_habits(
            wall.value[:, 2:3] > 0, start_ns=wall.start_ns, step_ns=wall.step_ns
        )[:, 0]
        left_out &= np.isfinite(value)
        value[left_out] = np.nan
        there = np.flatnonzero(np.isfinite(value))
        begin = int(there[0]) if len(there) else len(value)
        return _Shown(
            start_ns=wall.start_ns + begin * BIN_NS,
            value=np.ascontiguousarray(value[begin:]),
            expected=np.ascontiguousarray(ours[begin:]),
            left_out_count=int(left_out.sum()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One series from its first value on: start on the wall clock, values, what ours expected."""

    start_ns: int
    value: NDArray[np.float32]
    expected: NDArray[np.float32]
    left_out_count: int


_TOLD = {
    "history": "too little history",
    "time_limit": "statsmodels took too long",
    "failed": "statsmodels failed",
}


def _own(history: WindowBlock, series_id: int) -> WindowBlock | None:
    """The history of one series from its first value on; None when it has none."""
    own = history.select(history.series == series_id)
    there = np.flatnonzero(np.isfinite(own.value[:, 0]))
    return own.windows(int(there[0]), own.window_count) if len(there) else None
