"""Longer horizons: what single windows are too noisy to show, seen in their mean over 1, 5 and 30 minutes.

A fault that is small against the noise of one window, or that grows slowly enough for the recent level to follow it, moves
the mean of many windows. Each horizon is a series of windows of its own, on its own grid, made of the same windows:

    mean       of the values; of a share of calls or a latency weighted with the calls, so that failed / calls is exact
    expected   the profile's mean over the same windows, corrected by a level that is slower than the horizon
    spread     of the horizon's own deviations: a power mean over days; time of day as for single windows; never below
               that of counting so many calls
    cut        the base for a window of that width, raised as the series' own threshold is, and by a ratio more

It is judged when its window ends, and its verdict stands until the next one ends. With fewer than half of its windows
it says nothing. So it may be strange when the fault is over; it goes on while the newest of each shorter horizon, down to
the window itself, is at least half as far off. Where several horizons are strange, the shortest is told of. Gauges are judged by their windows alone: they may settle anywhere, which the last windows take up at once and
a slower level would hold against them for hours. Band and score agree as they do for single windows.

Sums are made one window after the other, and of a longer horizon from those of the next shorter, so that any split
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    HORIZON_VIEWS,
    HORIZONS_S,
    ExpectationBlock,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.scoring.band import band, possible
from sentinel.core.scoring.counts import ratios_of_counts
from sentinel.core.scoring.horizon_scale import first_scale
from sentinel.core.scoring.hours import hourly
from sentinel.core.scoring.settings import Grid, ScoringSettings
from sentinel.core.scoring.state import DetectorState, Hourly
from sentinel.core.stats.sums import added_in_order

_Halves = NDArray[np.float32]
_SECOND_NS = 1_000_000_000
_VALUE_MAX = np.float32(1e17)
"""Windows further from what is usual, or from nothing, are left out: float32 holds a day's sum of the squares of this."""
_GOES_ON_SHARE = np.float32(0.5)
"""By how much of the way to a mean the newest values must still be off for it to go on: half is nearer to it than to what
is expected, and what had followed a slow fault before it was found is no further."""
_WEIGHT_MAX = np.float32(1e12)
"""More calls than this count as so many: float32 holds half an hour's sum of values times calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonLook:
    """What the horizons make of some windows.

    Attributes:
        sums: of each horizon's present window after the last row, float32[4, S].
        after: the other columns of the state as they are then, where they changed.
        standing: first row, length in seconds and verdict (float32[6, S]) of all that stand in these windows,
            in order of rows.
    """

    sums: list[_Halves]
    after: dict[str, _Halves]
    standing: list[tuple[int, int, _Halves]]


def horizons_of(step_ns: int) -> list[int]:
    """Which horizons there are for windows of this width, shortest first."""
    return [
        at
        for at, length_s in enumerate(HORIZONS_S)
        if length_s * _SECOND_NS > step_ns and length_s * _SECOND_NS % step_ns == 0
    ]


def look_far(
    state: DetectorState,
    block: WindowBlock,
    expectation: ExpectationBlock,
    *,
    frozen: NDArray[np.bool_],
    settings: ScoringSettings,
    judge: bool = True,
) -> HorizonLook | None:
    """What the horizons see in windows of one hour; None where the windows are too wide for any. Changes nothing.

    Args:
        state: what was learned before the first window.
        block: the windows as they came.
        expectation: the profile for them.
        frozen: bool[S], series with an open incident.
        settings: the constants.
        judge: whether anybody looks at the verdicts. Where nobody does and no incident is open, by which learning follows them,
            they stay what they were.
    """
    used = horizons_of(block.step_ns)
    if not used:
        return None
    facts = hourly(state, block.kind, settings)
    run = _Run(state, facts, frozen, settings, judge=judge)
    terms = _terms(block, expectation, facts)
    first = block.start_ns // block.step_ns
    shortest = HORIZONS_S[used[0]] * _SECOND_NS // block.step_ns
    row = 0
    while row < block.window_count:
        end = min(block.window_count, row + shortest - (first + row) % shortest)
        run.add(used[0], terms[:, row:end])
        end_ns = block.start_ns + end * block.step_ns
        ease = None if expectation.ease is None else expectation.ease[end - 1]
        for place, horizon in enumerate(used):
            if end_ns % (HORIZONS_S[horizon] * _SECOND_NS):
                break
            run.end(horizon, row=end - 1, step_ns=block.step_ns, ease=ease)
            if place + 1 < len(used):
                run.add(used[place + 1], run.sums[horizon][:, None])
            run.sums[horizon] = np.zeros_like(run.sums[horizon])
        row = end
    return HorizonLook(sums=run.sums, after=run.columns(), standing=run.standing)


def take_far(state: DetectorState, look: HorizonLook | None) -> None:
    """Make the state's horizons what they are after the windows of `look`."""
    if look is None:
        return
    for horizon, sums in enumerate(look.sums):
        if sums.base is not state.now_horizon:
            state.now_horizon[horizon] = sums
    for name, column in look.after.items():
        setattr(state, name, column)


