"""Pages for Prometheus: `/metrics` about Sentinel itself, `/metrics/series` with the latest verdicts.

The series page of ten thousand series is six megabytes. Names do not change from scrape to scrape, so they
are escaped once and kept, and the page is written in slices between which others may work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
from aiohttp import hdrs, web
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey
from sentinel.core.stats import log_linear
from sentinel.runtime.http.exposition import content_type, own_metrics, wants_openmetrics
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.verdict_metrics import (
    SERIES_LABELS,
    SERIES_METRICS,
    has_sample,
    label_values,
    number_text,
    quoted,
)
from sentinel.web.scope import SeriesScope
from sentinel.web.sources import LatestVerdicts, StatusSource, ToldSource, VerdictSource
from sentinel.web.told import told_lines

_SLICE_LINES = 500
LATENCY_METRIC = "sentinel_latency_seconds"
LATENCY_HELP = "Quantile of the durations of the last evaluated window's calls, where their histogram is known."
LATENCY_QUANTILES = (0.5, 0.95, 0.99)
LEFT_TO_RULES_METRIC = "sentinel_pages_left_to_rules"
LEFT_TO_RULES_HELP = (
    "1 where pages are for rules in Prometheus to send: the mode is live and no destination is configured; 0 where Sentinel"
    " delivers them itself, or withholds them in shadow mode."
)
_HORIZONS = ("1m", "5m", "30m")
_HORIZON_COLUMN = {
    "sentinel_value": 0,
    "sentinel_expected": 2,
    "sentinel_lower": 3,
    "sentinel_upper": 4,
    "sentinel_score": 5,
}


class MetricsPages:
    """`/metrics` and `/metrics/series`, as text 0.0.4 or OpenMetrics 1.0, whichever is asked for."""

    def __init__(
        self,
        metrics: Metrics,
        source: VerdictSource,
        told: ToldSource,
        status: StatusSource,
        scope: SeriesScope,
    ) -> None:
        self._metrics = metrics
        self._source = source
        self._told = told
        self._status = status
        self._scope = scope
        self._labels = LabelCache()

    async def own(self, request: web.BaseRequest) -> web.Response:
        """Sentinel's own metrics."""
        return own_metrics(self._metrics, request)

    async def series(self, request: web.BaseRequest) -> web.Response:
        """The latest verdicts and what is told beside them; before the first window only whether pages are left to rules."""
        openmetrics = wants_openmetrics(request.headers.get(hdrs.ACCEPT, ""))
        latest = self._source.latest_verdicts()
        body = self._write(latest, openmetrics=openmetrics)
        return web.Response(body=body, headers=content_type(openmetrics=openmetrics))

    async def _write(
        self, latest: LatestVerdicts | None, *, openmetrics: bool
    ) -> AsyncIterator[bytes]:
        # On this page and not with Sentinel's own metrics: rules join it to the scores, and only what one scrape brings
        # has the same job and instance for certain.
        yield (
            f"# HELP {LEFT_TO_RULES_METRIC} {LEFT_TO_RULES_HELP}\n# TYPE {LEFT_TO_RULES_METRIC} gauge\n"
            f"{LEFT_TO_RULES_METRIC} {int(self._status.status().pages_left_to_rules)}\n"
        ).encode()
        if latest is not None:
            told = self._told.told()
            chosen = self._scope.choose(latest)
            keys = [latest.keys[position] for position in chosen.tolist()]
            labels: list[str] = []
            for start in range(0, len(keys), _SLICE_LINES):
                labels += self._labels.of(keys[start : start + _SLICE_LINES])
                await asyncio.sleep(0)
            self._labels.trim(keys, labels)
            for (name, text), column in zip(
                SERIES_METRICS.items(), verdict_columns(latest), strict=True
            ):
                yield f"# HELP {name} {text}\n# TYPE {name} gauge\n".encode()
                values = column[chosen]
                for start in range(0, len(values), _SLICE_LINES):
                    stop = start + _SLICE_LINES
                    yield _lines(name, labels[start:stop], values[start:stop])
                    await asyncio.sleep(0)
                async for piece in _horizon_lines(latest, name, chosen, labels):
                    yield piece
            async for piece in _latency_lines(latest, chosen, labels):
                yield piece
            for piece in told_lines(told, (key.scope for key in keys), openmetrics=openmetrics):
                yield piece
                await asyncio.sleep(0)
        yield b"# EOF\n" if openmetrics else b""


