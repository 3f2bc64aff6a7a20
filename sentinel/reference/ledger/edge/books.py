"""The edge's ways to the books: pools of the primary and of the replica, and the look at both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from sentinel.reference.ledger.edge.lookup import PLANNED_ONCE
from sentinel.reference.ledger.edge.reads import Reads
from sentinel.reference.ledger.edge.sources import Source
from sentinel.reference.ledger.edge.watch import ReplicaWatch, WatchConfig
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.tenants import Tenants

_NAME: Final = "edge"
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the edge reads by; open while `open_books` is."""

    reads: Reads
    tenants: Tenants
    watch: ReplicaWatch


@asynccontextmanager
async def open_books(
    primary: PostgresConfig,
    replica: PostgresConfig | None,
    *,
    queue: Queue,
    telemetry: Telemetry,
    watch_config: WatchConfig | None = None,
) -> AsyncIterator[Books]:
    """Open the pools; the replica may be away, now and later.

    Each kind of question has pools of its own: a lock on one table then cannot use up the connections
    that the other needs. So has the look at the servers, which must not wait behind questions.

    Raises:
        UnavailableError: the primary does not answer in time.
    """
    async with AsyncExitStack() as stack:

        async def connect(
            config: PostgresConfig, name: str = _NAME, *, at_once: bool = True
        ) -> Database:
            database = await Database.connect(
                config, application_name=name, at_once=at_once, settings=PLANNED_ONCE
            )
            stack.push_async_callback(database.close)
            return database

        async def connect_watch(config: PostgresConfig) -> Database:
            narrow = replace(config, pool_size_max=1, statement_timeout_s=_LOOK_S)
            return await connect(narrow, "edge-watch", at_once=False)

        watch = ReplicaWatch(
            watch_config or WatchConfig(),
            primary=await connect_watch(primary),
            replica=await connect_watch(replica) if replica is not None else None,
            telemetry=telemetry,
        )
        accounts = await connect(primary)
        sources = [
            Source(
                primary=database,
                replica=await connect(replica, at_once=False) if replica is not None else None,
                watch=watch,
                telemetry=telemetry,
                collection=collection,
            )
            for collection, database in (
                ("accounts", accounts),
                ("transactions", await connect(primary)),
            )
        ]
        await watch.look()
        looking = asyncio.create_task(watch.run(), name="edge-watch")
        try:
            yield Books(
                reads=Reads(accounts=sources[0], transactions=sources[1], queue=queue),
                tenants=Tenants(accounts),
                watch=watch,
            )
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
