"""What goes to one endpoint of one signal: its queue on disk, its queue in memory, and the task that empties them.

A lane waits for nobody: an endpoint that hangs, or refuses one signal, holds up no other. Order within a lane is kept,
save that what is in memory goes after what is on disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sentinel.core.normalise.otlp_requests import halves
from sentinel.errors import MalformedInputError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Surroundings
from sentinel.runtime.disk_queue.queue import DiskQueue
from sentinel.runtime.disk_queue.records import Record
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.senders.otlp_forward.config import EndpointConfig
from sentinel.senders.otlp_forward.memory_queue import MemoryQueue
from sentinel.senders.otlp_forward.outcome import Outcome, Verdict
from sentinel.senders.otlp_forward.transports import Transport

RETRY_AFTER_MAX_S = 300.0
_FIRST_RETRY_S = 0.25

Result = TypeVar("Result")


class RunBlocking(Protocol):
    """Runs something on the thread of the queues, one thing at a time."""

    def __call__(self, run: Callable[[], Result], /) -> Awaitable[Result]:
        """What it gave."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What keeps a lane from sending, or its disk from taking.

    Attributes:
        sentence: for a person, without secrets.
        is_sending: whether sending is what fails; else it is the disk, and sending goes on.
    """

    sentence: str
    is_sending: bool


class Lane:
    """One signal on its way to one endpoint. Its queues are only touched through `run_blocking`, by one thread."""

    def __init__(
        self,
        signal: OtlpSignal,
        config: EndpointConfig,
        transport: Transport,
        disk: DiskQueue,
        run_blocking: RunBlocking,
        flow: Flow,
        surroundings: Surroundings,
    ) -> None:
        self.signal = signal
        self.config = config
        self._transport = transport
        self._disk = disk
        self._memory = MemoryQueue(
            bytes_max=config.queue.memory_max_bytes, given_back=self._give_back
        )
        self._is_disk_open = False
        self._run_blocking = run_blocking
        self._flow = flow
        self._surroundings = surroundings
        self._labels = {"endpoint": config.name, "signal": signal.value}
        self._backoff = Backoff(
            first_s=min(_FIRST_RETRY_S, config.retry_max), limit_s=config.retry_max
        )
        self._ready = asyncio.Event()
        self._is_busy = False
        self._sending: Outcome | None = None
        self._refused: Outcome | None = None
        self._disk_trouble = ""

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong now, or None."""
        where = f"{self.config.name} ({self.signal.value})"
        if self._sending is not None:
            return Trouble(sentence=f"{where}: {self._sending.detail}", is_sending=True)
        if self._refused is not None:
            return Trouble(sentence=f"{where} refuses: {self._refused.detail}", is_sending=True)
        if self._disk_trouble:
            return Trouble(sentence=f"{where}: {self._disk_trouble}", is_sending=False)
        return None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way or waits in memory."""
        return not self._is_busy and not self._memory.item_count

    # On the thread of the queues.

    def open(self) -> None:
        """Find what a process before left; a disk that cannot be used is noted, and memory serves."""
        try:
            self._disk.open()
            self._is_disk_open = True
        except OSError as error:
            self._note_disk(f"its queue cannot be opened ({error.strerror})")
            self._flow.error(FlowStage.STORE, FlowReason.FAULT)
        self._report()

    def without_known(self, records: Sequence[Record]) -> list[Record]:
        """Those of the records that the queue on disk did not take before, in a process that was killed."""
        found: list[Record] = []
        known_items = 0
        for record in records:
            if record.marks and self._disk.marks.has(record.marks):
                known_items += record.item_count
                self._take_over(record)
            else:
                found.append(record)
        if known_items:
            self._surroundings.metrics.count(
                "sentinel_forward_known_items_total", known_items, **self._labels
            )
        return found

    def put(self, records: Sequence[Record], *, to_disk: bool) -> None:
        """Queue records; what finds no room is dropped and counted, or refused where it can be offered again."""
        for record in records:
            if record.offered and self._is_settled(record):
                continue
            if to_disk and self._is_disk_open and self._disk.append(record):
                self._note_disk("")
                continue
            if to_disk:
                self._flow.error(FlowStage.STORE, FlowReason.DISK_FULL)
                if self._is_disk_open:
                    self._note_disk("the disk takes nothing, its queue is in memory")
            reason = FlowReason.DISK_FULL if to_disk else FlowReason.QUEUE_FULL
            self._drop(reason, self._memory.append(record))
        self._report()

    def wanted(self, records: Sequence[Record]) -> list[Record]:
        """Those of the records that are for this endpoint."""
        name = self.config.name
        return [
            record
            for record in records
            if all(name in offered.receipt.endpoints for offered in record.offered)
        ]

    def _is_settled(self, record: Record) -> bool:
        """Queue a record that can be offered again, or refuse it; False when it can never be queued.

        Nothing is dropped for it, and it waits in memory only if it is the one that is sent next.
        """
        receipts = [offered.receipt for offered in record.offered]
        if any(receipt.is_refused(self.config.name) for receipt in receipts):
            self._refuse(record)
        elif self._is_disk_open and self._disk.holds(record) and self._disk.append(record):
            self._note_disk("")
            self._take_over(record)
            self._note_received(record)
        elif (
            all(receipt.is_again for receipt in receipts)
            and self.is_idle
            and not self._disk.item_count
            and self._memory.could_hold(record)
        ):
            for receipt in receipts:
                receipt.hold(self.config.name)
            self._memory.append(record)
            self._note_received(record)
        elif self._disk.could_hold(record) or self._memory.could_hold(record):
            if not self._is_disk_open or self._disk.holds(record):
                self._flow.error(FlowStage.STORE, FlowReason.DISK_FULL)
                if self._is_disk_open:
                    self._note_disk("the disk takes nothing, lines of files wait in their files")
            self._refuse(record)
        else:
            self._take_over(record)
            return False
        return True

    def _note_received(self, record: Record) -> None:
        # What is offered for the first time was counted when it came, once for all endpoints.
        if record.offered[0].receipt.is_again:
            self._flow.received(record.item_count, signal=self.signal.value)

    def _take_over(self, record: Record) -> None:
        reached = {offered.receipt: offered.count for offered in record.offered}
        for receipt, count in reached.items():
            receipt.take(self.config.name, count)

    def _refuse(self, record: Record) -> None:
        for offered in record.offered:
            offered.receipt.refuse(self.config.name)

    def _give_back(self, record: Record) -> None:
        for offered in record.offered:
            offered.receipt.give_back(self.config.name)

    def to_sync(self) -> list[int]:
        """See `DiskQueue.to_sync`."""
        return self._disk.to_sync() if self._is_disk_open else []

    def note_unsynced(self) -> None:
        """See `DiskQueue.note_unsynced`."""
        self._disk.note_unsynced()

    def close(self) -> None:
        """Sync, let go, and count what goes with the memory; idempotent."""
        self._drop(FlowReason.STOPPED, self._memory.empty())
        if self._is_disk_open:
            self._is_disk_open = False
            self._disk.close()

    # On the event loop.

    def wake(self) -> None:
        """Something was queued."""
        self._ready.set()

    async def run(self) -> None:
        """Send what waits, for ever."""
        while True:
            self._ready.clear()
            records, ack = await self._take()
            if not records:
                self._is_busy = False
                await self._ready.wait()
                continue
            self._is_busy = True
            await self._deliver(records)
            # At once and beside the thread of the queues, which may be at work: a kill before this sends all of it again.
            await asyncio.to_thread(self._disk.note_delivered)
            await self._run_blocking(ack)
            for record in records:
                self._take_over(record)

    async def _take(self) -> tuple[list[Record], Callable[[], None]]:
        def take() -> tuple[list[Record], Callable[[], None]]:
            self._report()
            bytes_max = self.config.request_max_bytes
            if self._is_disk_open and (records := self._disk.peek(bytes_max=bytes_max)):
                return records, self._disk.ack
            memory = self._memory
            return memory.peek(bytes_max=bytes_max), memory.ack

        return await self._run_blocking(take)

    async def _deliver(self, records: list[Record]) -> None:
        """Try until every item of the records was taken or refused."""
        encoding = records[0].encoding
        waiting: deque[tuple[bytes, int]] = deque()
        if encoding is OtlpEncoding.PROTOBUF:
            # Requests are messages of repeated fields: one behind the other they are one request of all.
            body = (
                records[0].body if len(records) == 1 else b"".join([one.body for one in records])
            )
            waiting.append((body, sum(one.item_count for one in records)))
        else:
            waiting.extend((one.body, one.item_count) for one in records)
        attempts = 0
        while waiting:
            body, item_count = waiting[0]
            outcome = await self._transport.send(self.signal, encoding, body)
            self._count(outcome)
            if outcome.verdict is Verdict.RETRY:
                attempts += 1
                self._note_retry(outcome, attempts)
                wish_s = min(outcome.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
                await self._surroundings.clock.sleep(max(self._backoff.wait_s(attempts), wish_s))
                continue
            waiting.popleft()
            attempts = 0
            if outcome.verdict is Verdict.TAKEN:
                self._note_taken(item_count, outcome.rejected_count)
            elif outcome.verdict is Verdict.SPLIT and (parts := await self._split(encoding, body)):
                waiting.extendleft(reversed(parts))
            else:
                self._note_refused(outcome, item_count)

    async def _split(self, encoding: OtlpEncoding, body: bytes) -> tuple[tuple[bytes, int], ...]:
        try:
            return await asyncio.to_thread(
                halves, self.signal.value, body, is_json=encoding is OtlpEncoding.JSON
            )
        except MalformedInputError:
            return ()

    def _count(self, outcome: Outcome) -> None:
        self._surroundings.metrics.count(
            "sentinel_forward_requests_total",
            result=outcome.verdict.name.lower(),
            **self._labels,
        )
        if outcome.verdict is not Verdict.TAKEN:
            self._flow.error(FlowStage.SEND, outcome.reason)

    def _note_retry(self, outcome: Outcome, attempts: int) -> None:
        if self._sending is None:
            self._surroundings.logger.warning(
                "Telemetry is not taken and waits",
                extra={**self._labels, "why": outcome.detail, "attempts": attempts},
            )
        self._sending = outcome

    def _note_taken(self, item_count: int, rejected_count: int) -> None:
        rejected_count = min(rejected_count, item_count)
        self._flow.sent(item_count - rejected_count, signal=self.signal.value)
        self._surroundings.metrics.count(
            "sentinel_forward_items_total", item_count - rejected_count, **self._labels
        )
        self._drop(FlowReason.PARTIAL, rejected_count)
        if self._sending is not None or self._refused is not None:
            self._surroundings.logger.info("Telemetry is taken again", extra=dict(self._labels))
        self._sending = self._refused = None

    def _note_refused(self, outcome: Outcome, item_count: int) -> None:
        self._drop(outcome.reason, item_count)
        if self._refused is None:
            self._surroundings.logger.error(
                "Telemetry is refused for good and dropped",
                extra={**self._labels, "why": outcome.detail, "item_count": item_count},
            )
        self._sending, self._refused = None, outcome

    def _drop(self, reason: FlowReason, item_count: int) -> None:
        self._flow.dropped(reason, item_count)
        if item_count:
            self._surroundings.metrics.count(
                "sentinel_forward_dropped_items_total",
                item_count,
                reason=reason.value,
                **self._labels,
            )

    def _note_disk(self, trouble: str) -> None:
        if trouble != self._disk_trouble:
            self._disk_trouble = trouble
            if trouble:
                self._surroundings.logger.error(
                    "Telemetry cannot be queued on disk", extra={**self._labels, "why": trouble}
                )

    def _report(self) -> None:
        """What the queues hold, and what they lost since the last time."""
        metrics = self._surroundings.metrics
        places = (
            ("disk", self._disk, self.config.queue.max_bytes),
            ("memory", self._memory, self.config.queue.memory_max_bytes),
        )
        for place, queue, limit_bytes in places:
            labels = {**self._labels, "place": place}
            metrics.set("sentinel_forward_queue_bytes", queue.size_bytes, **labels)
            metrics.set("sentinel_forward_queue_limit_bytes", limit_bytes, **labels)
            metrics.set("sentinel_forward_queue_items", queue.item_count, **labels)
        losses = self._disk.take_losses()
        self._drop(FlowReason.QUEUE_FULL, losses.full_items)
        self._drop(FlowReason.DAMAGED, losses.damaged_items)
        self._flow.error(FlowStage.STORE, FlowReason.FAULT, losses.disk_errors)
        if losses.damaged_events:
            metrics.count("sentinel_forward_damage_total", losses.damaged_events, **self._labels)
            self._surroundings.logger.error(
                "A queue on disk is damaged; what could be read of it goes on",
                extra={**self._labels, "item_count": losses.damaged_items},
            )
