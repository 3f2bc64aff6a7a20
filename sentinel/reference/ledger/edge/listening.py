"""The listening side of the edge: aiohttp's server on one address, with connections that are bounded (`connections.py`).

What never becomes a request of the application, such as a head that is no HTTP or an expectation that
nobody meets, is answered by the server itself, as text; there it is answered like everything else.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from dataclasses import replace
from functools import partial
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.edge.connections import ConnectionLimits, Connections, Told
from sentinel.reference.ledger.edge.sharing import listen_beside, take_no_more

# What connects while the edge is busy waits for it; beyond the usual 128 it would be tried again by its kernel a second later.
_BACKLOG: Final = 1024
# What has begun to connect to a socket that takes no more is there by then: some round trips.
_HANDSHAKES_S: Final = 0.1
# Descriptors that are no client's: of databases, the queue, files, and of clients that are told to come again.
_OTHER_FILES_COUNT: Final = 192


class Listener:
    """Serves an application on one address, until `stop`."""

    def __init__(
        self,
        app: web.Application,
        *,
        stop_timeout_s: float,
        limits: ConnectionLimits,
        told: Told,
    ) -> None:
        """Store the application; what happens outside of it is `told`."""
        self._beside: socket.socket | None = None
        self._app = web.AppRunner(app)
        self._stop_timeout_s = stop_timeout_s
        self._limits = limits
        self._told = told
        self._connections: Connections | None = None
        self._listening: web.ServerRunner | None = None

    @property
    def connections_count(self) -> int:
        """How many connections there are."""
        return self._connections.open_count if self._connections is not None else 0

    async def start(
        self, *, host: str, port: int, tls: ssl.SSLContext | None = None, is_shared: bool = False
    ) -> str:
        """Listen, with TLS where there is a context for it, and return the base URL.

        Args:
            host: address or name.
            port: 0 for any.
            tls: what connections are secured with.
            is_shared: whether others listen on the port as well.

        Raises:
            UnavailableError: the address is not to be had, such as a port that is taken.
        """
        await self._app.setup()
        application = self._app.server
        assert application is not None
        count_max = connections_count_max(self._limits.count_max, has_tls=tls is not None)
        self._connections = Connections(
            application, replace(self._limits, count_max=count_max), self._told
        )
        self._listening = web.ServerRunner(
            self._connections, shutdown_timeout=self._stop_timeout_s
        )
        await self._listening.setup()
        if is_shared:
            self._beside = listen_beside(host, port, backlog=_BACKLOG)
        site = _Site(
            self._listening,
            self._beside or (host, port),
            tls=tls,
            handshake_timeout_s=self._limits.head_timeout_s,
        )
        try:
            await site.start()
        except OSError as error:
            message = f"cannot listen on {host}:{port}: {error.strerror}"
            raise UnavailableError(message) from error
        host, port = self._listening.addresses[0][:2]
        name = f"[{host}]" if ":" in host else host
        return f"{'http' if tls is None else 'https'}://{name}:{port}"

    async def stop(self) -> None:
        """Stop listening and let requests in flight finish, within `stop_timeout_s`.

        Where others listen as well, nobody who connects meanwhile is refused.
        """
        if self._beside is not None and take_no_more([self._beside]):
            await asyncio.sleep(_HANDSHAKES_S)
        self._beside = None
        if self._listening is not None:
            await self._listening.cleanup()
            self._listening = None
        await self._app.cleanup()


class _Site(web.BaseSite):
    """Where connections come from; as aiohttp's own, with a limit of a handshake's time, which would be a minute."""

    def __init__(
        self,
        runner: web.ServerRunner,
        address: tuple[str, int] | socket.socket,
        *,
        tls: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._address = address
        # Without TLS there is none to be limited.
        self._handshake_timeout_s = None if tls is None else handshake_timeout_s

    @property
    def name(self) -> str:
        """What it is called where sites are listed."""
        return "ledger-edge"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        server = self._runner.server
        assert server is not None
        listen = partial(
            asyncio.get_running_loop().create_server,
            server,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=self._handshake_timeout_s,
        )
        if isinstance(self._address, socket.socket):
            self._server = await listen(sock=self._address)
        else:
            host, port = self._address
            self._server = await listen(host=host, port=port)


def connections_count_max(asked_count: int, *, has_tls: bool) -> int:
    """Return how many connections there may be, given that each takes one of the files that this process may have open.

    Args:
        asked_count: how many are asked for.
        has_tls: whether they begin with a handshake. A connection is told of only after it, and the end of one that fails is not told
            at all, so those that have not got so far cannot be counted: half of the files are theirs.
    """
    files_count, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files_count == resource.RLIM_INFINITY:
        return asked_count
    clients_count = files_count - _OTHER_FILES_COUNT
    return max(min(asked_count, clients_count // 2 if has_tls else clients_count), 1)
