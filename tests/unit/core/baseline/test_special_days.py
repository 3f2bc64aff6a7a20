"""Goal: what special days differ by is learned where they differ, and nothing is learned where they do not.

Method: months of traffic with the shape of a day, in which the last business day is 1.6 times busier for some series; what
is expected is held against the truth without noise.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from sentinel.core.baseline import (
    Calendar,
    HourSums,
    Payday,
    SpecialDays,
    day_facts,
    days_to_read,
    fit_on_wall_clock,
    hour_means,
    learn_special_days,
    nothing_special,
)
from sentinel.core.model import Kind, WindowBlock

BIN_NS = 300_000_000_000
DAY_NS = 288 * BIN_NS
EPOCH = date(1970, 1, 1)
FIRST = (date(2026, 1, 5) - EPOCH).days
CALENDAR = Calendar(
    first_day=FIRST - 40,
    days=day_facts(FIRST - 40, 400, holidays={}, own={}, paydays=[Payday(day=15)]),
)
MONTH_END = CALENDAR.class_names.index("month-end")
PAYDAY = CALENDAR.class_names.index("payday")


def number(day: date) -> int:
    return (day - EPOCH).days


def ordinary(day_count: int, series_count: int) -> np.ndarray:
    """Busier by day, quieter at weekends, (T, S)."""
    bins = np.arange(day_count * 288)
    shape = 20 + 10 * np.sin(2 * np.pi * (bins % 288) / 288)
    shape *= np.where((FIRST + bins // 288 + 3) % 7 >= 5, 0.6, 1.0)
    return shape[:, None] * np.linspace(1, 8, series_count)


def factor_of(day_count: int, ratio: np.ndarray, *, whole_turn: bool = False) -> np.ndarray:
    """What month-ends, or all days around the turn of the month, multiply traffic by, (T, S)."""
    days = np.arange(FIRST, FIRST + day_count)
    member = CALENDAR.membership(days)
    is_busy = np.delete(member, PAYDAY, axis=1).any(axis=1) if whole_turn else member[:, MONTH_END]
    return np.where(np.asarray(is_busy)[:, None], ratio, 1.0).repeat(288, axis=0)


def block(value: np.ndarray, kind: Kind = Kind.TRAFFIC) -> WindowBlock:
    return WindowBlock(
        start_ns=FIRST * DAY_NS,
        step_ns=BIN_NS,
        series=np.arange(1, value.shape[1] + 1),
        kind=np.full(value.shape[1], int(kind), np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def noisy(value: np.ndarray, seed: int = 3) -> np.ndarray:
    """Each day as a whole a bit more or less, and each five minutes too."""
    rng = np.random.default_rng(seed)
    days = np.exp(0.03 * rng.standard_normal((len(value) // 288, value.shape[1])))
    return value * days.repeat(288, axis=0) * np.exp(0.05 * rng.standard_normal(value.shape))


def learned(history: WindowBlock, day: date) -> SpecialDays:
    hours = hour_means(history, CALENDAR).before(number(day))
    return learn_special_days(hours, CALENDAR)


def expected_on(history: WindowBlock, day: date, special: SpecialDays) -> np.ndarray:
    """Of the whole day, (288, S)."""
    fit = fit_on_wall_clock(history, at_ns=number(day) * DAY_NS, version=1, special=special)
    return fit.grid[:288]


def rows_of(day: date) -> slice:
    return slice((number(day) - FIRST) * 288, (number(day) - FIRST + 1) * 288)


@pytest.mark.parametrize("day", [date(2026, 3, 31), date(2026, 4, 30)])
def test_the_third_month_end_is_expected_as_busy_as_it_is(day: date) -> None:
    ratio = np.linspace(1.2, 2.4, 12)
    truth = ordinary(120, 12) * factor_of(120, ratio)
    history = block(noisy(truth))
    special = learned(history, day)
    wanted = truth[rows_of(day)]
    off = np.median(expected_on(history, day, special) / wanted, axis=0)
    assert np.all(np.abs(off - 1) < 0.1)
    without = np.median(expected_on(history, day, nothing_special(CALENDAR)) / wanted, axis=0)
    assert np.all(without < 0.9)
    fit = fit_on_wall_clock(history, at_ns=number(day) * DAY_NS, version=1, special=special)
    assert fit.ease is not None
    assert np.allclose(fit.ease[8:20], ratio, rtol=0.15)


def test_a_series_of_few_repeats_is_drawn_to_what_all_do() -> None:
    """The first month-end of a new series: others have shown what it is like."""
    truth = ordinary(90, 12) * factor_of(90, np.full(12, 1.6))
    value = noisy(truth)
    value[: rows_of(date(2026, 3, 1)).start, 0] = np.nan
    day = date(2026, 3, 31)
    special = learned(block(value), day)
    assert np.exp(special.effect[MONTH_END, 12, 0]) == pytest.approx(1.6, rel=0.05)
    alone = learned(block(value[:, :1]), day)
    assert np.all(alone.effect[MONTH_END] == 0)


def test_classes_whose_days_look_like_others_change_nothing() -> None:
    """Noise of whole days is no season: what is expected stays within a hundredth of the profile."""
    value = noisy(ordinary(120, 12), seed=5)
    history = block(value)
    for day in (date(2026, 4, 15), date(2026, 4, 30), date(2026, 4, 21)):
        special = learned(history, day)
        with_it = expected_on(history, day, special)
        without = expected_on(history, day, nothing_special(CALENDAR))
        assert np.median(np.abs(with_it / without - 1)) < 0.01
        assert np.max(np.abs(with_it / without - 1)) < 0.06


def test_an_ordinary_day_after_a_special_one_is_expected_as_without_it() -> None:
    ratio = np.full(6, 2.5)
    truth = ordinary(120, 6)
    busy = block(noisy(truth * factor_of(120, ratio, whole_turn=True)))
    day = date(2026, 4, 3)
    special = learned(busy, day)
    calm = block(noisy(truth))
    wanted = expected_on(calm, day, nothing_special(CALENDAR))
    assert np.median(expected_on(busy, day, special) / wanted) == pytest.approx(1, abs=0.03)
    # Of its eight days half are special ones.
    plain = expected_on(busy, day, nothing_special(CALENDAR))
    assert np.median(plain / wanted) > 1.5


def test_an_outage_on_one_month_end_is_not_what_the_next_is_expected_to_be() -> None:
    truth = ordinary(120, 10) * factor_of(120, np.full(10, 1.6))
    value = noisy(truth)
    value[rows_of(date(2026, 2, 27)), 4] = 0
    special = learned(block(value), date(2026, 4, 30))
    assert np.exp(special.effect[MONTH_END, 12, 4]) == pytest.approx(1.6, rel=0.12)


def test_two_kinds_on_one_day_are_told_apart() -> None:
    """Payday falls on the month-end once; the other repeats say which of them it was."""
    calendar = Calendar(
        first_day=FIRST - 40,
        days=day_facts(
            FIRST - 40,
            400,
            holidays={},
            own={
                number(date(2026, 1, 20)): ("sale",),
                number(date(2026, 2, 27)): ("sale",),
                number(date(2026, 3, 18)): ("sale",),
            },
        ),
    )
    days = np.arange(FIRST, FIRST + 115)
    member = calendar.membership(days)
    end, sale = (calendar.class_names.index(name) for name in ("month-end", "sale"))
    ratio = np.where(member[:, end], 1.6, 1.0) * np.where(member[:, sale], 0.5, 1.0)
    value = noisy(ordinary(115, 8) * ratio.repeat(288)[:, None])
    special = learn_special_days(hour_means(block(value), calendar), calendar)
    assert np.exp(special.effect[end, 12]) == pytest.approx(np.full(8, 1.6), rel=0.1)
    assert np.exp(special.effect[sale, 12]) == pytest.approx(np.full(8, 0.5), rel=0.1)


def test_shares_of_errors_are_left_alone_and_nothing_is_learned_of_ten_days() -> None:
    truth = ordinary(120, 4) * factor_of(120, np.full(4, 3.0))
    day = date(2026, 4, 30)
    assert not learned(block(noisy(truth / 1000), kind=Kind.ERRORS), day).matters
    assert learned(block(noisy(truth)), day).matters
    assert not learned(block(noisy(truth)), date(2026, 1, 16)).matters


def test_what_is_nothing_and_what_is_below_stays_so() -> None:
    value = ordinary(120, 3) * factor_of(120, np.full(3, 2.0))
    value[:, 1] = 0
    value[:, 2] *= -1
    history = block(value)
    day = date(2026, 4, 30)
    fit = expected_on(history, day, learned(history, day))
    assert np.all(fit[:, 1] == 0)
    assert np.all(fit[:, 2] < 0)
    assert np.all(np.isfinite(fit))


@pytest.mark.parametrize("cut", [1, 7, 12, 100, 300])
def test_means_by_hour_are_the_same_however_windows_come(cut: int) -> None:
    value = noisy(ordinary(10, 3))
    value[40:70, 1] = np.nan
    whole = block(value)
    days = np.arange(FIRST + 2, FIRST + 7)
    calendar = Calendar(offsets=((0, 3600), ((FIRST + 4) * DAY_NS, 7200)))
    first, second = HourSums(days, whole.series, calendar), HourSums(days, whole.series, calendar)
    first.add(whole)
    for at in range(0, whole.window_count, cut):
        second.add(whole.windows(at, min(at + cut, whole.window_count)))
    assert np.allclose(first.means().mean, second.means().mean, rtol=1e-5, equal_nan=True)


def test_no_windows_have_no_means() -> None:
    """A file of two rows, a second apart, holds no bin of five minutes: its preview with a calendar ended with a traceback."""
    nothing = block(np.zeros((0, 2)))
    means = hour_means(nothing, CALENDAR)
    assert not np.isfinite(means.mean).any()
    sums = HourSums(np.arange(FIRST, FIRST + 2), nothing.series, CALENDAR)
    sums.add(nothing)
    assert sums.means().mean.shape == (2, 24, 2)
    special = learn_special_days(means, CALENDAR)
    assert special.calendar == CALENDAR


def test_no_more_days_are_read_than_repeats_and_what_they_are_compared_with() -> None:
    today = number(date(2026, 11, 20))
    days = days_to_read(
        CALENDAR, today=today, recent_days=42, repeats_max=2, oldest_day=today - 400
    )
    assert set(range(today - 42, today)) <= set(days.tolist())
    older = days[days < today - 42]
    assert len(older) <= 18
    ends = [number(date(2026, 10, 30)), number(date(2026, 9, 30))]
    assert {end - 7 for end in ends} <= set(days.tolist())
    assert number(date(2026, 8, 31)) not in days
    assert days.max() < today
    assert date(2026, 9, 30) - timedelta(days=14) == date(2026, 9, 16)
    assert number(date(2026, 9, 16)) in days


def test_values_that_no_sum_holds_harm_neither_their_series_nor_others() -> None:
    truth = ordinary(120, 4) * factor_of(120, np.full(4, 2.0))
    value = noisy(truth)
    value[::50, 1] = float(np.finfo(np.float32).max)
    history = block(value)
    day = date(2026, 4, 30)
    special = learned(history, day)
    assert np.all(np.isfinite(special.effect))
    assert np.exp(special.effect[MONTH_END, 12, [0, 2, 3]]) == pytest.approx(2.0, rel=0.1)
    assert np.all(np.isfinite(expected_on(history, day, special)))
