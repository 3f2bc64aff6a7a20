"""From batches to closed windows: a bounded queue, one task, and a tick that lets silence close windows too.

Accepting never waits. While the next stage is slow the queue fills, and once it is full senders are told to
come back: what is accepted is reduced, what is not accepted stays with the sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from sentinel.core.evidence import ServiceVersions
from sentinel.core.model import Kind, Missing, SampleBatch
from sentinel.core.series import (
    Closed,
    Reduction,
    SeriesCounts,
)
from sentinel.core.series.row_groups import Received, groups_of, joined
from sentinel.core.series.watermark import STEP_MAX_NS
from sentinel.pipeline.ingest.config import IngestConfig
from sentinel.pipeline.ingest.noticed import count_noticed
from sentinel.ports import Admission
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, counts_by_signal, reason_of
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.queue import BoundedQueue
from sentinel.runtime.tasks import TaskGroup


class HandedOn(Protocol):
    """A closed window, whatever it was made into."""

    @property
    def series_counts(self) -> Mapping[Kind, int]:
        """How many series of each kind it has."""
        ...


Window = TypeVar("Window", bound=HandedOn)
WindowStage = Callable[[Closed[Window]], Awaitable[None]]
"""What closed windows are handed to, one call at a time and in order.

It owns its failures: windows for which it raises are counted as dropped and are not handed on again, because
deciding on a window twice would be worse than not at all.
"""

_DEGRADED_RATIO = 0.8
_BATCHES_A_TURN = 64
_GROUPS_A_TURN = 16
_GATHER_S = 0.25
_GATHER_BYTES = 2**20
_GATHER_FILL_RATIO = 0.25


class Ingest(Generic[Window]):
    """The `SampleSink` of the program."""

    def __init__(
        self,
        config: IngestConfig,
        aggregator: Reduction[Window],
        next_stage: WindowStage[Window],
        surroundings: Surroundings,
        *,
        finish: Callable[[int], Closed[Window]] | None = None,
        inflight: Inflight | None = None,
        missing: Callable[[], Sequence[Missing]] = tuple,
        versions: ServiceVersions | None = None,
    ) -> None:
        """Store what is needed.

        Args:
            config: see there.
            aggregator: what batches are reduced by.
            next_stage: what closed windows are handed to.
            surroundings: clock, metrics, logger.
            finish: closes what is open when nothing more comes, where a part of a window is worth handing on.
            inflight: where what is queued and not reduced yet is held.
            missing: what was turned away and has not come again.
            versions: where it is noted which versions services name.
        """
        self._missing = missing
        self._versions = versions or ServiceVersions()
        self._finish = finish
        self._config = config
        self._inflight = inflight or Inflight()
        self._aggregator = aggregator
        self._next_stage = next_stage
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._queue: BoundedQueue[Received] = BoundedQueue(
            item_count_max=config.queue_count_max, size_bytes_max=config.queue_max
        )
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._accepting = False
        self._next_round: asyncio.TimerHandle | None = None
        self._round_s = float("-inf")
        self._dropped_reason = ""
        self._faulty_reason = ""

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.ingest"

    @property
    def watermark_ns(self) -> int:
        """Windows that end by here are closed."""
        return self._aggregator.watermark_ns

    @property
    def fill_ratio(self) -> float:
        """How full the queue is, 0-1."""
        return self._queue.fill_ratio

    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:
        """Queue a batch, or tell its sender to come back; never waits."""
        received_ns = self._surroundings.clock.now_ns()
        if not self._accepting or not self._queue.offer(
            (batch, received_ns), size_bytes=size_bytes
        ):
            self._surroundings.metrics.count("sentinel_ingest_refused_batches_total")
            self._flow.error(FlowStage.TAKE, FlowReason.QUEUE_FULL)
            return Admission.RETRY_LATER
        for signal, count in counts_by_signal(batch).items():
            self._flow.received(count, signal=signal)
        self._inflight.hold(size_bytes)
        if batch.versions:
            self._note_versions(batch, received_ns)
        self._wake_soon()
        return Admission.ACCEPTED

    def _note_versions(self, batch: SampleBatch, received_ns: int) -> None:
        before = self._versions.dropped_count
        self._versions.heard(sorted(batch.versions), now_ns=received_ns)
        if dropped := self._versions.dropped_count - before:
            self._surroundings.metrics.count("sentinel_service_versions_dropped_total", dropped)

    def _wake_soon(self) -> None:
        """Begin a round at once when the last one began a while ago, or when much waits; else when it will have been.

        A round costs nearly the same for one batch as for twenty, and no window closes later for it.
        """
        loop = asyncio.get_running_loop()
        wait_s = self._round_s + _GATHER_S - loop.time()
        # What waits counts as in flight; gathering must not be what turns a sender away.
        much = (
            self._queue.size_bytes > _GATHER_BYTES or self._queue.fill_ratio > _GATHER_FILL_RATIO
        )
        if wait_s <= 0 or much:
            self._round_s = loop.time()
            self._wake.set()
        elif self._next_round is None:
            self._next_round = loop.call_later(wait_s, self._gathered)

    def _gathered(self) -> None:
        self._next_round = None
        if len(self._queue):
            self._round_s = asyncio.get_running_loop().time()
            self._wake.set()

    async def start(self) -> None:
        """Accept from now on."""
        self._accepting = True
        self._idle.clear()
        # Looked at once now, so that the first window is the first that begins from here on, not after a tick.
        self._wake.set()
        self._tasks.spawn("reduce", self._reduce)
        self._tasks.spawn("tick", self._tick)
        self._health.ok("Reducing")

    async def stop(self) -> None:
        """Accept nothing more, reduce what is queued, hand on the windows that are complete.

        A window that is still open is left out: half of it would look like a fall of traffic. Not so where it is a part that
        others add to.
        """
        if not self._accepting:
            return
        self._accepting = False
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None
        self._wake.set()
        # The round that runs is let end: cancelled, it would lose windows that are being decided on.
        try:
            await asyncio.wait_for(self._idle.wait(), self._config.drain_timeout)
        except TimeoutError:
            self._surroundings.logger.warning("Queued samples were not reduced in time")
        await self._tasks.close()
        if self._finish is not None:
            await self._hand_on(self._finish(self._surroundings.clock.now_ns()))
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._accepting:
            self._judge()
        return self._health.current

    async def _tick(self) -> None:
        clock = self._surroundings.clock
        while self._accepting:
            now_ns = clock.now_ns()
            due_s = (self._aggregator.due_ns(now_ns) - now_ns) / 1e9
            await clock.sleep(min(due_s, self._config.tick) if due_s > 0 else self._config.tick)
            self._wake.set()

    async def _reduce(self) -> None:
        while self._accepting:
            # The tick task sets it at the latest.
            await self._wake.wait()
            self._wake.clear()
            await self._round()
        await self._round()
        self._idle.set()

    async def _round(self) -> None:
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        metrics.set("sentinel_ingest_queue_ratio", self._queue.fill_ratio)
        # Before the queue is emptied: what has come, or come again, by now is in it. What comes while this is reduced
        # is of the next round, so that no window may be closed that falls due meanwhile.
        now_ns, missing = clock.now_ns(), self._missing()
        held_bytes, batches = self._queue.size_bytes, self._queue.take_all()
        started_s = clock.monotonic_s()
        for first in range(0, len(batches), _BATCHES_A_TURN):
            if first:
                await asyncio.sleep(0)
            groups = groups_of(batches[first : first + _BATCHES_A_TURN])
            for number, group in enumerate(groups):
                if number and number % _GROUPS_A_TURN == 0:
                    await asyncio.sleep(0)
                self._add_together(group)
        self._inflight.give_back(held_bytes)
        closed = self._aggregator.close(now_ns, missing=missing)
        if batches:
            metrics.count("sentinel_ingest_batches_total", len(batches))
            metrics.observe("sentinel_ingest_reduce_seconds", clock.monotonic_s() - started_s)
        metrics.set("sentinel_watermark_timestamp_seconds", closed.watermark_ns / 1e9)
        self._report()
        self._note_faults(closed)
        if closed.windows:
            await self._hand_on(closed)

    def _add_together(self, group: Sequence[Received]) -> None:
        if len(group) == 1:
            self._add(*group[0])
            return
        now_ns = max(received_ns for _, received_ns in group)
        fresh = [batch for batch, _ in group if not self._aggregator.is_repeat(batch)]
        try:
            whole = joined(fresh, now_ns=now_ns)
        except Exception:
            self._surroundings.logger.exception("Batches could not be joined")
            # One of them found a fault of ours; which one is seen when each is taken alone.
            for batch in fresh:
                self._add(replace(batch, fingerprint=b""), now_ns)
        else:
            self._add(whole, now_ns)

    def _add(self, batch: SampleBatch, received_ns: int) -> None:
        try:
            self._aggregator.add(batch, received_ns)
        except Exception:
            # A fault of ours that this batch found; the others must not pay for it.
            self._surroundings.metrics.count("sentinel_ingest_faulty_batches_total")
            self._flow.error(FlowStage.DECODE, FlowReason.FAULT)
            self._flow.dropped(FlowReason.FAULT, batch.sample_count)
            self._surroundings.logger.exception("A batch could not be reduced")

    def _note_faults(self, closed: Closed[Window]) -> None:
        for fault in closed.faults:
            self._faulty_reason = f"{type(fault).__name__} while reducing a window"
            self._surroundings.logger.error("A window could not be reduced", exc_info=fault)
        if closed.windows and not closed.faults:
            self._faulty_reason = ""

    async def _hand_on(self, closed: Closed[Window]) -> None:
        for kind, count in closed.windows[-1].series_counts.items():
            self._surroundings.metrics.set("sentinel_series", count, kind=kind.name.lower())
        try:
            await asyncio.wait_for(self._next_stage(closed), self._config.stage_timeout)
        except Exception as error:
            self._dropped_reason = f"{type(error).__name__} while deciding on a window"
            self._surroundings.metrics.count(
                "sentinel_windows_dropped_total", len(closed.windows), reason="failed"
            )
            self._flow.error(FlowStage.SEND, reason_of(error))
            self._flow.dropped(reason_of(error), len(closed.windows))
            self._surroundings.logger.exception(
                "Windows were dropped", extra={"window_count": len(closed.windows)}
            )
        else:
            self._flow.sent(len(closed.windows), signal="windows")
            self._dropped_reason = ""

    def _report(self) -> None:
        metrics = self._surroundings.metrics
        templates = self._aggregator.templates
        if templates.names_series:
            metrics.set("sentinel_log_templates", templates.count)
        if templates.refused_count:
            metrics.count("sentinel_log_templates_refused_total", templates.refused_count)
            templates.refused_count = 0
        self.report(self._aggregator.take_counts())

    def report(self, counts: SeriesCounts) -> None:
        """Count what the reduction of samples gave up or noticed, here or where parts are merged."""
        count_noticed(counts, flow=self._flow, surroundings=self._surroundings)

    def _ahead_s(self) -> float:
        """How far windows are closed beyond what the clock shows; 0 for as little as is over within a minute."""
        ahead_ns = self._aggregator.watermark_ns - self._surroundings.clock.now_ns()
        return ahead_ns / 1e9 if ahead_ns > STEP_MAX_NS else 0.0

    def _judge(self) -> None:
        failing = self._tasks.failing
        if failing:
            self._health.failing(f"Crashed and restarting: {', '.join(sorted(failing))}")
        elif self._dropped_reason or self._faulty_reason:
            self._health.failing(self._dropped_reason or self._faulty_reason)
        elif self._queue.fill_ratio > _DEGRADED_RATIO:
            self._health.degraded(f"The queue is {self._queue.fill_ratio:.0%} full")
        elif self._aggregator.clock_distrusted:
            self._health.degraded("The clock has jumped; windows wait until it is confirmed")
        elif (ahead_s := self._ahead_s()) > 0:
            self._health.failing(
                f"The clock went back by {ahead_s:.0f} s; nothing is judged until that has held for a minute"
            )
        else:
            self._health.ok("Reducing")
