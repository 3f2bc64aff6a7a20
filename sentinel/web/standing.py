"""Where a process stands, in a few sentences for people: what it waits for, what it hears, what it can judge.

One place says it, so that the facts and the parts of a page, each right by itself, are read as one story:

    not ready           what it waits for
    a part fails        which, first of all
    no window yet       when the first one is decided, or that it should have been
    no series           nothing is heard, and where to look
    series, no fit      what holds without a past, and what a past would give
    series, a fit       how many are judged by it, and what the others wait for
"""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.core.model import Reason
from sentinel.runtime.component import HealthStatus
from sentinel.web.health import iso_time
from sentinel.web.sources import LatestVerdicts, Status

_NAMED_MAX = 3
_PATIENCE_NS = 10 * 10**9
"""A first window that is late by no more than this is not worth a word."""


def worst_of(status: Status) -> HealthStatus:
    """How the process is: as its worst part, and failing where it is not ready."""
    states = {health.status for health in status.components.values()}
    if not status.ready or HealthStatus.FAILING in states:
        return HealthStatus.FAILING
    return HealthStatus.DEGRADED if HealthStatus.DEGRADED in states else HealthStatus.OK


def word_of(status: Status) -> str:
    """The same in a word or three, as `sentinel check ready` says it."""
    if not status.ready:
        return "not ready"
    return {
        HealthStatus.FAILING: "not well",
        HealthStatus.DEGRADED: "ready, with less than it should",
        HealthStatus.OK: "ready",
    }[worst_of(status)]


def standing(status: Status, latest: LatestVerdicts | None, *, now_ns: int) -> str:
    """The sentences; `latest` is the last window that was decided, None before the first."""
    if not status.ready:
        return f"Not ready: {'; '.join(status.waiting_for) or 'it starts'}."
    told = _trouble(status)
    if status.role == "collect":
        told.append(
            "What it hears goes to the service's scorer as windows, and is judged and told of there."
        )
    elif latest is None:
        told.append(_before_the_first(status, now_ns))
    elif not latest.keys:
        told.append(
            "Windows are decided, and no series is in the last one: nothing is heard. Is telemetry sent here, and do the parts below"
            " reach what they ask? sentinel check ready says what is reachable, with the configuration given."
        )
    else:
        told += _of_series(status, latest)
    return " ".join(told)


def _trouble(status: Status) -> list[str]:
    failing = [
        name
        for name, health in sorted(status.components.items())
        if health.status is HealthStatus.FAILING
    ]
    if not failing:
        return []
    return [f"Not all of it works: {_named(failing)} {_verb(len(failing), 'fail')}, see below."]


def _before_the_first(status: Status, now_ns: int) -> str:
    due_ns = status.first_decided_ns
    if due_ns is None:
        return "No window is decided yet."
    if now_ns > due_ns + _PATIENCE_NS:
        return (
            f"No window is decided yet, though the first was due at {_clock(due_ns)}: the parts below say why,"
            " or the machine had no time for it."
        )
    return (
        f"It has just started: the first window is decided at {_clock(due_ns)}. The one that ran at the start is left out, because it was"
        " seen only in part. Until then there are no series, and that is no fault."
    )


def _of_series(status: Status, latest: LatestVerdicts) -> list[str]:
    reasons = latest.verdicts.reason[0]
    count = len(latest.keys)
    heard = f"{count:,} series {_verb(count, 'are', 'is')} heard."
    if status.fit_version is None:
        return [
            heard,
            "No baseline is in effect yet, so none is judged by what is usual: limits that need no past hold from the first window on. What"
            " to expect is known after a day, and how far from it is far after 30 hours; where a past was given, within minutes.",
        ]
    no_history = int((reasons == Reason.NO_HISTORY).sum())
    no_scale = int((reasons == Reason.NO_SCALE).sum())
    if not no_history and not no_scale:
        return [heard, "All of them are known to the baseline, and judged by what is usual."]
    told = [heard]
    if no_scale:
        told.append(
            f"Of {no_scale:,} it is known what to expect, and not yet how far from it is far: six windows tell where a past was given,"
            " and 30 hours where none was."
        )
    if no_history:
        told.append(f"Of {no_history:,} too little of a past is known to expect anything.")
    if (judged := count - no_history - no_scale) > 0:
        told.append(f"The other {judged:,} {_verb(judged, 'are', 'is')} judged by what is usual.")
    told.append("Limits that need no past hold for all.")
    return told


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _verb(count: int, many: str, one: str = "") -> str:
    """The verb as the number asks for it.

    >>> _verb(1, "fail"), _verb(2, "fail"), _verb(1, "are", "is")
    ('fails', 'fail', 'is')
    """
    if count != 1:
        return many
    return one or f"{many}s"


def _clock(time_ns: int) -> str:
    return f"{iso_time(time_ns)[11:19]} UTC"
