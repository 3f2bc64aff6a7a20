"""The ledger's edge and poster in a test's own event loop, on real servers.

The fixtures that start the servers are in ledger_fixtures.py.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import nats
from nats.js.errors import NotFoundError
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT, Opening, Tier
from sentinel.reference.ledger.edge import Edge, EdgeConfig
from sentinel.reference.ledger.edge.auth import AuthConfig, Authenticator
from sentinel.reference.ledger.edge.books import Books, open_books
from sentinel.reference.ledger.edge.exports import ExportsConfig
from sentinel.reference.ledger.edge.watch import WatchConfig
from sentinel.reference.ledger.operate.exporting import exports_opener
from sentinel.reference.ledger.operate.servers import PostgresServer
from sentinel.reference.ledger.posting import BY_INDEX, Poster, PosterConfig
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, Queue, stream_name
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.register import open_tenants
from tests.support.contract import conforming

TENANTS = ("shop", "rival")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerServers:
    """Addresses of the two servers; `postgres_url` ends in the database's name."""

    nats_url: str
    postgres_url: str
    primary: PostgresServer


@dataclass(slots=True)
class Recorded:
    """In-memory telemetry of one process."""

    telemetry: Telemetry
    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter
    metrics: InMemoryMetricReader

    def values(self, metric: str) -> dict[tuple[str, ...], float]:
        """What a metric says now, by the values of its attributes in the order of their names."""
        data = self.metrics.get_metrics_data()
        found: dict[tuple[str, ...], float] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    if one.name == metric:
                        for point in one.data.data_points:
                            named = sorted((point.attributes or {}).items())
                            found[tuple(str(value) for _, value in named)] = point.value  # type: ignore[union-attr]
        return found

    def events(self) -> list[str]:
        """Names of the log events so far."""
        return [str(one.log_record.event_name) for one in self.logs.get_finished_logs()]


def recorded(service: str) -> Recorded:
    """Telemetry that is kept in memory, to be looked at."""
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    metrics = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[metrics], shutdown_on_exit=False)
    telemetry = Telemetry(service=service, tracers=tracers, meters=meters, loggers=loggers)
    return Recorded(telemetry=telemetry, spans=spans, logs=logs, metrics=metrics)


@dataclass(slots=True)
class LedgerSite:
    """One test's ledger: edge always, posters when asked for."""

    nats: NatsConfig
    postgres: PostgresConfig
    http: aiohttp.ClientSession
    edge: Recorded
    poster: Recorded
    books: Books
    stack: AsyncExitStack
    stops: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    async def transfer(
        self, key: str, debit: str, credit: str, amount: int, *, tenant: str = "shop"
    ) -> tuple[int, dict[str, Any]]:
        """Ask for a transfer; returns status and body."""
        async with self.http.post(
            "/v1/transfers",
            json={
                "debit_account": debit,
                "credit_account": credit,
                "amount_minor": amount,
                "currency": "EUR",
            },
            headers={"X-Tenant": tenant, "Idempotency-Key": key},
        ) as response:
            return response.status, await response.json()

    async def get(self, path: str, *, tenant: str = "shop") -> tuple[int, dict[str, Any]]:
        """Ask for a resource; returns status and body."""
        async with self.http.get(path, headers={"X-Tenant": tenant}) as response:
            return response.status, await response.json()

    async def settled(self, status_url: str, *, tenant: str = "shop") -> dict[str, Any]:
        """The transaction, once it is no longer pending."""
        for _ in range(1500):
            status, body = await self.get(status_url, tenant=tenant)
            if status != 200 or body["state"] != "pending":
                return body
            await asyncio.sleep(0.01)
        msg = f"{status_url} stayed pending"
        raise AssertionError(msg)

    async def start_poster(
        self, config: PosterConfig | None = None, *, postgres: PostgresConfig | None = None
    ) -> None:
        """Run a poster in this event loop, until the test ends or `stop_posters`; `postgres` is how it logs in."""
        telemetry = self.poster.telemetry
        queue = await Queue.connect(self.nats, name="test", on_change=lambda what, detail: None)
        self.stack.push_async_callback(queue.close)
        posting = config or PosterConfig(fetch_wait_s=0.2)
        await queue.subscribe(posting.cohorts)
        database = await Database.connect(
            postgres or self.postgres, application_name="poster", settings=BY_INDEX
        )
        self.stack.push_async_callback(database.close)
        poster = Poster(
            posting,
            queue=queue,
            database=database,
            telemetry=telemetry,
        )
        stop = asyncio.Event()
        self.stops.append((stop, asyncio.create_task(poster.run(stop))))
        self.stack.push_async_callback(self.stop_posters)

    async def stop_posters(self) -> None:
        """Stop every poster and wait for it."""
        for stop, task in self.stops:
            stop.set()
            await task
        self.stops.clear()

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        """Rows of a query on the test's database."""
        async with postgres.session(self.postgres, application_name="test") as session:
            return [dict(row) for row in await session.fetch(query, *args)]


