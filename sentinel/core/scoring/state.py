"""What the detector remembers: columns, one row a series.

About 1.7 KB a series. `score` reads it, `learn` changes it in place, `hour_end` renews what varies
slowly. A caller that must be able to step back keeps `to_bytes()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import HORIZONS_S, UTC_HOURS, LocalHours, local_hours_of_text
from sentinel.core.scoring.asked import Asked
from sentinel.core.scoring.demands import Demands
from sentinel.core.scoring.settings import HOUR_NS, Grid, ScoringSettings
from sentinel.core.scoring.yielding import Pairs
from sentinel.core.stats.packing import packed_pieces, unpack_arrays

VIEWS = 2
SIDES = 2
HOURS = 24
BIN_COUNT = 60
HORIZON_SUMS = 4
HORIZON_COLUMNS = 6
MEMORY_DAYS = 14
ADOPTED_MAX = 3
"""Levels of a series that were adopted lately and are remembered."""

_FORMAT = 4
_Floats = NDArray[np.float64]
_Halves = NDArray[np.float32]
_Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hourly:
    """What scoring needs of the state and stays the same until the hour ends.

    Attributes:
        kind: int8[S], the kinds that the rules below belong to.
        settings, demands: what else they were worked out from.
        ratio: float32[2, S], spread of this hour against the mean over all hours, for each view.
        ratio_step: float32[2, 2, S], what the hour before and the hour after add to it.
        scale: float32[2, S], spread of each view with what is borrowed widened; NaN where not ready.
        borrowing: whether any scale is borrowed.
        spread_limit, hour_limit: float32[2, 1, S], what a deviation counts for at most.
        level_limit: float32[S], how far a residual may lie from the level to count in full.
        floor: float32[S], what is added to every scale.
        gain: float32[S], below 1 for series that are mostly zero.
        mean: float32[S], what shifts are counted from.
        need: float32[2, S], the cut of each side.
        need_single: float32[2, S], the same for an excess of one window alone.
        need_least: the cut of a series whose own threshold is not raised.
        above_extra, below_extra: float32[S], infinite where no value on that side can be strange, else 0.
        lowest_middle, highest_middle: float32[S], how far from the profile, in widths, the middle may lie.
        one_sided: whether that is bounded for any series.
        deviation_min, deviation_ratio_min, weight_min, excess_calls_min: float32[S], see `KindRule`.
        count_noise: float32[S], variance of counting for a value of 1; 0 for what is not counted.
        counted: whether any series is.
        counts: bool[S], which; None when there are none.
        count_mean: float32[S], of each of them the mean value, NaN where nothing was counted yet; 1 for others.
        ratios: columns of the series that are shares of calls; None when there are none.
        share_noise: float32[S], 1 for shares of calls, 0 for others.
        weighted: bool[S], series whose mean over windows is weighted with their calls; None when there are none.
        value_min, value_max: float32[S], see `KindRule`.
        bounded: whether values of any series are.
        recent_held: bool[S], see `KindRule`; not before a borrowed scale may be used.
    """

    kind: NDArray[np.int8]
    settings: ScoringSettings
    demands: Demands | None
    ratio: _Halves
    ratio_step: _Halves
    scale: _Halves
    borrowing: bool
    spread_limit: _Halves
    hour_limit: _Halves
    level_limit: _Halves
    floor: _Halves
    gain: _Halves
    mean: _Halves
    need: _Halves
    need_single: _Halves
    need_least: np.float32
    above_extra: _Halves
    below_extra: _Halves
    lowest_middle: _Halves
    highest_middle: _Halves
    one_sided: bool
    deviation_min: _Halves
    deviation_ratio_min: _Halves
    weight_min: _Halves
    excess_calls_min: _Halves
    count_noise: _Halves
    counted: bool
    counts: NDArray[np.bool_] | None
    count_mean: _Halves
    ratios: NDArray[np.intp] | None
    share_noise: _Halves
    weighted: NDArray[np.bool_] | None
    value_min: _Halves
    value_max: _Halves
    bounded: bool
    recent_held: NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class DetectorState:
    """Everything learned about S series on one grid. The last axis of every array is the series.

    Two views compare a window with what is expected: view 0 with the profile corrected by the recent
    level, view 1 with the profile's move since the last windows. Side 0 is above, side 1 below.

    Attributes:
        step_ns: width of a window.
        next_ns: start of the window that comes next, 0 before the first.
        hour: number of the hour (since 1970, UTC) that the hour sums belong to.
        clock: by which the hours of the day are numbered; see `follow_clock`.
        series: ids, ascending.
        level: recent level of the residual (value - profile); NaN before the first.
        recent: the last residuals, window number n in row n % w; NaN where missing.
        previous: statistic of the last window; NaN where missing.
        scale: spread of each view, time of day taken out; NaN before there is one.
        widening: what a scale borrowed from coarser history is multiplied by, 1 for an own scale.
        borrowed: windows seen since a scale was borrowed, -1 for an own scale.
        day_square, day_filled: mean squares of the last days, newest at (filled - 1) % 14.
        block_square, block_count: sums of the present day.
        run_square, run_count: sums since the beginning.
        hour_abs, hour_abs_count: mean absolute deviation of each hour of the local day and its windows.
        all_abs, all_abs_count: mean absolute deviation over all hours and its windows.
        now_square, now_abs, now_count: sums of the present hour: squared deviations with time of day taken
            out, absolute deviations, and the windows of both.
        mean, magnitude, variance, active, seen: running moments of the value, the share of windows
            that are not zero, and the windows behind them.
        now_shift, now_shift_square, now_magnitude, now_active, now_seen: sums of the present hour;
            shifts are from `mean`.
        peaks: histogram of the peaks of own excursions, decayed.
        weeks: decayed weeks behind `peaks`.
        peak, last_over: highest statistic of the open excursion, and the number of its latest window
            (-1 when none is open).
        cut: own threshold of each side.
        shifted, shifted_square: where the level would be had it not stood still, and the mean square of what
            residuals differ from it; of those that stand still, NaN before the first. Of others, the level that was
            adopted until it went back, NaN when none was.
        held_value, held_usual, held_square: of series that stand still and whose changes multiply: means of the value
            and of the profile, and mean square of what values differ from the profile times the ratio of both, time
            of day taken out; NaN before the first.
        adopted_from, adopted_at, adopted_left, adopted_ratio: see `AdoptedLevels`; instants in ns.
        adopted_spread: what the spread of each view was multiplied by for the newest of them.
        frozen_from: number of the window since which learning stands still, -1 when it does not.
        gathered_calls, gathered_failed: of a ratio: the calls that it was last judged by, and how many failed.
        gathered_at: number of the last window that had calls, -1 before the first.
        gathered_gap: windows from one with calls to the next, on the mean of the last few.
        return_level: level of the residual before the last incident opened.
        return_side: side that incident was on, +1 or -1; 0 for none.
        return_until: number of the last window in which coming back from it is no news.
        demands: what single series are asked for, put there before windows are scored; None for nothing.
        pairs: which series are the quantile and the share of slow calls of one place; None where no share is.
        now_horizon: sums of the present window of each horizon: weighted residuals and values, weights, windows.
        horizon_level: level of the residual that a horizon is compared with; NaN before the first.
        horizon_scale: spread of the horizon round it, time of day taken out; NaN before there is one.
        horizon_block: sum and number of the squares of the present day.
        horizon_day, horizon_filled: mean squares of the last days, newest at (filled - 1) % 14.
        horizon_verdict: value, weight, expected, lower, upper and score of the last window of each horizon; NaN
            where it says nothing. Never changed in place, because pages look at it while they are written.
        asked: what the series are asked for, of the last settings and kinds that were looked at; None before.
        hourly: what follows from the columns for the present hour; made again when it is None.
    """

    step_ns: int
    next_ns: int
    hour: int
    clock: LocalHours = UTC_HOURS
    series: _Longs
    level: _Halves
    recent: _Halves
    previous: _Halves
    scale: _Floats
    widening: _Floats
    borrowed: _Longs
    day_square: _Halves
    day_filled: _Longs
    block_square: _Floats
    block_count: _Floats
    run_square: _Floats
    run_count: _Floats
    hour_abs: _Halves
    hour_abs_count: _Halves
    all_abs: _Floats
    all_abs_count: _Floats
    now_square: _Halves
    now_abs: _Halves
    now_count: _Halves
    mean: _Floats
    magnitude: _Floats
    variance: _Floats
    active: _Floats
    seen: _Floats
    now_shift: _Halves
    now_shift_square: _Halves
    now_magnitude: _Halves
    now_active: _Halves
    now_seen: _Halves
    peaks: _Halves
    weeks: _Floats
    peak: _Halves
    last_over: _Longs
    cut: _Floats
    shifted: _Halves
    shifted_square: _Halves
    held_value: _Halves
    held_usual: _Halves
    held_square: _Halves
    adopted_from: _Longs
    adopted_at: _Longs
    adopted_left: _Longs
    adopted_ratio: _Halves
    adopted_spread: _Halves
    frozen_from: _Longs
    gathered_calls: _Halves
    gathered_failed: _Halves
    gathered_at: _Longs
    gathered_gap: _Halves
    return_level: _Halves
    return_side: NDArray[np.int8]
    return_until: _Longs
    demands: Demands | None = field(default=None, compare=False, repr=False)
    pairs: Pairs | None = field(default=None, compare=False, repr=False)
    now_horizon: _Halves
    horizon_level: _Halves
    horizon_scale: _Halves
    horizon_block: _Halves
    horizon_day: _Halves
    horizon_filled: NDArray[np.int16]
    horizon_verdict: _Halves
    asked: Asked | None = field(default=None, compare=False, repr=False)
    hourly: Hourly | None = field(default=None, compare=False, repr=False)

    @property
    def series_count(self) -> int:
        """How many series are known."""
        return len(self.series)

    @property
    def grid(self) -> Grid:
        """What follows from the step."""
        return Grid(step_ns=self.step_ns)

    def ready(self) -> NDArray[np.bool_]:
        """Series whose spread is known, so that a window of theirs can be judged."""
        known: NDArray[np.bool_] = np.isfinite(self.scale[0]) & np.isfinite(self.level)
        return known

    def to_bytes(self) -> bytes:
        """The state as bytes that `state_from_bytes` reads; the same state gives the same bytes."""
        return b"".join(self.pieces())

    def pieces(self) -> list[bytes | memoryview]:
        """The bytes of `to_bytes` in pieces that look into the columns, to be joined before those change."""
        facts: dict[str, int | float | str] = {
            "format": _FORMAT,
            "step_ns": self.step_ns,
            "next_ns": self.next_ns,
            "hour": self.hour,
        }
        if self.clock != UTC_HOURS:
            facts["clock"] = self.clock.to_text()
        return packed_pieces({name: getattr(self, name) for name in COLUMNS}, facts)


_NOT_COLUMNS = {"step_ns", "next_ns", "hour", "clock", "demands", "pairs", "asked", "hourly"}
COLUMNS = tuple(entry.name for entry in fields(DetectorState) if entry.name not in _NOT_COLUMNS)


def new_state(series: _Longs, *, step_ns: int, base_cut: float) -> DetectorState:
    """A state that knows nothing of these series."""
    count = len(series)
    grid = Grid(step_ns=step_ns)

    def zeros(*shape: int) -> _Floats:
        return np.zeros((*shape, count))

    def halves(*shape: int) -> _Halves:
        return np.zeros((*shape, count), np.float32)

    def unknown(*shape: int) -> _Halves:
        return np.full((*shape, count), np.nan, np.float32)

    return DetectorState(
        step_ns=step_ns,
        next_ns=0,
        hour=0,
        series=series.astype(np.int64),
        level=np.full(count, np.nan, np.float32),
        recent=np.full((grid.recent_count, count), np.nan, np.float32),
        previous=np.full(count, np.nan, np.float32),
        scale=np.full((VIEWS, count), np.nan),
        widening=np.ones((VIEWS, count)),
        borrowed=np.full(count, -1, np.int64),
        day_square=halves(VIEWS, MEMORY_DAYS),
        day_filled=np.zeros(count, np.int64),
        block_square=zeros(VIEWS),
        block_count=zeros(),
        run_square=zeros(VIEWS),
        run_count=zeros(),
        hour_abs=halves(VIEWS, HOURS),
        hour_abs_count=halves(HOURS),
        all_abs=zeros(VIEWS),
        all_abs_count=zeros(),
        now_square=halves(VIEWS),
        now_abs=halves(VIEWS),
        now_count=halves(),
        mean=zeros(),
        magnitude=zeros(),
        variance=zeros(),
        active=np.ones(count),
        seen=zeros(),
        now_shift=halves(),
        now_shift_square=halves(),
        now_magnitude=halves(),
        now_active=halves(),
        now_seen=halves(),
        peaks=halves(SIDES, BIN_COUNT),
        weeks=zeros(),
        peak=halves(SIDES),
        last_over=np.full((SIDES, count), -1, np.int64),
        cut=np.full((SIDES, count), base_cut),
        shifted=np.full(count, np.nan, np.float32),
        shifted_square=halves(),
        held_value=unknown(),
        held_usual=unknown(),
        held_square=halves(),
        adopted_from=np.zeros((ADOPTED_MAX, count), np.int64),
        adopted_at=np.zeros((ADOPTED_MAX, count), np.int64),
        adopted_left=np.zeros((ADOPTED_MAX, count), np.int64),
        adopted_ratio=np.ones((ADOPTED_MAX, count), np.float32),
        adopted_spread=np.ones((VIEWS, count), np.float32),
        frozen_from=np.full(count, -1, np.int64),
        gathered_calls=halves(),
        gathered_failed=halves(),
        gathered_at=np.full(count, -1, np.int64),
        gathered_gap=np.ones(count, np.float32),
        return_level=halves(),
        return_side=np.zeros(count, np.int8),
        return_until=np.full(count, -1, np.int64),
        now_horizon=halves(len(HORIZONS_S), HORIZON_SUMS),
        horizon_level=unknown(len(HORIZONS_S)),
        horizon_scale=unknown(len(HORIZONS_S)),
        horizon_block=halves(len(HORIZONS_S), 2),
        horizon_day=halves(len(HORIZONS_S), MEMORY_DAYS),
        horizon_filled=np.zeros((len(HORIZONS_S), count), np.int16),
        horizon_verdict=unknown(len(HORIZONS_S), HORIZON_COLUMNS),
    )


def state_from_bytes(
    data: bytes | bytearray | memoryview, *, read_only: bool = False
) -> DetectorState:
    """A state from bytes; ValueError when they are damaged or of another format.

    With `read_only` its columns look into `data` and cannot be changed: enough to copy rows from.
    """
    arrays, facts = unpack_arrays(data)
    if facts.get("format") != _FORMAT or set(arrays) != set(COLUMNS):
        msg = f"a detector state of format {facts.get('format')} cannot be read"
        raise ValueError(msg)
    columns: dict[str, Any] = arrays if read_only else {}
    for name in () if read_only else COLUMNS:
        columns[name] = arrays.pop(name).copy()
    return DetectorState(
        step_ns=int(facts["step_ns"]),
        next_ns=int(facts["next_ns"]),
        hour=int(facts["hour"]),
        clock=local_hours_of_text(str(facts.get("clock", "0"))),
        **columns,
    )


def hour_of(time_ns: int) -> int:
    """Number of the UTC hour of an instant."""
    return time_ns // HOUR_NS
