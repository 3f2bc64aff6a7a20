"""Hands telemetry that was received on to other systems, through a queue on disk for each of them.

    offer ─► inbox ─► redacted, joined ─► lane (endpoint x signal): queue ─► transport
             bounded   on a thread         bounded, on disk or in memory

`offer` never blocks and never raises: whoever sent the telemetry is answered without regard to where it goes on to. Logs are
redacted before anything is written; traces and metrics go byte for byte unless `redact_spans`, and then wait in memory
unless `raw` lets them be written. What is lost when, is said in `disk_queue.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from sentinel.core.normalise.otlp_count import item_count_of
from sentinel.core.normalise.otlp_requests import protobuf_of
from sentinel.core.normalise.otlp_rewrite import OtlpRewriter
from sentinel.core.redact import Redactor, redactor
from sentinel.core.redact.otlp import OtlpRedactor
from sentinel.errors import MalformedInputError
from sentinel.runtime.component import Health, HealthRecord, HealthStatus, Surroundings
from sentinel.runtime.disk_queue.marks import joined_marks
from sentinel.runtime.disk_queue.queue import DiskQueue
from sentinel.runtime.disk_queue.records import Record
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.intake.downstream import Telemetry
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.tasks import TaskGroup
from sentinel.senders.otlp_forward.config import (
    EndpointConfig,
    ForwardConfig,
    ForwardProtocol,
    RawPlace,
)
from sentinel.senders.otlp_forward.lane import Lane
from sentinel.senders.otlp_forward.transports import Transport, make_transport

NAME = "senders.otlp_forward"
_TURN_BYTES = 1 << 20
"""Most bytes that are worked on in one turn of the thread, so that the queues' own work gets in between."""

_DRAIN_LOOK_S = 0.02
_QUEUED_WAIT_S = 5.0
"""Longest wait for the disk of somebody who wants to know that what he handed on is queued."""

Result = TypeVar("Result")


