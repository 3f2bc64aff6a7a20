"""Goal: fits that share their work say what each says by itself, to the bit.

Method: histories with what makes two fits differ (late beginnings, gaps, single holes, a weekend, windows left out), fitted once a
day and at odd instants both ways, on UTC, on the clock of a zone and over a clock that is moved.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar, Refits, fit_on_wall_clock, nothing_special
from sentinel.core.model import Kind, WindowBlock

BIN_NS = 300_000_000_000
DAY = 288
DAY_NS = DAY * BIN_NS
START_NS = 20_000 * DAY_NS
DAYS = 40
UTC = Calendar()
TOKYO = Calendar(offsets=((0, 9 * 3600),))
NEPAL = Calendar(offsets=((0, 20_700),))
SPRING = Calendar(offsets=((0, 3600), (START_NS + 35 * DAY_NS + DAY_NS // 24, 7200)))


def history(*, lead: int = 0, step_ns: int = BIN_NS) -> WindowBlock:
    """Ten series: one of each trouble, and some without."""
    rng = np.random.default_rng(7)
    per_day = DAY_NS // step_ns
    count = DAYS * per_day - lead
    phase = 2 * np.pi * np.arange(count)[:, None] / per_day
    value = 100 * (1 + 0.5 * np.sin(phase)) * (1 + 0.05 * rng.standard_normal((count, 10)))
    value[:, 1] *= np.where(np.arange(count) // per_day % 7 < 5, 1.0, 0.2)
    value[: 9 * per_day + 5, 2] = np.nan
    value[3 * per_day : 13 * per_day, 3] = np.nan
    value[rng.random(count) < 0.2, 4] = np.nan
    value[:, 5] = np.nan
    value[count // 2 :, 6] = np.nan
    value[per_day - 1 :: per_day, 7] = np.nan
    value[2 * per_day - 1 : 2 * per_day, 8] = np.nan
    return WindowBlock(
        start_ns=START_NS + lead * step_ns,
        step_ns=step_ns,
        series=np.arange(1, 11),
        kind=np.full(10, int(Kind.GAUGE), np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def both_say(
    past: WindowBlock,
    calendar: Calendar,
    at_ns: list[int],
    *,
    horizon_ns: int = DAY_NS + BIN_NS,
    left_out: NDArray[np.bool_] | None = None,
) -> None:
    special = nothing_special(calendar)
    shared, single = Refits(special), partial(fit_on_wall_clock, special=special)
    known = 0
    for one_ns in at_ns:
        found, wanted = (
            fit(past, at_ns=one_ns, version=1, horizon_ns=horizon_ns, left_out=left_out)
            for fit in (shared, single)
        )
        assert found.grid.tobytes() == wanted.grid.tobytes(), (one_ns - past.start_ns) / DAY_NS
        assert (found.start_ns, found.step_ns) == (wanted.start_ns, wanted.step_ns)
        assert (found.clock, found.levels_ns) == (wanted.clock, wanted.levels_ns)
        assert found.ease is None
        assert wanted.ease is None
        known += int(np.isfinite(found.grid).sum())
    assert known


@pytest.mark.parametrize(
    "calendar", [UTC, TOKYO, NEPAL, SPRING], ids=["utc", "tokyo", "nepal", "spring"]
)
def test_fits_of_each_day(calendar: Calendar) -> None:
    both_say(history(), calendar, [START_NS + day * DAY_NS for day in range(DAYS + 1)])


@pytest.mark.parametrize("lead", [1, 5, 100])
def test_fits_at_any_instant_of_a_history_that_begins_at_any(lead: int) -> None:
    rng = np.random.default_rng(lead)
    instants = START_NS + rng.integers(0, DAYS * DAY_NS, 20)
    both_say(history(lead=lead), UTC, instants.tolist())


def test_fits_before_and_behind_all_that_is_known() -> None:
    instants = [START_NS - DAY_NS, START_NS, START_NS + BIN_NS, START_NS + (DAYS + 2) * DAY_NS]
    both_say(history(), UTC, [*instants, START_NS + DAYS * DAY_NS])


@pytest.mark.parametrize("hours", [1, 26, 47, 100])
def test_fits_that_reach_further_or_less_far(hours: int) -> None:
    instants = [START_NS + day * DAY_NS for day in (1, 8, 15, 31, 39)]
    both_say(history(), UTC, instants, horizon_ns=hours * DAY_NS // 24)


@pytest.mark.parametrize("minutes", [2, 4, 60])
def test_fits_of_other_windows(minutes: int) -> None:
    past = history(step_ns=minutes * 60_000_000_000)
    both_say(past, UTC, [START_NS + day * DAY_NS for day in (2, 20, 30)])


def test_windows_that_are_left_out_are_left_out_of_both() -> None:
    past = history()
    left_out = np.zeros(past.value.shape, np.bool_)
    left_out[20 * DAY + 30 : 20 * DAY + 90, 0] = True
    left_out[25 * DAY :, 4] = True
    for calendar in (UTC, TOKYO):
        instants = [START_NS + day * DAY_NS for day in (19, 21, 26, 33)]
        both_say(past, calendar, instants, left_out=left_out)
