"""The words and the identity of a page: what a person reads, and what nobody may slip into it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.core.incidents import (
    ANNOTATIONS_BYTES_MAX,
    IncidentSettings,
    alert_labels,
    incident_id_of,
    page_of,
)
from sentinel.core.incidents.text import quantity
from sentinel.core.model import (
    Exemplar,
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    LogLine,
    Member,
    Page,
    PageReason,
    SeriesKey,
    Severity,
)

ROOT = Path(__file__).parents[4]
T0_NS = 1_790_000_000_000_000_000
EDGE = SeriesKey("payments", "edge", "POST /v1/transfers", "latency")
DATABASE = SeriesKey("payments", "database", "UPDATE accounts", "latency")
NAN = float("nan")


def member(key: SeriesKey, value: float, expected: float = 0.12, **changes: object) -> Member:
    made = Member(
        series_id=1,
        key=key,
        direction=1,
        first_ns=T0_NS,
        last_ns=T0_NS,
        peak_score=3.0,
        value=value,
        expected=expected,
        lower=-0.01,
        upper=0.25,
        weight=420.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


INCIDENT = Incident(
    incident_id="00ff00ff00ff00ff",
    group="payments",
    kind=IncidentKind.ANOMALY,
    severity=Severity.PAGE,
    state=IncidentState.OPEN,
    opened_ns=T0_NS,
    paged_ns=T0_NS + 10_000_000_000,
    members=(member(DATABASE, 8.2, peak_score=9.0), member(EDGE, 2.41)),
    first_mover=FirstMover(
        service="payments",
        stage="database",
        route="UPDATE accounts",
        signal="latency",
        at_ns=T0_NS - 20_000_000_000,
        lead_s=20.0,
    ),
    exemplars=(
        Exemplar(trace_id="ab" * 16, key=EDGE, time_ns=T0_NS, duration_s=2.6, error=False),
    ),
    log_lines=(
        LogLine(
            service="poster",
            time_ns=T0_NS,
            severity=17,
            event="lock_timeout",
            body="could not obtain lock on accounts",
        ),
    ),
)
SETTINGS = IncidentSettings(
    next_steps=("sentinel incidents {incident_id}", "trace {trace_id}", "logs of {service}")
)


def page(incident: Incident, reason: PageReason = PageReason.OPENED, count: int = 2) -> Page:
    return page_of(incident, reason=reason, sequence=0, member_count=count, settings=SETTINGS)


def test_a_page_says_what_since_when_how_far_who_first_and_what_next() -> None:
    made = page(INCIDENT, count=7).annotations
    assert made["summary"] == (
        "payments: edge POST /v1/transfers is slow: 2.41 s, expected 120 ms (band 0 ms to 250 ms), "
        "since 2026-09-21 14:13:20 UTC"
    )
    assert made["first_mover"].startswith(
        "Moved first: payments database UPDATE accounts (latency) at 2026-09-21 14:13:00 UTC, "
        "20 s before the next stage."
    )
    assert "Also: database UPDATE accounts is slow: 8.2 s" in made["description"]
    assert "And 5 more series." in made["description"]
    assert made["traces"] == f"{'ab' * 16} (slow, 2.60 s, payments edge POST /v1/transfers)"
    assert made["logs"] == "[ERROR] poster lock_timeout: could not obtain lock on accounts"
    assert made["next"].splitlines() == [
        "sentinel incidents 00ff00ff00ff00ff",
        f"trace {'ab' * 16}",
        "logs of payments",
    ]
    assert len(made["description"].splitlines()) <= 10


def test_a_first_move_after_since_is_not_told_as_a_contradiction() -> None:
    """A page said "since 21:09:18" and "moved first at 21:09:20": one is a window's start, the other a call's end."""
    assert INCIDENT.first_mover is not None
    inside = replace(INCIDENT.first_mover, at_ns=T0_NS + 2_000_000_000)
    made = page(replace(INCIDENT, first_mover=inside)).annotations
    assert "14:13:22 UTC ('since' is the start of a window), 20 s before" in made["first_mover"]
    assert "start of a window" not in page(INCIDENT).annotations["first_mover"]


@pytest.mark.parametrize(
    ("signal", "value", "words"),
    [
        ("errors", -1.5e-41, "0 %"),
        ("errors", 1.16e-10, "0 %"),
        ("errors", 0.000_06, "0.006 %"),
        ("traffic", -0.3, "0 calls/s"),
        ("latency", 1e-12, "0 ms"),
        ("balance", -2.0, "-2"),
        ("balance", 1.5e-41, "0"),
        ("balance", 2e-9, "2e-09"),
    ],
)
def test_what_arithmetic_left_over_is_not_shown_as_a_quantity(
    signal: str, value: float, words: str
) -> None:
    """Pages expected -1.5e-41 and 1.16e-08 %."""
    assert quantity(value, EDGE._replace(signal=signal)) == words


def test_a_score_beyond_all_measure_has_no_digits() -> None:
    far = replace(INCIDENT, members=(member(EDGE, 2.41, peak_score=4.59e7),))
    assert page(far, count=1).annotations["score"] == ">1000"
    assert page(INCIDENT).annotations["score"] == "3.0"


def test_a_resolved_page_says_how_long_it_lasted() -> None:
    over = replace(INCIDENT, state=IncidentState.RESOLVED, resolved_ns=T0_NS + 5400 * 10**9)
    made = page(over, PageReason.RESOLVED)
    assert made.status == "resolved"
    assert made.ends_ns == over.resolved_ns
    assert made.annotations["summary"] == (
        "payments: back to normal after 1 h 30 min (edge POST /v1/transfers was slow: 2.41 s at worst, "
        "expected then 120 ms (band 0 ms to 250 ms), since 2026-09-21 14:13:20 UTC)"
    )
    description = made.annotations["description"]
    assert "Also: database UPDATE accounts was slow: 8.2 s at worst" in description
    assert "Last out of the ordinary at 2026-09-21 14:13:20 UTC, quiet since." in description


def test_what_is_over_is_not_told_as_if_it_were_going_on() -> None:
    """A resolved page said "calls fail", "is slow", "has left its band so far", "the source sends nothing"."""
    over = replace(
        INCIDENT, state=IncidentState.RESOLVED, resolved_ns=T0_NS + 600 * 10**9, first_mover=None
    )
    for signal, direction, value in (
        ("errors", 1, 0.5),
        ("errors", -1, 0.0),
        ("latency", 1, 9.0),
        ("latency", -1, 0.01),
        ("traffic", 1, 900.0),
        ("traffic", -1, 2.0),
        ("traffic", -1, 0.0),
        ("pending", 1, 7.0),
    ):
        one = member(EDGE._replace(signal=signal), value, direction=direction)
        made = page(replace(over, members=(one,)), PageReason.RESOLVED, count=1).annotations
        text = f"{made['summary']} {made['description']}"
        assert re.search(r" (failed|was|were) ", made["summary"])
        assert not re.search(r"\b(is|are|fail|has|so far)\b", text), text
        assert "Only the edge stage was affected." in text


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(10, "payments: heard again after 10 min;"), (25 * 60, "payments: no longer watched;")],
)
def test_the_end_of_blindness_says_how_it_ended(minutes: int, words: str) -> None:
    """A ticket that "closes" left it open whether the source was back or had been given up."""
    blind = replace(
        INCIDENT,
        kind=IncidentKind.BLIND,
        state=IncidentState.RESOLVED,
        resolved_ns=T0_NS + minutes * 60 * 10**9,
        members=(),
        first_mover=None,
    )
    made = page(blind, PageReason.RESOLVED, count=0).annotations
    assert made["summary"].startswith(words)
    assert "No telemetry of it arrived" in made["description"]


def test_a_page_links_its_runbook_where_runbooks_are_served() -> None:
    assert "runbook_url" not in page(INCIDENT).annotations
    served = replace(SETTINGS, runbooks_url="https://wiki.example/runbooks")
    for kind in IncidentKind:
        made = page_of(
            replace(INCIDENT, kind=kind),
            reason=PageReason.OPENED,
            sequence=0,
            member_count=2,
            settings=served,
        )
        name = made.labels["alertname"]
        assert made.annotations["runbook_url"] == f"https://wiki.example/runbooks/{name}.md"
        assert (ROOT / "docs/runbooks" / f"{name}.md").is_file()


def test_a_blind_source_is_neither_zero_nor_late() -> None:
    blind = replace(
        INCIDENT,
        kind=IncidentKind.BLIND,
        severity=Severity.TICKET,
        members=(),
        first_mover=None,
        exemplars=(),
        log_lines=(),
    )
    made = page(blind, count=0)
    assert made.labels["alertname"] == "SentinelBlind"
    assert "blind, not heard since 2026-09-21 14:13:20 UTC" in made.annotations["summary"]
    assert "first_mover" not in made.annotations


@pytest.mark.parametrize(
    ("signal", "direction", "value", "words"),
    [
        ("errors", 1, 0.52, "calls fail at edge POST /v1/transfers: 52 %"),
        ("traffic", 1, 900.0, "more calls than usual at edge POST /v1/transfers: 900 calls/s"),
        ("traffic", -1, 1.5, "fewer calls than usual at edge POST /v1/transfers: 1.5 calls/s"),
        ("traffic", -1, 0.0, "no calls at edge POST /v1/transfers: 0 calls/s"),
        ("pending", 1, 1.5e7, "pending of edge POST /v1/transfers is high: 1.5e+07"),
        ("pending", -1, 3.0, "pending of edge POST /v1/transfers is low: 3"),
    ],
    ids=["errors", "more", "fewer", "none", "high", "low"],
)
def test_symptoms_are_in_the_users_words(
    signal: str, direction: int, value: float, words: str
) -> None:
    one = member(EDGE._replace(signal=signal), value, direction=direction)
    assert words in page(replace(INCIDENT, members=(one,)), count=1).annotations["summary"]


def test_without_a_baseline_the_guard_says_why() -> None:
    one = member(EDGE, 6.0, NAN, lower=NAN, upper=NAN, why="static guard: too slow")
    made = page(replace(INCIDENT, members=(one,), first_mover=None), count=1).annotations
    assert "6 s (static guard: too slow)" in made["summary"]
    assert made["first_mover"] == "Only the edge stage is affected so far."
    assert "expected" not in made


def test_times_are_shown_in_the_zone_too() -> None:
    zoned = replace(SETTINGS, zone_name="Europe/Berlin", zone_offsets=((0, 3600), (T0_NS, 7200)))
    made = page_of(INCIDENT, reason=PageReason.OPENED, sequence=0, member_count=2, settings=zoned)
    assert "14:13:20 UTC (16:13:20 Europe/Berlin)" in made.annotations["summary"]


def test_labels_are_identity_only_whatever_happens_to_the_incident() -> None:
    later = replace(INCIDENT, members=(member(EDGE, 99.0, peak_score=50.0),))
    assert (
        alert_labels(INCIDENT)
        == alert_labels(later)
        == {
            "alertname": "SentinelAnomaly",
            "service": "payments",
            "severity": "page",
            "sentinel_anomaly": "true",
        }
    )


@pytest.mark.parametrize(
    "bad",
    [
        "a\x00b",
        "a\x1b[31mb",
        "a\u202eb",
        "a\u2028b",
        "a\nb",
        "a\ud800b",
        "a\x7fb",
        "\u200bab",
        "x" * 100_000,
        "\U0001f4b8" * 100_000,
    ],
    ids=[
        "nul",
        "escape",
        "bidi",
        "separator",
        "newline",
        "surrogate",
        "del",
        "zero",
        "long",
        "wide",
    ],
)
def test_nothing_from_outside_reaches_a_page_raw(bad: str) -> None:
    """Alertmanager takes a NUL in a label and shows it; what we send, we clean."""
    key = SeriesKey(bad, bad, bad, bad)
    hostile = replace(
        INCIDENT,
        group=bad,
        members=tuple(member(key, 1.0, series_id=at) for at in range(50)),
        first_mover=replace(INCIDENT.first_mover, service=bad, stage=bad, route=bad),  # type: ignore[type-var]
        exemplars=(replace(INCIDENT.exemplars[0], trace_id=bad, key=key),) * 3,
        log_lines=(replace(INCIDENT.log_lines[0], body=bad, event=bad, service=bad),) * 3,
    )
    made = page(hostile, count=50)
    for text in (*made.labels.values(), *made.annotations.values()):
        assert not set(text) & set("\x00\x1b\u202e\u2028\ud800\x7f\u200b")
    assert "\n" not in made.annotations["summary"]
    assert "\n" not in made.labels["service"]
    assert made.labels["service"]
    size_bytes = sum(
        len(name.encode()) + len(text.encode()) for name, text in made.annotations.items()
    )
    assert size_bytes <= ANNOTATIONS_BYTES_MAX
    assert len(made.annotations["summary"]) <= 300


def test_ids_are_derived_from_what_and_when() -> None:
    def derived(group: str = "pay", kind: IncidentKind = IncidentKind.ANOMALY, at: int = 1) -> str:
        return incident_id_of(group=group, kind=kind, severity=Severity.PAGE, at_ns=at)

    assert derived() == derived()
    others = {derived(), derived("fx"), derived(kind=IncidentKind.GUARD), derived(at=2)}
    assert len(others) == 4
