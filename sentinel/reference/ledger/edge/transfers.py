"""What clients ask of transfers, batches and accounts: each write accepted once the queue has it, each read answered from the books.

A write is answered 202 once the queue has acknowledged it, never before, and the answer names
the transaction's id and where to ask what became of it. The same key again answers the same id.
The same key with another body is answered 409 while the first is still known to queue or database
and the stream's window recognises it; where it slips through, nothing is posted for it and its
status URL, which carries its own fingerprint, answers `conflict`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
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
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.bodies import read_json, render_json
from sentinel.reference.ledger.edge.books import Books
from sentinel.reference.ledger.edge.burst import BurstWatch
from sentinel.reference.ledger.edge.gateway import VERSION_HEADER
from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.edge.sources import Reading
from sentinel.reference.ledger.edge.versions import (
    READS,
    WRITES,
    Read,
    Write,
    answer_in,
    read_write,
)
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.envelope import (
    Envelope,
    asked_id,
    encode_envelope,
    message_id,
    transfer_subject,
)
from sentinel.reference.ledger.wire.nats import Queue

# Their bodies hold many transfers.
LARGE: Final = frozenset({"/v1/batches", "/v2/batches"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLimits:
    """How much of a batch is taken at once, how long a body may take to come, how much of a batch is answered at once."""

    batch_bytes_max: int
    body_timeout_s: float
    page_items_count: int


class Transfers:
    """The routes of both versions."""

    def __init__(
        self,
        limits: TransferLimits,
        *,
        queue: Queue,
        books: Books,
        burst: BurstWatch | None,
        telemetry: Telemetry,
    ) -> None:
        self._limits = limits
        self._queue = queue
        self._reads, self._watch = books.reads, books.watch
        self._burst = burst
        self._telemetry = telemetry
        self._tenant: Callable[[web.Request], Awaitable[Tenant]]
        self._room: Callable[[web.Request], None]

    def add_routes(
        self,
        router: web.UrlDispatcher,
        *,
        tenant: Callable[[web.Request], Awaitable[Tenant]],
        room: Callable[[web.Request], None],
    ) -> None:
        """Add every write and read; `tenant` says who asks, and refuses who may not; `room` takes it for a large body, or refuses."""
        self._tenant, self._room = tenant, room
        for version in (1, 2):
            for write in WRITES:
                router.add_post(
                    write.v1 if version == 1 else write.v2,
                    partial(self._post, write=write, version=version),
                )
            for read in READS:
                answer = self._get_balance if read.name == "balance" else self._get_state
                router.add_get(
                    read.v1 if version == 1 else read.v2,
                    partial(answer, read=read, version=version),
                )

    async def _post(self, request: web.Request, *, write: Write, version: int) -> web.Response:
        tenant = await self._tenant(request)
        sent = request
        if request.path in LARGE:
            self._room(request)
            sent = request.clone(client_max_size=self._limits.batch_bytes_max)
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
            body=await read_json(sent, timeout_s=self._limits.body_timeout_s)
            if request.body_exists or not is_step
            else None,
        )
        if self._burst is not None:
            self._burst.fail_a_share()
        return await self._accept(asked, tenant, _reading(request), told)

    async def _accept(
        self, asked: Request | Batch, tenant: Tenant, reading: Reading, version: int
    ) -> web.Response:
        found_by = asked_id(asked)
        mark = asked.fingerprint
        payload = encode_envelope(
            Envelope(asked=asked, cohort=tenant.cohort, accepted_ns=time.time_ns())
        )
        if len(payload) > self._queue.payload_bytes_max:
            # It has grown beyond what NATS ever takes, with what the body left to be told by default: to try again is no help.
            message = (
                f"The request is larger than {self._queue.payload_bytes_max} bytes as it is kept."
            )
            raise ProblemError(code="body_too_large", detail=message)
        is_known = await self._publish(asked, tenant, payload, is_new=True)
        if is_known:
            first_mark = await self._first_use(asked, tenant, reading)
            if first_mark is None:
                # The stream knows the id and has lost what came with it: without an id it is taken again.
                self._telemetry.transfer_lost(str(found_by))
                is_known = await self._publish(asked, tenant, payload, is_new=False)
            elif first_mark != mark:
                raise ProblemError.of_field(
                    code="idempotency_key_reused",
                    field="Idempotency-Key",
                    message="This Idempotency-Key was used before for another request.",
                )
        if not is_known:
            self._telemetry.transfers_accepted(len(asked.items) if isinstance(asked, Batch) else 1)
        is_batch = isinstance(asked, Batch)
        name, folder = ("batch_id", "batches") if is_batch else ("transaction_id", "transactions")
        url = f"/v{version}/{folder}/{found_by}?request={mark}"
        # Nothing was read: the client keeps what it has seen, or begins with what is known by now.
        headers = {"Location": url, **reading.headers(self._watch.newest)}
        if is_known:
            headers["Idempotent-Replay"] = "true"
        return render_json(202, {name: str(found_by), "status_url": url}, headers)

    async def _publish(
        self, asked: Request | Batch, tenant: Tenant, payload: bytes, *, is_new: bool
    ) -> bool:
        """Store the message, and say whether the stream knew it and kept nothing; it knows none that `is_new` is not said of."""
        found_by = asked_id(asked)
        with self._telemetry.publish(message_id=str(found_by)) as headers:
            result = await self._queue.publish(
                subject=transfer_subject(cohort=tenant.cohort, asked_id=found_by),
                payload=payload,
                message_id=message_id(asked) if is_new else None,
                headers=headers,
            )
        return result.duplicate

    async def _first_use(
        self, asked: Request | Batch, tenant: Tenant, reading: Reading
    ) -> str | None:
        """Return the fingerprint of what the key was first used for; None when that is neither in the database nor waits for it.

        Raises:
            UnavailableError: that cannot be said now. An answer of 202 would be a promise that nobody may keep.
        """
        is_batch = isinstance(asked, Batch)
        try:
            found = await self._find(tenant, asked_id(asked), reading, is_batch=is_batch)
        except (UnavailableError, PermanentError) as error:
            # What still waits in the stream needs no database to be known of.
            found = await self._reads.waiting(tenant, asked_id(asked))
            if found is None:
                message = f"it is not known what became of a request that came before: {error}"
                raise UnavailableError(message, code="first_use_unknown") from error
        return found[1] if found is not None else None

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
                items_count_max=self._limits.page_items_count,
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


def _reading(request: web.Request) -> Reading:
    return Reading.of(request.headers.get(POSITION))
