"""Goal: a move pages once, its return does not page again, and a fall beyond where it began still does.

Method: a gauge with a day of calm behind it moves, settles until its incident is over, and comes back; decided in
blocks, with the reasons of the pages counted.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.decide import (
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import Kind, TransitionKind, WindowBlock
from sentinel.core.scoring import ScoringSettings
from tests.support.detector_blocks import START_NS, flat_profile, names

MINUTE_NS = 60_000_000_000
DAY, HOUR = 1440, 60
LEVEL = 300.0


def settings(*, return_s: float = 43_200.0) -> DecisionSettings:
    return DecisionSettings(
        scoring=ScoringSettings(return_s=return_s),
        incidents=IncidentSettings(guards=GuardSettings(enabled=False)),
    )


class Gauge:
    """One gauge, and the incidents it opened."""

    def __init__(self, given: DecisionSettings) -> None:
        self._settings = given
        self._state: DecisionState = new_decision_state(step_ns=MINUTE_NS, settings=given)
        self._at = 0
        self.opened = 0

    def at(self, level: float, count: int) -> None:
        """Hold a level for so many minutes, and see band and score agree."""
        rng = np.random.default_rng(self._at)
        value = (level + 10 * rng.standard_normal((count, 1))).astype(np.float32)
        block = WindowBlock(
            start_ns=START_NS + self._at * MINUTE_NS,
            step_ns=MINUTE_NS,
            series=np.array([4]),
            kind=np.array([Kind.GAUGE], np.int8),
            value=value,
            weight=np.ones(value.shape, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )
        self._at += count
        profile = flat_profile(
            block.windows(0, 1) if self._at == count else self._first(block), days=9
        )
        decision = decide(
            self._state, block, profile=profile, keys=names(4), settings=self._settings
        )
        self._state = decision.state
        self.opened += sum(one.kind is TransitionKind.OPENED for one in decision.transitions)
        verdicts = decision.verdicts
        known = np.isfinite(verdicts.score)
        outside = (block.value > verdicts.upper) | (block.value < verdicts.lower)
        assert np.array_equal(outside[known], verdicts.score[known] >= 1)

    def _first(self, block: WindowBlock) -> WindowBlock:
        return WindowBlock(
            start_ns=START_NS,
            step_ns=MINUTE_NS,
            series=block.series,
            kind=block.kind,
            value=block.value[:1],
            weight=block.weight[:1],
            heard=block.heard[:1],
        )


def settled_elsewhere(given: DecisionSettings, sign: int) -> Gauge:
    gauge = Gauge(given)
    gauge.at(LEVEL, DAY)
    assert gauge.opened == 0
    gauge.at(LEVEL + sign * 62, 4 * HOUR)
    assert gauge.opened == 1
    return gauge


@pytest.mark.parametrize("sign", [1, -1])
def test_the_way_back_pages_nobody(sign: int) -> None:
    gauge = settled_elsewhere(settings(), sign)
    gauge.at(LEVEL, 2 * HOUR)
    assert gauge.opened == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_without_the_rule_the_way_back_pages(sign: int) -> None:
    """What the rule is for: without it, this very history opens a second incident."""
    gauge = settled_elsewhere(settings(return_s=0.0), sign)
    gauge.at(LEVEL, 2 * HOUR)
    assert gauge.opened == 2


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_where_it_began_pages(sign: int) -> None:
    gauge = settled_elsewhere(settings(), sign)
    gauge.at(LEVEL - sign * 62, 30)
    assert gauge.opened == 2


def test_a_second_move_to_the_same_side_pages() -> None:
    gauge = settled_elsewhere(settings(), 1)
    gauge.at(LEVEL + 200, 30)
    assert gauge.opened == 2


def test_the_rule_ends_after_its_time() -> None:
    gauge = settled_elsewhere(settings(return_s=3600.0), 1)
    gauge.at(LEVEL + 62, 3 * HOUR)
    assert gauge.opened == 1
    gauge.at(LEVEL, 2 * HOUR)
    assert gauge.opened == 2
