"""What tests of webhooks ask for: `webhook_site`, and `endpoints_site` with an edge before it, on the servers of ledger_fixtures.py, which their modules name too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from sentinel.reference.ledger.edge import Edge, EdgeConfig
from sentinel.reference.ledger.edge.auth import AuthConfig, Authenticator
from sentinel.reference.ledger.edge.books import open_books
from sentinel.reference.ledger.edge.endpoints import EndpointsConfig, WebhookEndpoints
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.roles import Role, role_url
from sentinel.reference.ledger.wire.webhook_secrets import Sealer, make_key_files
from tests.support.contract import conforming
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    delete_streams,
    open_ledger,
    recorded,
)
from tests.support.webhook_receiver import LOOPBACK, Receiver, WebhookSite, new_record


@pytest.fixture
async def webhook_site(
    ledger_servers: LedgerServers, tmp_path: Path
) -> AsyncIterator[WebhookSite]:
    admin = await open_ledger(ledger_servers)
    url = role_url(admin, Role.WEBHOOKS, "sends")
    await prepare(admin, (), role_urls=[url])
    await delete_streams(ledger_servers.nats_url)
    nats_config = NatsConfig(url=ledger_servers.nats_url, ack_wait_s=2.0)
    queue = await Queue.connect(nats_config, name="test", on_change=lambda what, detail: None)
    await queue.close()  # its streams are there now
    async with AsyncExitStack() as stack:
        receiver = Receiver()
        await receiver.start()
        stack.push_async_callback(receiver.stop)
        yield WebhookSite(
            nats=nats_config,
            admin=admin,
            config=PostgresConfig(url=url),
            folder=tmp_path,
            receiver=receiver,
            recorded=new_record(),
            stack=stack,
        )


@pytest.fixture
async def endpoints_site(webhook_site: WebhookSite) -> AsyncIterator[LedgerSite]:
    """The edge with its register of endpoints, under the roles that it has in earnest."""
    site, record = webhook_site, recorded("ledger-edge")
    private, public = site.keys
    make_key_files(private=private, public=public)
    urls = {role: role_url(site.admin, role, "asks") for role in (Role.READER, Role.ENDPOINTS)}
    await prepare(site.admin, (), role_urls=list(urls.values()))
    async with AsyncExitStack() as stack:
        queue = await Queue.connect(site.nats, name="test", on_change=lambda what, detail: None)
        stack.push_async_callback(queue.close)
        books = await stack.enter_async_context(
            open_books(
                PostgresConfig(url=urls[Role.READER]),
                None,
                queue=queue,
                telemetry=record.telemetry,
            )
        )
        register = await Database.connect(
            PostgresConfig(url=urls[Role.ENDPOINTS]), application_name="edge"
        )
        stack.push_async_callback(register.close)
        edge = Edge(
            EdgeConfig(),
            queue=queue,
            books=books,
            authenticator=Authenticator(
                AuthConfig(insecure_tenant_header=True), telemetry=record.telemetry
            ),
            telemetry=record.telemetry,
            endpoints=WebhookEndpoints(
                EndpointsConfig(policy=LOOPBACK, tenant_endpoints_max=3, waiting_tests_max=1),
                database=register,
                sealer=Sealer.of_file(public),
                telemetry=record.telemetry,
            ),
        )
        url = await edge.start()
        stack.push_async_callback(edge.stop)
        http = aiohttp.ClientSession(url, middlewares=[conforming])
        stack.push_async_callback(http.close)
        yield LedgerSite(
            nats=site.nats,
            postgres=site.admin,
            http=http,
            edge=record,
            poster=recorded("ledger-poster"),
            books=books,
            stack=stack,
        )
