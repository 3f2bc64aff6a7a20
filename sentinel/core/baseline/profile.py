"""What is usual at this time of day: the median of the same instant on earlier days and weeks.

For a bin t of the history's grid (5 minutes by default) the profile is the median of the smoothed
history at t - {1, 2, 3, 4, 7, 14, 21, 28} days, of those that exist. Half of the lags are the last
days, half are the last weeks, so neither one odd day nor one odd week moves it; last days that are known
to mislead about this weekday are left out, see `weekdays`. The smoothing is a
running median of three bins, left out for bins wider than 5 minutes. It looks one bin ahead, which is
causal because no lag is shorter than a day. Windows of incidents may be left out, see `quarantine`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.weekdays import misleading
from sentinel.core.model import (
    UTC_HOURS,
    ExpectationBlock,
    LocalHours,
    WindowBlock,
    local_hours_of_text,
)
from sentinel.core.stats.ordering import median_of_rows
from sentinel.core.stats.packing import pack_arrays, unpack_arrays

_Cell = TypeVar("_Cell", np.float32, np.bool_)

BIN_NS = 300_000_000_000
HOUR_NS = 3_600_000_000_000
DAY_NS = 86_400_000_000_000
LAG_DAYS = (1, 2, 3, 4, 7, 14, 21, 28)
HORIZON_NS = 26 * 3_600_000_000_000
"""How far ahead a fit reaches: a day, and two hours in which a failing refit is not felt."""

_FORMAT = 1
HABIT_LAGS = 3
_TILE_CELLS = 1_000_000
"""Of history, worked on at a time: some ten arrays of this size are alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The expectation of some series for the next day.

    Attributes:
        version: number of the fit it came from.
        start_ns: start of the first bin.
        step_ns: width of a bin.
        series: int64[S], ids, ascending.
        grid: float32[B, S], the usual value at the centre of each bin; NaN where nothing is known.
        steps: uint8[B, ceil(S / 8)], bits as `numpy.packbits` puts them: set where the usual value steps after a
            bin, so that nothing is drawn straight to the next. None where no series has one.
        ease: float32[H, S] of each hour from `start_ns` on, in whole bins, at least one: how many times as
            far as on an ordinary day values may be from the usual one, at least 1. None for 1 everywhere.
        clock: that day and week follow; what is learned by hour of day beside this follows it too.
        levels_ns: levels that were adopted by then are in it.
    """

    version: int
    start_ns: int
    step_ns: int
    series: NDArray[np.int64]
    grid: NDArray[np.float32]
    steps: NDArray[np.uint8] | None = None
    ease: NDArray[np.float32] | None = None
    clock: LocalHours = UTC_HOURS
    levels_ns: int = 0

    @property
    def end_ns(self) -> int:
        """End of the last bin."""
        return self.start_ns + len(self.grid) * self.step_ns

    def expectation(self, block: WindowBlock) -> ExpectationBlock:
        """The usual value at the centre of each window of the block, linear between bin centres.

        Where the usual value steps, windows before the middle have the left bin's. Where one of the two bins is unknown the other stands alone. Windows outside the grid and
        series that the profile does not hold are NaN.
        """
        # Positions are counted in half-steps of both grids, so that they stay whole numbers and exact.
        starts_ns = block.start_ns + np.arange(block.window_count, dtype=np.int64) * block.step_ns
        twice_ns = 2 * (starts_ns - self.start_ns) + block.step_ns - self.step_ns
        left = twice_ns // (2 * self.step_ns)
        share = ((twice_ns - left * 2 * self.step_ns) / (2 * self.step_ns))[:, None]
        columns = self._columns(block.series)
        bins, at = self._bins(left, columns)
        # Windows of one bin, such as a live one, share its two rows; taking rows by index copies them.
        first, second = (bins[:1], bins[1:]) if len(bins) == 2 else (bins[at], bins[at + 1])
        expected = (second - first) * share
        expected += first
        if self.steps is not None:
            stepping = _unpacked(self.steps, left, columns, width=len(self.series))
            np.copyto(expected, np.where(share < 0.5, first, second), where=stepping)
        unknown = np.isnan(expected)
        if np.count_nonzero(unknown):
            alone = np.where(np.isnan(first) & (share > 0), second, first)
            expected[unknown] = alone[unknown]
        return ExpectationBlock(
            start_ns=block.start_ns,
            step_ns=block.step_ns,
            series=block.series,
            expected=expected,
            version=self.version,
            ease=self._ease_of(starts_ns, columns),
        )

    def part(self, start_ns: int, end_ns: int) -> Profile:
        """The same expectation, to the bit, for windows within `[start_ns, end_ns)`; arrays are views."""
        # Whole rows of `ease`, and the neighbours that the first and the last window lie between.
        whole = ease_ns(self.step_ns) // self.step_ns
        first = max(0, (start_ns - self.start_ns) // self.step_ns - 1) // whole * whole
        last = min(len(self.grid), max(first + 1, (end_ns - self.start_ns) // self.step_ns + 2))
        first = min(first, last)
        rows = slice(first // whole, -(-last // whole))
        return replace(
            self,
            start_ns=self.start_ns + first * self.step_ns,
            grid=self.grid[first:last],
            steps=None if self.steps is None else self.steps[first:last],
            ease=None if self.ease is None else self.ease[rows],
        )

    def to_bytes(self) -> bytes:
        """The profile as bytes that `from_bytes` reads."""
        facts: dict[str, int | float | str] = {
            "format": _FORMAT,
            "version": self.version,
            "start_ns": self.start_ns,
            "step_ns": self.step_ns,
            "levels_ns": self.levels_ns,
        }
        arrays: dict[str, NDArray[np.generic]] = {"series": self.series, "grid": self.grid}
        if self.steps is not None:
            arrays["steps"] = self.steps.view(np.int8)
        if self.ease is not None:
            arrays["ease"] = self.ease
        if self.clock != UTC_HOURS:
            facts["clock"] = self.clock.to_text()
        return pack_arrays(arrays, facts)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Profile:
        """A profile that looks into bytes; ValueError when they are damaged or of another format."""
        arrays, facts = unpack_arrays(data)
        if facts.get("format") != _FORMAT:
            msg = f"a profile of format {facts.get('format')} cannot be read"
            raise ValueError(msg)
        return cls(
            version=int(facts["version"]),
            start_ns=int(facts["start_ns"]),
            step_ns=int(facts["step_ns"]),
            series=arrays["series"].astype(np.int64),
            grid=arrays["grid"].astype(np.float32, copy=False),
            steps=arrays["steps"].view(np.uint8) if "steps" in arrays else None,
            ease=arrays["ease"].astype(np.float32, copy=False) if "ease" in arrays else None,
            clock=local_hours_of_text(str(facts.get("clock", "0"))),
            levels_ns=int(facts.get("levels_ns", 0)),
        )

    def copied(self) -> Profile:
        """The same in memory of its own; what it was read from can be let go."""
        steps = None if self.steps is None else self.steps.copy()
        ease = None if self.ease is None else self.ease.copy()
        return replace(self, grid=self.grid.copy(), steps=steps, ease=ease)

    def _ease_of(
        self, starts_ns: NDArray[np.int64], columns: NDArray[np.intp] | None
    ) -> NDArray[np.float32] | None:
        """float32[T, S]; 1 outside the grid and for series that it does not hold, None where all of it is 1."""
        if self.ease is None:
            return None
        row = (starts_ns - self.start_ns) // ease_ns(self.step_ns)
        inside = (row >= 0) & (row < len(self.ease))
        ease = self.ease[np.where(inside, row, 0)]
        ease[~inside] = 1
        if columns is not None:
            ease = np.where(columns >= 0, ease[:, columns], np.float32(1))
        return ease if np.any(ease != 1) else None

    def _columns(self, series: NDArray[np.int64]) -> NDArray[np.intp] | None:
        """Columns of the grid by series, -1 for those it does not hold; None when they are the grid's own."""
        if np.array_equal(series, self.series):
            return None
        columns = np.full(len(series), -1, np.intp)
        _, theirs, mine = np.intersect1d(
            series, self.series, assume_unique=True, return_indices=True
        )
        columns[theirs] = mine
        return columns

    def _bins(
        self, left: NDArray[np.int64], columns: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """The run of bins that the windows lie between, float64, and where in it each window's left one is.

        Bins outside the grid are NaN.
        """
        lowest, highest = int(left[0]), int(left[-1]) + 1
        low, high = max(lowest, 0), min(highest + 1, len(self.grid))
        width = len(self.series) if columns is None else len(columns)
        whole = columns is None and (low, high) == (lowest, highest + 1)
        if whole:
            bins = self.grid[low:high].astype(np.float64)
        else:
            bins = np.full((highest + 1 - lowest, width), np.nan)
            held = np.arange(width) if columns is None else np.flatnonzero(columns >= 0)
            source = held if columns is None else columns[held]
            if low < high:
                bins[low - lowest : high - lowest, held] = self.grid[low:high, source]
        return bins, (left - lowest).astype(np.intp)


def ease_ns(step_ns: int) -> int:
    """Width of a row of `Profile.ease`: the whole bins of an hour, or one bin."""
    return max(1, HOUR_NS // step_ns) * step_ns


def _unpacked(
    steps: NDArray[np.uint8],
    left: NDArray[np.int64],
    columns: NDArray[np.intp] | None,
    *,
    width: int,
) -> NDArray[np.bool_]:
    """Whether the value steps after each of the bins `left`, bool[T, S]; False outside the grid."""
    inside = (left >= 0) & (left < len(steps))
    rows = steps[np.where(inside, left, 0)]
    found = np.unpackbits(rows, axis=1, count=width).view(np.bool_)
    found &= inside[:, None]
    return found if columns is None else found[:, columns] & (columns >= 0)


def fit_profile(
    history: WindowBlock,
    *,
    at_ns: int,
    version: int,
    horizon_ns: int = HORIZON_NS,
    left_out: NDArray[np.bool_] | None = None,
) -> Profile:
    """The profile for `[at_ns, at_ns + horizon_ns)` from the windows of `history` that ended by `at_ns`.

    Args:
        history: windows of the past on one grid; 28 days of them are used.
        at_ns: the instant up to which the past is known; rounded down to the history's grid.
        version: number given to the profile.
        horizon_ns: how far ahead it reaches.
        left_out: bool[T, S], windows of the history that are not to be learnt; None for none. Where the same time was
            left out on half of the lags that are asked, from 2 to `HABIT_LAGS` of them, it is a habit and learnt all the same.
    """
    step_ns = history.step_ns
    start_ns = at_ns - at_ns % step_ns
    known = int(np.clip((start_ns - history.start_ns) // step_ns, 0, history.window_count))
    oldest = max(0, (start_ns - LAG_DAYS[-1] * DAY_NS - history.start_ns) // step_ns - 1)
    offset = (start_ns - history.start_ns) // step_ns - oldest
    bin_count = -(-horizon_ns // step_ns)
    series_count = history.series_count
    grid = np.full((bin_count, series_count), np.nan, np.float32)
    width = tile_width(max(known - oldest, 0) + bin_count)
    for first in range(0, series_count, width):
        tile = slice(first, first + width)
        past = smoothed(history.value[oldest:known, tile], step_ns=step_ns)
        rows = lag_rows(
            past, np.float32(np.nan), offset=offset, bin_count=bin_count, step_ns=step_ns
        )
        if DAY_NS % step_ns == 0:
            wrong = misleading(
                past,
                offset=offset,
                bin_count=bin_count,
                per_day=DAY_NS // step_ns,
                lag_days=LAG_DAYS,
            )
            rows[wrong] = np.nan
        if left_out is not None and (marked := left_out[oldest:known, tile]).any():
            out = lag_rows(
                _spread(marked), np.False_, offset=offset, bin_count=bin_count, step_ns=step_ns
            )
            # Of lags that are asked: a habit of Saturdays shows on no more than four of them.
            asked = np.isfinite(rows)
            out &= asked
            out &= out.sum(axis=0) < np.minimum(
                HABIT_LAGS, np.maximum(2, (asked.sum(axis=0) + 1) // 2)
            )
            rows[out] = np.nan
        grid[:, tile] = median_of_rows(rows)[0]
    return Profile(
        version=version, start_ns=start_ns, step_ns=step_ns, series=history.series, grid=grid
    )


def smoothed(value: NDArray[np.float32], *, step_ns: int) -> NDArray[np.float32]:
    """The centred running median of three down axis 0; wider steps than 5 minutes are left as they are.

    A series begins where its first value is, wherever the block does.
    """
    if step_ns > BIN_NS or value.shape[0] < 2:
        return value
    found = np.empty_like(value, dtype=np.float32)
    found[1:-1] = median_of_rows([value[:-2], value[1:-1], value[2:]])[0]
    # The first and the last have a neighbour on one side only.
    found[[0, -1]] = median_of_rows(np.stack([value[[0, -2]], value[[1, -1]]]))[0]
    late = np.flatnonzero(np.isnan(value[0]))
    if late.size:
        first = np.isfinite(value[:, late]).argmax(axis=0)
        found[np.maximum(first - 1, 0), late] = np.nan
    return found


def tile_width(row_count: int) -> int:
    """How many series are worked on at a time, of so many bins each."""
    return max(1, _TILE_CELLS // row_count)


def _spread(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The marked bins and those beside them, into which the smoothing has carried some of what they hold."""
    found = marked.copy()
    found[1:] |= marked[:-1]
    found[:-1] |= marked[1:]
    return found


def lag_rows(
    past: NDArray[_Cell], fill: _Cell, *, offset: int, bin_count: int, step_ns: int
) -> NDArray[_Cell]:
    """Rows [lags, B, S] for the bins `offset ... offset + bin_count` counted from past's first row; `fill` where there are none."""
    rows = np.full((len(LAG_DAYS), bin_count, past.shape[1]), fill, past.dtype)
    for row, days in zip(rows, LAG_DAYS, strict=True):
        first = offset - days * DAY_NS // step_ns
        low, high = max(first, 0), min(first + bin_count, past.shape[0])
        if low < high:
            row[low - first : high - first] = past[low:high]
    return rows
