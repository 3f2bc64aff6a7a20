"""A tenant: whose money it is, what its contract allows, and where it is kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from sentinel.reference.ledger.domain.limits import Allowance, Limit

COHORTS_COUNT: Final = 4

Network = IPv4Network | IPv6Network


class Tier(StrEnum):
    """What a tenant's contract allows it."""

    STANDARD = "standard"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant; its cohort, 0 to COHORTS_COUNT - 1, is its own for good.

    It may ask from the `networks` that are named, from anywhere when none is; not at all while it is suspended.
    """

    name: str
    cohort: int
    tier: Tier = Tier.STANDARD
    allowance: Allowance = field(default_factory=Allowance)
    networks: tuple[Network, ...] = ()
    is_suspended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A tenant that is to be there: of `tier`, or as it is and standard if it is new.

    `limit` is an enterprise's contract; without one it has what its tier has.
    """

    name: str
    tier: Tier | None = None
    limit: Limit | None = None


def new_cohort(name: str) -> int:
    """Return the cohort that a new tenant is put into; from then on its row is what counts.

    >>> new_cohort("demo") in range(COHORTS_COUNT)
    True
    """
    return zlib.crc32(name.encode()) % COHORTS_COUNT
