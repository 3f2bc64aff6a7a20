"""How strange a window is, from what was known before it.

With e = value - profile, L the recent level and J the median of the last residuals, two views expect the residuals
o1 = L (the profile, corrected by the level) and o2 = J (the profile's move since the last windows).
With their scales S1, S2 the statistic is the mean of the signed views,

    z = gain / 2 * ((e - o1) / S1 + (e - o2) / S2) = gain * (e - middle) / width

which is linear in the value, so the band is its closed-form inverse: outside the band is a score of at least 1, and
inside is below, exactly, as float32. What a kind demands besides (smallest distance, direction) moves the band's edges.

Where only values above can be strange, the middle is never further below the profile than a few widths. A fall opens
no incident there, so nothing holds the level and the last residuals still, and without the bound they would follow
the fall and take its end, the return to what is usual at this hour, for a rise. Where only values below can be, likewise.

Nothing here changes the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    PARTIAL_WEIGHT,
    SHED_WEIGHT,
    UNREACHED_WEIGHT,
    ExpectationBlock,
    Reason,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.scoring.band import band, possible
from sentinel.core.scoring.counts import ratios_of_counts
from sentinel.core.scoring.grounds import Looked, grounds
from sentinel.core.scoring.hours import hourly
from sentinel.core.scoring.recents import recent_rows
from sentinel.core.scoring.returns import note_frozen, return_reach
from sentinel.core.scoring.settings import HOUR_NS, ScoringSettings
from sentinel.core.scoring.state import DetectorState, Hourly
from sentinel.core.stats.ordering import median_of_rows

_RESIDUAL_MAX = np.float32(1e37)
"""A residual counts for no more than this: float32 can hold sums of some."""

_NAN = np.float32(np.nan)
_Halves = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Verdicts of windows of one hour, and what learning needs of how they came about.

    Attributes:
        verdicts: what was thought of each window.
        value: float32[T, S]; NaN where the window says nothing, or nothing that is to be learnt.
        residual: float32[T, S], value - profile, likewise.
        level: float32[T, S], level of the residual before each window.
        deviation: float32[2, T, S], residual against each view.
        ratio: float32[2, T, S], share of each view's scale that belongs to the time of day.
        statistic: float32[T, S], z above.
        held: bool[S], series whose learning stands still; None when there are none.
        still: bool[S], those of them whose last residuals are held too; None when there are none.
    """

    verdicts: VerdictBlock
    value: _Halves
    residual: _Halves
    level: _Halves
    deviation: _Halves
    ratio: _Halves
    statistic: _Halves
    held: NDArray[np.bool_] | None
    still: NDArray[np.bool_] | None


