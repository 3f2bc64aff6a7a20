"""What scraped streams come to, by series: most straight into their slots, an array at a time.

A series that is known and that one stream alone tells of goes by its slot. All others go by their names, with what came as
points: new ones, whose slots are given in the order of their names, and those that several streams share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    DistributionPoint,
    Reading,
    ScrapedColumns,
    SeriesKey,
    StreamTable,
    Temporality,
)
from sentinel.core.series.call_sources.stage_calls import Gain
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.gauges import LATENCY_QUANTILE, Gauges, GaugeValues
from sentinel.core.series.live import LiveNames
from sentinel.core.series.open_window import keys_of
from sentinel.core.series.scraped.gains import ScrapedGains
from sentinel.core.series.streams import Increase
from sentinel.core.stats import log_linear

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NO_BUCKETS = np.empty(0, np.int16)
_NO_COUNTS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapedCalls:
    """The histograms of calls among scraped streams.

    Attributes:
        told: those that were told of; their points carry names and time alone.
        gains: what they gained.
    """

    told: tuple[DistributionPoint, ...]
    gains: tuple[Gain, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Values of one table's streams; `level` says whether they are averaged or added up where they share a series."""

    table: StreamTable
    stream: Ints
    slot: Ints
    value: Floats
    weight: Ints
    level: bool


@dataclass(frozen=True, slots=True)
class _HistogramRows:
    table: StreamTable
    stream: Ints
    slot: Ints
    weight: Ints
    offset: Ints
    bucket: log_linear.Buckets
    count: log_linear.Counts


class ScrapedGauges:
    """Knows the slots of the streams of every target."""

    def __init__(self, live: LiveNames) -> None:
        self._live = live
        self._names: dict[str, _Names] = {}

    def put(
        self,
        gains: Sequence[ScrapedGains],
        gauges: Gauges,
        counts: SeriesCounts,
        *,
        calls_count: bool,
        telling: Collection[str],
    ) -> GaugeValues:
        """Put what goes by its name into `gauges`, and give back what goes by its slot.

        `calls_count` says whether histograms of calls are something else than gauges; `telling` are services whose complete
        logs tell what their streams may tell as well.
        """
        rows: list[_Rows] = []
        histograms: list[_HistogramRows] = []
        for own in gains:
            self._gather(own, rows, histograms, counts, calls_count=calls_count, telling=telling)
        # A slot that is told of twice, or by points as well, is a series of several.
        told = np.zeros(self._live.gauges.width + 1, np.int64)
        for slot in (*(each.slot for each in rows), *(each.slot for each in histograms)):
            np.add.at(told, slot, 1)
        for key in gauges.named():
            at = self._live.gauges.find(key)
            told[-1 if at is None else at] += 1
        told[-1] = 2
        direct: list[tuple[Ints, Floats, Ints]] = []
        for each_row in rows:
            alone = told[each_row.slot] == 1
            direct.append((each_row.slot[alone], each_row.value[alone], each_row.weight[alone]))
            self._put_by_name(each_row, np.flatnonzero(~alone), gauges)
        for each_histogram in histograms:
            alone = told[each_histogram.slot] == 1
            quantile = log_linear.quantiles_by_row(
                each_histogram.offset,
                each_histogram.bucket,
                each_histogram.count,
                LATENCY_QUANTILE,
            )
            direct.append(
                (each_histogram.slot[alone], quantile[alone], each_histogram.weight[alone])
            )
            self._put_histograms_by_name(each_histogram, np.flatnonzero(~alone), gauges)
        if not direct:
            direct.append((_NO_COUNTS, np.empty(0), _NO_COUNTS))
        return GaugeValues(
            slot=np.concatenate([slot for slot, _, _ in direct]),
            value=np.concatenate([value for _, value, _ in direct]),
            weight=np.concatenate([weight for _, _, weight in direct]).astype(np.float64),
        )

    def forget(self, held: Iterable[str]) -> None:
        """Forget targets that are not among these."""
        kept = set(held)
        self._names = {target: names for target, names in self._names.items() if target in kept}

    def _gather(
        self,
        own: ScrapedGains,
        rows: list[_Rows],
        histograms: list[_HistogramRows],
        counts: SeriesCounts,
        *,
        calls_count: bool,
        telling: Collection[str],
    ) -> None:
        names = self._names.get(own.table.target)
        if names is None or names.table is not own.table:
            names = self._names[own.table.target] = _Names(own.table)
        names.refresh(self._live)
        yielding = names.yielding(telling)
        for all_streams, all_values, all_weights, level in (
            (own.level, own.level_value, own.level_points, True),
            (own.rate, own.rate_value, own.rate_points, False),
        ):
            stays = ~yielding[all_streams]
            counts.told_twice[SIGNAL_METRICS] += int(all_weights[~stays].sum())
            if stays.any():
                stream, value, weight = all_streams[stays], all_values[stays], all_weights[stays]
                slot = names.slots(stream, self._live)
                rows.append(_Rows(own.table, stream, slot, value, weight, level))
        taken = np.ones(len(own.histogram), np.bool_)
        if calls_count:
            taken = own.table.reading[own.histogram] != Reading.CALLS
        yields = taken & yielding[own.histogram]
        counts.told_twice[SIGNAL_METRICS] += int(own.points[yields].sum())
        taken &= ~yields
        timed = taken & (own.interval_ns > 0) & ~names.bare[own.histogram]
        if timed.any():
            stream = own.histogram[timed]
            rate = own.gained[timed] / (own.interval_ns[timed] / 1e9)
            slot = names.slots(stream, self._live)
            rows.append(_Rows(own.table, stream, slot, rate, own.points[timed], level=False))
        known = own.bucket != log_linear.UNTIMED
        row = np.repeat(np.arange(len(own.histogram)), np.diff(own.offset))[known]
        counted = np.bincount(row, minlength=len(own.histogram)) > 0
        kept = np.flatnonzero(taken & counted)
        if len(kept):
            inside = taken[row]
            stream = own.histogram[kept]
            histograms.append(
                _HistogramRows(
                    own.table,
                    stream,
                    names.p95_slots(stream, self._live),
                    own.points[kept],
                    np.concatenate(([0], np.cumsum(np.bincount(row, minlength=len(taken))[kept]))),
                    own.bucket[known][inside],
                    own.count[known][inside],
                )
            )

    def _put_by_name(self, rows: _Rows, at: NDArray[np.intp], gauges: Gauges) -> None:
        names = self._names[rows.table.target]
        put = gauges.add_level if rows.level else gauges.add_rate
        for each in at.tolist():
            key = names.key(int(rows.stream[each]))
            put(key, float(rows.value[each]), int(rows.weight[each]))

    def _put_histograms_by_name(
        self, rows: _HistogramRows, at: NDArray[np.intp], gauges: Gauges
    ) -> None:
        names = self._names[rows.table.target]
        for each in at.tolist():
            first, end = int(rows.offset[each]), int(rows.offset[each + 1])
            gauges.add_counts(
                names.p95_key(int(rows.stream[each])),
                (rows.bucket[first:end], rows.count[first:end]),
                int(rows.weight[each]),
            )


