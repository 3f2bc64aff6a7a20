"""The clock that a preview's tables show: that of the zone which was asked for, or UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sentinel.app.zones import zone_offsets
from sentinel.core.baseline import Calendar
from sentinel.core.incidents import IncidentSettings
from sentinel.runtime.settings import Zone

_HOUR_S = 3600
_WEEK_HOURS = 168
_EPOCH_HOUR = 72
"""The first of January 1970 was a Thursday, and weeks begin on Mondays."""
_UTC = ("", "UTC", "Etc/UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownClock:
    """Instants as a person reads them off.

    Attributes:
        zone: name of the zone, empty for UTC.
        offsets: (from this Unix instant in ns, offset from UTC in seconds), ascending; the first holds before it too.
        until_s: up to when there is something to show (Unix seconds). An hour of the week is the last one before it.
    """

    zone: str = ""
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)
    until_s: float = 0.0

    @property
    def notes(self) -> list[str]:
        """What is said once above the tables; nothing of UTC, which they name themselves."""
        return [f"times and hours are those of {self.zone}"] if self.zone else []

    @property
    def head(self) -> str:
        """Title of the column of instants."""
        return "start" if self.zone else "start (UTC)"

    def minute(self, instant_s: float) -> str:
        """An instant to the minute, with its offset in an hour that came twice because the clock was put back.

        >>> clock = ShownClock(zone="Europe/Berlin", offsets=((0, 7200), (1_792_890_000 * 10**9, 3600)))
        >>> [clock.minute(1_792_890_000 + second) for second in (-7200, -3600, 0, 3600)]
        ['2026-10-25 01:00', '2026-10-25 02:00 +02', '2026-10-25 02:00 +01', '2026-10-25 03:00']
        """
        text = f"{self._local(instant_s):%Y-%m-%d %H:%M}"
        if self._came_twice(instant_s):
            text += f" {_signed(self._offset_s(instant_s))}"
        return text

    def week_hour(self, hour: int) -> str:
        """An hour of the week that is counted from Monday 0 h UTC.

        >>> ShownClock().week_hour(147)
        'Sun at 03 h UTC'
        >>> ShownClock(zone="Asia/Kolkata", offsets=((0, 19_800),)).week_hour(167)
        'Mon at 04:30'
        """
        until_hour = int(self.until_s) // _HOUR_S
        back = (until_hour + _EPOCH_HOUR - hour) % _WEEK_HOURS
        local = self._local((until_hour - back) * _HOUR_S)
        if local.minute:
            return f"{local:%a} at {local:%H:%M}"
        return f"{local:%a} at {local:%H} h{'' if self.zone else ' UTC'}"

    def _local(self, instant_s: float) -> datetime:
        ahead = timedelta(seconds=self._offset_s(instant_s))
        return datetime.fromtimestamp(instant_s, tz=UTC) + ahead

    def _offset_s(self, instant_s: float) -> int:
        known = [seconds for from_ns, seconds in self.offsets if from_ns <= instant_s * 1e9]
        return known[-1] if known else self.offsets[0][1]

    def _came_twice(self, instant_s: float) -> bool:
        return any(
            after_s - before_s <= instant_s - changed_ns / 1e9 < before_s - after_s
            for (_, before_s), (changed_ns, after_s) in pairwise(self.offsets)
        )


def clock_of_calendar(calendar: Calendar | None, *, until_ns: int) -> ShownClock:
    """The clock on the wall that days and weeks follow."""
    if calendar is None or calendar.zone in _UTC:
        return ShownClock(until_s=until_ns / 1e9)
    return ShownClock(zone=calendar.zone, offsets=calendar.offsets, until_s=until_ns / 1e9)


def clock_of_zone(zone: Zone, *, from_ns: int, until_ns: int) -> ShownClock:
    """The clock of a configured zone, for a span."""
    if zone in _UTC:
        return ShownClock(until_s=until_ns / 1e9)
    offsets = zone_offsets(zone, now_ns=until_ns, first_ns=from_ns)
    return ShownClock(zone=zone, offsets=offsets, until_s=until_ns / 1e9)


def clock_of_pages(settings: IncidentSettings, *, until_ns: int) -> ShownClock:
    """The clock of the zone that pages name beside UTC."""
    if settings.zone_name in _UTC or not settings.zone_offsets:
        return ShownClock(until_s=until_ns / 1e9)
    return ShownClock(
        zone=settings.zone_name, offsets=settings.zone_offsets, until_s=until_ns / 1e9
    )


def _signed(offset_s: int) -> str:
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    return f"{'-' if offset_s < 0 else '+'}{hours:02}" + (f":{minutes:02}" if minutes else "")
