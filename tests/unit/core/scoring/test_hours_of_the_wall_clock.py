"""Goal: what is kept by hour of day is kept by the wall clock's hours, through its changes and those of its zone.

Method: hours that end one after the other with a deviation of their own each, and the columns they leave.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.model import UTC_HOURS, LocalHours, local_hours, local_hours_of_text
from sentinel.core.scoring import (
    DetectorState,
    ScoringSettings,
    borrowed_rows,
    follow_clock,
    new_state,
    state_from_bytes,
)
from sentinel.core.scoring.hours import end_hour, hourly
from tests.support.detector_blocks import START_NS, flat_profile, history, names

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
SETTINGS = DecisionSettings()
SCORING = ScoringSettings()
FIRST = START_NS // HOUR_NS
"""Midnight, UTC."""
CHANGE = FIRST + 25
"""One o'clock UTC of the second day, as clocks change in Europe."""
SPRING = LocalHours(first=1, changes=((CHANGE, 2),))
AUTUMN = LocalHours(first=2, changes=((CHANGE, 1),))


def one_series(clock: LocalHours, series: int = 1) -> DetectorState:
    state = new_state(np.array([series]), step_ns=MINUTE_NS, base_cut=4.0)
    state.hour, state.clock = FIRST, clock
    state.scale[:] = 1.0
    return state


def end(state: DetectorState, deviation: float) -> None:
    """End an hour whose windows all lie that far off."""
    state.now_abs[:] = 60 * deviation
    state.now_count[:] = 60
    end_hour(state, SCORING)


def test_the_hours_of_a_zone_begin_where_its_clock_is_moved() -> None:
    at_ns = CHANGE * HOUR_NS
    assert local_hours([(0, 3600), (at_ns, 7200)]) == SPRING
    assert [SPRING.of_day(hour) for hour in range(CHANGE - 2, CHANGE + 2)] == [0, 1, 3, 4]
    assert [AUTUMN.of_day(hour) for hour in range(CHANGE - 2, CHANGE + 2)] == [1, 2, 2, 3]
    # Newfoundland's is moved in the middle of an hour, and Lord Howe's by half of one.
    half = at_ns + HOUR_NS // 2
    assert local_hours([(0, -12_600), (half, -9000)]).changes == ((CHANGE + 1, -2),)
    assert local_hours([(0, 39_600), (at_ns, 37_800)]) == LocalHours(first=11)
    assert local_hours([(0, 19_800)]).of_day(FIRST + 20) == 2


def test_a_clock_as_text_and_back_and_damage_is_refused() -> None:
    for clock in (UTC_HOURS, SPRING, LocalHours(first=-3, changes=((-5, -2), (7, -3)))):
        assert local_hours_of_text(clock.to_text()) == clock
    for damaged in ("", "x", "1 2", "1 2:3:4", "1 2:x"):
        with pytest.raises(ValueError, match=r"unpack|invalid"):
            local_hours_of_text(damaged)


def test_a_doubled_hour_is_learnt_twice_and_a_skipped_one_not_at_all() -> None:
    # Of 25 hours and two more; by summer time the day begins at two o'clock.
    for clock, counts in ((SPRING, {1: 120, 2: 60, 3: 120}), (AUTUMN, {1: 60, 2: 180, 3: 120})):
        state = one_series(clock)
        while state.hour < CHANGE + 2:
            # Each hour of the local day has a deviation of its own.
            end(state, float(1 + clock.of_day(state.hour)))
        found = {hour: float(state.hour_abs_count[hour, 0]) for hour in counts}
        assert found == counts
        known = np.flatnonzero(state.hour_abs_count[:, 0])
        assert state.hour_abs[0, known, 0].tolist() == pytest.approx((1 + known).tolist())


