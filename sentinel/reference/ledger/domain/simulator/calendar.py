"""The money calendar: business days, the turn of the month and payday of whole local days.

A day is counted from 1970-01-01 on the wall clock of the place whose people pay, so that a day of
23 or 25 hours is one day. Holidays are dates that the caller gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400
_PAYDAY_MAX: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """What each of n days is.

    Attributes:
        weekday: int64[n], Monday is 0.
        is_holiday: bool[n], also when it falls on a weekend.
        is_business: bool[n], Monday to Friday without holidays.
        business_from_start: int64[n], business days of the month before this day.
        business_to_end: int64[n], business days of the month after this day.
        is_payday: bool[n], the month's payday, or the business day before it.
    """

    weekday: NDArray[np.int64]
    is_holiday: NDArray[np.bool_]
    is_business: NDArray[np.bool_]
    business_from_start: NDArray[np.int64]
    business_to_end: NDArray[np.int64]
    is_payday: NDArray[np.bool_]


class MoneyCalendar:
    """Tells of any day what it is to those who move money.

    Args:
        holidays: datetime64[D], in any order.
        payday: day of the month on which salaries are paid, 1 to 28.
    """

    def __init__(self, *, holidays: NDArray[np.datetime64], payday: int = 25) -> None:
        if not 1 <= payday <= _PAYDAY_MAX:
            message = f"payday must lie between 1 and {_PAYDAY_MAX}, which every month has"
            raise ValueError(message)
        self._holidays = np.unique(holidays.astype("datetime64[D]"))
        self._busy = np.busdaycalendar(holidays=self._holidays)
        self._payday = payday

    def days(self, numbers: NDArray[np.int64]) -> Days:
        """Describe days by their number since 1970-01-01, which was a Thursday.

        >>> calendar = MoneyCalendar(holidays=np.array(["2026-05-01"], dtype="datetime64[D]"))
        >>> thirtieth_of_april = np.array([20573])
        >>> calendar.days(thirtieth_of_april).business_to_end.tolist()
        [0]
        """
        dates = numbers.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        first, after = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
        payday = np.busday_offset(
            first + (self._payday - 1), 0, roll="backward", busdaycal=self._busy
        )
        return Days(
            weekday=(numbers + 3) % 7,
            is_holiday=np.isin(dates, self._holidays),
            is_business=np.is_busday(dates, busdaycal=self._busy),
            business_from_start=np.busday_count(first, dates, busdaycal=self._busy),
            business_to_end=np.busday_count(dates + 1, after, busdaycal=self._busy),
            is_payday=dates == payday,
        )
