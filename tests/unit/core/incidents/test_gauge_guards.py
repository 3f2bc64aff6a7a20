"""Goal: limits of gauges page before anything is learnt where a person is needed, and are quiet on systems that are well.

Method: windows of one gauge without any baseline; each default limit has a series that breaks it and one of a healthy
system that comes near it and does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sentinel.core.incidents import (
    GAUGE_GUARDS,
    GaugeGuard,
    GuardDirection,
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    from_bytes,
    to_bytes,
    track,
)
from sentinel.core.model import IncidentKind, SeriesKey, SeriesPattern, Severity, TransitionKind
from tests.support.incident_blocks import NAN, START_NS, STEP_NS, block_of, verdicts_of

GIB = 2.0**30
POOL = SeriesKey("shop", "pool", "main", "free_ratio")
LOW = GaugeGuard(
    series=SeriesPattern(signal="free_*"),
    limit=0.1,
    direction=GuardDirection.LOW,
    window_count=2,
)


def told(
    key: SeriesKey, values: Sequence[float], *guards: GaugeGuard, hold_ns: int = 0
) -> Tracked:
    """What one gauge's windows led to, with no baseline at all."""
    settings = IncidentSettings(
        hold_ns=hold_ns, guards=GuardSettings(gauges=guards or GAUGE_GUARDS)
    )
    block = block_of({1: key}, [[value] for value in values])
    return track(TrackerState(), block, verdicts_of(block, NAN), {1: key}, settings)


def postgres(signal: str) -> SeriesKey:
    return SeriesKey("postgres", "database", "x", signal)


def nats(signal: str) -> SeriesKey:
    return SeriesKey("nats", "queue", "ORDERS", signal)


@pytest.mark.parametrize(
    ("signal", "breaks", "keeps"),
    [
        # An election, and a server that is restarted, are over within a minute.
        ("stream_leaderless_count", [1.0] * 6, [0.0, *[1.0] * 5, 0.0]),
        ("cluster_leaderless_count", [1.0] * 6, [0.0] * 20),
        ("server_store_ratio", [0.96] * 6, [0.94] * 20),
        ("server_store_memory_ratio", [0.96] * 6, [0.94] * 20),
        ("stream_lost_count", [0.0, 2.0, 2.0], [0.0] * 20),
    ],
)
def test_limits_of_a_queue_page_where_nothing_can_be_stored_and_not_before(
    signal: str, breaks: list[float], keeps: list[float]
) -> None:
    assert len(told(nats(signal), breaks).pages) == 1
    assert told(nats(signal), keeps).pages == ()
    # Another's gauge of the same name is none of ours.
    assert told(nats(signal)._replace(stage="metrics"), breaks).pages == ()


@pytest.mark.parametrize(
    ("signal", "values"),
    [
        ("connections_used_ratio", [0.7, 0.8, *[0.93] * 6]),
        ("clients_refused_count", [0.0, 1.0, 1.0]),
        ("xid_age_ratio", [0.74, 0.76, 0.76]),
        ("mxid_age_ratio", [0.76, NAN, NAN, NAN, 0.76]),
        ("slots_at_risk_count", [0.0, 1.0, 1.0]),
        ("inactive_slot_retained_bytes", [30 * GIB, *[33 * GIB] * 12]),
        ("archiver_failing_count", [1.0] * 30),
    ],
)
def test_each_default_limit_pages_from_the_first_minute(signal: str, values: list[float]) -> None:
    tracked = told(postgres(signal), values)
    (page,) = tracked.pages
    (entry,) = tracked.state.entries
    assert (entry.incident.kind, entry.incident.severity) == (
        IncidentKind.GUARD,
        Severity.PAGE,
    )
    assert "static guard: " + signal in page.annotations["summary"].lower()


