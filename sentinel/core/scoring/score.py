"""How strange a window is, from what was known before it.

With e = value - profile, L the recent level and J the median of the last residuals, two views expect the residuals
o1 = L (the profile, corrected by the level) and o2 = J (the profile's move since the last windows).
With their scales S1, S2 the statistic is the mean of the signed views,

    z = gain / 2 * ((e - o1) / S1 + (e - o2) / S2) = gain * (e - middle) / width

which is linear in the value, so the band is its closed-form inverse: outside the band is a score of at least 1, and
inside is below, exactly, as float32. What a kind demands besides (smallest distance, direction) moves the band's edges.

Nothing here changes the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import ExpectationBlock, Reason, VerdictBlock, WindowBlock
from sentinel.core.scoring.hours import hourly
from sentinel.core.scoring.settings import HOUR_NS, ScoringSettings
from sentinel.core.scoring.state import VIEWS, DetectorState, Hourly
from sentinel.core.stats.ordering import median_of_rows

_LEVEL_LAG = 3
_UNDER_ONE = np.nextafter(np.float32(1), np.float32(0))
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Verdicts of windows of one hour, and what learning needs of how they came about.

    Attributes:
        verdicts: what was thought of each window.
        value: float64[T, S]; NaN where the window says nothing.
        residual: float64[T, S], value - profile.
        level: float64[T, S], level of the residual before each window.
        deviation: float64[2, T, S], residual against each view.
        ratio: float64[2, T, S], time-of-day share of each view's scale.
        statistic: float64[T, S], z above.
        recent: float32[w + T, S], residuals from w windows before the first.
        frozen: bool[S], series whose learning stands still.
    """

    verdicts: VerdictBlock
    value: _Floats
    residual: _Floats
    level: _Floats
    deviation: _Floats
    ratio: _Floats
    statistic: _Floats
    recent: NDArray[np.float32]
    frozen: NDArray[np.bool_]


def score(
    state: DetectorState,
    block: WindowBlock,
    expectation: ExpectationBlock,
    *,
    frozen: NDArray[np.bool_],
    settings: ScoringSettings,
) -> Scored:
    """Verdicts of windows that all lie in the state's present hour.

    Args:
        state: what was learned before the block's first window.
        block: the windows; its series are the state's.
        expectation: the profile for them.
        frozen: bool[S], series with an open incident.
        settings: the constants.
    """
    facts = hourly(state, block.kind, settings)
    frozen = frozen & ~facts.thawed
    profile = expectation.expected
    enough = block.weight >= facts.weight_min
    present = np.isfinite(block.value) & block.heard
    value = np.where(present & enough, block.value, np.nan).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        residual = value - profile
        recent = np.concatenate([state.recent, residual.astype(np.float32)])
        level = _levels(state, recent, block.window_count, facts, frozen, settings)
        offset = np.stack([level, _jumps(recent, level)])
        ratio = _ratios(block, facts, settings)
        spread = ratio * facts.scale[:, None, :] + facts.floor
        if facts.count_noise.any():
            counting = np.sqrt(np.maximum(profile + level, 0.0) * facts.count_noise)
            spread = np.maximum(spread, counting)
        inverse = 1.0 / spread
        width = 2.0 / (inverse[0] + inverse[1])
        middle = 0.5 * width * (offset[0] * inverse[0] + offset[1] * inverse[1])
        half = width / facts.gain
        statistic = (residual - middle) / half
        verdicts = _verdicts(
            block, expectation, state, facts, settings, middle, half, statistic, residual
        )
    verdicts.reason[...] = np.select(
        [~block.heard, ~present, ~enough, np.isnan(profile), np.isnan(half)],
        [Reason.BLIND, Reason.MISSING, Reason.TOO_FEW, Reason.NO_HISTORY, Reason.NO_SCALE],
        Reason.SCORED,
    )
    return Scored(
        verdicts=verdicts,
        value=value,
        residual=residual,
        level=level,
        deviation=residual - offset,
        ratio=ratio,
        statistic=statistic,
        recent=recent,
        frozen=frozen,
    )


