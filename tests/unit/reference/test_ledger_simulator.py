"""Goal: the simulator's calendar, habits, jobs, noise and events are what they say.

Method: known dates and sums for the calendar and the seasons; statistics under fixed seeds for the
noise; events placed by hand for their effects and their truth.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.history import routes_at_rate
from sentinel.reference.ledger.domain.simulator import (
    TENANTS,
    Effect,
    Event,
    EventKind,
    MoneyCalendar,
    Tenant,
    fleet,
    holidays_of,
)
from sentinel.reference.ledger.domain.simulator.events import influence
from sentinel.reference.ledger.domain.simulator.holidays import easter_sunday
from sentinel.reference.ledger.domain.simulator.noise import Drift, bursty_counts, sampled_p95
from sentinel.reference.ledger.domain.simulator.season import (
    PAYROLL,
    PEOPLE,
    SHOPPERS,
    Habit,
    Spike,
    season,
    spike_calls,
)

DAY_S = 86_400
GERMANY = MoneyCalendar(holidays=holidays_of("DE", [2025, 2026, 2027]))


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def of_day(text: str, habit: Habit = PEOPLE) -> float:
    clock = day(text) * DAY_S + np.arange(0, DAY_S, 60.0)
    return float(season(habit, clock, GERMANY).mean())


def days(*texts: str) -> NDArray[np.int64]:
    return np.array([day(text) for text in texts], dtype=np.int64)


@pytest.mark.parametrize(
    ("year", "expected"),
    [(2000, "2000-04-23"), (2024, "2024-03-31"), (2025, "2025-04-20"), (2285, "2285-03-22")],
)
def test_easter(year: int, expected: str) -> None:
    assert easter_sunday(year).isoformat() == expected


def test_holidays_of_a_country_and_of_one_that_is_not_known() -> None:
    german = [str(one) for one in holidays_of("DE", [2026])]
    assert german == [
        "2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-05-14", "2026-05-25",
        "2026-10-03", "2026-12-25", "2026-12-26",
    ]  # fmt: skip
    american = [str(one) for one in holidays_of("US", [2027])]
    assert american == [
        "2027-01-01", "2027-01-18", "2027-02-15", "2027-05-31", "2027-06-19", "2027-07-05",
        "2027-09-06", "2027-10-11", "2027-11-11", "2027-11-25", "2027-12-25",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="one of AT, DE"):
        holidays_of("XX", [2026])


def test_business_days_count_around_weekends_and_holidays() -> None:
    # 1 May 2026 is a holiday and a Friday: May's business begins on Monday the 4th.
    found = GERMANY.days(days("2026-04-30", "2026-05-01", "2026-05-04", "2026-05-05"))
    assert found.is_business.tolist() == [True, False, True, True]
    assert found.business_to_end[0] == 0
    assert found.business_from_start[2:].tolist() == [0, 1]
    assert found.weekday.tolist() == [3, 4, 0, 1]


def test_payday_is_the_business_day_before_a_day_off() -> None:
    # 25 January 2026 is a Sunday; Christmas 2026 is a Friday that is a holiday.
    month = np.arange(day("2026-01-01"), day("2026-02-01"))
    assert month[GERMANY.days(month).is_payday].tolist() == [day("2026-01-23")]
    month = np.arange(day("2026-12-01"), day("2027-01-01"))
    assert month[GERMANY.days(month).is_payday].tolist() == [day("2026-12-24")]
    with pytest.raises(ValueError, match="payday"):
        MoneyCalendar(holidays=holidays_of("DE", [2026]), payday=31)


@pytest.mark.parametrize("habit", [PEOPLE, SHOPPERS, PAYROLL])
def test_an_ordinary_week_averages_one_and_does_not_jump(habit: Habit) -> None:
    clock = day("2026-01-12") * DAY_S + np.arange(0, 7 * DAY_S, 60.0)
    factors = season(habit, clock, GERMANY)
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert np.abs(np.diff(factors)).max() < 0.05


def test_the_months_end_is_the_last_business_day() -> None:
    # 31 May 2026 is a Sunday: business ends on Friday the 29th, which is no payday.
    assert of_day("2026-05-29") > 1.4 * of_day("2026-05-15")
    assert of_day("2026-05-31") == pytest.approx(of_day("2026-05-17"), rel=0.03)
    assert of_day("2026-05-29", PAYROLL) > 2.2 * of_day("2026-05-15", PAYROLL)


def test_a_holiday_is_quiet_on_any_weekday() -> None:
    assert of_day("2026-05-14") < 0.75 * of_day("2026-05-07")
    assert of_day("2026-05-14", PAYROLL) < 0.2 * of_day("2026-05-07", PAYROLL)


def test_a_job_adds_its_calls_exactly_whatever_the_window() -> None:
    spike = Spike(every_s=3600, at_s=290, length_s=180, added=2.0)
    for step_s in (10, 60, 300, 3600):
        starts = np.arange(1_767_225_600, 1_767_225_600 + DAY_S, step_s, dtype=np.float64)
        added = spike_calls(spike, starts, step_s)
        assert (added * step_s).sum() == pytest.approx(24 * 180 * 2.0)
        assert added.max() <= 2.0
    quarter = spike_calls(spike, np.array([1_767_225_600.0, 1_767_225_900.0]), 300.0)
    assert quarter.tolist() == pytest.approx([2.0 * 10 / 300, 2.0 * 170 / 300])


def test_a_drift_keeps_its_spread_and_memory_over_pieces_of_any_step() -> None:
    for step_s in (10.0, 300.0, 3600.0):
        drift = Drift(np.random.default_rng(1), spread=0.5, memory_s=3000.0, step_s=step_s)
        path = np.concatenate([drift.take(5000) for _ in range(40)])
        keep = np.exp(-step_s / 3000.0)
        assert path.std() == pytest.approx(0.5, rel=0.15)
        assert np.corrcoef(path[1:], path[:-1])[0, 1] == pytest.approx(keep, abs=0.02)
        # Also across the seams of blocks and pieces.
        seams = np.diff(path)[4999::5000]
        assert np.abs(seams).max() < 5 * 0.5 * np.sqrt(2 * (1 - keep))


def test_counts_vary_more_than_poisson() -> None:
    counts = bursty_counts(np.random.default_rng(2), np.full(200_000, 400.0), 0.1)
    assert counts.mean() == pytest.approx(400, rel=0.01)
    assert counts.var() == pytest.approx(400 + (0.1 * 400) ** 2, rel=0.05)


def test_the_p95_of_few_calls_is_lower_and_noisier() -> None:
    def of(calls: int) -> NDArray[np.float64]:
        rng = np.random.default_rng(3)
        return np.log(sampled_p95(rng, np.full(20_000, 0.1), np.full(20_000, calls)))

    one, many = of(1), of(10_000)
    # A single call's duration is log-normal around the median, 1.645 spreads below the p95.
    assert one.mean() == pytest.approx(np.log(0.1) - 1.645 * 0.5, abs=0.02)
    assert one.std() == pytest.approx(0.5, rel=0.03)
    assert many.mean() == pytest.approx(np.log(0.1), abs=0.001)
    assert many.std() < 0.02
    assert np.isnan(of(0)).all()


def test_the_tenants_shares_of_a_route_sum_to_it() -> None:
    routes = routes_at_rate(20.0)
    streams = fleet(routes)
    for route in routes:
        parts = [one for one in streams if one.route.partition(" [")[0] == route.route]
        assert len(parts) == (len(TENANTS) if route.stage == "edge" else 1)
        assert sum(one.traffic for one in parts) == pytest.approx(route.traffic)
    for one in streams:
        assert sum(share for _, share in one.mix) == pytest.approx(1.0)
    assert min(one.traffic for one in streams if one.is_edge) < 1 / 180
    with pytest.raises(ValueError, match="sum to 1"):
        fleet(routes, [Tenant(name="half", share=0.5, habit=PEOPLE, burst=0.1)])


def event(kind: EventKind, start_s: int, end_s: int, effect: Effect, ramp_s: int = 0) -> Event:
    return Event(
        number=0, kind=kind, start_s=start_s, end_s=end_s, effects=(effect,), ramp_s=ramp_s
    )


STARTS = np.arange(0, 3000, 300, dtype=np.int64)


def test_a_window_feels_the_part_of_an_outage_that_it_holds() -> None:
    stop = event(EventKind.STOP, 450, 1200, Effect(stream=4, traffic_factor=0.0, calls=1000.0))
    felt = influence([stop], 4, STARTS, 300)
    assert felt.traffic_factor.tolist() == [1, 0.5, 0, 0, 1, 1, 1, 1, 1, 1]
    assert np.flatnonzero(felt.labels["traffic"]).tolist() == [1, 2, 3]
    assert not felt.labels["errors"].any()
    assert (influence([stop], 5, STARTS, 300).traffic_factor == 1).all()


def test_a_ramp_comes_to_its_strength_and_errors_leave_room_for_others() -> None:
    slow = event(
        EventKind.SLOW, 0, 3000, Effect(stream=0, latency_factor=3.0, calls=100.0), ramp_s=900
    )
    felt = influence([slow], 0, STARTS, 300)
    assert felt.latency_factor[:4].tolist() == pytest.approx(
        [1 + 2 / 6, 1 + 2 * 3 / 6, 1 + 2 * 5 / 6, 3.0]
    )
    half = event(EventKind.ERRORS, 0, 300, Effect(stream=0, errors_added=0.5, calls=100.0))
    assert influence([half, half], 0, STARTS, 300).errors_added[0] == pytest.approx(0.75)


def test_what_nobody_could_see_happens_but_is_not_asked_for() -> None:
    few = event(EventKind.STOP, 0, 600, Effect(stream=0, traffic_factor=0.0, calls=3.0))
    felt = influence([few], 0, STARTS, 300)
    assert felt.traffic_factor[0] == 0
    assert not felt.labels["traffic"].any()
    assert [one.is_visible for one in few.moved()] == [False]


@pytest.mark.parametrize("kind", [EventKind.DEPLOY, EventKind.LEVEL_SHIFT])
def test_what_is_no_fault_is_not_labelled(kind: EventKind) -> None:
    effect = Effect(stream=0, traffic_factor=1.5, latency_factor=2.0, calls=9000.0)
    change = event(kind, 300, 3000, effect)
    felt = influence([change], 0, STARTS, 300)
    assert felt.traffic_factor[1] == 1.5
    assert not any(label.any() for label in felt.labels.values())
    assert {(one.signal, one.direction) for one in change.moved()} == {
        ("traffic", "up"),
        ("latency", "up"),
    }


def test_a_silent_source_says_nothing_and_moves_nothing() -> None:
    silent = event(EventKind.BLIND, 300, 900, Effect(stream=0))
    felt = influence([silent], 0, STARTS, 300)
    assert np.flatnonzero(felt.is_blind).tolist() == [1, 2]
    assert (felt.traffic_factor == 1).all()
    assert silent.moved() == []