def pressing(verdicts: VerdictBlock, look: HorizonLook | None) -> VerdictBlock:
    """The verdicts with those of a horizon in the place of a window's, where the horizon alone is strange."""
    if look is None:
        return verdicts
    strange = [entry for entry in look.standing if np.count_nonzero(entry[2][-1] >= 1)]
    if not strange:
        return verdicts
    used = {HORIZONS_S[at] for at in horizons_of(verdicts.step_ns)}
    columns: dict[str, Any] = {
        name: getattr(verdicts, name).copy()
        for name in ("value", "weight", "expected", "lower", "upper", "score", "direction")
    }
    horizon_s = np.zeros(verdicts.score.shape, np.int16)
    lasting = np.full((len(HORIZONS_S), *verdicts.score.shape), np.nan, np.float32)
    reason = verdicts.reason.copy()
    ends = _ends(look.standing, len(verdicts.score))
    # The shortest first, whichever of them a block begins with.
    spans = sorted(
        (
            (length_s, first, last, found)
            for (first, length_s, found), last in zip(look.standing, ends, strict=True)
        ),
        key=lambda one: one[:2],
    )
    for length_s, first, last, found in spans:
        at = np.flatnonzero(found[-1] >= 1)
        for row in range(first, last) if at.size else ():
            own = columns["score"][row, at]
            more = at[~(own >= 1)]
            for column, name in enumerate(
                ("value", "weight", "expected", "lower", "upper", "score")
            ):
                columns[name][row, more] = found[column, more]
            high = found[0, more] >= found[2, more]
            columns["direction"][row, more] = np.where(high, 1, -1)
            horizon_s[row, more] = length_s
            reason[row, more] = 0
            newest = [(verdicts.value[row, at], verdicts.expected[row, at])]
            newest += [
                (shorter[0, at], shorter[2, at])
                for shorter_s, since, until, shorter in spans
                if shorter_s in used and shorter_s < length_s and since <= row < until
            ]
            still = at[_goes_on(found[:, at], newest)]
            lasting[HORIZONS_S.index(length_s), row, still] = found[-1, still]
    views, gate = verdicts.views_or_none.copy(), verdicts.gates_or_none.copy()
    for length_s, first, last, found in spans:
        high = np.where(found[0] >= found[2], 1, -1)
        bit = np.uint8(HORIZON_VIEWS[HORIZONS_S.index(length_s)])
        for row in range(first, last) if np.count_nonzero(found[-1] >= 1) else ():
            agrees = (found[-1] >= 1) & (columns["score"][row] >= 1)
            agrees &= columns["direction"][row] == high
            views[row, agrees] |= bit
    gate[columns["score"] >= 1] = 0
    return replace(
        verdicts,
        **columns,
        reason=reason,
        horizon_s=horizon_s,
        lasting=lasting,
        views=views,
        gate=gate,
    )


def _goes_on(found: _Halves, newest: Sequence[tuple[_Halves, _Halves]]) -> NDArray[np.bool_]:
    """Whether values, each with what was expected of it, are still off on the side of a horizon's verdict float32[6, S]."""
    distance = found[0] - found[2]
    least = _GOES_ON_SHARE * np.abs(distance)
    still = np.ones(found.shape[1], np.bool_)
    for value, expected in newest:
        # What is not known does not go on.
        still &= (value - expected) * np.sign(distance) >= least
    return still


