"""Goal: a lasting step of traffic or latency with a day's shape is one page in three weeks, and no night hides what comes after.

Method: replays of five weeks, the step in the third; each factor is a series of its own service.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, PageReason
from sentinel.pipeline.replay import PlainSeries, ReplayedPage, replay

pytestmark = pytest.mark.timeout(300)

DAY_S = 86_400
START_S = 20_576 * DAY_S
STEP_DAY = 14.4
FALLS, RISES = (0.1, 0.2, 0.3, 0.4, 0.5), (2.0, 2.5, 4.0, 10.0)


def series(
    kind: Kind, name: str, ratio: NDArray[np.float64], *, step_s: int, seed: int
) -> PlainSeries:
    """A day that swings by half, `ratio` times, with the noise of counting and of habits."""
    time_s = START_S + np.arange(len(ratio)) * step_s
    rng = np.random.default_rng(seed)
    shape = ratio * (1 + 0.5 * np.sin(2 * np.pi * (time_s % DAY_S) / DAY_S - 2))
    shape *= np.exp(0.05 * rng.standard_normal(len(ratio)))
    counted = rng.poisson(20 * shape * step_s) / step_s
    value = counted if kind is Kind.TRAFFIC else 0.1 * shape
    return PlainSeries(name=name, time_ns=time_s * 10**9, value=value)


def days(step_s: int, count: float) -> NDArray[np.float64]:
    """The day of each window."""
    return np.arange(int(count * DAY_S) // step_s) * step_s / DAY_S


def opened(kind: Kind, given: list[PlainSeries]) -> list[ReplayedPage]:
    """What opened an incident."""
    found = replay(given, kind=kind, settings=DecisionSettings())
    return [page for page in found.pages if page.reason is PageReason.OPENED]


@pytest.mark.parametrize(
    ("kind", "step_s", "factors"),
    [
        (Kind.TRAFFIC, 300, FALLS + RISES),
        (Kind.LATENCY, 300, RISES),
        pytest.param(Kind.TRAFFIC, 60, FALLS + RISES, marks=pytest.mark.full),
        pytest.param(Kind.LATENCY, 60, RISES, marks=pytest.mark.full),
    ],
)
def test_a_lasting_step_is_one_page(kind: Kind, step_s: int, factors: tuple[float, ...]) -> None:
    """It paged for a week or two, up to twenty times."""
    day = days(step_s, STEP_DAY + 21)
    pages = opened(
        kind,
        [
            series(kind, f"x{f:g}", np.where(day >= STEP_DAY, f, 1.0), step_s=step_s, seed=at)
            for at, f in enumerate(factors)
        ],
    )
    assert Counter(page.series for page in pages) == {f"x{f:g}": 1 for f in factors}
    for page in pages:
        assert page.start_s - START_S == pytest.approx(STEP_DAY * DAY_S, abs=900)
        assert page.end_s - page.start_s == pytest.approx(DAY_S, abs=900)


@pytest.mark.parametrize(
    "hours",
    [30, pytest.param(40, marks=pytest.mark.full), pytest.param(84, marks=pytest.mark.full)],
)
def test_a_fault_after_the_adoption_is_found(hours: int) -> None:
    """Half of the traffic fails for an hour, at any time of day, at the new level."""
    day = days(300, STEP_DAY + 5)
    begin = STEP_DAY + hours / 24
    fault = np.where((day >= begin) & (day < begin + 1 / 24), 0.5, 1.0)
    factors = (0.2, 0.5, 4.0, 10.0)
    pages = opened(
        Kind.TRAFFIC,
        [
            series(
                Kind.TRAFFIC,
                f"x{f:g}",
                np.where(day >= STEP_DAY, f, 1.0) * fault,
                step_s=300,
                seed=at,
            )
            for at, f in enumerate(factors)
        ],
    )
    late = [page for page in pages if page.start_s - START_S > (STEP_DAY + 1.1) * DAY_S]
    assert Counter(page.series for page in late) == {f"x{f:g}": 1 for f in factors}
    for page in late:
        assert 0 <= page.start_s - START_S - begin * DAY_S <= 1800
        assert page.direction == -1


@pytest.mark.parametrize(
    "back_after",
    [3.2, pytest.param(1.3, marks=pytest.mark.full), pytest.param(8.5, marks=pytest.mark.full)],
)
def test_a_step_that_is_undone_after_days_is_one_page(back_after: float) -> None:
    """Neither the way back pages, nor the days after it, whose profile had learnt the level that is gone."""
    day = days(300, STEP_DAY + 16)
    there = (day >= STEP_DAY) & (day < STEP_DAY + back_after)
    factors = (0.1, 0.3, 0.5, 2.0, 10.0)
    pages = opened(
        Kind.TRAFFIC,
        [
            series(Kind.TRAFFIC, f"x{f:g}", np.where(there, f, 1.0), step_s=300, seed=at)
            for at, f in enumerate(factors)
        ],
    )
    assert Counter(page.series for page in pages) == {f"x{f:g}": 1 for f in factors}
