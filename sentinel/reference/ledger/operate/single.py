"""One process of the ledger: the edge or the poster, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import orjson

from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.analytics.consumer import DURABLE as ANALYTICS
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.domain.tenant import Opening
from sentinel.reference.ledger.edge import Edge, EdgeConfig
from sentinel.reference.ledger.edge.auth import AuthConfig, Authenticator
from sentinel.reference.ledger.edge.books import open_books
from sentinel.reference.ledger.edge.endpoints import WebhookEndpoints
from sentinel.reference.ledger.edge.exports import Exports
from sentinel.reference.ledger.operate.heartbeat import start_heartbeat
from sentinel.reference.ledger.operate.leak import leaking
from sentinel.reference.ledger.operate.loops import has_started
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.release import fail_a_share
from sentinel.reference.ledger.posting import BY_INDEX, Poster, PosterConfig
from sentinel.reference.ledger.telemetry import (
    ANALYTICS_SERVICE,
    EDGE_SERVICE,
    POSTER_SERVICE,
    Event,
    Telemetry,
    start_telemetry,
)
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.durability import check_database
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database, check_answers

OpenEndpoints = Callable[[Telemetry], AbstractAsyncContextManager[WebhookEndpoints]]
OpenExports = Callable[[Telemetry], AbstractAsyncContextManager[Exports]]
_T = TypeVar("_T")
_CONNECT_PATIENCE_S: Final = 5.0
_CONNECT_PAUSE_S: Final = 0.2


async def run_edge(
    edge_config: EdgeConfig,
    nats: NatsConfig,
    postgres: PostgresConfig,
    *,
    auth: AuthConfig,
    replica: PostgresConfig | None = None,
    open_endpoints: OpenEndpoints | None = None,
    open_exports: OpenExports | None = None,
) -> None:
    """Serve HTTP until SIGTERM or SIGINT; reads go to the replica when there is one.

    Without `open_endpoints` nobody can register webhooks, and without `open_exports` nobody can ask for exports.

    Raises:
        UnavailableError: a server was not there at the start.
        LedgerError: the database could lose commits that may not be lost.
        UsageError: the ways in are not for the address.
        UnreadableError: a TLS file cannot be used.
    """
    auth.check_host(edge_config.host)
    telemetry = start_telemetry(EDGE_SERVICE)
    try:
        queue = await connect_queue(nats, telemetry)
        try:
            await patiently(lambda: check_answers(postgres))
            await patiently(lambda: check_database(edge_config.durability, postgres))
            async with (
                open_books(postgres, replica, queue=queue, telemetry=telemetry) as books,
                nullcontext()
                if open_endpoints is None
                else open_endpoints(telemetry) as endpoints,
                nullcontext() if open_exports is None else open_exports(telemetry) as exports,
            ):
                edge = Edge(
                    edge_config,
                    queue=queue,
                    books=books,
                    authenticator=Authenticator(auth, telemetry=telemetry),
                    telemetry=telemetry,
                    endpoints=endpoints,
                    exports=exports,
                )
                url = await edge.start()
                # Only now: before it, a signal may end the process at once, for nothing is lost.
                stop = stop_on_signals()
                has_started()
                try:
                    telemetry.info(Event.EDGE_STARTED, "The edge is listening", url=url)
                    say({"event": "ready", "role": "edge", "url": url, "pid": os.getpid()})
                    await stop.wait()
                finally:
                    await edge.stop()
                    telemetry.info(Event.EDGE_STOPPED, "The edge has stopped")
        finally:
            await queue.close()
    finally:
        telemetry.stop()


async def run_poster(
    poster_config: PosterConfig,
    nats: NatsConfig,
    postgres: PostgresConfig,
    *,
    tenants: Sequence[Opening] = (),
    durability: Durability = Durability.PROCESS,
    release: Path | None = None,
    leak: Path | None = None,
) -> None:
    """Post transfers until SIGTERM or SIGINT, bringing schema and tenants up to date first.

    `release` and `leak` are control files of faults.

    Raises:
        UnavailableError: a server was not there at the start.
        LedgerError: the database was written by a newer version, or could lose commits that may not be lost.
    """
    telemetry = start_telemetry(POSTER_SERVICE)
    try:
        await patiently(lambda: prepare(postgres, tenants))
        await patiently(lambda: check_database(durability, postgres))
        queue = await connect_queue(nats, telemetry)
        try:
            await queue.subscribe(poster_config.cohorts)
            database = await Database.connect(
                # Its transactions say what they need for themselves alone, and it asks for no tenant.
                postgres,
                application_name="poster",
                settings=BY_INDEX,
                resets=False,
            )
            try:
                poster = Poster(
                    poster_config,
                    queue=queue,
                    database=database,
                    telemetry=telemetry,
                    before_attempt=None if release is None else partial(fail_a_share, release),
                )
                stop = stop_on_signals()
                has_started()
                telemetry.info(Event.POSTING_STARTED, "The poster is waiting for transfers")
                say({"event": "ready", "role": "poster", "pid": os.getpid()})
                async with leaking(leak):
                    await poster.run(stop)
                telemetry.info(Event.POSTING_STOPPED, "The poster has stopped")
            finally:
                await database.close()
        finally:
            await queue.close()
    finally:
        telemetry.stop()


async def run_analytics(
    config: AnalyticsConfig, nats: NatsConfig, postgres: PostgresConfig
) -> None:
    """Count events until SIGTERM or SIGINT.

    Raises:
        UnavailableError: a server was not there at the start.
    """
    telemetry = start_telemetry(ANALYTICS_SERVICE)
    try:
        queue = await connect_queue(nats, telemetry)
        try:
            await queue.subscribe_events(ANALYTICS)
            database = await patiently(
                lambda: Database.connect(postgres, application_name="analytics")
            )
            try:
                analytics = Analytics(config, queue=queue, database=database, telemetry=telemetry)
                stop = stop_on_signals()
                telemetry.info(Event.ANALYTICS_STARTED, "Analytics is waiting for events")
                say({"event": "ready", "role": "analytics", "pid": os.getpid()})
                await analytics.run(stop)
                telemetry.info(Event.ANALYTICS_STOPPED, "Analytics has stopped")
            finally:
                await database.close()
        finally:
            await queue.close()
    finally:
        telemetry.stop()


async def connect_queue(nats: NatsConfig, telemetry: Telemetry) -> Queue:
    """Connect to NATS, reporting later losses of the connection as log events."""

    def on_change(what: str, detail: str) -> None:
        if what == "disconnected":
            telemetry.warning(Event.NATS_DISCONNECTED, "The connection to NATS was lost")
        elif what == "reconnected":
            telemetry.info(Event.NATS_RECONNECTED, "The connection to NATS is back")
        elif what == "restored":
            telemetry.queue_restored()
            telemetry.error(
                Event.NATS_RESTORED,
                "NATS had lost streams or consumers, which were made again: what waited in them is lost",
                made=detail,
            )
        else:
            telemetry.warning(Event.NATS_ERROR, f"NATS reported an error: {detail}")

    name = telemetry.service
    return await patiently(lambda: Queue.connect(nats, name=name, on_change=on_change))


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; from here on the process has begun to work.

    Raises:
        UsageError: it was told to show that it is alive, and cannot.
    """
    start_heartbeat()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def say(document: dict[str, object]) -> None:
    """Print one JSON line for whoever started this process."""
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    sys.stdout.flush()


async def patiently(
    attempt: Callable[[], Awaitable[_T]], *, patience_s: float = _CONNECT_PATIENCE_S
) -> _T:
    """Retry while a server is unavailable: at the start it may come up a moment later."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        try:
            return await attempt()
        except UnavailableError:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(_CONNECT_PAUSE_S)
