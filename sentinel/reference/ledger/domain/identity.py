"""Names that are derived, so that asking again gives the same one, and marks of what was asked.

The edge answers before anything is posted, so no id can come from the database. A transaction's
comes from tenant and idempotency key, a batch's likewise, and an item's from its batch and place.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

_NAMESPACE: Final = uuid.UUID("8d9f3c52-6a0b-5b8e-9c1d-2f6f7a4c1e90")
_BATCHES: Final = uuid.UUID("3c1c7f0e-52d6-5a55-8d57-6f0b7a9a4f21")
_EXPORTS: Final = uuid.UUID("b7a4f1de-3a55-5c7e-9a43-5d0f4f6f2b18")


def transaction_id(*, tenant: str, idempotency_key: str) -> uuid.UUID:
    """Return the transaction's id, the same for every replay of the same key.

    A tenant holds no colon, so no two pairs make the same name.

    >>> transaction_id(tenant="shop", idempotency_key="order-1").version
    5
    """
    return uuid.uuid5(_NAMESPACE, f"{tenant}:{idempotency_key}")


def batch_id(*, tenant: str, idempotency_key: str) -> uuid.UUID:
    """Return the batch's id; a batch and a transaction may use one key and stay apart."""
    return uuid.uuid5(_BATCHES, f"{tenant}:{idempotency_key}")


def export_id(*, tenant: str, idempotency_key: str) -> uuid.UUID:
    """Return an export's id."""
    return uuid.uuid5(_EXPORTS, f"{tenant}:{idempotency_key}")


def item_id(batch: uuid.UUID, place: int) -> uuid.UUID:
    """Return the transaction's id of the item at `place`, counted from 0, of a batch.

    >>> one = batch_id(tenant="shop", idempotency_key="june")
    >>> item_id(one, 0) == item_id(one, 1)
    False
    """
    return uuid.uuid5(batch, str(place))


def mark(*parts: str) -> str:
    """Return 32 hex digits that differ when any part does; no part may hold a newline."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
