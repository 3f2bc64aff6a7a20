"""A program that follows log files, in this process or in one that is killed, and what it handed on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.component import LogFiles
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.intake.downstream import NO_SHEDDING, NO_TAP, Downstream, Shedding, Telemetry
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.settings import Duration
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.taps import RoomyTap


class ListTap(RoomyTap):
    """Keeps what was offered."""

    def __init__(self) -> None:
        self.payloads: list[Telemetry] = []

    def offer(self, payload: Telemetry) -> None:
        """Keep it."""
        self.payloads.append(payload)

    def records(self) -> list[LogRecord]:
        """Every record, in the order of arrival."""
        return [record for payload in self.payloads for record in records_of(payload.body)]

    def texts(self) -> list[str]:
        """What they say."""
        return [record.body.string_value for record in self.records()]


def records_of(body: bytes) -> list[LogRecord]:
    """The records of an OTLP request."""
    request = ExportLogsServiceRequest.FromString(body)
    return [
        record
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def uid_of(record: LogRecord) -> str:
    """What a record is named by."""
    (uid,) = (
        pair.value.string_value for pair in record.attributes if pair.key == "log.record.uid"
    )
    return uid


class Followed:
    """A started component and what came of it."""

    def __init__(self, component: LogFiles, sink: ListSink, tap: ListTap) -> None:
        self.component = component
        self.sink = sink
        self.tap = tap

    async def sees(self, true: Callable[[], bool], what: str) -> None:
        """Wait for what comes of reading."""
        for _ in range(2000):
            if true():
                return
            await asyncio.sleep(0.01)
        msg = f"waited in vain for {what}; {self.component.health()}; {self.tap.texts()[-5:]}"
        raise AssertionError(msg)


@asynccontextmanager
async def following(
    *sources: LogSourceConfig,
    state: Path,
    ships: bool = True,
    sink: ListSink | None = None,
    shedding: Shedding = NO_SHEDDING,
    tap: ListTap | None = None,
    inflight: Inflight | None = None,
) -> AsyncIterator[Followed]:
    """A component that follows these sources by the real clock."""
    sink, tap = sink or ListSink(), tap or ListTap()
    config = LogFilesConfig(
        sources=sources, poll=Duration(0.01), discover=Duration(0.05), finished_after=Duration(0.5)
    )
    downstream = Downstream(
        sink=sink,
        tap=tap if ships else NO_TAP,
        shedding=shedding,
        inflight=inflight or Inflight(),
    )
    component = LogFiles(config, str(state), downstream, make_surroundings(SystemClock()))
    await component.start()
    try:
        yield Followed(component, sink, tap)
    finally:
        await component.stop()


class _FileTap(RoomyTap):
    """Writes what it is offered to a file, a payload at once, as a durable queue does."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def offer(self, payload: Telemetry) -> None:
        lines = [
            f"{uid_of(record)} {record.body.string_value}$\n"
            for record in records_of(payload.body)
        ]
        # A kill may cut a write short: the next one begins a line of its own, and a line without its end does not count.
        os.write(self._fd, ("\n" + "".join(lines)).encode())


async def _follow_until_killed(pattern: str, state: Path, out: Path) -> None:
    config = LogFilesConfig(
        sources=(LogSourceConfig(name="app", paths=(pattern,)),),
        poll=Duration(0.005),
        discover=Duration(0.05),
    )
    downstream = Downstream(sink=ListSink(), tap=_FileTap(out))
    component = LogFiles(config, str(state), downstream, make_surroundings(SystemClock()))
    await component.start()
    print("following", flush=True)  # noqa: T201  # what the parent waits for
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(_follow_until_killed(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
