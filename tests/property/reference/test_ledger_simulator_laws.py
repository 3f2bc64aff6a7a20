"""Goal: whatever is drawn, events keep apart, lie in the history, and windows follow their law.

Method: hypothesis draws seeds, spans, steps and how much happens.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.history import routes_at_rate
from sentinel.reference.ledger.domain.simulator import (
    Effect,
    Event,
    EventKind,
    MoneyCalendar,
    Piece,
    PlanSettings,
    World,
    fleet,
    plan_events,
    simulate_stream,
)
from sentinel.reference.ledger.domain.simulator.events import influence
from sentinel.reference.ledger.domain.simulator.season import Spike, spike_calls

HOUR_S, DAY_S = 3600, 86_400
BEGIN_S = 1_767_225_600  # 2026-01-01
CALENDAR = MoneyCalendar(holidays=np.array(["2026-01-01"], dtype="datetime64[D]"))
STREAMS = fleet(routes_at_rate(20.0))


@given(
    seed=st.integers(0, 2**32),
    days=st.integers(1, 120),
    outages=st.floats(0, 30),
    shift_hours=st.integers(-12, 14),
)
@settings(max_examples=40, deadline=None)
def test_events_lie_in_the_history_and_faults_on_a_stream_half_a_day_apart(
    seed: int, days: int, outages: float, shift_hours: int
) -> None:
    hours = BEGIN_S + HOUR_S * np.arange(24 * days, dtype=np.int64)
    events = plan_events(
        STREAMS,
        hours_s=hours,
        hours_local_s=(hours + shift_hours * HOUR_S).astype(np.float64),
        calendar=CALENDAR,
        seed=seed,
        settings=PlanSettings.of_outages(outages),
    )
    assert [event.number for event in events] == list(range(len(events)))
    for event in events:
        assert BEGIN_S <= event.start_s < event.end_s <= BEGIN_S + days * DAY_S
        assert event.repeats is None or event.repeats < event.number
        if event.is_fault:
            assert outages > 0
            assert event.start_s >= BEGIN_S + 13 * DAY_S
    faults = [event for event in events if event.is_fault]
    for stream in range(len(STREAMS)):
        mine = [
            (event.start_s, event.end_s)
            for event in faults
            if any(effect.stream == stream for effect in event.effects)
        ]
        assert all(later[0] - earlier[1] >= DAY_S // 2 for earlier, later in pairwise(mine))


@given(
    start=st.integers(-1000, 20_000),
    length=st.integers(1, 20_000),
    step_s=st.sampled_from([10, 60, 300, 3600]),
    factor=st.floats(0, 2),
    failing=st.floats(0, 1),
)
def test_an_event_without_a_ramp_costs_the_same_whatever_the_window(
    start: int, length: int, step_s: int, factor: float, failing: float
) -> None:
    effect = Effect(stream=0, traffic_factor=factor, errors_added=failing, calls=1e6)
    event = Event(
        number=0, kind=EventKind.STOP, start_s=start, end_s=start + length, effects=(effect,)
    )
    starts = np.arange(0, 14_400, step_s, dtype=np.int64)
    felt = influence([event], 0, starts, step_s)
    inside_s = max(0, min(start + length, 14_400) - max(start, 0))
    np.testing.assert_allclose(
        ((felt.traffic_factor - 1) * step_s).sum(), (factor - 1) * inside_s, atol=1e-6
    )
    np.testing.assert_allclose((felt.errors_added * step_s).sum(), failing * inside_s, atol=1e-6)
    touched = (starts > start - step_s) & (starts < start + length)
    assert not (felt.traffic_factor[~touched] != 1).any()
    if abs(factor - 1) >= 0.1:
        assert (felt.labels["traffic"] == touched).all()


@given(
    every_s=st.sampled_from([600, 3600, 86_400]),
    share=st.floats(0.01, 1),
    at_share=st.floats(0, 0.99),
    step_s=st.sampled_from([10, 60, 300, 3600]),
)
def test_a_jobs_calls_do_not_hang_on_the_window(
    every_s: int, share: float, at_share: float, step_s: int
) -> None:
    spike = Spike(
        every_s=every_s, at_s=int(at_share * every_s), length_s=int(share * every_s), added=3.0
    )
    starts = BEGIN_S + np.arange(0, DAY_S, step_s, dtype=np.float64)
    total = (spike_calls(spike, starts, float(step_s)) * step_s).sum()
    np.testing.assert_allclose(total, 3.0 * spike.length_s * DAY_S / every_s, atol=1e-3)


@given(
    seed=st.integers(0, 2**32),
    stream=st.integers(0, len(STREAMS) - 1),
    step_s=st.sampled_from([60, 300, 3600]),
)
@settings(max_examples=30, deadline=None)
def test_values_are_what_their_kind_can_be(seed: int, stream: int, step_s: int) -> None:
    starts = BEGIN_S + step_s * np.arange(500, dtype=np.int64)
    silent = Event(
        number=0,
        kind=EventKind.BLIND,
        start_s=BEGIN_S,
        end_s=BEGIN_S + 10 * step_s,
        effects=(Effect(stream=stream),),
    )
    world = World(
        streams=STREAMS,
        calendar=CALENDAR,
        events=(silent,),
        step_s=step_s,
        end_s=int(starts[-1]) + step_s,
        growth_ratio=0.3,
        seed=seed,
    )
    piece = Piece(starts=starts, local_s=starts.astype(np.float64))
    (windows,) = simulate_stream(world, stream, [piece])
    traffic, errors, latency = (windows.values[s] for s in ("traffic", "errors", "latency"))
    assert np.isnan(traffic[:10]).all()
    assert (windows.calls[:10] == -1).all()
    calls = windows.calls[10:]
    np.testing.assert_array_equal(traffic[10:], calls / step_s)
    np.testing.assert_array_equal(np.isnan(errors[10:]), calls == 0)
    np.testing.assert_array_equal(np.isnan(latency[10:]), calls == 0)
    known = ~np.isnan(errors)
    assert ((errors[known] >= 0) & (errors[known] <= 1)).all()
    failures = errors[known] * windows.calls[known]
    np.testing.assert_allclose(failures, np.round(failures), atol=1e-6)
    assert (latency[known] > 0).all()
