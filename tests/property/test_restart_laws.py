"""Goal: whatever windows lead to when they are decided again, people hear once of each incident, then once of its end.

Method: a random history under the first settings, whose incidents and pages are stored; some of its last windows decided
again under second settings, from nothing or from the state of then; and the history going on from what `taken_up` makes
of that. The cap is low, so that there are storms.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.incidents import (
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    first_and_next_pages,
    taken_up,
    to_bytes,
    track,
)
from sentinel.core.model import Incident, IncidentState, PageStatus, SeriesKey
from tests.support.incident_blocks import NAN, START_NS, STEP_NS, block_of, verdicts_of

KEYS = {at: SeriesKey(f"s{at}", "edge", "GET /", "errors") for at in range(1, 6)}
BEFORE, AFTER = 24, 16
FIRST = IncidentSettings(
    hold_ns=2 * STEP_NS,
    reminder_ns=0,
    reminder_window_count=5,
    page_count_max_per_minute=2,
    guards=GuardSettings(),
)


def told(
    state: TrackerState, values: list[list[float]], *, at: int, by: IncidentSettings
) -> Tracked:
    block = block_of(KEYS, values, start_ns=START_NS + at * STEP_NS)
    return track(state, block, verdicts_of(block, NAN), KEYS, by)


def values_of(seed: int) -> list[list[float]]:
    """Rows that stay as they are for a while, so that guards trip."""
    rng = np.random.default_rng(seed)
    rows = rng.choice([0.0, 0.4, 0.9], size=((BEFORE + AFTER) // 4, len(KEYS)), p=[0.5, 0.2, 0.3])
    return [list(row) for row in np.repeat(rows, 4, axis=0).tolist()]


def stored_by(tracked: Tracked) -> tuple[dict[str, Incident], set[str]]:
    incidents = {one.incident.incident_id: one.incident for one in tracked.transitions}
    return incidents, {page.page_id for page in tracked.pages}


def restarted(
    state: TrackerState, incidents: dict[str, Incident], pages: set[str], by: IncidentSettings
) -> TrackerState:
    stored = [one for one in incidents.values() if one.state is IncidentState.OPEN]
    return taken_up(
        state,
        stored,
        pages=first_and_next_pages(state, stored) & pages,
        at_ns=START_NS + BEFORE * STEP_NS,
        step_ns=STEP_NS,
        settings=by,
    ).state


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_restart_that_finds_what_is_stored_changes_nothing(*, seed: int) -> None:
    whole = told(TrackerState(), values_of(seed)[:BEFORE], at=0, by=FIRST)
    after = restarted(whole.state, *stored_by(whole), FIRST)
    assert to_bytes(after) == to_bytes(whole.state)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    again_from=st.integers(1, BEFORE - 1),
    from_nothing=st.booleans(),
    error_ratio=st.sampled_from([0.3, 0.5, 0.95]),
    hold=st.integers(1, 8),
    cap=st.integers(1, 4),
)
def test_no_end_without_a_beginning_and_none_twice(
    *, seed: int, again_from: int, from_nothing: bool, error_ratio: float, hold: int, cap: int
) -> None:
    """A resolve alone went out, or an incident stayed open for ever of which nobody had been told."""
    values = values_of(seed)
    second = replace(
        FIRST,
        hold_ns=hold * STEP_NS,
        page_count_max_per_minute=cap,
        guards=GuardSettings(error_ratio=error_ratio),
    )
    whole = told(TrackerState(), values[:BEFORE], at=0, by=FIRST)
    then = told(TrackerState(), values[:again_from], at=0, by=FIRST).state
    again = told(
        TrackerState() if from_nothing else then,
        values[again_from:BEFORE],
        at=again_from,
        by=second,
    )
    begin = restarted(again.state, *stored_by(whole), second)
    calm = [[0.0] * len(KEYS)] * 30
    after = told(begin, values[BEFORE:] + calm, at=BEFORE, by=second)

    begun: set[str] = set()
    ended: set[str] = set()
    for page in (*whole.pages, *after.pages):
        if page.labels["alertname"] == "SentinelStorm":
            # How a storm ended under the first settings is not stored; Alertmanager ends its page by itself.
            continue
        if page.status is PageStatus.FIRING:
            assert page.incident_id not in ended
            begun.add(page.incident_id)
        else:
            assert page.incident_id in begun
            assert page.incident_id not in ended
            ended.add(page.incident_id)
    assert len({page.page_id for page in (*whole.pages, *after.pages)}) == len(
        [*whole.pages, *after.pages]
    )
    assert begun == ended
    last = {one.incident.incident_id: one.incident.state for one in whole.transitions}
    last |= {one.incident.incident_id: one.incident.state for one in after.transitions}
    assert set(last.values()) <= {IncidentState.RESOLVED}
