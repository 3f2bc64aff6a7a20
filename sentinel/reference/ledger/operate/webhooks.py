"""The process that sends webhooks, and what the edge needs to keep their register."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.edge.endpoints import EndpointsConfig, WebhookEndpoints
from sentinel.reference.ledger.operate.single import (
    OpenEndpoints,
    connect_queue,
    patiently,
    say,
    stop_on_signals,
)
from sentinel.reference.ledger.telemetry import (
    WEBHOOKS_SERVICE,
    Event,
    Telemetry,
    start_telemetry,
)
from sentinel.reference.ledger.webhooks import Webhooks, WebhooksConfig
from sentinel.reference.ledger.webhooks.process import BY_INDEX, DURABLE
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.webhook_secrets import Opener, Sealer

# Registering is rare beside everything else that the edge does.
REGISTER_POOL_SIZE_MAX: Final = 2
SENDER_POOL_SIZE_MAX: Final = 4


async def run_webhooks(
    config: WebhooksConfig, nats: NatsConfig, postgres: PostgresConfig, *, key_file: Path
) -> None:
    """Send webhooks until SIGTERM or SIGINT.

    Raises:
        UnreadableError: the file of keys cannot be read, or by too many.
        UnavailableError: a server was not there at the start.
    """
    opener = Opener.of_file(key_file)
    telemetry = start_telemetry(WEBHOOKS_SERVICE)
    try:
        queue = await connect_queue(nats, telemetry)
        try:
            await queue.subscribe_events(DURABLE)
            database = await patiently(
                lambda: Database.connect(postgres, application_name="webhooks", settings=BY_INDEX)
            )
            try:
                process = Webhooks(
                    config, queue=queue, database=database, opener=opener, telemetry=telemetry
                )
                stop = stop_on_signals()
                telemetry.info(Event.WEBHOOKS_STARTED, "Webhooks are sent")
                say({"event": "ready", "role": "webhooks", "pid": os.getpid()})
                await process.run(stop)
                telemetry.info(Event.WEBHOOKS_STOPPED, "Webhooks are no longer sent")
            finally:
                await database.close()
        finally:
            await queue.close()
    finally:
        telemetry.stop()


def endpoints_opener(
    config: EndpointsConfig, postgres: PostgresConfig, *, public_key_file: Path
) -> OpenEndpoints:
    """Return how the edge opens the register once its telemetry is there.

    Raises:
        UnreadableError: the public key's file cannot be read.
        LedgerError: it holds no such key.
    """
    sealer = Sealer.of_file(public_key_file)

    @asynccontextmanager
    async def opened(telemetry: Telemetry) -> AsyncIterator[WebhookEndpoints]:
        database = await Database.connect(postgres, application_name="edge-endpoints")
        try:
            yield WebhookEndpoints(config, database=database, sealer=sealer, telemetry=telemetry)
        finally:
            await database.close()

    return opened
