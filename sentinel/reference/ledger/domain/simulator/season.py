"""How different customers spread their calls over day, week, month and holidays; and cron jobs.

A habit's factor is 1 on average over an ordinary week (no holiday, no turn of the month), so a rate
times the factor keeps its meaning. It follows the wall clock: 09:00 is 09:00 in summer and winter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.simulator.calendar import DAY_S, MoneyCalendar

HOUR_S: Final = 3600

# Business days from the month's end (0 is the last) and from its beginning: salaries, standing
# orders and settlements are booked around the turn.
_TO_END: Final = {0: 1.60, 1: 1.35, 2: 1.15}
_FROM_START: Final = {0: 1.40, 1: 1.15}
_PAYDAY: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """One kind of customer.

    Attributes:
        hours: weight of each local hour's beginning; between them it is linear.
        weekdays: weight of Monday to Sunday.
        holiday: weight of a public holiday against an ordinary day, whatever its weekday.
        month: how strongly the turn of the month and payday are felt, as an exponent.
    """

    name: str
    hours: tuple[float, ...]
    weekdays: tuple[float, ...]
    holiday: float
    month: float


PEOPLE: Final = Habit(
    name="people",
    hours=(
        0.42, 0.32, 0.26, 0.22, 0.21, 0.26, 0.45, 0.78, 1.10, 1.38, 1.52, 1.60,
        1.62, 1.55, 1.48, 1.44, 1.42, 1.45, 1.50, 1.48, 1.30, 1.05, 0.80, 0.58,
    ),
    weekdays=(1.08, 1.06, 1.05, 1.08, 1.18, 0.85, 0.70),
    holiday=0.65,
    month=1.0,
)  # fmt: skip
SHOPPERS: Final = Habit(
    name="shoppers",
    hours=(
        0.30, 0.18, 0.12, 0.10, 0.10, 0.14, 0.30, 0.55, 0.90, 1.20, 1.40, 1.50,
        1.55, 1.45, 1.40, 1.45, 1.55, 1.75, 1.95, 2.05, 1.95, 1.50, 0.95, 0.55,
    ),
    weekdays=(0.88, 0.88, 0.92, 1.00, 1.20, 1.32, 0.80),
    holiday=0.50,
    month=0.5,
)  # fmt: skip
PAYROLL: Final = Habit(
    name="payroll",
    hours=(
        0.05, 0.05, 0.05, 0.05, 0.05, 0.08, 0.30, 1.00, 2.20, 3.00, 3.10, 2.80,
        1.90, 2.10, 2.60, 2.40, 1.70, 0.90, 0.35, 0.15, 0.08, 0.05, 0.05, 0.05,
    ),
    weekdays=(1.30, 1.35, 1.35, 1.35, 1.40, 0.15, 0.10),
    holiday=0.10,
    month=2.0,
)  # fmt: skip

# The system runs at its own pace: jobs and the machines behind them.
EVEN: Final = Habit(name="even", hours=(1.0,) * 24, weekdays=(1.0,) * 7, holiday=1.0, month=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """Calls that a timer makes: `added` a second for `length_s`, every `every_s` from `at_s`.

    `on_utc` jobs do not move with daylight saving, so on the wall clock they jump by an hour.
    """

    every_s: int
    at_s: int
    length_s: int
    added: float
    on_utc: bool = False


def season(
    habit: Habit, local_s: NDArray[np.float64], calendar: MoneyCalendar
) -> NDArray[np.float64]:
    """Return the factor of `habit` at each wall clock, see `shape.load_factor`.

    >>> calendar = MoneyCalendar(holidays=np.array([], dtype="datetime64[D]"))
    >>> monday = 1_768_176_000 + np.arange(0, 7 * 86_400, 60.0)  # 2026-01-12
    >>> round(float(season(PAYROLL, monday, calendar).mean()), 2)
    1.0
    """
    days = np.floor(local_s / DAY_S)
    hours = np.array(habit.hours)
    # Linear between the hours' beginnings, so the mean over a day is that of the table.
    of_day = np.interp(
        (local_s - days * DAY_S) / HOUR_S, np.arange(25), np.append(hours, hours[0])
    )
    # The day's weight glides over the two hours around midnight: nobody's business jumps there.
    day_numbers, place = np.unique(days.astype(np.int64), return_inverse=True)
    around = np.unique(np.concatenate([day_numbers - 1, day_numbers, day_numbers + 1]))
    weights = _day_weights(habit, around, calendar)
    at = np.searchsorted(around, day_numbers)[place]
    into_h = (local_s - days * DAY_S) / HOUR_S
    before = np.clip((1.0 - into_h) / 2, 0.0, 0.5)
    after = np.clip((into_h - 23.0) / 2, 0.0, 0.5)
    of_date = (1.0 - before - after) * weights[at]
    of_date += before * weights[at - 1] + after * weights[at + 1]
    return np.asarray(of_day / hours.mean() * of_date, dtype=np.float64)


def spike_calls(spike: Spike, starts_s: NDArray[np.float64], step_s: float) -> NDArray[np.float64]:
    """Return calls a second that `spike` adds to each window, exact for windows cut by its ends.

    `starts_s` is UTC for a job on UTC, the wall clock for others.
    """

    def running_s(at: NDArray[np.float64]) -> NDArray[np.float64]:
        rounds = np.floor((at - spike.at_s) / spike.every_s)
        into = at - spike.at_s - rounds * spike.every_s
        return np.asarray(rounds * spike.length_s + np.minimum(into, spike.length_s))

    share = (running_s(starts_s + step_s) - running_s(starts_s)) / step_s
    return np.asarray(spike.added * share, dtype=np.float64)


def _day_weights(
    habit: Habit, numbers: NDArray[np.int64], calendar: MoneyCalendar
) -> NDArray[np.float64]:
    """Weight of whole days: the weekday's, or a holiday's, times what the month asks."""
    days = calendar.days(numbers)
    weekdays = np.array(habit.weekdays)
    weight = (weekdays / weekdays.mean())[days.weekday]
    weight = np.where(days.is_holiday, np.minimum(weight, habit.holiday), weight)
    for column, table in (
        (days.business_to_end, _TO_END),
        (days.business_from_start, _FROM_START),
    ):
        for offset, factor in table.items():
            felt = days.is_business & (column == offset)
            weight = np.where(felt, weight * factor**habit.month, weight)
    weight = np.where(days.is_payday, weight * _PAYDAY**habit.month, weight)
    return np.asarray(weight, dtype=np.float64)
