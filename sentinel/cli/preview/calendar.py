"""The calendar of a preview: from its options, or from a configuration file."""

from __future__ import annotations

import argparse
import dataclasses
import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import CalendarError, make_calendar
from sentinel.app.config import load_config
from sentinel.core.baseline import Calendar
from sentinel.pipeline.replay.grid import PlainSeries
from sentinel.runtime.settings import Zone

_FILE_BYTES_MAX = 1 << 20


def add_calendar_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `calendar_of` reads."""
    group = parser.add_argument_group("calendar, by default UTC without special days")
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="over files take `calendar`, `zone`, `sensitivity`, `scoring`, `incidents` and `baseline` of this configuration, other options go first; over a store decide by it",
    )
    group.add_argument(
        "--zone",
        help="day and week follow the wall clock of this IANA zone, which the table shows",
    )
    group.add_argument(
        "--country", help="public holidays of this country, or of a part of it: DE, DE-BY"
    )
    group.add_argument(
        "--closing-dates",
        metavar="FILE",
        type=Path,
        help="days of rest besides, one a line: 2026-12-31, or 12-31 for every year",
    )


def calendar_of(args: argparse.Namespace, series: Iterable[PlainSeries]) -> Calendar | None:
    """The calendar over all days of the series; None when nothing is asked for. Raises as `calendar_over`."""
    spans = [(int(one.time_ns[0]), int(one.time_ns[-1])) for one in series if one.time_ns.size]
    first_ns = min((first for first, _ in spans), default=0)
    last_ns = max((last for _, last in spans), default=0)
    return calendar_over(args, first_ns=first_ns, last_ns=last_ns)


def calendar_over(args: argparse.Namespace, *, first_ns: int, last_ns: int) -> Calendar | None:
    """The calendar over all days of a span; None when nothing is asked for.

    Raises:
        CalendarError: an option says nothing that there is.
        ConfigError, ConfigUnreadableError: the configuration is wrong.
        OSError: the file of closing dates cannot be read.
    """
    config, zone = CalendarConfig(), Zone("UTC")
    if args.config is not None:
        loaded = load_config(args.config).config
        config, zone = loaded.calendar, loaded.zone
    changes: dict[str, Any] = {}
    if args.zone is not None:
        changes["zone"] = _zone(args.zone)
    if args.country is not None:
        changes["country"], _, changes["subdivision"] = args.country.partition("-")
    if args.closing_dates is not None:
        changes["closing_dates"] = _dates_in(args.closing_dates)
    try:
        config = dataclasses.replace(config, **changes)
    except ValueError as error:
        raise CalendarError(str(error)) from error
    if not config.looks_at_days and zone == "UTC":
        return None
    return make_calendar(config.to_plain(zone), now_ns=last_ns, first_ns=first_ns)


def _zone(text: str) -> Zone:
    try:
        return Zone(zoneinfo.ZoneInfo(text).key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"--zone: there is no time zone {text!r}; give an IANA name such as Europe/Berlin"
        raise CalendarError(msg) from None


def _dates_in(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        msg = f"{path}: it is larger than {_FILE_BYTES_MAX} bytes"
        raise CalendarError(msg)
    lines = data.decode(errors="replace").splitlines()
    dates = (line.partition("#")[0].strip() for line in lines)
    return tuple(date for date in dates if date)
