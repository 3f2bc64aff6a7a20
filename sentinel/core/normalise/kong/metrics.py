"""Pages of Kong's prometheus plugin to batches: what its many series say of one route is put together.

A request is on the page in several places, each split by service, workspace, code and consumer, and what is not there yet is
not on the page at all. So the numbers of a page are added up by what they say (`sums`), before anything is compared with an
earlier page: a route's failed calls are a number that begins at 0, not one that begins with the first failure.

Calls are counted by the counter and timed by the histogram; `DistributionPoint.times_only` joins the two. Without the counter
(`status_code_metrics` off) the histogram counts them, and none is known to have failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    DistributionPoint,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    ScrapedColumns,
    StreamTable,
    Temporality,
)
from sentinel.core.normalise.kong.placing import KongPlacing
from sentinel.core.normalise.kong.sums import (
    FAILED,
    ILL,
    SERVED,
    SIGNAL_CALLS,
    TOTAL,
    USED,
    WELL,
    Sum,
    Summing,
)
from sentinel.core.normalise.kong.tiers import Tiers
from sentinel.core.normalise.prometheus import MetricsPage, MetricsParser, PageLimits
from sentinel.core.stats import log_linear

_BUCKETS = 4096
_COUNT_MAX = 2**53
_SPLIT_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KongMetricsSettings:
    """How pages are read.

    Attributes:
        target: unique in the process, such as `kong/main`.
        service: what the gateway is called.
        tiers: rules by which consumers have tiers; only names are known of them here.
        every_route: whether the plugin is on for all routes.
    """

    target: str
    service: str = "kong"
    tiers: Tiers = field(default_factory=Tiers)
    every_route: bool = True


class _Split(NamedTuple):
    """How the samples of a page fall into parts and others; the same for as long as its samples are."""

    cell: NDArray[np.int32]
    cell_count: int
    kept: NDArray[np.intp]
    kept_cell: NDArray[np.int32]
    kept_bucket: NDArray[np.int16]
    at: NDArray[np.int64]
    number: NDArray[np.int64]
    bucket: NDArray[np.int64]


class KongParser(MetricsParser):
    """Reads the pages of one gateway."""

    def __init__(self, settings: KongMetricsSettings, *, limits: PageLimits | None = None) -> None:
        super().__init__(
            settings.target,
            KongPlacing(settings.service),
            service=settings.service,
            limits=limits,
        )
        self._settings = settings
        self._summing: Summing | None = None
        self._splits: list[_Split] = []

    @property
    def has_consumer(self) -> bool:
        """Whether some request names a consumer."""
        return self._summing is not None and self._summing.has_consumer

    @property
    def has_source(self) -> bool:
        """Whether requests tell who answered them, as those of Kong 3 do."""
        return self._summing is not None and self._summing.has_source

    def parse(self, body: bytes, *, content_type: str, time_ns: int) -> MetricsPage:
        """As `MetricsParser.parse`, with what belongs together put together."""
        page = super().parse(body, content_type=content_type, time_ns=time_ns)
        scraped: list[ScrapedColumns] = []
        numbers: list[NumberPoint] = []
        distributions = list(page.batch.distributions)
        for columns in page.batch.scraped:
            split = self._split_of(columns)
            if len(split.kept_cell):
                scraped.append(
                    replace(
                        columns,
                        cell=split.kept_cell,
                        bucket=split.kept_bucket,
                        value=columns.value[split.kept],
                        start_ns=None
                        if columns.start_ns is None
                        else columns.start_ns[split.kept],
                    )
                )
            values, histograms = self._added_up(columns, split)
            numbers += self._numbers(values, columns.time_ns)
            distributions += self._distributions(values, histograms, columns.time_ns)
        batch: SampleBatch = replace(
            page.batch,
            scraped=tuple(scraped),
            numbers=(*page.batch.numbers, *numbers),
            distributions=tuple(distributions),
        )
        return replace(page, batch=batch)

    # Which samples belong to what.

    def _split_of(self, columns: ScrapedColumns) -> _Split:
        summing = self._known(columns.table)
        for split in self._splits:
            if split.cell is columns.cell and split.cell_count == summing.cell_count:
                return split
        is_part = np.array(summing.is_part, np.bool_)
        of_part = is_part[columns.table.stream_of_cell[columns.cell]]
        kept = np.flatnonzero(~of_part)
        position = np.full(columns.table.cell_count, -1, np.int64)
        position[columns.cell] = np.arange(len(columns.cell))
        at = position[np.array(summing.cell, np.int64)]
        here = at >= 0
        split = _Split(
            cell=columns.cell,
            cell_count=summing.cell_count,
            kept=kept,
            kept_cell=columns.cell[kept],
            kept_bucket=columns.bucket[kept],
            at=at[here],
            number=np.array(summing.number, np.int64)[here],
            bucket=np.array(summing.bucket_of_cell, np.int64)[columns.cell[at[here]]],
        )
        self._splits = [*self._splits[-(_SPLIT_MAX - 1) :], split]
        return split

    def _known(self, table: StreamTable) -> Summing:
        """What is known of a table, made to know all of it."""
        summing = self._summing
        if summing is None or summing.table is not table:
            settings = self._settings
            summing = self._summing = Summing(
                table, service=settings.service, tiers=settings.tiers
            )
            self._splits = []
        summing.learn()
        return summing

    # What they come to.

    def _added_up(
        self, columns: ScrapedColumns, split: _Split
    ) -> tuple[dict[Sum, float], dict[Sum, tuple[log_linear.Buckets, log_linear.Counts]]]:
        """The numbers and histograms of a page; only of sums that something on it belongs to, and of their likes."""
        summing = self._summing
        assert summing is not None, "a page was split"
        sums = list(summing.numbers)
        value = np.nan_to_num(columns.value[split.at], nan=0.0, posinf=0.0, neginf=0.0)
        value = np.clip(value, 0, _COUNT_MAX)
        total = np.bincount(split.number, weights=value, minlength=len(sums))
        is_here = np.bincount(split.number, minlength=len(sums)) > 0
        values: dict[Sum, float] = {}
        for number in np.flatnonzero(is_here).tolist():
            if not sums[number].times:
                values[sums[number]] = float(total[number])
        places = {each.scope for each in values}
        for each in sums:
            # What nothing has happened of yet, at places that are on the page.
            if not each.times and each.scope in places:
                values.setdefault(each, 0.0)
        timed = np.array([each.times for each in sums], np.bool_)[split.number]
        key = split.number[timed] * _BUCKETS + split.bucket[timed]
        key, count = log_linear.sum_by_key(key, np.rint(value[timed]).astype(np.int64))
        number_of_key = key // _BUCKETS
        histograms: dict[Sum, tuple[log_linear.Buckets, log_linear.Counts]] = {}
        for number in np.unique(number_of_key).tolist():
            own = number_of_key == number
            histograms[sums[number]] = (
                (key[own] % _BUCKETS).astype(np.int16),
                count[own],
            )
        return values, histograms

    def _numbers(self, values: Mapping[Sum, float], time_ns: int) -> list[NumberPoint]:
        found: list[NumberPoint] = []
        for each, value in values.items():
            if each.what in (SERVED, FAILED, TOTAL, WELL):
                continue
            if each.what == USED:
                room = values.get(each._replace(what=TOTAL), 0.0)
                if room > 0:
                    found.append(
                        self._level(each.scope, "shared_dict_used_ratio", value / room, time_ns)
                    )
            elif each.what == ILL:
                continue
            else:
                found.append(
                    self._number(
                        each.scope, each.what, value, time_ns, Temporality.CUMULATIVE, yields=True
                    )
                )
        upstreams = dict.fromkeys(each.scope for each in values if each.what in (WELL, ILL))
        for scope in upstreams:
            well, ill = values.get(Sum(scope, WELL), 0.0), values.get(Sum(scope, ILL), 0.0)
            found.append(self._level(scope, "unhealthy_targets_count", ill, time_ns))
            if well + ill > 0:
                found.append(
                    self._level(scope, "healthy_targets_ratio", well / (well + ill), time_ns)
                )
        return found

    def _distributions(
        self,
        values: Mapping[Sum, float],
        histograms: Mapping[Sum, tuple[log_linear.Buckets, log_linear.Counts]],
        time_ns: int,
    ) -> list[DistributionPoint]:
        found: list[DistributionPoint] = []
        counted = dict.fromkeys(each.scope for each in values if each.what in (SERVED, FAILED))
        for scope in counted:
            for side in (SERVED, FAILED):
                # Both from the first on: what begins later would have to be told from what was there.
                count = round(values.get(Sum(scope, side), 0.0))
                histogram = (
                    np.array([log_linear.UNTIMED], np.int16),
                    np.array([count], np.int64),
                )
                found.append(self._calls(scope, side, histogram, time_ns, error=side == FAILED))
        for each, histogram in histograms.items():
            if each.what == SIGNAL_CALLS:
                found.append(
                    self._calls(each.scope, "times", histogram, time_ns, error=False, times=True)
                )
            else:
                found.append(self._latency(each, histogram, time_ns))
        return found

    def _calls(
        self,
        scope: Scope,
        side: str,
        histogram: tuple[log_linear.Buckets, log_linear.Counts],
        time_ns: int,
        *,
        error: bool,
        times: bool = False,
    ) -> DistributionPoint:
        bucket, count = histogram
        return DistributionPoint(
            # The first four are the family: what counts a place's calls and what times them are of one.
            stream=PointStream((self._settings.target, "", SIGNAL_CALLS, "", scope, side)),
            scope=scope,
            signal=SIGNAL_CALLS,
            temporality=Temporality.CUMULATIVE,
            start_ns=0,
            time_ns=time_ns,
            bucket=bucket,
            count=count,
            total=math.nan,
            is_calls=True,
            error=error,
            times_only=times,
            complete=self._settings.every_route,
            of_page=True,
        )

    def _latency(
        self,
        each: Sum,
        histogram: tuple[log_linear.Buckets, log_linear.Counts],
        time_ns: int,
    ) -> DistributionPoint:
        bucket, count = histogram
        return DistributionPoint(
            stream=PointStream((self._settings.target, "", each.what, "", each.scope)),
            scope=each.scope,
            signal=each.what,
            temporality=Temporality.CUMULATIVE,
            start_ns=0,
            time_ns=time_ns,
            bucket=bucket,
            count=count,
            total=math.nan,
            is_calls=False,
            error=False,
            bare=True,
            yields=True,
        )

    def _level(self, scope: Scope, signal: str, value: float, time_ns: int) -> NumberPoint:
        return self._number(scope, signal, value, time_ns, Temporality.GAUGE, yields=False)

    def _number(
        self,
        scope: Scope,
        signal: str,
        value: float,
        time_ns: int,
        temporality: Temporality,
        *,
        yields: bool,
    ) -> NumberPoint:
        return NumberPoint(
            stream=PointStream((self._settings.target, "", signal, "", scope)),
            scope=scope,
            signal=signal,
            temporality=temporality,
            monotonic=temporality is Temporality.CUMULATIVE,
            start_ns=0,
            time_ns=time_ns,
            value=value,
            yields=yields,
        )
