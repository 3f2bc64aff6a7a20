"""What `/metrics/series` tells beside verdicts: open incidents, calls worth a look with their traces, new versions of services.

These carry names of incidents, traces and versions, so they stand on the page that asks for the read token, and every one is
bounded: an incident that has ended is no series any more, and of a storm the newest are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sentinel.core.model import Incident, NamedCalls, Scope, ServiceVersion
from sentinel.runtime.verdict_metrics import quoted

INCIDENTS_MAX = 50
MEMBERS_MAX = 20

_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldMetric:
    """One of these metrics.

    Attributes:
        type: `gauge` or `counter`.
        labels: in the order they are written.
        help: what it means.
    """

    type: str
    labels: tuple[str, ...]
    help: str


_PLACE = ("service", "stage", "route")
INCIDENT = "sentinel_incident_start_timestamp_seconds"
MEMBER = "sentinel_incident_member_start_timestamp_seconds"
MOVER = "sentinel_incident_first_mover_lead_seconds"
LEFT_OUT = "sentinel_incidents_left_out"
CALLS = "sentinel_named_calls_total"
VERSION = "sentinel_service_version_start_timestamp_seconds"

TOLD_METRICS: Mapping[str, ToldMetric] = {
    INCIDENT: ToldMetric(
        type="gauge",
        labels=("incident", "service", "kind", "severity"),
        help=f"When an open incident began (Unix); of the {INCIDENTS_MAX} newest.",
    ),
    MEMBER: ToldMetric(
        type="gauge",
        labels=("incident", *_PLACE, "signal"),
        help=f"When a series of an open incident first stood out (Unix); of each the {MEMBERS_MAX} first.",
    ),
    MOVER: ToldMetric(
        type="gauge",
        labels=("incident", *_PLACE, "signal"),
        help="By how much the series that moved first was ahead of the next, where there is a clear one; it is no cause.",
    ),
    LEFT_OUT: ToldMetric(
        type="gauge",
        labels=("what",),
        help="Open incidents, and members of those told, beyond these bounds.",
    ),
    CALLS: ToldMetric(
        type="counter",
        labels=(*_PLACE, "outcome"),
        help="Calls that windows named because they were the first, the slowest or failed; in OpenMetrics the slowest of the last window is its exemplar, with its duration in seconds.",
    ),
    VERSION: ToldMetric(
        type="gauge",
        labels=("service", "version"),
        help="Since when a service names a version that it did not have before (Unix): its `service.version`.",
    ),
}
"""The metrics by name, in the order of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told; a snapshot, so that a page can be written in slices.

    Attributes:
        incidents: those that are open, oldest first, with every member.
        calls: by place and whether they failed.
        versions: see there.
    """

    incidents: tuple[Incident, ...] = ()
    calls: Mapping[tuple[Scope, bool], NamedCalls]
    versions: tuple[ServiceVersion, ...] = ()


def told_lines(told: Told, scopes: Iterable[Scope], *, openmetrics: bool) -> Iterator[bytes]:
    """The page's lines, a metric at a time; calls only of the places in `scopes`."""
    shown = told.incidents[-INCIDENTS_MAX:]
    samples: dict[str, list[str]] = {
        INCIDENT: [_incident_line(one) for one in shown],
        MEMBER: [line for one in shown for line in _member_lines(one)],
        MOVER: [line for one in shown for line in _mover_lines(one)],
        LEFT_OUT: list(_left_out_lines(told.incidents, shown)),
        CALLS: list(_call_lines(told.calls, scopes, exemplars=openmetrics)),
        VERSION: [_version_line(one) for one in told.versions],
    }
    for name, lines in samples.items():
        if lines:
            text = _head(name, openmetrics=openmetrics) + "".join(lines)
            # A lone surrogate cannot be sent; it stands for a byte that was not text to begin with.
            yield text.encode("utf-8", "replace")


def _head(name: str, *, openmetrics: bool) -> str:
    metric = TOLD_METRICS[name]
    # OpenMetrics declares a counter without its ending.
    family = name.removesuffix("_total") if openmetrics else name
    return f"# HELP {family} {metric.help}\n# TYPE {family} {metric.type}\n"


def _incident_line(incident: Incident) -> str:
    of = (incident.incident_id, incident.group, incident.kind, incident.severity)
    return _line(INCIDENT, of, _seconds(incident.opened_ns))


def _member_lines(incident: Incident) -> Iterator[str]:
    members = sorted(incident.members, key=lambda one: (one.first_ns, one.rank, one.series_id))
    for member in members[:MEMBERS_MAX]:
        key = member.key
        of = (incident.incident_id, key.service, key.stage, key.route, key.signal)
        yield _line(MEMBER, of, _seconds(member.first_ns))


def _mover_lines(incident: Incident) -> Iterator[str]:
    mover = incident.first_mover
    if mover is not None:
        of = (incident.incident_id, mover.service, mover.stage, mover.route, mover.signal)
        yield _line(MOVER, of, f"{mover.lead_s:.9g}")


def _left_out_lines(all_open: tuple[Incident, ...], shown: tuple[Incident, ...]) -> Iterator[str]:
    members = sum(max(0, len(one.members) - MEMBERS_MAX) for one in shown)
    yield _line(LEFT_OUT, ("incidents",), str(len(all_open) - len(shown)))
    yield _line(LEFT_OUT, ("members",), str(members))


def _call_lines(
    calls: Mapping[tuple[Scope, bool], NamedCalls], scopes: Iterable[Scope], *, exemplars: bool
) -> Iterator[str]:
    for scope in dict.fromkeys(scopes):
        for failed, outcome in ((False, "ok"), (True, "failed")):
            named = calls.get((scope, failed))
            if named is None:
                continue
            value = str(named.count)
            if exemplars:
                newest = named.newest
                value += (
                    f' # {{trace_id="{newest.trace_id}"}} {newest.duration_s:.9g}'
                    f" {_seconds(newest.time_ns)}"
                )
            of = (scope.service, scope.stage, scope.route, outcome)
            yield _line(CALLS, of, value)


def _version_line(version: ServiceVersion) -> str:
    return _line(VERSION, (version.service, version.version), _seconds(version.since_ns))


def _line(name: str, values: tuple[str, ...], value: str) -> str:
    names = TOLD_METRICS[name].labels
    labels = ",".join(f"{label}={quoted(text)}" for label, text in zip(names, values, strict=True))
    return f"{name}{{{labels}}} {value}\n"


def _seconds(at_ns: int) -> str:
    whole, rest = divmod(at_ns, _SECOND_NS)
    return f"{whole}.{rest // 10**6:03d}"
