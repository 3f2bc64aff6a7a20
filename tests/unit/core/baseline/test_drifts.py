"""Goal: a level that moves over weeks is found before it is a third higher, and nothing else is taken for one.

Method: hourly windows with the shape of a day and a week, and on top of it ramps, steps, noise of several kinds, month-ends,
gaps and short histories; each over some dozens of series.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar, SettledLevel, day_facts, drifts_of
from sentinel.core.model import Drift, Kind, WindowBlock

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
DAYS = 42
END_NS = 20_700 * DAY_NS + 5 * HOUR_NS
RATIO = 1.2
CALLS_AN_HOUR = 36_000.0
Path = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def season(days: int = DAYS) -> NDArray[np.float64]:
    hour = np.arange(days * 24)
    weekend = hour // 24 % 7 >= 5
    return np.asarray((1 + 0.6 * np.sin(hour / 24 * 2 * np.pi)) * np.where(weekend, 0.4, 1.0))


def noise(
    series: int, *, daily: float, memory: float, days: int = DAYS, seed: int = 1
) -> NDArray[np.float64]:
    """AR(1), its correlation from day to day `memory` and its spread `daily`, with a bit of plain noise by hour."""
    rng = np.random.default_rng(seed)
    keep = memory ** (1 / 24)
    thrown = rng.standard_normal((days * 24, series)) * daily * math.sqrt(1 - keep * keep)
    path = np.empty_like(thrown)
    path[0] = rng.standard_normal(series) * daily
    for at in range(1, len(path)):
        path[at] = keep * path[at - 1] + thrown[at]
    return np.asarray(np.exp(path + 0.03 * rng.standard_normal(path.shape)))


def days_of(days: int = DAYS) -> NDArray[np.float64]:
    """Age of each window in days, from -days to 0."""
    return np.arange(-days * 24, 0) / 24


def block(value: NDArray[np.float64], kind: Kind = Kind.TRAFFIC) -> WindowBlock:
    count, series = value.shape
    return WindowBlock(
        start_ns=END_NS - count * HOUR_NS,
        step_ns=HOUR_NS,
        series=np.arange(10, 10 + series, dtype=np.int64),
        kind=np.full(series, int(kind), np.int8),
        value=value.astype(np.float32),
        weight=np.full(value.shape, CALLS_AN_HOUR, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def moving(
    by_age: NDArray[np.float64], *, series: int = 20, daily: float = 0.02, seed: int = 1
) -> NDArray[np.float64]:
    """A business whose level is what it is at each age."""
    return (
        season()[:, None]
        * by_age[:, None]
        * noise(series, daily=daily, memory=0.3, seed=seed)
        * 100.0
    )


def found(value: NDArray[np.float64], kind: Kind = Kind.TRAFFIC, **how: object) -> list[Drift]:
    settings: dict[str, object] = {"ratio": RATIO, "calendar": Calendar(), **how}
    return drifts_of(block(value, kind), **settings)  # type: ignore[arg-type]


def ramp(rate: float, *, for_days: float = 28.0) -> NDArray[np.float64]:
    """So much a day more, for the last days."""
    return np.asarray((1 + rate) ** np.maximum(0.0, days_of() + for_days))


@pytest.mark.parametrize("kind", [Kind.TRAFFIC, Kind.LATENCY], ids=lambda kind: kind.name)
def test_a_hundredth_a_day_is_found_before_it_is_a_third_and_not_in_its_first_fortnight(
    kind: Kind,
) -> None:
    for days, share in ((14, 0), (27, 20)):
        made = ramp(0.01, for_days=days)
        assert len(found(moving(made), kind)) == share, days
        assert made[-1] < 1.31


@pytest.mark.parametrize(("rate", "factor"), [(0.01, 1.32), (0.05, 3.92), (-0.05, 0.24)])
def test_a_ramp_of_four_weeks_is_told_with_each_of_its_weeks(rate: float, factor: float) -> None:
    all_found = found(moving(ramp(rate, for_days=35)))
    assert [one.series_id for one in all_found] == list(range(10, 30))
    for one in all_found:
        assert one.factor == pytest.approx(factor, rel=0.05)
        assert one.strength >= RATIO
        levels = (one.before, *one.weeks)
        for older, newer in pairwise(levels):
            assert newer / older == pytest.approx((1 + rate) ** 7, rel=0.08)


def test_a_rise_of_five_hundredths_a_day_is_found_within_seventeen_days() -> None:
    assert len(found(moving(ramp(0.05, for_days=17)))) == 20


def test_of_latency_and_errors_a_fall_is_good_news() -> None:
    fall = moving(ramp(-0.02, for_days=35))
    assert found(fall, Kind.LATENCY) == []
    assert found(fall * 1e-4, Kind.ERRORS) == []
    both = np.ones(20, np.bool_)
    assert len(found(fall, Kind.LATENCY, below=both)) == 20
    rise = moving(ramp(0.02, for_days=35))
    assert found(rise, above=~both) == []


@pytest.mark.parametrize("age", [1, 4, 7, 10.5, 14, 18, 24, 30])
@pytest.mark.parametrize("factor", [1.5, 0.5, 4.0])
def test_a_step_is_no_drift(age: float, factor: float) -> None:
    made = np.where(days_of() >= -age, factor, 1.0)
    assert found(moving(made)) == []
    assert found(moving(np.asarray(made)), Kind.LATENCY) == []


@pytest.mark.parametrize("weeks", [(1,), (2,), (3,), (4,), (2, 3), (1, 3)], ids=str)
def test_weeks_that_were_different_are_no_drift(weeks: tuple[int, ...]) -> None:
    """Counted back from the last one, 1: holidays, a campaign."""
    week = np.floor(-days_of() / 7 - 1e-9).astype(int) + 1
    assert found(moving(np.where(np.isin(week, weeks), 1.6, 1.0))) == []
    assert found(moving(np.where(np.isin(week, weeks), 0.5, 1.0))) == []


@pytest.mark.parametrize(
    ("daily", "memory", "share_max"),
    [(0.05, 0.3, 0.0), (0.1, 0.01, 0.002), (0.1, 0.5, 0.01), (0.05, 0.8, 0.005), (0.1, 0.9, 0.05)],
)
def test_noise_does_not_drift(daily: float, memory: float, share_max: float) -> None:
    """The last of them wanders by a tenth over ten days: of a hundred such, some have really gone far in a month."""
    value = season()[:, None] * noise(600, daily=daily, memory=memory)
    assert len(found(value)) <= share_max * 600


def test_month_ends_that_nobody_has_named_do_not_drift() -> None:
    """Five business days of twice as much, wherever the turn of the month falls in the five weeks."""
    for shift in range(31):
        day = np.floor(days_of() + 42).astype(int) + shift
        turn = np.isin(day % 30, (28, 29, 0, 1, 2))
        assert found(moving(np.where(turn, 2.0, 1.0), series=4)) == [], shift


def test_a_drift_is_seen_through_special_days_that_are_named() -> None:
    """Four days of the last seven are next to nothing: unnamed, they are what the level is now."""
    value = moving(ramp(0.02, for_days=35))
    end_day = END_NS // DAY_NS
    day = (END_NS - np.arange(len(value), 0, -1) * HOUR_NS) // DAY_NS
    named = range(end_day - 5, end_day - 1)
    value[np.isin(day, named)] *= 0.1
    facts = day_facts(end_day - 60, 90, holidays={}, own=dict.fromkeys(named, ("stocktaking",)))
    turns = ("month-end", "month-end-2", "month-end-3", "month-start", "month-start-2")
    calendar = Calendar(
        first_day=end_day - 60, days=facts, off=frozenset(turns), digest="stocktaking"
    )
    assert found(value) == []
    assert len(found(value, calendar=calendar)) == 20


def test_a_weekday_that_is_new_is_no_drift() -> None:
    """Sundays opened: each of the last two weeks has one day of seven that is other."""
    weekday = np.floor(days_of() + 42).astype(int) % 7
    made = np.where((weekday == 6) & (days_of() > -14), 3.0, 1.0)
    assert found(moving(made)) == []


def test_windows_that_are_missing_cost_a_week_at_most() -> None:
    value = moving(ramp(0.01, for_days=35))
    one_week = value.copy()
    one_week[(days_of() >= -14) & (days_of() < -7)] = np.nan
    (first, *_), count = found(one_week), len(found(one_week))
    assert count == 20
    assert math.isnan(first.weeks[2])
    for ages in ((-35, -28), (-7, 0), (-21, -7)):
        without = value.copy()
        without[(days_of() >= ages[0]) & (days_of() < ages[1])] = np.nan
        assert found(without) == []
    scattered = value.copy()
    scattered[np.random.default_rng(2).random(value.shape) < 0.4] = np.nan
    assert len(found(scattered)) == 20


def test_a_step_over_a_week_that_is_missing_is_a_step() -> None:
    value = moving(np.where(days_of() >= -10, 1.6, 1.0))
    value[(days_of() >= -14) & (days_of() < -7)] = np.nan
    assert found(value) == []


@pytest.mark.parametrize("days", [1, 14, 30])
def test_a_short_history_says_nothing(days: int) -> None:
    assert found(moving(ramp(0.05, for_days=35))[-days * 24 :]) == []


def test_a_history_of_a_month_and_a_bit_is_enough() -> None:
    assert len(found(moving(ramp(0.01, for_days=35))[-34 * 24 :])) == 20


def test_what_is_left_out_is_not_looked_at() -> None:
    calm = moving(np.ones(DAYS * 24))
    left_out = np.random.default_rng(3).random(calm.shape) < 0.7
    fault = np.where(left_out, calm * ramp(0.03)[:, None], calm)
    assert len(found(fault)) == 20
    assert found(fault, left_out=left_out) == []


def test_a_level_that_was_adopted_was_told() -> None:
    """Two releases a week apart look like a slope; of one of them an incident told, and what is left is a step."""
    made = np.where(days_of() >= -14, 1.2, 1.0) * np.where(days_of() >= -7, 1.2, 1.0)
    value = moving(made, series=2, daily=0.01)
    assert len(found(value)) == 2
    opened_ns = END_NS - 7 * DAY_NS + HOUR_NS
    told = SettledLevel(10, opened_ns, opened_ns + DAY_NS)
    other = SettledLevel(99, opened_ns, opened_ns + DAY_NS)
    old = SettledLevel(10, opened_ns - 50 * DAY_NS, opened_ns - 49 * DAY_NS)
    assert [one.series_id for one in found(value, settled=[told, other, old])] == [11]
    # A slope goes on behind a step that was told.
    slope = moving(ramp(0.03, for_days=35) * np.where(days_of() >= -7, 1.4, 1.0), series=1)
    assert [one.series_id for one in found(slope, settled=[told])] == [10]


def errors(share: NDArray[np.float64], calls: float, *, series: int = 20) -> WindowBlock:
    rng = np.random.default_rng(5)
    failed = rng.binomial(int(calls), np.repeat(share[:, None], series, axis=1))
    made = block(failed / calls, Kind.ERRORS)
    return replace(made, weight=np.full(made.value.shape, calls, np.float32))


def test_shares_of_errors_drift_by_their_calls() -> None:
    def count(share: NDArray[np.float64], calls: float) -> int:
        return len(drifts_of(errors(share, calls), ratio=RATIO, calendar=Calendar()))

    assert count(0.01 * ramp(0.01, for_days=35), 3600) == 20
    assert count(0.01 * ramp(0.05, for_days=20), 3600) == 20
    # Of two calls an hour nothing can be said, and a share that is nothing does not matter when it doubles.
    assert count(0.01 * ramp(0.01, for_days=35), 2) <= 1
    assert count(np.full(DAYS * 24, 0.01), 20) == 0
    assert count(0.000_1 * ramp(0.03, for_days=35), 3600) == 0
    assert count(np.where(days_of() >= -10, 0.04, 0.01), 3600) == 0


def test_a_share_that_came_from_nothing_has_no_factor() -> None:
    share = np.maximum(0.0, (days_of() + 28) / 28 * 0.05)
    (one, *_) = drifts_of(errors(share, 3600), ratio=RATIO, calendar=Calendar())
    assert one.before == 0.0
    assert math.isinf(one.factor)
    assert one.now == pytest.approx(0.0437, abs=0.003)


def test_gauges_and_shares_of_slow_calls_are_left_alone() -> None:
    value = moving(ramp(0.05, for_days=35))
    assert found(value, Kind.GAUGE) == []
    assert found(value * 1e-4, Kind.SLOW) == []


def test_nothing_and_the_endless_harm_no_series() -> None:
    value = moving(ramp(0.01, for_days=35), series=5)
    value[:, 0] = 0.0
    value[:, 1] = np.inf
    value[:, 2] = -3.0
    value[:, 3] = 3e38
    assert [one.series_id for one in found(value)] == [14]
    assert found(np.zeros((DAYS * 24, 3)), Kind.ERRORS) == []


def test_kinds_stand_beside_one_another() -> None:
    slope, calm = moving(ramp(0.02, for_days=35), series=2), moving(np.ones(DAYS * 24), series=4)
    mixed = np.concatenate([slope[:, :1] * 1e-4, calm, slope[:, 1:]], axis=1)
    kinds = (Kind.ERRORS, Kind.TRAFFIC, Kind.LATENCY, Kind.GAUGE, Kind.ERRORS, Kind.LATENCY)
    made = replace(block(mixed), kind=np.array(kinds, np.int8))
    made.value[:, 4] *= 1e-4
    all_found = drifts_of(made, ratio=RATIO, calendar=Calendar())
    assert [one.series_id for one in all_found] == [10, 15]
