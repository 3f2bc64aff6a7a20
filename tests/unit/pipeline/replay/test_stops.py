"""Goal: windows that were stopped become excursions, in any split of the verdicts, and more than fit are counted.

Method: columns of gates made by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sentinel.core.model import Gate, VerdictBlock
from sentinel.pipeline.replay.stops import StopLog

STEP_NS = 60_000_000_000


def verdicts(gates: Sequence[Sequence[int]], first: int = 0) -> VerdictBlock:
    """Verdicts of windows from number `first` on, whose score is a tenth of the gate."""
    gate = np.array(gates, np.uint8)
    score = (gate / 10).astype(np.float32)
    return VerdictBlock(
        start_ns=first * STEP_NS,
        step_ns=STEP_NS,
        series=np.arange(1, gate.shape[1] + 1),
        value=score,
        weight=score,
        score=score,
        expected=score,
        lower=score - 1,
        upper=score + 1,
        direction=np.ones(gate.shape, np.int8),
        reason=np.zeros(gate.shape, np.int8),
        gate=gate,
    )


ROWS = [[2, 0], [0, 0], [3, 0], [0, 0], [0, 0], [0, 4], [2, 0]]


@pytest.mark.parametrize("cut", range(1, len(ROWS)))
def test_windows_with_less_quiet_between_than_the_hold_are_one(cut: int) -> None:
    log = StopLog(hold_windows=3, runs_max=10)
    log.note(verdicts(ROWS[:cut]))
    log.note(verdicts(ROWS[cut:], first=cut))
    first, second, other = log.close()
    assert (first.series_id, first.first_window, first.last_window) == (1, 0, 2)
    # It came furthest in the last of its windows.
    assert first.gate is Gate.SINGLE_WINDOW
    assert first.score == pytest.approx(0.3)
    assert first.edge == pytest.approx(1.3)
    assert (second.series_id, second.first_window, second.gate) == (1, 6, Gate.OWN_THRESHOLD)
    assert (other.series_id, other.first_window, other.gate) == (2, 5, Gate.DEVIATION)
    assert log.window_counts == {Gate.OWN_THRESHOLD: 2, Gate.SINGLE_WINDOW: 1, Gate.DEVIATION: 1}


def test_more_than_fit_are_counted() -> None:
    log = StopLog(hold_windows=0, runs_max=1)
    log.note(verdicts([[2], [0], [2], [0], [2]]))
    assert len(log.close()) == 1
    assert log.dropped_count == 2
    assert log.run_counts == {Gate.OWN_THRESHOLD: 3}


def test_verdicts_without_any_are_passed_over() -> None:
    log = StopLog(hold_windows=3, runs_max=10)
    plain = verdicts([[0], [0]])
    log.note(plain)
    assert log.close() == []
