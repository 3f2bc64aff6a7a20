"""A tenant's policies at the edge, applied to one request: from where, and how often."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.domain.limits import SECOND_NS, Allowed, Refused
from sentinel.reference.ledger.domain.tenant import Network, Tenant
from sentinel.reference.ledger.edge.limits.addresses import (
    FORWARDED_HEADER,
    client_address,
    is_among,
)
from sentinel.reference.ledger.edge.limits.crowd import Crowd
from sentinel.reference.ledger.edge.limits.limiter import Limiter
from sentinel.reference.ledger.edge.limits.shared import SharedTats
from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.telemetry import Event, Telemetry

_TOLD: Final = web.RequestKey("ledger_limit", dict[str, str])


class Policies:
    """Admits requests or says why not; counts what it refuses, by the tenant's tier."""

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        trusted_proxies: Sequence[Network] = (),
        edges_count: int = 1,
        shared: SharedTats | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Store what to go by.

        Args:
            telemetry: told of refusals.
            trusted_proxies: whose X-Forwarded-For is believed.
            edges_count: how many edges share the limits without a file.
            shared: what edges that share a file have taken together.
            now_ns: Unix time.
            steady_ns: a clock that is never set.
        """
        self._telemetry = telemetry
        self._trusted = tuple(trusted_proxies)
        if shared is not None:
            shared.on_forgotten = telemetry.limit_forgotten
            shared.on_unlocked = telemetry.limit_unlocked
        self._limiter = Limiter(
            edges_count=edges_count, on_forgotten=telemetry.limit_forgotten, shared=shared
        )
        self._now_ns = now_ns
        self._steady_ns = steady_ns
        self._crowd = Crowd()
        telemetry.observe_tenants(lambda: self._crowd.counts(steady_ns()))

    def admit(self, request: web.Request, tenant: Tenant) -> None:
        """Let a request of a tenant pass.

        Raises:
            ProblemError: it comes from elsewhere than it may (403), or too soon (429).
        """
        if tenant.networks:
            self._check_address(request, tenant)
        steady_ns = self._steady_ns()
        self._crowd.asked(tenant.name, steady_ns)
        decision = self._limiter.check(tenant, now_ns=self._now_ns(), steady_ns=steady_ns)
        request[_TOLD] = _headers(decision)
        if isinstance(decision, Refused):
            self._telemetry.request_limited(tenant.tier.value)
            if self._crowd.limited(tenant.name, steady_ns):
                # Once a minute and tenant: who it is, which no metric says.
                self._telemetry.warning(
                    Event.EDGE_TENANT_LIMITED,
                    "A tenant asks more often than it may",
                    tenant=tenant.name,
                    tier=tenant.tier.value,
                    limit_rps=decision.limit.rps,
                    limit_burst=decision.limit.burst,
                )
            raise _too_soon(decision)

    def _check_address(self, request: web.Request, tenant: Tenant) -> None:
        client = client_address(
            peer=request.remote,
            forwarded=request.headers.getall(FORWARDED_HEADER, ()),
            trusted=self._trusted,
        )
        if client is None or not is_among(client, tenant.networks):
            self._telemetry.address_refused(tenant.tier.value)
            self._telemetry.warning(
                Event.EDGE_ADDRESS_REFUSED,
                "A request came from an address that the tenant may not use",
                tenant=tenant.name,
                address=str(client) if client is not None else "unknown",
            )
            raise ProblemError(
                code="address_not_allowed", detail="The tenant may not ask from this address."
            )


def limit_headers(request: web.Request) -> dict[str, str]:
    """Return what the answer says of the tenant's limit; nothing where it did not come to that."""
    told: dict[str, str] = request.get(_TOLD, {})
    return told


def _headers(decision: Allowed | Refused) -> dict[str, str]:
    left = decision.remaining_count if isinstance(decision, Allowed) else 0
    return {
        "RateLimit-Limit": str(decision.limit.rps),
        "RateLimit-Remaining": str(left),
        "RateLimit-Reset": str(_whole_seconds(decision.reset_ns)),
    }


def _too_soon(refused: Refused) -> ProblemError:
    # The header knows whole seconds only, and may not say less than is true; the body says it exactly.
    return ProblemError(
        code="rate_limited",
        detail=f"More than {refused.limit.rps} requests a second and a burst of {refused.limit.burst}.",
        headers={"Retry-After": str(_whole_seconds(refused.retry_after_ns))},
        members={"retry_after_s": refused.retry_after_ns / SECOND_NS},
    )


def _whole_seconds(span_ns: int) -> int:
    return -(-span_ns // SECOND_NS)
