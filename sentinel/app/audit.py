"""The audit of a baseline: which series, their history, what ours expected then, and what statsmodels says in its child.

Reads the store beside whoever writes it. How many series, how long each and all together are bounded, and what a bound left out is said.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Model, Profile, fit_fourier_or_profile, fit_profile
from sentinel.core.baseline.profile import DAY_NS
from sentinel.core.incidents import primary
from sentinel.core.model import Incident, WindowBlock
from sentinel.pipeline.fitting import HistoryReader, read_history
from sentinel.pipeline.models import ModelFailedError
from sentinel.ports import SeriesRow

INCIDENTS_MAX = 1000
TOP_MAX = 50
LIMIT_S = 60.0
TOTAL_S = 600.0
_ASKED_DAYS = 21
"""Of the history, on which ours is asked what it expected: three of each weekday."""

FITS: dict[Model, Callable[..., Profile]] = {
    Model.PROFILE: fit_profile,
    Model.FOURIER: fit_fourier_or_profile,
}


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
        days: of history that was looked at; 0 without any.
        found: see `sentinel.audit.examine`; None when it could not be examined.
        why_not: why, then.
    """

    chosen: Chosen
    days: float = 0.0
    found: dict[str, Any] | None = None
    why_not: str = ""


@dataclass(slots=True, kw_only=True)
class Audit:
    """A whole audit.

    Attributes:
        model: what ours is.
        end_ns: end of the history that was looked at; 0 without any.
        series: those audited, most paged first.
        notes: what a bound left out.
    """

    model: Model
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
        if (members[row.key] if pattern is None else fnmatchcase(str(row.key), pattern))
    ]
    found.sort(key=lambda one: (-one.paged_count, -one.member_count, one.row.series_id))
    return found[:top]


def audit(
    reader: AuditReader,
    examine: Examine,
    *,
    top: int,
    pattern: str | None,
    model: Model = Model.PROFILE,
    total_s: float = TOTAL_S,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Audit:
    """Audit the series that paged most.

    Raises:
        StoreError: the store cannot be read.
    """
    result = Audit(model=model)
    incidents = reader.incidents(limit=INCIDENTS_MAX)
    if len(incidents) == INCIDENTS_MAX:
        result.notes.append(f"only the newest {INCIDENTS_MAX} incidents were counted")
    chosen = choose(reader.series(), incidents, top=top, pattern=pattern)
    ends = [end_ns for step_ns, _, end_ns in reader.history_span() if step_ns == BIN_NS]
    if not chosen or not ends:
        result.series = [Audited(chosen=one, why_not="no history is stored") for one in chosen]
        return result
    result.end_ns = max(ends)
    ids = np.array(sorted(one.row.series_id for one in chosen), np.int64)
    history = read_history(reader, ids, now_ns=result.end_ns)
    deadline_s = monotonic_s() + total_s
    unreached = 0
    for one in chosen:
        left_s = min(LIMIT_S, deadline_s - monotonic_s())
        if left_s <= 0:
            unreached += 1
            continue
        result.series.append(_audited(one, history, examine, model=model, limit_s=left_s))
    if unreached:
        result.notes.append(
            f"the time of {total_s:g} s was used up: {unreached} series were not looked at"
        )
    return result


def _audited(
    one: Chosen, history: WindowBlock | None, examine: Examine, *, model: Model, limit_s: float
) -> Audited:
    if history is None:
        return Audited(chosen=one, why_not="no history is stored")
    own = _own(history, one.row.series_id)
    if own is None:
        return Audited(chosen=one, why_not="no history is stored")
    days = own.window_count * BIN_NS / DAY_NS
    try:
        found = examine(
            np.ascontiguousarray(own.value[:, 0]),
            expected=expected_then(own, model),
            per_day=DAY_NS // BIN_NS,
            start_ns=own.start_ns,
            limit_s=limit_s,
        )
    except ModelFailedError as error:
        return Audited(chosen=one, days=days, why_not=f"{_TOLD[error.reason]}: {error}")
    return Audited(chosen=one, days=days, found=found)


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


def expected_then(own: WindowBlock, model: Model) -> NDArray[np.float32]:
    """What ours expected of the last weeks, fitted anew at each midnight from what came before; float32[T]."""
    expected = np.full(own.window_count, np.nan, np.float32)
    for first_ns in _midnights(own):
        fit = FITS[model](own, at_ns=first_ns, version=0, horizon_ns=DAY_NS)
        first = (first_ns - own.start_ns) // own.step_ns
        part = expected[first : first + len(fit.grid)]
        part[:] = fit.grid[: len(part), 0]
    return expected


def _midnights(own: WindowBlock) -> Iterator[int]:
    last_ns = (own.end_ns - 1) // DAY_NS * DAY_NS
    first_ns = max(last_ns - (_ASKED_DAYS - 1) * DAY_NS, -(-own.start_ns // DAY_NS) * DAY_NS)
    yield from range(first_ns, last_ns + 1, DAY_NS)