class Forwarding:
    """The component, and the tap that receivers are given."""

    def __init__(self, config: ForwardConfig, folder: Path, surroundings: Surroundings) -> None:
        """Make it; ConfigError when a file of an endpoint's TLS cannot be used.

        Args:
            config: with at least one endpoint.
            folder: for the queues; nobody else's.
            surroundings: clock, metrics, logger.
        """
        self._config = config
        self._folder = folder
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(NAME, surroundings.metrics)
        self._tasks = TaskGroup(NAME, metrics=surroundings.metrics, logger=surroundings.logger)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._transports: list[Transport] = []
        self._lanes: list[Lane] = []
        for endpoint in config.endpoints:
            self._add(endpoint)
        self._signals = frozenset(lane.signal for lane in self._lanes)
        self._inbox: deque[Telemetry] = deque()
        self._inbox_bytes = 0
        self._taken_count = 0
        self._queued_count = 0
        self._turned = asyncio.Event()
        self._arrived = asyncio.Event()
        self._is_open = False
        self._is_working = False
        self._rewriters: _Rewriters | None = None

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return NAME

    def offer(self, payload: Telemetry) -> None:
        """Take a payload or count it as dropped; from the event loop's thread, never blocks, never raises."""
        if payload.signal not in self._signals:
            return
        payload = _counted(payload)
        size_bytes = len(payload.body)
        offered = payload.offered
        if offered is not None and not self.has_room(payload.signal, size_bytes):
            offered.receipt.void()
            return
        if offered is None or not offered.receipt.is_again:
            self._flow.received(payload.item_count, signal=payload.signal.value)
        if not self._is_open:
            self._flow.dropped(FlowReason.STOPPED, payload.item_count)
        elif self._inbox_bytes + size_bytes > self._config.inbox_max:
            self._flow.dropped(FlowReason.OVERLOADED, payload.item_count)
        else:
            self._inbox.append(payload)
            self._inbox_bytes += size_bytes
            self._taken_count += 1
            self._arrived.set()

    def endpoints(self, signal: OtlpSignal) -> tuple[str, ...]:
        """Names of the endpoints of a signal."""
        return tuple(lane.config.name for lane in self._lanes if lane.signal is signal)

    def has_room(self, signal: OtlpSignal, size_bytes: int) -> bool:
        """Whether a payload of this size would be taken now; one that is too large for ever is told to be."""
        if signal not in self._signals or not self._inbox_bytes:
            return True
        return self._inbox_bytes + size_bytes <= self._config.inbox_max

    async def queued(self) -> bool:
        """Wait until all that was taken is in its queues: on disk, if it may be written there. False when it took too long."""
        until_count = self._taken_count
        try:
            async with asyncio.timeout(_QUEUED_WAIT_S):
                while self._is_open and self._queued_count < until_count:
                    await self._turned.wait()
        except TimeoutError:
            return False
        return True

    async def start(self) -> None:
        """Find what waits, and send from now on."""
        await self._on_thread(self._open)
        self._is_open = True
        self._tasks.spawn("inbox", self._work)
        self._tasks.spawn("sync", self._sync)
        for lane in self._lanes:
            self._tasks.spawn(f"{lane.config.name}.{lane.signal.value}", lane.run)
            lane.wake()
        self._health.ok(self._sentence())

    async def stop(self) -> None:
        """Queue what was taken, send what only memory holds while there is time, and let go; idempotent."""
        was_open, self._is_open = self._is_open, False
        if was_open:
            clock = self._surroundings.clock
            end_s = clock.monotonic_s() + self._config.drain_timeout
            while clock.monotonic_s() < end_s and not self._is_drained():
                await clock.sleep(_DRAIN_LOOK_S)
        await self._tasks.close()
        for transport in self._transports:
            await transport.close()
        if was_open:
            await self._on_thread(self._close)
            for one in self._inbox:
                if one.offered is not None:
                    one.offered.receipt.void()
                else:
                    self._flow.dropped(FlowReason.STOPPED, one.item_count)
            self._inbox.clear()
            self._inbox_bytes = 0
        self._thread.shutdown(wait=False)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded while an endpoint does not take what it is sent, or the disk does not."""
        if not self._is_open:
            return self._health.current
        found = [lane.trouble for lane in self._lanes]
        troubles = [one.sentence for one in found if one is not None]
        failing = [f"crashed: {name}" for name in self._tasks.failing]
        if troubles or failing:
            self._health.set(HealthStatus.DEGRADED, "; ".join([*failing, *troubles][:4]))
        else:
            self._health.ok(self._sentence())
        return self._health.current

    def _add(self, endpoint: EndpointConfig) -> None:
        transport = make_transport(endpoint)
        self._transports.append(transport)
        wanted = {
            OtlpSignal.TRACES: endpoint.traces,
            OtlpSignal.METRICS: endpoint.metrics,
            OtlpSignal.LOGS: endpoint.logs,
        }
        for signal, is_wanted in wanted.items():
            if not is_wanted:
                continue
            disk = DiskQueue(
                self._folder / endpoint.name / signal.value,
                bytes_max=endpoint.queue.max_bytes,
                free_bytes_min=endpoint.queue.min_free_bytes,
            )
            self._lanes.append(
                Lane(
                    signal,
                    endpoint,
                    transport,
                    disk,
                    self._on_thread,
                    self._flow,
                    self._surroundings,
                )
            )

    async def _on_thread(self, run: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _is_drained(self) -> bool:
        """Whether nothing is left that only memory holds, or what is left cannot be sent."""
        if self._inbox or self._is_working:
            return False
        return all(
            lane.is_idle or (lane.trouble is not None and lane.trouble.is_sending)
            for lane in self._lanes
        )

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if self._is_open and self._config.delay:
                await self._surroundings.clock.sleep(self._config.delay)
            self._arrived.clear()
            while self._inbox:
                turn: list[Telemetry] = []
                size_bytes = 0
                self._is_working = True
                while self._inbox and size_bytes < _TURN_BYTES:
                    payload = self._inbox.popleft()
                    size_bytes += len(payload.body)
                    turn.append(payload)
                try:
                    await self._on_thread(lambda turn=turn: self._queue(turn))  # type: ignore[misc]
                finally:
                    self._inbox_bytes -= size_bytes
                    self._is_working = False
                    self._queued_count += len(turn)
                    turned, self._turned = self._turned, asyncio.Event()
                    turned.set()
                for lane in self._lanes:
                    lane.wake()

    async def _sync(self) -> None:
        every_s = min(lane.config.queue.sync_every for lane in self._lanes)
        while True:
            await self._surroundings.clock.sleep(every_s)
            for lane in self._lanes:
                # On a thread of its own: a busy disk takes its time, and the queues go on meanwhile.
                fds = await self._on_thread(lane.to_sync)
                if fds and not await asyncio.to_thread(_synced, fds):
                    await self._on_thread(lane.note_unsynced)

    # On the thread.

    def _open(self) -> None:
        for lane in self._lanes:
            lane.open()
        known = {lane.config.name for lane in self._lanes}
        if self._folder.is_dir():
            for one in sorted(self._folder.iterdir()):
                if one.name not in known:
                    self._surroundings.logger.warning(
                        "A queue belongs to no endpoint any more; remove it by hand, or name the endpoint again",
                        extra={"folder": str(one)},
                    )

    def _close(self) -> None:
        for lane in self._lanes:
            lane.close()

    def _queue(self, payloads: list[Telemetry]) -> None:
        """Redact, and put into every lane that wants it; what cannot be read is dropped."""
        prepared: dict[tuple[OtlpSignal, OtlpEncoding, bool], list[Record]] = defaultdict(list)
        for payload in payloads:
            try:
                body, is_redacted = self._redacted(payload)
            except MalformedInputError:
                self._flow.error(FlowStage.DECODE, FlowReason.MALFORMED)
                self._flow.dropped(FlowReason.MALFORMED, payload.item_count)
                continue
            except Exception:
                # Fail closed: what could not be judged is neither written nor sent.
                self._flow.error(FlowStage.DECODE, FlowReason.FAULT)
                self._flow.dropped(FlowReason.FAULT, payload.item_count)
                self._surroundings.logger.exception("A payload broke the redaction")
                continue
            to_disk = is_redacted or self._config.raw is RawPlace.DISK
            mark = payload.mark
            record = Record(
                encoding=payload.encoding,
                item_count=payload.item_count,
                body=body,
                marks={mark.origin: mark.count} if mark is not None else {},
                offered=(payload.offered,) if payload.offered is not None else (),
            )
            prepared[payload.signal, payload.encoding, to_disk].append(record)
        for (signal, encoding, to_disk), records in prepared.items():
            as_protobuf: list[Record] | None = None
            for lane in self._lanes:
                if lane.signal is not signal:
                    continue
                if encoding is OtlpEncoding.JSON:
                    if lane.config.protocol is ForwardProtocol.HTTP:
                        lane.put(records, to_disk=to_disk)
                        continue
                    if as_protobuf is None:
                        as_protobuf = self._converted(signal, records)
                chosen = records if encoding is OtlpEncoding.PROTOBUF else as_protobuf or []
                # Before they are joined: of what comes again after a kill, each lane may have another part.
                chosen = lane.without_known(lane.wanted(chosen))
                for is_offered, group in groupby(chosen, key=lambda record: bool(record.offered)):
                    bytes_max = lane.config.request_max_bytes
                    if is_offered:
                        # All of it is taken or none, and memory may be what takes it.
                        bytes_max = min(bytes_max, lane.config.queue.memory_max_bytes)
                    joined = _joined(list(group), bytes_max)
                    lane.put(joined, to_disk=to_disk)

    def _redacted(self, payload: Telemetry) -> tuple[bytes, bool]:
        """The body as it may be handed on, and whether secrets were taken out of it."""
        if payload.redacted:
            return payload.body, True
        if payload.signal is not OtlpSignal.LOGS and not self._config.redact_spans:
            return payload.body, False
        # By the policy in force, which a reload may have replaced.
        if self._rewriters is None or self._rewriters.policy_of is not redactor():
            self._rewriters = _Rewriters(redactor())
        return self._rewriters.rewritten(payload), True

    def _converted(self, signal: OtlpSignal, records: list[Record]) -> list[Record]:
        found = []
        for record in records:
            try:
                body = protobuf_of(signal.value, record.body)
            except MalformedInputError:
                self._flow.error(FlowStage.DECODE, FlowReason.MALFORMED)
                self._flow.dropped(FlowReason.MALFORMED, record.item_count)
                continue
            found.append(
                Record(encoding=OtlpEncoding.PROTOBUF, item_count=record.item_count, body=body)
            )
        return found

    def _sentence(self) -> str:
        count = len(self._config.endpoints)
        return f"Handing on to {count} endpoint{'s' if count != 1 else ''}"


class _Rewriters:
    """What takes secrets out of each kind of payload, by one policy."""

    def __init__(self, policy_of: Redactor) -> None:
        self.policy_of = policy_of
        self._parts = OtlpRedactor(policy_of)
        self._traces = OtlpRewriter(self._parts, keep_unknown=True)
        self._logs = OtlpRewriter(self._parts, keep_unknown=False)

    def rewritten(self, payload: Telemetry) -> bytes:
        if payload.encoding is OtlpEncoding.JSON:
            return self._parts.json(payload.body)
        if payload.signal is OtlpSignal.LOGS:
            return self._logs.logs(payload.body)
        if payload.signal is OtlpSignal.TRACES:
            return self._traces.traces(payload.body)
        return self._parts.metrics(payload.body)


def _synced(fds: list[int]) -> bool:
    """Bring files to the disk and let go of the descriptors; whether that worked for all."""
    worked = True
    for fd in fds:
        try:
            os.fdatasync(fd)
        except OSError:
            worked = False
        finally:
            os.close(fd)
    return worked


def _counted(payload: Telemetry) -> Telemetry:
    """With all that it holds as its count: a decoder counts what it keeps, and leaves out spans that are no call."""
    if payload.redacted:
        return payload
    is_json = payload.encoding is OtlpEncoding.JSON
    found = item_count_of(payload.signal.value, payload.body, is_json=is_json)
    return replace(payload, item_count=found) if found else payload


def _joined(records: list[Record], bytes_max: int) -> list[Record]:
    """Fewer, larger records: requests one behind the other are one request of all their items."""
    found: list[Record] = []
    group: list[Record] = []
    size_bytes = 0
    for record in records:
        if group and size_bytes + record.size_bytes > bytes_max:
            found.append(_one(group))
            group, size_bytes = [], 0
        group.append(record)
        size_bytes += record.size_bytes
    if group:
        found.append(_one(group))
    return found


def _one(records: list[Record]) -> Record:
    if len(records) == 1:
        return records[0]
    marks: dict[bytes, int] = {}
    for record in records:
        if record.marks:
            marks = joined_marks(marks, record.marks)
    return Record(
        encoding=OtlpEncoding.PROTOBUF,
        item_count=sum(record.item_count for record in records),
        body=b"".join([record.body for record in records]),
        marks=marks,
        offered=tuple(offered for record in records for offered in record.offered),
    )
