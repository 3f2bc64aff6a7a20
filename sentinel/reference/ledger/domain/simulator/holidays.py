"""Public holidays as plain data: the days on which a whole country's money rests.

Rules of a few countries, nationwide days only. Whoever needs another country, a region's days or
their own closing days gives them as dates; nothing here is asked for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SUNDAY: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryRules:
    """How one country's holidays are found in any year.

    Attributes:
        fixed: (month, day).
        easter: days from Easter Sunday.
        weekdays: (month, weekday from Monday = 0, which one; -1 is the month's last).
        sunday_moves: a fixed day that falls on a Sunday is kept on the Monday after.
    """

    fixed: tuple[tuple[int, int], ...] = ()
    easter: tuple[int, ...] = ()
    weekdays: tuple[tuple[int, int, int], ...] = ()
    sunday_moves: bool = False


COUNTRIES: Final[dict[str, CountryRules]] = {
    "AT": CountryRules(
        fixed=(
            (1, 1), (1, 6), (5, 1), (8, 15), (10, 26), (11, 1), (12, 8), (12, 25), (12, 26),
        ),
        easter=(1, 39, 50, 60),
    ),
    "DE": CountryRules(
        fixed=((1, 1), (5, 1), (10, 3), (12, 25), (12, 26)), easter=(-2, 1, 39, 50)
    ),
    "FR": CountryRules(
        fixed=((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)),
        easter=(1, 39, 50),
    ),
    "IT": CountryRules(
        fixed=(
            (1, 1), (1, 6), (4, 25), (5, 1), (6, 2), (8, 15), (11, 1), (12, 8), (12, 25), (12, 26),
        ),
        easter=(1,),
    ),
    # The days on which the central bank's payment services rest.
    "US": CountryRules(
        fixed=((1, 1), (6, 19), (7, 4), (11, 11), (12, 25)),
        weekdays=((1, 0, 3), (2, 0, 3), (5, 0, -1), (9, 0, 1), (10, 0, 2), (11, 3, 4)),
        sunday_moves=True,
    ),
}  # fmt: skip


def holidays_of(country: str, years: Iterable[int]) -> NDArray[np.datetime64]:
    """Return the nationwide holidays of `years`, ascending.

    Raises:
        ValueError: the country has no rules here.

    >>> [str(day) for day in holidays_of("DE", [2026])][:4]
    ['2026-01-01', '2026-04-03', '2026-04-06', '2026-05-01']
    """
    rules = COUNTRIES.get(country)
    if rules is None:
        message = f"no holidays known for {country!r}: one of {', '.join(sorted(COUNTRIES))}"
        raise ValueError(message)
    days: set[date] = set()
    for year in years:
        for month, day in rules.fixed:
            fixed = date(year, month, day)
            if rules.sunday_moves and fixed.weekday() == _SUNDAY:
                fixed += timedelta(days=1)
            days.add(fixed)
        days.update(easter_sunday(year) + timedelta(days=offset) for offset in rules.easter)
        days.update(_nth_weekday(year, *rule) for rule in rules.weekdays)
    return np.array(sorted(days), dtype="datetime64[D]")


def easter_sunday(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar.

    >>> easter_sunday(2026).isoformat(), easter_sunday(2038).isoformat()
    ('2026-04-05', '2038-04-25')
    """
    golden = year % 19
    century, of_century = divmod(year, 100)
    # Days from 21 March to the full moon, corrected for leap centuries and the moon's drift.
    moon = (
        19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15
    ) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - moon - of_century % 4) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _nth_weekday(year: int, month: int, weekday: int, which: int) -> date:
    if which > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (which - 1))
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)