def pass_horizons(state: DetectorState, to_ns: int) -> None:
    """Let go of horizons' windows that ended in a gap which ends at `to_ns`, and of verdicts older than a horizon."""
    for horizon, length_s in enumerate(HORIZONS_S):
        length_ns = length_s * _SECOND_NS
        if state.next_ns // length_ns != to_ns // length_ns:
            state.now_horizon[horizon] = 0.0
        if to_ns - state.next_ns > length_ns:
            state.horizon_verdict = state.horizon_verdict.copy()
            state.horizon_verdict[horizon] = np.nan


class _Run:
    """The horizons' columns while windows pass."""

    def __init__(
        self,
        state: DetectorState,
        facts: Hourly,
        frozen: NDArray[np.bool_],
        settings: ScoringSettings,
        *,
        judge: bool,
    ) -> None:
        self._facts = facts
        self._settings = settings
        self._held = frozen if np.count_nonzero(frozen) else None
        self._judge = judge or self._held is not None
        self._state = state
        self._filled = state.horizon_filled
        self.sums = list(state.now_horizon)
        self._level = state.horizon_level
        self._scale = state.horizon_scale
        self._block = state.horizon_block
        self._verdict = state.horizon_verdict
        self._fresh = True
        self.standing: list[tuple[int, int, _Halves]] = [
            (0, length_s, state.horizon_verdict[at]) for at, length_s in enumerate(HORIZONS_S)
        ]

    def columns(self) -> dict[str, _Halves]:
        """The other columns of the state as they are now; none where no horizon has ended."""
        if self._fresh:
            return {}
        return {
            "horizon_level": self._level,
            "horizon_scale": self._scale,
            "horizon_block": self._block,
            "horizon_verdict": self._verdict,
        }

    def add(self, horizon: int, terms: _Halves) -> None:
        """Add rows (axis 1) to a horizon's sums, one after the other."""
        self.sums[horizon] = added_in_order(self.sums[horizon], terms)

    def end(self, horizon: int, *, row: int, step_ns: int, ease: _Halves | None) -> None:
        """Judge the window of a horizon that ends with this row, then learn from it."""
        if self._fresh:
            self._fresh = False
            for name in ("_level", "_scale", "_block", "_verdict"):
                setattr(self, name, getattr(self, name).copy())
        length_s = HORIZONS_S[horizon]
        deviation, value, weight, windows = self.sums[horizon]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            enough = windows * np.float32(2 * step_ns / (length_s * _SECOND_NS)) >= 1
            enough &= weight > 0
            weight = np.where(enough, weight, np.float32(np.nan))
            mean, residual = value / weight, deviation / weight
            ratio = self._ratio(mean - residual)
            if ease is not None:
                # What is learnt of the spread is that of an ordinary day.
                ratio *= ease
            if self._judge:
                floor = self._facts.floor if ease is None else self._facts.floor * ease
                spread = ratio * self._scale[horizon] + floor
                self._verdict[horizon] = self._judged(horizon, mean, residual, weight, spread)
            self._learn(horizon, residual, ratio)
        if self._judge:
            self.standing.append((row, length_s, self._verdict[horizon].copy()))

    def _ratio(self, usual: _Halves) -> _Halves:
        """Share of the scale that belongs to the time of day."""
        ratio: _Halves = self._facts.ratio[0].copy()
        if (counts := self._facts.counts) is not None:
            np.copyto(
                ratio, ratios_of_counts(usual[None], self._facts, self._settings)[0], where=counts
            )
        return ratio

    def _judged(
        self, horizon: int, mean: _Halves, residual: _Halves, weight: _Halves, spread: _Halves
    ) -> _Halves:
        facts, length_s = self._facts, HORIZONS_S[horizon]
        usual = mean - residual
        level = self._level[horizon]
        if facts.counted:
            counting = np.maximum(usual + level, 0) * (facts.count_noise > 0)
            np.maximum(spread, np.sqrt(counting / np.float32(length_s)), out=spread)
        if (at := facts.ratios) is not None:
            share = np.clip(usual[at] + level[at], 0, 1)
            counting = np.sqrt(share * (1 - share) / np.maximum(weight[at], 1))
            spread[at] = np.maximum(spread[at], counting)
        half = spread / facts.gain
        if facts.one_sided:
            level = np.maximum(level, half * facts.lowest_middle)
        grid = Grid(step_ns=length_s * _SECOND_NS)
        settings = self._settings
        need = np.float32(
            settings.cut_scale * grid.base_cut(settings) * settings.horizon_cut_ratio
        )
        raised = np.maximum(self._state.cut / self._state.grid.base_cut(settings), 1.0)
        above, below = (half * need * raised.astype(np.float32))[:, None]
        distance = (residual - level)[None]
        expected = possible((usual + level)[None], distance, facts)
        lower, upper, score = band(
            mean[None],
            weight[None],
            expected,
            distance,
            above=above,
            below=below,
            reach=None,
            facts=facts,
        )
        score[0, ~(weight >= facts.weight_min) | ~facts.recent_held] = np.nan
        return np.stack([mean, weight, expected[0], lower[0], upper[0], score[0]])

    def _learn(self, horizon: int, residual: _Halves, ratio: _Halves) -> None:
        settings = self._settings
        scale = self._scale[horizon]
        limit = np.where(np.isfinite(scale), scale, np.float32(np.inf))
        step = residual - self._level[horizon]
        there = np.isfinite(step)
        normal = np.abs(step) / ratio
        np.minimum(normal, np.float32(settings.spread_clip) * limit, out=normal)
        usable = there
        if self._held is not None:
            usable = there & ~(self._held & (self._verdict[horizon, -1] >= 1))
        self._block[horizon, 0] += np.where(usable, normal * normal, np.float32(0))
        self._block[horizon, 1] += usable
        self._scale[horizon] = first_scale(
            self._block[horizon], self._filled[horizon], scale, horizon
        )
        half_life_s = settings.horizon_half_lives_s[horizon]
        gain = np.float32(1 - 0.5 ** (HORIZONS_S[horizon] / half_life_s))
        reach = np.float32(settings.level_clip) * limit
        np.maximum(step, -reach, out=step)
        np.minimum(step, reach, out=step)
        step *= gain
        follows = there if self._held is None else there & ~self._held
        level = self._level[horizon]
        fresh = np.isnan(level) & np.isfinite(residual)
        self._level[horizon] = np.where(
            fresh, residual, level + np.where(follows, step, np.float32(0))
        )


