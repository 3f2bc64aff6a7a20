"""Ratios of few calls are judged together with the calls before them.

One failure in two calls says nothing, and a window that says nothing was the end of it: a trickle of calls that failed
for days never had a window with enough of them. So a window with fewer than `gathered_calls` takes as many as it lacks
out of what the windows before it had, in proportion:

    share    = min(1, (gathered_calls - calls) / carried calls), at least 0
    calls    = own calls  + share * carried calls
    failed   = own failed + share * carried failed

and both are carried on. Of a busy series nothing is taken, and its windows are judged by themselves as soon as they have
enough; a trickle is judged by about its last `gathered_calls` calls. What is carried fades in a straight line
with the time since the last window that had calls, and is gone after `gathered_for_s`.

Between two calls of a trickle nothing is known that was not known at the first of them, so its verdict stands, for some
times the usual gap between its calls: an incident would otherwise resolve and open again with every longer gap.
A window in which it stands is judged and not learnt.

Only windows with calls change anything, so gaps leave all as it is, and any split of a history gives the same bits.
Straight lines instead of powers: these are the same on every processor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import WindowBlock
from sentinel.core.scoring.hours import hourly
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import DetectorState

_Halves = NDArray[np.float32]

_STANDS_GAPS = np.float32(8)
"""Of gaps that chance makes, one in three thousand is longer than so many mean ones."""
_GAP_GAIN = np.float32(0.125)
_NO_CALLS = np.float32(1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Windows as they are judged.

    Attributes:
        block: shares with the calls that stand behind them, those carried included; all else as it came.
        standing: bool[T, S], cells without calls in which the verdict before them stands; None for none.
    """

    block: WindowBlock
    standing: NDArray[np.bool_] | None = None

    def windows(self, first: int, last: int) -> Judged:
        """The windows `[first, last)`; arrays are views, not copies."""
        standing = None if self.standing is None else self.standing[first:last]
        return Judged(block=self.block.windows(first, last), standing=standing)


def gathered(state: DetectorState, block: WindowBlock, *, settings: ScoringSettings) -> Judged:
    """The block as it is judged.

    Args:
        state: its `gathered_*` become what they are after the block, all of whose windows must be learnt.
        block: windows that follow the last ones.
        settings: the constants.
    """
    at = hourly(state, block.kind, settings).ratios
    if at is None:
        return Judged(block=block)
    ratio, calls, heard = block.value[:, at], block.weight[:, at], block.heard[:, at]
    told = np.isfinite(ratio)
    told &= calls > 0
    told &= heard
    first_window = block.start_ns // block.step_ns
    enough = np.float32(settings.gathered_calls)
    busy = (told & (calls >= enough)).all(axis=0)
    whole = at[busy]
    if whole.size:
        state.gathered_calls[whole] = calls[-1, busy]
        state.gathered_failed[whole] = ratio[-1, busy] * calls[-1, busy]
        state.gathered_at[whole] = first_window + len(calls) - 1
        state.gathered_gap[whole] = 1
        if whole.size == at.size:
            return Judged(block=block)
        other = ~busy
        at, ratio, calls = at[other], ratio[:, other], calls[:, other]
        told, heard = told[:, other], heard[:, other]
    carried = _Carried(state, at, settings)
    waits = ~told & heard
    for row in range(len(calls)):
        carried.take(first_window + row, ratio[row], calls[row], told[row], waits[row])
    carried.keep(state, at)
    value, weight = block.value.copy(), block.weight.copy()
    value[:, at], weight[:, at] = ratio, calls
    standing = None
    if np.count_nonzero(waits):
        standing = np.zeros(block.value.shape, np.bool_)
        standing[:, at] = waits
    return Judged(block=replace(block, value=value, weight=weight), standing=standing)


class _Carried:
    """What some series carry from window to window."""

    def __init__(
        self, state: DetectorState, at: NDArray[np.intp], settings: ScoringSettings
    ) -> None:
        self._calls = state.gathered_calls[at]
        self._failed = state.gathered_failed[at]
        self._last = state.gathered_at[at]
        self._gap = state.gathered_gap[at]
        self._fades_after = np.float32(settings.gathered_for_s / state.grid.step_s)
        self._enough = np.float32(settings.gathered_calls)

    def keep(self, state: DetectorState, at: NDArray[np.intp]) -> None:
        """Write it back."""
        state.gathered_calls[at] = self._calls
        state.gathered_failed[at] = self._failed
        state.gathered_at[at] = self._last
        state.gathered_gap[at] = self._gap

    def take(
        self,
        window: int,
        ratio: _Halves,
        calls: _Halves,
        told: NDArray[np.bool_],
        waits: NDArray[np.bool_],
    ) -> None:
        """Take a window in; `ratio` and `calls` become what it is judged by, `waits` where a verdict stands."""
        if np.count_nonzero(waits):
            self._stand(window, ratio, calls, waits)
        here = np.flatnonzero(told)
        if here.size == 0:
            return
        own, before = calls[here], self._calls[here]
        failed = ratio[here] * own
        age = np.minimum((window - self._last[here]).astype(np.float32), self._fades_after)
        share = np.float32(1) - age / self._fades_after
        # Of what has not faded no more than is lacking.
        lacking = np.maximum(self._enough - own, np.float32(0))
        np.minimum(share, lacking / np.maximum(before, _NO_CALLS), out=share)
        both = own + share * before
        failed += share * self._failed[here]
        alone = lacking == 0
        calls[here] = both
        ratio[here] = np.where(alone, ratio[here], np.minimum(failed / both, np.float32(1)))
        gap = self._gap[here]
        gap += _GAP_GAIN * (age - gap)
        self._gap[here] = np.where(alone, np.float32(1), gap)
        self._calls[here], self._failed[here], self._last[here] = both, failed, window

    def _stand(
        self, window: int, ratio: _Halves, calls: _Halves, waits: NDArray[np.bool_]
    ) -> None:
        age = (window - self._last).astype(np.float32)
        waits &= age <= np.minimum(_STANDS_GAPS * (self._gap - 1), self._fades_after)
        waits &= self._calls > 0
        here = np.flatnonzero(waits)
        calls[here] = self._calls[here]
        ratio[here] = np.minimum(self._failed[here] / self._calls[here], np.float32(1))
