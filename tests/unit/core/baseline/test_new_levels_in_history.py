"""Goal: a fit knows an adopted level at every hour at once, and a level that was left again is forgotten.

Method: days of a made-up shape with one step or two in them, and what was adopted of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Profile, at_present_level, fit_profile
from sentinel.core.model import AdoptedLevels, Kind, WindowBlock

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
START_NS = 20_000 * DAY_NS
DAYS = 20
SHAPE = 100 + 50 * np.sin(np.arange(PER_DAY) / PER_DAY * 2 * np.pi)


def history(*steps: tuple[float, float]) -> WindowBlock:
    """Two series, of which the second takes these steps: (day, ratio of all that comes)."""
    value = np.tile(SHAPE, DAYS)[:, None].repeat(2, axis=1)
    for day, ratio in steps:
        value[int(day * PER_DAY) :, 1] *= ratio
    return WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array([3, 7]),
        kind=np.array([Kind.TRAFFIC] * 2, np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def adopted(*levels: tuple[float, float, float]) -> AdoptedLevels:
    """Levels of the second series, newest first: (day it began, ratio, day it was left or 0); adopted after a day."""

    def at(days: list[float]) -> NDArray[np.int64]:
        return np.array([[START_NS + int(day * DAY_NS) if day else 0] for day in days])

    return AdoptedLevels(
        series=np.array([7]),
        from_ns=at([level[0] for level in levels]),
        adopted_ns=at([level[0] + 1 for level in levels]),
        left_ns=at([level[2] for level in levels]),
        ratio=np.array([[level[1]] for level in levels], np.float32),
    )


def fitted(
    past: WindowBlock, levels: AdoptedLevels | None, left_out: NDArray[np.bool_] | None = None
) -> Profile:
    """What is expected of the day after."""
    past, left_out = at_present_level(past, left_out, levels, at_ns=past.end_ns)
    return fit_profile(past, at_ns=past.end_ns, version=1, left_out=left_out)


def expected(ratio: float) -> NDArray[np.float64]:
    return ratio * np.tile(SHAPE, 2)[: PER_DAY + 24]


@pytest.mark.parametrize("ratio", [0.1, 4.0])
@pytest.mark.parametrize("day", [18.4, 15.4, 5.4])
def test_a_level_is_known_at_every_hour_from_its_adoption_on(ratio: float, day: float) -> None:
    past = history((day, ratio))
    found = fitted(past, adopted((day, ratio, 0)))
    assert np.allclose(found.grid[:, 1], expected(ratio), rtol=1e-3)
    # Without it the fit would not know the level for days; and others' history is what it was.
    if day > 15:
        assert np.abs(fitted(past, None).grid[:, 1] / expected(ratio) - 1).max() > 0.3
    assert np.array_equal(found.grid[:, 0], fitted(past, None).grid[:, 0])


def test_the_incident_of_a_level_is_learnt_once_it_is_adopted() -> None:
    past = history((18.4, 0.3))
    left_out = np.zeros(past.value.shape, np.bool_)
    left_out[int(18.4 * PER_DAY) : int(19.5 * PER_DAY), 1] = True
    _, found = at_present_level(past, left_out, adopted((18.4, 0.3, 0)), at_ns=past.end_ns)
    assert found is not None
    # A later incident is left out as any other; the caller's array is left alone.
    marked = np.flatnonzero(found[:, 1])
    assert marked[0] == pytest.approx(19.4 * PER_DAY, abs=1)
    assert marked[-1] == pytest.approx(19.5 * PER_DAY, abs=1)
    assert len(marked) == marked[-1] - marked[0] + 1
    assert left_out[int(18.9 * PER_DAY), 1]


@pytest.mark.parametrize("back", [19.5, 17.0])
def test_a_level_that_was_left_is_forgotten(back: float) -> None:
    """What was left out on three of the lags would be a habit, and learnt after all."""
    found = fitted(history((14.4, 0.2), (back, 5.0)), adopted((14.4, 0.2, back)))
    assert np.allclose(found.grid[:, 1], expected(1.0), rtol=1e-3)


def test_a_weekend_that_was_adopted_and_left_is_what_it_was_a_week_later() -> None:
    """Brought to the level of a workday, it could never be learnt."""
    past = history((11.0, 0.3), (13.0, 1 / 0.3))
    levels = adopted((11.0, 0.3, 13.1))
    same, left_out = at_present_level(past, None, levels, at_ns=past.end_ns)
    assert same is past
    assert left_out is None
    sooner, _ = at_present_level(past, None, levels, at_ns=START_NS + 15 * DAY_NS)
    assert np.allclose(sooner.value[12 * PER_DAY, 1], SHAPE[0])


def test_levels_follow_one_another() -> None:
    past = history((10.4, 0.5), (17.4, 0.5))
    found = fitted(past, adopted((17.4, 0.5, 0), (10.4, 0.5, 0)))
    assert np.allclose(found.grid[:, 1], expected(0.25), rtol=1e-3)


def test_without_levels_nothing_is_copied() -> None:
    past = history()
    assert at_present_level(past, None, None, at_ns=past.end_ns) == (past, None)
    empty = adopted((0, 1.0, 0))
    same, left_out = at_present_level(
        past.select(np.array([True, False])), None, empty, at_ns=past.end_ns
    )
    assert left_out is None
    assert same.series.tolist() == [3]


def test_a_profile_keeps_what_levels_it_knows() -> None:
    profile = fitted(history(), None)
    assert profile.levels_ns == 0
    known = Profile(
        version=1,
        start_ns=profile.start_ns,
        step_ns=BIN_NS,
        series=profile.series,
        grid=profile.grid,
        levels_ns=START_NS + 7,
    )
    assert Profile.from_bytes(known.to_bytes()).levels_ns == START_NS + 7
    assert known.part(known.start_ns, known.end_ns).levels_ns == START_NS + 7
