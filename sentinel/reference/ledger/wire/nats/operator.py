"""A connection for whoever looks after the streams, or breaks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.js import JetStreamContext

from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats.reaching import reaching


@asynccontextmanager
async def operator(
    config: NatsConfig, *, name: str
) -> AsyncIterator[tuple[Client, JetStreamContext]]:
    """A connection that may do what the ledger itself never does; errors leave translated.

    Of several servers the first one that answers is taken.

    Raises:
        UnavailableError: the server did not answer, or refused.
    """
    client = Client()
    with reaching("NATS did not do it"):
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                await client.connect(
                    servers=config.servers,
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                )
            yield client, client.jetstream(timeout=config.publish_timeout_s)
        finally:
            if not client.is_closed:
                await client.close()
