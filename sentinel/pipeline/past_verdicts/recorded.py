"""Stored windows that a sidecar decided, decided once more as it did: same state, same fits, same settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sentinel.core.decide import Decision
from sentinel.core.model import WindowBlock
from sentinel.pipeline.past_verdicts.slices import SliceCutter, SliceSink
from sentinel.pipeline.replay import StorePreview, preview_store
from sentinel.pipeline.replay.stored import StoreView


def recorded_from_ns(view: StoreView, from_ns: int, *, slice_ns: int) -> int | None:
    """The first instant `from_ns` or later from which on samples can be as live decided them; None for never.

    Where what live began from is recorded from later on only, it is where the next slice begins, so that no slice is of both kinds.
    """
    record = view.state_before(from_ns)
    if record is None:
        return None
    # A window that ends with the slice's first instant begins before it.
    return from_ns if record.at_ns < from_ns else (record.at_ns // slice_ns + 1) * slice_ns


def decide_recorded(
    view: StoreView,
    sink: SliceSink,
    *,
    slice_ns: int,
    from_ns: int,
    to_ns: int,
    wanted: NDArray[np.int64],
    on_piece: Callable[[int], None],
) -> StorePreview:
    """Replay `[from_ns, to_ns)` and hand on its verdicts in order of time.

    Args:
        view: the store.
        sink: where slices go.
        slice_ns: length of a slice.
        from_ns: time of the first sample that is handed on; windows before it are replayed too.
        to_ns: every sample is before it.
        wanted: int64[S], ascending, the series that are handed on.
        on_piece: told until when it is done.

    Raises:
        StoreError: there is no usable state to begin from.
    """
    cutter = SliceCutter(sink, slice_ns=slice_ns, from_ns=from_ns, to_ns=to_ns, series=wanted)

    def note(block: WindowBlock, decision: Decision) -> None:
        cutter.note(block, decision)
        on_piece(block.end_ns)

    # A slice earlier, for a window that ends in the span may begin before it; where that is not recorded it is no matter.
    record = view.state_before(from_ns)
    begin_ns = max(from_ns - slice_ns, 0 if record is None else min(record.at_ns, from_ns))
    found = preview_store(view, from_ns=begin_ns, to_ns=to_ns, on_decided=note)
    cutter.finish()
    return found
