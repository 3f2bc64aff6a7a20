"""A connection to a JetStream stream that is made when it is missing: connected on first use, and again after a failure."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from sentinel.runtime.nats.client import credentials, new_client, tls_of, words
from sentinel.runtime.nats.config import NatsStreamConfig

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.client import JetStreamContext

_PING_S = 10
_PINGS_MAX = 2
_CLOSE_S = 2.0
_REQUEST_S = 5.0
_DUPLICATES_S = 120.0


class StreamConnection:
    """One client of one stream; used by one task at a time.

    The library's own way back is not used, as for advisories: each attempt is a new connection to the next address.
    """

    def __init__(self, config: NatsStreamConfig, *, name: str) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used. Nothing is connected yet."""
        self._config = config
        self._name = name
        self._tls = tls_of(config)
        self._attempts = count()
        self._client: Client | None = None
        self._context: JetStreamContext | None = None

    @property
    def place(self) -> str:
        """Where it leads, for messages."""
        return f"stream {self._config.stream}"

    async def context(self) -> JetStreamContext:
        """What requests are made by; connects when there is no connection. Raises what the library raises, or TimeoutError."""
        if self._context is not None and self._client is not None and self._client.is_connected:
            return self._context
        await self._connect(makes=True)
        assert self._context is not None
        return self._context

    async def find(self) -> bool:
        """Whether the stream is there; nothing is made. Raises as `context` does."""
        return await self._connect(makes=False)

    async def _connect(self, *, makes: bool) -> bool:
        await self.close()
        # Reading the library's files takes long enough to be noticed by others; a thread reads them, the first time.
        await asyncio.to_thread(import_module, "nats.aio.client")
        client = new_client(self._config)
        url = self._config.urls[next(self._attempts) % len(self._config.urls)]
        try:
            async with asyncio.timeout(2 * self._config.connect_timeout + _REQUEST_S):
                await client.connect(
                    servers=[url],
                    name=self._name,
                    allow_reconnect=False,
                    connect_timeout=self._config.connect_timeout,  # type: ignore[arg-type]
                    ping_interval=_PING_S,
                    max_outstanding_pings=_PINGS_MAX,
                    error_cb=_ignored,
                    tls_handshake_first=self._config.tls_first,
                    **credentials(self._config, self._tls),
                )
                context = client.jetstream(timeout=_REQUEST_S)
                found = await self._ensure(context, makes=makes)
        except BaseException:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await client.close()
            raise
        self._client, self._context = client, context
        return found

    async def close(self) -> None:
        """Let the connection go; idempotent."""
        client, self._client, self._context = self._client, None, None
        if client is not None:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await client.close()

    def words(self, error: Exception) -> str:
        """What went wrong, fit to be shown."""
        return words(self._config, error)

    async def _ensure(self, context: JetStreamContext, *, makes: bool) -> bool:
        from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
        from nats.js.errors import BadRequestError, NotFoundError

        config = self._config
        try:
            await context.stream_info(config.stream)
        except NotFoundError:
            if not makes:
                return False
            wanted = StreamConfig(
                name=config.stream,
                subjects=[f"{config.subject}.>"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                # What is not taken yet must not be pushed out: publishing is refused, and windows wait at collectors.
                discard=DiscardPolicy.NEW,
                max_age=config.max_age,
                max_bytes=int(config.max_bytes),
                num_replicas=config.replicas,
                duplicate_window=_DUPLICATES_S,
            )
            with suppress(BadRequestError):  # another one made it meanwhile
                await context.add_stream(wanted)
        return True


async def _ignored(error: Exception) -> None:
    """What matters of it is met where a request is made."""
    del error
