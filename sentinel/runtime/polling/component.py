"""Asking targets again and again: what every scraper shares.

Each target has a task of its own, so one that hangs disturbs no other, and a fixed place in its interval, so that many
targets are not asked at once and two polls of one are an interval apart. One time limit runs over a whole poll. What
fails is counted each time and logged when it begins and ends, because a target that is away for a night must not fill a
log. A poll that failed says nothing of its source: that a source is not heard is for the detector to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Protocol, runtime_checkable

from sentinel.core.model import SampleBatch
from sentinel.core.redact import redact
from sentinel.errors import SentinelError
from sentinel.ports import Admission
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.otlp_reply import OtlpSignal
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tracing import OwnSpan

_CLOSE_TIMEOUT_S = 5.0
_SENTENCE_CHARACTERS_MAX = 300
_NAMES_SHOWN = 3
_FIRST_BYTES = 256 * 1024
"""What an answer is taken to weigh before the first one came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one poll brought.

    Attributes:
        batch: its samples; `services` names the source, for that is how it is known to be heard.
        size_bytes: what the batch weighs in the queue.
        notes: what is missing and why, one clause each; shown as degraded.
    """

    batch: SampleBatch
    size_bytes: int
    notes: tuple[str, ...] = ()


class Target(Protocol):
    """One endpoint that is asked."""

    @property
    def name(self) -> str:
        """As configured; unique in its scraper, and a metric label."""
        ...

    @property
    def interval_s(self) -> float:
        """How often it is asked."""
        ...

    @property
    def timeout_s(self) -> float:
        """Longest time of a whole poll."""
        ...

    async def poll(self, now_ns: int) -> Polled:
        """Ask once.

        Raises:
            UnreachableError, RefusedError, InputError, OverloadedError, TimeoutError: nothing came of it.
        """
        ...

    async def reach(self) -> tuple[Reach, ...]:
        """What is reachable and what is missing; never raises, and ends within the time limit."""
        ...

    async def close(self) -> None:
        """Release connections; idempotent."""
        ...


@runtime_checkable
class PlacedTarget(Protocol):
    """A target that must be asked at one place of its interval, because what it has is ready then."""

    @property
    def place_s(self) -> float:
        """How long after each whole interval of the wall clock."""
        ...


@dataclass(slots=True)
class _State:
    """How a target's last poll ended, and what it weighed; `problem` is "" when it was good, None before the first."""

    problem: str | None = None
    size_bytes: int = _FIRST_BYTES
    services: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class Scraping:
    """The targets of one scraper, as a component."""

    def __init__(
        self,
        name: str,
        targets: Sequence[Target],
        downstream: Downstream,
        surroundings: Surroundings,
    ) -> None:
        names = [target.name for target in targets]
        if len(set(names)) != len(names):
            msg = f"targets of {name} must have different names"
            raise ValueError(msg)
        self._name = name
        self._targets = tuple(targets)
        self._downstream = downstream
        self._surroundings = surroundings
        self._flow = Flow(name, surroundings.metrics)
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(name, metrics=surroundings.metrics, logger=surroundings.logger)
        self._states = {target.name: _State() for target in targets}
        self._running = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return self._name

    async def start(self) -> None:
        """Ask from now on; a target that is away does not hold up the start."""
        self._running = True
        for target in self._targets:
            self._tasks.spawn(target.name, partial(self._follow, target))
        self._health.ok("Asking for the first time")

    async def stop(self) -> None:
        """Ask no more, and let go of the connections."""
        self._running = False
        await self._tasks.close()
        for target in self._targets:
            try:
                await asyncio.wait_for(target.close(), _CLOSE_TIMEOUT_S)
            except Exception:
                self._surroundings.logger.exception(
                    "A target could not be let go of", extra=self._fields(target)
                )
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Failing when no target answers, degraded when one does not or gives less than it could."""
        if self._running:
            self._judge()
        return self._health.current

    async def reach(self) -> tuple[Reach, ...]:
        """What is reachable of all targets, asked at once, each within its own time limit."""
        found = await asyncio.gather(*(self._reach(target) for target in self._targets))
        return tuple(one for of_target in found for one in of_target)

    async def _reach(self, target: Target) -> tuple[Reach, ...]:
        try:
            return await asyncio.wait_for(target.reach(), target.timeout_s)
        except TimeoutError:
            sentence = f"no answer within {target.timeout_s:g} s"
        except Exception as error:  # noqa: BLE001  # one finding must not hide the others
            sentence = _sentence_of(error)
        what = f"{self._name} {target.name}"
        return (Reach(what=what, status=ReachStatus.FAILING, sentence=sentence),)

    async def _follow(self, target: Target) -> None:
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        interval_ns = round(target.interval_s * 1e9)
        if isinstance(target, PlacedTarget):
            phase_ns = round(target.place_s * 1e9)
        else:
            phase_ns = place_ns(self._name, target.name, interval_ns=interval_ns)
        while self._running:
            await self._poll(target)
            # The place is the wall clock's; how long was waited is not, for that clock may be stepped meanwhile.
            began_s = clock.monotonic_s()
            wait_s = (interval_ns - (clock.now_ns() - phase_ns) % interval_ns) / 1e9
            await clock.sleep(wait_s)
            missed = int((clock.monotonic_s() - began_s - wait_s) // target.interval_s)
            if missed > 0:
                metrics.count("sentinel_scrape_late_total", missed, **self._labels(target))

    async def _poll(self, target: Target) -> None:
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        started_s = clock.monotonic_s()
        inflight, size_bytes = self._downstream.inflight, self._states[target.name].size_bytes
        if not inflight.take_if_calm(size_bytes):
            self._pass_over(target)
            return
        try:
            with self._surroundings.tracer.span(
                OwnSpan.SCRAPE, scraper=self._name, target=target.name
            ):
                async with asyncio.timeout(target.timeout_s):
                    polled = await target.poll(clock.now_ns())
        except (SentinelError, TimeoutError) as error:
            self._failed(target, error)
        except Exception as error:
            # A fault of ours that this answer found; the task goes on, and so do the others.
            self._surroundings.logger.exception("A poll broke", extra=self._fields(target))
            self._failed(target, error)
        else:
            self._take(target, polled)
        finally:
            inflight.give_back(size_bytes)
        elapsed_s = clock.monotonic_s() - started_s
        metrics.observe("sentinel_scrape_duration_seconds", elapsed_s, scraper=self._name)
        if elapsed_s > target.interval_s:
            late = int(elapsed_s // target.interval_s)
            metrics.count("sentinel_scrape_late_total", late, **self._labels(target))

    def _pass_over(self, target: Target) -> None:
        """Ask another time: there is no room for an answer. That says nothing of the target, whose state stays."""
        self._flow.error(FlowStage.READ, FlowReason.OVERLOADED)
        result = FlowReason.OVERLOADED.value
        self._surroundings.metrics.count(
            "sentinel_scrapes_total", result=result, **self._labels(target)
        )
        self._note_missing(target)

    def _note_missing(self, target: Target) -> None:
        """What a page was not asked for, or not taken, would have told of is not known until the next one."""
        services, owed = self._states[target.name].services, self._downstream.owed
        if owed is not None and services:
            owed.turned_away(
                (self._name, target.name),
                component=self._name,
                signal=OtlpSignal.METRICS.value,
                services=services,
            )

    def _take(self, target: Target, polled: Polled) -> None:
        count, signal = polled.batch.sample_count, OtlpSignal.METRICS.value
        state = self._states[target.name]
        state.size_bytes, state.services = polled.size_bytes, polled.batch.services
        self._flow.received(count, signal=signal)
        admission = self._downstream.sink.accept(
            replace(polled.batch, pulled=True), size_bytes=polled.size_bytes
        )
        if admission is Admission.ACCEPTED:
            self._flow.sent(count, signal=signal)
            if self._downstream.owed is not None:
                self._downstream.owed.settled((self._name, target.name))
        else:
            # The next poll brings newer numbers; to keep these would only make the queue longer.
            reason = (
                FlowReason.QUEUE_FULL
                if admission is Admission.RETRY_LATER
                else FlowReason.MALFORMED
            )
            self._flow.error(FlowStage.TAKE, reason)
            self._flow.dropped(reason, count)
            self._note_missing(target)
        self._flow.rejected(polled.batch.rejected)
        metrics, labels = self._surroundings.metrics, self._labels(target)
        metrics.set("sentinel_scraper_up", 1, **labels)
        metrics.count("sentinel_scrapes_total", result="ok", **labels)
        if state.problem:
            self._surroundings.logger.info("A target answers again", extra=self._fields(target))
        if polled.notes and polled.notes != state.notes:
            self._surroundings.logger.warning(
                "A target gives less than it could",
                extra={**self._fields(target), "missing": "; ".join(polled.notes)},
            )
        state.problem, state.notes = "", polled.notes

    def _failed(self, target: Target, error: Exception) -> None:
        reason = reason_of(error)
        stage = (
            FlowStage.DECODE
            if reason in (FlowReason.MALFORMED, FlowReason.UNSUPPORTED, FlowReason.FAULT)
            else FlowStage.READ
        )
        self._flow.error(stage, reason)
        metrics, labels = self._surroundings.metrics, self._labels(target)
        metrics.set("sentinel_scraper_up", 0, **labels)
        metrics.count("sentinel_scrapes_total", result=reason.value, **labels)
        sentence = (
            f"no answer within {target.timeout_s:g} s"
            if isinstance(error, TimeoutError)
            else _sentence_of(error)
        )
        state = self._states[target.name]
        if not state.problem:
            self._surroundings.logger.warning(
                "A target cannot be read", extra={**self._fields(target), "reason": sentence}
            )
        state.problem, state.notes = sentence, ()

    def _judge(self) -> None:
        crashed = self._tasks.failing
        bad = {name: state.problem for name, state in self._states.items() if state.problem}
        noted = {name: state.notes[0] for name, state in self._states.items() if state.notes}
        if crashed:
            self._health.failing(f"Crashed and restarting: {', '.join(sorted(crashed))}")
        elif bad and len(bad) == len(self._states):
            self._health.failing(f"No target can be read: {_listed(bad)}")
        elif bad:
            self._health.degraded(
                f"{len(bad)} of {len(self._states)} targets cannot be read: {_listed(bad)}"
            )
        elif noted:
            self._health.degraded(f"Less than there could be: {_listed(noted)}")
        elif any(state.problem is None for state in self._states.values()):
            self._health.ok("Asking for the first time")
        else:
            count = len(self._states)
            self._health.ok(f"{count} target{'s' if count > 1 else ''} read")

    def _labels(self, target: Target) -> dict[str, str]:
        return {"scraper": self._name, "target": target.name}

    def _fields(self, target: Target) -> dict[str, str]:
        return {"scraper": self._name, "target": target.name}


def place_ns(scraper: str, target: str, *, interval_ns: int) -> int:
    """Where in its interval a target is asked: a place of its name, the same after a restart, evenly spread over names.

    Not by a checksum: those of `pod-1`, `pod-2` and so on lie together, and their remainders lie in the first seconds of
    an interval that is longer than four.
    """
    digest = blake2b(f"{scraper} {target}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") * interval_ns >> 32


class SlowReading:
    """Says when something is due that is read less often than its target is polled.

    The reader keeps the last answer and gives it again with each poll until the next, so that the series has a value in
    each window; one that failed is due again after a tenth of the time.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Whether it is time; `now_s` is a clock that does not go back."""
        return now_s >= self._due_s

    def done(self, now_s: float) -> None:
        """It was read."""
        self._due_s = now_s + self._every_s

    def failed(self, now_s: float) -> None:
        """It could not be read."""
        self._due_s = now_s + self._every_s / 10


def _sentence_of(error: Exception) -> str:
    text = redact(str(error)) or type(error).__name__
    visible = "".join(one if one.isprintable() else " " for one in text)
    return visible[:_SENTENCE_CHARACTERS_MAX]


def _listed(named: dict[str, str]) -> str:
    shown = [f"{name}: {why}" for name, why in sorted(named.items())[:_NAMES_SHOWN]]
    more = len(named) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
