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
from typing import TYPE_CHECKING, Any

from sentinel.core.redact import redact
from sentinel.errors import ConfigError, UnreachableError, UntrustedError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Surroundings
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.http.client import ClientConfig, client_context
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig
from sentinel.scrapers.nats.nkey import Signer

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
_WORDS_MAX = 200


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
        files = ClientConfig(
            ca_file=config.ca_file, cert_file=config.cert_file, key_file=config.key_file
        )
        self._tls = client_context(files)
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
                self.problem = self._words(error)
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
        client = self._client()
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
                    **self._credentials(),
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
            self.problem = self._words(client.last_error) if client.last_error else "disconnected"
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
        words = self._words(error)
        if "permissions violation" in words.lower():
            self.denied = words
            if self.is_connected:
                self._over.set()
        elif type(error).__name__ == "SlowConsumerError":
            self.overflow_count += 1
        else:
            self.problem = words

    def _client(self) -> Client:
        from nats.aio.client import Client

        wants_tls = self._config.wants_tls
        signer = self._signer()
        is_key = signer is not None and bool(self._config.nkey_seed_file)

        class Ours(Client):
            def _connect_command(self) -> bytes:
                # What is sent next proves who we are; a server, or somebody between, that says nothing of TLS must not get it.
                if wants_tls and not self._server_info.get("tls_required"):
                    msg = "the server offers no TLS, and this connection is not to go without"
                    raise ConnectionError(msg)
                if is_key and signer is not None:
                    # The library takes it from its own reading of a seed alone.
                    self._public_nkey = signer.public()
                command: bytes = super()._connect_command()  # type: ignore[no-untyped-call, unused-ignore]
                return command

        return Ours()

    def _signer(self) -> Signer | None:
        if self._config.credentials_file:
            return Signer(self._config.credentials_file, setting="credentials_file")
        if self._config.nkey_seed_file:
            return Signer(self._config.nkey_seed_file, setting="nkey_seed_file")
        return None

    def _credentials(self) -> dict[str, Any]:
        config, given = self._config, {}
        signer = self._signer()
        if signer is not None:
            # The library offers a signature only where it was given some user; with a signature the name is not sent.
            given = {"user": "sentinel", "signature_cb": signer.sign}
            if config.credentials_file:
                given["user_jwt_cb"] = signer.jwt
        elif config.password is not None:
            given = {"user": config.user, "password": config.password.reveal()}
        elif config.token is not None:
            given = {"token": config.token.reveal()}
        if self._tls is not True:
            given["tls"] = self._tls
        return given

    def _words(self, error: Exception) -> str:
        """What went wrong, fit to be shown: no credentials, one line."""
        if isinstance(error, TimeoutError):
            return "no answer in time"
        if distrust := distrust_of(error):
            return distrust
        text = str(error) if not isinstance(error, ConfigError) else str(error.problems[0])
        for secret in (self._config.password, self._config.token):
            if secret is not None and secret.reveal():
                text = text.replace(secret.reveal(), "***")
        visible = "".join(one if one.isprintable() else " " for one in redact(text))
        return visible[:_WORDS_MAX] or type(error).__name__
