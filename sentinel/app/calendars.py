"""Makes the core's calendar: asks the zone database and the `holidays` package, and leaves only data.

`holidays` takes half a second to load and memory that the resident process does not have, so that it is imported where
it is used: in the fitting child, in the child that checks a configuration, and in commands.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.zones import zone_offsets
from sentinel.core.baseline.calendar import CLOSING, DAY_NS, Calendar, Payday, day_facts
from sentinel.errors import ConfigProblem, SentinelError
from sentinel.runtime.config.text import Origin
from sentinel.runtime.settings import Zone

_EPOCH = date(1970, 1, 1)
_DAYS_BEFORE, _DAYS_AFTER = 430, 45
"""Around the instant of a fit: what the store keeps of windows of five minutes, and a month ahead."""
_WORKER = ("-I", "-m", "sentinel.app.calendar_worker")
_CHECK_S = 30.0


class CalendarError(SentinelError):
    """A calendar cannot be made, such as one of a country without a list of holidays."""


def make_calendar(
    plain: Mapping[str, Any], *, now_ns: int, first_ns: int | None = None
) -> Calendar:
    """The calendar that `CalendarConfig.to_plain` describes, for the days around `now_ns`.

    Args:
        plain: what is configured.
        now_ns: a bit more than a year before it is covered, and a month after.
        first_ns: begin at this instant instead.

    Raises:
        CalendarError: no holidays are known of the country, or of the part of it.
    """
    first = (now_ns - _DAYS_BEFORE * DAY_NS if first_ns is None else first_ns) // DAY_NS - 40
    last = now_ns // DAY_NS + _DAYS_AFTER
    zone = Zone(plain["zone"])
    is_utc = zone in ("UTC", "Etc/UTC")
    offsets = ((0, 0),) if is_utc else zone_offsets(zone, now_ns=now_ns, first_ns=first * DAY_NS)
    if not plain["looks_at_days"]:
        return Calendar(zone=zone, offsets=offsets, digest=zone)
    years = range(_date(first).year, _date(last).year + 1)
    holidays = holidays_of(plain["country"], plain["subdivision"], years)
    own: dict[int, tuple[str, ...]] = {}
    for name, texts in sorted(plain["own_days"].items()):
        for day in sorted({one for text in texts for one in _days_of(text, years)}):
            own[day] = (*own.get(day, ()), name)
    closed = frozenset(day for day, names in own.items() if CLOSING in names)
    facts = day_facts(
        first,
        last - first,
        holidays={day: name for day, name in holidays.items() if first <= day < last},
        own=own,
        closed=closed,
        paydays=[Payday(day=day, roll=roll) for day, roll in plain["paydays"]],
        business_days=plain.get("business_days", []),
    )
    # Without the holidays' names, whose language may be that of the process.
    told = json.dumps([plain, sorted(holidays)], sort_keys=True)
    return Calendar(
        zone=zone,
        offsets=offsets,
        first_day=first,
        days=facts,
        off=frozenset(plain["ignore"]),
        digest=hashlib.sha256(told.encode()).hexdigest()[:12],
    )


def holidays_of(country: str, subdivision: str, years: range) -> dict[int, str]:
    """Names of public holidays by local day; none without a country.

    Raises:
        CalendarError: none are known of the country, or of the part of it.
    """
    if not country:
        return {}
    import holidays  # loaded only where it is used, see above

    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=years)
    except NotImplementedError:
        place = f"{country}-{subdivision}" if subdivision else country
        msg = f"no public holidays are known of {place}"
        parts = holidays.list_supported_countries().get(country)
        if subdivision and parts:
            msg += f"; parts of {country} are {', '.join(parts)}"
        raise CalendarError(msg) from None
    return {(day - _EPOCH).days: str(name) for day, name in sorted(found.items())}


def calendar_problems(
    config: CalendarConfig, origins: Mapping[str, Origin]
) -> list[ConfigProblem]:
    """A problem when no holidays are known of the country; they are looked up in a child."""
    if not config.country:
        return []
    message = _looked_up(config.country, config.subdivision)
    if not message:
        return []
    path = "calendar.subdivision" if "parts of" in message else "calendar.country"
    origin = origins.get(path)
    problem = (
        ConfigProblem(path=path, message=message)
        if origin is None
        else origin.problem(path, message)
    )
    return [problem]


@lru_cache(maxsize=8)
def _looked_up(country: str, subdivision: str) -> str:
    """What is wrong with a country; empty when nothing is."""
    request = json.dumps({"country": country, "subdivision": subdivision}).encode()
    try:
        done = subprocess.run(  # noqa: S603  # a command of our own
            (sys.executable, *_WORKER),
            input=request,
            capture_output=True,
            timeout=_CHECK_S,
            check=True,
            env={"PATH": os.environ.get("PATH", "")},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"the holidays of {country} could not be looked up: {type(error).__name__}"
    return done.stdout.decode(errors="replace").strip()


def _days_of(text: str, years: range) -> list[int]:
    """Local days of a date, or of a day of every year."""
    texts = [text] if text.count("-") == 2 else [f"{year}-{text}" for year in years]
    found = []
    for one in texts:
        try:
            found.append((date.fromisoformat(one) - _EPOCH).days)
        except ValueError:
            continue  # The 29th of February of a common year.
    return found


def _date(day: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()
