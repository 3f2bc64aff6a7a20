"""Goal: each date is what people who move money call it, and the wall clock is where it is.

Method: dates of 2026 that are easily looked up, with the holidays of that spring given by hand.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from sentinel.core.baseline.calendar import Calendar, DayFacts, Payday, day_facts

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
FIRST = (date(2026, 1, 1) - date(1970, 1, 1)).days
LABOUR_DAY = (date(2026, 5, 1) - date(1970, 1, 1)).days
ASSUMPTION = (date(2026, 8, 15) - date(1970, 1, 1)).days
STOCKTAKING = (date(2026, 6, 30) - date(1970, 1, 1)).days
CLOSED = (date(2026, 12, 31) - date(1970, 1, 1)).days


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def facts(*paydays: Payday) -> dict[date, DayFacts]:
    found = day_facts(
        FIRST,
        365,
        holidays={LABOUR_DAY: "Labour Day", ASSUMPTION: "Assumption"},
        own={STOCKTAKING: ("stocktaking",), CLOSED: ("closing",)},
        closed=frozenset({CLOSED}),
        paydays=paydays,
    )
    return {
        date.fromordinal(date(2026, 1, 1).toordinal() + at): one for at, one in enumerate(found)
    }


def test_business_days_are_counted_from_both_ends_of_a_month() -> None:
    found = day_facts(
        FIRST, 365, holidays={LABOUR_DAY: "Labour Day"}, own={}, business_days=(-4, 5)
    )
    by_class: dict[str, list[date]] = {}
    for at, one in enumerate(found):
        for name in one.own:
            day = date.fromordinal(date(2026, 1, 1).toordinal() + at)
            by_class.setdefault(name, []).append(day)
    assert sorted(by_class) == ["month-end-4", "month-start-5"]
    for days in by_class.values():
        assert [day.month for day in days] == list(range(1, 13))
    assert date(2026, 5, 8) in by_class["month-start-5"]  # the 1st is a holiday
    assert date(2026, 6, 5) in by_class["month-start-5"]
    assert date(2026, 1, 27) in by_class["month-end-4"]


@pytest.mark.parametrize(
    ("day", "classes"),
    [
        (date(2026, 1, 30), ("month-end",)),
        (date(2026, 1, 31), ()),  # a Saturday
        (date(2026, 1, 29), ("month-end-2",)),
        (date(2026, 1, 28), ("month-end-3",)),
        (date(2026, 2, 2), ("month-start",)),
        (date(2026, 2, 3), ("month-start-2",)),
        (date(2026, 2, 4), ()),
        (date(2026, 4, 30), ("month-end",)),
        (date(2026, 5, 1), ("holiday",)),
        (date(2026, 5, 4), ("month-start",)),  # not the 1st, which is a holiday
        (date(2026, 8, 15), ("weekend-holiday",)),
        (date(2026, 6, 30), ("stocktaking", "month-end")),
        (date(2026, 12, 31), ("closing",)),
        (date(2026, 12, 30), ("month-end",)),  # the 31st is closed
    ],
)
def test_a_date_is_of_these_classes(day: date, classes: tuple[str, ...]) -> None:
    assert facts()[day].classes() == classes


@pytest.mark.parametrize(
    ("payday", "days"),
    [
        # 25 January, April, July and October 2026 lie on a weekend.
        (Payday(day=25, roll=-1), {date(2026, 1, 23), date(2026, 2, 25), date(2026, 4, 24)}),
        (Payday(day=25, roll=1), {date(2026, 1, 26), date(2026, 2, 25), date(2026, 4, 27)}),
        (Payday(day=25, roll=0), {date(2026, 1, 25), date(2026, 2, 25), date(2026, 4, 25)}),
        # The last of the month; rolled forward it comes into the next one.
        (Payday(day=31, roll=-1), {date(2026, 1, 30), date(2026, 2, 27), date(2026, 4, 30)}),
        (Payday(day=31, roll=1), {date(2026, 2, 2), date(2026, 3, 2), date(2026, 4, 30)}),
    ],
)
def test_a_payday_on_a_day_of_rest_rolls_as_it_is_told(payday: Payday, days: set[date]) -> None:
    of_year = facts(payday)
    paid = {day for day, one in of_year.items() if one.is_payday}
    assert days <= paid
    # The last one may roll into the next year, and the one of the year before into this one.
    assert 11 <= len(paid) <= 13
    if payday.roll:
        assert all(of_year[day].is_business for day in paid)


def test_classes_are_those_that_occur_and_are_not_ignored() -> None:
    days = tuple(facts().values())
    calendar = Calendar(first_day=FIRST, days=days, off=frozenset({"month-start-2", "closing"}))
    assert "payday" not in calendar.class_names
    assert "month-start-2" not in calendar.class_names
    assert calendar.class_names[-1] == "stocktaking"
    of_days = calendar.membership(np.array([STOCKTAKING, CLOSED, FIRST - 1, FIRST + 365]))
    assert [calendar.class_names[at] for at in np.flatnonzero(of_days[0])] == [
        "month-end",
        "stocktaking",
    ]
    assert not of_days[1:].any()
    special = calendar.special_days(number(date(2026, 2, 1)), number(date(2026, 2, 10)))
    assert special.tolist() == [number(date(2026, 2, 2))]


def test_a_moved_calendar_says_the_same_of_a_moved_time_line() -> None:
    calendar = Calendar(
        offsets=((0, 3600), ((FIRST + 100) * DAY_NS + HOUR_NS, 7200)),
        first_day=FIRST,
        days=tuple(facts().values()),
    )
    moved = calendar.moved(FIRST)
    instants = np.arange(FIRST * DAY_NS, (FIRST + 200) * DAY_NS, 5 * HOUR_NS)
    assert np.array_equal(moved.offset_ns(instants - FIRST * DAY_NS), calendar.offset_ns(instants))
    days = np.arange(FIRST, FIRST + 365)
    assert np.array_equal(moved.membership(days - FIRST), calendar.membership(days))


def test_an_instant_before_midnight_utc_is_of_the_next_local_day_east_of_there() -> None:
    calendar = Calendar(offsets=((0, 19_800),))
    assert calendar.local_day(10 * DAY_NS + 18 * HOUR_NS) == 10
    assert calendar.local_day(10 * DAY_NS + 19 * HOUR_NS) == 11
    assert not calendar.is_utc
    assert Calendar().is_utc
