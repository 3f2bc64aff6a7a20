"""Who calls what: the ledger's routes, split by tenant at the edge, and its timed jobs.

A stream is what gives three series: traffic, errors and latency of one route, at the edge of one
tenant. Behind the edge nobody is told apart, so those streams carry the mix of all tenants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.history import RouteLevel
from sentinel.reference.ledger.domain.simulator.season import (
    EVEN,
    HOUR_S,
    PAYROLL,
    PEOPLE,
    SHOPPERS,
    Habit,
    Spike,
)

_EDGE: Final = "edge"
JOBS: Final = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer: its share of every route's calls, its habit, and how unsteady it is."""

    name: str
    share: float
    habit: Habit
    burst: float


# At the default rate the last two call every minute or so, and every few minutes.
TENANTS: Final = (
    Tenant(name="retail", share=0.68, habit=PEOPLE, burst=0.02),
    Tenant(name="shops", share=0.22, habit=SHOPPERS, burst=0.04),
    Tenant(name="payroll", share=0.0975, habit=PAYROLL, burst=0.15),
    Tenant(name="branch", share=0.002, habit=PAYROLL, burst=0.3),
    Tenant(name="kiosk", share=0.0005, habit=PEOPLE, burst=0.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One route as seen at one place.

    Attributes:
        chain: the calls that this is a step of; what breaks one step shows in the others.
        tenant: whose calls, or empty where nobody is told apart.
        traffic: calls a second of an ordinary week at the end of the history, without spikes.
        errors: ratio of calls that fail on an ordinary day.
        latency_s: p95 at ordinary load.
        mix: habits of the callers and their shares, which sum to 1.
        burst: relative standard deviation of the arrival rate beyond Poisson's.
    """

    service: str
    stage: str
    route: str
    chain: str
    tenant: str
    traffic: float
    errors: float
    latency_s: float
    mix: tuple[tuple[Habit, float], ...]
    burst: float
    spikes: tuple[Spike, ...] = ()

    @property
    def is_edge(self) -> bool:
        """Whether tenants are told apart here."""
        return bool(self.tenant)


_CHAINS: Final = {
    "POST /v1/transfers": "transfers",
    "publish ledger.transfers": "transfers",
    "process ledger.transfers": "transfers",
    "COMMIT transactions": "transfers",
    "GET /v1/accounts/{id}/balance": "balances",
    "SELECT accounts": "balances",
    "GET /v1/transactions/{id}": "reads",
    "SELECT transactions": "reads",
}

# Calls that timers add to a chain, in parts of its ordinary traffic: partners fetch balances on
# the hour, and settlement books at night for forty minutes.
_TIMED: Final = {
    "balances": Spike(every_s=HOUR_S, at_s=0, length_s=120, added=0.8),
    "transfers": Spike(every_s=24 * HOUR_S, at_s=3 * HOUR_S + 900, length_s=2400, added=0.5),
}


def fleet(routes: Sequence[RouteLevel], tenants: Sequence[Tenant] = TENANTS) -> list[Stream]:
    """Return the streams of `routes`, each tenant's share apart at the edge, and two jobs.

    Raises:
        ValueError: the tenants' shares do not sum to 1.
    """
    if not math.isclose(sum(tenant.share for tenant in tenants), 1.0, abs_tol=1e-9):
        message = "the tenants' shares must sum to 1"
        raise ValueError(message)
    everybody = tuple(_merged((tenant.habit, tenant.share) for tenant in tenants))
    # The mix is as unsteady as its parts together.
    burst = math.sqrt(sum((tenant.share * tenant.burst) ** 2 for tenant in tenants))
    streams: list[Stream] = []
    for route in routes:
        chain = _CHAINS.get(route.route, route.route)
        if route.stage != _EDGE:
            streams.append(_stream(route, chain, "", 1.0, everybody, burst))
            continue
        streams += [
            _stream(route, chain, tenant.name, tenant.share, ((tenant.habit, 1.0),), tenant.burst)
            for tenant in tenants
        ]
    return [*streams, *_jobs()]


def _merged(parts: Iterable[tuple[Habit, float]]) -> list[tuple[Habit, float]]:
    """Two tenants of one habit are one part: it is worked out once."""
    shares: dict[str, tuple[Habit, float]] = {}
    for habit, share in parts:
        shares[habit.name] = (habit, share + shares.get(habit.name, (habit, 0.0))[1])
    return list(shares.values())


def _stream(
    route: RouteLevel,
    chain: str,
    tenant: str,
    share: float,
    mix: tuple[tuple[Habit, float], ...],
    burst: float,
) -> Stream:
    timed = _TIMED.get(chain)
    traffic = route.traffic * share
    return Stream(
        service=route.service,
        stage=route.stage,
        route=f"{route.route} [{tenant}]" if tenant else route.route,
        chain=chain,
        tenant=tenant,
        traffic=traffic,
        errors=route.errors,
        latency_s=route.latency_s,
        mix=mix,
        burst=burst,
        spikes=(
            (
                Spike(
                    every_s=timed.every_s,
                    at_s=timed.at_s,
                    length_s=timed.length_s,
                    added=timed.added * traffic,
                ),
            )
            if timed is not None and traffic > 0
            else ()
        ),
    )


def _jobs() -> list[Stream]:
    """Series that are zero most of the day: an hourly job, and a nightly one on UTC."""
    timers = (
        ("hourly reconcile", Spike(every_s=HOUR_S, at_s=300, length_s=180, added=2.0)),
        (
            "nightly statements",
            Spike(every_s=24 * HOUR_S, at_s=2 * HOUR_S, length_s=1800, added=12.0, on_utc=True),
        ),
    )
    return [
        Stream(
            service="ledger-jobs",
            stage="job",
            route=route,
            chain=JOBS,
            tenant="",
            traffic=0.0,
            errors=0.001,
            latency_s=0.120,
            mix=((EVEN, 1.0),),
            burst=0.1,
            spikes=(spike,),
        )
        for route, spike in timers
    ]
