"""An HTTP server as a block: a fixed table of routes, each with the scope it needs, and bounds on every wait.

A route without a scope cannot be written, so a page that nobody guards cannot be added by accident. The
server answers what no route should see: unknown paths, wrong methods, missing tokens, foreign Host
headers, too many connections, and heads that come too slowly.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from sentinel.runtime.auth import AccessDecision, AccessScope, TokenTable
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.listen import ListenConfig, bind_address, cannot_listen
from sentinel.runtime.settings import Duration, setting
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tls import ServerTls

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RenderError = Callable[[web.BaseRequest, int, str], web.Response]

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_REASON_OF_STATUS = {
    401: FlowReason.DENIED,
    403: FlowReason.DENIED,
    404: FlowReason.UNSUPPORTED,
    405: FlowReason.UNSUPPORTED,
    408: FlowReason.TIMEOUT,
    413: FlowReason.TOO_LARGE,
    421: FlowReason.DENIED,
    503: FlowReason.OVERLOADED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimitsConfig:
    """How many connections there may be, and how long each may wait."""

    connection_count_max: int = setting(256, help="Most connections at once; more are closed.")
    header_timeout: Duration = setting(
        Duration(5.0), help="Longest time from a request's first byte to the end of its head."
    )
    idle_timeout: Duration = setting(
        Duration(30.0), help="How long a connection may stay without a request."
    )
    write_timeout: Duration = setting(
        Duration(30.0), help="Longest time a caller may take to read an answer."
    )
    drain_timeout: Duration = setting(
        Duration(5.0), help="How long stopping waits for requests being answered."
    )

    def __post_init__(self) -> None:
        for name in (
            "connection_count_max",
            "header_timeout",
            "idle_timeout",
            "write_timeout",
            "drain_timeout",
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path of a server.

    Attributes:
        path: exact path; there are no patterns.
        methods: handler by method, upper case; a handler returns its response unprepared, a long
            body as an asynchronous iterable, so that the security headers are on every response.
        scope: what a caller's token must open.
        authorization: finds what a caller shows, as an `Authorization` header would say it; by default that header.
    """

    path: str
    methods: dict[str, Handler]
    scope: AccessScope
    authorization: Callable[[web.BaseRequest], str | None] | None = None