class _Names:
    """The names and slots of the streams of one table.

    Attributes:
        table: the table.
        bare: bool[streams], of which the quantile alone is a series.
    """

    def __init__(self, table: StreamTable) -> None:
        self.table = table
        self._version = -1
        self._slot: Ints = np.empty(0, np.int64)
        self._p95_slot: Ints = np.empty(0, np.int64)
        self._yields: NDArray[np.bool_] = np.empty(0, np.bool_)
        self.bare: NDArray[np.bool_] = np.empty(0, np.bool_)

    def yielding(self, telling: Collection[str]) -> NDArray[np.bool_]:
        """bool[streams], those that tell what complete logs of their services tell."""
        found = self._yields.copy()
        for stream in np.flatnonzero(found).tolist():
            found[stream] = self.table.placed[stream].scope.service in telling
        return found

    def refresh(self, live: LiveNames) -> None:
        """Forget slots that may have other names now, and look at streams that are new."""
        added = self.table.placed[len(self.bare) :]
        if added:
            self.bare = np.concatenate((self.bare, [placed.bare for placed in added]))
            self._yields = np.concatenate((self._yields, [placed.yields for placed in added]))
        if self._version != live.gauges.version or len(self._slot) < self.table.stream_count:
            self._version = live.gauges.version
            self._slot = np.full(self.table.stream_count, -1, np.int64)
            self._p95_slot = np.full(self.table.stream_count, -1, np.int64)

    def slots(self, stream: Ints, live: LiveNames) -> Ints:
        """The slots of the streams' values, or of the rates of histograms; -1 where there is none yet."""
        for each in stream[self._slot[stream] < 0].tolist():
            slot = live.gauges.find(self.key(each))
            self._slot[each] = -1 if slot is None else slot
        return self._slot[stream]

    def p95_slots(self, stream: Ints, live: LiveNames) -> Ints:
        """The slots of the quantiles of histograms."""
        for each in stream[self._p95_slot[stream] < 0].tolist():
            slot = live.gauges.find(self.p95_key(each))
            self._p95_slot[each] = -1 if slot is None else slot
        return self._p95_slot[stream]

    def key(self, stream: int) -> SeriesKey:
        """The series of a stream's value, or of the rate of a histogram."""
        return keys_of(self.table.placed[stream])[0]

    def p95_key(self, stream: int) -> SeriesKey:
        """The series of the quantile of a histogram."""
        return keys_of(self.table.placed[stream])[-1]


def calls_of(gains: Iterable[ScrapedGains]) -> ScrapedCalls:
    """The histograms of calls, as those that came as points."""
    told: list[DistributionPoint] = []
    gained: list[Gain] = []
    for own in gains:
        is_calls = own.table.reading[own.told] == Reading.CALLS
        point_of_stream: dict[int, DistributionPoint] = {}
        for stream, time_ns in zip(
            own.told[is_calls].tolist(), own.told_ns[is_calls].tolist(), strict=True
        ):
            placed = own.table.placed[stream]
            point_of_stream[stream] = DistributionPoint(
                stream=own.table.identity[stream],
                scope=placed.scope,
                signal=placed.signal,
                temporality=Temporality.CUMULATIVE,
                start_ns=0,
                time_ns=time_ns,
                bucket=_NO_BUCKETS,
                count=_NO_COUNTS,
                total=float("nan"),
                is_calls=True,
                of_page=True,
                error=placed.error,
                newer_signal=placed.newer_signal,
                times_only=placed.times_only,
                complete=placed.complete,
                yields=placed.yields,
            )
        told += point_of_stream.values()
        for row, stream in enumerate(own.histogram.tolist()):
            if stream in point_of_stream:
                first, end = int(own.offset[row]), int(own.offset[row + 1])
                gained.append(
                    Increase(
                        point=point_of_stream[stream],
                        value=float(own.gained[row]),
                        interval_s=int(own.interval_ns[row]) / 1e9,
                        histogram=(own.bucket[first:end], own.count[first:end]),
                        point_count=int(own.points[row]),
                    )
                )
    return ScrapedCalls(told=tuple(told), gains=tuple(gained))


def streams_in(columns: ScrapedColumns) -> Iterable[int]:
    """The streams that columns tell of."""
    found: list[int] = np.unique(columns.table.stream_of_cell[columns.cell]).tolist()
    return found
