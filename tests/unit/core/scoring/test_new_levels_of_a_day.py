"""Goal: a new level of what multiplies is expected at every hour of the day: one incident, and what comes after is still found.

Method: a series whose day swings by half, in windows of a minute; the profile is the old one until a test gives another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.model import Kind, Resolution, Transition, TransitionKind, WindowBlock
from sentinel.core.scoring import adopted_levels
from tests.support.detector_blocks import DAY_NS, START_NS, names

MINUTE_NS = 60_000_000_000
DAY = 1440
SETTINGS = DecisionSettings()
USUAL = {Kind.TRAFFIC: 40.0, Kind.LATENCY: 0.08, Kind.GAUGE: 300.0}
SERIES = {Kind.TRAFFIC: 1, Kind.LATENCY: 3, Kind.GAUGE: 4}

Past = tuple[float, ...] | None
_LIVED: dict[tuple[object, ...], tuple[bytes, int]] = {}


def day_at(time_ns: np.ndarray) -> np.ndarray:
    """How much of the usual is usual at these instants."""
    return 1 + 0.5 * np.sin(2 * np.pi * (time_ns % DAY_NS) / DAY_NS)


class Story:
    """Two ordinary days, and what comes then."""

    def __init__(
        self, kind: Kind, settings: DecisionSettings = SETTINGS, *, adopted: Past = ()
    ) -> None:
        """Begin after those days, and after the adoption of each of these levels; before them for None."""
        self.kind, self.settings = kind, settings
        self.decision: Decision
        self.profile = self.profile_of(1.0)
        begun, self.at = lived(kind, settings, adopted)
        self.state = DecisionState.from_bytes(begun)

    def profile_of(self, ratio: float, *, levels_ns: int = 0) -> Profile:
        """A fit that knows so many times the usual."""
        bins = START_NS + np.arange(20 * DAY_NS // BIN_NS) * BIN_NS + BIN_NS // 2
        grid = (ratio * USUAL[self.kind] * day_at(bins))[:, None].astype(np.float32)
        return Profile(
            version=1,
            start_ns=START_NS,
            step_ns=BIN_NS,
            series=np.array([SERIES[self.kind]]),
            grid=grid,
            levels_ns=levels_ns,
        )

    def block(self, count: int, ratio: float) -> WindowBlock:
        """Windows from the present on, at so many times the usual."""
        rng = np.random.default_rng([self.at, int(self.kind)])
        start_ns = START_NS + self.at * MINUTE_NS
        shape = day_at(start_ns + np.arange(count) * MINUTE_NS + MINUTE_NS // 2)[:, None]
        noise = 1 + 0.05 * rng.standard_normal((count, 1))
        value = (ratio * USUAL[self.kind] * shape * noise).astype(np.float32)
        return WindowBlock(
            start_ns=start_ns,
            step_ns=MINUTE_NS,
            series=np.array([SERIES[self.kind]]),
            kind=np.array([self.kind], np.int8),
            value=value,
            weight=np.full(value.shape, 500, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )

    def minutes(self, count: int, ratio: float = 1.0) -> list[Transition]:
        """So many minutes at so many times the usual; what opened and resolved in them."""
        self.decision = decide(
            self.state,
            self.block(count, ratio),
            profile=self.profile,
            keys=names(4),
            settings=self.settings,
        )
        self.state = self.decision.state
        self.at += count
        plain = {TransitionKind.OPENED, TransitionKind.RESOLVED}
        return [change for change in self.decision.transitions if change.kind in plain]

    @property
    def now_ns(self) -> int:
        """Start of the next window."""
        return START_NS + self.at * MINUTE_NS


def lived(kind: Kind, settings: DecisionSettings, adopted: Past) -> tuple[bytes, int]:
    """The state after two ordinary days and each adoption, and the minute; None for nothing at all.

    Days decided minute by minute are what these tests cost. A state that was written and read goes on to the same bits, which is
    a law of its own, so that each past is lived once.
    """
    if adopted is None:
        state = new_decision_state(step_ns=MINUTE_NS, settings=settings)
        return state.to_bytes(), 0
    past = (kind, adopted, repr(settings))
    if past in _LIVED:
        return _LIVED[past]
    story = Story(kind, settings, adopted=adopted[:-1] if adopted else None)
    if adopted:
        changes = story.minutes(DAY + 120, adopted[-1])
        assert [change.kind.value for change in changes] == ["opened", "resolved"]
        assert changes[-1].incident.resolution is Resolution.ADOPTED
    else:
        story.minutes(2 * DAY)
    _LIVED[past] = story.state.to_bytes(), story.at
    return _LIVED[past]


LEVELS = [
    (Kind.TRAFFIC, 0.1),
    (Kind.TRAFFIC, 0.5),
    (Kind.TRAFFIC, 4.0),
    (Kind.LATENCY, 4.0),
]


@pytest.mark.parametrize(("kind", "ratio"), LEVELS)
def test_the_new_level_is_expected_at_every_hour_and_a_fault_at_it_is_found(
    kind: Kind, ratio: float
) -> None:
    """What was added at the hour of the adoption was wrong by day's end, and paged for a week."""
    story = Story(kind, adopted=(ratio,))
    assert story.minutes(DAY, ratio) == []
    expected = story.decision.verdicts.expected[:, 0]
    usual = day_at(story.now_ns - (DAY - np.arange(DAY)) * MINUTE_NS)
    assert np.abs(expected / (ratio * USUAL[kind] * usual) - 1).max() < 0.15
    fault = 2.0 if kind is Kind.LATENCY else 0.5
    assert [change.kind.value for change in story.minutes(20, ratio * fault)] == ["opened"]


