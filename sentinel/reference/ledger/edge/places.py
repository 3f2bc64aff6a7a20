"""Places of requests in flight, and room for large bodies: so many in all, and so many of one tenant.

Without a share of its own, whoever sends halves of bodies and waits holds every place there is, and one tenant's trouble is
everybody's. A body's room is held until its answer: what was made of it is in memory for as long.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLimits:
    """How many requests may be in flight, and how many bytes of large bodies; in all, and of one tenant."""

    count_max: int
    tenant_count_max: int
    bodies_bytes_max: int
    tenant_bodies_bytes_max: int


class Full(StrEnum):
    """What there is no more of; the value is for counting."""

    IN_FLIGHT = "in_flight"
    TENANT_IN_FLIGHT = "tenant_in_flight"
    BODIES = "bodies"
    TENANT_BODIES = "tenant_bodies"


@dataclass(slots=True)
class Place:
    """What one request holds."""

    tenant: str | None = None
    body_bytes: int = 0


class Places:
    """All that requests in flight hold."""

    def __init__(self, limits: PlaceLimits) -> None:
        self._limits = limits
        self._count = 0
        self._counts: Counter[str] = Counter()
        self._bodies_bytes = 0
        self._tenant_bodies_bytes: Counter[str] = Counter()

    def take(self) -> Place | Full:
        """Give a request a place, of nobody yet; `give_back` it in any case."""
        if self._count >= self._limits.count_max:
            return Full.IN_FLIGHT
        self._count += 1
        return Place()

    def take_tenants(self, place: Place, tenant: str) -> Full | None:
        """Count a place as this tenant's, now that it is known whose it is; say what there is no more of."""
        if place.tenant is not None:
            return None
        if self._counts[tenant] >= self._limits.tenant_count_max:
            return Full.TENANT_IN_FLIGHT
        self._counts[tenant] += 1
        place.tenant = tenant
        return None

    def take_body(self, place: Place, size_bytes: int) -> Full | None:
        """Give the body of a request, whose tenant is known, its room; say what there is no more of."""
        assert place.tenant is not None
        limits = self._limits
        if self._bodies_bytes + size_bytes > limits.bodies_bytes_max:
            return Full.BODIES
        taken_bytes = self._tenant_bodies_bytes[place.tenant]
        if taken_bytes + size_bytes > limits.tenant_bodies_bytes_max:
            return Full.TENANT_BODIES
        self._bodies_bytes += size_bytes
        self._tenant_bodies_bytes[place.tenant] += size_bytes
        place.body_bytes += size_bytes
        return None

    def give_back(self, place: Place) -> None:
        """Let go of all that a request held."""
        self._count -= 1
        if place.tenant is None:
            return
        self._bodies_bytes -= place.body_bytes
        for counts, amount in ((self._counts, 1), (self._tenant_bodies_bytes, place.body_bytes)):
            counts[place.tenant] -= amount
            if counts[place.tenant] <= 0:
                # Only who holds something is remembered.
                del counts[place.tenant]
