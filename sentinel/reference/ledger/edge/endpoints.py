"""HTTP: the webhook endpoints of a tenant, under `/v2/webhook_endpoints`.

A secret is shown in the answer that makes it and never again: the edge can seal one and cannot open it. Whoever repeats a
registration whose answer was lost is told that the URL is there, and gets a secret by rotating it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
from sentinel.reference.ledger.domain.webhooks.asked import (
    AskedEndpoint,
    Signature,
    parse_endpoint,
    parse_rotation,
)
from sentinel.reference.ledger.domain.webhooks.delivery import DeliveryState
from sentinel.reference.ledger.domain.webhooks.endpoint import EndpointState
from sentinel.reference.ledger.domain.webhooks.message import EventType, make_event
from sentinel.reference.ledger.edge.endpoint_routes import (
    BASE,
    DELIVERIES_COUNT,
    DELIVERIES_COUNT_MAX,
    ENDPOINT_ROUTES,
)
from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.postgres import Connection, Database
from sentinel.reference.ledger.wire.webhook_secrets import Sealer, new_secret

_DIGITS: Final = re.compile(r"[0-9]{1,6}")
_ASKING: Final = (
    "select set_config('ledger.cohort', $1, true), set_config('ledger.tenant', $2, true)"
)
_FIELDS: Final = """
endpoint_id, url, description, event_types, signature, public_key, state, failing_since, failures_count, paused_until,
disabled_because, dropped_count, previous_until, created_at
"""
# One tenant's registrations stand in line, so that none of them passes the bound beside another.
_ALONE: Final = "select pg_advisory_xact_lock(hashtextextended('webhook_endpoints:' || $1, 0))"
_COUNT: Final = (
    "select count(*)::int from ledger.webhook_endpoints where cohort = $1 and tenant = $2"
)
_SAME: Final = "select endpoint_id from ledger.webhook_endpoints where cohort = $1 and tenant = $2 and url = $3"
_ADD: Final = f"""
insert into ledger.webhook_endpoints
    (cohort, endpoint_id, tenant, url, description, event_types, signature, secret, public_key, registered_position)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, (select case when is_called then last_value else 0 end from ledger.outbox_position))
returning {_FIELDS}
"""  # noqa: S608 - put together from constants
_LIST: Final = f"""
select {_FIELDS} from ledger.webhook_endpoints where cohort = $1 and tenant = $2 order by created_at, endpoint_id
"""  # noqa: S608 - put together from constants
_FIND: Final = f"""
select {_FIELDS} from ledger.webhook_endpoints where cohort = $1 and tenant = $2 and endpoint_id = $3
"""  # noqa: S608 - put together from constants
_LOCK: Final = f"{_FIND} for no key update"
_DELETE: Final = (
    "delete from ledger.webhook_endpoints where cohort = $1 and tenant = $2 and endpoint_id = $3"
)
_ROTATE: Final = f"""
update ledger.webhook_endpoints
set previous_secret = case when $6::int > 0 then secret end,
    previous_until = case when $6::int > 0 then now() + make_interval(secs => $6::int) end,
    secret = $4, public_key = $5
where cohort = $1 and tenant = $2 and endpoint_id = $3 returning {_FIELDS}
"""  # noqa: S608 - put together from constants
_ENABLE: Final = f"""
update ledger.webhook_endpoints
set state = 'active', failing_since = null, failures_count = 0, paused_until = null, disabled_because = null
where cohort = $1 and tenant = $2 and endpoint_id = $3 returning {_FIELDS}
"""  # noqa: S608 - put together from constants
_AT_ONCE: Final = """
update ledger.webhook_deliveries set next_at = now()
where cohort = $1 and tenant = $2 and endpoint_id = $3 and state = 'pending' and next_at > now()
"""
_WAITING_TESTS: Final = """
select count(*)::int from ledger.webhook_deliveries
where cohort = $1 and tenant = $2 and endpoint_id = $3 and state = 'pending' and type = $4
"""
_TEST: Final = """
insert into ledger.webhook_deliveries (cohort, delivery_id, endpoint_id, tenant, event_id, type, body)
values ($1, $2, $3, $4, $5, $6, $7)
"""
_DELIVERIES: Final = """
select delivery_id, event_id, type, state, attempts_count, last_status, last_reason, created_at, last_at, ended_at,
       case when state = 'pending' then next_at end as next_at
from ledger.webhook_deliveries
where cohort = $1 and tenant = $2 and endpoint_id = $3 and ($4::text is null or state = $4)
order by created_at desc, delivery_id limit $5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsConfig:
    """What a tenant may register."""

    policy: AddressPolicy = field(default_factory=AddressPolicy)
    tenant_endpoints_max: int = 10
    waiting_tests_max: int = 5


