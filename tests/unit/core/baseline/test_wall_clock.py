"""Goal: a fit compares with the same time of the wall clock, also across days of 23, 25 and 23.5 hours.

Method: histories whose value is a known function of the local time; what is expected must be that function again.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import (
    Calendar,
    Profile,
    fit_fourier_or_profile,
    fit_on_wall_clock,
    fit_profile,
    joined,
    nothing_special,
    selected,
)
from sentinel.core.baseline.wall_clock import on_wall_clock
from sentinel.core.model import UTC_HOURS, Kind, LocalHours, WindowBlock

BIN_NS = 300_000_000_000
HOUR_NS = 12 * BIN_NS
DAY_NS = 24 * HOUR_NS
START_NS = 20_000 * DAY_NS
CHANGE_NS = START_NS + 30 * DAY_NS + HOUR_NS
"""An hour after midnight UTC, as clocks change in Europe."""

SPRING = Calendar(offsets=((0, 3600), (CHANGE_NS, 7200)))
AUTUMN = Calendar(offsets=((0, 7200), (CHANGE_NS, 3600)))
HALF = Calendar(offsets=((0, 39_600), (CHANGE_NS, 37_800)))


def block(value: np.ndarray, start_ns: int = START_NS) -> WindowBlock:
    value = np.asarray(value, np.float32).reshape(len(value), -1)
    return WindowBlock(
        start_ns=start_ns,
        step_ns=BIN_NS,
        series=np.arange(1, value.shape[1] + 1),
        kind=np.full(value.shape[1], int(Kind.TRAFFIC), np.int8),
        value=value,
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def by_local_time(calendar: Calendar, day_count: int) -> np.ndarray:
    """A number of its own for each five minutes of the local day."""
    at_ns = START_NS + np.arange(day_count * 288) * BIN_NS
    return (at_ns + calendar.offset_ns(at_ns)) % DAY_NS // BIN_NS * 1.0


@pytest.mark.parametrize("calendar", [SPRING, AUTUMN, HALF], ids=["spring", "autumn", "half"])
@pytest.mark.parametrize("hours", [-30, -25, -3, -0.5, 0, 0.5, 1, 10, 30])
def test_each_time_of_the_local_day_is_expected_as_it_was(
    calendar: Calendar, hours: float
) -> None:
    """Also the doubled hour and the fit that is made in it; a curve without noise has one right answer."""
    value = by_local_time(calendar, 34)
    at_ns = CHANGE_NS + int(hours * HOUR_NS)
    fit = fit_on_wall_clock(
        block(value), at_ns=at_ns, version=1, special=nothing_special(calendar)
    )
    assert fit.start_ns == at_ns
    first = (at_ns - START_NS) // BIN_NS
    wanted = value[first : first + len(fit.grid)]
    # A running median of three takes the tip off the saw's teeth, and five minutes beside it.
    inside = (wanted > 1) & (wanted < 286)
    # The hour that was skipped shows what came instead, once among eight days.
    assert np.array_equal(fit.grid[inside, 0], wanted[inside])


def test_without_a_change_of_clocks_nothing_else_is_expected() -> None:
    rng = np.random.default_rng(4)
    history = block(rng.gamma(4.0, 5.0, (40 * 288, 3)))
    at_ns = START_NS + 35 * DAY_NS + 7 * BIN_NS
    plain = fit_profile(history, at_ns=at_ns, version=1)
    for seconds in (0, 19_800, -18_000):
        calendar = Calendar(offsets=((0, seconds),))
        fit = fit_on_wall_clock(history, at_ns=at_ns, version=1, special=nothing_special(calendar))
        assert np.array_equal(fit.grid, plain.grid, equal_nan=True)
        assert (fit.start_ns, fit.ease) == (plain.start_ns, None)


def test_a_fit_says_by_which_clock_it_is_and_keeps_it() -> None:
    history = block(by_local_time(SPRING, 34))
    at_ns = CHANGE_NS - 2 * HOUR_NS
    fit = fit_on_wall_clock(history, at_ns=at_ns, version=1, special=nothing_special(SPRING))
    assert fit.clock == LocalHours(first=1, changes=((CHANGE_NS // HOUR_NS, 2),))
    for other in (
        Profile.from_bytes(fit.to_bytes()),
        fit.part(at_ns, at_ns + HOUR_NS),
        fit.copied(),
        joined([selected(fit, np.ones(1, np.bool_))]),
    ):
        assert other.clock == fit.clock
    plain = fit_on_wall_clock(history, at_ns=at_ns, version=1, special=nothing_special(Calendar()))
    assert plain.clock == UTC_HOURS
    # As an earlier version writes it.
    assert b"clock" not in plain.to_bytes()
    assert Profile.from_bytes(plain.to_bytes()).clock == UTC_HOURS


def test_a_skipped_hour_holds_the_hour_after_and_a_doubled_one_the_mean() -> None:
    value = np.arange(288.0)
    day_ns = CHANGE_NS - HOUR_NS
    forward = on_wall_clock(block(value, day_ns), SPRING)
    assert forward.start_ns == day_ns + HOUR_NS
    assert forward.window_count == 288 + 12
    assert forward.value[:36, 0].tolist() == [*range(12), *range(12, 24), *range(12, 24)]
    back = on_wall_clock(block(value, day_ns), AUTUMN)
    assert back.window_count == 288 - 12
    # The clock shows two to three twice: bins 0 to 11 and 12 to 23.
    assert back.value[:12, 0].tolist() == [(at + at + 12) / 2 for at in range(12)]
    assert back.value[12:, 0].tolist() == [*range(24, 288)]


def test_of_a_doubled_hour_the_part_to_come_is_not_in_the_mean() -> None:
    """A fit in the middle of the doubled hour must be that of a store that ends there."""
    value = by_local_time(AUTUMN, 34)
    at_ns = CHANGE_NS + HOUR_NS // 2
    spoilt = value.copy()
    spoilt[(at_ns - START_NS) // BIN_NS :] = 1e6
    special = nothing_special(AUTUMN)
    whole, cut = (
        fit_on_wall_clock(block(one), at_ns=at_ns, version=1, special=special)
        for one in (value, spoilt)
    )
    assert np.array_equal(whole.grid, cut.grid, equal_nan=True)


def test_a_doubled_hour_of_which_one_half_is_missing_holds_the_other() -> None:
    value = np.arange(288.0)
    value[:6] = np.nan
    value[18:24] = np.nan
    back = on_wall_clock(block(value, CHANGE_NS - HOUR_NS), AUTUMN)
    assert back.value[:12, 0].tolist() == [*range(12, 18), *range(6, 12)]


def test_a_curve_is_fitted_on_the_wall_clock_too() -> None:
    at_ns = START_NS + np.arange(34 * 288) * BIN_NS
    local = (at_ns + SPRING.offset_ns(at_ns)) % DAY_NS / DAY_NS
    value = 100 + 50 * np.sin(2 * np.pi * local)
    now_ns = CHANGE_NS + 2 * DAY_NS
    history = block(value)
    fits = [
        fit_on_wall_clock(
            history,
            at_ns=now_ns,
            version=1,
            special=nothing_special(calendar),
            fit=fit_fourier_or_profile,
        )
        for calendar in (SPRING, Calendar())
    ]
    first = (now_ns - START_NS) // BIN_NS
    wanted = value[first : first + 288]
    on_the_wall, by_utc = (np.abs(fit.grid[:288, 0] - wanted).max() for fit in fits)
    assert on_the_wall < 1
    assert by_utc > 5
