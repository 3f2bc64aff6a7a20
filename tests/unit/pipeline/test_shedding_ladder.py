"""Goal: things are given up in one order, one at a time, and taken up again only after it has been calm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.model import Rung
from sentinel.pipeline.shedding_ladder import RUNGS, Ladder, LadderSettings, stepped

SETTINGS = LadderSettings(high_ratio=0.8, low_ratio=0.5, climb_s=1.0, calm_s=10.0)


def walked(readings: list[tuple[float, float]], ladder: Ladder | None = None) -> list[int]:
    """The height after each reading of (seconds, pressure)."""
    ladder = ladder or Ladder()
    heights = []
    for now_s, pressure in readings:
        ladder = stepped(ladder, pressure=pressure, now_s=now_s, settings=SETTINGS)
        heights.append(ladder.height)
    return heights


def test_rungs_are_traces_logs_labels_and_fits_in_that_order() -> None:
    assert Ladder(height=4).rungs == (Rung.TRACES, Rung.LOGS, Rung.LABELS, Rung.FITS)
    assert Ladder(height=1).rungs == (Rung.TRACES,)
    assert Ladder().rungs == ()


def test_each_rung_takes_its_time_and_there_are_four() -> None:
    readings = [(second * 0.5, 0.9) for second in range(12)]
    assert walked(readings) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]


def test_a_moment_of_pressure_sheds_nothing() -> None:
    assert walked([(0.0, 0.99), (0.5, 0.6), (1.0, 0.99), (1.5, 0.6), (2.0, 0.99)]) == [0] * 5


def test_at_the_bound_itself_nothing_is_waited_for() -> None:
    assert walked([(0.0, 1.0), (0.25, 1.2), (0.5, 1.0), (0.75, 1.0)]) == [1, 2, 3, 4]


def test_between_the_ratios_nothing_changes_however_long_it_lasts() -> None:
    held = Ladder(height=2)
    assert walked([(float(second), 0.65) for second in range(100)], held) == [2] * 100


def test_each_step_back_needs_calm_of_its_own() -> None:
    readings = [(float(second), 0.1) for second in range(31)]
    heights = walked(readings, Ladder(height=2))
    assert heights[:10] == [2] * 10
    assert heights[10:20] == [1] * 10
    assert heights[20:] == [0] * 11


def test_calm_that_is_broken_begins_anew() -> None:
    readings = [(0.0, 0.1), (9.0, 0.1), (9.5, 0.6), (10.0, 0.1), (19.0, 0.1), (20.0, 0.1)]
    assert walked(readings, Ladder(height=1)) == [1, 1, 1, 1, 1, 0]


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(0.0, 2.0, allow_nan=False)), max_size=200)
)
def test_it_moves_by_one_and_stays_on_the_ladder(steps: list[tuple[float, float]]) -> None:
    ladder, now_s = Ladder(), 0.0
    for passed_s, pressure in steps:
        now_s += passed_s
        after = stepped(ladder, pressure=pressure, now_s=now_s, settings=SETTINGS)
        assert abs(after.height - ladder.height) <= 1
        assert 0 <= after.height <= len(RUNGS)
        assert after.height <= ladder.height or pressure >= SETTINGS.high_ratio
        assert after.height >= ladder.height or pressure <= SETTINGS.low_ratio
        assert after.rungs == RUNGS[: after.height]
        ladder = after


@pytest.mark.parametrize(
    "changed",
    [
        {"low_ratio": 0.8},
        {"high_ratio": 1.1},
        {"low_ratio": 0.0},
        {"climb_s": 0.0},
        {"calm_s": -1.0},
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, float]) -> None:
    values = {"high_ratio": 0.8, "low_ratio": 0.5, "climb_s": 1.0, "calm_s": 10.0, **changed}
    with pytest.raises(ValueError, match=r"must be|at most"):
        LadderSettings(**values)
