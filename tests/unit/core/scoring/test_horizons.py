"""Goal: what no single window shows is seen in the mean of 1, 5 or 30 minutes, at a stated size, and noise is not.

Method: traffic, errors and latency with noise of counting, three days of calm behind them, in windows of ten seconds; then
faults that are too small or too slow for single windows, and weeks without any.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import Kind, Transition, TransitionKind, WindowBlock
from sentinel.core.scoring import ScoringSettings
from sentinel.core.scoring.state import HORIZONS_S
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

    def windows(self, factor: NDArray[np.float64]) -> list[float]:
        """Seconds from the first of these windows to each opening in them."""
        start_ns = START_NS + self._at * STEP_NS
        decision = decide(
            self._state,
            self._block(factor),
            profile=self._profile,
            keys=names(4),
            settings=self._settings,
        )
        self._state = decision.state
        self.transitions += decision.transitions
        return [
            (one.at_ns - start_ns) / 1e9
            for one in decision.transitions
            if one.kind is TransitionKind.OPENED
        ]

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


def after_calm(
    kind: Kind, *, calls: int = BUSY, seed: int = 0, settings: DecisionSettings = SETTINGS
) -> Service:
    service = Service(kind, calls=calls, seed=seed, settings=settings)
    assert service.calm(72) == []
    return service


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
