"""What collecting and merging cost: a part's size, the CPU to make, write and read it, and to merge a window of several.

Method: pods whose applications show a metrics page and whose calls are dealt out evenly; windows one after the other, CPU time of this process.
Beside it, what one process takes to close the same windows that hears all. Goal: collecting and merging together cost each pod less than
a hundredth of a core, and the scorer a hundredth a pod.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.machine import describe
from sentinel.core.model import CallColumns, SampleBatch, Scope
from sentinel.core.normalise.prometheus import DefaultPlacing, MetricsParser, PlacingRules
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.core.series.collected import Collecting, Merging, decode, encode

SECOND_NS = 10**9
START_NS = 1_790_000_000 * SECOND_NS
TEXT = "text/plain; version=0.0.4; charset=utf-8"
SIZES = ((500, 50, 1_600), (5_000, 300, 16_000))
"""Streams on a pod's page, places of calls, calls of a pod in a window of ten seconds."""


class Costs:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = 0.0

    def begin(self) -> None:
        """From here on."""
        self._since = time.process_time()

    def end(self, what: str) -> None:
        """Since `begin`."""
        spent = time.process_time() - self._since
        self.seconds[what] = self.seconds.get(what, 0.0) + spent


def page(streams: int, number: int) -> bytes:
    """A page of counters that grow."""
    return "".join(
        f"# TYPE m{at}_total counter\nm{at}_total {number * at + at}\n" for at in range(streams)
    ).encode()


def calls(rng: np.random.Generator, places: int, count: int, end_ns: int) -> SampleBatch:
    """Calls of one pod in one window."""
    return SampleBatch(
        calls=CallColumns(
            scopes=tuple(Scope("pay", "edge", f"/r{at}") for at in range(places)),
            scope_index=rng.integers(0, places, count).astype(np.int32),
            end_ns=np.full(count, end_ns, np.int64),
            duration_s=rng.lognormal(-3, 1, count),
            error=rng.random(count) < 0.01,
        ),
        services=frozenset({"pay"}),
    )


def measure(streams: int, places: int, count: int, *, pods: int, windows: int) -> None:
    """Print what one size costs."""
    settings = SeriesSettings(series_count_max=20_000)
    collecting = [
        Collecting(settings, collector=f"pod-{at}", incarnation=1, start_ns=START_NS)
        for at in range(pods)
    ]
    parsers = [
        MetricsParser("app", DefaultPlacing(PlacingRules(service="shop")), service="shop")
        for _ in range(pods)
    ]
    merging, single = Merging(settings), Aggregator(settings, start_ns=START_NS)
    merging.begin_after(START_NS)
    rng, costs, size = np.random.default_rng(1), Costs(), 0
    for number in range(windows):
        start_ns = START_NS + 10 * number * SECOND_NS
        parts = []
        for pod, parser in zip(collecting, parsers, strict=True):
            own = calls(rng, places, count, start_ns + 4 * SECOND_NS)
            shown = parser.parse(
                page(streams, number), content_type=TEXT, time_ns=start_ns + 3 * SECOND_NS
            ).batch
            for batch in (own, shown):
                pod.add(batch, start_ns + 4 * SECOND_NS)
                single.add(batch, start_ns + 4 * SECOND_NS)
            costs.begin()
            (window,) = pod.close(start_ns + 15 * SECOND_NS).windows
            costs.end("close")
            costs.begin()
            body = encode(window).body
            costs.end("write")
            size += len(body)
            costs.begin()
            parts.append(decode(body))
            costs.end("read")
        costs.begin()
        merging.merge(start_ns, parts)
        costs.end("merge")
        costs.begin()
        single.close(start_ns + 15 * SECOND_NS)
        costs.end("single")
    made = pods * windows
    spent = {what: seconds * 1e3 for what, seconds in costs.seconds.items()}
    print(
        f"{streams} streams, {places} places, {count} calls a pod and window, {pods} pods:"
        f" a part has {size / made / 1024:.1f} KiB;"
        f" a pod closes in {spent['close'] / made:.1f} ms and writes in {spent['write'] / made:.1f} ms;"
        f" the scorer reads a part in {spent['read'] / made:.1f} ms and merges a window in {spent['merge'] / windows:.1f} ms"
        f" (one process closes it in {spent['single'] / windows:.1f} ms)."
        f" Of a core: a pod {(spent['close'] + spent['write']) / made / 100:.2f} %, the scorer"
        f" {(spent['read'] / made + spent['merge'] / windows / pods) / 100:.2f} % a pod"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=3)
    parser.add_argument("--windows", type=int, default=12)
    chosen = parser.parse_args()
    print(describe())
    for streams, places, count in SIZES:
        measure(streams, places, count, pods=chosen.pods, windows=chosen.windows)


if __name__ == "__main__":
    main()
