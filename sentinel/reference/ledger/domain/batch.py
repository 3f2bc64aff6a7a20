"""A batch: transfers that are asked for together, under one key, and decided one by one.

A payroll of a thousand is one request and one message, so it is accepted whole or not at all; each of
its items has a transaction of its own, and one that lacks funds takes none of the others with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sentinel.reference.ledger.domain import identity
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import (
    BatchItem,
    Transfer,
    check_key,
    check_tenant,
    parse_transfer,
)

ITEMS_COUNT_MAX: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Transfers in the order of the request; each knows its place."""

    tenant: str
    idempotency_key: str
    items: tuple[Transfer, ...]
    # Derived once, as a transfer's.
    batch_id: uuid.UUID = field(init=False, compare=False, repr=False)
    fingerprint: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Derive id and mark."""
        own_id = identity.batch_id(tenant=self.tenant, idempotency_key=self.idempotency_key)
        marks = (item.fingerprint for item in self.items)
        object.__setattr__(self, "batch_id", own_id)
        object.__setattr__(
            self, "fingerprint", identity.mark(self.tenant, self.idempotency_key, *marks)
        )


def parse_batch(*, tenant: str, idempotency_key: str, body: object) -> Batch:
    """Return the batch that a decoded JSON body asks for: `{"items": [transfer, ...]}`.

    Raises:
        InvalidTransferError: a header or field is wrong; of an item it is named by its place,
            counted from 0, as `items[3].amount_minor`. The first fault found is told.
    """
    check_tenant(tenant)
    check_key(idempotency_key)
    if not isinstance(body, Mapping):
        raise InvalidTransferError(
            code="invalid_body", field="", message="The body must be a JSON object."
        )
    unknown = sorted(str(name) for name in body.keys() - {"items"})
    if unknown:
        raise InvalidTransferError(
            code="unknown_field",
            field=unknown[0][:64],
            message="The body has a field that is not known.",
        )
    items = body.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= ITEMS_COUNT_MAX:
        raise InvalidTransferError(
            code="invalid_field",
            field="items",
            message=f"items must be a list of 1 to {ITEMS_COUNT_MAX} transfers.",
        )
    batch_id = identity.batch_id(tenant=tenant, idempotency_key=idempotency_key)
    read = []
    for place, item in enumerate(items):
        try:
            read.append(
                parse_transfer(
                    tenant=tenant,
                    idempotency_key=idempotency_key,
                    body=item,
                    batch=BatchItem(batch_id=batch_id, place=place),
                )
            )
        except InvalidTransferError as error:
            raise error.within(place=f"items[{place}]") from error
    return Batch(tenant=tenant, idempotency_key=idempotency_key, items=tuple(read))
