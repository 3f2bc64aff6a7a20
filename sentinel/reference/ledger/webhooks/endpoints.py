"""What the process knows of endpoints: read from the database for each batch of events, and every second for attempts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sentinel.reference.ledger.domain.webhooks.endpoint import EndpointState, Health, Why
from sentinel.reference.ledger.wire.postgres import Connection

Key = tuple[int, uuid.UUID]

_FIELDS: Final = """
e.cohort, e.endpoint_id, e.tenant, e.url, e.event_types, e.signature, e.secret, e.previous_secret, e.previous_until,
e.state, e.failing_since, e.failures_count, e.paused_until, e.disabled_because, e.registered_position
"""
_ALL: Final = f"select {_FIELDS} from ledger.webhook_endpoints e"  # noqa: S608 - constants
_LOCKED: Final = f"""
select {_FIELDS} from ledger.webhook_endpoints e where cohort = $1 and endpoint_id = $2 for no key update
"""  # noqa: S608 - put together from constants
_KEEP_HEALTH: Final = """
update ledger.webhook_endpoints
set state = $3, failing_since = $4, failures_count = $5, paused_until = $6, disabled_because = $7
where cohort = $1 and endpoint_id = $2
"""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it was at the last look; `health` is also what this process has noted since.

    Events up to `registered_position` of the outbox had happened when it was registered.
    `waiting_count` and `oldest_ns`, of what waits for it, are of a look that is rarer, and of what was added since.
    """

    cohort: int
    endpoint_id: uuid.UUID
    tenant: str
    url: str
    event_types: frozenset[str]
    signature: str
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(default=None, repr=False)
    previous_until_ns: int | None = None
    health: Health
    registered_position: int
    waiting_count: int = 0
    oldest_ns: int | None = None

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.cohort, self.endpoint_id

    def sealed_secrets(self, now_ns: int) -> list[bytes]:
        """Return the secrets that sign now, the newest first."""
        until_ns = self.previous_until_ns
        if self.previous_secret is None or until_ns is None or now_ns >= until_ns:
            return [self.secret]
        return [self.secret, self.previous_secret]


class Register:
    """Every endpoint by its key and by its tenant."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Endpoint] = {}
        self._by_tenant: dict[tuple[int, str], list[Endpoint]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """Know these and no others; what waits for them stays known."""
        endpoints = list(endpoints)
        for one in endpoints:
            before = self._by_key.get(one.key)
            if before is not None:
                one.waiting_count, one.oldest_ns = before.waiting_count, before.oldest_ns
        self._by_key = {one.key: one for one in endpoints}
        self._by_tenant = {}
        for one in self._by_key.values():
            self._by_tenant.setdefault((one.cohort, one.tenant), []).append(one)

    def find(self, key: Key) -> Endpoint | None:
        """Return the endpoint, or None when it is gone."""
        return self._by_key.get(key)

    def of_tenant(self, cohort: int, tenant: str) -> Sequence[Endpoint]:
        """Return a tenant's endpoints."""
        return self._by_tenant.get((cohort, tenant), ())

    def all(self) -> Sequence[Endpoint]:
        """Return every endpoint."""
        return list(self._by_key.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fails:
    """Whose endpoints fail: tenants that take events, those of them whom nothing reaches, and the hosts at which it fails."""

    tenants_count: int
    tenants_failing_count: int
    receivers_failing_count: int


def whose_fail(endpoints: Iterable[Endpoint]) -> Fails:
    """Return how far endpoints' failures are spread; what is disabled takes no events and counts for nothing.

    One tenant, or one service that many tenants have named, is no sign that the ledger's own way out is broken.
    """
    states: dict[tuple[int, str], set[EndpointState]] = {}
    hosts: set[str] = set()
    for one in endpoints:
        if one.health.state is EndpointState.DISABLED:
            continue
        states.setdefault((one.cohort, one.tenant), set()).add(one.health.state)
        if one.health.state is EndpointState.FAILING:
            hosts.add(urlsplit(one.url).netloc.lower())
    return Fails(
        tenants_count=len(states),
        tenants_failing_count=sum(seen == {EndpointState.FAILING} for seen in states.values()),
        receivers_failing_count=len(hosts),
    )


async def read_endpoints(connection: Connection) -> list[Endpoint]:
    """Return every endpoint.

    Raises:
        UnavailableError: the database did not answer in time.
    """
    return [_endpoint(row) for row in await connection.fetch(_ALL)]


async def lock_endpoint(connection: Connection, key: Key) -> Endpoint | None:
    """Return the endpoint as it is now, held until the transaction ends; None when it is gone."""
    row = await connection.fetchrow(_LOCKED, *key)
    return None if row is None else _endpoint(row)


async def keep_health(connection: Connection, key: Key, health: Health) -> None:
    """Note how an endpoint fares."""
    await connection.execute(
        _KEEP_HEALTH,
        *key,
        health.state.value,
        _moment(health.failing_since_ns),
        health.failures_count,
        _moment(health.paused_until_ns),
        None if health.disabled_because is None else health.disabled_because.value,
    )


def _endpoint(row: Any) -> Endpoint:
    why = row["disabled_because"]
    return Endpoint(
        cohort=row["cohort"],
        endpoint_id=row["endpoint_id"],
        tenant=row["tenant"],
        url=row["url"],
        event_types=frozenset(row["event_types"]),
        signature=row["signature"],
        secret=row["secret"],
        previous_secret=row["previous_secret"],
        previous_until_ns=_ns(row["previous_until"]),
        health=Health(
            state=EndpointState(row["state"]),
            failing_since_ns=_ns(row["failing_since"]),
            failures_count=row["failures_count"],
            paused_until_ns=_ns(row["paused_until"]),
            disabled_because=None if why is None else Why(why),
        ),
        registered_position=row["registered_position"],
    )


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1_000_000) * 1000


def _moment(ns: int | None) -> datetime | None:
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, tz=UTC)
