"""Which windows may be scored at once: those of one hour, in pieces that memory can hold."""

from __future__ import annotations

import numpy as np

from sentinel.core.model import WindowBlock
from sentinel.core.scoring.hours import end_hour
from sentinel.core.scoring.settings import HOUR_NS, ScoringSettings
from sentinel.core.scoring.state import DetectorState, hour_of

_CELLS_MAX = 500_000
_HOURS_MAX = 48
"""A gap ages what was learned by no more than this: ending an hour costs tens of milliseconds."""


def advance(state: DetectorState, block: WindowBlock, *, settings: ScoringSettings) -> None:
    """Bring the state to the hour of the block's first window.

    Raises:
        ValueError: the block is on another grid, or begins before windows already learnt.
    """
    if block.step_ns != state.step_ns:
        msg = f"windows of {block.step_ns} ns cannot follow windows of {state.step_ns} ns"
        raise ValueError(msg)
    if block.start_ns < state.next_ns:
        msg = f"the window at {block.start_ns} was learnt already; next is {state.next_ns}"
        raise ValueError(msg)
    if state.next_ns == 0:
        state.hour = hour_of(block.start_ns)
    state.hour = max(state.hour, hour_of(block.start_ns) - _HOURS_MAX)
    while state.hour < hour_of(block.start_ns):
        end_hour(state, settings)
    state.next_ns = block.start_ns


def span(state: DetectorState, block: WindowBlock) -> int:
    """How many windows of the block, from its first on, may be scored at once.

    While a scale is borrowed it changes with every window, so windows are scored singly.
    """
    facts = state.hourly
    if facts.borrowing if facts is not None else np.count_nonzero(state.borrowed >= 0):
        return 1
    to_hour_end = -(-(HOUR_NS - block.start_ns % HOUR_NS) // block.step_ns)
    by_memory = max(1, _CELLS_MAX // max(1, block.series_count))
    return min(to_hour_end, by_memory, block.window_count)
