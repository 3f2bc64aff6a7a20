"""Goal: where values may be further from what is expected, the band is wider by as much, and no more is learnt of it.

Method: one block of windows scored with an ease and without, from the same state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.baseline import Profile, fit_profile, joined, selected
from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.model import Kind, WindowBlock
from tests.support.detector_blocks import START_NS, names

STEP_NS = 300_000_000_000
DAY = 288
SETTINGS = DecisionSettings()


def gauges(days: int, spread: np.ndarray) -> WindowBlock:
    rng = np.random.default_rng(8)
    usual = 100 + 40 * np.sin(2 * np.pi * np.arange(days * DAY) / DAY)
    noise = rng.standard_normal((days * DAY, 2)) * spread[:, None]
    value = (usual[:, None] + 2 * noise).astype(np.float32)
    return WindowBlock(
        start_ns=START_NS // (DAY * STEP_NS) * DAY * STEP_NS,
        step_ns=STEP_NS,
        series=np.arange(1, 3),
        kind=np.full(2, int(Kind.GAUGE), np.int8),
        value=value,
        weight=np.full(value.shape, 1e5, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def eased(profile: Profile, ease: float) -> Profile:
    hours = -(-len(profile.grid) // 12)
    return replace(profile, ease=np.full((hours, 2), ease, np.float32))


def after(
    block: WindowBlock, days: range, state: DecisionState, ease: float | None = None
) -> tuple[DecisionState, np.ndarray, np.ndarray]:
    scores, widths = [], []
    for day in days:
        piece = block.windows(day * DAY, (day + 1) * DAY)
        profile = fit_profile(block, at_ns=piece.start_ns, version=day)
        profile = profile if ease is None else eased(profile, ease)
        decision = decide(state, piece, profile=profile, keys=names(2), settings=SETTINGS)
        state = decision.state
        scores.append(decision.verdicts.score)
        widths.append(decision.verdicts.upper - decision.verdicts.lower)
    return state, np.concatenate(scores), np.concatenate(widths)


def test_a_band_is_as_many_times_wider_and_the_edge_stays_the_edge() -> None:
    block = gauges(9, np.ones(9 * DAY))
    start = new_decision_state(step_ns=STEP_NS, settings=SETTINGS)
    state, _, _ = after(block, range(8), start)
    again, _, _ = after(block, range(8), new_decision_state(step_ns=STEP_NS, settings=SETTINGS))
    _, plain, narrow = after(block, range(8, 9), state)
    _, scores, wide = after(block, range(8, 9), again, ease=30.0)
    # Only the first window is scored from the same state.
    assert wide[0] == pytest.approx(narrow[0] * 30, rel=0.01)
    assert np.nanmax(scores) < np.nanmax(plain)


def test_what_is_unsteadier_by_as_much_teaches_the_spread_of_an_ordinary_day() -> None:
    calm = gauges(12, np.ones(12 * DAY))
    wild = gauges(12, np.where(np.arange(12 * DAY) < 8 * DAY, 1.0, 3.0))
    ends = []
    for block, ease in ((calm, None), (wild, 3.0), (wild, None)):
        state = new_decision_state(step_ns=STEP_NS, settings=SETTINGS)
        state, _, _ = after(block, range(8), state)
        state, _, _ = after(block, range(8, 11), state, ease=ease)
        ends.append(float(np.median(after(block, range(11, 12), state)[2])))
    assert 0.8 < ends[1] / ends[0] < 1.3
    assert ends[2] / ends[0] > 1.4


def test_ease_is_kept_with_a_profile_and_handed_on_by_series() -> None:
    block = gauges(3, np.ones(3 * DAY))
    plain = fit_profile(block, at_ns=block.start_ns + 2 * DAY * STEP_NS, version=1)
    ease = np.ones((26, 2), np.float32)
    ease[3, 1] = 2.5
    profile = replace(plain, ease=ease)
    again = Profile.from_bytes(profile.to_bytes())
    assert again.ease is not None
    assert np.array_equal(again.ease, ease)
    assert Profile.from_bytes(plain.to_bytes()).ease is None
    asked = block.windows(2 * DAY, 3 * DAY)
    of_block = profile.expectation(asked).ease
    assert of_block is not None
    assert np.array_equal(np.flatnonzero(of_block[:, 1] == 2.5), np.arange(36, 48))
    assert np.all(of_block[:, 0] == 1)
    assert profile.expectation(asked.windows(60, 90)).ease is None
    assert plain.expectation(asked).ease is None
    first, second = (selected(profile, np.array([at == 0, at == 1])) for at in range(2))
    both = joined([replace(first, ease=None), second]).ease
    assert both is not None
    assert np.array_equal(both, ease)
    other = asked.select(np.array([False, True]))
    of_other = profile.expectation(other).ease
    assert of_other is not None
    assert np.array_equal(of_other[:, 0], of_block[:, 1])