@pytest.mark.parametrize(
    ("signal", "values"),
    [
        ("connections_used_ratio", [0.89] * 50 + [0.97] * 5 + [0.6] * 5),
        ("clients_refused_count", [0.0, 1.0, 0.0, 1.0, 0.0]),
        ("xid_age_ratio", [0.12, 0.5, 0.74] * 20),
        ("mxid_age_ratio", [0.2] * 50),
        ("slots_at_risk_count", [0.0] * 50),
        ("inactive_slot_retained_bytes", [5 * GIB, 31 * GIB, 33 * GIB, 1 * GIB] * 5),
        ("archiver_failing_count", ([1.0] * 29 + [0.0]) * 5),
        ("ratio", [99.0] * 50),
    ],
)
def test_a_healthy_system_is_left_alone(signal: str, values: list[float]) -> None:
    assert told(postgres(signal), values).pages == ()


def test_a_limit_below_pages_when_a_gauge_falls_to_it() -> None:
    tracked = told(POOL, [0.5, 0.1, 0.05], LOW)
    (page,) = tracked.pages
    assert "free_ratio is at most 0.1" in page.annotations["summary"]
    assert tracked.transitions[0].incident.members[0].direction == -1
    assert told(POOL, [0.5, 0.05, 0.2, 0.05], LOW).pages == ()
    assert told(POOL, [0.5, 0.05, NAN, 0.05], LOW).pages != ()


def test_of_several_limits_the_first_that_matches_holds() -> None:
    mild = GaugeGuard(series=SeriesPattern(service="shop", signal="free_*"), limit=99.0)
    assert told(POOL, [0.01] * 5, mild, LOW).pages == ()
    other = GaugeGuard(series=SeriesPattern(service="other", signal="free_*"), limit=99.0)
    assert told(POOL, [0.01] * 5, other, LOW).pages != ()


def test_windows_with_no_value_for_long_end_a_run() -> None:
    assert told(POOL, [0.05, *[NAN] * 40, 0.05], LOW).pages == ()


def test_a_run_goes_on_over_a_restart() -> None:
    """The state is written down between windows: a restart inside a run must not begin it anew."""
    settings = IncidentSettings(hold_ns=0, guards=GuardSettings(gauges=(LOW,)))
    keys = {1: POOL}
    first = block_of(keys, [[0.05]])
    before = track(TrackerState(), first, verdicts_of(first, NAN), keys, settings)
    assert before.pages == ()
    second = block_of(keys, [[0.05]], start_ns=START_NS + STEP_NS)
    after = track(
        from_bytes(to_bytes(before.state)), second, verdicts_of(second, NAN), keys, settings
    )
    assert len(after.pages) == 1


def test_a_limit_never_becomes_the_new_normal() -> None:
    """What is broken is not adopted after a day, as a level that has only moved is."""
    tracked = told(POOL, [0.05] * 3000, LOW, hold_ns=30 * 60 * 10**9)
    assert len(tracked.state.entries) == 1
    assert {page.status for page in tracked.pages} == {"firing"}


@pytest.mark.parametrize("wrong", [{"limit": float("nan")}, {"limit": 1.0, "window_count": 0}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        GaugeGuard(series=SeriesPattern(), **wrong)  # type: ignore[arg-type]


def test_a_limit_that_breaks_while_there_is_a_ticket_pages_beside_it() -> None:
    """A database whose connections rose had a ticket of what was unusual; when none was left, nobody was woken."""
    key = postgres("connections_used_ratio")
    values = [0.3, 0.5, *[1.0] * 10, *[0.3] * 8]
    block = block_of({1: key}, [[value] for value in values])
    scores = [[0.1], *[[3.0]] * 11, *[[0.1]] * 8]
    settings = IncidentSettings(hold_ns=3 * STEP_NS)
    seen = track(TrackerState(), block, verdicts_of(block, scores), {1: key}, settings)
    opened = [one for one in seen.transitions if one.kind is TransitionKind.OPENED]
    assert [one.incident.severity for one in opened] == [Severity.TICKET, Severity.PAGE]
    assert [one.incident.kind for one in opened] == [IncidentKind.ANOMALY, IncidentKind.GUARD]
    # The first unusual window, and the sixth at the limit.
    assert [(one.at_ns - START_NS) // STEP_NS for one in opened] == [2, 8]
    ended = [one for one in seen.transitions if one.kind is TransitionKind.RESOLVED]
    assert sorted(one.incident.severity for one in ended) == [Severity.PAGE, Severity.TICKET]
    assert len({one.at_ns for one in ended}) == 1
    assert seen.state.entries == ()
