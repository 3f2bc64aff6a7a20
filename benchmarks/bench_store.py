"""What a window costs to store, and how fast past data comes in.

Run as `make bench-store`. A window is stored as it is live: committed to the disk with
synchronous=FULL, then rolled up, packed and thinned out; the median is an ordinary window, the mean
includes all of that. Backfill is measured on 1,000 series and scaled to 10,000 series of 28 days.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.machine import describe
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.history import SeriesNumbers, read_long
from sentinel.pipeline.backfill import STEP_NS as FIVE_NS
from sentinel.pipeline.backfill import Backfill
from sentinel.ports import Tick
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from sentinel.storage.sqlite import SqliteStore, StoreConfig

STEP_NS = 10_000_000_000
BASE_NS = 1_780_000_000_000_000_000 // 14_400_000_000_000 * 14_400_000_000_000
DAY_S = 86_400


def opened(directory: str) -> SqliteStore:
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    store = SqliteStore(StoreConfig(directory=directory), surroundings)
    store.open()
    return store


def keys(count: int) -> list[tuple[SeriesKey, Kind]]:
    signals = ("traffic", "errors", "latency")
    return [
        (SeriesKey(f"svc-{at // 300}", "edge", f"GET /{at // 3}", signals[at % 3]), Kind(at % 3))
        for at in range(count)
    ]


def blocks(ids: list[int], count: int) -> list[WindowBlock]:
    """Counts, shares and latencies with ordinary noise, a third each."""
    rng = np.random.default_rng(1)
    series = np.array(ids)
    level = rng.lognormal(3.0, 1.5, len(ids) // 3 + 1)
    made = []
    for at in range(count):
        calls = rng.poisson(level)
        failed = rng.binomial(calls, 0.002) / np.maximum(calls, 1)
        columns = [
            calls / 10,
            np.where(calls > 0, failed, np.nan),
            rng.lognormal(-4, 0.2, level.size),
        ]
        value = np.stack(columns, axis=1).reshape(1, -1)[:, : len(ids)].astype(np.float32)
        made.append(
            WindowBlock(
                start_ns=BASE_NS + at * STEP_NS,
                step_ns=STEP_NS,
                series=series,
                kind=(series % 3).astype(np.int8),
                value=value,
                weight=np.repeat(calls, 3)[np.newaxis, : len(ids)].astype(np.float32),
                heard=np.ones((1, len(ids)), dtype=np.bool_),
            )
        )
    return made


def bench_windows(series_count: int, window_count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = opened(directory)
        ids = store.register(keys(series_count), now_ns=BASE_NS)
        made = blocks(ids, window_count)
        before = store.size_bytes()
        took_ms = []
        for one in made:
            start_s = time.perf_counter()
            store.append_tick(Tick(block=one))
            took_ms.append(1e3 * (time.perf_counter() - start_s))
        store.close()
        grown = store.size_bytes() - before
        store.open()
        start_s = time.perf_counter()
        read = sum(
            one.value.size for one in store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62)
        )
        read_s = time.perf_counter() - start_s
        store.close()
    print(
        f"{series_count:>7,} series  {np.median(took_ms):6.2f} ms a window (median)"
        f"  {np.mean(took_ms):6.2f} mean  {np.max(took_ms):6.1f} max"
        f"  {grown / window_count:>9,.0f} bytes a window on the disk, all resolutions"
        f"  ({grown / window_count / series_count:.2f} a series)"
        f"  read {read / read_s / 1e6:.1f} M values/s"
    )


def bench_backfill(series_count: int, day_count: int) -> None:
    window_count = day_count * DAY_S // 300
    now_ns = BASE_NS + window_count * FIVE_NS
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "history.csv"
        rng = np.random.default_rng(1)
        labels = [",".join(key) for key, _ in keys(series_count)]
        with path.open("w") as file:
            file.write("timestamp,service,stage,route,signal,value,weight\n")
            for at in range(window_count):
                second = BASE_NS // 10**9 + 300 * at
                values = rng.poisson(50, series_count).tolist()
                file.writelines(
                    f"{second},{label},{value / 10},{value}\n"
                    for label, value in zip(labels, values, strict=True)
                )
        store = opened(directory)
        numbers = SeriesNumbers()
        start_s = time.perf_counter()
        with Backfill(now_ns=now_ns, keep_ns=2**62) as run:
            run.add(read_long(path, numbers, not_after_ns=now_ns))
            read_s = time.perf_counter() - start_s
            summary = run.store(store, numbers.keys)
        took_s = time.perf_counter() - start_s
        store.close()
        size = store.size_bytes()
    rate = summary.row_count / took_s
    print(
        f"backfill {series_count:,} series x {day_count} days: {summary.row_count:,} rows in"
        f" {took_s:.1f} s ({read_s:.1f} s of it reading CSV), {rate:,.0f} rows/s, {size / 1e6:.0f} MB;"
        f" 10,000 series x 28 days at that rate: {10_000 * 28 * 288 / rate / 60:.1f} min"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer windows and days")
    quick = parser.parse_args().quick
    print(describe())
    for series_count in (1_000, 10_000):
        bench_windows(series_count, 100 if quick else 400)
    bench_backfill(1_000, 1 if quick else 7)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak resident memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
