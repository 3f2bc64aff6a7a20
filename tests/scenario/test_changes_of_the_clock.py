"""Goal: days of 23 and 25 hours bring no page that a day of 24 would not have brought.

Method: weeks that follow the wall clock of a real zone through a change of its clocks, replayed through the code that decides
live: no page at all. A zone whose clock is not moved is one of them. Seen by UTC each change does page. Of traffic the level
follows the clock, of every other kind how unsteady the hour is: a batch in the night, with a steady hour on either side.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.decide import DecisionSettings
from sentinel.core.incidents import IncidentSettings
from sentinel.core.model import Kind, SeriesKey
from sentinel.pipeline.replay import PlainSeries, Replayed, replay
from sentinel.runtime.settings import Zone

pytestmark = pytest.mark.timeout(300)

BIN_S = 300
DAY_S = 86_400
DAYS_BEFORE, DAYS_AFTER = 16, 3
SERIES_COUNT = 3


def seconds_of_the_day(zone: str, at_s: np.ndarray) -> np.ndarray:
    info = ZoneInfo(zone)
    offsets = [datetime.fromtimestamp(at, info).utcoffset() for at in at_s[::6].tolist()]
    offset_s = np.repeat([one.total_seconds() for one in offsets if one is not None], 6)
    return np.asarray((at_s + offset_s[: len(at_s)]) % DAY_S)


def calls(time_of_day_s: np.ndarray, seed: int) -> np.ndarray:
    """A night of almost nothing, and a steep morning at seven: an hour off is five times too much."""
    hour = time_of_day_s / 3600
    shape = 0.04 + 1 / (1 + np.exp(-(hour - 7) * 4)) / (1 + np.exp((hour - 19) * 3))
    rng = np.random.default_rng(seed)
    own = np.exp(0.05 * rng.standard_normal(len(shape)))
    return np.asarray(rng.poisson(300 * shape * own * BIN_S) / BIN_S)


def pages_after(replayed: Replayed, since_s: float) -> list[tuple[str, float]]:
    return [(page.series, page.start_s) for page in replayed.pages if page.start_s >= since_s]


LEVEL = {Kind.GAUGE: 100.0, Kind.LATENCY: 0.1, Kind.ERRORS: 0.1, Kind.SLOW: 0.02}
SPREAD = {
    # Of the level, while steady and while not; no single window lies far out, so that none pages by chance.
    Kind.GAUGE: (0.03, 0.3),
    Kind.LATENCY: (0.1, 0.9),
    Kind.ERRORS: (0.1, 0.9),
    Kind.SLOW: (0.1, 0.9),
}


def unsteady(kind: Kind, time_of_day_s: np.ndarray, seed: int) -> np.ndarray:
    """One level all day, and from two to four at night it is many times as unsteady."""
    hour = time_of_day_s / 3600
    calm, wild = SPREAD[kind]
    rng = np.random.default_rng(seed)
    spread = np.where((hour >= 2) & (hour < 4), wild, calm)
    return np.asarray(LEVEL[kind] * (1 + spread * rng.uniform(-1, 1, len(hour))))


def replayed(time_s: np.ndarray, value: dict[SeriesKey, np.ndarray], zone: str) -> Replayed:
    plain = CalendarConfig(zone=Zone(zone)).to_plain(Zone("UTC"))
    series = [
        PlainSeries(name=key.service, time_ns=time_s * 10**9, value=one, key=key)
        for key, one in value.items()
    ]
    return replay(
        series,
        kind=Kind.GAUGE,
        # Each is a service of its own, and the ceiling on pages is what services meet in.
        settings=DecisionSettings(incidents=IncidentSettings(page_count_max_per_minute=1000)),
        calendar=make_calendar(
            plain, now_ns=int(time_s[-1]) * 10**9, first_ns=int(time_s[0]) * 10**9
        ),
    )


def key_of(kind: Kind, number: int) -> SeriesKey:
    """Every series is a service of its own, so that none hides behind another's page."""
    return SeriesKey(f"{kind.name} {number}", "", "", kind.name.lower())


def through(zone: str, change: date, hours: float) -> tuple[np.ndarray, float]:
    """Instants around a day of that many hours, in Unix seconds, and the day's first."""
    midnight = datetime(change.year, change.month, change.day, tzinfo=ZoneInfo(zone))
    after = midnight.timestamp() + hours * 3600
    assert datetime.fromtimestamp(after, ZoneInfo(zone)).hour == 0
    first_s = int(midnight.timestamp()) // DAY_S * DAY_S - DAYS_BEFORE * DAY_S
    time_s = first_s + np.arange((DAYS_BEFORE + DAYS_AFTER) * DAY_S // BIN_S) * BIN_S
    return time_s, midnight.timestamp()


@pytest.mark.parametrize(
    ("zone", "change", "hours", "shapes"),
    [
        ("Europe/Berlin", date(2025, 3, 30), 23, {"calls", "unsteady"}),
        ("Europe/Berlin", date(2025, 10, 26), 25, {"calls", "unsteady"}),
        pytest.param(
            *("America/New_York", date(2025, 3, 9), 23, {"calls", "unsteady"}),
            marks=pytest.mark.full,
        ),
        pytest.param(
            *("America/New_York", date(2025, 11, 2), 25, {"calls"}), marks=pytest.mark.full
        ),
        ("Australia/Lord_Howe", date(2025, 10, 5), 23.5, {"calls"}),
        pytest.param(
            *("Australia/Lord_Howe", date(2025, 4, 6), 24.5, {"calls"}), marks=pytest.mark.full
        ),
        # Moved in the middle of an hour of UTC.
        ("America/St_Johns", date(2025, 11, 2), 25, {"unsteady"}),
        # Never moved.
        pytest.param(
            *("Asia/Kolkata", date(2025, 3, 30), 24, {"calls", "unsteady"}),
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_change_of_the_clock_brings_no_page_and_an_unsteady_hour_moves_with_it(
    zone: str, change: date, hours: float, shapes: set[str]
) -> None:
    """By UTC both page, which is the proof that there was something to page for."""
    time_s, since_s = through(zone, change, hours)
    local_s = seconds_of_the_day(zone, time_s)
    value: dict[SeriesKey, np.ndarray] = {}
    if "calls" in shapes:
        value |= {key_of(Kind.TRAFFIC, seed): calls(local_s, seed) for seed in range(SERIES_COUNT)}
    if "unsteady" in shapes:
        value |= {
            key_of(kind, seed): unsteady(kind, local_s, seed)
            for kind in SPREAD
            for seed in range(SERIES_COUNT)
        }
    assert pages_after(replayed(time_s, value, zone), since_s) == []
    by_utc = pages_after(replayed(time_s, value, "UTC"), since_s)
    for kind in SPREAD if "unsteady" in shapes else ():
        paged = [name for name, _ in by_utc if name.startswith(f"{kind.name} ")]
        assert (len(paged) >= 2) == (hours != 24), kind
    if "calls" in shapes:
        paged = [name for name, _ in by_utc if name.startswith(f"{Kind.TRAFFIC.name} ")]
        assert (len(paged) >= SERIES_COUNT) == (hours != 24)
