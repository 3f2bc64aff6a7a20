"""HTTP: `POST /v2/transfers`, `GET /v2/transactions/{id}`, `GET /v2/accounts/{id}/balance`, and their first version.

A transfer is answered 202 once the queue has acknowledged it, never before, and the answer names
the transaction's id and where to ask what became of it. The same key again answers the same id.
The same key with another body is answered 409 while the first is still known to queue or database
and the stream's window recognises it; where it slips through, nothing is posted for it and its
status URL, which carries its own fingerprint, answers `conflict`.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.domain import (
    Batch,
    PermanentError,
    Request,
    UnavailableError,
    is_account_id,
)
from sentinel.reference.ledger.domain.position import HEADER as POSITION
from sentinel.reference.ledger.domain.tenant import Network, Tenant
from sentinel.reference.ledger.edge.auth import Authenticator, Method, Scope
from sentinel.reference.ledger.edge.bodies import read_json, render_json
from sentinel.reference.ledger.edge.books import Books
from sentinel.reference.ledger.edge.burst import Burst, read_burst
from sentinel.reference.ledger.edge.contract import CONTRACT_PATH, rendered
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
from sentinel.reference.ledger.edge.problem import ProblemError, problem_of, render
from sentinel.reference.ledger.edge.sources import Reading
from sentinel.reference.ledger.edge.versions import (
    READS,
    WRITES,
    Read,
    Write,
    answer_in,
    read_write,
)
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.wire.envelope import (
    Envelope,
    asked_id,
    encode_envelope,
    transfer_subject,
)
from sentinel.reference.ledger.wire.nats import Queue

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FIRST: Final = {write.v2: write.v1 for write in WRITES}
# Their bodies hold many transfers.
_LARGE: Final = frozenset({"/v1/batches", "/v2/batches"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Address and limits of the HTTP edge.

    Attributes:
        trusted_proxies: networks of proxies whose X-Forwarded-For says who the client is.
        is_shared: whether other edges listen on the port as well.
        edges_count: how many edges serve the same tenants; each gives its part of their limits.
        limits_file: where edges of one machine count together what tenants have taken; they are one edge by it.
        drain_s: how long an edge that leaves a shared port asks clients to connect anew, before it leaves.
    """

    host: str = "127.0.0.1"
    port: int = 0
    body_bytes_max: int = 8 * 1024
    batch_bytes_max: int = 1024 * 1024
    page_items_count: int = 1000
    body_timeout_s: float = 5.0
    inflight_count_max: int = 512
    stop_timeout_s: float = 3.0
    trusted_proxies: tuple[Network, ...] = ()
    is_shared: bool = False
    edges_count: int = 1
    limits_file: Path | None = None
    drain_s: float = 0.25
    burst_file: Path | None = None
    burst_poll_s: float = 0.2


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
        self._reads, self._tenants, self._watch = books.reads, books.tenants, books.watch
        self._endpoints = endpoints
        self._exports = exports
        self._telemetry = telemetry
        self._limits: SharedTats | None = None
        self._policies = self._new_policies()
        self._inflight_count = 0
        self._leaving = False
        self._burst: Burst | None = None
        self._burst_task: asyncio.Task[None] | None = None
        self._listener: Listener | None = None

    async def start(self) -> str:
        """Listen, and return the base URL.

        Raises:
            UnavailableError: the address is not to be had, such as a port that is taken.
            UsageError: the ways in are not for this address.
            UnreadableError: a TLS file, or the file of limits, cannot be used.
        """
        if self._config.limits_file is not None:
            self._limits = open_shared(self._config.limits_file)
            self._policies = self._new_policies()
        await self._authenticator.start(self._config.host)
        tls = self._authenticator.tls
        app = web.Application(
            middlewares=[self._observe], client_max_size=self._config.body_bytes_max
        )
        for version in (1, 2):
            for write in WRITES:
                app.router.add_post(
                    write.v1 if version == 1 else write.v2,
                    partial(self._post, write=write, version=version),
                )
            for read in READS:
                answer = self._get_balance if read.name == "balance" else self._get_state
                app.router.add_get(
                    read.v1 if version == 1 else read.v2,
                    partial(answer, read=read, version=version),
                )
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
            app, stop_timeout_s=self._config.stop_timeout_s, on_failed=self._note_malformed
        )
        url = await self._listener.start(
            host=self._config.host,
            port=self._config.port,
            tls=tls.context if tls else None,
            is_shared=self._config.is_shared,
        )
        if self._config.burst_file is not None:
            self._burst_task = asyncio.create_task(
                self._watch_burst(self._config.burst_file), name="edge-burst"
            )
        return url

    async def stop(self) -> None:
        """Stop listening and let requests in flight finish, within `stop_timeout_s`."""
        if self._config.is_shared and self._listener is not None:
            # Whoever asks on a connection that is kept has time to make another, to an edge that stays.
            self._leaving = True
            await asyncio.sleep(self._config.drain_s)
        if self._burst_task is not None:
            self._burst_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._burst_task
            self._burst_task = None
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
            if self._inflight_count >= self._config.inflight_count_max:
                self._telemetry.request_refused()
                response = render(
                    ProblemError(code="overloaded", detail="Too many requests are in flight.")
                )
            else:
                self._inflight_count += 1
                try:
                    response = await self._answer(request, handler)
                finally:
                    self._inflight_count -= 1
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
            large = request.path in _LARGE
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

    async def _post(self, request: web.Request, *, write: Write, version: int) -> web.Response:
        tenant = await self._tenant(request)
        sent = request
        if request.path in _LARGE:
            sent = request.clone(client_max_size=self._config.batch_bytes_max)
        # A gateway that makes version 2 of version 1 says so: its client is answered in its own.
        told = 1 if request.headers.get(VERSION_HEADER) == "1" else version
        # A step's body may be left out, for it may say nothing.
        is_step = "id" in request.match_info
        asked = read_write(
            write,
            version,
            told=told,
            tenant=tenant.name,
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            target=request.match_info.get("id", ""),
            body=await read_json(sent, timeout_s=self._config.body_timeout_s)
            if request.body_exists or not is_step
            else None,
        )
        self._fail_in_burst()
        return await self._accept(asked, tenant, _reading(request), told)

    def _fail_in_burst(self) -> None:
        burst = self._burst
        if (
            burst is not None
            and time.time_ns() < burst.until_ns
            and random.random() < burst.error_ratio  # noqa: S311 - a share, not a secret
        ):
            self._telemetry.error(
                Event.EDGE_REQUEST_FAILED, "A request failed: injected by the error burst"
            )
            raise ProblemError(code="internal", detail="The request failed.")

    async def _tenant(self, request: web.Request, *, needs: Scope | None = None) -> Tenant:
        """Return who asks, once it is known that they may: a GET reads, all else writes, unless told otherwise."""
        if needs is None:
            needs = Scope.READ if request.method == "GET" else Scope.WRITE
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
        self._policies.admit(request, tenant)
        return tenant

    async def _accept(
        self, asked: Request | Batch, tenant: Tenant, reading: Reading, version: int
    ) -> web.Response:
        found_by = asked_id(asked)
        mark = asked.fingerprint
        payload = encode_envelope(
            Envelope(asked=asked, cohort=tenant.cohort, accepted_ns=time.time_ns())
        )
        is_batch = isinstance(asked, Batch)
        # A batch and a transaction may have one key: the queue must not take one for the other.
        message_id = f"{'batch:' if is_batch else ''}{asked.tenant}:{asked.idempotency_key}"
        with self._telemetry.publish(message_id=str(found_by)) as headers:
            result = await self._queue.publish(
                subject=transfer_subject(cohort=tenant.cohort, asked_id=found_by),
                payload=payload,
                message_id=message_id,
                headers=headers,
            )
        if not result.duplicate:
            self._telemetry.transfers_accepted(len(asked.items) if isinstance(asked, Batch) else 1)
        elif await self._conflicts(asked, tenant, mark, reading):
            raise ProblemError.of_field(
                code="idempotency_key_reused",
                field="Idempotency-Key",
                message="This Idempotency-Key was used before for another request.",
            )
        name, folder = ("batch_id", "batches") if is_batch else ("transaction_id", "transactions")
        url = f"/v{version}/{folder}/{found_by}?request={mark}"
        # Nothing was read: the client keeps what it has seen, or begins with what is known by now.
        headers = {"Location": url, **reading.headers(self._watch.newest)}
        if result.duplicate:
            headers["Idempotent-Replay"] = "true"
        return render_json(202, {name: str(found_by), "status_url": url}, headers)

    async def _conflicts(
        self, asked: Request | Batch, tenant: Tenant, mark: str, reading: Reading
    ) -> bool:
        """Say whether the first use of the key is known to have been another request.

        The replay was accepted either way, so trouble with this look-up does not fail it: its
        status URL will tell.
        """
        try:
            found = await self._find(
                tenant, asked_id(asked), reading, is_batch=isinstance(asked, Batch)
            )
        except (UnavailableError, PermanentError):
            return False
        return found is not None and found[1] != mark

    async def _find(
        self,
        tenant: Tenant,
        found_by: uuid.UUID,
        reading: Reading,
        *,
        is_batch: bool,
        first_item: int = 0,
    ) -> tuple[dict[str, object], str] | None:
        if is_batch:
            return await self._reads.batch(
                tenant=tenant,
                batch_id=found_by,
                first_item=first_item,
                items_count_max=self._config.page_items_count,
                reading=reading,
            )
        return await self._reads.transaction(
            tenant=tenant, transaction_id=found_by, reading=reading
        )

    async def _get_state(self, request: web.Request, *, read: Read, version: int) -> web.Response:
        tenant = await self._tenant(request)
        name, is_batch = read.name, read.name == "batch"
        try:
            found_by = uuid.UUID(request.match_info["id"])
        except ValueError:
            raise ProblemError.of_field(
                code="invalid_id", field="id", message=f"A {name}'s id is a UUID."
            ) from None
        first_item = request.query.get("first_item", "0")
        if not (first_item.isascii() and first_item.isdigit() and len(first_item) <= 6):
            raise ProblemError.of_field(
                code="invalid_field", field="first_item", message="first_item is a count."
            )
        reading = _reading(request)
        found = await self._find(
            tenant, found_by, reading, is_batch=is_batch, first_item=int(first_item)
        )
        if found is None:
            raise ProblemError(code=f"unknown_{name}", detail=f"No such {name}.")
        state, mark = found
        asked_for = request.query.get("request")
        if asked_for is not None and asked_for != mark:
            return render_json(
                200,
                {
                    f"{name}_id": str(found_by),
                    "state": "conflict",
                    "reason": "idempotency_key_reused",
                },
            )
        return render_json(200, answer_in(version, read.answer, state), reading.headers())

    async def _get_balance(
        self, request: web.Request, *, read: Read, version: int
    ) -> web.Response:
        tenant = await self._tenant(request)
        account_id = request.match_info["id"]
        if not is_account_id(account_id):
            raise ProblemError.of_field(
                code="invalid_id", field="id", message="This cannot name an account."
            )
        reading = _reading(request)
        balance = await self._reads.balance(tenant=tenant, account_id=account_id, reading=reading)
        if balance is None:
            raise ProblemError(
                code="unknown_account", detail="No transfer has named this account yet."
            )
        return render_json(200, answer_in(version, read.answer, balance), reading.headers())

    async def _get_health(self, _: web.Request) -> web.Response:
        if not self._queue.connected:
            return render(ProblemError(code="unavailable", detail="NATS is not connected."))
        return render_json(200, {"status": "ok"})

    async def _get_contract(self, _: web.Request) -> web.Response:
        """Answer anybody: it says nothing of who uses the ledger."""
        return web.Response(body=rendered(), content_type="application/json")

    async def _watch_burst(self, path: Path) -> None:
        while True:
            self._burst = read_burst(path)
            await asyncio.sleep(self._config.burst_poll_s)


def _reading(request: web.Request) -> Reading:
    return Reading.of(request.headers.get(POSITION))
