"""Operations on blocks that every store shares: clip, select, join, overlay, roll up.

A cell carries something when its source was heard, or it has a value, or a weight. A cell that carries
nothing is the same as an absent one wherever blocks are laid over one another: it replaces nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, WindowBlock
from sentinel.core.stats.ratios import pooled_ratio

CHUNK_WINDOW_COUNT = 48
"""Windows a stored chunk spans at most: 8 minutes of 10 s, 48 of 1 min, 4 hours of 5 min.

Long enough to compress well over time, short enough that a chunk of 10,000 series is 2 MB a column.
"""

ROLL_UP_STEPS_NS = (60_000_000_000, 300_000_000_000)
"""Resolutions that are made from the finest one: 1 min and 5 min."""


def chunk_span_ns(step_ns: int) -> int:
    """Time that one chunk covers; chunks begin at multiples of it, so that they never overlap."""
    return step_ns * CHUNK_WINDOW_COUNT


def roll_up_steps(step_ns: int) -> tuple[int, ...]:
    """The resolutions to make from windows of `step_ns`: coarser ones that it divides."""
    return tuple(
        coarse for coarse in ROLL_UP_STEPS_NS if coarse > step_ns and coarse % step_ns == 0
    )


def clip(block: WindowBlock, *, start_ns: int, end_ns: int) -> WindowBlock | None:
    """The windows of the block that begin in `[start_ns, end_ns)`, or None when there is none."""
    first = max(0, -((block.start_ns - start_ns) // block.step_ns))
    last = min(block.window_count, -((block.start_ns - end_ns) // block.step_ns))
    return block.windows(first, last) if first < last else None


def split_at_chunks(block: WindowBlock) -> Iterator[WindowBlock]:
    """The block in pieces that each lie within one chunk."""
    span_ns = chunk_span_ns(block.step_ns)
    start_ns = block.start_ns
    while start_ns < block.end_ns:
        end_ns = (start_ns // span_ns + 1) * span_ns
        piece = clip(block, start_ns=start_ns, end_ns=end_ns)
        if piece is not None:
            yield piece
        start_ns = end_ns


def select(block: WindowBlock, series: NDArray[np.int64]) -> WindowBlock | None:
    """The columns of these series (ascending), or None when the block has none of them."""
    columns = np.flatnonzero(np.isin(block.series, series, assume_unique=True))
    if columns.size == 0:
        return None
    if columns.size == block.series_count:
        return block
    return WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series[columns],
        kind=block.kind[columns],
        value=block.value[:, columns],
        weight=block.weight[:, columns],
        heard=block.heard[:, columns],
    )


def same_layout(left: WindowBlock, right: WindowBlock) -> bool:
    """Whether two blocks have the same series with the same kinds."""
    return np.array_equal(left.series, right.series) and np.array_equal(left.kind, right.kind)


def join_neighbours(blocks: Iterable[WindowBlock]) -> Iterator[WindowBlock]:
    """Blocks in time order, those that touch and have the same series made one."""
    run: list[WindowBlock] = []
    for block in blocks:
        if run and not (run[-1].end_ns == block.start_ns and same_layout(run[-1], block)):
            yield _joined(run)
            run = []
        run.append(block)
    if run:
        yield _joined(run)


def overlay(blocks: Sequence[WindowBlock]) -> WindowBlock:
    """One block over the time and the series of all; where cells meet, the later block's wins.

    A cell that carries nothing wins nothing, see above. Windows and series that no block has are
    unheard and NaN.
    """
    step_ns = blocks[0].step_ns
    start_ns = min(block.start_ns for block in blocks)
    count = (max(block.end_ns for block in blocks) - start_ns) // step_ns
    series = np.unique(np.concatenate([block.series for block in blocks]))
    kind = np.zeros(series.size, dtype=np.int8)
    value = np.full((count, series.size), np.nan, dtype=np.float32)
    weight = np.zeros((count, series.size), dtype=np.float32)
    heard = np.zeros((count, series.size), dtype=np.bool_)
    for block in blocks:
        columns = np.searchsorted(series, block.series)
        rows = np.arange(block.window_count) + (block.start_ns - start_ns) // step_ns
        kind[columns] = block.kind
        carries = block.heard | ~np.isnan(block.value) | (block.weight != 0)
        at = np.ix_(rows, columns)
        value[at] = np.where(carries, block.value, value[at])
        weight[at] = np.where(carries, block.weight, weight[at])
        heard[at] = np.where(carries, block.heard, heard[at])
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=series,
        kind=kind,
        value=value,
        weight=weight,
        heard=heard,
    )


def roll_up(blocks: Sequence[WindowBlock], *, start_ns: int, step_ns: int) -> WindowBlock:
    """The one coarse window that begins at `start_ns`, from the finer windows inside it.

    The value is the median of the finer values that are not NaN: one strange window of thirty must not become
    part of what is normal. Errors are the share of all their calls that failed: on most routes more than half of
    the windows have no failed call, and their median would say that none ever fails. The weight is the
    sum. The source was heard when it was heard in any of them.
    """
    fine = overlay(blocks)
    value = median_over_time(fine.value)
    ratios = np.flatnonzero(np.isin(fine.kind, SHARE_KINDS))
    value[ratios] = pooled_ratio(fine.value[:, ratios], fine.weight[:, ratios])
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=fine.series,
        kind=fine.kind,
        value=value[np.newaxis],
        weight=np.maximum(fine.weight, 0)
        .sum(axis=0, dtype=np.float64)
        .astype(np.float32)[np.newaxis],
        heard=np.logical_or.reduce(fine.heard, axis=0, keepdims=True),
    )


def median_over_time(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median down each column over what is not NaN; NaN where a column has nothing else.

    >>> median_over_time(np.array([[1, np.nan], [4, np.nan], [2, np.nan]], np.float32))
    array([ 2., nan], dtype=float32)
    """
    ordered = np.sort(value, axis=0)  # NaN sorts last
    known = np.count_nonzero(~np.isnan(value), axis=0)
    columns = np.arange(value.shape[1])
    low = ordered[np.maximum(known - 1, 0) // 2, columns].astype(np.float64)
    high = ordered[known // 2, columns]
    result: NDArray[np.float32] = ((low + high) / 2).astype(np.float32)
    return result


def _joined(run: Sequence[WindowBlock]) -> WindowBlock:
    if len(run) == 1:
        return run[0]
    return WindowBlock(
        start_ns=run[0].start_ns,
        step_ns=run[0].step_ns,
        series=run[0].series,
        kind=run[0].kind,
        value=np.concatenate([block.value for block in run]),
        weight=np.concatenate([block.weight for block in run]),
        heard=np.concatenate([block.heard for block in run]),
    )