def open_site(
    nats_config: NatsConfig,
    postgres_config: PostgresConfig,
    edge_config: EdgeConfig | None = None,
    *,
    auth: AuthConfig | None = None,
    edge_telemetry: Telemetry | None = None,
    replica: PostgresConfig | None = None,
    watch: WatchConfig | None = None,
    exports: PostgresConfig | None = None,
) -> SiteContext:
    """An edge on these servers, ready to be asked; it believes `X-Tenant` unless told otherwise."""
    ways = auth or AuthConfig(insecure_tenant_header=True)
    return SiteContext(
        nats_config,
        postgres_config,
        edge_config or EdgeConfig(),
        ways,
        edge_telemetry,
        replica=replica,
        watch=watch,
        exports=exports,
    )


class SiteContext:
    """Opens and closes a LedgerSite."""

    def __init__(
        self,
        nats_config: NatsConfig,
        postgres_config: PostgresConfig,
        edge_config: EdgeConfig,
        auth: AuthConfig,
        edge_telemetry: Telemetry | None,
        *,
        replica: PostgresConfig | None,
        watch: WatchConfig | None,
        exports: PostgresConfig | None,
    ) -> None:
        self._auth, self._edge_telemetry = auth, edge_telemetry
        self._exports = exports
        self._replica, self._watch = replica, watch
        self._configs = (nats_config, postgres_config, edge_config)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> LedgerSite:
        nats_config, postgres_config, edge_config = self._configs
        edge, stack = recorded("ledger-edge"), self._stack
        edge.telemetry = self._edge_telemetry or edge.telemetry
        queue = await Queue.connect(nats_config, name="test", on_change=lambda what, detail: None)
        stack.push_async_callback(queue.close)
        books = await stack.enter_async_context(
            open_books(
                postgres_config,
                self._replica,
                queue=queue,
                telemetry=edge.telemetry,
                watch_config=self._watch,
            )
        )
        exports = None
        if self._exports is not None:
            opener = exports_opener(ExportsConfig(), self._exports)
            exports = await stack.enter_async_context(opener(edge.telemetry))
        server = Edge(
            edge_config,
            queue=queue,
            books=books,
            authenticator=Authenticator(self._auth, telemetry=edge.telemetry),
            telemetry=edge.telemetry,
            exports=exports,
        )
        url = await server.start()
        stack.push_async_callback(server.stop)
        http = aiohttp.ClientSession(url, middlewares=[conforming])
        stack.push_async_callback(http.close)
        return LedgerSite(
            nats=nats_config,
            postgres=postgres_config,
            http=http,
            edge=edge,
            poster=recorded("ledger-poster"),
            books=books,
            stack=stack,
        )

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()


async def fresh_database(servers: LedgerServers) -> PostgresConfig:
    """An empty database on the shared server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    async with postgres.session(
        PostgresConfig(url=servers.postgres_url),
        application_name="test",
        settings={"statement_timeout": "10000"},
    ) as session:
        await session.execute(f"create database {name}")
    return PostgresConfig(url=servers.postgres_url.rpartition("/")[0] + f"/{name}")


async def open_ledger(servers: LedgerServers) -> PostgresConfig:
    """A database of its own with the ledger's tables and the tests' tenants."""
    config = await fresh_database(servers)
    await postgres.migrate(config)
    await open_tenants(config, [Opening(name=name, tier=Tier.ENTERPRISE) for name in TENANTS])
    return config


async def delete_streams(nats_url: str) -> None:
    """Leave no stream of an earlier test behind."""
    client = await nats.connect(nats_url)
    try:
        cohorts = (stream_name(cohort) for cohort in range(COHORTS_COUNT))
        for stream in (*cohorts, DEAD_STREAM, EVENTS_STREAM):
            try:
                await client.jetstream().delete_stream(stream)
            except NotFoundError:
                continue
    finally:
        await client.close()
