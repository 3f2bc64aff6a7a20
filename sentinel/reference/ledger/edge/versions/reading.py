"""What a request asks for, out of its body and whichever version it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sentinel.reference.ledger.domain import (
    Batch,
    InvalidTransferError,
    Kind,
    Request,
    parse_batch,
    parse_step,
    parse_transfer,
)
from sentinel.reference.ledger.domain.disbursement import parse_disbursement
from sentinel.reference.ledger.edge.versions.table import Write
from sentinel.reference.ledger.edge.versions.translate import from_v2, to_v2, told_in_v2

_STEPS: Final = {"post": Kind.POST, "void": Kind.VOID, "reverse": Kind.REVERSAL}


def read_write(
    write: Write,
    version: int,
    *,
    tenant: str,
    idempotency_key: str,
    target: str,
    body: object,
    told: int | None = None,
) -> Request | Batch:
    """Return what a write asks for.

    Args:
        write: which of the table's.
        version: 1 or 2, of the address it came to.
        tenant: who asks.
        idempotency_key: the request's key.
        target: the id in the path of a step, else empty.
        body: the decoded JSON, None when there was none.
        told: the version that the client speaks, where a gateway has made another of it.

    Raises:
        InvalidTransferError: a header, the path or a field is wrong, told by the names of the version.
    """
    if version == 1:
        # By way of version 2, for that is the one form that is read.
        fields = from_v2(write.form, to_v2(write.form, body))
        return _read(write, tenant, idempotency_key, target, fields)
    fields = from_v2(write.form, body)
    try:
        return _read(write, tenant, idempotency_key, target, fields)
    except InvalidTransferError as error:
        if told == 1:
            raise
        raise told_in_v2(write.form, error) from error


def _read(
    write: Write, tenant: str, idempotency_key: str, target: str, fields: object
) -> Request | Batch:
    if write.name in _STEPS:
        return parse_step(
            tenant=tenant,
            idempotency_key=idempotency_key,
            kind=_STEPS[write.name],
            target=target,
            body=fields,
        )
    parse = _PARSERS[write.name]
    return parse(tenant=tenant, idempotency_key=idempotency_key, body=fields)


_PARSERS: Final[Mapping[str, Callable[..., Request | Batch]]] = {
    "transfers": parse_transfer,
    "batches": parse_batch,
    "disbursements": parse_disbursement,
}
