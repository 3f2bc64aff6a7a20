"""Each peer of the benchmark finds a plain outage, is quiet without one, and never looks ahead.

Method: made series with a day and a week, one with an outage in the second half and one without; and the same series cut off, whose
scores must not change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.measure import sweep_one
from benchmarks.detection.peers import PEERS, Peer
from benchmarks.detection.protocol import OWN_SCALE, THRESHOLD_SCALES, best_within, page_rows
from benchmarks.detection.score import incidents_of, tally
from benchmarks.detection.sources import Floats, Grid, Ints, LabelledSeries, SeriesFile, on_grid

pytestmark = pytest.mark.timeout(120)  # loading statsmodels alone takes seconds on a busy machine

DAYS = 36
STEP_S = {"holt-winters": 3600, "mstl": 3600}
"""Steps of five minutes, but for the slow ones. At steps of an hour the adaptive rules see nothing."""

by_name = pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])


def usual(step_s: int) -> Floats:
    """Level 100 with a swing of a day, a slightly quieter weekend and some noise."""
    day = 86_400 // step_s
    row = np.arange(DAYS * day)
    level = 100 + 20 * np.sin(2 * np.pi * row / day) - 3.0 * (row // day % 7 >= 5)
    return np.asarray(level + np.random.default_rng(1).normal(0, 1.5, row.size))


def outage_of(step_s: int) -> slice:
    """Three hours on the thirtieth day, in the scored half."""
    begin = 30 * (86_400 // step_s) + 36_000 // step_s
    return slice(begin, begin + 3 * 3600 // step_s)


def step_of(peer: Peer) -> int:
    return STEP_S.get(peer.name, 300)


def series_of(value: Floats, *, step_s: int, is_incident: slice | None = None) -> LabelledSeries:
    label = np.zeros(value.size, np.bool_)
    if is_incident is not None:
        label[is_incident] = True
    time_s = 1_700_000_100 + step_s * np.arange(value.size, dtype=np.int64)
    return LabelledSeries(
        time_s=time_s,
        value=value,
        is_incident=label,
        scored_from_s=int(time_s[value.size // 2]),
    )


def pages_of(peer: Peer, series: LabelledSeries, *, threshold: float) -> Ints:
    grid = on_grid(series)
    rows = page_rows(peer.scorer()(grid), threshold, step_s=grid.step_s, with_reminders=False)
    return grid.time_s[rows]


@by_name
def test_a_burst_is_found_at_once(peer: Peer) -> None:
    step_s = step_of(peer)
    value, outage = usual(step_s), outage_of(step_s)
    value[outage] *= 2
    series = series_of(value, step_s=step_s, is_incident=outage)
    pages = pages_of(peer, series, threshold=1.25 * peer.own_threshold)
    got = tally(pages, series, incidents_of(series))
    # Those that learn from the burst may page once more where it was, a day later.
    assert (got.found_count, got.false_count <= 1) == (1, True)
    assert got.delay_s[0] <= max(step_s, 300)


@by_name
def test_without_an_incident_it_is_quiet(peer: Peer) -> None:
    step_s = step_of(peer)
    series = series_of(usual(step_s), step_s=step_s)
    pages = pages_of(peer, series, threshold=2 * peer.own_threshold)
    assert tally(pages, series, incidents_of(series)).false_count == 0


@by_name
def test_no_score_depends_on_what_comes_later(peer: Peer) -> None:
    """Cut off after 80 %, in the middle of a day, with holes in both parts: the scores before stay."""
    step_s = step_of(peer)
    value = usual(step_s)
    value[outage_of(step_s)] *= 2
    value[np.random.default_rng(2).random(value.size) < 0.05] = np.nan
    grid = Grid(
        time_s=step_s * np.arange(value.size, dtype=np.int64),
        value=value,
        step_s=step_s,
        history_count=value.size // 2,
    )
    cut = int(value.size * 0.8) + 17
    whole = peer.scorer()(grid)
    part = peer.scorer()(replace(grid, time_s=grid.time_s[:cut], value=value[:cut]))
    assert np.isfinite(part).sum() > cut // 4
    np.testing.assert_allclose(part, whole[:cut], rtol=1e-9, atol=1e-12)


@by_name
@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_series_that_never_changes_pages_nobody(peer: Peer, level: float) -> None:
    step_s = step_of(peer)
    series = series_of(np.full(DAYS * 86_400 // step_s, level), step_s=step_s)
    assert not pages_of(peer, series, threshold=peer.own_threshold).size


@by_name
def test_a_series_of_some_hours_does_no_harm(peer: Peer) -> None:
    step_s = step_of(peer)
    grid = on_grid(series_of(usual(step_s)[:20], step_s=step_s))
    assert peer.scorer()(grid).shape == grid.value.shape


def test_static_scores_are_what_they_say() -> None:
    """History 0..1000: its mean is 500, its 99.9 % quantile 999, its deviation the uniform one."""
    value = np.concatenate([np.arange(1001.0), [1499.0, 0.0]])
    grid = Grid(time_s=np.arange(1003, dtype=np.int64), value=value, step_s=1, history_count=1001)
    sigma, tail = (
        next(peer for peer in PEERS if peer.name == name).scorer()(grid)[-2:]
        for name in ("static-3-sigma", "static-p99.9")
    )
    deviation = np.sqrt((1001**2 - 1) / 12)
    np.testing.assert_allclose(sigma, [999 / deviation, 500 / deviation])
    np.testing.assert_allclose(tail, [999 / 499, -500 / 499])


def test_adaptive_rules_wait_five_minutes_and_widen_by_half_the_mean() -> None:
    """At level 100 and steps of a minute, 155 is not for long above 1.5 times an hour's mean, 180 is, and alerts at its sixth minute."""
    value = np.full(3000, 100.0)
    value[2000:2010] = 155.0
    grid = Grid(
        time_s=60 * np.arange(3000, dtype=np.int64), value=value, step_s=60, history_count=1500
    )
    peer = next(peer for peer in PEERS if peer.name == "promql-adaptive")
    fires = np.flatnonzero(peer.scorer()(grid) >= peer.own_threshold)
    assert fires.tolist() == []
    value[2000:2010] = 180.0
    fires = np.flatnonzero(peer.scorer()(grid) >= peer.own_threshold)
    assert fires.tolist() == [2005, 2006, 2007, 2008, 2009]


def test_the_best_threshold_keeps_the_budget(tmp_path: Path) -> None:
    """A burst of three times the level and one of twice: with no false page allowed the incident is still found."""
    step_s = 300
    value, outage = usual(step_s), outage_of(step_s)
    value[outage] *= 3
    value[25 * 288 + 10] *= 2
    series = series_of(value, step_s=step_s, is_incident=outage)
    rows = np.column_stack([series.time_s, series.value, series.is_incident])
    path = tmp_path / "one.csv"
    np.savetxt(path, rows, fmt=("%d", "%.6g", "%d"), delimiter=",", header="t,v,l", comments="")
    peer = next(peer for peer in PEERS if peer.name == "static-3-sigma")
    swept = sweep_one(peer, SeriesFile(dataset="made", name="one", path=path))
    assert swept.tallies[OWN_SCALE].false_count == 1
    best = best_within([swept], false_per_week_max=0.0)
    assert best is not None
    assert (best.recall_ratio, best.false_per_week) == (1.0, 0.0)
    assert THRESHOLD_SCALES[OWN_SCALE] == 1.0