def score(
    state: DetectorState,
    block: WindowBlock,
    expectation: ExpectationBlock,
    *,
    frozen: NDArray[np.bool_],
    settings: ScoringSettings,
    standing: NDArray[np.bool_] | None = None,
    judge: bool = True,
) -> Scored:
    """Verdicts of windows that all lie in the state's present hour.

    Args:
        state: what was learned before the block's first window; which series stand still is noted in it.
        block: the windows as they are judged; its series are the state's.
        expectation: the profile for them.
        frozen: bool[S], series with an open incident.
        settings: the constants.
        standing: bool[T, S], cells that teach nothing, because they are an earlier window's; None for none.
        judge: whether anybody looks at the verdicts. Where nobody does, as of a past that is only learnt from, they are
            unknown without a reason, which saves a third of the time; all else is the same. While a scale is borrowed
            they are what is learnt from.
    """
    note_frozen(state, frozen, window=block.start_ns // block.step_ns, settings=settings)
    facts = hourly(state, block.kind, settings)
    judge = judge or facts.borrowing
    profile = expectation.expected
    value, unsaid = _values(block, facts)
    held = frozen if np.count_nonzero(frozen) else None
    still = None if held is None else held & facts.recent_held
    with np.errstate(over="ignore", invalid="ignore"):
        # The profile stays float64 until it is taken off, so that large values keep their small residuals.
        # Widened first: numpy casts mixed operands piece by piece, which is several times slower.
        exact = value.astype(np.float64)
        exact -= profile
        residual = exact.astype(np.float32)
        np.maximum(residual, -_RESIDUAL_MAX, out=residual)
        np.minimum(residual, _RESIDUAL_MAX, out=residual)
        usual = profile.astype(np.float32)
        taught = residual if standing is None else np.where(standing, _NAN, residual)
        rows, lagged = recent_rows(state, taught, still)
        level = _levels(state, lagged, facts, held, settings)
        jump = _jumps(rows, level)
        ratio = _ratios(block, facts, settings)
        if facts.counts is not None:
            np.copyto(ratio, ratios_of_counts(usual, facts, settings), where=facts.counts)
        inverse = _inverse_spreads(block, facts, usual, level, ratio, expectation.ease)
        if expectation.ease is not None:
            # What is learnt of the spread is that of an ordinary day.
            ratio *= expectation.ease
        width = np.float32(2) / (inverse[0] + inverse[1])
        middle = inverse[0] * level
        middle += inverse[1] * jump
        middle *= width
        middle *= np.float32(0.5)
        if facts.one_sided:
            np.maximum(middle, width * facts.lowest_middle, out=middle)
            np.minimum(middle, width * facts.highest_middle, out=middle)
        width /= facts.gain
        distance = residual - middle
        statistic = distance / width
        deviation = np.empty_like(ratio)
        np.subtract(taught, level, out=deviation[0])
        np.subtract(taught, jump, out=deviation[1])
        if judge:
            middle += usual
            expected = possible(middle, distance, facts)
            reach = None
            if np.count_nonzero(state.return_side):
                reach = return_reach(
                    state,
                    facts,
                    first_window=block.start_ns // block.step_ns,
                    usual=usual,
                    expected=expected,
                    spread=np.float32(1) / inverse[0],
                )
            before = state.previous[None]
            if len(statistic) > 1:
                before = np.concatenate([before, statistic[:-1]])
            looked = Looked(
                before=before,
                half=width,
                distance=distance,
                expected=expected,
                weight=block.weight,
                # What stands in a window without calls teaches nothing, but it is looked at.
                apart=deviation
                if standing is None
                else np.stack([residual - level, residual - jump]),
                inverse=inverse,
                reach=reach,
            )
            verdicts = _verdicts(block, looked, facts)
        else:
            verdicts = _no_verdicts(block)
    if judge:
        _give_reasons(verdicts, block, profile, unsaid)
    return Scored(
        verdicts=verdicts,
        value=value if standing is None else np.where(standing, _NAN, value),
        residual=taught,
        level=level,
        deviation=deviation,
        ratio=ratio,
        statistic=statistic,
        held=held,
        still=still,
    )


def _values(block: WindowBlock, facts: Hourly) -> tuple[_Halves, NDArray[np.bool_]]:
    """The values that say something, and where there are none of those."""
    said = np.isfinite(block.value)
    said &= block.heard
    said &= block.weight >= facts.weight_min
    unsaid = ~said
    if np.count_nonzero(said) == said.size:
        return block.value, unsaid
    return np.where(said, block.value, np.float32(np.nan)), unsaid


def _levels(
    state: DetectorState,
    lagged: _Halves,
    facts: Hourly,
    held: NDArray[np.bool_] | None,
    settings: ScoringSettings,
) -> _Halves:
    """Level before each window: an exponential mean of residuals at least three windows old, each clipped."""
    gain = np.float32(state.grid.level_gain(settings.level_half_life_s))
    limit = facts.level_limit
    levels = np.empty_like(lagged)
    level = state.level
    for row in range(len(lagged)):
        step = lagged[row] - level
        # Two comparisons: numpy clips at columns of limits several times slower.
        np.maximum(step, -limit, out=step)
        np.minimum(step, limit, out=step)
        step *= gain
        unknown = np.isnan(step)
        if held is not None or np.count_nonzero(unknown):
            missing = np.isnan(lagged[row])
            step[missing if held is None else missing | held] = 0.0
            # The first residual is the level as it is.
            fresh = unknown & ~missing if held is None else unknown & ~missing & ~held
            level = np.where(fresh, lagged[row], level)
            step[fresh] = 0.0
        level = np.add(level, step, out=levels[row])
    return levels


def _jumps(rows: _Halves, level: _Halves) -> _Halves:
    """Median of the residuals just before each window; the level where there are fewer than two."""
    median, count = median_of_rows(rows)
    if count is not None:
        few = count < 2
        median[few] = level[few]
    return median


def _ratios(block: WindowBlock, facts: Hourly, settings: ScoringSettings) -> _Halves:
    """Time-of-day share of the scale at each window's centre, linear between the centres of the hours."""
    starts = block.start_ns % HOUR_NS + np.arange(block.window_count) * block.step_ns
    from_centre = (starts + block.step_ns / 2) / HOUR_NS - 0.5
    share = np.abs(from_centre).astype(np.float32)[:, None, None]
    # One window's rows are looked at where they are; taking rows by index copies them.
    later = from_centre > 0
    step = (
        facts.ratio_step[int(later[0])]
        if len(later) == 1
        else facts.ratio_step[later.astype(np.intp)]
    )
    mixed = step * share
    mixed += facts.ratio
    mixed *= mixed
    mixed *= np.float32(settings.hour_share)
    mixed += np.float32(1.0 - settings.hour_share)
    np.sqrt(mixed, out=mixed)
    return mixed.swapaxes(0, 1)


def _inverse_spreads(
    block: WindowBlock,
    facts: Hourly,
    usual: _Halves,
    level: _Halves,
    ratio: _Halves,
    ease: _Halves | None,
) -> _Halves:
    """1 / S of each view; never below what counting alone would spread.

    How much more than counting a share of calls spreads is learnt, as with everything else.
    """
    spread = ratio * facts.scale[:, None, :]
    spread += facts.floor
    if ease is not None:
        spread *= ease
    if facts.counted or facts.ratios is not None:
        # All columns at once: picking those of a kind costs more than computing zeros for the others.
        counting = usual + level
        np.maximum(counting, 0, out=counting)
        if facts.ratios is not None:
            share = np.minimum(counting, 1)
            share *= 1 - share
            share /= np.maximum(block.weight, 1)
            share *= facts.share_noise
            counting *= facts.count_noise
            counting += share
        else:
            counting *= facts.count_noise
        np.sqrt(counting, out=counting)
        np.maximum(spread, counting, out=spread)
    np.divide(np.float32(1), spread, out=spread)
    return spread


def _verdicts(block: WindowBlock, looked: Looked, facts: Hourly) -> VerdictBlock:
    """The band, and the score as the distance from its middle in units of the half that was crossed."""
    lower, upper, score = band(
        block.value,
        block.weight,
        looked.expected,
        looked.distance,
        above=looked.half * _needed(looked.before, facts, 0),
        below=looked.half * _needed(-looked.before, facts, 1),
        reach=looked.reach,
        facts=facts,
    )
    views, gate = grounds(looked, score, facts)
    direction = (looked.distance >= 0).view(np.int8)
    direction *= 2
    direction -= 1
    return VerdictBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        value=block.value,
        weight=block.weight,
        score=score,
        expected=looked.expected,
        lower=lower,
        upper=upper,
        direction=direction,
        reason=np.zeros(block.value.shape, np.int8),
        views=views,
        gate=gate,
    )