def _levels(
    state: DetectorState,
    recent: NDArray[np.float32],
    window_count: int,
    facts: Hourly,
    frozen: NDArray[np.bool_],
    settings: ScoringSettings,
) -> _Floats:
    """Level before each window: an exponential mean of residuals at least three windows old, each clipped."""
    behind = state.recent.shape[0] - _LEVEL_LAG
    lagged = recent[behind : behind + window_count].astype(np.float64)
    here = np.isfinite(lagged) & ~frozen
    lagged = np.where(here, lagged, 0.0)
    scale = facts.scale[0]
    limit = np.where(np.isfinite(scale), settings.level_clip * scale + 1e-12, np.inf)
    gain = state.grid.level_gain(settings.level_half_life_s)
    weight = here * gain
    levels = np.empty_like(lagged)
    level = state.level
    unknown = np.isnan(level)
    waiting = bool(unknown.any())
    for row in range(window_count):
        if waiting:
            # The first residual is the level as it is.
            level = np.where(unknown & here[row], lagged[row], level)
            unknown = np.isnan(level)
            waiting = bool(unknown.any())
        step = np.clip(lagged[row] - level, -limit, limit)
        level = np.where(here[row], level + weight[row] * step, level)
        levels[row] = level
    return levels


def _jumps(recent: NDArray[np.float32], level: _Floats) -> _Floats:
    """Median of the residuals just before each window; the level where there are fewer than two."""
    window_count = level.shape[0]
    width = recent.shape[0] - window_count
    rows = np.stack([recent[row : row + window_count] for row in range(width)])
    median, count = median_of_rows(rows)
    return np.where(count >= 2, median.astype(np.float64), level)


def _ratios(block: WindowBlock, facts: Hourly, settings: ScoringSettings) -> _Floats:
    """Time-of-day share of the scale at each window's centre, linear between the centres of the hours."""
    starts = block.start_ns % HOUR_NS + np.arange(block.window_count) * block.step_ns
    from_centre = (starts + block.step_ns / 2) / HOUR_NS - 0.5
    share = np.abs(from_centre)[:, None]
    side = np.where(from_centre > 0, 2, 0)
    ratio = np.empty((VIEWS, block.window_count, block.series_count))
    for view in range(VIEWS):
        mixed = (1.0 - share) * facts.ratio[1, view] + share * facts.ratio[side, view]
        ratio[view] = np.sqrt((1.0 - settings.hour_share) + settings.hour_share * mixed * mixed)
    return ratio


def _verdicts(
    block: WindowBlock,
    expectation: ExpectationBlock,
    state: DetectorState,
    facts: Hourly,
    settings: ScoringSettings,
    middle: _Floats,
    half: _Floats,
    statistic: _Floats,
    residual: _Floats,
) -> VerdictBlock:
    """The band, and the score as the distance from its middle in units of the half that was crossed."""
    profile = expectation.expected
    single = state.grid.single_ratio(settings)
    before = np.concatenate([state.previous[None], statistic[:-1]])
    expected = profile + middle
    demanded = np.maximum(facts.deviation_min, facts.deviation_ratio_min * np.abs(expected))
    demanded = np.maximum(demanded, facts.excess_calls_min / np.maximum(block.weight, 1.0))
    # An excess of one window alone must be larger; one that follows another need not be.
    above = half * np.where(before >= facts.need[0], facts.need[0], single * facts.need[0])
    above = np.maximum(above, demanded)
    below = half * np.where(-before >= facts.need[1], facts.need[1], single * facts.need[1])
    below = np.where(facts.high_only, np.inf, np.maximum(below, demanded))
    upper = (expected + above).astype(np.float32)
    lower = np.where(np.isnan(below), np.nan, expected - below).astype(np.float32)
    distance = residual - middle
    strength = np.where(distance >= 0, distance / above, -distance / below).astype(np.float32)
    known = np.isfinite(strength)
    outside = known & ((block.value > upper) | (block.value < lower))
    strength = np.where(outside, np.maximum(strength, 1), np.minimum(strength, _UNDER_ONE))
    sign = np.where(distance >= 0, 1, -1)
    return VerdictBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        score=strength,
        expected=np.where(np.isnan(above), np.nan, expected).astype(np.float32),
        lower=lower,
        upper=upper,
        direction=np.where(known, sign, 0).astype(np.int8),
        reason=np.zeros(block.value.shape, np.int8),
    )
