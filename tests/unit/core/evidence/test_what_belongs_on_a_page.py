"""Evidence: who moved first and when that is not clear, which traces and lines are shown, and that all is bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sentinel.core.evidence import EvidenceSettings, RecentEvidence, first_mover
from sentinel.core.evidence.first_mover import Onset
from sentinel.core.model import (
    Exemplar,
    Incident,
    IncidentKind,
    IncidentState,
    LogLine,
    Member,
    SeriesKey,
    Severity,
)

STEP_NS = 10_000_000_000
T0_NS = 1_790_000_000_000_000_000


def member(
    series_id: int, service: str, stage: str, signal: str, *, at_s: float, peak: float = 2.0
) -> Member:
    at_ns = T0_NS + round(at_s * 1e9)
    return Member(
        series_id=series_id,
        key=SeriesKey(service, stage, f"{stage} work", signal),
        direction=1,
        first_ns=at_ns,
        last_ns=at_ns,
        peak_score=peak,
        value=2.0,
        expected=1.0,
        lower=0.5,
        upper=1.5,
    )


def incident(name: str, *members: Member, kind: IncidentKind = IncidentKind.ANOMALY) -> Incident:
    return Incident(
        incident_id=name,
        group=members[0].key.service if members else name,
        kind=kind,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=min((one.first_ns for one in members), default=T0_NS),
        paged_ns=T0_NS + STEP_NS,
        members=members,
    )


def trace(
    name: str, service: str, stage: str, *, at_s: float, lasts_s: float, error: bool = False
) -> Exemplar:
    return Exemplar(
        trace_id=name * 32,
        key=SeriesKey(service, stage, f"{stage} work", "latency"),
        time_ns=T0_NS + round(at_s * 1e9),
        duration_s=lasts_s,
        error=error,
    )


def line(service: str, body: str, *, at_s: float, severity: int = 17, event: str = "") -> LogLine:
    at_ns = T0_NS + round(at_s * 1e9)
    return LogLine(service=service, time_ns=at_ns, severity=severity, event=event, body=body)


def test_the_stage_that_left_its_band_first_is_named_with_its_lead() -> None:
    edge = member(1, "pay", "edge", "latency", at_s=40)
    database = member(2, "pay", "database", "latency", at_s=10)
    whole = incident("a", edge, database)
    mover = first_mover(whole, [whole], step_ns=STEP_NS)
    assert mover is not None
    assert (mover.service, mover.stage, mover.lead_s) == ("pay", "database", 30.0)


def test_it_may_be_of_another_service_if_that_moved_in_the_same_minutes() -> None:
    here = incident("a", member(1, "pay", "edge", "latency", at_s=60))
    there = incident("b", member(2, "poster", "database", "latency", at_s=0))
    mover = first_mover(here, [there, here], step_ns=STEP_NS)
    assert mover is not None
    assert (mover.service, mover.lead_s) == ("poster", 60.0)
    long_ago = incident("b", member(2, "poster", "database", "latency", at_s=-600))
    assert first_mover(here, [long_ago, here], step_ns=STEP_NS) is None


@pytest.mark.parametrize("apart_s", [0, 10, -10], ids=str)
def test_within_one_window_nobody_moved_first(apart_s: int) -> None:
    whole = incident(
        "a",
        member(1, "pay", "edge", "latency", at_s=60),
        member(2, "pay", "database", "latency", at_s=60 + apart_s),
    )
    assert first_mover(whole, [whole], step_ns=STEP_NS) is None


def onsets(**moments_s: tuple[float, float]) -> Callable[[Member], Onset | None]:
    """Start and end of the first strange call, by stage."""

    def onset_of(member: Member) -> Onset | None:
        if member.key.stage not in moments_s:
            return None
        start_s, end_s = moments_s[member.key.stage]
        return Onset(start_ns=T0_NS + round(start_s * 1e9), end_ns=T0_NS + round(end_s * 1e9))

    return onset_of


def test_within_one_window_the_first_strange_call_tells_who_moved_first() -> None:
    """A lock fails the commits after 1.5 s and the reads, which wait longer, after 2.5 s: all in one window."""
    commit = incident("a", member(1, "poster", "database", "errors", at_s=60))
    read = incident("b", member(2, "pay", "edge", "errors", at_s=60))
    moments = onsets(database=(61.0, 62.5), edge=(61.1, 63.6))
    mover = first_mover(read, [commit, read], step_ns=STEP_NS, onset_of=moments)
    assert mover is not None
    assert (mover.service, mover.stage, round(mover.lead_s, 1)) == ("poster", "database", 1.1)
    close = onsets(database=(61.0, 62.5), edge=(61.1, 62.9))
    assert first_mover(read, [commit, read], step_ns=STEP_NS, onset_of=close) is None


def test_a_call_inside_another_moved_first_however_short_the_lead() -> None:
    whole = incident(
        "a",
        member(1, "pay", "edge", "latency", at_s=60),
        member(2, "pay", "database", "latency", at_s=60),
    )
    nested = onsets(edge=(61.0, 63.002), database=(61.001, 63.0))
    mover = first_mover(whole, [whole], step_ns=STEP_NS, onset_of=nested)
    assert mover is not None
    assert (mover.stage, round(mover.lead_s, 3)) == ("database", 0.002)


def test_one_stage_of_two_services_that_moved_together_is_one_stage() -> None:
    """A locked table fails the poster's commits and the edge's reads at the same moment: the database moved first."""
    moments = {
        ("pay", "database"): (61.0, 62.5),
        ("pay", "edge"): (61.0, 62.501),
        ("poster", "database"): (61.2, 62.7),
        ("poster", "consumer"): (61.2, 62.701),
    }

    def onset_of(member: Member) -> Onset | None:
        start_s, end_s = moments[member.key.service, member.key.stage]
        return Onset(start_ns=T0_NS + round(start_s * 1e9), end_ns=T0_NS + round(end_s * 1e9))

    pay = incident(
        "a",
        member(1, "pay", "edge", "errors", at_s=60),
        member(2, "pay", "database", "errors", at_s=60),
    )
    poster = incident(
        "b",
        member(3, "poster", "consumer", "errors", at_s=60),
        member(4, "poster", "database", "errors", at_s=60),
    )
    for page in (pay, poster):
        mover = first_mover(page, [pay, poster], step_ns=STEP_NS, onset_of=onset_of)
        assert mover is not None
        assert mover.stage == "database"
    moments["pay", "edge"] = (60.0, 62.4)
    assert first_mover(pay, [pay, poster], step_ns=STEP_NS, onset_of=onset_of) is None


def test_a_stage_alone_has_not_moved_first_however_many_series_it_has() -> None:
    whole = incident(
        "a",
        member(1, "pay", "edge", "latency", at_s=0),
        member(2, "pay", "edge", "errors", at_s=60),
        member(3, "pay", "logs", "logs_error", at_s=-60),
    )
    assert first_mover(whole, [whole], step_ns=STEP_NS) is None


def test_traces_of_the_strangest_place_first_and_failures_where_errors_are_strange() -> None:
    evidence = RecentEvidence()
    evidence.remember(
        [
            trace("a", "pay", "edge", at_s=5, lasts_s=1.0),
            trace("b", "pay", "edge", at_s=6, lasts_s=3.0),
            trace("c", "pay", "edge", at_s=7, lasts_s=0.1, error=True),
            trace("d", "pay", "database", at_s=8, lasts_s=9.0),
            trace("e", "pay", "edge", at_s=-300, lasts_s=99.0),
            trace("f", "fx", "edge", at_s=8, lasts_s=99.0),
        ],
        [],
    )
    slow = incident("a", member(1, "pay", "edge", "latency", at_s=0, peak=3.0))
    shown = evidence.attach(slow, [slow], at_ns=T0_NS + STEP_NS, step_ns=STEP_NS).exemplars
    assert [one.trace_id[0] for one in shown] == ["b", "a", "c"]
    failing = incident("a", member(1, "pay", "edge", "errors", at_s=0))
    shown = evidence.attach(failing, [failing], at_ns=T0_NS + STEP_NS, step_ns=STEP_NS).exemplars
    assert [one.trace_id[0] for one in shown] == ["c", "b", "a"]
    both = replace(
        slow, members=(*slow.members, member(2, "pay", "database", "latency", at_s=0, peak=9.0))
    )
    shown = evidence.attach(both, [both], at_ns=T0_NS + STEP_NS, step_ns=STEP_NS).exemplars
    assert [one.trace_id[0] for one in shown] == ["d", "b", "a"]


def test_lines_worst_first_one_an_event_and_of_the_first_movers_service_too() -> None:
    evidence = RecentEvidence()
    evidence.remember(
        [],
        [
            line("pay", "retry 1", at_s=1, event="retry"),
            line("pay", "retry 2", at_s=2, event="retry"),
            line("pay", "died", at_s=1, severity=21, event="fatal"),
            line("poster", "lock timeout", at_s=3),
            line("fx", "not about this", at_s=3, severity=21),
            line("pay", "yesterday", at_s=-7200, severity=24),
        ],
    )
    here = incident("a", member(1, "pay", "edge", "latency", at_s=60))
    there = incident("b", member(2, "poster", "database", "latency", at_s=0))
    shown = evidence.attach(
        here, [here, there], at_ns=T0_NS + 70 * 10**9, step_ns=STEP_NS
    ).log_lines
    assert [one.body for one in shown] == ["died", "lock timeout", "retry 2"]


def test_what_an_earlier_page_had_stays_when_nothing_newer_is_known() -> None:
    evidence = RecentEvidence(EvidenceSettings(traces_per_scope_max=1))
    evidence.remember([trace("a", "pay", "edge", at_s=5, lasts_s=1.0)], [line("pay", "x", at_s=5)])
    slow = incident("a", member(1, "pay", "edge", "latency", at_s=0))
    first = evidence.attach(slow, [slow], at_ns=T0_NS + STEP_NS, step_ns=STEP_NS)
    evidence.remember([trace("b", "pay", "edge", at_s=5000, lasts_s=1.0)], [])
    later = evidence.attach(first, [first], at_ns=T0_NS + 2 * STEP_NS, step_ns=STEP_NS)
    assert [one.trace_id[0] for one in later.exemplars] == ["a"]
    assert [one.body for one in later.log_lines] == ["x"]


def test_what_moved_first_is_not_told_as_later_when_its_calls_have_left_the_ring() -> None:
    """A page after ten minutes said that the database had moved first eight minutes after the first page's moment."""
    evidence = RecentEvidence(EvidenceSettings(traces_per_scope_max=2))

    def attached(before: Incident, *, at_s: float) -> Incident:
        evidence.remember(
            [
                trace("d", "pay", "database", at_s=at_s + 3.4, lasts_s=1.9),
                trace("e", "pay", "edge", at_s=at_s + 3.5, lasts_s=2.1),
            ],
            [],
        )
        now_ns = T0_NS + round(at_s * 1e9)
        lasting = replace(
            before, members=tuple(replace(one, last_ns=now_ns) for one in before.members)
        )
        return evidence.attach(lasting, [lasting], at_ns=now_ns + STEP_NS, step_ns=STEP_NS)

    slow = incident(
        "a",
        replace(member(1, "pay", "edge", "latency", at_s=0), upper=0.5),
        replace(member(2, "pay", "database", "latency", at_s=0), upper=0.5),
    )
    first = attached(slow, at_s=0)
    assert first.first_mover is not None
    assert first.first_mover.stage == "database"
    assert first.first_mover.at_ns == T0_NS + 3_400_000_000
    later = first
    for at in range(1, 60):
        later = attached(later, at_s=10 * at)
    assert later.first_mover == first.first_mover
    # What turns out to have moved before it is told instead.
    queue = member(3, "pay", "queue", "latency", at_s=-60)
    earlier = replace(later, members=(*later.members, queue))
    found = attached(earlier, at_s=600).first_mover
    assert found is not None
    assert (found.stage, found.at_ns) == ("queue", queue.first_ns)


