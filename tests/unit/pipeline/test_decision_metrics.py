"""Goal: what stood out and was not told is counted by its gate, and a window without any counts nothing.

Method: a decision whose verdicts are made by hand, and the metrics as they are scraped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sentinel.core.decide import Decision, DecisionSettings, decide, new_decision_state
from sentinel.core.model import Gate
from sentinel.pipeline.decision_metrics import count_decision
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import Metrics
from tests.support.detector_blocks import history, names


def decision_with(gates: list[int] | None) -> Decision:
    block = history(1, window_count=1, series_count=4, step_ns=60_000_000_000)
    settings = DecisionSettings()
    state = new_decision_state(step_ns=block.step_ns, settings=settings)
    decision = decide(state, block, profile=None, keys=names(4), settings=settings)
    gate = None if gates is None else np.array([gates], np.uint8)
    return replace(decision, verdicts=replace(decision.verdicts, gate=gate))


def test_stopped_windows_are_counted_by_gate() -> None:
    metrics = Metrics(CATALOGUE)
    count_decision(metrics, decision_with([0, Gate.DEVIATION, Gate.DEVIATION, Gate.TICKET]))
    count_decision(metrics, decision_with(None))
    stopped = "sentinel_stopped_windows_total"
    assert metrics.value(stopped, gate="deviation") == 2
    assert metrics.value(stopped, gate="ticket") == 1
    assert 'gate="none"' not in metrics.exposition(openmetrics=False).decode()
    assert metrics.value("sentinel_ticks_total") == 2
    assert metrics.value("sentinel_series_state", state="no_history") == 4
