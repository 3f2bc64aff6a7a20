"""Milliseconds to decide one window: expect, score, follow incidents, learn; at 1k, 10k and 100k series.

Method: series with noise around a profile, all of them ready to be judged, one window of 10 s at a time as
when live; the median over windows inside an hour, and the window at which an hour ends. Goal: at most 1 ms with
10,000 series.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import describe
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, HORIZON_NS, Profile
from sentinel.core.decide import (
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.model import Kind, SeriesKey, WindowBlock

STEP_NS = 10_000_000_000
HOUR_WINDOWS = 360
GOAL_MS = {10_000: 1.0}
START_NS = 1_790_000_000_000_000_000 // 86_400_000_000_000 * 86_400_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    args = parser.parse_args()
    print(f"{describe()}, numpy {np.__version__}, one thread")
    for count in args.series:
        measure(count)


def measure(count: int) -> None:
    rng = np.random.default_rng(7)
    kind = np.resize(np.array([Kind.TRAFFIC, Kind.ERRORS, Kind.LATENCY], np.int8), count)
    level = np.where(kind == Kind.TRAFFIC, 50.0, np.where(kind == Kind.ERRORS, 0.01, 0.08))
    names = ("traffic", "errors", "latency")
    keys = {
        at + 1: SeriesKey(f"service-{at // 30}", "edge", f"GET /{at // 3}", names[at % 3])
        for at in range(count)
    }
    series = np.arange(1, count + 1)
    grid = np.repeat(level[None].astype(np.float32), HORIZON_NS // BIN_NS, axis=0)
    profile = Profile(version=1, start_ns=START_NS, step_ns=BIN_NS, series=series, grid=grid)
    settings = DecisionSettings()
    state = new_decision_state(step_ns=STEP_NS, settings=settings)

    def window(at: int) -> WindowBlock:
        noise = 1 + 0.1 * rng.standard_normal(count)
        value = (level * np.maximum(noise, 0.0)).astype(np.float32)[None]
        return WindowBlock(
            start_ns=START_NS + at * STEP_NS,
            step_ns=STEP_NS,
            series=series,
            kind=kind,
            value=value,
            weight=np.full(value.shape, 500, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )

    first = decide(state, window(0), profile=profile, keys=keys, settings=settings)
    state = _ready(first.state, level)
    times: list[float] = []
    pages = 0
    # The last of them is the first window of the next hour.
    for at in range(1, HOUR_WINDOWS + 1):
        block = window(at)
        before = time.perf_counter()
        decision = decide(state, block, profile=profile, keys=keys, settings=settings)
        times.append(time.perf_counter() - before)
        state, pages = decision.state, pages + len(decision.pages)
    inside = sorted(times[:-1])
    goal = f" (goal: {GOAL_MS[count]:g})" if count in GOAL_MS else ""
    print(
        f"{count:7,} series: decide {statistics.median(inside) * 1e3:7.3f} ms median{goal}, "
        f"{inside[int(len(inside) * 0.95)] * 1e3:.3f} ms p95, "
        f"{times[-1] * 1e3:.1f} ms where an hour ends; "
        f"{len(state.detector.to_bytes()) / count:.0f} bytes of state a series, what is expected of it aside (in a file), {pages} pages"
    )


def _ready(state: DecisionState, level: NDArray[np.float64]) -> DecisionState:
    """As after weeks: every series has a level and a spread."""
    state.detector.level[:] = 0.0
    state.detector.scale[:] = 0.1 * level
    state.detector.mean[:] = state.detector.magnitude[:] = level
    state.detector.hourly = None
    return state


if __name__ == "__main__":
    main()
