"""The listening side of the edge: aiohttp's server, whose own errors are problem details too.

What never becomes a request of the application, such as a head that is no HTTP or an expectation that
nobody meets, is answered by the server itself, as text; here it is answered like everything else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.edge.problem import ProblemError, problem_of, render
from sentinel.reference.ledger.edge.sharing import listen_beside, take_no_more

# What connects while the edge is busy waits for it; beyond the usual 128 it would be tried again by its kernel a second later.
_BACKLOG: Final = 1024
# What has begun to connect to a socket that takes no more is there by then: some round trips.
_HANDSHAKES_S: Final = 0.1
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_Failed = Callable[[BaseException | None], None]


class Listener:
    """Serves an application on one address, until `stop`."""

    def __init__(self, app: web.Application, *, stop_timeout_s: float, on_failed: _Failed) -> None:
        """Store the application; `on_failed` is told of what failed outside of it."""
        self._beside: socket.socket | None = None
        self._app = web.AppRunner(app)
        self._stop_timeout_s = stop_timeout_s
        self._on_failed = on_failed
        self._listening: web.ServerRunner | None = None

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
        self._listening = web.ServerRunner(
            _Server(application, self._on_failed), shutdown_timeout=self._stop_timeout_s
        )
        await self._listening.setup()
        site: web.BaseSite
        if is_shared:
            self._beside = listen_beside(host, port, backlog=_BACKLOG)
            site = web.SockSite(self._listening, self._beside, ssl_context=tls, backlog=_BACKLOG)
        else:
            site = web.TCPSite(self._listening, host, port, ssl_context=tls, backlog=_BACKLOG)
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


class _Server(web.Server):
    """Takes connections in the application's stead, with a protocol that knows what a problem is."""

    def __init__(self, application: web.Server, on_failed: _Failed) -> None:
        super().__init__(
            _answered(application.request_handler, on_failed),
            request_factory=application.request_factory,
        )
        self._on_failed = on_failed

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, self._on_failed)


class _Protocol(web.RequestHandler):
    """One connection."""

    # The base has slots and no dictionary.
    __slots__ = ("_on_failed",)

    def __init__(self, server: web.Server, on_failed: _Failed) -> None:
        # None is what switches it off, whatever the annotation says; every request is in the metrics.
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._on_failed = on_failed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes what was sent
    ) -> web.StreamResponse:
        """Return the answer to what is no request, and close the connection."""
        self._on_failed(exc)
        if request.writer.output_size > 0:
            # Half an answer has left: nothing that follows would be understood.
            text = "an answer was broken off"
            raise ConnectionError(text)
        if status < 500:
            response = render(
                ProblemError(code="bad_request", detail="This is not HTTP as it must be.")
            )
        else:
            response = render(problem_of(exc or RuntimeError()))
        response.force_close()
        return response


def _answered(handler: _Handler, on_failed: _Failed) -> _Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            on_failed(error)
            return render(problem_of(error))

    return answer
