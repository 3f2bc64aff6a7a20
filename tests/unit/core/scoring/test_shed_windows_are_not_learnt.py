"""Goal: an overload leaves what is expected as it was: unknown amounts teach nothing, and a tenth of the calls teaches no other share.

Method: traffic, errors and slow calls of one place, a day of calm behind them; then six hours, whole or with traces given up, of the same
calls; then calm, and a fault.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.model import SHED_WEIGHT, SIGNAL_SLOW, Kind, Reason, VerdictBlock, WindowBlock
from tests.support.detector_blocks import START_NS, flat_profile, names

MINUTE_NS = 60_000_000_000
CALLS_A_MINUTE = 600
FAILING, SLOW_SHARE = 0.02, 0.01
TAKEN_SHARE = 0.1
DAY, HOURS, AFTER = 1440, 360, 60
TRAFFIC, ERRORS, SLOW = 0, 1, 2

KEYS = {**names(2), 3: names(3)[3]._replace(signal=SIGNAL_SLOW)}


def windows(count: int, *, at: int, taken: float = 1.0, failing: float = FAILING) -> WindowBlock:
    """Minutes of one place, of whose calls so many are taken; below all, how many came is not known."""
    rng = np.random.default_rng(at)
    calls = rng.poisson(CALLS_A_MINUTE, count)
    told = rng.binomial(calls, taken)
    failed = rng.binomial(told, failing)
    slow = rng.binomial(told, SLOW_SHARE)
    value = np.stack([calls / 60.0, failed / told, slow / told], axis=1)
    weight = np.stack([told, told, told], axis=1).astype(np.float32)
    if taken < 1:
        value[:, TRAFFIC], weight[:, TRAFFIC] = np.nan, SHED_WEIGHT
    return WindowBlock(
        start_ns=START_NS + at * MINUTE_NS,
        step_ns=MINUTE_NS,
        series=np.array([1, 2, 3]),
        kind=np.array([Kind.TRAFFIC, Kind.ERRORS, Kind.SLOW], np.int8),
        value=value.astype(np.float32),
        weight=weight,
        heard=np.ones(value.shape, np.bool_),
    )


def after(state: DecisionState, block: WindowBlock) -> tuple[DecisionState, VerdictBlock]:
    profile = flat_profile(windows(1, at=0), days=3)
    # Its grid is of a place with other traffic; what is usual here is learnt as the level.
    decision = decide(state, block, profile=profile, keys=KEYS, settings=DecisionSettings())
    return decision.state, decision.verdicts


def lived(
    *, taken: float, fault_taken: float = 1.0
) -> tuple[VerdictBlock, VerdictBlock, VerdictBlock]:
    """Verdicts of the six hours, of the calm after them, and of a fault in which three in ten calls fail."""
    state = new_decision_state(step_ns=MINUTE_NS, settings=DecisionSettings())
    state, _ = after(state, windows(DAY, at=0))
    state, during = after(state, windows(HOURS, at=DAY, taken=taken))
    state, later = after(state, windows(AFTER, at=DAY + HOURS))
    _, fault = after(state, windows(5, at=DAY + HOURS + AFTER, failing=0.3, taken=fault_taken))
    return during, later, fault


def test_an_overload_leaves_what_is_expected_as_it_was() -> None:
    """Shares of the calls that were taken are learnt from: a tenth of them, whichever they are, says the same, less surely."""
    during, shed, _ = lived(taken=TAKEN_SHARE)
    _, whole, _ = lived(taken=1.0)
    assert np.all(during.reason[:, TRAFFIC] == Reason.SHED)
    assert np.all(np.isnan(during.score[:, TRAFFIC]))
    for series in (ERRORS, SLOW):
        assert np.all(during.reason[:, series] == Reason.SCORED)
        assert np.all(during.score[:, series] < 1), "fewer calls are no strange share"
    for series in (TRAFFIC, ERRORS, SLOW):
        assert np.all(shed.score[:, series] < 1)
        for name in ("expected", "upper"):
            found, other = getattr(shed, name)[:, series], getattr(whole, name)[:, series]
            assert np.mean(found) == pytest.approx(np.mean(other), rel=0.1), (series, name)


def test_a_fault_is_as_strange_after_an_overload_and_is_seen_in_one() -> None:
    *_, whole = lived(taken=1.0)
    *_, after_shed = lived(taken=TAKEN_SHARE)
    ratio = after_shed.score[:, ERRORS] / whole.score[:, ERRORS]
    assert np.all(whole.score[:, ERRORS] > 4)
    assert np.all(ratio > 0.9)
    *_, in_shed = lived(taken=TAKEN_SHARE, fault_taken=TAKEN_SHARE)
    assert np.all(in_shed.score[:, ERRORS] > 1)
