"""Goal: what fits say of levels that move over weeks becomes one ticket a service, told once in four weeks, and stops no page.

Method: windows of two services in which nothing is strange unless said so; drifts are handed to the state as a fit does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sentinel.core.incidents import IncidentSettings, TrackerState, set_back, taken_up, track
from sentinel.core.incidents.drifting import HOLD_NS, NEWS_GAP_NS, TOLD_FOR_NS
from sentinel.core.incidents.state import from_bytes, to_bytes
from sentinel.core.incidents.track import Tracked
from sentinel.core.model import (
    Acceptance,
    Drift,
    IncidentKind,
    Page,
    PageReason,
    SeriesKey,
    Severity,
    TransitionKind,
)
from tests.support.incident_blocks import STEP_NS, block_of, verdicts_of

KEYS = {
    1: SeriesKey("pay", "edge", "POST /x", "latency"),
    2: SeriesKey("pay", "edge", "POST /x", "traffic"),
    3: SeriesKey("fx", "edge", "GET /r", "errors"),
}
SLOWER = Drift(series_id=1, before=0.12, weeks=(0.128, 0.138, 0.146, 0.157))
BUSIER = Drift(series_id=2, before=100.0, weeks=(108.0, 118.0, 130.0, 141.0))
FAILING = Drift(series_id=3, before=0.0, weeks=(0.001, 0.002, 0.004, 0.006))
SETTINGS = IncidentSettings()
HOUR_NS = 3_600_000_000_000
START_NS = 497_000 * HOUR_NS


def window(
    state: TrackerState,
    *drifts: Drift,
    at_ns: int = START_NS,
    score: Sequence[float] = (0.1, 0.1, 0.1),
    accepted: Sequence[Acceptance] = (),
    step_ns: int = STEP_NS,
) -> Tracked:
    """One window; with drifts, a fit that found them takes effect with it."""
    if drifts:
        state = replace(state, drifting=replace(state.drifting, pending=drifts))
    block = block_of(KEYS, [[0.157, 141.0, 0.006]], start_ns=at_ns, step_ns=step_ns)
    return track(state, block, verdicts_of(block, [score]), KEYS, SETTINGS, accepted=accepted)


def opened(pages: Sequence[Page]) -> list[str]:
    return [page.annotations["summary"] for page in pages if page.reason is PageReason.OPENED]


def test_each_service_has_a_ticket_that_says_in_words_how_far_and_how() -> None:
    tracked = window(TrackerState(), FAILING, BUSIER, SLOWER)
    assert opened(tracked.pages) == [
        "fx: edge GET /r: errors have drifted, from nothing 28 days ago (0 % -> 0.6 %, "
        "week by week 0.1 % 0.2 % 0.4 % 0.6 %)",
        "pay: edge POST /x: traffic has drifted, 1.41x what it was 28 days ago (100 calls/s -> 141 calls/s, "
        "week by week 1.08x 1.18x 1.30x 1.41x)",
    ]
    ticket = tracked.pages[1]
    assert ticket.labels == {
        "alertname": "SentinelDrift",
        "service": "pay",
        "severity": "ticket",
        "sentinel_anomaly": "true",
    }
    assert (
        "Also: edge POST /x: latency has drifted, 1.31x what it was 28 days ago (120 ms -> 157 ms, "
        "week by week 1.07x 1.15x 1.22x 1.31x)" in ticket.annotations["description"]
    )
    assert not {"score", "factors", "first_mover"} & set(ticket.annotations)
    assert (ticket.annotations["value"], ticket.annotations["expected"]) == (
        "141 calls/s",
        "100 calls/s",
    )
    for change in tracked.transitions:
        assert change.kind is TransitionKind.OPENED
        assert change.incident.severity is Severity.TICKET


def test_it_is_told_once_while_every_fit_says_so_and_again_after_four_weeks() -> None:
    state, told = TrackerState(), []
    for hour in range(29 * 24):
        tracked = window(state, SLOWER, at_ns=START_NS + hour * HOUR_NS, step_ns=HOUR_NS)
        state = tracked.state
        told += [(hour, page.reason) for page in tracked.pages]
        if hour % 100 == 0:
            assert to_bytes(from_bytes(to_bytes(state))) == to_bytes(state)
            state = from_bytes(to_bytes(state))
    assert told == [(0, PageReason.OPENED), (28 * 24, PageReason.WORSENED)]


def test_it_resolves_when_no_fit_has_found_it_for_two_days_and_is_not_told_again_in_its_weeks() -> (
    None
):
    tracked = window(TrackerState(), SLOWER, step_ns=HOUR_NS)
    state, at_ns, pages = tracked.state, START_NS, list[Page]()
    while state.entries:
        at_ns += HOUR_NS
        tracked = window(state, at_ns=at_ns, step_ns=HOUR_NS)
        state = tracked.state
        pages += tracked.pages
    assert at_ns - START_NS == HOLD_NS
    (page,) = pages
    assert page.reason is PageReason.RESOLVED
    assert page.annotations["summary"].startswith(
        "pay: edge POST /x: latency had drifted, 1.31x what it was 28 days before"
    )
    again = window(state, SLOWER, at_ns=at_ns + HOUR_NS)
    assert (again.pages, again.state.entries) == ((), ())
    much_later = window(again.state, SLOWER, at_ns=START_NS + TOLD_FOR_NS + HOUR_NS)
    assert len(opened(much_later.pages)) == 1


def test_what_is_found_later_joins_and_is_told_a_day_after() -> None:
    state = window(TrackerState(), SLOWER, step_ns=HOUR_NS).state
    joined = window(state, SLOWER, BUSIER, at_ns=START_NS + HOUR_NS, step_ns=HOUR_NS)
    assert joined.pages == ()
    assert [change.kind for change in joined.transitions] == [TransitionKind.JOINED]
    state, at_ns = joined.state, START_NS + HOUR_NS
    pages: list[Page] = []
    while not pages:
        at_ns += HOUR_NS
        tracked = window(state, SLOWER, BUSIER, at_ns=at_ns, step_ns=HOUR_NS)
        state = tracked.state
        pages += tracked.pages
    assert at_ns - START_NS == NEWS_GAP_NS
    assert [page.reason for page in pages] == [PageReason.WORSENED]
    assert "traffic has drifted, 1.41x" in pages[0].annotations["summary"]


def test_its_series_page_as_if_there_were_no_ticket_and_are_learnt() -> None:
    state = window(TrackerState(), SLOWER, BUSIER)
    assert not state.frozen.any()
    tracked = window(state.state, at_ns=START_NS + STEP_NS, score=(3.0, 0.1, 0.1))
    (page,) = tracked.pages
    assert (page.labels["alertname"], page.labels["severity"]) == ("SentinelAnomaly", "page")
    assert tracked.frozen.tolist() == [True, False, False]
    kinds = {entry.incident.kind: set(entry.members) for entry in tracked.state.entries}
    assert kinds == {IncidentKind.DRIFT: {1, 2}, IncidentKind.ANOMALY: {1}}
    # And beside an open page the ticket opens, too.
    beside = window(tracked.state, FAILING, at_ns=START_NS + 2 * STEP_NS, score=(3.0, 0.1, 3.0))
    assert {page.labels["alertname"] for page in beside.pages} >= {
        "SentinelAnomaly",
        "SentinelDrift",
    }


def test_nobody_accepts_a_drift() -> None:
    first = window(TrackerState(), SLOWER)
    (entry,) = first.state.entries
    word = Acceptance(incident_id=entry.incident.incident_id, by="ann")
    after = window(first.state, at_ns=START_NS + STEP_NS, accepted=[word])
    assert (after.transitions, after.settled.size) == ((), 0)


def test_many_of_them_make_no_storm_and_leave_room_for_pages() -> None:
    keys = {number: SeriesKey(f"s{number:02}", "edge", "/", "latency") for number in range(30)}
    drifts = tuple(replace(SLOWER, series_id=number) for number in keys)
    state = replace(TrackerState(), drifting=replace(TrackerState().drifting, pending=drifts))
    alerts: list[str] = []
    for step in range(60):
        block = block_of(keys, [[0.157] * 30], start_ns=START_NS + step * STEP_NS)
        score = [[3.0 if step == 1 and number == 29 else 0.1 for number in keys]]
        tracked = track(state, block, verdicts_of(block, score), keys, SETTINGS)
        state = tracked.state
        alerts += [page.labels["alertname"] for page in tracked.pages]
        if step == 1:
            assert alerts == ["SentinelDrift"] * 5 + ["SentinelAnomaly"]
    assert alerts.count("SentinelDrift") == 30
    assert "SentinelStorm" not in alerts


def test_a_restart_without_what_was_learned_tells_no_drift_twice() -> None:
    first = window(TrackerState(), SLOWER)
    (page,) = first.pages
    taken = taken_up(
        TrackerState(end_ns=START_NS + STEP_NS),
        [first.transitions[0].incident],
        pages={page.page_id},
        at_ns=START_NS + STEP_NS,
        step_ns=STEP_NS,
        settings=SETTINGS,
    )
    assert window(taken.state, SLOWER, at_ns=START_NS + STEP_NS).pages == ()


def test_a_clock_that_is_put_back_takes_what_was_told_with_it() -> None:
    state = window(TrackerState(), SLOWER).state
    back = set_back(state, START_NS - TOLD_FOR_NS)
    assert max(back.drifting.told_ns.values()) <= START_NS - TOLD_FOR_NS
    assert window(back, SLOWER, at_ns=START_NS - TOLD_FOR_NS).pages == ()


def test_states_of_before_know_of_no_drifts() -> None:
    payload = to_bytes(window(TrackerState()).state)
    assert b'"drifts"' in payload
    first, _, rest = payload.partition(b'"drifts":{"pending":[],"told_ns":[]},')
    assert from_bytes(first + rest).drifting.told_ns == {}


def test_pending_drifts_and_weeks_that_are_not_known_survive_the_bytes() -> None:
    drift = replace(SLOWER, weeks=(0.13, float("nan"), 0.14, 0.15))
    state = replace(TrackerState(), drifting=replace(TrackerState().drifting, pending=(drift,)))
    again = from_bytes(to_bytes(state)).drifting.pending
    assert np.array_equal(again[0].weeks, drift.weeks, equal_nan=True)
    tracked = window(from_bytes(to_bytes(state)))
    assert "week by week 1.08x ? 1.17x 1.25x" in tracked.pages[0].annotations["summary"]


def test_series_without_a_name_are_passed_over() -> None:
    assert window(TrackerState(), replace(SLOWER, series_id=77)).pages == ()
