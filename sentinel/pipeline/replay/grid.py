"""Series of the past on the grid of their own step, each service on a time line of its own.

Series that say what they are share one time line with true dates, as they would in one sidecar, as long as no gap is shortened. Of others dates are shifted by
whole weeks so that all time lines begin together; the time of day and the weekday stay true. A gap longer than
`GAP_MAX_DAYS` is shortened to about that, by whole weeks: nothing before it can be among the lags that are compared
with after it, and all that a detector remembers of a moment is gone long before. So the pages are those of a source
that was silent for the whole gap, and a first row of 1970 costs a month and not half a century of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS
from sentinel.core.model import SHARE_KINDS, Kind, SeriesKey, WindowBlock, kind_of_signal
from sentinel.core.stats.ordering import median_of_rows
from sentinel.core.stats.ratios import pooled_ratio
from sentinel.errors import InputTooLargeError, MalformedInputError

DAY_NS = 86_400_000_000_000
WEEK_NS = 7 * DAY_NS
GAP_MAX_DAYS = 35
"""More than the 28 days of the longest lag, and a whole number of weeks."""

DATED_GAP_MAX_DAYS = 400
"""As much as special days are learned from. With dates that count a gap takes the windows that it lasts."""

_PLAIN_FIRST_DAY = 6
"""The 7th of January 1970 was a Wednesday, and whole weeks since that year began are counted from Thursdays."""

_BATCH_SERIES = 256
_CELLS_MAX = 100_000_000
_SECOND_NS = 1_000_000_000
_UNKNOWN_CALLS = 1e6
"""A plain series does not say how many calls stand behind a value; it is taken to be enough."""


def lives_through(step_ns: int) -> bool:
    """Whether a sidecar learns from windows of this width: they add up to the five minutes of its history."""
    return BIN_NS % step_ns == 0


def snapped(step_ns: int) -> int:
    """A width of windows in whole seconds: that of a sidecar, five minutes or a part of them, where it lies within a hundredth.

    >>> snapped(60_003_000_000), snapped(299_000_000_000), snapped(61_000_000_000), snapped(5)
    (60000000000, 300000000000, 61000000000, 1000000000)
    """
    widths = filter(lives_through, range(_SECOND_NS, BIN_NS + 1, _SECOND_NS))
    nearest = min(widths, key=lambda width: abs(width - step_ns))
    if abs(nearest - step_ns) * 100 <= nearest:
        return nearest
    return max(1, round(step_ns / _SECOND_NS)) * _SECOND_NS


def by_width(series: Sequence[PlainSeries]) -> dict[int, list[PlainSeries]]:
    """The series by the width of their windows, in their order; those with fewer than two rows left out.

    Series of a service that say what they are have one width, its finest: a row that is missing now and then is no other width.
    """
    long_enough = [one for one in series if one.time_ns.size >= 2]
    of_service: dict[str, int] = {}
    for one in long_enough:
        if one.key is not None:
            step_ns = min(one.step_ns, of_service.get(one.key.service, one.step_ns))
            of_service[one.key.service] = step_ns
    found: dict[int, list[PlainSeries]] = {}
    for one in long_enough:
        step_ns = one.step_ns if one.key is None else of_service[one.key.service]
        found.setdefault(step_ns, []).append(one)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSeries:
    """One series of the past.

    Attributes:
        name: what its pages are told apart by.
        time_ns: int64[n], ascending.
        value: float64[n]; NaN where missing.
        weight: float64[n], calls behind each value, NaN where unknown; None when none is known.
        key: its place and signal, where that is known; series of one service share incidents. Without it
            the series is a service of its own.
        width_ns: how wide its windows are, where that is known; 0 where its rows have to tell.
    """

    name: str
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None
    key: SeriesKey | None = None
    width_ns: int = 0

    @property
    def step_ns(self) -> int:
        """Its width, or the median step, at least a second; one that a scrape meets but for a hundredth is met."""
        return self.width_ns or snapped(int(np.median(np.diff(self.time_ns))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series and where its samples lie on the shared grid: int64[n], ascending."""

    series: PlainSeries
    window: NDArray[np.int64]

    def instant_s(self, window: int, step_ns: int) -> float:
        """Instant of the sample in a window; where there is none, of the window's start."""
        at = int(np.searchsorted(self.window, window, side="right")) - 1
        here = max(at, 0)
        missing = (window - int(self.window[here])) * step_ns
        return (int(self.series.time_ns[here]) + missing) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Series that share a time line, and incidents.

    Attributes:
        lines: the series.
        first_day: day since 1970-01-01 on which its time line begins; that of all where dates are not kept.
        is_named: the series say what they are, and of which service.
    """

    lines: tuple[Line, ...]
    first_day: int
    is_named: bool = False

    @property
    def first_window(self) -> int:
        """The first window that has a row."""
        return min(int(line.window[0]) for line in self.lines)

    @property
    def window_count(self) -> int:
        """From the grid's begin to the last sample."""
        return max(int(line.window[-1]) for line in self.lines) + 1

    @property
    def cell_count(self) -> int:
        """Windows of all its series."""
        return self.window_count * len(self.lines)