def test_a_blind_source_has_no_evidence() -> None:
    evidence = RecentEvidence()
    evidence.remember([], [line("pay", "x", at_s=5)])
    blind = incident("pay", kind=IncidentKind.BLIND)
    assert evidence.attach(blind, [blind], at_ns=T0_NS + STEP_NS, step_ns=STEP_NS) == blind


def test_memory_is_bounded_and_what_gave_way_is_counted() -> None:
    evidence = RecentEvidence(EvidenceSettings(scopes_max=2, services_max=2))
    for at in range(20):
        service = f"s{at}"
        evidence.remember(
            [trace("a", service, "edge", at_s=at, lasts_s=1.0)] * 50,
            [line(service, f"x{number}", at_s=at) for number in range(50)],
        )
    assert evidence.dropped_count == 16 + 18
    slow = incident("a", member(1, "s19", "edge", "latency", at_s=0))
    kept = evidence.attach(slow, [slow], at_ns=T0_NS + 100 * 10**9, step_ns=STEP_NS)
    assert len(kept.exemplars) == 1
    assert len(kept.log_lines) == 3


def test_calls_are_counted_and_of_a_window_the_slowest_is_shown_never_an_older_one() -> None:
    """Prometheus refuses an exemplar that is older than the last of its series: the time of what is shown never goes back."""
    evidence = RecentEvidence(EvidenceSettings(scopes_max=1))
    quick = trace("a", "pay", "edge", at_s=1, lasts_s=0.1)
    slow = trace("b", "pay", "edge", at_s=2, lasts_s=9.0)
    failed = trace("c", "pay", "edge", at_s=3, lasts_s=0.2, error=True)
    evidence.remember([slow, quick, failed], [])
    scope = quick.key.scope
    assert {name: one.count for name, one in evidence.named().items()} == {
        (scope, False): 2,
        (scope, True): 1,
    }
    assert evidence.named()[scope, False].newest == slow
    later = trace("d", "pay", "edge", at_s=12, lasts_s=0.1)
    evidence.remember([later], [])
    assert evidence.named()[scope, False].newest == later
    assert evidence.named()[scope, False].count == 3
    # Room for one place, of calls that failed and of others: the failed ones of the place were silent longest.
    evidence.remember([trace("e", "ship", "edge", at_s=20, lasts_s=0.1)], [])
    assert (scope, True) not in evidence.named()
    assert len(evidence.named()) == 2