def _no_verdicts(block: WindowBlock) -> VerdictBlock:
    unknown = np.broadcast_to(_NAN, block.value.shape)
    nothing = np.broadcast_to(np.int8(0), block.value.shape)
    return VerdictBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        value=block.value,
        weight=block.weight,
        score=unknown,
        expected=unknown,
        lower=unknown,
        upper=unknown,
        direction=nothing,
        reason=nothing,
    )


def _needed(before: _Halves, facts: Hourly, side: int) -> _Halves:
    """The cut of a side. An excess of one window alone must be larger; one that follows another need not be."""
    need, single = facts.need[side : side + 1], facts.need_single[side : side + 1]
    following = before >= need
    return np.where(following, need, single) if np.count_nonzero(following) else single


def _give_reasons(
    verdicts: VerdictBlock,
    block: WindowBlock,
    profile: NDArray[np.float64],
    unsaid: NDArray[np.bool_],
) -> None:
    """Why a cell has no score, where it has none; in the order in which one thing needs the other."""
    unknown = np.isnan(verdicts.score)
    unknown |= unsaid
    if not np.count_nonzero(unknown):
        return
    verdicts.score[unknown] = np.nan
    verdicts.direction[unknown] = 0
    for column in (verdicts.views, verdicts.gate):
        if column is not None:
            column[unknown] = 0
    at = np.nonzero(unknown)
    verdicts.reason[at] = np.select(
        [
            block.weight[at] == PARTIAL_WEIGHT,
            block.weight[at] == SHED_WEIGHT,
            block.weight[at] == UNREACHED_WEIGHT,
            block.weight[at] < 0,
            ~block.heard[at],
            ~np.isfinite(block.value[at]),
            unsaid[at],
            np.isnan(profile[at]),
        ],
        [
            Reason.PARTIAL,
            Reason.SHED,
            Reason.BLIND,
            Reason.LATE,
            Reason.BLIND,
            Reason.MISSING,
            Reason.TOO_FEW,
            Reason.NO_HISTORY,
        ],
        Reason.NO_SCALE,
    )
