"""Goal: what changes while a window is being stored is stored with the next one.

Method: a store in memory whose call hands the loop something to do before it comes back, as a thread's does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

import numpy as np

from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.pipeline.replay_notes import ReplayNotes
from sentinel.pipeline.ticks import Ticks
from sentinel.runtime.flow import Flow
from sentinel.storage.memory import MemoryStore
from tests.support.past_incidents import HOUR_NS, past_fall
from tests.support.surroundings import make_surroundings

STEP_NS = 10**10
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class BusyThread:
    """A store's thread; `meanwhile` happens on the loop while it works."""

    def __init__(self) -> None:
        self.sync = MemoryStore()
        self.meanwhile: Callable[[], None] = lambda: None

    async def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call it, then do what came up meanwhile."""
        result = function(*args, **kwargs)
        self.meanwhile()
        return result


def block_at(start_ns: int) -> WindowBlock:
    nothing = np.zeros((1, 0), np.float32)
    return WindowBlock(
        start_ns=start_ns,
        step_ns=STEP_NS,
        series=np.zeros(0, np.int64),
        kind=np.zeros(0, np.int8),
        value=nothing,
        weight=nothing,
        heard=np.zeros((1, 0), np.bool_),
    )


async def test_a_word_on_an_incident_that_comes_while_a_window_is_stored_is_kept_for_the_next() -> (
    None
):
    """It was forgotten with what had been stored, and whoever said it waited in vain."""
    surroundings = make_surroundings()
    thread = BusyThread()
    ticks = Ticks(
        thread,
        ReplayNotes(),
        Flow("pipeline.evaluate", surroundings.metrics),
        surroundings,
        pages_unstored=lambda _pages: None,
    )
    before = past_fall(1, SeriesKey("shop", "db", "", "calls"), first_ns=0, last_ns=HOUR_NS)
    accepted = replace(before, accepted_ns=2 * HOUR_NS, accepted_by="anna")
    ticks.change(before)
    thread.meanwhile = lambda: ticks.change(accepted)
    first = await ticks.store(block_at(2 * HOUR_NS))
    thread.meanwhile = lambda: None
    second = await ticks.store(block_at(2 * HOUR_NS + STEP_NS))
    third = await ticks.store(block_at(2 * HOUR_NS + 2 * STEP_NS))
    assert [tick.incidents for tick in (first, second, third)] == [(before,), (accepted,), ()]
    assert [one.accepted_by for one in thread.sync.incidents(limit=5)] == ["anna"]
