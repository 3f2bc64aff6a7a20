"""What a user may set about seasons: whose wall clock, which days are not like others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from sentinel.core.baseline.calendar import (
    BUILT_IN_CLASSES,
    BUSINESS_DAY_MAX,
    CLOSING,
    business_day_class,
)
from sentinel.runtime.settings import Zone, setting

_DATES_MAX = 1000
_NAMES_MAX = 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_SUBDIVISION = re.compile(r"[\w -]{1,40}")
_EVERY_YEAR = re.compile(r"\d\d-\d\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LEAP_YEAR = 2000


class Roll(StrEnum):
    """Where a payday goes that is no business day."""

    BEFORE = "before"
    AFTER = "after"
    NONE = "none"

    @property
    def sign(self) -> int:
        """-1, 1 or 0."""
        return {Roll.BEFORE: -1, Roll.AFTER: 1, Roll.NONE: 0}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaydayConfig:
    """A day of the month on which salaries are paid."""

    day: int = setting(25, help="Day of the month; beyond its end, its last day.")
    roll: Roll = setting(
        Roll.BEFORE,
        help="When that is no business day: the business day `before` it, the one `after` it, or `none` for as it is.",
    )

    def __post_init__(self) -> None:
        if not 1 <= self.day <= 31:
            msg = "day must be between 1 and 31"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarConfig:
    """Whose wall clock the seasons follow, and which days are not like others.

    As soon as anything of it is set, the turn of the month is among those. What a kind of day differs by is learned, and
    may be nothing.
    """

    zone: Zone | None = setting(
        None,
        help="Day and week follow the wall clock of this zone; without it, of the `zone` that times are shown in.",
    )
    country: str = setting(
        "", help="Public holidays of this country, two letters as in `DE`; empty for none."
    )
    subdivision: str = setting(
        "", help="With the days of this part of it too, by its ISO 3166-2 code, such as `BY`."
    )
    paydays: tuple[PaydayConfig, ...] = setting(
        (), help="Days of the month on which salaries are paid."
    )
    business_days: tuple[int, ...] = setting(
        (),
        help="Business days of the month that are not like others, besides the first two and the last three:"
        " `[5, -4]` for the fifth and the last but three.",
    )
    closing_dates: tuple[str, ...] = setting(
        (),
        help='Days on which your business rests besides: `"2026-12-31"`, or `"12-31"` for every year.',
    )
    own_days: dict[str, tuple[str, ...]] = setting(
        {},
        help='Other days that are not like others, by a name of yours: `{stocktaking: ["06-30"]}`.',
    )
    ignore: tuple[str, ...] = setting(
        (),
        help=f"Kinds of day that are taken for ordinary ones: {', '.join(BUILT_IN_CLASSES)}, or names of `own_days`.",
    )

    def __post_init__(self) -> None:
        if self.country and not _COUNTRY.fullmatch(self.country):
            msg = "country must be two capital letters, such as DE"
            raise ValueError(msg)
        if self.subdivision and not self.country:
            msg = "subdivision needs a country"
            raise ValueError(msg)
        if self.subdivision and not _SUBDIVISION.fullmatch(self.subdivision):
            msg = "subdivision must be a code such as BY"
            raise ValueError(msg)
        usual = {
            number for number in range(-3, 3) if business_day_class(number) in BUILT_IN_CLASSES
        }
        for number in self.business_days:
            if number in usual:
                msg = (
                    f"business_days: {number} is looked at anyway, as {business_day_class(number)}"
                )
                raise ValueError(msg)
            if number == 0 or abs(number) > BUSINESS_DAY_MAX:
                msg = f"business_days: {number} must be 3 to {BUSINESS_DAY_MAX}, or -4 to -{BUSINESS_DAY_MAX}"
                raise ValueError(msg)
        if len(set(self.business_days)) < len(self.business_days):
            msg = "business_days names one twice"
            raise ValueError(msg)
        if len(self.own_days) > _NAMES_MAX:
            msg = f"own_days has {len(self.own_days)} names, which is more than {_NAMES_MAX}"
            raise ValueError(msg)
        for name in self.own_days:
            if not _NAME.fullmatch(name):
                msg = f"own_days: {name!r} must be small letters, digits and hyphens, at most 40"
                raise ValueError(msg)
            if name in BUILT_IN_CLASSES or name in self._counted():
                msg = f"own_days: {name} is the name of a kind of day that there is already"
                raise ValueError(msg)
        for where, dates in {"closing_dates": self.closing_dates, **self._own()}.items():
            if len(dates) > _DATES_MAX:
                msg = f"{where} has {len(dates)} dates, which is more than {_DATES_MAX}"
                raise ValueError(msg)
            for text in dates:
                check_date(text, where)
        unknown = set(self.ignore) - {*BUILT_IN_CLASSES, *self._counted(), *self.own_days}
        if unknown:
            msg = f"ignore: there is no kind of day named {', '.join(sorted(unknown))}"
            raise ValueError(msg)

    @property
    def looks_at_days(self) -> bool:
        """Whether any day is looked at as special; without a word here none is, and only the wall clock is followed."""
        return self != CalendarConfig()

    def _counted(self) -> tuple[str, ...]:
        return tuple(business_day_class(number) for number in self.business_days)

    def _own(self) -> dict[str, tuple[str, ...]]:
        return {f"own_days.{name}": dates for name, dates in self.own_days.items()}

    def to_plain(self, zone: Zone) -> dict[str, Any]:
        """As JSON can carry it to the child that makes a calendar of it; `zone` is that of the whole configuration."""
        return {
            "zone": self.zone or zone,
            "looks_at_days": self.looks_at_days,
            "country": self.country,
            "subdivision": self.subdivision,
            "paydays": [[payday.day, payday.roll.sign] for payday in self.paydays],
            "business_days": sorted(self.business_days),
            "own_days": {
                **({CLOSING: list(self.closing_dates)} if self.closing_dates else {}),
                **{name: list(dates) for name, dates in self.own_days.items()},
            },
            "ignore": sorted(self.ignore),
        }


def check_date(text: str, where: str) -> None:
    """ValueError unless the text is `2026-12-31` or `12-31`."""
    whole = f"{_LEAP_YEAR}-{text}" if _EVERY_YEAR.fullmatch(text) else text
    try:
        # Python reads other forms too, such as 20261231.
        is_date = _DATE.fullmatch(whole) is not None and bool(date.fromisoformat(whole))
    except ValueError:
        is_date = False
    if not is_date:
        msg = f"{where}: {text!r} is no date such as 2026-12-31, nor 12-31 for every year"
        raise ValueError(msg)
