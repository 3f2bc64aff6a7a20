"""Goal: what is set for single series holds for them, at once, and for no other.

Method: two calm gauges or routes with a scale made by hand, one of them set apart; then windows off their level.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.model import SeriesKey, VerdictBlock, WindowBlock, kind_of_signal
from sentinel.core.scoring import Direction, ScoringSettings, SeriesRule, demands_of

STEP_NS = 10_000_000_000
START_NS = 1_790_000_000_000_000_000 // 3_600_000_000_000 * 3_600_000_000_000
USUAL = 100.0
ONE = SeriesKey("shop", "edge", "GET /", "depth")
OTHER = SeriesKey("shop", "queue", "orders", "depth")


class Scene:
    """Two series that are calm at 100, give or take `spread`, and what was set for them."""

    def __init__(
        self,
        *rules: SeriesRule,
        spread: float = 1.0,
        signal: str = "depth",
        keys: tuple[SeriesKey, SeriesKey] | None = None,
    ) -> None:
        self.settings = DecisionSettings(scoring=ScoringSettings(series_rules=rules))
        one, other = keys or (ONE._replace(signal=signal), OTHER._replace(signal=signal))
        self.keys = {1: one, 2: other}
        self.kind = np.array([kind_of_signal(signal)] * 2, np.int8)
        self.at = 0
        self.state: DecisionState = new_decision_state(step_ns=STEP_NS, settings=self.settings)
        self.decided(USUAL)
        detector = self.state.detector
        detector.level[:] = 0.0
        detector.scale[:] = spread
        detector.hourly = None

    def decided(self, value: float, *, weight: float = 100.0) -> VerdictBlock:
        """The verdicts on the next window, in which both have this value."""
        shape = (1, 2)
        block = WindowBlock(
            start_ns=START_NS + self.at * STEP_NS,
            step_ns=STEP_NS,
            series=np.array([1, 2]),
            kind=self.kind,
            value=np.full(shape, value, np.float32),
            weight=np.full(shape, weight, np.float32),
            heard=np.ones(shape, np.bool_),
        )
        grid = np.full((300, 2), USUAL, np.float32)
        profile = Profile(
            version=1, start_ns=START_NS, step_ns=BIN_NS, series=block.series, grid=grid
        )
        decision = decide(
            self.state, block, profile=profile, keys=self.keys, settings=self.settings
        )
        self.state = decision.state
        self.at += 1
        return decision.verdicts

    def strange(self, value: float) -> list[bool]:
        """Whether a window of this value is strange, for each of the two."""
        return [bool(score >= 1) for score in self.decided(value).score[0]]


@pytest.mark.parametrize(
    ("direction", "above", "below"),
    [(Direction.BOTH, True, True), (Direction.HIGH, True, False), (Direction.LOW, False, True)],
)
def test_only_the_side_that_was_set_can_be_strange(
    direction: Direction,
    above: bool,  # noqa: FBT001  # a table
    below: bool,  # noqa: FBT001
) -> None:
    rule = SeriesRule(stage="edge", direction=direction)
    assert Scene(rule).strange(200.0) == [above, True]
    assert Scene(rule).strange(20.0) == [below, True]
    verdicts = Scene(rule).decided(USUAL)
    assert np.isposinf(verdicts.upper[0, 0]) == (not above)
    assert np.isneginf(verdicts.lower[0, 0]) == (not below)
    assert np.isfinite(verdicts.upper[0, 1])


def test_a_rise_does_not_become_what_a_low_series_falls_from() -> None:
    """A value that may rise as it likes takes what is expected along; its return to what is usual is no fall."""
    scene = Scene(SeriesRule(stage="edge", direction=Direction.LOW))
    for _ in range(200):
        scene.decided(160.0)
    assert scene.strange(USUAL)[0] is False
    assert scene.strange(20.0)[0] is True


@pytest.mark.parametrize(
    "rule",
    [
        SeriesRule(stage="edge", deviation_min=50.0),
        SeriesRule(route="GET *", deviation_ratio_min=0.5),
    ],
)
def test_a_smallest_deviation_holds_for_its_series_alone(rule: SeriesRule) -> None:
    assert Scene(rule).strange(140.0) == [False, True]
    assert Scene(rule).strange(160.0) == [True, True]


def test_zero_may_be_set_where_the_kind_demands_more() -> None:
    """Traffic must be 30 % off unless somebody says that less matters here."""
    rule = SeriesRule(stage="edge", deviation_ratio_min=0.0)
    assert Scene(rule, spread=0.1, signal="traffic").strange(122.0) == [True, False]


def test_a_series_with_too_few_calls_says_nothing() -> None:
    scene = Scene(SeriesRule(stage="edge", weight_min=500.0))
    assert np.isnan(scene.decided(USUAL).score[0]).tolist() == [True, False]


def test_for_each_setting_the_first_rule_that_sets_it_counts() -> None:
    rules = (
        SeriesRule(route="GET /", deviation_min=1.0),
        SeriesRule(service="shop", deviation_min=2.0, direction=Direction.LOW),
        SeriesRule(direction=Direction.HIGH, weight_min=3.0),
    )
    series = np.array([1, 2, 3])
    keys = {1: ONE, 2: OTHER, 3: OTHER._replace(service="bank")}
    found = demands_of(None, series, keys, rules)
    assert found is not None
    assert found.deviation_min[:2].tolist() == [1.0, 2.0]
    assert np.isnan(found.deviation_min[2])
    assert found.above.tolist() == [0, 0, 1]
    assert found.weight_min.tolist() == [3, 3, 3]
    assert demands_of(found, series, keys, rules) is found
    nothing = demands_of(found, series, keys, ())
    assert nothing is not None
    assert np.isnan([nothing.deviation_min, nothing.weight_min, nothing.above]).all()
    assert demands_of(found, series, {}, ()) is None


BACKLOG = SeriesKey("nats", "queue", "orders/poster", "consumer_backlog_count")
WAITING = BACKLOG._replace(signal="consumer_waiting_count")


def test_a_gauge_whose_meaning_is_known_is_strange_on_its_bad_side_alone() -> None:
    """A backlog that was worked off would have paged: every gauge could be strange on both sides."""
    another = BACKLOG._replace(stage="metrics")
    assert Scene(keys=(BACKLOG, another)).strange(20.0) == [False, True]
    assert Scene(keys=(BACKLOG, WAITING)).strange(400.0) == [True, False]
    assert Scene(keys=(BACKLOG, WAITING)).strange(20.0) == [False, True]
    assert Scene(keys=(BACKLOG, another)).strange(115.0) == [False, True]


def test_what_a_user_sets_comes_before_what_is_known_setting_by_setting() -> None:
    series, keys = np.array([1, 2]), {1: BACKLOG, 2: WAITING}
    plain = demands_of(None, series, keys, ())
    assert plain is not None
    assert plain.deviation_min.tolist() == [20.0, 0.0]
    assert (plain.above.tolist(), plain.below.tolist()) == ([1, 0], [0, 1])
    own = demands_of(None, series, keys, (SeriesRule(signal="*_count", deviation_min=3.0),))
    assert own is not None
    assert own.deviation_min.tolist() == [3.0, 3.0]
    assert (own.above.tolist(), own.below.tolist()) == ([1, 0], [0, 1])
    both = demands_of(None, series, keys, (SeriesRule(stage="queue", direction=Direction.BOTH),))
    assert both is not None
    assert both.above.tolist() == both.below.tolist() == [1, 1]
    assert both.deviation_min.tolist() == [20.0, 0.0]


def test_a_rule_may_name_a_route_that_has_brackets() -> None:
    """The name that a page and a preview print was taken for a class of characters, and the rule was about nothing."""
    rule = SeriesRule(route="GET /items/[id]", direction=Direction.LOW)
    assert rule.matches(ONE._replace(route="GET /items/[id]"))
    assert rule.matches(ONE._replace(route="GET /items/d"))
    assert not rule.matches(ONE._replace(route="GET /items/[x]"))


def test_what_is_set_while_it_runs_holds_from_the_next_window_on() -> None:
    """What follows from settings was kept until the hour ended: a reload of them changed nothing for up to an hour."""
    scene = Scene()
    assert np.isfinite(scene.decided(USUAL).upper[0]).all()
    rules = (SeriesRule(stage="edge", direction=Direction.LOW),)
    scene.settings = replace(scene.settings, scoring=ScoringSettings(series_rules=rules))
    assert np.isposinf(scene.decided(USUAL).upper[0]).tolist() == [True, False]
    scene.settings = replace(scene.settings, scoring=ScoringSettings(cut_scale=3.0))
    wide = scene.decided(USUAL)
    scene.settings = replace(scene.settings, scoring=ScoringSettings())
    assert (wide.upper[0] > scene.decided(USUAL).upper[0]).all()


def test_traffic_whose_falls_do_not_matter_may_stop() -> None:
    """Its guard holds while nothing is expected of it, and is content with any pause afterwards."""
    scene = Scene(SeriesRule(direction=Direction.HIGH), signal="traffic")
    for _ in range(40):
        scene.decided(USUAL)
    for _ in range(5):
        assert (scene.decided(0.0).score[0] < 1).all()
    assert not scene.state.tracker.entries


def test_numbers_below_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        SeriesRule(deviation_min=-1.0)