def verdict_columns(latest: LatestVerdicts) -> tuple[NDArray[np.float32], ...]:
    """Value, expected, lower, upper and score of a window, in the order of `SERIES_METRICS`."""
    verdicts = latest.verdicts
    columns = (
        verdicts.value,
        verdicts.expected,
        verdicts.lower,
        verdicts.upper,
        verdicts.score,
    )
    return tuple(column[0] for column in columns)


def latency_quantiles(latest: LatestVerdicts) -> dict[float, NDArray[np.float32]]:
    """`LATENCY_QUANTILES` of each series' calls in seconds, NaN where they are not known; empty without any histogram."""
    histograms = latest.block.histograms
    if histograms is None:
        return {}
    found: dict[float, NDArray[np.float32]] = {}
    for q in LATENCY_QUANTILES:
        column = np.full(len(latest.keys), np.nan, np.float32)
        # One window: the number of a cell is that of its series.
        column[histograms.row] = log_linear.quantiles_by_row(
            histograms.offset, histograms.bucket, histograms.count, q
        )
        found[q] = column
    return found


async def _horizon_lines(
    latest: LatestVerdicts, name: str, chosen: NDArray[np.intp], labels: Sequence[str]
) -> AsyncIterator[bytes]:
    """The same of each longer horizon, with its length in the label `horizon`; a window itself has no such label."""
    if latest.horizons is None:
        return
    for horizon, columns in zip(_HORIZONS, latest.horizons, strict=True):
        values = columns[_HORIZON_COLUMN[name]][chosen]
        # Without a score a horizon says nothing, also where its mean is known.
        known = np.flatnonzero(~np.isnan(values) & ~np.isnan(columns[-1][chosen]))
        for start in range(0, len(known), _SLICE_LINES):
            here = known[start : start + _SLICE_LINES]
            named = [f'{labels[at][:-1]},horizon="{horizon}"}}' for at in here.tolist()]
            yield _lines(name, named, values[here])
            await asyncio.sleep(0)


async def _latency_lines(
    latest: LatestVerdicts, chosen: NDArray[np.intp], labels: Sequence[str]
) -> AsyncIterator[bytes]:
    quantiles = latency_quantiles(latest)
    if quantiles:
        yield f"# HELP {LATENCY_METRIC} {LATENCY_HELP}\n# TYPE {LATENCY_METRIC} gauge\n".encode()
    for q, column in quantiles.items():
        values = column[chosen]
        known = np.flatnonzero(~np.isnan(values))
        for start in range(0, len(known), _SLICE_LINES):
            here = known[start : start + _SLICE_LINES]
            named = [f'{labels[at][:-1]},quantile="{q:g}"}}' for at in here.tolist()]
            yield _lines(LATENCY_METRIC, named, values[here])
            await asyncio.sleep(0)


class LabelCache:
    """The label part of each series' lines, escaped once; bounded by what pages show."""

    def __init__(self) -> None:
        self._known: dict[SeriesKey, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, keys: Sequence[SeriesKey]) -> list[str]:
        """The label part of each key, in order."""
        known = self._known
        found = []
        for key in keys:
            labels = known.get(key)
            if labels is None:
                labels = known[key] = _labels(key)
            found.append(labels)
        return found

    def trim(self, keys: Sequence[SeriesKey], labels: Sequence[str]) -> None:
        """Forget all others once there are more than twice as many as a page showed."""
        if len(self._known) > 2 * len(keys) + _SLICE_LINES:
            self._known = dict(zip(keys, labels, strict=True))


def _labels(key: SeriesKey) -> str:
    pairs = zip(SERIES_LABELS, label_values(key), strict=True)
    return f"{{{','.join(f'{name}={quoted(value)}' for name, value in pairs)}}}"


def _lines(name: str, labels: Sequence[str], values: NDArray[np.float32]) -> bytes:
    known = has_sample(name, values)
    lines = [
        f"{name}{labels[at]} {number_text(value)}\n"
        for at, value in zip(np.flatnonzero(known).tolist(), values[known].tolist(), strict=True)
    ]
    return "".join(lines).encode()
