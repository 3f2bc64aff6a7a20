"""A receiver of webhooks on loopback that keeps what came, and a site that sends to it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from aiohttp import web

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
from sentinel.reference.ledger.domain.webhooks.asked import Signature
from sentinel.reference.ledger.domain.webhooks.endpoint import Patience
from sentinel.reference.ledger.domain.webhooks.message import CHOOSABLE
from sentinel.reference.ledger.domain.webhooks.schedule import Schedule
from sentinel.reference.ledger.webhooks import Webhooks, WebhooksConfig
from sentinel.reference.ledger.webhooks.dispatch import DispatchConfig
from sentinel.reference.ledger.webhooks.process import BY_INDEX
from sentinel.reference.ledger.webhooks.sender import Sender
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.webhook_secrets import (
    NewSecret,
    Opener,
    Sealer,
    make_key_files,
    new_secret,
)
from tests.support.ledger_servers import Recorded, recorded

QUICK = DispatchConfig(
    schedule=Schedule(waits_s=(0.0, 0.1, 0.1, 0.1), jitter_ratio=0.0),
    patience=Patience(disable_after_s=3600.0, pause_first_s=0.1, pause_max_s=0.2),
    poll_s=0.05,
    lost_after_s=2.0,
    note_patience_s=1.0,
)
LOOPBACK = AddressPolicy(loopback_http=True)


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        """The same for each attempt at one event."""
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        """What it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """Answers 200 unless told otherwise for a path."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, Callable[[], Awaitable[web.StreamResponse]]] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def answer(self, path: str, status: int, **headers: str) -> None:
        """Answer this from now on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def respond() -> web.StreamResponse:
            return web.Response(status=status, headers=named)

        self.answers[path] = respond

    def at(self, path: str) -> list[Received]:
        """What came to a path."""
        return [one for one in self.received if one.path == path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, await request.read()))
        answer = self.answers.get(request.path)
        return web.Response() if answer is None else await answer()


@dataclass(slots=True)
class WebhookSite:
    """A database, a stream and a receiver; processes when a test starts them."""

    nats: NatsConfig
    admin: PostgresConfig
    config: PostgresConfig
    folder: Path
    receiver: Receiver
    recorded: Recorded
    stack: AsyncExitStack
    stops: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    @property
    def keys(self) -> tuple[Path, Path]:
        """The private and the public file."""
        return self.folder / "webhooks.key", self.folder / "webhooks.pub"

    async def endpoint(
        self,
        path: str,
        *,
        tenant: str = "shop",
        signature: Signature = Signature.HMAC,
        url: str = "",
    ) -> tuple[uuid.UUID, NewSecret]:
        """Register one as the edge does."""
        private, public = self.keys
        make_key_files(private=private, public=public)
        secret, endpoint_id = new_secret(signature), uuid.uuid4()
        await self.execute(
            "insert into ledger.webhook_endpoints (cohort, endpoint_id, tenant, url, event_types, signature, secret, public_key)"
            " values ($1, $2, $3, $4, $5, $6, $7, $8)",
            new_cohort(tenant),
            endpoint_id,
            tenant,
            url or self.receiver.url + path,
            [one.value for one in CHOOSABLE],
            signature.value,
            Sealer.of_file(public).seal(secret.secret),
            secret.public_key,
        )
        return endpoint_id, secret

    async def start(
        self, config: WebhooksConfig | None = None, sender: Sender | None = None
    ) -> Webhooks:
        """Run the process in this event loop, as its role."""
        config = config or quick()
        queue = await Queue.connect(
            self.nats, name="webhooks", on_change=lambda what, detail: None
        )
        await queue.subscribe_events("webhooks")
        database = await Database.connect(
            self.config, application_name="webhooks", settings=BY_INDEX
        )
        self.stack.push_async_callback(queue.close)
        self.stack.push_async_callback(database.close)
        process = Webhooks(
            config,
            queue=queue,
            database=database,
            opener=Opener.of_file(self.keys[0]),
            telemetry=self.recorded.telemetry,
            sender=sender,
        )
        stop = asyncio.Event()
        self.stops.append((stop, asyncio.create_task(process.run(stop))))
        self.stack.push_async_callback(self.stop)
        return process

    async def stop(self) -> None:
        """Stop every process and wait for it."""
        for stop, task in self.stops:
            stop.set()
            await task
        self.stops.clear()

    async def publish(
        self,
        count: int = 1,
        *,
        tenant: str = "shop",
        kind: str = "transaction.posted",
        position: int = 1,
        occurred_at: str = "2999-01-01T00:00:00Z",
        **data: object,
    ) -> list[str]:
        """Put events onto the stream; their ids."""
        client = await nats.connect(self.nats.url)
        ids = []
        try:
            for _ in range(count):
                event_id, cohort = str(uuid.uuid4()), new_cohort(tenant)
                event = {
                    "version": 1,
                    "event_id": event_id,
                    "type": kind,
                    "tenant": tenant,
                    "cohort": cohort,
                    "position": position,
                    "occurred_at": occurred_at,
                    "data": {"transaction_id": event_id, "state": "posted", **data},
                }
                await client.jetstream().publish(
                    f"ledger.events.c{cohort}.{tenant}.{kind}",
                    json.dumps(event).encode(),
                    headers={"Nats-Msg-Id": event_id},
                )
                ids.append(event_id)
        finally:
            await client.close()
        return ids

    async def execute(self, query: str, *args: object) -> None:
        """Run a statement as the database's owner."""
        async with postgres.session(self.admin, application_name="test") as session:
            await session.execute(query, *args)

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        """Rows of a query as the database's owner sees them."""
        async with postgres.session(self.admin, application_name="test") as session:
            return [dict(row) for row in await session.fetch(query, *args)]

    async def deliveries(self) -> list[dict[str, Any]]:
        """Every delivery there is."""
        return await self.rows("select * from ledger.webhook_deliveries order by created_at")

    async def state_of(self, endpoint_id: uuid.UUID) -> str:
        """An endpoint's state."""
        rows = await self.rows(
            "select state from ledger.webhook_endpoints where endpoint_id = $1", endpoint_id
        )
        return str(rows[0]["state"])


def quick(**others: Any) -> WebhooksConfig:
    """A configuration whose times are those of a test."""
    return WebhooksConfig(
        **{
            "policy": LOOPBACK,
            "dispatch": QUICK,
            "look_interval_s": 0.1,
            "count_interval_s": 0.2,
            "tidy_interval_s": 0.2,
            **others,
        }
    )


def new_record() -> Recorded:
    """Telemetry that is kept in memory."""
    return recorded("ledger-webhooks")
