"""Fits that know the calendar: what special days differ by is read from a store, or learned day by day in a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import (
    BIN_NS,
    HORIZON_NS,
    Calendar,
    HourMeans,
    HourSums,
    Profile,
    SpecialDays,
    days_to_read,
    fit_on_wall_clock,
    hour_means,
    learn_special_days,
    nothing_special,
)
from sentinel.core.model import WindowBlock

DAY_NS = 86_400_000_000_000
HISTORY_DAYS = 400
RECENT_DAYS = 35
REPEATS_MAX = 4
"""Days of each kind that are read; the older of them with the days they are compared with."""


class WindowReader(Protocol):
    """What of a store is read."""

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Stored windows, in time order."""
        ...


def stored_special_days(
    reader: WindowReader, ids: NDArray[np.int64], *, calendar: Calendar, now_ns: int
) -> SpecialDays:
    """What the stored windows of five minutes say about the calendar's days.

    Only days that are worth it are read, and of all series at once: a day is unpacked once, and kept by hour.
    """
    if not calendar.class_names or not len(ids):
        return nothing_special(calendar)
    days = _days(calendar, calendar.local_day(now_ns))
    return learn_special_days(_stored_hours(reader, ids, days, calendar, now_ns), calendar)


class SeasonsThen:
    """What `stored_special_days` would have given at some instants; the store is read once for all of them."""

    def __init__(
        self,
        reader: WindowReader,
        ids: NDArray[np.int64],
        *,
        calendar: Calendar,
        instants_ns: Sequence[int],
    ) -> None:
        """For the instants that are going to be asked for."""
        self._calendar = calendar
        self._hours: HourMeans | None = None
        if calendar.class_names and len(ids) and instants_ns:
            wanted = [_days(calendar, calendar.local_day(at_ns)) for at_ns in instants_ns]
            days = np.unique(np.concatenate(wanted))
            self._hours = _stored_hours(reader, ids, days, calendar, max(instants_ns))

    def at(self, at_ns: int) -> SpecialDays:
        """What was known at one of the instants."""
        if self._hours is None:
            return nothing_special(self._calendar)
        wanted = np.isin(self._hours.days, _days(self._calendar, self._calendar.local_day(at_ns)))
        return learn_special_days(self._hours.of_days(wanted), self._calendar)


def _stored_hours(
    reader: WindowReader,
    ids: NDArray[np.int64],
    days: NDArray[np.int64],
    calendar: Calendar,
    now_ns: int,
) -> HourMeans:
    """The stored windows of local days by hour; of what came after `now_ns` none."""
    sums = HourSums(days, ids, calendar)
    offsets_ns = [seconds * 10**9 for _, seconds in calendar.offsets]
    for first, last in _runs(days):
        for block in reader.windows(
            step_ns=BIN_NS,
            start_ns=first * DAY_NS - max(offsets_ns),
            end_ns=min((last + 1) * DAY_NS - min(offsets_ns), now_ns),
        ):
            sums.add(block)
    return sums.means()


class CausalSeasons:
    """A fit for a replay: before each day it learns again from the days before, when one of them says something new."""

    def __init__(
        self, history: WindowBlock, calendar: Calendar, fit: Callable[..., Profile]
    ) -> None:
        """For the whole history; what is to come in it is never looked at."""
        self._calendar = calendar
        self._fit = fit
        self._hours = hour_means(history, calendar) if calendar.class_names else None
        self._special = nothing_special(calendar)
        self._learned_day = -1

    def __call__(
        self,
        history: WindowBlock,
        *,
        at_ns: int,
        version: int,
        horizon_ns: int = HORIZON_NS,
        left_out: NDArray[np.bool_] | None = None,
    ) -> Profile:
        """As `fit_profile`."""
        today = self._calendar.local_day(at_ns)
        if self._hours is not None and today != self._learned_day and self._is_news(today):
            known = self._hours.before(today)
            wanted = np.isin(known.days, _days(self._calendar, today))
            self._special = learn_special_days(known.of_days(wanted), self._calendar)
            self._learned_day = today
        return fit_on_wall_clock(
            history,
            at_ns=at_ns,
            version=version,
            special=self._special,
            horizon_ns=horizon_ns,
            fit=self._fit,
            left_out=left_out,
        )

    def _is_news(self, today: int) -> bool:
        """Whether yesterday was special, or the day that a special one is compared with; or it is a week since."""
        days = np.array([today - 1, today - 8], np.int64)
        is_special = bool(self._calendar.membership(days).any())
        return is_special or today - self._learned_day >= 7


def _days(calendar: Calendar, today: int) -> NDArray[np.int64]:
    return days_to_read(
        calendar,
        today=today,
        recent_days=RECENT_DAYS,
        repeats_max=REPEATS_MAX,
        oldest_day=today - HISTORY_DAYS,
    )


def _runs(days: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last of each run of days in a row."""
    for run in np.split(days, np.flatnonzero(np.diff(days) > 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1])
