"""The last windows before a sidecar starts, as wide as its own, as they are kept in a store beside the past of five minutes.

They are what the sidecar would have decided on, had it run: values of the same queries, asked for the same instants. They are a note and no
windows of the store, so nothing decides on them, replays them or counts them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sentinel.core.model import Kind, SeriesKey, WindowBlock, kind_of_signal
from sentinel.core.stats.packing import Packed, pack_arrays, unpack_arrays
from sentinel.ports import KeyedRows

LATEST_SOURCE = "latest windows"
"""The name of the note."""
LATEST_WINDOWS = 60
"""More than the 48 after which a borrowed scale is a series' own, so that some may be missing."""
LATEST_AGE_MAX_NS = 3_600 * 10**9
"""Older ones say too little of the present: as old as windows may be that are decided again after a restart."""

_CELLS_MAX = 3_000_000
"""24 MB before they are packed; of more series none are kept, and live windows are waited for."""
_INFLATED_BYTES_MAX = 64 << 20
_ENOUGH_CALLS = 1e6
"""How many calls count for a share, or a quantile, of which nobody says how many are behind it; as live."""


def latest_block(
    rows: Sequence[KeyedRows],
    ids: Mapping[SeriesKey, int],
    *,
    step_ns: int,
    start_ns: int,
    end_ns: int,
) -> WindowBlock | None:
    """Rows as windows of `[start_ns, end_ns)`; None where there is nothing, or too much.

    Args:
        rows: of queries, each with the time of its window's start.
        ids: of the series; others are left out.
        step_ns: width of a window, of which both ends are multiples.
        start_ns: of the first window.
        end_ns: of the last one.
    """
    count = (end_ns - start_ns) // step_ns
    series = np.array(sorted({ids[key] for one in rows for key in one.keys if key in ids}))
    if count <= 0 or not series.size or count * series.size > _CELLS_MAX:
        return None
    kind = np.zeros(series.size, np.int8)
    value = np.full((count, series.size), np.nan, np.float32)
    weight = np.zeros(value.shape, np.float32)
    heard = np.zeros(value.shape, np.bool_)
    for one in rows:
        column = np.array([ids.get(key, -1) for key in one.keys], np.int64)
        column = np.where(column < 0, -1, np.searchsorted(series, column))
        for key, at in zip(one.keys, column.tolist(), strict=True):
            if at >= 0:
                kind[at] = kind_of_signal(key.signal)
        row, at = (one.time_ns - start_ns) // step_ns, column[one.key_index]
        inside = (row >= 0) & (row < count) & (at >= 0)
        row, at = row[inside], at[inside]
        calls = one.weight[inside]
        unweighed = np.where(kind[at] == Kind.GAUGE, 1.0, _ENOUGH_CALLS)
        value[row, at] = one.value[inside]
        weight[row, at] = np.where(np.isnan(calls), unweighed, calls)
        heard[row, at] = True
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=series.astype(np.int64),
        kind=kind,
        value=value,
        weight=weight,
        heard=heard,
    )


def latest_to_bytes(block: WindowBlock) -> bytes:
    """For `latest_from_bytes`."""
    arrays: dict[str, Packed] = {
        "series": block.series,
        "kind": block.kind,
        "value": block.value,
        "weight": block.weight,
        "heard": block.heard,
    }
    packed = pack_arrays(arrays, {"start_ns": block.start_ns, "step_ns": block.step_ns})
    return zlib.compress(packed, 1)


def latest_from_bytes(payload: bytes) -> WindowBlock | None:
    """What `latest_to_bytes` made; None for nothing, and for what cannot be read: then live windows are waited for."""
    if not payload:
        return None
    try:
        inflating = zlib.decompressobj()
        arrays, facts = unpack_arrays(inflating.decompress(payload, _INFLATED_BYTES_MAX))
        columns: dict[str, Any] = arrays
        return WindowBlock(
            start_ns=int(facts["start_ns"]), step_ns=int(facts["step_ns"]), **columns
        )
    except (ValueError, KeyError, TypeError, zlib.error):
        return None


def usable_at(block: WindowBlock | None, *, now_ns: int, step_ns: int) -> WindowBlock | None:
    """The windows where they are of the width that is asked for, and young enough; else None."""
    if block is None or block.step_ns != step_ns:
        return None
    return block if 0 <= now_ns - block.end_ns <= LATEST_AGE_MAX_NS else None
