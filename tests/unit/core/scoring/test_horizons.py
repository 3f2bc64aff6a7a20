"""Goal: what no single window shows is seen in the mean of 1, 5 or 30 minutes, at a stated size, and noise is not.

Method: traffic, errors and latency with noise of counting, three days of calm behind them, in windows of ten seconds; then
faults that are too small or too slow for single windows, faults that grow, and weeks without any.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy, deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import HORIZONS_S, Kind, Transition, TransitionKind, WindowBlock
from sentinel.core.scoring import ScoringSettings
from tests.support.detector_blocks import START_NS, flat_profile, names

STEP_S = 10
STEP_NS = STEP_S * 10**9
HOUR = 3600 // STEP_S
NO_GUARDS = IncidentSettings(guards=GuardSettings(enabled=False))
SETTINGS = DecisionSettings(incidents=NO_GUARDS)
WINDOWS_ALONE = DecisionSettings(
    scoring=ScoringSettings(horizon_cut_ratio=1e9), incidents=NO_GUARDS
)
SERIES = {Kind.TRAFFIC: 1, Kind.ERRORS: 2, Kind.LATENCY: 3}
BUSY, QUIET = 400, 20


class Service:
    """One series of a service whose true state is given window by window; what is drawn about it is chance."""

    def __init__(
        self,
        kind: Kind,
        *,
        calls: int = BUSY,
        seed: int = 0,
        settings: DecisionSettings = SETTINGS,
    ) -> None:
        self._kind = kind
        self._calls = calls
        self._settings = settings
        self._rng = np.random.default_rng([seed, int(kind)])
        self._state = new_decision_state(step_ns=STEP_NS, settings=settings)
        self._at = 0
        self.transitions: list[Transition] = []
        profile = flat_profile(self._block(np.ones(1)), days=40)
        if kind is Kind.TRAFFIC:
            profile = replace(profile, grid=profile.grid * np.float32(calls / BUSY))
        self._profile = profile
        self._at = 0

    def _block(self, factor: NDArray[np.float64]) -> WindowBlock:
        if self._kind is Kind.TRAFFIC:
            value = self._rng.poisson(factor * self._calls) / STEP_S
        elif self._kind is Kind.ERRORS:
            value = self._rng.binomial(self._calls, np.minimum(0.02 * factor, 1)) / self._calls
        else:
            value = 0.08 * factor * (1 + 0.1 * self._rng.standard_normal(len(factor)))
        block = WindowBlock(
            start_ns=START_NS + self._at * STEP_NS,
            step_ns=STEP_NS,
            series=np.array([SERIES[self._kind]]),
            kind=np.array([self._kind], np.int8),
            value=value.astype(np.float32)[:, None],
            weight=np.full((len(factor), 1), self._calls, np.float32),
            heard=np.ones((len(factor), 1), np.bool_),
        )
        self._at += len(factor)
        return block

    @property
    def now_ns(self) -> int:
        """The start of the next window."""
        return START_NS + self._at * STEP_NS

    def copy(self) -> Service:
        """One that has lived as this one, and lives on by itself."""
        other = copy(self)
        other._state = DecisionState.from_bytes(self._state.to_bytes())
        other._rng = deepcopy(self._rng)
        other.transitions = []
        return other

    def windows(self, factor: NDArray[np.float64], cuts: Iterable[int] = ()) -> list[float]:
        """Seconds from the first of these windows to each opening in them; decided in blocks that end at `cuts`."""
        start_ns, block = self.now_ns, self._block(factor)
        found: list[Transition] = []
        for first, last in pairwise([0, *cuts, len(factor)]):
            decision = decide(
                self._state,
                block.windows(first, last),
                profile=self._profile,
                keys=names(4),
                settings=self._settings,
            )
            self._state = decision.state
            found += decision.transitions
        self.transitions += found
        return [(one.at_ns - start_ns) / 1e9 for one in found if one.kind is TransitionKind.OPENED]

    def calm(self, hours: int) -> list[float]:
        """So many hours without a fault; seconds to each opening in them."""
        return self.windows(np.ones(hours * HOUR))

    def verdicts_of(self, horizon_s: int, factor: NDArray[np.float64]) -> NDArray[np.float32]:
        """Value, weight, expected, lower, upper and score of the horizon after windows, NaN for one without data."""
        block = self._block(np.nan_to_num(factor, nan=1.0))
        block.value[np.isnan(factor)] = np.nan
        block.heard[np.isnan(factor)] = False
        decision = decide(
            self._state, block, profile=self._profile, keys=names(4), settings=self._settings
        )
        self._state = decision.state
        found = self._state.detector.horizon_verdict[HORIZONS_S.index(horizon_s), :, 0]
        return np.asarray(found)

    def horizon_s(self) -> int:
        """Of the member that opened the first incident."""
        (member,) = self.transitions[0].incident.members
        return member.horizon_s


_LIVED: dict[tuple[object, ...], Service] = {}


def after_calm(
    kind: Kind, *, calls: int = BUSY, seed: int = 0, settings: DecisionSettings = SETTINGS
) -> Service:
    """Lived once, for it is what these tests cost."""
    past = (kind, calls, seed, repr(settings))
    if past not in _LIVED:
        _LIVED[past] = Service(kind, calls=calls, seed=seed, settings=settings)
        assert _LIVED[past].calm(72) == []
    return _LIVED[past].copy()


@pytest.mark.parametrize(
    ("kind", "factor"), [(Kind.TRAFFIC, 0.0), (Kind.ERRORS, 50.0), (Kind.LATENCY, 10.0)]
)
def test_a_hard_fault_opens_within_thirty_seconds(kind: Kind, factor: float) -> None:
    service = after_calm(kind)
    (delay_s,) = service.windows(np.full(6, factor))
    assert delay_s <= 30


@pytest.mark.parametrize(
    ("kind", "calls", "factor"),
    [(Kind.TRAFFIC, QUIET, 0.5), (Kind.TRAFFIC, QUIET, 1.6), (Kind.ERRORS, BUSY, 2.1)],
)
def test_a_step_that_no_window_shows_is_seen_in_their_mean(
    kind: Kind, calls: int, factor: float
) -> None:
    service = after_calm(kind, calls=calls)
    (delay_s,) = service.windows(np.full(HOUR // 2 + 6, factor))
    assert service.horizon_s() in {60, 300, 1800}
    assert delay_s <= 1800 + 60
    alone = after_calm(kind, calls=calls, settings=WINDOWS_ALONE)
    assert alone.windows(np.full(HOUR // 2 + 6, factor)) == []


@pytest.mark.parametrize(
    ("kind", "a_minute"), [(Kind.LATENCY, 0.01), (Kind.TRAFFIC, -0.005), (Kind.ERRORS, 0.05)]
)
def test_a_slow_drift_is_found_at_all_or_sooner(kind: Kind, a_minute: float) -> None:
    """The recent level follows it, so that each window is ordinary after the ones before."""
    drift = 1 + a_minute * np.arange(2 * HOUR) * STEP_S / 60
    found = after_calm(kind).windows(drift)
    assert found
    alone = after_calm(kind, settings=WINDOWS_ALONE).windows(drift)
    assert not alone or found[0] < 0.6 * alone[0]


@pytest.mark.parametrize("calls", [BUSY, QUIET])
@pytest.mark.parametrize("kind", list(SERIES))
def test_noise_opens_nothing_in_a_week(kind: Kind, calls: int) -> None:
    service = after_calm(kind, calls=calls, seed=1)
    assert service.calm(7 * 24) == []


def test_an_incident_lasts_until_a_window_of_its_horizon_is_ordinary() -> None:
    service = after_calm(Kind.ERRORS)
    service.windows(np.full(HOUR, 2.1))
    (opened,) = service.transitions
    assert opened.kind is TransitionKind.OPENED
    service.calm(1)
    assert service.transitions[-1].kind is TransitionKind.RESOLVED
    assert service.calm(24) == []


def test_less_than_half_of_a_horizon_says_nothing() -> None:
    service = after_calm(Kind.ERRORS)
    factor = np.full(30, np.nan)
    factor[:10] = 2.3
    columns = service.verdicts_of(300, factor)
    assert np.isnan(columns).all()


@cache
def calmed(kind: Kind, calls: int) -> Service:
    return after_calm(kind, calls=calls, seed=5)


def copied(kind: Kind, *, calls: int = BUSY) -> Service:
    """The same as another time, for another fault."""
    return calmed(kind, calls).copy()


def kinds_of(service: Service) -> list[TransitionKind]:
    return [one.kind for one in service.transitions]


@pytest.mark.parametrize("windows", [24, 30, 45, 72, 200])
@pytest.mark.parametrize(
    ("kind", "factor"),
    [(Kind.TRAFFIC, 0.6), (Kind.ERRORS, 2.5), (Kind.ERRORS, 4.0), (Kind.LATENCY, 1.5)],
)
def test_nothing_is_worse_after_a_fault(kind: Kind, factor: float, windows: int) -> None:
    """The mean of a minute that held all of the fault, or of half an hour that held some, was told as "worse" after its end."""
    service = copied(kind)
    service.windows(np.ones(7))
    service.windows(np.full(windows, factor))
    before = len(service.transitions)
    service.calm(2)
    assert service.transitions
    assert TransitionKind.WORSENED not in kinds_of(service)[before:]


@pytest.mark.parametrize(
    ("kind", "calls", "a_minute", "within_min"),
    [
        (Kind.ERRORS, BUSY, 0.05, 70),
        (Kind.TRAFFIC, QUIET, 0.01, 100),
        (Kind.LATENCY, BUSY, 0.01, 120),
    ],
)
def test_a_slow_drift_that_goes_on_growing_is_told_as_worse(
    kind: Kind, calls: int, a_minute: float, within_min: int
) -> None:
    service = copied(kind, calls=calls)
    service.windows(1 + a_minute * np.arange(within_min * 6) * STEP_S / 60)
    assert kinds_of(service)[:2] == [TransitionKind.OPENED, TransitionKind.WORSENED]
    (member,) = service.transitions[0].incident.members
    assert member.horizon_s in HORIZONS_S


@pytest.mark.parametrize(("before", "after"), [(10.0, 45.0), (2.2, 5.0)])
def test_a_fault_that_grows_at_a_stroke_is_worse_at_once(before: float, after: float) -> None:
    service = copied(Kind.ERRORS)
    service.windows(np.full(90, before))
    assert kinds_of(service) == [TransitionKind.OPENED]
    grown_ns = service.now_ns
    service.windows(np.full(30, after))
    assert kinds_of(service) == [TransitionKind.OPENED, TransitionKind.WORSENED]
    assert service.transitions[-1].at_ns - grown_ns <= 60 * 10**9


@pytest.mark.parametrize("factor", [2.0, 2.5, 4.0])
def test_which_horizon_is_told_of_does_not_depend_on_how_windows_are_split(factor: float) -> None:
    """Of several that were strange, the one was told of that a block began with, or else that began first in the block."""
    fault = np.concatenate([np.full(200, factor), np.ones(HOUR)])
    service = copied(Kind.ERRORS)
    service.windows(fault)
    assert len(service.transitions) >= 2
    for cuts in (range(1, len(fault)), [50, 51, 120, 333]):
        other = copied(Kind.ERRORS)
        other.windows(fault, cuts=cuts)
        assert repr(other.transitions) == repr(service.transitions)
