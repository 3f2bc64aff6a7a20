"""Goal: every component counts the same four things: what it was given, what it handed on, what failed, what it gave up.

Method: one whole program lives once, under a manual clock: things go well, and then each thing that can go wrong for a
component does. Afterwards each component that the program is wired of is asked for its four counters. A component
that is not lived through below fails this suite: whoever adds one writes down here how it works and how it fails.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from sentinel.app.build import build, components_of
from sentinel.app.config import ReceiversConfig, SentinelConfig
from sentinel.app.registry import SENDERS, make_destinations
from sentinel.core.model import SampleBatch
from sentinel.errors import RefusedError, StoreError
from sentinel.pipeline.fit_child import FitFailedError, FitResult
from sentinel.ports import Admission
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.catalogue import flow as flow_catalogue
from sentinel.runtime.flow import FlowReason, FlowStage
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.polling.component import Polled, Scraping
from sentinel.runtime.settings import Duration
from sentinel.runtime.tracing import OwnSpan
from sentinel.scrapers.prometheus.component import PrometheusScraper
from sentinel.senders.otlp_forward import EndpointConfig, ForwardConfig
from sentinel.senders.self_telemetry import SelfTelemetryConfig
from tests.contract.app.test_components import whole_config
from tests.support.batches import number
from tests.support.clock import ManualClock
from tests.support.fetch import fetch
from tests.support.kong_records import record
from tests.support.otlp_messages import span, traces
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    sidecar,
    until,
    usual_of,
    with_history,
)

pytestmark = pytest.mark.timeout(300)

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
COUNTERS = ("received", "sent", "errors", "dropped")
LIVED = (
    "app.reload",
    "pipeline.deliver",
    "pipeline.evaluate",
    "pipeline.fit",
    "pipeline.ingest",
    "pipeline.log_templates",
    "pipeline.overload",
    "receivers.http_log",
    "receivers.log_files",
    "receivers.otlp_grpc",
    "receivers.otlp_http",
    "senders.otlp_forward",
    "senders.self_telemetry",
    "senders.webhook:hook",
    "storage.sqlite",
    "web",
)
"""What the life below goes through; scrapers share one component, which has a test of its own."""


@dataclass(slots=True)
class Answering:
    """A server that answers everything with the status that is set."""

    status: int = 200
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """As `status` says."""
        await request.read()
        return web.Response(status=self.status)


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    made = Answering()
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    """The self-metrics after the life."""
    logger = logging.getLogger("sentinel")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # what goes wrong on purpose is not to be read
    try:
        yield asyncio.run(life(tmp_path_factory.mktemp("life")))
    finally:
        logger.setLevel(before)


def total(metrics: Metrics, counter: str, component: str) -> float:
    name = f"sentinel_component_{counter}"
    return sum(
        sample.value
        for family in metrics.registry.collect()
        if family.name == name
        for sample in family.samples
        if sample.labels.get("component") == component and sample.name.endswith("_total")
    )


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("component", LIVED)
def test_each_component_moves_each_counter(counted: Metrics, component: str, counter: str) -> None:
    assert total(counted, counter, component) > 0


def test_every_component_of_the_program_is_lived_through(tmp_path: Path) -> None:
    config = whole_config(tmp_path)
    application = build(config, clock=ManualClock(), logger=logging.getLogger("sentinel.tests"))
    # The one of metrics pages holds one such component for each page that a file names.
    scrapers = (Scraping, PrometheusScraper)
    names = {
        name for name, one in components_of(application).items() if not isinstance(one, scrapers)
    }
    # A reload is no component of the program: it changes it.
    assert names - set(LIVED) == set()
    assert set(LIVED) - names == {"app.reload", "senders.webhook:hook"}
    # Destinations count as senders, and all do it in the same lane.
    destinations = make_destinations(application.config.senders)
    assert len(destinations) == len(SENDERS)


def test_the_four_are_all_there_is_and_their_labels_are_closed() -> None:
    specs = {one.name: one for one in flow_catalogue.METRICS}
    assert set(specs) == {f"sentinel_component_{counter}_total" for counter in COUNTERS}
    assert set(specs) <= {one.name for one in CATALOGUE}
    assert specs["sentinel_component_errors_total"].labels == ("component", "stage", "reason")
    assert all(one.value == one.value.lower() for one in (*FlowStage, *FlowReason))


async def test_a_scraper_moves_each_counter() -> None:
    surroundings = make_surroundings()

    class Target:
        name = "one"
        interval_s = 10.0
        timeout_s = 5.0
        error: Exception | None = None

        async def poll(self, now_ns: int) -> Polled:
            if self.error:
                raise self.error
            batch = SampleBatch(numbers=(number(0, 1.0),), services=frozenset({"queue"}))
            return Polled(batch=batch, size_bytes=64)

        async def reach(self) -> tuple[()]:
            return ()

        async def close(self) -> None:
            """Nothing."""

    sink, target = ListSink(), Target()
    scraping = Scraping("scrapers.any", [target], Downstream(sink=sink), surroundings)
    assert isinstance(surroundings.clock, ManualClock)
    await scraping.start()
    await surroundings.clock.advance(10)
    target.error = RefusedError("no", status=403, endpoint="here")
    await surroundings.clock.advance(10)
    target.error = None
    sink.answers.append(Admission.RETRY_LATER)
    await surroundings.clock.advance(10)
    await scraping.stop()
    for counter in COUNTERS:
        assert total(surroundings.metrics, counter, "scrapers.any") > 0


async def life(folder: Path) -> Metrics:
    """A program from its start to its end; what it counted."""
    async with answering() as hook, answering() as collector:
        file = folder / "sentinel.yaml"
        config = lively(folder, hook.url, collector.url)
        damaged_templates(Path(config.store.directory))
        async with sidecar(config) as side:
            await good_days(side)
            await what_goes_wrong_before(side, collector)
            await what_goes_wrong_inside(side, hook)
            await a_change_of_the_configuration(side, file)
            return side.metrics


def lively(folder: Path, hook_url: str, collector_url: str) -> SentinelConfig:
    client = ClientConfig(connect_timeout=Duration(2.0), timeout=Duration(2.0))
    return replace(
        config_of(folder, webhook_url=hook_url),
        receivers=ReceiversConfig(
            otlp_http=OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            otlp_grpc=OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
            http_log=HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0)),
            log_files=LogFilesConfig(
                sources=(LogSourceConfig(name="app", paths=(f"{folder}/app.log",)),)
            ),
        ),
        self_telemetry=SelfTelemetryConfig(
            endpoint=collector_url, queue_max=16, logs=False, client=client
        ),
        forward=ForwardConfig(
            endpoints=(EndpointConfig(url=collector_url, client=client),), delay=Duration(0.0)
        ),
    )


def damaged_templates(folder: Path) -> None:
    """A file of templates, one of which is none."""
    folder.mkdir(mode=0o700)
    rows = [["shop", "it failed", 1], ["shop", 7, None]]
    file = folder / "log_templates.json"
    file.write_text(json.dumps({"format": 1, "templates": rows}))
    file.chmod(0o600)


async def good_days(side: Sidecar) -> None:
    """Traffic, a fit, an outage that pages and its end."""
    await side.windows(2, Calls())
    usual = usual_of(Calls(), stage="edge", route="POST /v1/transfers")
    await with_history(side, usual, days=3)
    await side.windows(2, Calls(failed_count=40))
    delivered = "sentinel_component_sent_total"
    await side.sees(
        lambda: side.metrics.value(delivered, component="pipeline.deliver", signal="pages") > 0,
        "the page",
    )
    await grpc_export(side, traces(span(number=7, end_ns=side.clock.now_ns())).SerializeToString())
    kong = json.dumps(record(1, started_ms=side.clock.now_ns() // 10**6)).encode()
    assert await kong_post(side, kong) == 200
    assert (await side.get("/api/v1/status"))[0] == 200
    await log_line(side, "ERROR it failed", "received")
    own = {"component": "senders.otlp_forward", "signal": "traces"}
    await side.sees(lambda: side.metrics.value(delivered, **own) > 0, "what is handed on")
    # Its exporter's threads send once a second of real time.
    own_telemetry = "senders.self_telemetry"
    await until(lambda: total(side.metrics, "sent", own_telemetry) > 0, what="the first export")


async def what_goes_wrong_before(side: Sidecar, collector: Answering) -> None:
    """What callers do wrong, and an endpoint that takes nothing."""
    no_time = traces(span(number=8, end_ns=0, duration_s=0)).SerializeToString()
    assert await side.post("/v1/traces", b"\xff\xff") == 400
    assert await side.post("/v1/traces", no_time) == 200
    with pytest.raises(grpc.aio.AioRpcError):
        await grpc_export(side, b"\xff\xff")
    await grpc_export(side, no_time)
    assert await kong_post(side, b"{") == 400
    mixed = [record(2, started_ms=side.clock.now_ns() // 10**6), {}]
    assert await kong_post(side, json.dumps(mixed).encode()) == 200
    assert (await fetch(side.web_url + "/no/such/page")).status == 404
    await log_line(side, "2126-01-01T00:00:00Z ERROR from days to come", "dropped")
    collector.status = 400
    for _ in range(40):  # more than its queue has room for
        with side.app.surroundings.tracer.span(OwnSpan.FIT):
            pass
    errors = "sentinel_component_errors_total"
    late = traces(span(number=10, end_ns=side.clock.now_ns())).SerializeToString()
    assert await side.post("/v1/traces", late) == 200
    own = {"component": "senders.otlp_forward", "stage": "send", "reason": "refused"}
    await side.sees(lambda: side.metrics.value(errors, **own) > 0, "the refused request")
    own = {"component": "senders.self_telemetry", "stage": "send", "reason": "unreachable"}
    await side.sees(lambda: side.metrics.value(errors, **own) > 0, "the failed export")


async def what_goes_wrong_inside(side: Sidecar, hook: Answering) -> None:
    """A batch that breaks the reduction, a child that gives no fit, a page that is refused, a store without room."""
    app = side.app
    add = app.aggregator.add
    app.aggregator.add = broken(ZeroDivisionError("a fault of ours"))  # type: ignore[method-assign, assignment]
    await side.send(Calls(count=3))
    await asyncio.sleep(0)
    await side.clock.advance(1)
    app.aggregator.add = add  # type: ignore[method-assign]
    # The queue of the reduction has no room.
    queue, app.ingest._queue = app.ingest._queue, FullQueue()  # type: ignore[assignment]
    assert await side.post("/v1/traces", traces(span(number=9)).SerializeToString()) == 503
    app.ingest._queue = queue
    await side.close()
    accept = app.ingest.accept
    app.ingest.accept = lambda *_, **__: Admission.RETRY_LATER  # type: ignore[method-assign]
    await log_line(side, "ERROR it failed again", "errors")
    app.ingest.accept = accept  # type: ignore[method-assign]
    # Pressures that cannot be read, and templates that cannot be written.
    pressures, app.overload._pressures = app.overload._pressures, {"queue": broken(OSError())}  # type: ignore[dict-item]
    write, app.log_templates._write = app.log_templates._write, broken(OSError("no room"))  # type: ignore[method-assign, assignment]
    app.log_templates._templates.is_changed = True
    await app.log_templates._save()
    await side.clock.advance(1)
    app.overload._pressures, app.log_templates._write = pressures, write  # type: ignore[method-assign]

    async def no_fit(request: object) -> bytes | None:
        raise FitFailedError(FitResult.TIMEOUT, "took too long")

    app.fitter._child.run = no_fit  # type: ignore[method-assign, assignment]
    await app.fitter.fitted()
    hook.status = 400
    await side.windows(2, Calls(service="other", failed_count=45))
    parked = "sentinel_pages_parked_total"
    await side.sees(
        lambda: side.metrics.value(parked, destination="webhook:hook") > 0, "the refusal"
    )
    sync = app.store.sync
    room = sync._access.has_room
    sync._access.has_room = lambda: False  # type: ignore[method-assign]
    await side.window(Calls())
    sync._access.has_room = room  # type: ignore[method-assign]
    append = sync.append_tick
    sync.append_tick = broken(StoreError("the disk is gone"))  # type: ignore[method-assign, assignment]
    await side.window(Calls())
    sync.append_tick = append  # type: ignore[method-assign]


async def a_change_of_the_configuration(side: Sidecar, file: Path) -> None:
    """One that is taken and one that is not."""
    from sentinel.app.config import load_config
    from sentinel.app.reload import Reloader

    file.write_text("sensitivity: normal\n")
    reloader = Reloader(load_config(file, environment={}), file, side.app)
    file.write_text("sensitivity: quiet\n")
    await reloader.look()
    file.write_text("sensitivity: wrong\n")
    await reloader.look()


async def log_line(side: Sidecar, line: str, counter: str) -> None:
    """A line in the log, and what became of it."""
    before = total(side.metrics, counter, "receivers.log_files")
    (source,) = side.app.config.receivers.log_files.sources
    with Path(source.paths[0]).open("a") as file:
        file.write(line + "\n")
    for _ in range(40):
        await side.clock.advance(0.05)
        await asyncio.sleep(0.01)
        if total(side.metrics, counter, "receivers.log_files") > before:
            return
    msg = f"the log's {counter} did not move"
    raise AssertionError(msg)


class FullQueue:
    """A queue without room."""

    fill_ratio = 1.0
    size_bytes = 0

    def offer(self, item: object, *, size_bytes: int) -> bool:
        """No."""
        return False

    def take_all(self) -> list[object]:
        """Nothing."""
        return []


def broken(error: Exception) -> Callable[..., object]:
    def call(*_: object, **__: object) -> object:
        raise error

    return call


async def grpc_export(side: Sidecar, body: bytes) -> None:
    url = side.app.addresses()["otlp_grpc_url"].removeprefix("http://")
    async with grpc.aio.insecure_channel(url) as channel:
        answer: Awaitable[bytes] = channel.unary_unary(EXPORT, bytes, bytes)(body, timeout=10)
        await answer


async def kong_post(side: Sidecar, body: bytes) -> int:
    url = side.app.addresses()["http_log_url"] + "/kong"
    headers = {"Content-Type": "application/json"}
    return (await fetch(url, method="POST", headers=headers, body=body)).status
