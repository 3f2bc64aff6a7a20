"""One connection to NATS as a client, made again for ever, on which advisories of JetStream come in.

The library's own way back is not used: it waits the same time between all attempts, so that all clients of a server that
returns come at once, and it goes to addresses that the server names. Here each attempt is a new connection to
the next configured address, after a wait that grows and is never the same.

Not `$JS.EVENT.ADVISORY.>` whole: with a listener on its subject `API`, servers publish an audit of every single request to
JetStream. The permission to subscribe to the whole covers these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from sentinel.errors import UnreachableError, UntrustedError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Surroundings
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.nats.client import credentials, new_client, tls_of, words
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

SUBJECTS = tuple(
    f"$JS.EVENT.ADVISORY.{rest}"
    for rest in ("CONSUMER.>", "STREAM.>", "DOMAIN.>", "SERVER.>", "API.LIMIT_REACHED")
)
_PING_S = 10
_PINGS_MAX = 2
_PENDING_MESSAGES_MAX = 4096
_PENDING_BYTES_MAX = 4 * 2**20
_CLOSE_S = 2.0


class AdvisoryConnection:
    """Connects, subscribes, and stays connected."""

    def __init__(
        self,
        config: NatsAdvisoriesConfig,
        on_message: Callable[[bytes], None],
        surroundings: Surroundings,
    ) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used. Nothing is connected yet.

        Args:
            config: see there.
            on_message: is handed each advisory's bytes; must not raise.
            surroundings: as for a component.
        """
        self._config = config
        self._on_message = on_message
        self._surroundings = surroundings
        self._tls = tls_of(config)
        self._attempts = count()
        self._connected = asyncio.Event()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self.problem = "not connected yet"
        self._is_untrusted = False
        self.denied = ""
        self.overflow_count = 0
        self.version = ""

    @property
    def is_connected(self) -> bool:
        """Whether advisories come in now."""
        return self._connected.is_set()

    def failure(self) -> UnreachableError:
        """What keeps the connection from being made."""
        return (UntrustedError if self._is_untrusted else UnreachableError)(self.problem)

    async def settled(self) -> None:
        """Return when the first attempt has ended, well or badly."""
        await self._changed.wait()

    async def run(self) -> None:
        """Stay connected for ever; ends by being cancelled."""
        backoff = Backoff(first_s=0.25, limit_s=self._config.reconnect_max)
        failures = 0
        while True:
            try:
                await self._connect_once()
                failures = 0
            except Exception as error:  # noqa: BLE001  # the library raises what it meets; nothing of it may end this
                failures += 1
                self.problem = words(self._config, error)
                self._is_untrusted = bool(distrust_of(error))
                self._changed.set()
            await self._surroundings.clock.sleep(backoff.wait_s(max(1, failures)))

    async def _connect_once(self) -> None:
        """Connect, subscribe, and return when the connection has ended; raises when it could not be made."""
        over = self._over = asyncio.Event()

        async def on_closed() -> None:
            over.set()

        # Reading the library's files takes long enough to be noticed by others; a thread reads them, the first time.
        await asyncio.to_thread(import_module, "nats.aio.client")
        client = new_client(self._config)
        url = self._config.urls[next(self._attempts) % len(self._config.urls)]
        try:
            async with asyncio.timeout(2 * self._config.connect_timeout):
                await client.connect(
                    servers=[url],
                    name="sentinel",
                    allow_reconnect=False,
                    connect_timeout=self._config.connect_timeout,  # type: ignore[arg-type]
                    ping_interval=_PING_S,
                    max_outstanding_pings=_PINGS_MAX,
                    error_cb=self._on_error,
                    closed_cb=on_closed,
                    tls_handshake_first=self._config.tls_first,
                    **credentials(self._config, self._tls),
                )
                self.denied = ""
                for subject in SUBJECTS:
                    await client.subscribe(
                        subject,
                        queue=self._config.queue_group,
                        cb=self._on_advisory,
                        pending_msgs_limit=_PENDING_MESSAGES_MAX,
                        pending_bytes_limit=_PENDING_BYTES_MAX,
                    )
                # The answer to a ping comes after a refusal, if there is one. Twice, because the library may send the first
                # ping before what it still holds back.
                for _ in range(2):
                    await client.flush(timeout=self._config.connect_timeout)  # type: ignore[arg-type]
            version = client.connected_server_version
            self.version = f"{version.major}.{version.minor}.{version.patch}"
            self.problem, self._is_untrusted = self.denied, False
            self._connected.set()
            self._changed.set()
            # A server gives a subscription that it took away, or refused, never back by itself: it is asked for anew.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.reconnect_max if self.denied else None):
                    await over.wait()
            self.problem = (
                words(self._config, client.last_error) if client.last_error else "disconnected"
            )
        finally:
            self._connected.clear()
            await self._let_go(client)

    async def _let_go(self, client: Client) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await client.close()
        except Exception:  # noqa: BLE001  # it is given up either way
            self._surroundings.logger.debug("A NATS connection did not close in time")

    async def _on_advisory(self, message: Msg) -> None:
        self._on_message(message.data)

    async def _on_error(self, error: Exception) -> None:
        told = words(self._config, error)
        if "permissions violation" in told.lower():
            self.denied = told
            if self.is_connected:
                self._over.set()
        elif type(error).__name__ == "SlowConsumerError":
            self.overflow_count += 1
        else:
            self.problem = told
