"""Seconds to preview 200 series x 4 weeks at windows of 60 s: from files, from a store's minutes, and exactly.

Method: series of traffic, errors and latency with the shape of a day and noise, of 20 services. From files and over minutes
the commands' own code replays four weeks, with a fit each hour. Exactly: a store whose windows of 60 s were decided by
the live chain with a fit each day is decided once more; writing that store is not counted. Goal: at most 30 s.

    python benchmarks/bench_preview.py [--series 200] [--days 28]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import describe

from sentinel.core.baseline import BIN_NS, Profile, fit_profile
from sentinel.core.decide import DecisionSettings, new_decision_state
from sentinel.core.model import Kind, SeriesKey, WindowBlock, kind_of_signal
from sentinel.core.stats.packing import pack_arrays
from sentinel.pipeline.plain_settings import plain_settings
from sentinel.pipeline.replay import PlainSeries, preview_store, replay
from sentinel.pipeline.replay.grid import coarse
from sentinel.pipeline.replay.stored_pages import coarse_series
from sentinel.ports import Snapshot
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.reader import StoreReader

STEP_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
START_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS
GOAL_S = 30.0
SIGNALS = ("traffic", "errors", "latency")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--days", type=int, default=28)
    args = parser.parse_args()
    print(
        f"{describe()}; {args.series} series of {args.days} days, windows of 60 s; goal: {GOAL_S:g} s"
    )
    block, keys = history(args.series, args.days)
    plain = [
        PlainSeries(
            name=" ".join(key),
            time_ns=START_NS + np.arange(block.window_count) * STEP_NS,
            value=block.value[:, at].astype(np.float64),
            weight=block.weight[:, at].astype(np.float64),
            key=key,
        )
        for at, key in enumerate(keys.values())
    ]
    settings = DecisionSettings()
    began = time.perf_counter()
    found = replay(plain, kind=Kind.GAUGE, settings=settings)
    tell("series in memory, as from files", began, len(found.pages))
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), block, keys)
        began = time.perf_counter()
        with StoreReader(folder) as reader:
            series = coarse_series(reader, step_ns=STEP_NS, start_ns=0, end_ns=2**62)
            found = replay(series, kind=Kind.GAUGE, settings=settings)
        tell("a store's minutes (--coarse)", began, len(found.pages))
        began = time.perf_counter()
        with StoreReader(folder) as reader:
            exact = preview_store(
                reader, from_ns=None, to_ns=2**62, on_decided=lambda _block, _decision: None
            )
        tell("a store, exactly", began, len(exact.pages))


def history(count: int, days: int) -> tuple[WindowBlock, dict[int, SeriesKey]]:
    """Windows of all series, with a day's shape."""
    rng = np.random.default_rng(7)
    keys = {
        at + 1: SeriesKey(f"service-{at // 10}", "edge", f"GET /{at // 3}", SIGNALS[at % 3])
        for at in range(count)
    }
    kind = np.array([int(kind_of_signal(key.signal)) for key in keys.values()], np.int8)
    windows = days * DAY_NS // STEP_NS
    day = 1 + 0.5 * np.sin(np.arange(windows) / (DAY_NS / STEP_NS) * 2 * np.pi)[:, None]
    level = np.array([50.0, 0.01, 0.08])[np.arange(count) % 3]
    shape = np.where(np.arange(count) % 3 == 0, day, 1.0)
    value = level * shape * np.maximum(1 + 0.1 * rng.standard_normal((windows, count)), 0)
    weight = np.full(value.shape, 3000, np.float32)
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=STEP_NS,
        series=np.arange(1, count + 1),
        kind=kind,
        value=value.astype(np.float32),
        weight=weight,
        heard=np.ones(value.shape, np.bool_),
    )
    return block, keys


def fill(folder: Path, block: WindowBlock, keys: dict[int, SeriesKey]) -> None:
    """A store as a sidecar with windows of 60 s would have left it: windows, a state, a fit each day."""
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    store = SqliteStore(StoreConfig(directory=str(folder)), surroundings)
    store.open()
    store.register([(key, kind_of_signal(key.signal)) for key in keys.values()], now_ns=START_NS)
    for first in range(0, block.window_count, 1440):
        store.append_history(block.windows(first, first + 1440))
    settings = DecisionSettings()
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    payload = pack_arrays(
        {"state": np.frombuffer(state.to_bytes(), np.int8)},
        {"format": 1, "settings": json.dumps(plain_settings(settings))},
    )
    store.record_state(Snapshot(at_ns=START_NS, version=0, payload=payload))
    fine = coarse(block)
    for day in range(1, block.window_count * STEP_NS // DAY_NS):
        at_ns = START_NS + day * DAY_NS
        profile: Profile = fit_profile(fine, at_ns=at_ns, version=day)
        part = profile.part(at_ns, at_ns + DAY_NS + BIN_NS)
        arrays = {"profile": np.frombuffer(part.to_bytes(), np.int8)}
        store.record_fit(
            Snapshot(at_ns=at_ns, version=day, payload=pack_arrays(arrays, {"format": 1}))
        )
    store.close()


def tell(what: str, began: float, page_count: int) -> None:
    passed = time.perf_counter() - began
    met = "reached" if passed <= GOAL_S else "NOT reached"
    print(f"{what:34s} {passed:6.1f} s ({met}), {page_count} messages", flush=True)


if __name__ == "__main__":
    main()