def _terms(block: WindowBlock, expectation: ExpectationBlock, facts: Hourly) -> _Halves:
    """What each window adds: weighted residual, weighted value, weight and one; float32[4, T, S]; 0 where not judged."""
    terms = np.empty((4, *block.value.shape), np.float32)
    residual = block.value.astype(np.float64)
    residual -= expectation.expected
    told = np.abs(residual) < _VALUE_MAX
    told &= np.abs(block.value) < _VALUE_MAX
    told &= block.heard
    told &= facts.recent_held
    weight = terms[2]
    if facts.weighted is None:
        weight[:] = 1
    else:
        np.minimum(block.weight, _WEIGHT_MAX, out=weight)
        np.copyto(weight, np.float32(1), where=~facts.weighted)
    with np.errstate(over="ignore"):  # of cells that are left out
        terms[0] = residual
        terms[0] *= weight
        np.multiply(block.value, weight, out=terms[1])
    terms[3] = 1
    if np.count_nonzero(told) < told.size:
        np.copyto(terms, np.float32(0), where=~told)
    return terms


def _ends(standing: list[tuple[int, int, _Halves]], row_count: int) -> list[int]:
    """The row before which each entry is replaced by the next one of its horizon."""
    ends = [row_count] * len(standing)
    following: dict[int, int] = {}
    for at in range(len(standing) - 1, -1, -1):
        first, length_s, _ = standing[at]
        ends[at] = following.get(length_s, row_count)
        following[length_s] = first
    return ends
