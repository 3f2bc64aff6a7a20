"""Goal: days of 23 and 25 hours bring no page that a day of 24 would not have brought.

Method: weeks of traffic that follows the wall clock of a real zone through a change of its clocks, replayed through the code
that decides live: no page at all. A zone whose clock is not moved is one of them. Seen by UTC each change does page.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.model import Kind
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.replay import PlainSeries, Replayed, replay, replay_settings
from sentinel.runtime.settings import Zone

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


def pages_after(replayed: Replayed, since_s: float) -> list[float]:
    return [page.start_s for page in replayed.pages if page.start_s >= since_s]


def replayed(time_s: np.ndarray, value: list[np.ndarray], zone: str) -> Replayed:
    plain = CalendarConfig(zone=Zone(zone)).to_plain(Zone("UTC"))
    series = [
        PlainSeries(name=f"traffic {at}", time_ns=time_s * 10**9, value=one)
        for at, one in enumerate(value)
    ]
    return replay(
        series,
        kind=Kind.TRAFFIC,
        settings=replay_settings(ScoringSettings()),
        calendar=make_calendar(
            plain, now_ns=int(time_s[-1]) * 10**9, first_ns=int(time_s[0]) * 10**9
        ),
    )


@pytest.mark.parametrize(
    ("zone", "change", "hours"),
    [
        ("Europe/Berlin", date(2025, 3, 30), 23),
        ("Europe/Berlin", date(2025, 10, 26), 25),
        ("America/New_York", date(2025, 3, 9), 23),
        ("America/New_York", date(2025, 11, 2), 25),
        ("Australia/Lord_Howe", date(2025, 10, 5), 23.5),
        ("Australia/Lord_Howe", date(2025, 4, 6), 24.5),
        ("Asia/Kolkata", date(2025, 3, 30), 24),
    ],
)
def test_a_change_of_the_clock_brings_no_page(zone: str, change: date, hours: float) -> None:
    midnight = datetime(change.year, change.month, change.day, tzinfo=ZoneInfo(zone))
    after = midnight.timestamp() + hours * 3600
    assert datetime.fromtimestamp(after, ZoneInfo(zone)).hour == 0
    first_s = int(midnight.timestamp()) // DAY_S * DAY_S - DAYS_BEFORE * DAY_S
    time_s = first_s + np.arange((DAYS_BEFORE + DAYS_AFTER) * DAY_S // BIN_S) * BIN_S
    local_s = seconds_of_the_day(zone, time_s)
    value = [calls(local_s, seed) for seed in range(SERIES_COUNT)]
    since_s = midnight.timestamp()
    assert pages_after(replayed(time_s, value, zone), since_s) == []
    by_utc = pages_after(replayed(time_s, value, "UTC"), since_s)
    assert (len(by_utc) >= SERIES_COUNT) == (hours != 24)
