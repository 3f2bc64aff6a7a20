"""The contract every component keeps.

`start()` acquires what it needs, spawns its tasks and returns when it is ready; raising aborts start-up.
`stop()` accepts nothing new, cancels its tasks, flushes downstream and releases; it is idempotent, works
without `start`, and ends within its deadline. `health()` is ok, degraded or failing, with a sentence and
since when; asking costs nothing and never blocks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sentinel.core.redact import redact
from sentinel.ports import Clock
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.tracing import NO_TRACER, Tracer


class HealthStatus(StrEnum):
    """Degraded works with less; failing does not do its job."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a component is, in a sentence a person can act on."""

    status: HealthStatus
    sentence: str
    since_ns: int

    def __post_init__(self) -> None:
        # Sentences quote errors, and errors quote what they failed on; they are shown on pages and in the API.
        object.__setattr__(self, "sentence", redact(self.sentence))


class Component(Protocol):
    """Everything `app.lifecycle` starts and stops."""

    @property
    def name(self) -> str:
        """Unique name, such as `receivers.otlp_http`."""
        ...

    async def start(self) -> None:
        """Return when ready to work; raise to abort start-up."""
        ...

    async def stop(self) -> None:
        """Flush and release; idempotent, also without `start`."""
        ...

    def health(self) -> Health:
        """The present state."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a component is handed besides its configuration and its neighbours; nothing global is reached for."""

    clock: Clock
    metrics: Metrics
    logger: logging.Logger
    tracer: Tracer = NO_TRACER


class HealthRecord:
    """Keeps a component's health, and since when it has been so."""

    def __init__(self, clock: Clock, sentence: str = "Not started") -> None:
        self._clock = clock
        self._health = Health(
            status=HealthStatus.FAILING, sentence=sentence, since_ns=clock.now_ns()
        )

    @property
    def current(self) -> Health:
        """The present state."""
        return self._health

    def set(self, status: HealthStatus, sentence: str) -> None:
        """Record a state; `since` moves only when the status changes."""
        since_ns = self._health.since_ns if status is self._health.status else self._clock.now_ns()
        self._health = Health(status=status, sentence=sentence, since_ns=since_ns)

    def ok(self, sentence: str) -> None:
        """Works as it should."""
        self.set(HealthStatus.OK, sentence)

    def degraded(self, sentence: str) -> None:
        """Works with less than it should."""
        self.set(HealthStatus.DEGRADED, sentence)

    def failing(self, sentence: str) -> None:
        """Does not do its job."""
        self.set(HealthStatus.FAILING, sentence)
