"""The messages of a store's preview as rows, and one-minute windows of a store as series to be replayed roughly."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.pipeline.replay.grid import PlainSeries
from sentinel.pipeline.replay.rows import ReplayedPage, ReplayedStop, page_rows, stop_rows
from sentinel.pipeline.replay.stops import StopLog
from sentinel.pipeline.replay.stored import StorePreview, StoreView


def name_of(key: SeriesKey) -> str:
    """A series for people.

    >>> name_of(SeriesKey("pay", "edge", "POST /x", "errors"))
    'pay edge POST /x errors'
    """
    return " ".join(part for part in key if part)


def rows_of(found: StorePreview) -> list[ReplayedPage]:
    """The messages that would have gone out, in order of time; summaries of held pages and resolves left out."""
    rows = page_rows(
        found.pages,
        found.transitions,
        step_ns=found.step_ns,
        settings=found.settings.incidents,
        names=_StoreNames(found),
    )
    return list(rows)


def stops_of(found: StorePreview, log: StopLog) -> Iterator[ReplayedStop]:
    """What stood out and was not told, by series and time."""
    return stop_rows(log, step_ns=found.step_ns, keys=found.keys, names=_StoreNames(found))


class _StoreNames:
    """Series as people write them, at the true instants of their windows."""

    def __init__(self, found: StorePreview) -> None:
        self._found = found

    def series(self, series_id: int) -> str:
        return name_of(self._found.keys[series_id])

    def source(self, group: str) -> str:
        return group

    def instant_s(self, at_ns: int, series_id: int | None, group: str) -> float:
        del series_id, group
        return at_ns / 1e9

    def last_s(self, group: str) -> float:
        del group
        return self._found.end_ns / 1e9


def coarse_series(
    view: StoreView,
    *,
    step_ns: int,
    start_ns: int,
    end_ns: int,
    series: Collection[int] | None = None,
) -> list[PlainSeries]:
    """The stored windows of one resolution as series, for a replay that does not know what live was judged by.

    `series` are the ids of those that are wanted, None for all.
    """
    wanted = None if series is None else sorted(series)
    blocks = list(view.windows(step_ns=step_ns, start_ns=start_ns, end_ns=end_ns, series=wanted))
    keys = {
        row.series_id: row.key
        for row in view.series()
        if series is None or row.series_id in series
    }
    found: list[PlainSeries] = []
    for series_id, key in keys.items():
        parts = [part for block in blocks if (part := _column(block, series_id)) is not None]
        if not parts:
            continue
        time_ns, value, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if len(time_ns) >= 2:
            found.append(
                PlainSeries(
                    name=name_of(key), time_ns=time_ns, value=value, weight=weight, key=key
                )
            )
    return found


def _column(
    block: WindowBlock, series_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    at = int(np.searchsorted(block.series, series_id))
    if at == len(block.series) or int(block.series[at]) != series_id:
        return None
    heard = block.heard[:, at]
    time_ns = block.start_ns + np.flatnonzero(heard) * block.step_ns
    return (
        time_ns,
        block.value[heard, at].astype(np.float64),
        np.maximum(block.weight[heard, at], 0).astype(np.float64),
    )
