"""Latency by the share of slow calls beside latency by the 95th percentile: false pages, and what each finds.

Method: places whose calls are drawn from a heavy-tailed distribution with the shape of a day, some busy, some with two calls
a window; ten days of windows of 10 s. Both values are made of the same calls, each judged alone by the live chain with a profile
fitted each midnight. After five days faults are put in: a part of the calls takes ten times as long for half an hour. A
page outside of them is false.

    python benchmarks/bench_latency.py [--places 12] [--days 10]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import describe
from numpy.typing import NDArray

from sentinel.core.baseline import fit_profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import Kind, SeriesKey, TransitionKind, WindowBlock
from sentinel.pipeline.replay.grid import coarse

STEP_NS = 10_000_000_000
DAY_NS = 86_400_000_000_000
START_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS
PER_DAY = DAY_NS // STEP_NS
RATES = (2.0, 20.0, 200.0)
"""Calls a window."""
SPREAD = 0.8
FAULTS = (0.02, 0.04, 0.1, 1.0)
"""Part of the calls that is slow."""
TIMES = 10.0
FAULT_WINDOWS = 180
CALM_DAYS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=12)
    parser.add_argument("--days", type=int, default=10)
    args = parser.parse_args()
    print(f"{describe()}; {args.places} places of {args.days} days, windows of 10 s")
    rng = np.random.default_rng(11)
    rates = np.resize(np.array(RATES), args.places)
    faults = plan(rng, args.places, args.days)
    p95, share, calls = lived(rng, rates, faults, args.days)
    weeks = args.places * (args.days - CALM_DAYS) / 7
    for name, kind, value in (
        ("95th percentile", Kind.LATENCY, p95),
        ("share of slow calls", Kind.SLOW, share),
    ):
        opened = decided(kind, value, calls)
        found = {part: [0, 0] for part in FAULTS}
        false = 0
        for place, at in opened:
            hit = [
                one
                for one in faults
                if one[0] == place and one[1] <= at < one[1] + 2 * FAULT_WINDOWS
            ]
            false += not hit and at >= CALM_DAYS * PER_DAY
        for place, first, part in faults:
            hits = [
                at
                for one, at in opened
                if one == place and first <= at < first + 2 * FAULT_WINDOWS
            ]
            found[part][0] += bool(hits)
            found[part][1] += 1
        told = ", ".join(
            f"{part * 100:g} % slow: {hit} of {there}" for part, (hit, there) in found.items()
        )
        print(f"{name:20s} {false / weeks:5.2f} false a series-week; found of {told}", flush=True)


def plan(rng: np.random.Generator, places: int, days: int) -> list[tuple[int, int, float]]:
    """Place, first window and part of the calls of each fault: one a place and day, after the calm days."""
    return [
        (
            place,
            day * PER_DAY + int(rng.integers(360, PER_DAY - 3 * FAULT_WINDOWS)),
            FAULTS[(place + day) % len(FAULTS)],
        )
        for place in range(places)
        for day in range(CALM_DAYS, days)
    ]


def lived(
    rng: np.random.Generator,
    rates: NDArray[np.float64],
    faults: list[tuple[int, int, float]],
    days: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """95th percentile, share of slow calls and calls of each window; the bound is the hour's own, of the calm days."""
    count = days * PER_DAY
    shape = (count, len(rates))
    p95, share = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    calls = np.zeros(shape, np.float32)
    hour = np.arange(count) * 24 // PER_DAY % 24
    slower = 0.05 * (1 + 0.6 * np.sin(hour / 24 * 2 * np.pi))
    for place, rate in enumerate(rates):
        number = rng.poisson(rate, count)
        owner = np.repeat(np.arange(count), number)
        taken = rng.lognormal(np.log(slower)[owner], SPREAD)
        for _, first, part in (one for one in faults if one[0] == place):
            inside = (owner >= first) & (owner < first + FAULT_WINDOWS)
            inside &= rng.random(len(owner)) < part
            taken[inside] *= TIMES
        calm = owner < CALM_DAYS * PER_DAY
        bound = np.array(
            [np.quantile(taken[calm & (hour[owner] == one)], 0.99) for one in range(24)]
        )
        order = np.lexsort((taken, owner))
        ranked = taken[order]
        ends = np.cumsum(number)
        there = number > 0
        rank = np.ceil(0.95 * number - 1e-9).astype(np.int64)
        p95[there, place] = ranked[(ends - number + rank - 1)[there]]
        slow = np.bincount(owner, weights=taken > bound[hour[owner]], minlength=count)
        share[there, place] = (slow[there] / number[there]).astype(np.float32)
        calls[:, place] = number
    return p95, share, calls


def decided(
    kind: Kind, value: NDArray[np.float32], calls: NDArray[np.float32]
) -> list[tuple[int, int]]:
    """Place and window of each incident that opened."""
    signal = "latency" if kind is Kind.LATENCY else "slow_calls"
    places = value.shape[1]
    keys = {at + 1: SeriesKey(f"service-{at}", "edge", "GET /", signal) for at in range(places)}
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=STEP_NS,
        series=np.arange(1, places + 1),
        kind=np.full(places, int(kind), np.int8),
        value=value,
        weight=calls,
        heard=np.ones(value.shape, np.bool_),
    )
    history = coarse(block)
    settings = DecisionSettings(incidents=IncidentSettings(guards=GuardSettings(enabled=False)))
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    found: list[tuple[int, int]] = []
    for day in range(len(value) // PER_DAY):
        profile = fit_profile(history, at_ns=START_NS + day * DAY_NS, version=day)
        piece = block.windows(day * PER_DAY, (day + 1) * PER_DAY)
        decision = decide(state, piece, profile=profile, keys=keys, settings=settings)
        state = decision.state
        found += [
            (
                int(change.incident.group.rpartition("-")[2]),
                (change.at_ns - START_NS) // STEP_NS - 1,
            )
            for change in decision.transitions
            if change.kind is TransitionKind.OPENED
        ]
    return found


if __name__ == "__main__":
    main()
