"""Goal: a fit of the store has the levels that were adopted by the newest state at once, and says up to when it knows them.

Method: three weeks of a made-up day with a step in its last days, with and without a state that adopted it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings, new_decision_state
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.core.scoring import ScoringSettings, new_state
from sentinel.pipeline.fit_result import Fit, fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.ports import Snapshot
from sentinel.storage.memory import MemoryStore

BIN_NS, DAY_NS, STEP_NS = 300_000_000_000, 86_400_000_000_000, 10_000_000_000
START_NS = 20_000 * DAY_NS
BINS = DAY_NS // BIN_NS
DAYS = 21
END_NS = START_NS + DAYS * DAY_NS
KEY = SeriesKey("pay", "edge", "POST /x", "traffic")
SHAPE = 100 + 50 * np.sin(np.arange(BINS) / BINS * 2 * np.pi)
STEP_DAY = 19.4


def fitted(state: bytes | None) -> Fit:
    """The fit of a store with a step to a third, and this state in it."""
    store = MemoryStore()
    (series_id,) = store.register([(KEY, Kind.TRAFFIC)], now_ns=START_NS)
    value = np.tile(SHAPE, DAYS)[:, None]
    value[int(STEP_DAY * BINS) :] *= 0.3
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array([series_id]),
        kind=np.array([Kind.TRAFFIC], np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    store.append_history(block)
    if state is not None:
        store.save_state(Snapshot(at_ns=END_NS - DAY_NS // 2, version=1, payload=state))
    payload = fit_payload(
        store, now_ns=END_NS, version=1, step_ns=STEP_NS, settings=ScoringSettings()
    )
    assert payload is not None
    return fit_from_snapshot(Snapshot(at_ns=0, version=1, payload=payload))


@pytest.mark.parametrize("place", ["detector", "parked"])
def test_the_level_of_a_state_is_in_the_fit(place: str) -> None:
    rows = new_state(np.array([1]), step_ns=STEP_NS, base_cut=4.0)
    rows.adopted_from[0] = START_NS + int(STEP_DAY * DAY_NS)
    rows.adopted_at[0] = rows.adopted_from[0] + DAY_NS
    rows.adopted_ratio[0] = 0.3
    empty = new_decision_state(step_ns=STEP_NS, settings=DecisionSettings())
    state = replace(empty, detector=rows) if place == "detector" else replace(empty, parked=rows)
    state.detector.next_ns = END_NS - DAY_NS // 2
    found = fitted(state.to_bytes()).profile
    assert found.levels_ns == END_NS - DAY_NS // 2
    assert np.allclose(found.grid[:BINS, 0], 0.3 * SHAPE, rtol=1e-3)


@pytest.mark.parametrize("state", [None, b"of another version"])
def test_without_a_state_nothing_is_to_be_put_on_a_fit(state: bytes | None) -> None:
    """What is learnt then holds as it is: a state that adopted something later multiplies for that alone."""
    found = fitted(state).profile
    assert found.levels_ns == END_NS
    assert np.allclose(found.grid[: BINS // 4, 0], SHAPE[: BINS // 4], rtol=1e-3)