class HttpServer:
    """Listens on one address and serves one table of routes."""

    def __init__(
        self,
        name: str,
        listen: ListenConfig,
        limits: ConnectionLimitsConfig,
        routes: Sequence[Route],
        surroundings: Surroundings,
        *,
        render_error: RenderError,
        hosts: frozenset[str] = frozenset(),
        listen_setting: str = "",
        flow: Flow | None = None,
    ) -> None:
        """Store what is needed.

        `hosts` are the names a Host header may have, empty for any; `listen_setting` is where the address is
        configured, by default under the server's name; `flow` counts requests where they are the items of its component.
        """
        self._name = name
        self._listen_setting = listen_setting or f"{name}.listen"
        self._listen = listen
        self._limits = limits
        self._routes = {route.path: route for route in routes}
        self._surroundings = surroundings
        self._render_error = render_error
        self._hosts = hosts
        self._flow = flow
        self._tokens = TokenTable(listen.tokens)
        self._tasks = TaskGroup(name, metrics=surroundings.metrics, logger=surroundings.logger)
        self._protocols: _ProtocolFactory | None = None
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._port

    @property
    def url(self) -> str:
        """Where it can be reached from this machine."""
        address = bind_address(self._listen.address)
        host = f"[{address}]" if ":" in address else address
        return f"{'https' if self._listen.tls else 'http'}://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and listen; OSError or ssl.SSLError when that cannot be."""
        context: ssl.SSLContext | None = None
        if self._listen.tls is not None:
            tls = ServerTls(self._listen.tls, self._surroundings, listener=self._name)
            context = tls.context
            self._tasks.spawn("tls", tls.follow)
        self._protocols = _ProtocolFactory(
            self._answer, self._limits, self._surroundings, listener=self._name
        )
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._protocols,
                host=bind_address(self._listen.address),
                port=self._listen.port,
                ssl=context,
                ssl_handshake_timeout=self._limits.header_timeout if context else None,
                reuse_address=True,
                backlog=128,
            )
        except OSError as error:
            await self._tasks.close()
            number = error.errno or 0
            raise cannot_listen(
                self._listen,
                setting_path=self._listen_setting,
                number=number,
                reason=os.strerror(number).lower() if number > 0 else str(error),
            ) from error
        except BaseException:
            await self._tasks.close()
            raise
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept nothing new, let requests being answered end within the drain time, close; idempotent."""
        server, self._server = self._server, None
        protocols, self._protocols = self._protocols, None
        if server is not None:
            server.close()
        if protocols is not None:
            protocols.pre_shutdown()
            await protocols.shutdown(self._limits.drain_timeout)
        if server is not None:
            try:
                await asyncio.wait_for(server.wait_closed(), self._limits.drain_timeout)
            except TimeoutError:
                self._surroundings.logger.warning(
                    "Connections did not close in time", extra={"listener": self._name}
                )
        await self._tasks.close()
        self._port = 0

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get(request.path)
        response = await self._routed(request, route)
        for header, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(header, value)
        if self._flow is not None:
            self._flow.received(1, signal="requests")
            _count_answer(self._flow, response.status)
        self._surroundings.metrics.count(
            "sentinel_http_requests_total",
            route=f"{self._name}{route.path}" if route else f"{self._name}/other",
            code=str(response.status),
        )
        return response

    async def _routed(self, request: web.BaseRequest, route: Route | None) -> web.StreamResponse:
        if self._hosts and _host_name(request.headers.get(hdrs.HOST, "")) not in self._hosts:
            # A page elsewhere whose name was made to point at this machine would come this way.
            return self._render_error(request, 421, "Host header names another server")
        if route is None:
            return self._render_error(request, 404, "no such path")
        handler = route.methods.get(request.method)
        if handler is None:
            response = self._render_error(request, 405, f"method {request.method} is not allowed")
            response.headers[hdrs.ALLOW] = ", ".join(sorted(route.methods))
            return response
        shown = request.headers.get(hdrs.AUTHORIZATION)
        if route.authorization is not None:
            shown = route.authorization(request)
        decision = self._tokens.decide(route.scope, shown)
        if decision is not AccessDecision.ALLOWED:
            return self._refuse(request, decision)
        try:
            return await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            self._surroundings.logger.exception(
                "Request failed", extra={"listener": self._name, "route": route.path}
            )
            return self._render_error(request, 500, "internal error")

    def _refuse(self, request: web.BaseRequest, decision: AccessDecision) -> web.Response:
        self._surroundings.metrics.count(
            "sentinel_access_refused_total", listener=self._name, reason=decision.value
        )
        if decision is AccessDecision.WRONG_SCOPE:
            return self._render_error(request, 403, "the token is not for this path")
        response = self._render_error(request, 401, "a bearer token is needed")
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return response


def _count_answer(flow: Flow, status: int) -> None:
    """An answer as it should be was sent; any other is an error, and what was asked is not done."""
    if status < 400:
        flow.sent(1, signal="requests")
        return
    reason = _REASON_OF_STATUS.get(
        status, FlowReason.FAULT if status >= 500 else FlowReason.REFUSED
    )
    flow.error(FlowStage.SEND if status >= 500 else FlowStage.READ, reason)
    flow.dropped(reason)


def loopback_hosts(listen: ListenConfig) -> frozenset[str]:
    """The names a Host header may have on a loopback listener; empty, so any, on another."""
    if not listen.is_loopback:
        return frozenset()
    return frozenset({"localhost", "127.0.0.1", "::1", bind_address(listen.address)})


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class _ProtocolFactory(web.Server):
    """Makes the connections of one listener, counts them and refuses more than the limit."""

    def __init__(
        self,
        answer: Handler,
        limits: ConnectionLimitsConfig,
        surroundings: Surroundings,
        *,
        listener: str,
    ) -> None:
        super().__init__(self._observed)
        self._answer = answer
        self._limits = limits
        self._metrics = surroundings.metrics
        self._listener = listener
        self._open_count = 0

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            self._limits,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._limits.idle_timeout,
            access_log=None,
            logger=_QUIET,
            lingering_time=2.0,
            # Bodies are inflated by runtime.body, which bounds size and ratio.
            auto_decompress=False,
        )

    def take_place(self) -> bool:
        """Count a new connection, or refuse it."""
        if self._open_count >= self._limits.connection_count_max:
            self.count_closed("too_many")
            return False
        self._open_count += 1
        self._metrics.set("sentinel_http_connections", self._open_count, listener=self._listener)
        return True

    def leave_place(self) -> None:
        """A counted connection ended."""
        self._open_count -= 1
        self._metrics.set("sentinel_http_connections", self._open_count, listener=self._listener)

    def count_closed(self, reason: str) -> None:
        """Count a connection closed by us before it was answered."""
        self._metrics.count(
            "sentinel_http_connections_closed_total", listener=self._listener, reason=reason
        )

    async def _observed(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        finally:
            connection = request.protocol
            if isinstance(connection, _Connection):
                connection.request_ended()


# aiohttp logs every malformed request with its bytes; those are a sender's text, and counted elsewhere.
_QUIET = logging.getLogger("sentinel.runtime.http.protocol")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _Connection(RequestHandler):
    """A connection whose heads must come and whose answers must be read in time; aiohttp bounds idle time only."""

    __slots__ = ("_factory", "_has_place", "_head_timer", "_limits", "_requests_open")

    def __init__(
        self, factory: _ProtocolFactory, limits: ConnectionLimitsConfig, **options: Any
    ) -> None:
        super().__init__(factory, **options)
        self._factory = factory
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._requests_open = 0
        self._has_place = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._has_place = self._factory.take_place()
        if not self._has_place:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self._has_place:
            self._has_place = False
            self._factory.leave_place()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._requests_open == 0 and self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._limits.header_timeout, self._head_too_slow
            )
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._requests_open += self._request_count - before
            self._stop_timer()

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; a caller that does not read it is disconnected."""
        transport = self.transport
        try:
            async with asyncio.timeout(self._limits.write_timeout):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self._factory.count_closed("slow_reader")
            # Closing would first wait for what was written to be read.
            if isinstance(transport, asyncio.Transport):
                transport.abort()
            return resp, True

    def request_ended(self) -> None:
        """A request of this connection was answered."""
        self._requests_open -= 1

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self._factory.count_closed("slow_head")
        self.force_close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
