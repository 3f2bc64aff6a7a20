"""Goal: the profile is the median over the lags, known a day ahead, and exact between bins.

Method: histories whose right answer can be written down.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, LAG_DAYS, Profile, fit_profile
from sentinel.core.model import Kind, WindowBlock

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
START_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS


def block(
    value: NDArray[np.float64], *, step_ns: int = BIN_NS, start_ns: int = START_NS
) -> WindowBlock:
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.arange(1, value.shape[1] + 1),
        kind=np.full(value.shape[1], int(Kind.GAUGE), np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def days_of(levels: list[float]) -> NDArray[np.float64]:
    """A constant level each day, one series."""
    return np.repeat(np.array(levels), PER_DAY)[:, None]


def test_the_median_over_the_lags_that_exist() -> None:
    levels = [float(day) for day in range(28)]
    fit = fit_profile(block(days_of(levels)), at_ns=START_NS + 28 * DAY_NS, version=3)
    assert fit.version == 3
    assert fit.start_ns == START_NS + 28 * DAY_NS
    # Away from midnight, where the smoothing mixes two days.
    wanted = np.median([levels[28 - days] for days in LAG_DAYS])
    assert fit.grid[100, 0] == wanted
    assert fit.grid[PER_DAY - 3, 0] == wanted


def test_less_history_uses_fewer_lags_and_none_is_unknown() -> None:
    fit = fit_profile(block(days_of([5.0, 9.0])), at_ns=START_NS + 2 * DAY_NS, version=1)
    assert fit.grid[100, 0] == 7.0
    fit = fit_profile(block(days_of([5.0])), at_ns=START_NS + PER_DAY // 2 * BIN_NS, version=1)
    assert np.isnan(fit.grid[: PER_DAY // 2, 0]).all()
    assert fit.grid[PER_DAY // 2 + 3, 0] == 5.0


def test_nothing_after_the_fit_is_looked_at() -> None:
    rng = np.random.default_rng(1)
    value = rng.standard_normal((10 * PER_DAY, 3))
    at_ns = START_NS + 6 * DAY_NS + 77 * BIN_NS
    spoilt = value.copy()
    spoilt[6 * PER_DAY + 77 :] = 1e9
    whole, cut = (fit_profile(block(v), at_ns=at_ns, version=1).grid for v in (value, spoilt))
    assert whole.tobytes() == cut.tobytes()
    assert np.isfinite(whole).all()


def test_one_odd_day_and_lone_spikes_do_not_show() -> None:
    value = days_of([10.0] * 20)
    value[17 * PER_DAY : 18 * PER_DAY] = 500.0
    value[::40] = 90.0
    fit = fit_profile(block(value), at_ns=START_NS + 20 * DAY_NS, version=1)
    assert np.all(fit.grid == 10.0)


def test_linear_between_bin_centres_and_exact_on_the_grid() -> None:
    grid = np.arange(600, dtype=np.float32)[:, None]
    fit = Profile(version=1, start_ns=START_NS, step_ns=BIN_NS, series=np.array([1]), grid=grid)
    minutes = fit.expectation(block(np.zeros((30, 1)), step_ns=60_000_000_000)).expected[:, 0]
    # The centre of a bin is the centre of its third minute; before the first there is only the first.
    assert minutes[:2].tolist() == [0.0, 0.0]
    assert minutes[2] == 0.0
    assert minutes[7] == 1.0
    assert minutes[3] == pytest.approx(0.2)
    bins = fit.expectation(block(np.zeros((10, 1)))).expected[:, 0]
    assert bins.tolist() == list(range(10))


def test_a_missing_neighbour_leaves_the_other_and_strangers_are_unknown() -> None:
    grid = np.array([[1.0], [np.nan], [3.0]], np.float32)
    fit = Profile(version=1, start_ns=START_NS, step_ns=BIN_NS, series=np.array([1]), grid=grid)
    windows = block(np.zeros((15, 2)), step_ns=60_000_000_000)
    expected = fit.expectation(windows).expected
    assert expected[4, 0] == 1.0
    assert expected[10, 0] == 3.0
    assert np.isnan(expected[:, 1]).all()
    late = block(np.zeros((3, 1)), start_ns=START_NS + 5 * DAY_NS)
    assert np.isnan(fit.expectation(late).expected).all()


def test_bytes_and_back_and_damage_is_refused() -> None:
    rng = np.random.default_rng(2)
    fit = fit_profile(
        block(rng.standard_normal((2 * PER_DAY, 4))), at_ns=START_NS + 2 * DAY_NS, version=9
    )
    data = fit.to_bytes()
    again = Profile.from_bytes(data)
    assert (again.version, again.start_ns, again.step_ns) == (9, fit.start_ns, BIN_NS)
    assert again.grid.tobytes() == fit.grid.tobytes()
    assert again.to_bytes() == data
    for damaged in (data[:-1], data[:40], b"", data[:200] + b"\xff" + data[201:], data + b"x"):
        with pytest.raises(ValueError, match=r"packed|checksum|few|follow"):
            Profile.from_bytes(damaged)
