"""NATS and PostgreSQL from the wheels for the ledger's tests, started once a run.

A test module names this module in `pytest_plugins` and asks for `ledger_site`: a database of its
own, empty streams, an edge that listens, and posters when it starts them.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.servers import (
    ReplicaServer,
    start_nats,
    start_postgres,
    start_replica,
)
from sentinel.reference.ledger.wire.config import NatsConfig
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    delete_streams,
    open_ledger,
    open_site,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger_servers() -> AsyncIterator[LedgerServers]:
    with temporary_folder() as folder:
        async with AsyncExitStack() as stack:
            nats_server = await start_nats(folder / "nats")
            stack.push_async_callback(nats_server.stop, timeout_s=5.0)
            postgres_server = await start_postgres(folder / "postgres")
            # At once: nobody needs the tidy checkpoint of dozens of databases that a polite
            # stop would write.
            stack.push_async_callback(
                postgres_server.child.stop, with_signal=signal.SIGQUIT, timeout_s=5.0
            )
            url = postgres_server.url_file.read_text(encoding="utf-8")
            yield LedgerServers(
                nats_url=nats_server.url, postgres_url=url, primary=postgres_server
            )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger_replica(ledger_servers: LedgerServers) -> AsyncIterator[ReplicaServer]:
    """A streaming replica of the tests' server, with all of its databases."""
    folder = ledger_servers.primary.cluster.folder.with_name("replica")
    server = await start_replica(folder, ledger_servers.primary)
    try:
        yield server
    finally:
        await server.child.stop(with_signal=signal.SIGQUIT, timeout_s=5.0)


@pytest.fixture
async def ledger_site(ledger_servers: LedgerServers) -> AsyncIterator[LedgerSite]:
    nats_config = NatsConfig(url=ledger_servers.nats_url, ack_wait_s=2.0)
    postgres_config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    async with open_site(nats_config, postgres_config) as site:
        yield site
