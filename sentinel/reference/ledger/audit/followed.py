"""Which tables the trail follows, how a row of each is found again, and what of a row is not told.

A row's id in the trail is a UUID. An account has none, so it is one made of its name: SHA-256, for a tenant chooses names,
and two that come to one id would be taken for one row.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Final

from sentinel.reference.ledger.domain.audit.entry import Row

# By which columns a row of each table is found: an id, and a leg where there are several.
IDS: Final[Mapping[str, tuple[str, str | None]]] = {
    "transactions": ("transaction_id", None),
    "entries": ("transaction_id", "leg"),
    "batches": ("batch_id", None),
    "holds": ("pending_id", None),
    "disbursements": ("pending_id", None),
    "accounts": ("", None),
}
# What a trail follows that does not say what it follows: it was begun before it did.
FIRST_FOLLOWED: Final = ("transactions", "entries", "holds", "batches")
# When a rail is asked next, and how often it was: a payment is asked for thousands of times, and nothing follows from it. And what
# became of its step, which the step's own transaction tells.
UNTOLD: Final[Mapping[str, frozenset[str]]] = {
    "disbursements": frozenset({"attempts", "next_at", "unbooked_reason", "corrected_by"})
}
# Of tables whose rows change: by which column one sees, after a gap, that the trail does not have a row as it is.
STATES: Final = frozenset({"holds", "disbursements"})


def told(relation: str, row: Row) -> Row:
    """Return what of a row the trail tells."""
    untold = UNTOLD.get(relation)
    if untold is None:
        return row
    return {name: value for name, value in row.items() if name not in untold}


def row_id(relation: str, row: Row) -> uuid.UUID | None:
    """Return the id of a row, of one that has its columns."""
    if relation == "accounts":
        tenant, account = row.get("tenant"), row.get("account_id")
        if tenant is None or account is None:
            return None
        return uuid.UUID(bytes=hashlib.sha256(f"{tenant}/{account}".encode()).digest()[:16])
    found = row.get(IDS.get(relation, ("", None))[0])
    return None if found is None else uuid.UUID(found)


def row_id_in_sql(relation: str, alias: str) -> str:
    """Return the same as an expression over the table `alias`."""
    if relation == "accounts":
        name = f"convert_to({alias}.tenant || '/' || {alias}.account_id, 'UTF8')"
        return f"encode(substring(sha256({name}) from 1 for 16), 'hex')::uuid"
    return f"{alias}.{IDS[relation][0]}"