@pytest.mark.parametrize(("kind", "ratio"), LEVELS)
def test_the_way_back_is_no_incident_and_the_same_level_again_is_one(
    kind: Kind, ratio: float
) -> None:
    story = Story(kind, adopted=(ratio,))
    assert story.minutes(600, ratio) == []
    assert story.minutes(DAY) == []
    levels = adopted_levels(story.state.detector)
    assert levels is not None
    assert levels.left_ns[0, 0] > levels.adopted_ns[0, 0]
    assert [change.kind.value for change in story.minutes(20, ratio)] == ["opened"]


@pytest.mark.parametrize("ratio", [0.3, 4.0])
def test_a_fit_that_knows_the_level_is_taken_as_it_is_also_on_the_way_back(ratio: float) -> None:
    story = Story(Kind.TRAFFIC, adopted=(ratio,))
    story.profile = story.profile_of(ratio, levels_ns=story.now_ns)
    assert story.minutes(DAY, ratio) == []
    usual = day_at(np.array([story.now_ns - MINUTE_NS]))
    expected = story.decision.verdicts.expected[-1, 0]
    assert expected == pytest.approx(ratio * USUAL[Kind.TRAFFIC] * usual[0], rel=0.1)
    assert story.minutes(600) == []
    # The fit still knows the level that was left, and then the one it is at again.
    story.profile = story.profile_of(1.0, levels_ns=story.now_ns)
    assert story.minutes(600) == []
    assert [change.kind.value for change in story.minutes(20, 0.4)] == ["opened"]


def test_half_of_an_adopted_rise_is_a_fault_and_not_the_way_back() -> None:
    story = Story(Kind.TRAFFIC, adopted=(4.0,))
    assert [change.kind.value for change in story.minutes(20, 2.0)] == ["opened"]


def test_a_level_on_a_level_is_their_product() -> None:
    story = Story(Kind.TRAFFIC, adopted=(0.3, 0.12))
    assert story.minutes(DAY, 0.12) == []
    levels = adopted_levels(story.state.detector)
    assert levels is not None
    assert np.prod(levels.ratio[:, 0]) == pytest.approx(0.12, rel=0.06)


def test_gauges_and_what_is_near_nothing_are_not_multiplied() -> None:
    gauge = Story(Kind.GAUGE)
    gauge.minutes(2 * DAY, 3.0)
    stopped = Story(Kind.TRAFFIC)
    stopped.minutes(DAY + 120, 0.0)
    assert adopted_levels(gauge.state.detector, stopped.state.detector) is None


@pytest.mark.parametrize("piece", [1, 7, 60])
def test_any_split_adopts_and_leaves_a_level_in_the_same_window(piece: int) -> None:
    settings = replace(
        SETTINGS, incidents=replace(SETTINGS.incidents, adopt_after_ns=90 * MINUTE_NS)
    )
    whole, split = Story(Kind.TRAFFIC, settings), Story(Kind.TRAFFIC, settings)
    block = whole.block(420, 1.0)
    value = block.value.copy()
    value[:200] *= 0.3
    block = replace(block, value=value)
    found = decide(whole.state, block, profile=whole.profile, keys=names(4), settings=settings)
    levels = adopted_levels(found.state.detector)
    assert levels is not None
    assert levels.left_ns[0, 0] > levels.adopted_ns[0, 0] > 0
    state = split.state
    expected = []
    for first in range(0, 420, piece):
        decision = decide(
            DecisionState.from_bytes(state.to_bytes()),
            block.windows(first, min(first + piece, 420)),
            profile=split.profile,
            keys=names(4),
            settings=settings,
        )
        state = decision.state
        expected.append(decision.verdicts.expected)
    assert np.array_equal(np.concatenate(expected), found.verdicts.expected, equal_nan=True)
    assert state.to_bytes() == found.state.to_bytes()
