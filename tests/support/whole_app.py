"""The whole program in this process: a manual clock, real sockets on loopback, time that passes window by window.

Telemetry comes in as OTLP over HTTP, pages go out to a collector. A window's calls are sent a second before it ends,
and the clock is then moved past its lateness; what happens in threads and sockets gets real time to happen.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sentinel.app.build import Application, build
from sentinel.app.config import ReceiversConfig, SendersConfig, SentinelConfig, load_config
from sentinel.app.fit_worker import payload_of
from sentinel.app.reload import Reloader
from sentinel.app.sections import IncidentsConfig
from sentinel.core.model import SIGNAL_ERRORS, SIGNAL_TRAFFIC, Reason, SeriesKey, kind_of_signal
from sentinel.core.model import WindowBlock as Block
from sentinel.errors import SentinelError
from sentinel.pipeline.fit_child import FitFailedError, FitResult
from sentinel.pipeline.ingest import IngestConfig
from sentinel.pipeline.overload import OverloadConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.senders.webhook import WebhookConfig
from sentinel.storage.sqlite import StoreConfig
from sentinel.web.server import WebConfig, WebListenConfig
from tests.support.clock import ManualClock
from tests.support.otlp_messages import (
    CONSUMER,
    INTERNAL,
    SERVER,
    attribute,
    resource,
    span,
    traces,
)

WINDOW_S = 10.0
SENT_AFTER_S = 9.0
TICK_S = 1.0
SECOND_NS = 10**9
HISTORY_STEP_NS = 300 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS
HOLD_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of one place in one window.

    Attributes:
        service, route: where; a route of a consumer is the name of what it reads from.
        kind: of the spans.
        count, failed_count: how many, and how many of them failed, the first ones.
        duration_s: of each.
    """

    service: str = "ledger"
    kind: int = SERVER
    route: str = "/v1/transfers"
    count: int = 50
    failed_count: int = 0
    duration_s: float = 0.05

    def spans(self, start_ns: int) -> list[Span]:
        """Spread evenly over the window that begins there."""
        gap_ns = round(SENT_AFTER_S * SECOND_NS) // (self.count + 1)
        # Ids that no other place and window has: what looks sent twice is taken once.
        place = zlib.crc32(f"{self.service} {self.kind} {self.route}".encode())
        first = (start_ns // (10 * SECOND_NS) % 10**6 << 42) + (place << 10) + 1
        made = []
        for number in range(self.count):
            names: dict[str, str] = {"http__request__method": "POST", "http__route": self.route}
            if self.kind == CONSUMER:
                names = {
                    "messaging__operation__name": "process",
                    "messaging__destination__name": self.route,
                }
            made.append(
                span(
                    f"POST {self.route}",
                    kind=self.kind,
                    number=first + number,
                    end_ns=start_ns + (number + 1) * gap_ns,
                    duration_s=self.duration_s,
                    error=number < self.failed_count,
                    **names,
                )
            )
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was thought of one window, to the bit."""

    start_ns: int
    keys: tuple[SeriesKey, ...]
    columns: tuple[bytes, ...]
    scored_count: int


def config_of(
    folder: Path, *, webhook_url: str = "", hold_s: float = HOLD_S, lateness_s: float = 5.0
) -> SentinelConfig:
    """Ports that are free, a store in the folder, one webhook, and incidents that end within minutes."""
    webhooks = (WebhookConfig(name="hook", url=webhook_url),) if webhook_url else ()
    return SentinelConfig(
        receivers=ReceiversConfig(
            otlp_http=OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            otlp_grpc=OtlpGrpcConfig(enabled=False),
        ),
        series=IngestConfig(lateness=Duration(lateness_s), tick=Duration(TICK_S)),
        store=StoreConfig(directory=str(folder / "store")),
        # The memory read is that of the process that runs the tests.
        overload=OverloadConfig(memory_max=ByteSize(2**40)),
        incidents=IncidentsConfig(hold=Duration(hold_s)),
        senders=SendersConfig(webhooks=webhooks),
        web=WebConfig(listen=WebListenConfig(port=0)),
    )


async def until(true: Callable[[], bool], *, what: str, timeout_s: float = 45.0) -> None:
    """Give sockets and threads real time until it is true."""
    assert await comes_true(true, timeout_s=timeout_s), f"waited in vain for {what}"


async def comes_true(true: Callable[[], bool], *, timeout_s: float) -> bool:
    """Give sockets and threads so much real time; whether it became true."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not true() and loop.time() < deadline_s:
        await asyncio.sleep(0.003)
    return true()


class Sidecar:
    """A running program, and the hands that feed it and move its clock."""

    def __init__(
        self,
        app: Application,
        clock: ManualClock,
        client: aiohttp.ClientSession,
        *,
        reloader: Reloader | None = None,
    ) -> None:
        self.app = app
        self.reloader = reloader
        self.clock = clock
        self.metrics = app.surroundings.metrics
        self.decided: list[Decided] = []
        self._client = client
        self.next_ns = clock.now_ns()
        self.retry_after_s = 0.0
        self.window_s = float(app.config.series.window)
        self._url = app.addresses()["otlp_http_url"]
        self.web_url = app.addresses()["web_url"]

    async def window(self, *calls: Calls, logs: Sequence[str] = (), service: str = "") -> None:
        """One window: its calls and error lines come in, it is closed, decided and stored.

        `service` is heard in it even without calls.
        """
        await self.send(*calls, logs=logs, service=service)
        await self.close()

    async def windows(self, count: int, *calls: Calls) -> None:
        """So many equal windows."""
        for _ in range(count):
            await self.window(*calls)

    async def send(self, *calls: Calls, logs: Sequence[str] = (), service: str = "") -> None:
        """Let the next window nearly end and send what was in it."""
        start_ns = self.next_ns
        await self._advance_to(start_ns + round((self.window_s - 1) * SECOND_NS))
        for one in calls:
            body = traces(*one.spans(start_ns), service=one.service).SerializeToString()
            assert await self.post("/v1/traces", body) == 200
        if logs:
            assert await self.post("/v1/logs", log_lines(logs, at_ns=start_ns + SECOND_NS)) == 200
        if service:
            inner = span(kind=INTERNAL, number=start_ns // SECOND_NS, end_ns=start_ns)
            empty = traces(inner, service=service)
            assert await self.post("/v1/traces", empty.SerializeToString()) == 200

    async def close(self) -> None:
        """Move past the lateness of the window, and see it decided."""
        start_ns, self.next_ns = self.next_ns, self.next_ns + round(self.window_s * SECOND_NS)
        lateness_s = self.app.config.series.lateness
        # Ticks fall anywhere; without lateness they fall on the seconds, and the clock must not pass the boundary.
        margin_s = float(self.app.config.series.tick) if lateness_s else 0.0
        await self._advance_to(self.next_ns + round((lateness_s + margin_s) * SECOND_NS))
        # A tick that was still at work as the clock moved sleeps from then on: it wakes when time goes on. The next window must
        # not end by that, for nothing was sent of it yet.
        tick_s = float(self.app.config.series.tick)
        for _ in range(max(0, int((self.window_s - lateness_s - margin_s) / tick_s) - 1)):
            if await comes_true(lambda: self.is_decided(start_ns), timeout_s=5.0):
                break
            await self.clock.advance(tick_s)
        await until(lambda: self.is_decided(start_ns), what="the window to be decided")
        self._note()

    async def sees(self, true: Callable[[], bool], what: str) -> None:
        """Wait for what delivery does, whose short waits are by the clock; a few seconds of it at most.

        Its sockets and threads have as much real time beyond that as they need.
        """
        for _ in range(30):
            for _ in range(20):
                if true():
                    return
                await asyncio.sleep(0.003)
            await self.clock.advance(0.1)
        await until(true, what=what)

    async def recorded(self) -> None:
        """See stored that each page was delivered: killed before that, it is sent once more after the restart."""
        outbox = self.app.store.sync

        def all_told() -> bool:
            entries = outbox.entries(destination="hook")
            return all(entry.delivered_ns is not None for entry in entries)

        await self.sees(all_told, "what was delivered to be stored")

    async def post(self, path: str, body: bytes) -> int:
        """One request of OTLP; its status, and in `retry_after_s` what it was told to wait."""
        headers = {"Content-Type": "application/x-protobuf"}
        async with self._client.post(self._url + path, data=body, headers=headers) as reply:
            await reply.read()
            self.retry_after_s = float(reply.headers.get("Retry-After", 0))
            return reply.status

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a page."""
        async with self._client.get(self.web_url + path) as reply:
            found = await reply.json()
            assert isinstance(found, dict)
            return reply.status, found

    async def incidents(self) -> list[dict[str, Any]]:
        """All incidents, newest first."""
        _, found = await self.get("/api/v1/incidents")
        return list(found["incidents"])

    async def _advance_to(self, at_ns: int) -> None:
        await self.clock.advance((at_ns - self.clock.now_ns()) / SECOND_NS)

    def is_decided(self, start_ns: int) -> bool:
        """Whether the window that begins there, or one of the next, was decided and stored.

        One much later is of a clock that was ahead and put back, and says nothing of this window.
        """
        latest = self.app.evaluate.latest
        if latest is None:
            return False
        return 0 <= latest.block.start_ns - start_ns < round(3 * self.window_s * SECOND_NS)

    def _note(self) -> None:
        latest = self.app.evaluate.latest
        assert latest is not None
        block, verdicts = latest.block, latest.verdicts
        columns = (
            block.value,
            block.weight,
            block.heard,
            verdicts.expected,
            verdicts.lower,
            verdicts.upper,
            verdicts.score,
            verdicts.direction,
            verdicts.reason,
        )
        self.decided.append(
            Decided(
                start_ns=block.start_ns,
                keys=latest.keys,
                columns=tuple(column.tobytes() for column in columns),
                scored_count=int(np.isfinite(verdicts.score).sum()),
            )
        )


def log_lines(bodies: Sequence[str], *, at_ns: int) -> bytes:
    """Error lines of the ledger."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add(resource=resource("ledger")).scope_logs.add().log_records
    for body in bodies:
        record = records.add(time_unix_nano=at_ns, severity_number=17)
        record.body.string_value = body
        record.attributes.append(attribute("code.function", "transfer"))
    return request.SerializeToString()


class FitsHere:
    """The fitting child without its process: the same request and the same answer, byte for byte.

    A start of Python and its libraries is half a second, and each start of a sidecar asks for a fit. The process has tests of its
    own, and so have programs that run as processes.
    """

    async def run(self, request: Mapping[str, Any]) -> bytearray | None:
        """As of `FitChild`."""
        try:
            payload = await asyncio.to_thread(payload_of, json.loads(json.dumps(request)))
        except SentinelError as error:
            raise FitFailedError(FitResult.FAILED, f"the child ended with 1: {error}") from error
        return None if payload is None else bytearray(payload)

    async def end(self) -> None:
        """Nothing runs that has to be ended."""


@asynccontextmanager
async def sidecar(
    config: SentinelConfig,
    *,
    clock: ManualClock | None = None,
    watched: Path | None = None,
    fits_in_a_child: bool = False,
) -> AsyncIterator[Sidecar]:
    """A started program, stopped in order at the end; with `watched`, its configuration is that file's."""
    clock = clock or ManualClock()
    app = build(
        config,
        clock=clock,
        logger=logging.getLogger("sentinel.tests.whole_app"),
        metrics=Metrics(CATALOGUE),
    )
    if not fits_in_a_child:
        app.fitter._child = FitsHere()  # type: ignore[assignment]
    reloader: Reloader | None = None
    if watched is not None:
        loaded = load_config(watched, environment=os.environ)
        assert loaded.config == config
        reloader = Reloader(loaded, watched, app)
        app.lifecycle.add(reloader)
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        await app.start()
        try:
            yield Sidecar(app, clock, client, reloader=reloader)
        finally:
            await app.stop()


def thought(side: Sidecar, signal: str) -> tuple[Reason, float]:
    """Why the last verdict of the ledger's signal is what it is, and the value it is of."""
    latest = side.app.evaluate.latest
    assert latest is not None
    (at,) = (
        position
        for position, series_id in enumerate(latest.block.series.tolist())
        if (key := side.app.evaluate._deciding.keys[series_id]).signal == signal
        and key.service == "ledger"
    )
    return Reason(int(latest.verdicts.reason[0, at])), float(latest.block.value[0, at])


async def send_in_requests(side: Sidecar, *calls: Calls, count: int = 10) -> list[int]:
    """The calls of the next window, each place's in so many requests; the status of each."""
    await side.send()
    statuses = []
    for one in calls:
        spans = one.spans(side.next_ns)
        for number in range(count):
            body = traces(*spans[number::count], service=one.service).SerializeToString()
            statuses.append(await side.post("/v1/traces", body))
            assert (side.retry_after_s == 1) == (statuses[-1] == 503)
    return statuses


async def crash(app: Application) -> None:
    """Let go of everything as a killed process does: nothing is flushed, drained or saved."""
    for part in (app.ingest, app.evaluate, app.deliver, app.fitter):
        tasks = getattr(part, "_tasks", None)
        if tasks is not None:
            await tasks.close()
    app.evaluate._started = False
    app.ingest._accepting = False
    for receiver in app.receivers.values():
        await receiver.stop()
    await app.fitter.stop()
    await app.store.stop()


async def with_history(
    side: Sidecar, usual: dict[SeriesKey, float], *, days: int, calls_a_window: int = 50
) -> None:
    """Weeks of 5-minute windows with the shape of a day, and a fit of them that is in effect next window."""
    now_ns = side.clock.now_ns()
    store = side.app.store
    named = [(key, kind_of_signal(key.signal)) for key in usual]
    ids = await store.run(store.sync.register, named, now_ns=now_ns)
    count = days * DAY_NS // HISTORY_STEP_NS
    start_ns = now_ns // HISTORY_STEP_NS * HISTORY_STEP_NS - count * HISTORY_STEP_NS
    rng = np.random.default_rng(11)
    noise = 1 + 0.02 * rng.standard_normal((count, len(usual)))
    value = np.array(list(usual.values())) * noise
    weight = np.full(value.shape, calls_a_window * HISTORY_STEP_NS / SECOND_NS / WINDOW_S)
    order = np.argsort(ids)
    block = Block(
        start_ns=start_ns,
        step_ns=HISTORY_STEP_NS,
        series=np.array(ids, np.int64)[order],
        kind=np.array([kind for _, kind in named], np.int8)[order],
        value=value.astype(np.float32)[:, order],
        weight=weight.astype(np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    await store.run(store.sync.append_history, block)
    await side.app.fitter.fitted()
    assert side.app.fitter.current() is not None


def usual_of(calls: Calls, *, stage: str, route: str) -> dict[SeriesKey, float]:
    """The three series of a place, as these calls make them window for window."""
    return {
        SeriesKey(calls.service, stage, route, SIGNAL_TRAFFIC): calls.count / WINDOW_S,
        SeriesKey(calls.service, stage, route, SIGNAL_ERRORS): calls.failed_count / calls.count,
        SeriesKey(calls.service, stage, route, "latency"): calls.duration_s,
    }


def windows_until_resolved(hold_s: float = HOLD_S) -> int:
    """Windows of quiet until an incident has resolved, with one to spare."""
    return math.ceil(hold_s / WINDOW_S) + 1
