"""The words of a page: what, since when, how far from expected, what moved first, what to type next.

Everything is text, cleaned and bounded; nothing in here is identity. The line order is the order in which a
person on a phone needs it. What is over is told in the past tense: a resolved page is often the first one that is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentinel.core.incidents.drifting import drifted, lines_of_drifts
from sentinel.core.incidents.factors import factors_of
from sentinel.core.incidents.identity import ALERT_NAMES, alert_labels, page_id_of
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.text import (
    clock_time,
    cut_bytes,
    lines,
    one_line,
    quantity,
    score_told,
    span,
)
from sentinel.core.model import (
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    SIGNAL_TRAFFIC,
    Exemplar,
    Incident,
    IncidentKind,
    LogLine,
    Member,
    Page,
    PageReason,
    PageStatus,
    Resolution,
)

SUMMARY_CHARACTERS_MAX = 300
ANNOTATIONS_BYTES_MAX = 8 * 1024
_LINE_CHARACTERS_MAX = 400
_LISTED_MEMBERS_MAX = 3
_SEVERITY_WORDS = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (1, "DEBUG"))
_LEAD_TOLD_S = 0.5
_NEW_NORMAL = {
    Resolution.ACCEPTED: "From now on this is expected. What was seen while it was open counts as history.",
    Resolution.ADOPTED: "Nobody said that it is normal, but it has lasted so long: from now on it is expected. "
    "What was seen while it was open does not count as history.",
}


def page_of(
    incident: Incident,
    *,
    reason: PageReason,
    sequence: int,
    member_count: int,
    settings: IncidentSettings,
    note: str = "",
) -> Page:
    """The page about an incident as it is now.

    Args:
        incident: with its evidence; resolved exactly when the reason is RESOLVED.
        reason: why it goes out now.
        sequence: 0 for the incident's first page.
        member_count: all series that take part, also those the incident does not list.
        settings: zone and next steps.
        note: one more line on top of the description.
    """
    resolved = reason is PageReason.RESOLVED
    return Page(
        page_id=page_id_of(incident.incident_id, sequence),
        incident_id=incident.incident_id,
        sequence=sequence,
        reason=reason,
        status=PageStatus.RESOLVED if resolved else PageStatus.FIRING,
        labels=alert_labels(incident),
        annotations=bounded(
            {
                "summary": _summary(incident, reason, settings),
                "description": _description(incident, member_count, settings, note),
                "reason": reason.value,
                "incident": incident.incident_id,
                "since": _time(incident.opened_ns, settings),
                "runbook_url": runbook_url(ALERT_NAMES[incident.kind], settings),
                **_measured(incident, settings),
                **_evidence(incident, settings),
                "next": "\n".join(_next_steps(incident, settings)),
            }
        ),
        starts_ns=incident.opened_ns,
        ends_ns=incident.resolved_ns if resolved else None,
    )


def runbook_url(alert_name: str, settings: IncidentSettings) -> str:
    """Where it is written what to do about an alert of this name; empty when that is served nowhere."""
    return f"{settings.runbooks_url}/{alert_name}.md" if settings.runbooks_url else ""


def bounded(annotations: dict[str, str]) -> dict[str, str]:
    """The annotations cleaned, without empty ones, and together no larger than a page may be.

    The summary is never cut by the common bound; what comes last gives way first.
    """
    kept: dict[str, str] = {}
    left_bytes = ANNOTATIONS_BYTES_MAX
    for name, text in annotations.items():
        if name == "summary":
            cleaned = one_line(text, characters_max=SUMMARY_CHARACTERS_MAX)
        else:
            cleaned = lines(text, characters_max=4 * 1024)
        cleaned = cut_bytes(cleaned, max(0, left_bytes - len(name)))
        if cleaned and left_bytes > len(name) + 8:
            kept[name] = cleaned
            left_bytes -= len(name) + len(cleaned.encode("utf-8"))
    return kept


def primary(incident: Incident) -> Member | None:
    """The member a person should read first: a broken guard, what users feel at the edge, then whatever is strangest.

    Of a drift's ticket it is what was told last, and of that what moved farthest.
    """
    if incident.kind is IncidentKind.DRIFT:
        return max(incident.members, key=lambda one: (one.first_ns, one.peak_score), default=None)
    symptoms = {SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_SLOW}
    return min(
        incident.members,
        key=lambda member: (
            not member.why,
            member.key.signal not in symptoms,
            member.key.stage != "edge",
            member.rank,
        ),
        default=None,
    )


def _summary(incident: Incident, reason: PageReason, settings: IncidentSettings) -> str:
    since = _time(incident.opened_ns, settings)
    service = one_line(incident.group, characters_max=60)
    member = primary(incident)
    if incident.resolved_ns is not None:
        lasted_ns = incident.resolved_ns - incident.opened_ns
        lasted = span(lasted_ns / 1e9)
        if incident.kind is IncidentKind.LATE:
            return f"{service}: its data is no longer late, after {lasted}; it was from {since} on"
        if incident.kind is IncidentKind.BLIND:
            # A ticket ends when the source is heard, when it is forgotten, or when nobody watches any more.
            if not settings.guards.enabled or lasted_ns >= settings.guards.forget_after_ns:
                return f"{service}: no longer watched; it was blind from {since} on"
            return f"{service}: heard again after {lasted}; it was blind from {since} on"
        if incident.kind is IncidentKind.DRIFT and member is not None:
            return f"{service}: {drifted(member, past=True)}; its levels have stood since"
        if incident.resolution is not Resolution.QUIET:
            return _settled(incident, service, lasted, since)
        if member is None:
            return f"{service}: back to normal after {lasted} (since {since})"
        measured = _against(member, past=True)
        return f"{service}: back to normal after {lasted} ({_symptom(member, past=True)}: {measured}, since {since})"
    if incident.kind is IncidentKind.LATE:
        return f"{service}: late, its data comes after its windows were closed, since {since}"
    if incident.kind is IncidentKind.BLIND:
        return f"{service}: blind, not heard since {since}; whether it works is not known"
    if incident.kind is IncidentKind.DRIFT and member is not None:
        return f"{service}: {drifted(member)}"
    what = "something is unusual" if member is None else _symptom(member)
    prefix = {PageReason.WORSENED: "worse: ", PageReason.REMINDER: "still: "}.get(reason, "")
    measured = "" if member is None else f": {_against(member)}"
    return f"{service}: {prefix}{what}{measured}, since {since}"


def _settled(incident: Incident, service: str, lasted: str, since: str) -> str:
    member = primary(incident)
    level = f": {incident.settled}" if incident.settled else ""
    where = "" if member is None else f" ({_place(member)}, since {since})"
    if incident.resolution is Resolution.ACCEPTED:
        by = one_line(incident.accepted_by, characters_max=60)
        return f"{service}: accepted as the new level by {by} after {lasted}{level}{where}"
    return f"{service}: adopted as the new level after {lasted}{level}{where}"


def _symptom(member: Member, *, past: bool = False) -> str:
    signal, place = member.key.signal, _place(member)
    high = member.direction >= 0
    there, now = ("there were ", "was") if past else ("", "is")
    if signal == SIGNAL_ERRORS:
        if high:
            return f"calls {'failed' if past else 'fail'} at {place}"
        return f"{there}unusually few errors at {place}"
    if signal == SIGNAL_LATENCY:
        return f"{place} {now} {'slow' if high else 'unusually fast'}"
    if signal == SIGNAL_SLOW:
        # Of the calls of an ordinary hour one in a hundred takes so long.
        if past:
            return f"too many calls were slow at {place}"
        return f"too many calls are slow at {place}"
    if signal == SIGNAL_TRAFFIC:
        how_many = "more" if high else "fewer"
        if not high and member.value == 0.0:
            return f"{there}no calls at {place}"
        return f"{there}{how_many} calls than usual at {place}"
    name = one_line(signal, characters_max=60)
    return f"{name} of {place} {now} {'high' if high else 'low'}"


def _place(member: Member) -> str:
    return one_line(f"{member.key.stage} {member.key.route}", characters_max=100)


def _against(member: Member, *, past: bool = False) -> str:
    value = quantity(member.value, member.key) + (" at worst" if past else "")
    if member.horizon_s:
        # Windows of the horizon were ordinary one by one; together they are not.
        value += f" on the mean of {member.horizon_s // 60} min"
    if math.isnan(member.expected):
        return f"{value} ({member.why})" if member.why else value
    # Value, expectation and band are those of the strangest window so far; an earlier page had another's.
    then = " then" if past else ""
    beside = f"; {member.beside}" if member.beside else ""
    return (
        f"{value}, expected{then} {quantity(member.expected, member.key)}{_band(member)}{beside}"
    )


def _guard_of(member: Member) -> str:
    # Where nothing is expected the guard stands beside the value already.
    return f"; {member.why}" if member.why and not math.isnan(member.expected) else ""


def _band(member: Member) -> str:
    if math.isnan(member.lower) or math.isnan(member.upper):
        return ""
    # A band may reach below zero because it is symmetric round the expectation; people read a share or a rate.
    lower = max(0.0, member.lower) if member.value >= 0.0 else member.lower
    if math.isinf(member.lower) and math.isinf(member.upper):
        return ""
    if math.isinf(member.upper):
        return f" (band from {quantity(lower, member.key)})"
    if math.isinf(member.lower):
        return f" (band up to {quantity(member.upper, member.key)})"
    return f" (band {quantity(lower, member.key)} to {quantity(member.upper, member.key)})"


def _description(
    incident: Incident, member_count: int, settings: IncidentSettings, note: str
) -> str:
    parts = [note] if note else []
    past = incident.resolved_ns is not None
    if incident.kind is IncidentKind.LATE:
        parts.append(
            "Its telemetry came too late to be counted: neither zero nor blind. Its open incidents stayed open."
            if past
            else "It lives and sends, but what comes is too old to be counted: neither zero nor blind. Does its exporter "
            "wait or retry, does a collector batch for long, is a clock wrong? A longer `series.lateness` takes it in. "
            "Nothing else is said about it while it is late, and its open incidents stay open."
        )
        return "\n".join(parts)
    if incident.kind is IncidentKind.BLIND:
        parts.append(
            "No telemetry of it arrived: neither zero nor late. Its open incidents stayed open."
            if past
            else "No telemetry of it arrives: neither zero nor late. Does it run, and does its exporter reach "
            "Sentinel? Nothing else is said about it while it is blind, and its open incidents stay open."
        )
        return "\n".join(parts)
    main = primary(incident)
    others = [member for member in incident.members if member is not main]
    if incident.kind is IncidentKind.DRIFT:
        parts.extend(lines_of_drifts(others, member_count - 1, past=past))
        return "\n".join(parts)
    if main is not None and main.why and not math.isnan(main.expected):
        parts.append(main.why[:1].upper() + main.why[1:])
    if main is not None and (factors := factors_of(main, settings)):
        parts.append(factors[:1].upper() + factors[1:] + ".")
    parts.extend(
        f"Also: {_symptom(member, past=past)}: {_against(member, past=past)}{_guard_of(member)}"
        for member in others[:_LISTED_MEMBERS_MAX]
    )
    more = member_count - 1 - min(len(others), _LISTED_MEMBERS_MAX)
    if more > 0:
        parts.append(f"And {more} more series.")
    if past and incident.members:
        last_ns = max(member.last_ns for member in incident.members)
        parts.append(
            f"Last out of the ordinary at {_time(last_ns, settings)}, quiet since."
            if incident.resolution is Resolution.QUIET
            else _NEW_NORMAL[incident.resolution]
        )
    parts.append(_moved_first(incident, settings))
    parts.extend(f"Trace: {_trace(exemplar)}" for exemplar in incident.exemplars[:1])
    parts.extend(f"Log: {_log_line(line)}" for line in incident.log_lines[:1])
    return "\n".join(part for part in parts if part)


def _moved_first(incident: Incident, settings: IncidentSettings) -> str:
    mover = incident.first_mover
    if mover is not None:
        where = one_line(f"{mover.service} {mover.stage} {mover.route}", characters_max=140)
        # A shorter lead is only ever told of calls that lie inside the calls of the next stage.
        lead = (
            f"{span(mover.lead_s)} before the next stage"
            if mover.lead_s >= _LEAD_TOLD_S
            else "in calls that the next stage waited for"
        )
        # A call is known by its moment; what a whole window showed is told from the window's start on.
        inside = " ('since' is the start of a window)" if mover.at_ns > incident.opened_ns else ""
        return (
            f"Moved first: {where} ({mover.signal}) at {_time(mover.at_ns, settings)}{inside}, {lead}."
            " That is an order in time, not a cause."
        )
    stages = {member.key.stage for member in incident.members}
    if len(stages) == 1:
        stage = one_line(stages.pop(), characters_max=60)
        over = incident.resolved_ns is not None
        return f"Only the {stage} stage {'was affected' if over else 'is affected so far'}."
    return "No clear first mover."


def _measured(incident: Incident, settings: IncidentSettings) -> dict[str, str]:
    member = primary(incident)
    if member is None:
        return {}
    expected = "" if math.isnan(member.expected) else quantity(member.expected, member.key)
    return {
        "value": quantity(member.value, member.key),
        "expected": f"{expected}{_band(member)}" if expected else "",
        # No verdict is behind a drift.
        "score": "" if incident.kind is IncidentKind.DRIFT else score_told(member.peak_score),
        "factors": factors_of(member, settings),
    }


def _evidence(incident: Incident, settings: IncidentSettings) -> dict[str, str]:
    drifts = incident.kind is IncidentKind.DRIFT
    return {
        "first_mover": "" if not incident.members or drifts else _moved_first(incident, settings),
        "traces": "\n".join(_trace(exemplar) for exemplar in incident.exemplars),
        "logs": "\n".join(_log_line(line) for line in incident.log_lines),
    }


def _trace(exemplar: Exemplar) -> str:
    outcome = "failed" if exemplar.error else "slow"
    where = one_line(
        f"{exemplar.key.service} {exemplar.key.stage} {exemplar.key.route}", characters_max=140
    )
    return f"{one_line(exemplar.trace_id, characters_max=32)} ({outcome}, {span_of_call(exemplar.duration_s)}, {where})"


def span_of_call(duration_s: float) -> str:
    """How long a call took, for people."""
    return f"{duration_s * 1000:.0f} ms" if duration_s < 1.0 else f"{duration_s:.2f} s"


def _log_line(line: LogLine) -> str:
    word = next((word for least, word in _SEVERITY_WORDS if line.severity >= least), "LOG")
    event = f"{line.event}: " if line.event else ""
    new = " (new)" if line.is_new else ""
    return one_line(
        f"[{word}] {line.service}{new} {event}{line.body}", characters_max=_LINE_CHARACTERS_MAX
    )


def _next_steps(incident: Incident, settings: IncidentSettings) -> list[str]:
    found: Sequence[str] = [exemplar.trace_id for exemplar in incident.exemplars]
    known = {
        "{incident_id}": incident.incident_id,
        "{service}": one_line(incident.group, characters_max=200),
        "{trace_id}": found[0] if found else "",
    }
    steps: list[str] = []
    for step in settings.next_steps:
        filled = step
        missing = False
        for placeholder, text in known.items():
            missing = missing or (placeholder in step and not text)
            filled = filled.replace(placeholder, text)
        if not missing:
            steps.append(filled)
    return steps


def _time(at_ns: int, settings: IncidentSettings) -> str:
    return clock_time(at_ns, zone_name=settings.zone_name, zone_offsets=settings.zone_offsets)
