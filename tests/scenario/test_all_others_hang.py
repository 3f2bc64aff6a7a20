"""Goal: while a page, a Kong, a NATS, a PostgreSQL and an endpoint that telemetry is handed on to are all ill at once, in one way after the other, no other way in loses a window.

Method: the whole program on a manual clock; one port that accepts and is silent, drips, breaks off or is closed stands for all that are ill; calls
come as OTLP, in an access log and on a page that is well, and each window must have each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import SeriesKey
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig, NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.senders.otlp_forward.config import EndpointConfig, ForwardConfig, ForwardQueueConfig
from tests.support.page_server import PageServer, page_server
from tests.support.places import early_name
from tests.support.whole_app import SECOND_NS, Calls, Sidecar, config_of, sidecar, until

pytestmark = pytest.mark.timeout(90)

CALLS = Calls(count=30)
SHORT = ClientConfig(connect_timeout=Duration(0.3), timeout=Duration(0.3))
WELL = early_name("scrapers.prometheus")
EXPECTED = {
    SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic"): 3.0,
    SeriesKey("gateway", "edge", "POST", "traffic"): 2.0,
    SeriesKey(WELL, "metrics", "all", "depth"): 7.0,
}


class IllPort:
    """Does to every connection what its mode says: silent, drips, breaks off; or is closed."""

    def __init__(self) -> None:
        self.mode = "silent"
        self.port = 0
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """On the port it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse, and end what there is; idempotent."""
        server, self._server = self._server, None
        for writer in list(self._writers):
            writer.transport.abort()
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            while self.mode == "silent" and await reader.read(65536):
                pass
            while self.mode == "drips":
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


@asynccontextmanager
async def ill_port() -> AsyncIterator[IllPort]:
    made = IllPort()
    await made.listen()
    try:
        yield made
    finally:
        await made.close()


def scrapers_of(ill: IllPort, well: PageServer) -> ScrapersConfig:
    at = f"127.0.0.1:{ill.port}"
    return ScrapersConfig(
        prometheus=(
            PrometheusTargetConfig(name=WELL, url=well.url),
            PrometheusTargetConfig(name="ill", url=f"http://{at}/metrics", client=SHORT),
        ),
        kong=(KongTargetConfig(url=f"http://{at}/metrics", timeout=Duration(0.5), client=SHORT),),
        nats=(
            NatsConfig(
                urls=(f"http://{at}",),
                client=SHORT,
                advisories=NatsAdvisoriesConfig(
                    urls=(f"nats://{at}",), connect_timeout=Duration(0.3)
                ),
            ),
        ),
        postgres=(
            PostgresTargetConfig(
                port=ill.port,
                timeout=Duration(0.5),
                connect_timeout=Duration(0.3),
                statement_timeout=Duration(0.3),
            ),
        ),
    )


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Sidecar, IllPort, Path]]:
    access = folder / "access.log"
    access.touch()
    source = LogSourceConfig(
        name="gateway", paths=(str(access),), service="gateway", start=StartAt.BEGINNING
    )
    async with ill_port() as ill, page_server() as well:
        well.page = "depth 7\n"
        config = config_of(folder)
        endpoint = EndpointConfig(
            url=f"http://127.0.0.1:{ill.port}",
            client=SHORT,
            queue=ForwardQueueConfig(min_free_bytes=ByteSize(0)),
        )
        config = replace(
            config,
            receivers=replace(config.receivers, log_files=LogFilesConfig(sources=(source,))),
            scrapers=scrapers_of(ill, well),
            forward=ForwardConfig(endpoints=(endpoint,), drain_timeout=Duration(0.2)),
        )
        async with sidecar(config) as side:
            yield side, ill, access


async def window(side: Sidecar, access: Path) -> dict[SeriesKey, float]:
    """One window in which all that is well tells of its calls; what it came to."""
    start_ns = side.next_ns
    await side.send(CALLS)
    with access.open("a") as file:
        for number in range(20):
            at = datetime.fromtimestamp(start_ns // SECOND_NS + number * 8 // 20, UTC)
            file.write(
                f'127.0.0.1 - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "POST /v1/pay HTTP/1.1" 200 5 "-" "-" 0.050\n'
            )
    written = access.read_text().count("\n")

    def received() -> float:
        labels = {"component": "receivers.log_files", "signal": "logs"}
        return side.metrics.value("sentinel_component_received_total", **labels)

    for _ in range(15):
        if received() == written:
            break
        await side.clock.advance(0.05)
        for _ in range(20):
            await asyncio.sleep(0.003)
    assert received() == written
    await side.close()
    latest = side.app.evaluate.latest
    assert latest is not None
    return dict(zip(latest.keys, latest.block.value[0].tolist(), strict=True))


async def test_each_way_in_that_is_well_has_each_window(tmp_path: Path) -> None:
    async with scene(tmp_path) as (side, ill, access):
        polled = {"scraper": "scrapers.prometheus", "target": WELL, "result": "ok"}
        for number, mode in enumerate(
            ("silent", "silent", "drips", "breaks off", "closed", "closed")
        ):
            ill.mode = mode
            if mode == "closed":
                await ill.close()
            found = await window(side, access)
            await until(
                lambda n=number: side.metrics.value("sentinel_scrapes_total", **polled) > n,  # type: ignore[misc]  # of this turn
                what="the page that is well",
            )
            assert {key: found.get(key) for key in EXPECTED} == pytest.approx(EXPECTED), mode
        assert ill.accepted > 8
        not_sent = side.metrics.value(
            "sentinel_component_errors_total",
            component="senders.otlp_forward",
            stage="send",
            reason="unreachable",
        )
        assert not_sent > 0
        for name in ("nats", "postgres", "kong", "prometheus"):
            assert "cannot be read" in side.app.scrapers[name].health().sentence.replace(
                "No target can be", "cannot be"
            )
        assert await side.incidents() == []