FindTenant = Callable[[web.Request], Awaitable[Tenant]]
ReadBody = Callable[[web.Request], Awaitable[object]]


class WebhookEndpoints:
    """The register's routes; they are the edge's to serve, and what goes wrong in them is the edge's to answer."""

    def __init__(
        self, config: EndpointsConfig, *, database: Database, sealer: Sealer, telemetry: Telemetry
    ) -> None:
        self._config = config
        self._database = database
        self._sealer = sealer
        self._telemetry = telemetry
        telemetry.observe_pool("edge-endpoints", database.occupancy)

    def add_routes(self, router: web.UrlDispatcher, *, tenant: FindTenant, body: ReadBody) -> None:
        """Add the routes; `tenant` says who asks, and `body` reads what is asked."""
        self._tenant, self._body = tenant, body
        handlers = {
            "register": self._post,
            "list": self._list,
            "show": self._get,
            "delete": self._delete,
            "rotate": self._rotate,
            "enable": self._enable,
            "test": self._test,
            "deliveries": self._deliveries,
        }
        for path, names in ENDPOINT_ROUTES:
            for method, name in names.items():
                router.add_route(method, path, handlers[name])

    async def _post(self, request: web.Request) -> web.Response:
        tenant = await self._tenant(request)
        asked = parse_endpoint(await self._body(request), self._config.policy)
        made = new_secret(asked.signature)
        with self._telemetry.query("INSERT", "webhook_endpoints", self._database.namespace):
            async with self._asking(tenant) as connection:
                row = await self._register(
                    connection, tenant, asked, self._sealer.seal(made.secret), made.public_key
                )
        shown = _shown(row) | _secret(asked.signature, made.secret)
        return _json(201, shown, {"Location": f"{BASE}/{row['endpoint_id']}"})

    async def _register(
        self,
        connection: Connection,
        tenant: Tenant,
        asked: AskedEndpoint,
        sealed: bytes,
        public_key: str | None,
    ) -> Any:
        await connection.execute(_ALONE, tenant.name)
        same = await connection.fetchval(_SAME, tenant.cohort, tenant.name, asked.url)
        if same is not None:
            raise ProblemError(code="endpoint_exists", detail=f"The endpoint {same} has this URL.")
        count = await connection.fetchval(_COUNT, tenant.cohort, tenant.name)
        if count >= self._config.tenant_endpoints_max:
            raise ProblemError(
                code="too_many_endpoints",
                detail=f"A tenant has at most {self._config.tenant_endpoints_max} endpoints.",
            )
        return await connection.fetchrow(
            _ADD,
            tenant.cohort,
            uuid.uuid4(),
            tenant.name,
            asked.url,
            asked.description,
            [one.value for one in asked.event_types],
            asked.signature.value,
            sealed,
            public_key,
        )

    async def _list(self, request: web.Request) -> web.Response:
        tenant = await self._tenant(request)
        with self._telemetry.query("SELECT", "webhook_endpoints", self._database.namespace):
            async with self._asking(tenant) as connection:
                rows = await connection.fetch(_LIST, tenant.cohort, tenant.name)
        return _json(200, {"endpoints": [_shown(row) for row in rows]})

    async def _get(self, request: web.Request) -> web.Response:
        tenant, key = await self._asked(request)
        async with self._asking(tenant) as connection:
            return _json(200, _shown(_found(await connection.fetchrow(_FIND, *key))))

    async def _delete(self, request: web.Request) -> web.Response:
        tenant, key = await self._asked(request)
        with self._telemetry.query("DELETE", "webhook_endpoints", self._database.namespace):
            async with self._asking(tenant) as connection:
                tag = await connection.execute(_DELETE, *key)
        _found(None if tag == "DELETE 0" else tag)
        return web.Response(status=204)

    async def _rotate(self, request: web.Request) -> web.Response:
        tenant, key = await self._asked(request)
        overlap_s = parse_rotation(await self._body(request) if request.body_exists else None)
        with self._telemetry.query("UPDATE", "webhook_endpoints", self._database.namespace):
            async with self._asking(tenant) as connection:
                before = _found(await connection.fetchrow(_LOCK, *key))
                until = before["previous_until"]
                if overlap_s and until is not None and until > datetime.now(tz=UTC):
                    # A third secret would end the first one's time before its owner was told it would end.
                    raise ProblemError(
                        code="rotation_under_way",
                        detail=f"Two secrets sign until {until.isoformat()}; overlap_s of 0 ends the others at once.",
                    )
                signature = Signature(before["signature"])
                made = new_secret(signature)
                row = await connection.fetchrow(
                    _ROTATE, *key, self._sealer.seal(made.secret), made.public_key, overlap_s
                )
        return _json(200, _shown(row) | _secret(signature, made.secret))

    async def _enable(self, request: web.Request) -> web.Response:
        """Have it take events again; what waited for it is tried at once."""
        tenant, key = await self._asked(request)
        with self._telemetry.query("UPDATE", "webhook_endpoints", self._database.namespace):
            async with self._asking(tenant) as connection:
                row = _found(await connection.fetchrow(_ENABLE, *key))
                await connection.execute(_AT_ONCE, *key)
        return _json(200, _shown(row))

    async def _test(self, request: web.Request) -> web.Response:
        tenant, key = await self._asked(request)
        event = make_event(
            event_id=uuid.uuid4(),
            kind=EventType.TEST,
            tenant=tenant.name,
            cohort=tenant.cohort,
            occurred_at=datetime.now(tz=UTC),
            data={"endpoint_id": str(key[2])},
        )
        delivery_id = uuid.uuid4()
        with self._telemetry.query("INSERT", "webhook_deliveries", self._database.namespace):
            async with self._asking(tenant) as connection:
                endpoint = _found(await connection.fetchrow(_LOCK, *key))
                if endpoint["state"] == EndpointState.DISABLED:
                    raise ProblemError(
                        code="endpoint_disabled",
                        detail="The endpoint is disabled; enable it first.",
                    )
                waiting = await connection.fetchval(_WAITING_TESTS, *key, EventType.TEST.value)
                if waiting >= self._config.waiting_tests_max:
                    raise ProblemError(
                        code="too_many_tests",
                        detail=f"{waiting} tests wait for this endpoint already.",
                    )
                await connection.execute(
                    _TEST,
                    tenant.cohort,
                    delivery_id,
                    key[2],
                    tenant.name,
                    event.event_id,
                    event.type.value,
                    event.body,
                )
        return _json(
            202,
            {"delivery_id": str(delivery_id), "event_id": str(event.event_id)},
            {"Location": f"{BASE}/{key[2]}/deliveries"},
        )

    async def _deliveries(self, request: web.Request) -> web.Response:
        tenant, key = await self._asked(request)
        state, limit = (
            request.query.get("state"),
            request.query.get("limit", str(DELIVERIES_COUNT)),
        )
        if state is not None and state not in {one.value for one in DeliveryState}:
            raise InvalidTransferError(
                code="invalid_field",
                field="state",
                message="state is pending, delivered or failed.",
            )
        if not _DIGITS.fullmatch(limit) or not 1 <= int(limit) <= DELIVERIES_COUNT_MAX:
            raise InvalidTransferError(
                code="invalid_field",
                field="limit",
                message=f"limit is a number from 1 to {DELIVERIES_COUNT_MAX}.",
            )
        with self._telemetry.query("SELECT", "webhook_deliveries", self._database.namespace):
            async with self._asking(tenant) as connection:
                _found(await connection.fetchrow(_FIND, *key))
                rows = await connection.fetch(_DELIVERIES, *key, state, int(limit))
        return _json(200, {"deliveries": [dict(row) for row in rows]})

    async def _asked(self, request: web.Request) -> tuple[Tenant, tuple[int, str, uuid.UUID]]:
        tenant = await self._tenant(request)
        try:
            endpoint_id = uuid.UUID(request.match_info["id"])
        except ValueError:
            raise InvalidTransferError(
                code="invalid_id", field="id", message="An endpoint's id is a UUID."
            ) from None
        return tenant, (tenant.cohort, tenant.name, endpoint_id)

    @asynccontextmanager
    async def _asking(self, tenant: Tenant) -> AsyncIterator[Connection]:
        """A transaction in which row-level security knows who asks."""
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute(_ASKING, str(tenant.cohort), tenant.name)
            yield connection


def _found(row: Any) -> Any:
    if row is None:
        raise ProblemError(code="unknown_endpoint", detail="No such endpoint.")
    return row


def _shown(row: Any) -> dict[str, object]:
    until = row["previous_until"]
    shown = dict(row)
    del shown["previous_until"]
    rotating = until is not None and until > datetime.now(tz=UTC)
    return shown | {"previous_secret_until": until if rotating else None}


def _secret(signature: Signature, secret: str) -> dict[str, object]:
    # The private half of a pair is nobody's but the ledger's.
    return {"secret": secret} if signature is Signature.HMAC else {}


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        # asyncpg's UUIDs are a subclass, which is written as text by name only.
        body=orjson.dumps(body, default=str),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
