"""The HTTP server: listens, knows who asks and how much they may, bounds and measures every request, and answers every failure.

What is asked of it lies beside it: transfers, batches and accounts in `transfers.py`, webhooks' endpoints in `endpoints.py`, exports
in `exports.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.domain.tenant import Network, Tenant
from sentinel.reference.ledger.edge.auth import Authenticator, Method, Scope, watch_expiry
from sentinel.reference.ledger.edge.bodies import read_json, render_json
from sentinel.reference.ledger.edge.books import Books
from sentinel.reference.ledger.edge.burst import BurstWatch
from sentinel.reference.ledger.edge.connections import ConnectionLimits, Told
from sentinel.reference.ledger.edge.contract import CONTRACT_PATH, rendered, rendered_mark
from sentinel.reference.ledger.edge.endpoints import WebhookEndpoints
from sentinel.reference.ledger.edge.exports import Exports
from sentinel.reference.ledger.edge.gateway import VERSION_HEADER
from sentinel.reference.ledger.edge.limits import (
    Policies,
    SharedTats,
    limit_headers,
    open_shared,
)
from sentinel.reference.ledger.edge.listening import Listener
from sentinel.reference.ledger.edge.places import Full, Place, PlaceLimits, Places
from sentinel.reference.ledger.edge.problem import ProblemError, problem_of, render
from sentinel.reference.ledger.edge.transfers import LARGE, TransferLimits, Transfers
from sentinel.reference.ledger.edge.versions import WRITES
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.wire.nats import Queue

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PLACE: Final = web.RequestKey("ledger_place", Place)
_OVERLOADED: Final = {
    Full.IN_FLIGHT: "Too many requests are in flight.",
    Full.TENANT_IN_FLIGHT: "Too many requests of the tenant are in flight.",
    Full.BODIES: "Too many large bodies are in flight.",
    Full.TENANT_BODIES: "Too many large bodies of the tenant are in flight.",
}
_READING: Final = frozenset({"GET", "HEAD"})
_FIRST: Final = {write.v2: write.v1 for write in WRITES}


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Address and limits of the HTTP edge.

    Attributes:
        inflight_count_max: requests at once; `tenant_inflight_count_max` of one tenant.
        bodies_bytes_max: bytes of bodies larger than `body_bytes_max` at once; `tenant_bodies_bytes_max` of one tenant.
        connections: how many, and how long each may wait.
        trusted_proxies: networks of proxies whose X-Forwarded-For says who the client is.
        is_shared: whether other edges listen on the port as well.
        edges_count: how many edges serve the same tenants; each gives its part of their limits.
        limits_file: where edges of one machine count together what tenants have taken; they are one edge by it.
        durability: what an answer of 202 survives, as `/healthz` tells.
        gateway_cert_file: certificate with which somebody in front ends TLS; the edge tells when it ends.
        drain_s: how long an edge that leaves a shared port asks clients to connect anew, before it leaves.
    """

    host: str = "127.0.0.1"
    port: int = 0
    body_bytes_max: int = 8 * 1024
    batch_bytes_max: int = 1024 * 1024
    page_items_count: int = 1000
    body_timeout_s: float = 5.0
    inflight_count_max: int = 512
    tenant_inflight_count_max: int = 128
    bodies_bytes_max: int = 32 * 1024 * 1024
    tenant_bodies_bytes_max: int = 8 * 1024 * 1024
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    stop_timeout_s: float = 3.0
    trusted_proxies: tuple[Network, ...] = ()
    is_shared: bool = False
    edges_count: int = 1
    limits_file: Path | None = None
    gateway_cert_file: Path | None = None
    drain_s: float = 0.25
    burst_file: Path | None = None
    burst_poll_s: float = 0.2
    durability: Durability = Durability.PROCESS


