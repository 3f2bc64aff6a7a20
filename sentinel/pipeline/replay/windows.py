"""Which series of the past a sidecar would have watched, window by window, and which sources it would have heard.

Of series that say what they are:

- A source was heard in a window when any series of its service has a row there, with or without a value.
- A place of calls is watched from its first call on, anything else from its first value; both until there was nothing for a day.
  That is looked at as an hour turns.

Of others nothing is known of their sources: they are watched from their first row on, and always heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    SIGNAL_TRAFFIC,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.series import SeriesSettings
from sentinel.pipeline.replay.grid import Line

HOUR_NS = 3_600_000_000_000
_CALLS = frozenset({SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_SLOW})


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedWindows:
    """Windows of the past, and when each of their series was watched.

    Attributes:
        block: all windows of all series; where one was not watched it has no value, no weight, and was not heard.
        turns: of each series the windows, ascending, at which it begins to be watched and is forgotten, in turn.
        history_window: from which on history would be stored.
    """

    block: WindowBlock
    turns: tuple[NDArray[np.int64], ...]
    history_window: int

    @property
    def first_window(self) -> int:
        """The first window in which anything is watched."""
        return min((int(own[0]) for own in self.turns if own.size), default=self.count)

    @property
    def count(self) -> int:
        """Windows in all."""
        return self.block.window_count

    def known_by(self, window: int) -> NDArray[np.bool_]:
        """bool[S], series that were watched in any window before."""
        return np.array([own.size > 0 and own[0] < window for own in self.turns], np.bool_)

    def pieces(self, first: int, last: int) -> Iterator[WindowBlock]:
        """The windows `[first, last)` in blocks, each of the series that were watched all through it."""
        inside = [own[(own > first) & (own < last)] for own in self.turns]
        cuts = np.unique(np.concatenate([[first, last], *inside])).tolist()
        for start, end in pairwise(cuts):
            watched = self._watched(start)
            piece = self.block.windows(start, end)
            yield piece if watched.all() else piece.select(watched)

    def _watched(self, window: int) -> NDArray[np.bool_]:
        passed = [int(np.searchsorted(own, window, side="right")) for own in self.turns]
        return np.array([count % 2 == 1 for count in passed], np.bool_)


def watched_always(block: WindowBlock, lines: Sequence[Line]) -> WatchedWindows:
    """Series of sources that nothing is known of."""
    turns = tuple(np.array([int(line.window[0])], np.int64) for line in lines)
    return WatchedWindows(block=block, turns=turns, history_window=0)


def watched(
    block: WindowBlock, lines: Sequence[Line], keys: Sequence[SeriesKey]
) -> WatchedWindows:
    """Series that say what they are; `block` holds their values and is changed in place."""
    _hear(block, lines, keys)
    turns = _turns(block, lines, keys)
    for at, own in enumerate(turns):
        ends = np.append(own, block.window_count) if own.size % 2 else own
        is_watched = np.zeros(block.window_count, np.bool_)
        for first, last in zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=True):
            is_watched[first:last] = True
        block.value[~is_watched, at] = np.nan
        block.weight[~is_watched, at] = 0
        block.heard[~is_watched, at] = False
    first = min((int(own[0]) for own in turns if own.size), default=0)
    return WatchedWindows(block=block, turns=turns, history_window=first)


def _hear(block: WindowBlock, lines: Sequence[Line], keys: Sequence[SeriesKey]) -> None:
    services: dict[str, NDArray[np.bool_]] = {}
    for line, key in zip(lines, keys, strict=True):
        heard = services.setdefault(key.service, np.zeros(block.window_count, np.bool_))
        heard[line.window] = True
    for at, (line, key) in enumerate(zip(lines, keys, strict=True)):
        block.heard[:, at] = services[key.service]
        has_row = np.zeros(block.window_count, np.bool_)
        has_row[line.window] = True
        block.weight[~has_row, at] = 0


def _turns(
    block: WindowBlock, lines: Sequence[Line], keys: Sequence[SeriesKey]
) -> tuple[NDArray[np.int64], ...]:
    """When each series begins to be watched and is forgotten."""
    per_hour = HOUR_NS // block.step_ns
    idle = SeriesSettings().idle_ns // block.step_ns
    places: dict[SeriesKey, list[int]] = {}
    for at, key in enumerate(keys):
        place = key._replace(signal="") if key.signal in _CALLS else key
        places.setdefault(place, []).append(at)
    found: dict[int, NDArray[np.int64]] = {}
    for columns in places.values():
        active = np.flatnonzero(_has_data(block, columns, keys))
        turns = _turns_of(active, idle=idle, per_hour=per_hour, count=block.window_count)
        for at in columns:
            found[at] = _from_window(turns, int(lines[at].window[0]))
    return tuple(found[at] for at in range(len(keys)))


def _from_window(turns: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """The turns of a series whose first row comes later than its place's first call: what counts as slow is known after days."""
    while turns.size > 1 and turns[1] <= first:
        turns = turns[2:]
    own = turns.copy()
    own[:1] = np.maximum(own[:1], first)
    return own


def _has_data(
    block: WindowBlock, columns: Sequence[int], keys: Sequence[SeriesKey]
) -> NDArray[np.bool_]:
    traffic = [at for at in columns if keys[at].signal == SIGNAL_TRAFFIC]
    if traffic:
        return np.asarray((block.value[:, traffic] > 0).any(axis=1))
    return np.asarray(np.isfinite(block.value[:, columns]).any(axis=1))


def _turns_of(
    active: NDArray[np.intp], *, idle: int, per_hour: int, count: int
) -> NDArray[np.int64]:
    """From windows with data to those where it begins to be watched and is forgotten, in turn."""
    if not active.size:
        return np.zeros(0, np.int64)
    forgotten = ((active + idle) // per_hour + 1) * per_hour
    # One that has data as the hour turns is not forgotten.
    gone = np.flatnonzero(forgotten[:-1] < active[1:])
    begins = np.concatenate([active[:1], active[gone + 1]])
    ends = np.concatenate([forgotten[gone], forgotten[-1:]])
    turns = np.stack([begins, ends], axis=1).ravel().astype(np.int64)
    return turns if turns[-1] < count else turns[:-1]