def on_grid(group: Sequence[PlainSeries], step_ns: int, *, keeps_dates: bool = False) -> Service:
    """Series of one step on one time line with its long gaps shortened: of one service, or all that say what they are.

    Series that say what they are keep their dates up to the first gap that is shortened. Where dates count no gap is.

    Raises:
        InputTooLargeError: they have too many windows also then.
        MalformedInputError: dates count, and a gap is longer than `DATED_GAP_MAX_DAYS`.
    """
    is_named = group[0].key is not None
    origin_ns = min(int(one.time_ns[0]) for one in group)
    begin_ns = origin_ns - origin_ns % DAY_NS
    if not (keeps_dates or is_named):
        # With a day before the first row, so that no series has less of a history than those beside it.
        begin_ns = origin_ns - origin_ns % WEEK_NS - DAY_NS
    # Counted from the first row, so that rows which all come a few seconds late lie in windows of their own.
    before = (origin_ns - begin_ns) // step_ns
    windows = [before + _steps_after(origin_ns, one.time_ns, step_ns) for one in group]
    seen = windows[0] if len(windows) == 1 else np.unique(np.concatenate(windows))
    weeks = (np.diff(seen) * step_ns // DAY_NS - GAP_MAX_DAYS) // 7
    if keeps_dates:
        _check_gaps(group[0].name, origin_ns + (seen - before) * step_ns)
        weeks[:] = 0
    shorter = np.cumsum(np.where(weeks > 0, weeks * WEEK_NS // step_ns, 0))
    earlier = np.concatenate([[0], shorter]).astype(np.int64)
    service = Service(
        lines=tuple(
            Line(series=one, window=window - earlier[np.searchsorted(seen, window)])
            for one, window in zip(group, windows, strict=True)
        ),
        first_day=begin_ns // DAY_NS if keeps_dates or is_named else _PLAIN_FIRST_DAY,
        is_named=is_named,
    )
    if service.cell_count > _CELLS_MAX:
        msg = (
            f"{group[0].name}: from its first row to its last there are {service.window_count} windows "
            f"of {step_ns / 1e9:g} s, gaps shortened; that is too many"
        )
        raise InputTooLargeError(
            msg, size_bytes=4 * service.cell_count, limit_bytes=4 * _CELLS_MAX
        )
    return service


def _steps_after(origin_ns: int, time_ns: NDArray[np.int64], step_ns: int) -> NDArray[np.int64]:
    """The step from `origin_ns` on that each row lies in, int64[n], ascending from 0.

    Rows of a scrape come now a second early and now a second late. So each step is taken round where most rows lie in it,
    and not from where the first one happens to lie.
    """
    half = step_ns // 2
    after = time_ns - origin_ns
    usual = int(np.median((after + half) % step_ns)) - half
    return np.asarray(np.maximum((after - usual + half) // step_ns, 0), np.int64)


def in_sidecars(
    group: Sequence[PlainSeries], step_ns: int, *, keeps_dates: bool = False
) -> list[Service]:
    """Series that say what they are on one time line, in their order; services on more only where one has too many windows.

    Raises:
        InputTooLargeError: already a single service has too many.
        MalformedInputError: as `on_grid`.
    """
    if not group:
        return []
    services = list(dict.fromkeys(one.key.service for one in group if one.key is not None))
    try:
        return [on_grid(group, step_ns, keeps_dates=keeps_dates)]
    except InputTooLargeError:
        if len(services) == 1:
            raise
    first = frozenset(services[: len(services) // 2])
    halves = (
        [one for one in group if (one.key is not None and one.key.service in first) is wanted]
        for wanted in (True, False)
    )
    return [
        part for half in halves for part in in_sidecars(half, step_ns, keeps_dates=keeps_dates)
    ]


def _check_gaps(name: str, at_ns: NDArray[np.int64]) -> None:
    gaps_ns = np.diff(at_ns)
    if not gaps_ns.size or gaps_ns.max() <= DATED_GAP_MAX_DAYS * DAY_NS:
        return
    last = int(np.argmax(gaps_ns))
    before, after = (
        np.datetime64(int(one), "ns").astype("datetime64[D]") for one in at_ns[last : last + 2]
    )
    msg = (
        f"{name}: there is nothing from {before} to {after}; with a calendar, where dates count, a gap may last "
        f"{DATED_GAP_MAX_DAYS} days: leave out the rows before it"
    )
    raise MalformedInputError(msg)


def batches(services: Sequence[Service]) -> Iterator[list[Service]]:
    """Services that are replayed together: of one first day, and of like length, so that short ones are not padded much."""
    batch: list[Service] = []
    series_count = 0
    for service in sorted(services, key=lambda one: (one.first_day, one.window_count)):
        if batch and batch[0].first_day != service.first_day:
            yield batch
            batch, series_count = [], 0
        series_count += len(service.lines)
        full = series_count > _BATCH_SERIES or series_count * service.window_count > _CELLS_MAX
        if batch and full:
            yield batch
            batch, series_count = [], len(service.lines)
        batch.append(service)
    if batch:
        yield batch


def kind_of(series: PlainSeries, otherwise: Kind) -> Kind:
    """The kind that its signal says, or `otherwise` where no signal is known."""
    return otherwise if series.key is None else kind_of_signal(series.key.signal)


def block_of(lines: Sequence[Line], step_ns: int, kind: Kind, *, start_ns: int = 0) -> WindowBlock:
    """All series on one grid that begins at `start_ns`; where two samples share a window the later one counts.

    Where nothing is known of sources, all are heard all the time.
    """
    window_count = max(int(line.window[-1]) for line in lines) + 1
    value = np.full((window_count, len(lines)), np.nan, np.float32)
    weight = np.full(value.shape, _UNKNOWN_CALLS, np.float32)
    with np.errstate(over="ignore"):
        for at, line in enumerate(lines):
            value[line.window, at] = line.series.value
            if line.series.weight is not None:
                known = np.isfinite(line.series.weight)
                weight[line.window[known], at] = line.series.weight[known]
    # What float32 cannot hold is missing, as it would be when live.
    value[~np.isfinite(value)] = np.nan
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.arange(1, len(lines) + 1),
        kind=np.array([kind_of(line.series, kind) for line in lines], np.int8),
        value=value,
        weight=weight,
        heard=np.ones(value.shape, np.bool_),
    )


def coarse(block: WindowBlock) -> WindowBlock:
    """The block's windows in bins of about 5 minutes, reduced as history is stored: medians, and shares of all calls."""
    count = max(1, -(-BIN_NS // block.step_ns))
    # The windows begin at midnight where a day is a whole number of them; so must the bins.
    while DAY_NS % block.step_ns == 0 and DAY_NS % (block.step_ns * count):
        count -= 1
    if count == 1:
        return block
    bins = block.window_count // count
    shape = (bins, count, block.series_count)
    rows = block.value[: bins * count].reshape(shape).transpose(1, 0, 2)
    value = np.asarray(median_of_rows(rows.copy())[0], dtype=np.float32)
    calls = block.weight[: bins * count].reshape(shape).transpose(1, 0, 2)
    ratios = np.flatnonzero(np.isin(block.kind, SHARE_KINDS))
    value[:, ratios] = pooled_ratio(rows[:, :, ratios], calls[:, :, ratios])
    return WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns * count,
        series=block.series,
        kind=block.kind,
        value=value,
        weight=calls.sum(axis=0, dtype=np.float64).astype(np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
