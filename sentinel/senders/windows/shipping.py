"""Windows of a collecting sidecar to the scorer: through a queue on disk, in order, until each is taken.

A window leaves the queue when the scorer has it on its own disk. So a scorer that is away, restarts or is killed costs nothing but
time, for as long as the queue has room; and a collector that is killed sends what it had closed once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sentinel.core.series import Closed
from sentinel.core.series.collected import CollectedWindow, encode
from sentinel.core.series.collected.wire import identity_of
from sentinel.errors import InputTooLargeError, StoreLockedError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.disk_queue.queue import DiskQueue
from sentinel.runtime.disk_queue.records import Record
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.otlp_reply import OtlpEncoding
from sentinel.runtime.tasks import TaskGroup
from sentinel.senders.windows.config import CollectConfig
from sentinel.senders.windows.transports import Outcome, Transport, Verdict

_FREE_BYTES_MIN = 16 << 20
_MEMORY_BYTES_MAX = 16 << 20
_FIRST_RETRY_S = 0.1

Result = TypeVar("Result")


class Shipping:
    """The next stage of a collector's ingest."""

    def __init__(
        self,
        config: CollectConfig,
        folder: Path,
        transport: Transport,
        hello: Callable[[], CollectedWindow],
        surroundings: Surroundings,
    ) -> None:
        """Store what is needed.

        Args:
            config: see there.
            folder: of the queue; its own.
            transport: the way to the scorer.
            hello: what is said first.
            surroundings: clock, metrics, logger.
        """
        self._config = config
        self._transport = transport
        self._hello = hello
        self._surroundings = surroundings
        self._queue = DiskQueue(
            folder, bytes_max=int(config.queue_max), free_bytes_min=_FREE_BYTES_MIN
        )
        self._folder = folder
        self._lock_fd = -1
        self._memory: deque[Record] = deque()
        self._memory_bytes = 0
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows")
        self._ready = asyncio.Event()
        self._sent = asyncio.Event()
        self._running = False
        self._is_open = False
        self._trouble: Outcome | None = None
        self._is_disk_failing = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "senders.windows"

    async def start(self) -> None:
        """Find what a process before left, say hello, and send from now on.

        Raises:
            StoreLockedError: another process has the queue; two would send the same windows, and lose others.
        """
        await self._run(self._claim)
        try:
            await self._run(self._queue.open)
            self._is_open = True
        except OSError as error:
            # What is closed waits in memory; a sidecar that cannot queue is better than none.
            self._surroundings.logger.warning(
                "The queue of windows cannot be used, they wait in memory", exc_info=error
            )
            self._flow.error(FlowStage.STORE, FlowReason.FAULT)
            self._is_disk_failing = True
        self._running = True
        await self._put(self._hello())
        self._tasks.spawn("send", self._send)
        self._tell_health()

    async def stop(self) -> None:
        """Send what is left for a while; the rest waits on disk."""
        if not self._running:
            return
        try:
            async with asyncio.timeout(self._config.drain_timeout):
                while self._waiting_count:
                    self._sent.clear()
                    await self._sent.wait()
        except TimeoutError:
            self._surroundings.logger.warning(
                "The scorer did not take all windows in time; they wait on disk",
                extra={"window_count": self._waiting_count},
            )
        self._running = False
        await self._tasks.close()
        await self._transport.close()
        await self._run(self._queue.close)
        self._let_go()
        self._thread.shutdown(wait=False)
        self._flow.dropped(FlowReason.STOPPED, len(self._memory))
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._running:
            self._tell_health()
        return self._health.current

    async def ship(self, closed: Closed[CollectedWindow]) -> None:
        """Queue closed windows; they are on disk on return, where the disk takes them."""
        for window in closed.windows:
            await self._put(window)

    @property
    def _waiting_count(self) -> int:
        return self._queue.item_count + len(self._memory)

    async def _put(self, window: CollectedWindow) -> None:
        self._flow.received(1, signal="windows")
        metrics = self._surroundings.metrics
        try:
            encoded = await self._run(lambda: encode(window))
        except InputTooLargeError as error:
            self._flow.dropped(FlowReason.TOO_LARGE)
            metrics.count("sentinel_collect_dropped_windows_total", reason="too_large")
            self._surroundings.logger.warning(
                "A window was too large to be sent", extra={"reason": str(error)}
            )
            return
        for signal in encoded.left_out:
            metrics.count("sentinel_collect_left_out_total", signal=signal)
        metrics.observe("sentinel_collect_window_bytes", len(encoded.body))
        record = Record(encoding=OtlpEncoding.PROTOBUF, item_count=1, body=encoded.body)
        # In order: while something waits in memory, nothing overtakes it by the disk.
        is_kept = False
        if self._is_open and not self._memory:
            is_kept = await self._run(lambda: self._queue.append(record))
            self._is_disk_failing = not is_kept
        if not is_kept:
            self._remember(record)
        self._note_losses()
        self._tell_queue()
        self._ready.set()

    def _remember(self, record: Record) -> None:
        self._memory.append(record)
        self._memory_bytes += len(record.body)
        while self._memory_bytes > _MEMORY_BYTES_MAX and len(self._memory) > 1:
            self._memory_bytes -= len(self._memory.popleft().body)
            self._dropped(1, "queue_full", FlowReason.QUEUE_FULL)

    async def _send(self) -> None:
        backoff = Backoff(
            first_s=min(_FIRST_RETRY_S, self._config.retry_max), limit_s=self._config.retry_max
        )
        failures = 0
        while True:
            body, of_disk = await self._first()
            if body is None:
                self._sent.set()
                self._ready.clear()
                if not self._waiting_count:
                    await self._ready.wait()
                continue
            outcome = await self._transport.send(body, identity=identity_of(body))
            self._surroundings.metrics.count(
                "sentinel_collect_requests_total", result=outcome.verdict.value
            )
            if outcome.verdict is Verdict.RETRY:
                failures += 1
                self._trouble = outcome
                self._flow.error(FlowStage.SEND, FlowReason.UNREACHABLE)
                wait_s = backoff.wait_s(failures, retry_after_s=outcome.retry_after_s)
                await self._surroundings.clock.sleep(wait_s)
                continue
            failures = 0
            if outcome.verdict is Verdict.REFUSED:
                self._trouble = outcome
                self._flow.error(FlowStage.SEND, FlowReason.REFUSED)
                self._dropped(1, "refused", FlowReason.REFUSED)
            else:
                self._trouble = None
                self._flow.sent(1, signal="windows")
            await self._done(of_disk=of_disk)

    async def _first(self) -> tuple[bytes | None, bool]:
        """The oldest that waits, and whether it is on disk; what is there is older than what is in memory."""
        if self._is_open and self._queue.item_count:
            records = await self._run(lambda: self._queue.peek(bytes_max=0))
            self._note_losses()
            if records:
                return records[0].body, True
        return (self._memory[0].body, False) if self._memory else (None, False)

    async def _done(self, *, of_disk: bool) -> None:
        if of_disk:
            self._queue.note_delivered()
            await self._run(self._queue.ack)
        elif self._memory:
            self._memory_bytes -= len(self._memory.popleft().body)
        self._tell_queue()
        self._sent.set()

    def _tell_queue(self) -> None:
        metrics = self._surroundings.metrics
        metrics.set("sentinel_collect_queue_windows", self._waiting_count)
        metrics.set("sentinel_collect_queue_bytes", self._queue.size_bytes + self._memory_bytes)

    def _note_losses(self) -> None:
        losses = self._queue.take_losses()
        self._dropped(losses.full_items, "queue_full", FlowReason.QUEUE_FULL)
        self._dropped(losses.damaged_items, "damaged", FlowReason.DAMAGED)
        self._flow.error(FlowStage.STORE, FlowReason.FAULT, losses.disk_errors)

    def _dropped(self, count: int, reason: str, flow_reason: FlowReason) -> None:
        if count:
            self._flow.dropped(flow_reason, count)
            self._surroundings.metrics.count(
                "sentinel_collect_dropped_windows_total", count, reason=reason
            )

    async def _run(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _claim(self) -> None:
        """Hold the folder for as long as this process lives; one that cannot be held is left to the queue to complain of."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock_fd = os.open(self._folder / "in-use", flags, 0o600)
        if self._lock_fd < 0:
            return
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._let_go()
            msg = f"another process uses the queue of windows in {self._folder}"
            raise StoreLockedError(msg) from None

    def _let_go(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _tell_health(self) -> None:
        place, waiting = self._transport.place, self._waiting_count
        if self._tasks.failing:
            self._health.failing(f"Crashed and restarting: {', '.join(self._tasks.failing)}")
        elif self._trouble is not None and self._trouble.verdict is Verdict.REFUSED:
            self._health.failing(f"The scorer at {place} refuses windows: {self._trouble.detail}")
        elif self._trouble is not None:
            self._health.degraded(
                f"The scorer at {place} takes no windows, {waiting} wait: {self._trouble.detail}"
            )
        elif self._is_disk_failing:
            self._health.degraded("The disk takes no windows; they wait in memory")
        else:
            self._health.ok(f"Sending windows to {place}")
