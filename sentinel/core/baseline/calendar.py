"""What kind of day each local date is, and how far the wall clock of a place is from UTC, as plain data.

Whoever makes a `Calendar` has asked the zone database and a list of public holidays; here only numbers are left. A
"local instant" is what a clock on the wall of that place shows, counted in nanoseconds as if it were UTC; a "local day" is
the number of such days since 1970-01-01, so that a day of 23 or 25 hours is one day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import LocalHours, local_hours

DAY_NS = 86_400_000_000_000
SECOND_NS = 1_000_000_000
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday, and Monday is 0."""

MONTH_END = ("month-end", "month-end-2", "month-end-3")
"""The last business day of a month, the last but one, and the one before."""
MONTH_START = ("month-start", "month-start-2")
PAYDAY = "payday"
HOLIDAY = "holiday"
WEEKEND_HOLIDAY = "weekend-holiday"
"""A holiday on a Saturday or Sunday, which most weeks look like anyway."""
CLOSING = "closing"
BUSINESS_DAY_MAX = 15
"""The business days of a month that can be named besides are up to this one from its start or end."""
BUILT_IN_CLASSES = (*MONTH_END, *MONTH_START, PAYDAY, HOLIDAY, WEEKEND_HOLIDAY, CLOSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """What one local date is.

    Attributes:
        weekday: Monday is 0.
        is_business: Monday to Friday, no holiday and no closing.
        business_from_start: business days of the month before this day.
        business_to_end: business days of the month after this day.
        is_month_end: the last day of its month.
        is_payday: a day on which salaries are paid.
        holiday: name of the public holiday, or empty.
        own: names of the kinds of day that the configuration says it is.
    """

    weekday: int
    is_business: bool
    business_from_start: int
    business_to_end: int
    is_month_end: bool
    is_payday: bool
    holiday: str = ""
    own: tuple[str, ...] = ()

    def classes(self) -> tuple[str, ...]:
        """The classes of special day that it belongs to; none for an ordinary day."""
        found = list(self.own)
        if self.holiday:
            found.append(WEEKEND_HOLIDAY if self.weekday >= 5 else HOLIDAY)
        if self.is_business:
            found += MONTH_END[self.business_to_end : self.business_to_end + 1]
            found += MONTH_START[self.business_from_start : self.business_from_start + 1]
        if self.is_payday:
            found.append(PAYDAY)
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The wall clock of a zone and its days over a stretch of years.

    Attributes:
        zone: its name, for people.
        offsets: (from this Unix instant in ns, offset from UTC in seconds), ascending; the first holds before it too.
        first_day: local day of the first of `days`.
        days: facts of one date after the other. A date outside is an ordinary day.
        off: classes that are not to be looked at.
        digest: names all of this; other days or another zone have another digest.
    """

    zone: str = "UTC"
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)
    first_day: int = 0
    days: tuple[DayFacts, ...] = ()
    off: frozenset[str] = frozenset()
    digest: str = "UTC"

    @cached_property
    def _from_ns(self) -> NDArray[np.int64]:
        return np.array([at_ns for at_ns, _ in self.offsets], np.int64)

    @cached_property
    def _offset_ns(self) -> NDArray[np.int64]:
        return np.array([seconds * SECOND_NS for _, seconds in self.offsets], np.int64)

    @cached_property
    def local_hours(self) -> LocalHours:
        """The wall clock in whole hours."""
        return local_hours(self.offsets)

    @property
    def is_utc(self) -> bool:
        """Whether the wall clock shows UTC, always."""
        return all(seconds == 0 for _, seconds in self.offsets)

    def offset_ns(self, at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far the wall clock is ahead of UTC at each instant."""
        place = np.searchsorted(self._from_ns, at_ns, side="right") - 1
        return np.asarray(self._offset_ns[np.maximum(place, 0)], np.int64)

    def offset_at(self, at_ns: int) -> int:
        """How far the wall clock is ahead of UTC at an instant, in ns."""
        return int(self.offset_ns(np.array([at_ns], np.int64))[0])

    def local_day(self, at_ns: int) -> int:
        """The local day of an instant."""
        return (at_ns + self.offset_at(at_ns)) // DAY_NS

    def moved(self, days: int) -> Calendar:
        """The same for time lines whose day 0 is `days` days after 1970-01-01."""
        return replace(
            self,
            offsets=tuple((at_ns - days * DAY_NS, seconds) for at_ns, seconds in self.offsets),
            first_day=self.first_day - days,
        )

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Classes of special day that there are, in a fixed order."""
        present = {name for facts in self.days for name in facts.classes()} - self.off
        own = sorted(present - set(BUILT_IN_CLASSES))
        return (*(name for name in BUILT_IN_CLASSES if name in present), *own)

    @cached_property
    def _membership(self) -> NDArray[np.bool_]:
        """bool[D, K], of `days` and `class_names`."""
        number = {name: at for at, name in enumerate(self.class_names)}
        member = np.zeros((len(self.days), len(number)), np.bool_)
        for row, facts in zip(member, self.days, strict=True):
            for name in facts.classes():
                if name in number:
                    row[number[name]] = True
        return member

    def membership(self, days: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which classes each local day belongs to, bool[D, K]."""
        place = days - self.first_day
        inside = (place >= 0) & (place < len(self.days))
        member = np.zeros((len(days), len(self.class_names)), np.bool_)
        member[inside] = self._membership[place[inside]]
        return member

    def special_days(self, first_day: int, last_day: int) -> NDArray[np.int64]:
        """Local days of `[first_day, last_day)` that belong to any class, ascending."""
        days = np.arange(first_day, last_day)
        return days[self.membership(days).any(axis=1)]


def business_day_class(number: int) -> str:
    """Name of the kind of day that is the `number`th business day of its month, counted from its end where negative.

    >>> business_day_class(5), business_day_class(-4), business_day_class(-1)
    ('month-start-5', 'month-end-4', 'month-end')
    """
    edge = "month-start" if number > 0 else "month-end"
    return edge if abs(number) == 1 else f"{edge}-{abs(number)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payday:
    """A day of the month on which salaries are paid; beyond the month's end, its last day.

    Attributes:
        day: of the month, 1 to 31.
        roll: when it is no business day: -1 for the business day before, 1 for the one after, 0 for as it is.
    """

    day: int
    roll: int = -1


def day_facts(
    first_day: int,
    day_count: int,
    *,
    holidays: dict[int, str],
    own: dict[int, tuple[str, ...]],
    closed: frozenset[int] = frozenset(),
    paydays: Sequence[Payday] = (),
    business_days: Sequence[int] = (),
) -> tuple[DayFacts, ...]:
    """Facts of local days from `first_day` on.

    Args:
        first_day: local day of the first.
        day_count: how many.
        holidays: names of public holidays by local day.
        own: kinds of day that the configuration names, by local day.
        closed: local days on which business rests besides.
        paydays: when salaries are paid.
        business_days: business days of the month that are no ordinary ones besides: 5 for the fifth, -4 for the
            last but three.
    """
    resting = np.array(sorted({*holidays, *closed}), np.int64).astype("datetime64[D]")
    busy = np.busdaycalendar(holidays=resting)
    days = np.arange(first_day, first_day + day_count)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    first, after = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    is_business = np.is_busday(dates, busdaycal=busy)
    from_start = np.busday_count(first, dates, busdaycal=busy)
    to_end = np.busday_count(dates + 1, after, busdaycal=busy)
    is_payday = np.zeros(day_count, np.bool_)
    for payday in paydays:
        # Of the months around too: a payday may roll into its neighbour.
        for month in (months - 1, months, months + 1):
            begin = month.astype("datetime64[D]")
            end = (month + 1).astype("datetime64[D]") - 1
            due = np.minimum(begin + (payday.day - 1), end)
            if payday.roll:
                due = (
                    np.busday_offset(due, 0, roll="backward", busdaycal=busy)
                    if payday.roll < 0
                    else np.busday_offset(due, 0, roll="forward", busdaycal=busy)
                )
            is_payday |= dates == due
    return tuple(
        DayFacts(
            weekday=int((day + _EPOCH_WEEKDAY) % 7),
            is_business=bool(is_business[at]),
            business_from_start=int(from_start[at]),
            business_to_end=int(to_end[at]),
            is_month_end=bool(dates[at] + 1 == after[at]),
            is_payday=bool(is_payday[at]),
            holiday=holidays.get(int(day), ""),
            own=own.get(int(day), ())
            + tuple(
                business_day_class(number)
                for number in business_days
                if is_business[at]
                and (from_start[at] == number - 1 if number > 0 else to_end[at] == -number - 1)
            ),
        )
        for at, day in enumerate(days.tolist())
    )
