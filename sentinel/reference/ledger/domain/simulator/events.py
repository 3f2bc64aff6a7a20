"""What happens to streams, and what it does to their series: the one source of truth and effect.

Windows are simulated from an event's effects, and its truth is told from the same effects, so the
two cannot part. An effect too small for anybody to see (three calls lost of a tenant that calls
every four minutes) happens, but is not expected to be found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.history import ERRORS, LATENCY, TRAFFIC
from sentinel.reference.ledger.domain.simulator.noise import P95_LOG_ERROR

# Below these nobody could tell: calls missing, and in standard deviations of their count; calls
# failing; how far a p95 moves, in standard errors of the p95 of all calls concerned. Besides, a
# tenth of the calls or a fifth of the p95 is what every day brings.
_CALLS_SEEN: Final = 30.0
_DEVIATIONS_SEEN: Final = 5.0
_FAILURES_SEEN: Final = 5.0
_ERRORS_OF_P95_SEEN: Final = 3.0
_TRAFFIC_RATIO_SEEN: Final = 0.1
_LATENCY_RATIO_SEEN: Final = 0.2


class EventKind(StrEnum):
    """What happened."""

    STOP = "stop"
    ERRORS = "errors"
    SLOW = "slow"
    PARTIAL = "partial"
    TRICKLE = "trickle"
    MISSED_RUN = "missed_run"
    DEPLOY = "deploy"
    LEVEL_SHIFT = "level_shift"
    BLIND = "blind"


# For these a person should be paged. A deploy's blip is over before anyone could act; a new level
# is to be learnt; a source that is silent says nothing about the calls.
FAULTS: Final = frozenset(EventKind) - {EventKind.DEPLOY, EventKind.LEVEL_SHIFT, EventKind.BLIND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an event does to one stream at its full strength.

    Attributes:
        stream: its number.
        traffic_factor: the calls that still come, as a multiple.
        errors_added: share of the otherwise good calls that fails.
        latency_factor: multiple of the p95.
        calls: calls that the stream would have had meanwhile, roughly.
    """

    stream: int
    traffic_factor: float = 1.0
    errors_added: float = 0.0
    latency_factor: float = 1.0
    calls: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A signal of a stream that an event moves."""

    stream: int
    signal: str
    direction: str
    size: float
    is_visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, from `start_s` until before `end_s` (Unix seconds).

    `ramp_s` is how long it took to come to its full strength; `repeats` the event it is the like of.
    """

    number: int
    kind: EventKind
    start_s: int
    end_s: int
    effects: tuple[Effect, ...]
    ramp_s: int = 0
    repeats: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether a person should have been paged."""
        return self.kind in FAULTS

    def moved(self) -> list[Moved]:
        """Return every signal that the event moves; none while the source is silent."""
        if self.kind is EventKind.BLIND:
            return []
        return [one for effect in self.effects for one in _moved(effect)]


def _moved(effect: Effect) -> list[Moved]:
    factor, failing, slow = effect.traffic_factor, effect.errors_added, effect.latency_factor
    found = []
    if factor != 1:
        missing = abs(factor - 1) * effect.calls
        seen = abs(factor - 1) >= _TRAFFIC_RATIO_SEEN and missing >= max(
            _CALLS_SEEN, _DEVIATIONS_SEEN * math.sqrt(effect.calls)
        )
        found.append((TRAFFIC, "up" if factor > 1 else "down", factor, seen))
    arrived = effect.calls * factor
    if failing > 0:
        found.append((ERRORS, "up", failing, failing * arrived >= _FAILURES_SEEN))
    if slow != 1:
        error = P95_LOG_ERROR / math.sqrt(max(arrived, 1.0))
        seen = abs(slow - 1) >= _LATENCY_RATIO_SEEN
        seen = seen and abs(math.log(slow)) >= _ERRORS_OF_P95_SEEN * error
        found.append((LATENCY, "up" if slow > 1 else "down", slow, seen))
    return [
        Moved(stream=effect.stream, signal=signal, direction=direction, size=size, is_visible=seen)
        for signal, direction, size, seen in found
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """What all events together do to a stream in n windows.

    Attributes:
        traffic_factor, errors_added, latency_factor: float64[n].
        is_blind: bool[n], nothing is heard of the window.
        labels: bool[n] by signal, a fault that could be seen touches the window.
    """

    traffic_factor: NDArray[np.float64]
    errors_added: NDArray[np.float64]
    latency_factor: NDArray[np.float64]
    is_blind: NDArray[np.bool_]
    labels: dict[str, NDArray[np.bool_]]


def influence(
    events: Sequence[Event], stream: int, starts: NDArray[np.int64], step_s: int
) -> Influence:
    """Return what `events` do to `stream` in the windows that begin at `starts`, ascending.

    A window that an event covers in part feels that part of it.
    """
    count = starts.size
    traffic, latency, good = np.ones(count), np.ones(count), np.ones(count)
    is_blind = np.zeros(count, dtype=np.bool_)
    labels = {signal: np.zeros(count, dtype=np.bool_) for signal in (TRAFFIC, ERRORS, LATENCY)}
    for event in events:
        low = int(np.searchsorted(starts, event.start_s - step_s, side="right"))
        high = int(np.searchsorted(starts, event.end_s, side="left"))
        if low >= high:
            continue
        span = slice(low, high)
        if event.kind is EventKind.BLIND:
            is_blind[span] |= any(effect.stream == stream for effect in event.effects)
            continue
        strength = _strength(event, starts[span], step_s)
        for effect in event.effects:
            if effect.stream == stream:
                traffic[span] *= 1 + (effect.traffic_factor - 1) * strength
                latency[span] *= 1 + (effect.latency_factor - 1) * strength
                good[span] *= 1 - effect.errors_added * strength
        if event.is_fault:
            for one in event.moved():
                if one.stream == stream and one.is_visible:
                    labels[one.signal][span] = True
    return Influence(
        traffic_factor=traffic,
        errors_added=1 - good,
        latency_factor=latency,
        is_blind=is_blind,
        labels=labels,
    )


def _strength(event: Event, starts: NDArray[np.int64], step_s: int) -> NDArray[np.float64]:
    """Share of each window that the event covers, times how far it has come by then."""
    covered = np.minimum(starts + step_s, event.end_s) - np.maximum(starts, event.start_s)
    share = covered / step_s
    if event.ramp_s == 0:
        return np.asarray(share, dtype=np.float64)
    middle = np.maximum(starts, event.start_s) + covered / 2
    return np.asarray(share * np.minimum(1.0, (middle - event.start_s) / event.ramp_s))
