"""Goal: what stands beside verdicts is written as Prometheus reads it, and a storm makes no page without end.

Method: values only; Debian's Prometheus reads the page in tests/integration/web.
"""

from __future__ import annotations

import math
from dataclasses import replace

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_of
from prometheus_client.parser import text_string_to_metric_families as text_of

from sentinel.core.model import (
    Exemplar,
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    NamedCalls,
    Scope,
    SeriesKey,
    ServiceVersion,
    Severity,
)
from sentinel.web import Told
from sentinel.web.told import INCIDENTS_MAX, MEMBERS_MAX, TOLD_METRICS, told_lines

SECOND_NS = 10**9
HOSTILE = 'a"b\\c\nd'
EDGE = Scope("ledger-edge", "edge", HOSTILE)
POSTER = Scope("ledger-poster", "database", "COMMIT transactions")


def member(number: int, *, at_s: int) -> Member:
    return Member(
        series_id=number,
        key=SeriesKey("ledger-edge", "edge", f"route-{number}", "latency"),
        direction=1,
        first_ns=at_s * SECOND_NS,
        last_ns=at_s * SECOND_NS,
        peak_score=2.0,
        value=1.0,
        expected=0.1,
        lower=-math.inf,
        upper=0.2,
    )


def incident(number: int, *members: Member) -> Incident:
    return Incident(
        incident_id=f"id-{number}",
        group="ledger-edge",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=1000 * SECOND_NS + number,
        paged_ns=1010 * SECOND_NS,
        members=members,
        first_mover=FirstMover(
            service="ledger-poster",
            stage="database",
            route="COMMIT transactions",
            signal="latency",
            at_ns=990 * SECOND_NS,
            lead_s=12.5,
        ),
    )


def named(scope: Scope, *, trace_id: str, duration_s: float) -> NamedCalls:
    key = SeriesKey(*scope, "latency")
    newest = Exemplar(
        trace_id=trace_id, key=key, time_ns=1_005_250 * 10**6, duration_s=duration_s, error=False
    )
    return NamedCalls(count=3, newest=newest)


TOLD = Told(
    incidents=(incident(1, member(2, at_s=1003), member(1, at_s=1000)),),
    calls={
        (EDGE, False): named(EDGE, trace_id="ab" * 16, duration_s=0.25),
        (EDGE, True): named(EDGE, trace_id="cd" * 16, duration_s=2.0),
        (POSTER, False): named(POSTER, trace_id="ef" * 16, duration_s=0.5),
    },
    versions=(ServiceVersion(service="ledger-edge", version=HOSTILE, since_ns=7 * SECOND_NS),),
)


def page(told: Told, *, openmetrics: bool, scopes: tuple[Scope, ...] = (EDGE, EDGE)) -> str:
    return b"".join(told_lines(told, scopes, openmetrics=openmetrics)).decode()


def test_openmetrics_carries_the_trace_of_the_slowest_call_as_exemplar() -> None:
    text = page(TOLD, openmetrics=True) + "# EOF\n"
    families = {one.name: one for one in openmetrics_of(text)}  # type: ignore[no-untyped-call]
    assert {name.removesuffix("_total") for name in TOLD_METRICS} == set(families)
    calls = families["sentinel_named_calls"].samples
    assert [(one.labels["outcome"], one.value) for one in calls] == [("ok", 3.0), ("failed", 3.0)]
    assert calls[0].labels == {**EDGE._asdict(), "outcome": "ok"}
    exemplar = calls[0].exemplar
    assert (exemplar.labels, exemplar.value) == ({"trace_id": "ab" * 16}, 0.25)
    assert float(exemplar.timestamp) == 1005.25


def test_text_says_the_same_without_exemplars() -> None:
    text = page(TOLD, openmetrics=False)
    assert "trace_id" not in text
    values = {
        (one.name, *one.labels.values()): one.value
        for family in text_of(text)
        for one in family.samples
    }
    assert (
        values[
            "sentinel_incident_start_timestamp_seconds", "id-1", "ledger-edge", "anomaly", "page"
        ]
        == 1000.0
    )
    mover = ("id-1", "ledger-poster", "database", "COMMIT transactions", "latency")
    assert values["sentinel_incident_first_mover_lead_seconds", *mover] == 12.5
    assert (
        values["sentinel_service_version_start_timestamp_seconds", "ledger-edge", HOSTILE] == 7.0
    )
    members = [
        (key[4], value)
        for key, value in values.items()
        if key[0] == "sentinel_incident_member_start_timestamp_seconds"
    ]
    # Whoever stood out first stands first.
    assert members == [("route-1", 1000.0), ("route-2", 1003.0)]


def test_an_incident_without_a_clear_first_mover_names_none() -> None:
    told = replace(TOLD, incidents=(replace(TOLD.incidents[0], first_mover=None),))
    assert "first_mover" not in page(told, openmetrics=False)


def test_of_a_storm_the_newest_are_told_and_what_is_left_out_is_said() -> None:
    members = [member(number, at_s=1000 + number) for number in range(MEMBERS_MAX + 3)]
    many = tuple(incident(number, *members) for number in range(INCIDENTS_MAX + 2))
    text = page(replace(TOLD, incidents=many), openmetrics=False)
    lines = text.splitlines()
    starts = [line for line in lines if line.startswith("sentinel_incident_start")]
    assert len(starts) == INCIDENTS_MAX
    assert '"id-0"' not in text
    assert 'incident="id-51"' in text
    assert 'sentinel_incidents_left_out{what="incidents"} 2' in lines
    assert f'sentinel_incidents_left_out{{what="members"}} {3 * INCIDENTS_MAX}' in lines
    assert len([line for line in lines if line.startswith("sentinel_incident_member")]) == (
        INCIDENTS_MAX * MEMBERS_MAX
    )


def test_nothing_to_tell_is_no_metric_but_that_nothing_was_left_out() -> None:
    text = page(Told(calls={}), openmetrics=False)
    assert {line.split("{")[0] for line in text.splitlines() if line[0] != "#"} == {
        "sentinel_incidents_left_out"
    }
