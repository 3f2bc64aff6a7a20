"""HTTP: exports of a tenant's part of the audit trail, under `/v2/exports`.

The edge writes down what is asked and hands out what another process has made; each of its statements is short, and says
for whom it asks, so that row-level security shows it that tenant's rows alone. A file goes out part by part: no connection
is held while a client takes its time, and no more than a part is in memory.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    PermanentError,
    UnavailableError,
)
from sentinel.reference.ledger.domain.exports import (
    WORDS,
    AskedExport,
    ExportFailure,
    ExportState,
    parse_export,
)
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.export_routes import BASE, EXPORT_ROUTES, FILE_TYPE
from sentinel.reference.ledger.edge.limits import limit_headers
from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.exports import ExportSignals, current_trace_parent
from sentinel.reference.ledger.wire.postgres import Connection, Database

_ASKING: Final = (
    "select set_config('ledger.cohort', $1, true), set_config('ledger.tenant', $2, true)"
)
_FIELDS: Final = """
export_id, fingerprint, from_at, to_at, asked_at, state, reason, next_at, ended_at, entries_count, bytes_count, sha256, checkpoint_size,
parts
"""
# One tenant's requests stand in line, so that none of them passes the bound beside another.
_ALONE: Final = "select pg_advisory_xact_lock(hashtextextended('exports:' || $1, 0))"
_OPEN: Final = """
select count(*)::int from ledger.exports where cohort = $1 and tenant = $2 and state in ('waiting', 'running')
"""
_ADD: Final = f"""
insert into ledger.exports (cohort, tenant, export_id, idempotency_key, fingerprint, from_at, to_at, trace_parent)
values ($1, $2, $3, $4, $5, $6, $7, $8) returning {_FIELDS}
"""  # noqa: S608 - put together from constants
_FIND: Final = f"""
select {_FIELDS} from ledger.exports where cohort = $1 and tenant = $2 and export_id = $3
"""  # noqa: S608 - put together from constants
_LIST: Final = f"""
select {_FIELDS} from ledger.exports where cohort = $1 and tenant = $2 order by asked_at desc, export_id limit $3
"""  # noqa: S608 - put together from constants
_CHUNK: Final = """
select content from ledger.export_parts where cohort = $1 and tenant = $2 and export_id = $3 and part = $4
"""
_UNDER_WAY: Final = frozenset({ExportState.WAITING, ExportState.RUNNING})
_POLL_S: Final = 2
_LISTED_COUNT: Final = 50

FindTenant = Callable[[web.Request], Awaitable[Tenant]]
ReadBody = Callable[[web.Request], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportsConfig:
    """What a tenant may have under way, and how long a client may take to fetch a file."""

    tenant_open_max: int = 3
    downloads_max: int = 8
    tenant_downloads_max: int = 2
    download_timeout_s: float = 300.0


class Exports:
    """The routes of exports; they are the edge's to serve, and what goes wrong in them is the edge's to answer."""

    def __init__(self, config: ExportsConfig, *, database: Database, telemetry: Telemetry) -> None:
        self._config = config
        self._database = database
        self._telemetry = telemetry
        self._signals = ExportSignals(telemetry)
        self._downloads: Counter[str] = Counter()
        telemetry.observe_pool("edge-exports", database.occupancy)

    def add_routes(self, router: web.UrlDispatcher, *, tenant: FindTenant, body: ReadBody) -> None:
        """Add the routes; `tenant` says who asks, and `body` reads what is asked."""
        self._tenant, self._body = tenant, body
        handlers = {
            "ask": self._ask,
            "list": self._list,
            "show": self._show,
            "fetch": self._fetch,
        }
        for path, names in EXPORT_ROUTES:
            for method, name in names.items():
                router.add_route(method, path, handlers[name])

    async def _ask(self, request: web.Request) -> web.Response:
        tenant = await self._tenant(request)
        with self._counting_refusals():
            asked = parse_export(
                tenant=tenant.name,
                idempotency_key=request.headers.get("Idempotency-Key", ""),
                body=await self._body(request),
                now=datetime.now(UTC),
            )
            with self._telemetry.query("INSERT", "exports", self._database.namespace):
                async with self._asking(tenant) as connection:
                    row, fresh = await self._take_on(connection, tenant, asked)
        if fresh:
            self._signals.requested()
        url = f"{BASE}/{asked.export_id}"
        headers = {"Location": url, "Retry-After": str(_POLL_S)}
        if not fresh:
            headers["Idempotent-Replay"] = "true"
        return _json(202, {**_shown(row), "status_url": url}, headers)

    async def _take_on(
        self, connection: Connection, tenant: Tenant, asked: AskedExport
    ) -> tuple[Any, bool]:
        """Return the export's row, and whether it is new."""
        await connection.execute(_ALONE, tenant.name)
        key = (tenant.cohort, tenant.name)
        known = await connection.fetchrow(_FIND, *key, asked.export_id)
        if known is not None:
            if known["fingerprint"] != asked.fingerprint:
                raise ProblemError.of_field(
                    code="idempotency_key_reused",
                    field="Idempotency-Key",
                    message="This Idempotency-Key was used before for another period.",
                )
            return known, False
        if await connection.fetchval(_OPEN, *key) >= self._config.tenant_open_max:
            raise ProblemError(
                code="too_many_exports",
                detail=f"A tenant has at most {self._config.tenant_open_max} exports under way.",
                headers={"Retry-After": str(_POLL_S)},
            )
        row = await connection.fetchrow(
            _ADD,
            *key,
            asked.export_id,
            asked.idempotency_key,
            asked.fingerprint,
            asked.start,
            asked.end,
            current_trace_parent(),
        )
        return row, True

    async def _list(self, request: web.Request) -> web.Response:
        tenant = await self._tenant(request)
        with self._telemetry.query("SELECT", "exports", self._database.namespace):
            async with self._asking(tenant) as connection:
                rows = await connection.fetch(_LIST, tenant.cohort, tenant.name, _LISTED_COUNT)
        return _json(200, {"exports": [_shown(row) for row in rows]})

    async def _show(self, request: web.Request) -> web.Response:
        _, row = await self._found(request)
        waits = {"Retry-After": str(_POLL_S)} if row["state"] in _UNDER_WAY else None
        return _json(200, _shown(row), waits)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        tenant, row = await self._found(request)
        with self._counting_refusals():
            _check_has_file(row)
            part = _asked_part(request, row)
            config = self._config
            if (
                self._downloads.total() >= config.downloads_max
                or self._downloads[tenant.name] >= config.tenant_downloads_max
            ):
                raise ProblemError(
                    code="overloaded", detail="Too many exports are being fetched; try again."
                )
        self._downloads[tenant.name] += 1
        try:
            return await self._send(request, tenant, row, part)
        finally:
            self._downloads[tenant.name] -= 1
            if not self._downloads[tenant.name]:
                del self._downloads[tenant.name]

    async def _send(
        self, request: web.Request, tenant: Tenant, row: Any, part: _Part
    ) -> web.StreamResponse:
        chunks = self._chunks(tenant, row, part)
        # Before the head goes out: until then trouble can still be answered.
        first = await anext(chunks)
        response = web.StreamResponse(
            headers={**_file_headers(row, part), **limit_headers(request)}
        )
        response.content_length = part.bytes_count
        await response.prepare(request)
        sent = 0
        try:
            async with asyncio.timeout(self._config.download_timeout_s):
                await response.write(first)
                sent = len(first)
                async for chunk in chunks:
                    await response.write(chunk)
                    sent += len(chunk)
                await response.write_eof()
        except (TimeoutError, UnavailableError, PermanentError, ProblemError, OSError) as error:
            # The head has gone: all that can be said is said by an end that comes too soon.
            self._signals.served(whole=False)
            self._telemetry.warning(
                Event.EXPORT_BROKEN_OFF,
                f"A download was broken off: {type(error).__name__}",
                bytes_count=sent,
            )
            if request.transport is not None:
                request.transport.abort()
            return response
        self._signals.served(whole=True)
        return response

    async def _chunks(self, tenant: Tenant, row: Any, part: _Part) -> AsyncIterator[bytes]:
        """Yield what the file of a part is kept in, each by a statement of its own.

        Raises:
            ProblemError: one is not there: the file was let go a moment ago. An end that said nothing would leave the client
                of a connection that is kept to wait for the rest.
        """
        chunk, left_bytes = part.first_chunk, part.bytes_count
        while left_bytes > 0:
            with self._telemetry.query("SELECT", "export_parts", self._database.namespace):
                async with self._asking(tenant) as connection:
                    content = await connection.fetchval(
                        _CHUNK, tenant.cohort, tenant.name, row["export_id"], chunk
                    )
            if not content:
                raise ProblemError(code="export_expired", detail="The file is no longer kept.")
            yield bytes(content)
            left_bytes -= len(content)
            chunk += 1

    async def _found(self, request: web.Request) -> tuple[Tenant, Any]:
        tenant = await self._tenant(request)
        try:
            export_id = uuid.UUID(request.match_info["id"])
        except ValueError:
            raise InvalidTransferError(
                code="invalid_id", field="id", message="An export's id is a UUID."
            ) from None
        with self._telemetry.query("SELECT", "exports", self._database.namespace):
            async with self._asking(tenant) as connection:
                row = await connection.fetchrow(_FIND, tenant.cohort, tenant.name, export_id)
        if row is None:
            raise ProblemError(code="unknown_export", detail="No such export.")
        return tenant, row

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except (ProblemError, InvalidTransferError) as error:
            self._signals.refused(error.code)
            raise

    @asynccontextmanager
    async def _asking(self, tenant: Tenant) -> AsyncIterator[Connection]:
        """A transaction in which row-level security knows who asks."""
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute(_ASKING, str(tenant.cohort), tenant.name)
            yield connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of an export that is done, counted from 1; its file is one by itself."""

    number: int
    count: int
    entries_count: int
    bytes_count: int
    sha256: str
    first_chunk: int


def _parts_of(row: Any) -> list[_Part]:
    """Return the parts of an export that is done; one that an earlier version made has one."""
    if row["parts"] is None:
        return [
            _Part(
                number=1,
                count=1,
                entries_count=row["entries_count"],
                bytes_count=row["bytes_count"],
                sha256=bytes(row["sha256"]).hex(),
                first_chunk=0,
            )
        ]
    stored = orjson.loads(row["parts"])
    return [
        _Part(number=number, count=len(stored), **part) for number, part in enumerate(stored, 1)
    ]


def _asked_part(request: web.Request, row: Any) -> _Part:
    text = request.query.get("part", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= 6) or int(text) == 0:
        raise InvalidTransferError(
            code="invalid_field", field="part", message="part is a number from 1 on."
        )
    parts = _parts_of(row)
    if int(text) > len(parts):
        raise ProblemError(code="unknown_part", detail=f"The export has {len(parts)} parts.")
    return parts[int(text) - 1]


def _check_has_file(row: Any) -> None:
    state = row["state"]
    if state in _UNDER_WAY:
        raise ProblemError(
            code="export_not_done",
            detail=f"The export is {state}.",
            headers={"Retry-After": str(_POLL_S)},
        )
    if state == ExportState.FAILED:
        raise ProblemError(code="export_failed", detail=_words(row["reason"]))
    if state == ExportState.EXPIRED:
        raise ProblemError(code="export_expired", detail="The file is no longer kept.")


def _words(reason: str) -> str:
    words = WORDS[ExportFailure(reason)]
    return f"{words[0].upper()}{words[1:]}."


def _shown(row: Any) -> dict[str, object]:
    state = row["state"]
    shown: dict[str, object] = {
        "export_id": row["export_id"],
        "state": state,
        "from": row["from_at"],
        "to": row["to_at"],
        "asked_at": row["asked_at"],
        "ended_at": row["ended_at"],
    }
    if state == ExportState.FAILED:
        shown |= {"reason": row["reason"], "detail": _words(row["reason"])}
    if row["sha256"] is not None:
        shown |= {
            "entries_count": row["entries_count"],
            "bytes_count": row["bytes_count"],
            "sha256": bytes(row["sha256"]).hex(),
            "checkpoint_size": row["checkpoint_size"],
        }
    if state == ExportState.DONE:
        file_url = f"{BASE}/{row['export_id']}/file"
        shown |= {
            "file_url": file_url,
            "parts": [
                {
                    "part": part.number,
                    "entries_count": part.entries_count,
                    "bytes_count": part.bytes_count,
                    "sha256": part.sha256,
                    "file_url": f"{file_url}?part={part.number}",
                }
                for part in _parts_of(row)
            ],
            "expires_at": row["next_at"],
        }
    return shown


def _file_headers(row: Any, part: _Part) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(part.sha256)).decode()
    which = "" if part.count == 1 else f"-part-{part.number}-of-{part.count}"
    name = f"ledger-export-{row['export_id']}{which}.ndjson"
    return {
        "Content-Type": FILE_TYPE,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "no-store",
    }


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        # asyncpg's UUIDs are a subclass, which is written as text by name only.
        body=orjson.dumps(body, default=str, option=orjson.OPT_UTC_Z),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