class Edge:
    """The HTTP server; `start` returns its address, `stop` lets requests in flight finish."""

    def __init__(
        self,
        config: EdgeConfig,
        *,
        queue: Queue,
        books: Books,
        authenticator: Authenticator,
        telemetry: Telemetry,
        endpoints: WebhookEndpoints | None = None,
        exports: Exports | None = None,
    ) -> None:
        self._config = config
        self._authenticator = authenticator
        self._queue = queue
        self._tenants = books.tenants
        self._endpoints = endpoints
        self._exports = exports
        self._telemetry = telemetry
        self._limits: SharedTats | None = None
        self._policies = self._new_policies()
        self._places = Places(
            PlaceLimits(
                count_max=config.inflight_count_max,
                tenant_count_max=config.tenant_inflight_count_max,
                bodies_bytes_max=config.bodies_bytes_max,
                tenant_bodies_bytes_max=config.tenant_bodies_bytes_max,
            )
        )
        self._leaving = False
        self._burst = (
            None
            if config.burst_file is None
            else BurstWatch(config.burst_file, poll_s=config.burst_poll_s, telemetry=telemetry)
        )
        self._transfers = Transfers(
            TransferLimits(
                batch_bytes_max=config.batch_bytes_max,
                body_timeout_s=config.body_timeout_s,
                page_items_count=config.page_items_count,
            ),
            queue=queue,
            books=books,
            burst=self._burst,
            telemetry=telemetry,
        )
        self._listener: Listener | None = None
        telemetry.observe_connections(
            lambda: self._listener.connections_count if self._listener is not None else 0
        )

    async def start(self) -> str:
        """Listen, and return the base URL.

        Raises:
            UnavailableError: the address is not to be had, such as a port that is taken.
            UsageError: the ways in are not for this address.
            UnreadableError: a TLS file, the gateway's certificate or the file of limits cannot be used.
        """
        if self._config.limits_file is not None:
            self._limits = open_shared(self._config.limits_file)
            self._policies = self._new_policies()
        if self._config.gateway_cert_file is not None:
            watch_expiry(self._config.gateway_cert_file, self._telemetry)
        await self._authenticator.start(self._config.host)
        tls = self._authenticator.tls
        app = web.Application(
            middlewares=[self._observe], client_max_size=self._config.body_bytes_max
        )
        self._transfers.add_routes(app.router, tenant=self._tenant, room=self._take_body)
        body = partial(read_json, timeout_s=self._config.body_timeout_s)
        if self._endpoints is not None:
            self._endpoints.add_routes(app.router, tenant=self._tenant, body=body)
        if self._exports is not None:
            # Whoever asks for an export changes nothing of the books.
            reader = partial(self._tenant, needs=Scope.READ)
            self._exports.add_routes(app.router, tenant=reader, body=body)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get(CONTRACT_PATH, self._get_contract)
        self._listener = Listener(
            app,
            stop_timeout_s=self._config.stop_timeout_s,
            limits=self._config.connections,
            told=Told(
                failed=self._note_malformed,
                closed=lambda reason: self._telemetry.connection_closed(reason.value),
            ),
        )
        url = await self._listener.start(
            host=self._config.host,
            port=self._config.port,
            tls=tls.context if tls else None,
            is_shared=self._config.is_shared,
        )
        if self._burst is not None:
            self._burst.start()
        return url

    async def stop(self) -> None:
        """Stop listening and let requests in flight finish, within `stop_timeout_s`."""
        if self._config.is_shared and self._listener is not None:
            # Whoever asks on a connection that is kept has time to make another, to an edge that stays.
            self._leaving = True
            await asyncio.sleep(self._config.drain_s)
        if self._burst is not None:
            await self._burst.stop()
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        await self._authenticator.stop()
        if self._limits is not None:
            self._limits.close()
            self._limits = None

    def _new_policies(self) -> Policies:
        return Policies(
            telemetry=self._telemetry,
            trusted_proxies=self._config.trusted_proxies,
            edges_count=self._config.edges_count,
            shared=self._limits,
        )

    @web.middleware
    async def _observe(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Trace, measure and bound every request, and turn exceptions into answers."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        if request.headers.get(VERSION_HEADER) == "1":
            # What the client asked for is what is counted, whoever made something else of it.
            route = _FIRST.get(route, route)
        if route == "/healthz":
            return await handler(request)
        with self._telemetry.request(
            method=request.method,
            scheme=request.scheme,
            route=route,
            path=request.path,
            headers=request.headers,
        ) as span:
            response: web.StreamResponse
            place = self._places.take()
            if isinstance(place, Full):
                response = render(self._overloaded(place))
            else:
                request[_PLACE] = place
                try:
                    response = await self._answer(request, handler)
                finally:
                    self._places.give_back(place)
            response.headers.update(limit_headers(request))
            span.status = response.status
            tls = self._authenticator.tls
            if self._leaving:
                response.force_close()
            elif tls is not None and not tls.is_current(request.get_extra_info("ssl_object")):
                # Who goes on is to be checked by the new files.
                response.force_close()
            return response

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            large = request.path in LARGE
            limit = self._config.batch_bytes_max if large else self._config.body_bytes_max
            message = f"The body is larger than {limit} bytes."
            return render(ProblemError(code="body_too_large", detail=message))
        except Exception as error:  # noqa: BLE001 - a client is never left with half an answer
            return render(self._problem(request, error))

    def _problem(self, request: web.Request, failure: Exception) -> ProblemError:
        """Return what the client is told, having told the operator."""
        problem = problem_of(failure)
        if isinstance(failure, UnavailableError):
            if request.method == "POST":
                event, what = Event.EDGE_PUBLISH_FAILED, "Accepting a transfer failed"
            else:
                event, what = Event.EDGE_READ_FAILED, "A read failed"
            self._telemetry.error(event, f"{what}: {failure}", error_code=failure.code)
            return ProblemError(code=problem.code, detail=f"{what}; try again.")
        if problem.status >= 500 and failure is not problem:
            self._telemetry.error(
                Event.EDGE_REQUEST_FAILED, f"A request failed: {type(failure).__name__}: {failure}"
            )
        return problem

    def _note_malformed(self, failure: BaseException | None) -> None:
        """Count what never became a request; what it said is not repeated anywhere."""
        self._telemetry.request_malformed(type(failure).__name__)

    async def _tenant(self, request: web.Request, *, needs: Scope | None = None) -> Tenant:
        """Return who asks, once it is known that they may: GET and HEAD read, all else writes, unless told otherwise."""
        if needs is None:
            needs = Scope.READ if request.method in _READING else Scope.WRITE
        caller = await self._authenticator.authenticate(
            request.headers, request.get_extra_info("peercert"), needs=needs
        )
        tenant = await self._tenants.find(caller.tenant)
        if tenant is None:
            self._telemetry.access.refused("unknown_tenant")
            if caller.method is not Method.HEADER:
                raise ProblemError(code="unknown_tenant", detail="No such tenant.")
            raise ProblemError.of_field(
                code="unknown_tenant", field="X-Tenant", message="No such tenant."
            )
        if tenant.is_suspended:
            self._telemetry.access.refused("tenant_suspended")
            raise ProblemError(code="tenant_suspended", detail="The tenant is suspended.")
        if (full := self._places.take_tenants(request[_PLACE], tenant.name)) is not None:
            raise self._overloaded(full)
        self._policies.admit(request, tenant)
        return tenant

    def _take_body(self, request: web.Request) -> None:
        """Take room for a body that may be large, before it is read; of one whose length is not told, for the largest."""
        largest_bytes = self._config.batch_bytes_max
        told_bytes = request.content_length
        size_bytes = largest_bytes if told_bytes is None else min(told_bytes, largest_bytes)
        if size_bytes <= self._config.body_bytes_max:
            return
        if (full := self._places.take_body(request[_PLACE], size_bytes)) is not None:
            raise self._overloaded(full)

    def _overloaded(self, full: Full) -> ProblemError:
        self._telemetry.request_refused(full.value)
        return ProblemError(code="overloaded", detail=_OVERLOADED[full])

    async def _get_health(self, _: web.Request) -> web.Response:
        if not self._queue.connected:
            return render(ProblemError(code="unavailable", detail="NATS is not connected."))
        if self._queue.missing:
            return render(
                ProblemError(code="unavailable", detail="NATS has no streams to publish to.")
            )
        return render_json(200, {"status": "ok", "durability": self._config.durability})

    async def _get_contract(self, request: web.Request) -> web.Response:
        """Answer anybody: it says nothing of who uses the ledger. Who has it is not sent it again."""
        mark = rendered_mark()
        told = {"ETag": f'"{mark}"', "Cache-Control": "no-cache"}
        known = request.if_none_match or ()
        if any(each.value in (mark, "*") for each in known):
            return web.Response(status=304, headers=told)
        return web.Response(body=rendered(), content_type="application/json", headers=told)
