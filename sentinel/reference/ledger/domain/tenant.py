"""A tenant: whose money it is, and in which cohort's partitions and stream it is kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COHORTS_COUNT: Final = 4


class Tier(StrEnum):
    """What a tenant's contract allows it."""

    STANDARD = "standard"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant; its cohort, 0 to COHORTS_COUNT - 1, is its own for good."""

    name: str
    cohort: int
    tier: Tier = Tier.STANDARD


def new_cohort(name: str) -> int:
    """Return the cohort that a new tenant is put into; from then on its row is what counts.

    >>> new_cohort("demo") in range(COHORTS_COUNT)
    True
    """
    return zlib.crc32(name.encode()) % COHORTS_COUNT
