"""What tests of webhooks ask for: `webhook_site`, on the servers of ledger_fixtures.py, which their modules name too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_servers import LedgerServers, delete_streams, open_ledger
from tests.support.webhook_receiver import Receiver, WebhookSite, new_record


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
