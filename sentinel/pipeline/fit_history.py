"""What a fit learns from: the stored windows of weeks, read while others are worked on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, LAG_DAYS
from sentinel.core.decide import DecisionState
from sentinel.core.model import SHARE_KINDS, AdoptedLevels, Incident, WindowBlock
from sentinel.core.scoring import adopted_levels
from sentinel.pipeline.slow_fit import HistogramReader
from sentinel.ports import SeriesRow, Snapshot

DAY_NS = 86_400_000_000_000
PRIME_DAYS = 14
"""How much history a series is primed with; the scales remember as many days."""
HISTORY_DAYS = LAG_DAYS[-1] + PRIME_DAYS
"""What a fit reads."""

_TILE_SERIES = 800
_READ_SERIES = 800
"""80 MB of six weeks, values and calls. Stored chunks hold all series, so each reading unpacks all of them; two are held."""
FIT_INCIDENTS_MAX = 10_000
"""The newest; older ones are hardly within the weeks that a fit looks back."""

_ENOUGH_CALLS = 1e6
"""A stored window of 5 minutes was made of windows that counted; it is not judged by its calls again.

Shares of calls are, because of how many calls they are says how far they spread; where that is not known they count as many.
"""


class HistoryReader(Protocol):
    """What of a store is read to learn from its windows."""

    def series(self) -> list[SeriesRow]:
        """Every registered series, by id."""
        ...

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Stored windows, in time order."""
        ...

    def incidents(self, *, limit: int) -> list[Incident]:
        """Newest first."""
        ...

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest states, newest first."""
        ...

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest fits, newest first."""
        ...


class FitReader(HistoryReader, HistogramReader, Protocol):
    """What of a store a fit reads."""


def newest_state(reader: HistoryReader) -> DecisionState | None:
    """The newest stored state; None where there is none that can be read."""
    for snapshot in reader.states(limit=1):
        try:
            return DecisionState.from_bytes(snapshot.payload)
        except ValueError:
            break
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a fit must know of a state.

    Attributes:
        ready: int64[...], ids of the series whose spread is known; the others are primed.
        levels: what was adopted; None for nothing.
        until_ns: up to where it knows.
        step_ns: width of its windows.
    """

    ready: NDArray[np.int64]
    levels: AdoptedLevels | None
    until_ns: int
    step_ns: int


def learned_of(state: DecisionState) -> Learned:
    """What a fit must know of a state; nothing in it looks into the state."""
    return Learned(
        ready=state.ready(),
        levels=adopted_levels(state.detector, state.parked),
        until_ns=state.detector.next_ns,
        step_ns=state.detector.step_ns,
    )


def histories(
    reader: HistoryReader, ids: NDArray[np.int64], *, now_ns: int
) -> Iterator[WindowBlock]:
    """The history of all series, some hundred at a time. The next ones are read while these are worked on: half of a fit is reading."""
    groups = [ids[first : first + _READ_SERIES] for first in range(0, len(ids), _READ_SERIES)]
    if len(groups) == 1:
        history = read_history(reader, ids, now_ns=now_ns)
        if history is not None:
            yield from _tiles(history)
        return
    with ThreadPoolExecutor(1) as pool:

        def begun(at: int) -> Future[WindowBlock | None] | None:
            if at >= len(groups):
                return None
            return pool.submit(read_history, reader, groups[at], now_ns=now_ns)

        reading = begun(0)
        for at in range(len(groups)):
            assert reading is not None
            history = reading.result()
            reading = begun(at + 1)
            if history is not None:
                yield from _tiles(history)


def _tiles(history: WindowBlock) -> Iterator[WindowBlock]:
    for first in range(0, history.series_count, _TILE_SERIES):
        yield history.columns(first, min(first + _TILE_SERIES, history.series_count))


def read_history(
    reader: HistoryReader, ids: NDArray[np.int64], *, now_ns: int, days: int = HISTORY_DAYS
) -> WindowBlock | None:
    """The last days, six weeks of them, of 5-minute windows of some series on one unbroken grid; None when empty."""
    end_ns = now_ns - now_ns % BIN_NS
    start_ns = end_ns - days * DAY_NS
    value: NDArray[np.float32] | None = None
    weight = np.zeros(0, np.float32)
    kind = np.zeros(len(ids), np.int8)
    first_ns = end_ns
    for block in reader.windows(
        step_ns=BIN_NS, start_ns=start_ns, end_ns=end_ns, series=ids.tolist()
    ):
        if value is None:
            first_ns = block.start_ns
            value = np.full(((end_ns - first_ns) // BIN_NS, len(ids)), np.nan, np.float32)
            weight = np.full(value.shape, _ENOUGH_CALLS, np.float32)
        row = (block.start_ns - first_ns) // BIN_NS
        place = np.searchsorted(ids, block.series)
        # A slice is copied as it is, many times faster than by columns.
        columns = slice(None) if len(place) == len(ids) else place
        value[row : row + block.window_count, columns] = block.value
        ratios = np.flatnonzero(np.isin(block.kind, SHARE_KINDS) & (block.weight > 0).any(axis=0))
        calls = block.weight[:, ratios]
        weight[row : row + block.window_count, place[ratios]] = np.where(
            calls > 0, calls, np.float32(_ENOUGH_CALLS)
        )
        kind[place] = block.kind
    if value is None:
        return None
    return WindowBlock(
        start_ns=first_ns,
        step_ns=BIN_NS,
        series=ids,
        kind=kind,
        value=value,
        weight=weight,
        heard=np.broadcast_to(np.True_, value.shape),
    )
