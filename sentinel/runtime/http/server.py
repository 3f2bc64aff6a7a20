"""An HTTP server as a block: a fixed table of routes, each with the scope it needs, and bounds on every wait.

A route without a scope cannot be written, so a page that nobody guards cannot be added by accident. The
server answers what no route should see: unknown paths, wrong methods, missing tokens, foreign Host
headers, too many connections, and heads that come too slowly.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web

from sentinel.runtime.auth import AccessDecision, AccessScope, TokenTable
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.http.connection import ConnectionLimitsConfig, Connections, Handler
from sentinel.runtime.listen import ListenConfig, bind_address, cannot_listen
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tls import ServerTls

__all__ = [
    "ConnectionLimitsConfig",
    "Handler",
    "HttpServer",
    "RenderError",
    "Route",
    "loopback_hosts",
]

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
class Route:
    """One path of a server.

    Attributes:
        path: exact path; there are no patterns.
        methods: handler by method, upper case; a handler returns its response unprepared, a long
            body as an asynchronous iterable, so that the security headers are on every response.
        scope: what a caller's token must open.
        authorization: finds what a caller shows, as an `Authorization` header would say it; by default that header.
        at_once: whether a small request is answered where it is read, see `runtime.http_connection`. Its handlers wait for
            nothing before they have given the loop a turn (`asyncio.sleep(0)`).
    """

    path: str
    methods: dict[str, Handler]
    scope: AccessScope
    authorization: Callable[[web.BaseRequest], str | None] | None = None
    at_once: bool = False


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
        tls_ticket_count: int = 2,
    ) -> None:
        """Store what is needed.

        `hosts` are the names a Host header may have, empty for any; `listen_setting` is where the address is
        configured, by default under the server's name; `flow` counts requests where they are the items of its component;
        `tls_ticket_count` is how many tickets a new connection is given to resume its session with.
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
        self._tls_ticket_count = tls_ticket_count
        self._tokens = TokenTable(listen.tokens)
        self._tasks = TaskGroup(name, metrics=surroundings.metrics, logger=surroundings.logger)
        self._protocols: Connections | None = None
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
            context.num_tickets = self._tls_ticket_count
            self._tasks.spawn("tls", tls.follow)
        self._protocols = Connections(
            self._answer,
            self._limits,
            self._surroundings,
            listener=self._name,
            at_once=frozenset(
                (method, route.path)
                for route in self._routes.values()
                if route.at_once
                for method in route.methods
            ),
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
