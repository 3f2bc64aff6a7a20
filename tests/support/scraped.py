"""What columns say, written out for the tests that read pages."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from sentinel.core.model import Reading, SampleBatch
from sentinel.core.normalise.prometheus import (
    DefaultPlacing,
    MetricsParser,
    PageLimits,
    PlacingRules,
)
from sentinel.core.normalise.prometheus.placing import Placing

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
RULES = PlacingRules(service="shop")


def parser_of(
    *,
    placing: Placing | None = None,
    limits: PageLimits | None = None,
    strict: bool = False,
    honour_timestamps: bool = False,
    **rules: tuple[str, ...],
) -> MetricsParser:
    """A parser of a shop's pages."""
    return MetricsParser(
        "test",
        placing or DefaultPlacing(replace(RULES, **rules)),  # type: ignore[arg-type]  # rules of one type
        service="shop",
        limits=limits,
        strict=strict,
        honour_timestamps=honour_timestamps,
    )


def numbers_in(batch: SampleBatch) -> dict[tuple[str, str], float]:
    """Signal and route of each number, with its value."""
    found: dict[tuple[str, str], float] = {}
    for columns in batch.scraped:
        table = columns.table
        for cell, value in zip(columns.cell.tolist(), columns.value.tolist(), strict=True):
            placed = table.placed[int(table.stream_of_cell[cell])]
            if placed.reading < Reading.DISTRIBUTION or table.bound[cell] != table.bound[cell]:
                name = (placed.signal, placed.scope.route)
                assert name not in found, "each series once"
                found[name] = value
    return found


def histograms_in(batch: SampleBatch) -> dict[tuple[str, str, bool], dict[float, float]]:
    """Signal, route and outcome of each histogram, with what was counted up to which boundary alone."""
    found: dict[tuple[str, str, bool], dict[float, float]] = {}
    for columns in batch.scraped:
        table = columns.table
        for cell, value in zip(columns.cell.tolist(), columns.value.tolist(), strict=True):
            bound = table.bound[cell]
            if bound == bound:
                placed = table.placed[int(table.stream_of_cell[cell])]
                name = (placed.signal, placed.scope.route, placed.error)
                found.setdefault(name, {})[bound] = value
    return found


def text_of(registry: CollectorRegistry) -> bytes:
    """What the client library writes as text."""
    return bytes(generate_latest(registry))


def openmetrics_of(registry: CollectorRegistry) -> bytes:
    """What it writes as OpenMetrics."""
    return bytes(generate_openmetrics(registry))  # type: ignore[no-untyped-call]
