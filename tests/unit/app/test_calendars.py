"""Goal: a calendar is what its section says, what cannot be is refused in words, and the resident program loads no list.

Method: sections and the calendars that are made of them for known years; a fresh interpreter for what is loaded.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig, PaydayConfig, Roll
from sentinel.app.calendars import CalendarError, calendar_problems, make_calendar
from sentinel.app.config import load_config
from sentinel.core.baseline import Calendar
from sentinel.errors import ConfigError
from sentinel.runtime.settings import Zone

NOW_NS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9
EPOCH = date(1970, 1, 1)


def made(config: CalendarConfig, zone: str = "UTC") -> Calendar:
    return make_calendar(config.to_plain(Zone(zone)), now_ns=NOW_NS)


def classes(calendar: Calendar, day: date) -> list[str]:
    member = calendar.membership(np.array([(day - EPOCH).days]))[0]
    return [calendar.class_names[at] for at in np.flatnonzero(member)]


def test_an_empty_section_follows_the_zone_and_looks_at_no_day() -> None:
    assert made(CalendarConfig()) == Calendar()
    calendar = made(CalendarConfig(), "Europe/Berlin")
    assert calendar.class_names == ()
    summer = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp()) * 10**9
    assert calendar.offset_at(summer) == 7200 * 10**9
    assert calendar.offset_at(NOW_NS) == 3600 * 10**9


def test_a_full_section_says_of_each_day_what_it_is() -> None:
    config = CalendarConfig(
        zone=Zone("Europe/Berlin"),
        country="DE",
        subdivision="BY",
        paydays=(PaydayConfig(day=25, roll=Roll.BEFORE),),
        closing_dates=("2026-12-31", "02-29"),
        own_days={"stocktaking": ("06-30",)},
        ignore=("month-start-2",),
    )
    calendar = made(config, "UTC")
    assert calendar.zone == "Europe/Berlin"
    assert classes(calendar, date(2026, 10, 3)) == ["weekend-holiday"]
    assert classes(calendar, date(2026, 1, 6)) == ["holiday"]  # Epiphany, in Bavaria
    assert classes(calendar, date(2026, 1, 5)) == []  # the second business day is ignored
    assert classes(calendar, date(2026, 12, 31)) == ["closing"]
    assert classes(calendar, date(2026, 12, 30)) == ["month-end"]
    assert classes(calendar, date(2026, 6, 30)) == ["month-end", "stocktaking"]
    assert classes(calendar, date(2025, 12, 24)) == ["payday"]  # the 25th is a holiday
    without = made(CalendarConfig(zone=Zone("Europe/Berlin"), country="DE"))
    assert classes(without, date(2026, 1, 6)) == []
    assert without.digest != calendar.digest
    assert made(config).digest == calendar.digest


def test_business_days_by_number_are_kinds_of_day_of_their_own() -> None:
    config = CalendarConfig(country="DE", business_days=(5, -4))
    calendar = made(config)
    assert classes(calendar, date(2026, 6, 5)) == ["month-start-5"]
    assert classes(calendar, date(2026, 6, 25)) == ["month-end-4"]
    assert calendar.digest != made(CalendarConfig(country="DE")).digest
    ignored = made(CalendarConfig(country="DE", business_days=(5,), ignore=("month-start-5",)))
    assert classes(ignored, date(2026, 6, 5)) == []


def test_a_calendar_reaches_back_as_far_as_the_store_keeps_and_a_month_ahead() -> None:
    calendar = made(CalendarConfig(country="US"))
    today = NOW_NS // (86_400 * 10**9)
    special = calendar.special_days(today - 420, today + 40)
    assert special[0] < today - 380
    assert special[-1] > today + 30


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"country": "de"}, "two capital letters"),
        ({"subdivision": "BY"}, "needs a country"),
        ({"closing_dates": ("2026-02-30",)}, "no date such as"),
        ({"closing_dates": ("20261231",)}, "no date such as"),
        ({"own_days": {"x": ("13-01",)}}, "own_days.x"),
        ({"own_days": {"Stock Taking": ()}}, "small letters"),
        ({"own_days": {"payday": ()}}, "there is already"),
        ({"ignore": ("easter",)}, "no kind of day named easter"),
        ({"business_days": (2,)}, "2 is looked at anyway, as month-start-2"),
        ({"business_days": (-3,)}, "-3 is looked at anyway, as month-end-3"),
        ({"business_days": (0,)}, "0 must be 3 to 15, or -4 to -15"),
        ({"business_days": (16,)}, "16 must be"),
        ({"business_days": (5, 5)}, "twice"),
        ({"business_days": (5,), "own_days": {"month-start-5": ()}}, "there is already"),
        ({"closing_dates": ("12-31",) * 1001}, "more than 1000"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CalendarConfig(**wrong)
    with pytest.raises(ValueError, match="between 1 and 31"):
        PaydayConfig(day=32)


def test_a_country_without_a_list_is_refused_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text("mode: shadow\ncalendar:\n  country: DE\n  subdivision: XX\n")
    with pytest.raises(ConfigError, match=r"yaml:4: calendar\.subdivision: .*DE-XX; parts of DE"):
        load_config(path, environment={})
    assert calendar_problems(CalendarConfig(country="DE", subdivision="BY"), {}) == []
    with pytest.raises(CalendarError, match="no public holidays are known of ZZ"):
        made(CalendarConfig(country="ZZ"))


def test_a_start_with_a_country_loads_no_list_of_holidays() -> None:
    program = (
        "import sys, sentinel.app.serve, sentinel.app.build\n"
        "from sentinel.app.calendar_section import CalendarConfig\n"
        "from sentinel.app.calendars import calendar_problems\n"
        "assert calendar_problems(CalendarConfig(country='ZZ'), {})\n"
        "assert not calendar_problems(CalendarConfig(country='FR'), {})\n"
        "assert 'holidays' not in sys.modules and 'dateutil' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
