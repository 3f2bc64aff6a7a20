"""The simulator itself: a stream's windows, piece by piece, from season, noise and events.

Every stream draws from a generator of its own, seeded by its number, so the streams may be
simulated one after the other or all side by side and have the same values. A piece has a fixed
number of windows; nothing else is held, however long the history.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.history import ERRORS, LATENCY, TRAFFIC
from sentinel.reference.ledger.domain.simulator.calendar import DAY_S, MoneyCalendar
from sentinel.reference.ledger.domain.simulator.events import Event, influence
from sentinel.reference.ledger.domain.simulator.fleet import Stream
from sentinel.reference.ledger.domain.simulator.noise import Drift, bursty_counts, sampled_p95
from sentinel.reference.ledger.domain.simulator.season import season, spike_calls

SIGNALS: Final = (TRAFFIC, ERRORS, LATENCY)
_MEMORY_S: Final = 3000.0
_ERRORS_MEMORY_S: Final = 6 * 3600.0
_DRIFT_SHARED: Final = 0.02
_DRIFT_OWN: Final = 0.015
_ERRORS_DRIFT: Final = 0.3
_LATENCY_DRIFT: Final = 0.04
# A p95 grows a little with the load; a stream that rests is not infinitely fast.
_LATENCY_LOAD_EXPONENT: Final = 0.12
_LOAD_LEAST: Final = 0.05
_YEAR_S: Final = 365.25 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that the windows depend on besides time.

    Attributes:
        growth_ratio: growth of all traffic a year; the streams' levels hold at `end_s`.
    """

    streams: Sequence[Stream]
    calendar: MoneyCalendar
    events: Sequence[Event]
    step_s: int
    end_s: int
    growth_ratio: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Windows one after the other: `starts` in Unix seconds, `local_s` their wall clock."""

    starts: NDArray[np.int64]
    local_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWindows:
    """One stream over one piece.

    Attributes:
        values: float64[n] by signal, NaN where nothing is known: errors and latency of a window
            without calls, and everything while the source is silent.
        calls: int64[n] behind each value, -1 while the source is silent.
        labels: bool[n] by signal, a fault that should be found touches the window.
    """

    starts: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    calls: NDArray[np.int64]
    labels: dict[str, NDArray[np.bool_]]


def simulate_stream(world: World, number: int, pieces: Iterable[Piece]) -> Iterator[StreamWindows]:
    """Give the windows of stream `number`, for each of `pieces` in turn.

    The pieces follow one another in time; the same world and pieces give the same values.
    """
    stream, step_s = world.streams[number], float(world.step_s)
    shared_rng = np.random.default_rng([world.seed, 2])
    rng = np.random.default_rng([world.seed, 3, number])
    shared = Drift(shared_rng, spread=_DRIFT_SHARED, memory_s=_MEMORY_S, step_s=step_s)
    own = Drift(rng, spread=_DRIFT_OWN, memory_s=_MEMORY_S, step_s=step_s)
    failing = Drift(rng, spread=_ERRORS_DRIFT, memory_s=_ERRORS_MEMORY_S, step_s=step_s)
    slow = Drift(rng, spread=_LATENCY_DRIFT, memory_s=_MEMORY_S, step_s=step_s)
    concerned = [
        event for event in world.events if any(effect.stream == number for effect in event.effects)
    ]
    for piece in pieces:
        count = piece.starts.size
        load = sum(
            share * season(habit, piece.local_s + step_s / 2, world.calendar)
            for habit, share in stream.mix
        )
        felt = influence(concerned, number, piece.starts, world.step_s)
        rate = stream.traffic * load
        for spike in stream.spikes:
            clock = piece.starts.astype(np.float64) if spike.on_utc else piece.local_s
            rate = rate + spike_calls(spike, clock, step_s)
        years = (piece.starts + step_s / 2 - world.end_s) / _YEAR_S
        growth = np.exp(math.log1p(world.growth_ratio) * years)
        weather = np.exp(shared.take(count) + own.take(count))
        calls = bursty_counts(
            rng, rate * growth * weather * felt.traffic_factor * step_s, stream.burst
        )
        ratio = np.minimum(1.0, stream.errors * np.exp(failing.take(count)))
        ratio = ratio + (1 - ratio) * felt.errors_added
        failures = rng.binomial(calls, np.clip(ratio, 0.0, 1.0))
        p95 = stream.latency_s * np.maximum(load, _LOAD_LEAST) ** _LATENCY_LOAD_EXPONENT
        p95 = p95 * np.exp(slow.take(count)) * felt.latency_factor
        latency = sampled_p95(rng, p95, calls)
        known = ~felt.is_blind
        share = np.where(calls > 0, failures / np.maximum(calls, 1), np.nan)
        yield StreamWindows(
            starts=piece.starts,
            values={
                TRAFFIC: np.where(known, calls / step_s, np.nan),
                ERRORS: np.where(known, share, np.nan),
                LATENCY: np.where(known, latency, np.nan),
            },
            calls=np.where(known, calls, -1),
            labels=felt.labels,
        )
