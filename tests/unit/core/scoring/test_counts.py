"""Goal: how far traffic may be off follows from how much of it is usual at the minute, from the first day on.

Method: one window of series whose mean and scale are made by hand, each at another height of its usual day.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.model import Kind, SeriesKey, VerdictBlock, WindowBlock
from sentinel.core.scoring import KIND_RULES, KindRule, ScoringSettings

STEP_NS = 10_000_000_000
START_NS = 1_790_000_000_000_000_000 // 3_600_000_000_000 * 3_600_000_000_000
MEAN = 1000.0
SPREAD = 50.0
SETTINGS = DecisionSettings(
    # Without the least relative deviation the band is what the spread alone demands.
    scoring=ScoringSettings(
        rules={**KIND_RULES, Kind.TRAFFIC: KindRule(counted=True, value_min=0.0)}
    )
)


def halves(usual: list[float], *, kind: Kind = Kind.TRAFFIC, mean: float = MEAN) -> list[float]:
    """How far each series may lie above what is usual, its mean being 1000 calls a second and its spread 50."""
    series = np.arange(1, len(usual) + 1)
    level = np.array(usual, np.float32)
    profile = Profile(
        version=1,
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=series,
        grid=np.repeat(level[None], 300, axis=0),
    )
    keys = {
        int(one): SeriesKey("shop", "edge", f"GET /{one}", kind.name.lower()) for one in series
    }
    state = new_decision_state(step_ns=STEP_NS, settings=SETTINGS)

    def decided(at: int) -> VerdictBlock:
        nonlocal state
        block = WindowBlock(
            start_ns=START_NS + at * STEP_NS,
            step_ns=STEP_NS,
            series=series,
            kind=np.full(len(usual), kind, np.int8),
            value=level[None],
            weight=np.full((1, len(usual)), 10_000, np.float32),
            heard=np.ones((1, len(usual)), np.bool_),
        )
        decision = decide(state, block, profile=profile, keys=keys, settings=SETTINGS)
        state = decision.state
        return decision.verdicts

    decided(0)
    state.detector.mean[:] = mean
    state.detector.level[:] = 0.0
    state.detector.scale[:] = SPREAD
    state.detector.hourly = None
    verdicts = decided(1)
    return [float(one) for one in (verdicts.upper - verdicts.expected)[0]]


def test_traffic_spreads_more_where_more_is_usual() -> None:
    quiet, usual, busy, most, more = halves([100.0, MEAN, 4 * MEAN, 20 * MEAN, 40 * MEAN])
    assert quiet < usual < busy < most
    # More than by the square root, which is counting alone, and less than in proportion.
    assert 2.0 < busy / usual < 4.0
    assert quiet / usual == pytest.approx(np.sqrt(0.1 + 0.45 * 0.1 + 0.45 * 0.01), rel=0.02)
    # Ten times the mean is as far as it goes.
    assert most == pytest.approx(more, rel=1e-4)
    assert most / usual == pytest.approx(np.sqrt(0.1 + 4.5 + 45), rel=0.02)


def test_where_no_mean_is_known_every_minute_is_an_ordinary_one() -> None:
    """A scale came before there was a mean, every minute counted as a quiet one, and the band was a third as wide."""
    alone = halves([MEAN])
    assert halves([MEAN, 4 * MEAN], mean=0.0) == pytest.approx(alone * 2, rel=1e-4)


def test_a_gauge_spreads_as_its_hour_has_shown() -> None:
    quiet, usual, busy = halves([100.0, MEAN, 4 * MEAN], kind=Kind.GAUGE)
    assert quiet == pytest.approx(usual, rel=1e-5)
    assert busy == pytest.approx(usual, rel=1e-5)


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (0.5, -0.1), (0.6, 0.4)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="shares of a count's variance"):
        ScoringSettings(count_share=shares[0], count_square_share=shares[1])
