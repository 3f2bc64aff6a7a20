"""Blocks, incidents and pages for tests of stores."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    Exemplar,
    FirstMover,
    HistogramBlock,
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    LogLine,
    Member,
    Page,
    PageReason,
    PageStatus,
    SeriesKey,
    Severity,
    WindowBlock,
)

STEP_NS = 10_000_000_000
BASE_NS = 1_790_000_000_000_000_000 // 14_400_000_000_000 * 14_400_000_000_000
"""A round instant: the start of a chunk at every resolution that the stores make."""


def keys(count: int) -> list[tuple[SeriesKey, Kind]]:
    """Names of so many series, all kinds in turn."""
    signals = ("traffic", "errors", "latency", "depth")
    return [
        (SeriesKey("shop", "edge", f"GET /{number}", signals[number % 4]), Kind(number % 4))
        for number in range(count)
    ]


def block(
    series: list[int] | NDArray[np.int64],
    *,
    at: int = 0,
    count: int = 1,
    seed: int = 0,
    step_ns: int = STEP_NS,
    base_ns: int = BASE_NS,
    histograms: bool = False,
) -> WindowBlock:
    """`count` windows from the window number `at`, with values, holes and silence by the seed."""
    ids = np.asarray(series, dtype=np.int64)
    rng = np.random.default_rng([seed, at])
    shape = (count, ids.size)
    weight = rng.poisson(20.0, shape).astype(np.float32)
    value = rng.lognormal(0.0, 1.0, shape).astype(np.float32)
    value[rng.random(shape) < 0.1] = np.nan
    heard = rng.random(shape) < 0.95
    value[~heard], weight[~heard] = np.nan, 0.0
    return WindowBlock(
        start_ns=base_ns + at * step_ns,
        step_ns=step_ns,
        series=ids,
        kind=np.array([(number - 1) % 4 for number in ids.tolist()], dtype=np.int8),
        value=value,
        weight=weight,
        heard=heard,
        histograms=_histograms(count * ids.size, rng) if histograms else None,
    )


def rectangle(blocks: list[WindowBlock]) -> dict[tuple[int, int], tuple[bytes, bytes, bool]]:
    """Every cell of the blocks by (window start, series): the bits of value and weight, and heard."""
    cells = {}
    for one in blocks:
        for row in range(one.window_count):
            start_ns = one.start_ns + row * one.step_ns
            for column, series_id in enumerate(one.series.tolist()):
                cells[start_ns, series_id] = (
                    one.value[row, column].tobytes(),
                    one.weight[row, column].tobytes(),
                    bool(one.heard[row, column]),
                )
    return cells


def incident(name: str = "inc-1", *, opened_ns: int = BASE_NS, is_open: bool = True) -> Incident:
    """An incident with every field in use, also the numbers JSON has no word for."""
    key = SeriesKey("shop", "database", "SELECT cart", "latency")
    member = Member(
        series_id=3,
        key=key,
        direction=1,
        first_ns=opened_ns,
        last_ns=opened_ns + STEP_NS,
        peak_score=math.inf,
        value=0.25,
        expected=0.1 + 0.2,
        lower=-math.inf,
        upper=1e-300,
        weight=12.0,
        why='slow: "12 \u00d7 usual"\n',
    )
    return Incident(
        incident_id=name,
        group="shop",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.OPEN if is_open else IncidentState.RESOLVED,
        opened_ns=opened_ns,
        paged_ns=opened_ns + STEP_NS,
        resolved_ns=None if is_open else opened_ns + 5 * STEP_NS,
        members=(member,),
        first_mover=FirstMover(
            service="shop",
            stage="database",
            route="SELECT cart",
            signal="latency",
            at_ns=opened_ns,
            lead_s=12.5,
        ),
        exemplars=(
            Exemplar(
                trace_id="0af7651916cd43dd8448eb211c80319c",
                key=key,
                time_ns=opened_ns,
                duration_s=1.5,
                error=True,
            ),
        ),
        log_lines=(LogLine(service="shop", time_ns=1, severity=17, event="", body="lock \u2028"),),
    )


def page(name: str = "inc-1", sequence: int = 0) -> Page:
    """A page of an incident."""
    return Page(
        page_id=f"{name}/{sequence}",
        incident_id=name,
        sequence=sequence,
        reason=PageReason.OPENED if sequence == 0 else PageReason.WORSENED,
        status=PageStatus.FIRING,
        labels={"alertname": "SentinelAnomaly", "service": "shop"},
        annotations={"summary": "latency \u00e9 \x00 up"},
        starts_ns=BASE_NS,
    )


def _histograms(cell_count: int, rng: np.random.Generator) -> HistogramBlock:
    rows = np.flatnonzero(rng.random(cell_count) < 0.7).astype(np.int32)
    lengths = rng.integers(1, 5, rows.size)
    buckets = [np.sort(rng.choice(np.arange(-300, 300), size, replace=False)) for size in lengths]
    return HistogramBlock(
        row=rows,
        offset=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        bucket=np.concatenate([*buckets, np.empty(0)]).astype(np.int16),
        count=rng.integers(1, 100, int(lengths.sum())).astype(np.int64),
    )