@pytest.mark.parametrize("clock", [SPRING, AUTUMN])
def test_beside_a_change_lie_the_hours_that_come_then(clock: LocalHours) -> None:
    state = one_series(clock)
    state.all_abs[:] = 1.0
    state.hour_abs[:] = np.arange(1, 25)[None, :, None]
    state.hour_abs_count[:] = 1e9
    kind = np.zeros(1, np.int8)
    for hour in (CHANGE - 1, CHANGE):
        state.hour, state.hourly = hour, None
        facts = hourly(state, kind, SCORING)
        here, (before, after) = facts.ratio[0, 0], facts.ratio_step[:, 0, 0]
        around = [here + before, here, here + after]
        wanted = [1 + clock.of_day(hour + beside) for beside in (-1, 0, 1)]
        assert around == pytest.approx(wanted)


def test_what_was_learnt_by_another_clock_stays_with_its_instants() -> None:
    """A state of an earlier version is by UTC; and the zone that is configured may be changed."""
    for old, new in ((UTC_HOURS, SPRING), (SPRING, UTC_HOURS), (AUTUMN, LocalHours(first=-5))):
        for hour in (CHANGE - 1, CHANGE):
            state = one_series(old)
            state.hour_abs[:] = np.arange(24)[None, :, None]
            state.hour_abs_count[:] = np.arange(24)[:, None]
            instants = [hour + later for later in range(24)]
            before = [state.hour_abs[1, (at + old.ahead(hour)) % 24, 0] for at in instants]
            follow_clock(state, new, hour=hour)
            after = [state.hour_abs[1, (at + new.ahead(hour)) % 24, 0] for at in instants]
            assert after == before
            assert np.array_equal(state.hour_abs[0], state.hour_abs_count)


def test_a_state_keeps_its_clock_and_one_by_utc_has_the_bytes_that_it_had() -> None:
    state = one_series(SPRING)
    again = state_from_bytes(state.to_bytes())
    assert again.clock == SPRING
    assert again.to_bytes() == state.to_bytes()
    plain = one_series(UTC_HOURS)
    assert b"clock" not in plain.to_bytes()
    assert state_from_bytes(plain.to_bytes()).clock == UTC_HOURS


def test_rows_of_a_fit_and_parked_series_follow_the_same_clock() -> None:
    """Three series know the same, one by UTC in the state, one parked there, one primed by a fit with a zone."""
    block = history(1, window_count=1, series_count=3, step_ns=MINUTE_NS)
    by_hour = np.arange(24, dtype=np.float32)
    learned = []
    for series, clock in ((1, UTC_HOURS), (2, UTC_HOURS), (3, SPRING)):
        rows = one_series(clock, series)
        rows.level[:] = 0.0
        rows.hour_abs[:] = np.roll(by_hour, clock.ahead(FIRST))[None, :, None]
        learned.append(rows)
    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    state = replace(state, detector=learned[0], parked=learned[1])
    state = DecisionState.from_bytes(state.to_bytes())
    rows = state_from_bytes(
        borrowed_rows(learned[2], step_ns=MINUTE_NS, settings=SCORING).to_bytes(), read_only=True
    )
    state = state.primed(rows, settings=SCORING)
    assert rows.clock == SPRING
    profile = replace(flat_profile(block, days=1), clock=SPRING)
    keys = names(3)
    state = decide(
        state, block.select(block.series == 1), profile=profile, keys=keys, settings=SETTINGS
    ).state
    assert (state.detector.clock, state.parked.clock) == (SPRING, SPRING)
    later = replace(block, start_ns=START_NS + MINUTE_NS)
    state = decide(state, later, profile=profile, keys=keys, settings=SETTINGS).state
    for at in range(3):
        assert state.detector.hour_abs[0, :, at].tolist() == np.roll(by_hour, 1).tolist()


def test_without_a_fit_the_clock_goes_on() -> None:
    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    state = replace(state, detector=one_series(SPRING))
    block = history(1, window_count=1, series_count=1, step_ns=MINUTE_NS)
    decision = decide(state, block, profile=None, keys=names(1), settings=SETTINGS)
    assert decision.state.detector.clock == SPRING
