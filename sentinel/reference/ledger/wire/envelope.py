"""The message between edge and poster: versioned JSON; trace context travels in the headers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

import orjson

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    PermanentError,
    Transfer,
    parse_transfer,
)

VERSION: Final = 1
_BODY: Final = ("debit_account", "credit_account", "amount_minor", "currency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A transfer and when the edge accepted it."""

    transfer: Transfer
    accepted_ns: int


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the message's payload."""
    transfer = envelope.transfer
    return orjson.dumps(
        {
            "version": VERSION,
            "transaction_id": str(transfer.transaction_id),
            "accepted_ns": envelope.accepted_ns,
            "tenant": transfer.tenant,
            "idempotency_key": transfer.idempotency_key,
            **{name: getattr(transfer, name) for name in _BODY},
        }
    )


def decode_envelope(payload: bytes) -> Envelope:
    """Return the envelope in `payload`, checked as strictly as the edge checks a request.

    Raises:
        PermanentError: the payload is not a message this version understands.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise _refused(code="not_json") from error
    if not isinstance(document, dict):
        raise _refused(code="not_an_object")
    if document.get("version") != VERSION:
        raise _refused(code="unknown_version")
    tenant, key = document.get("tenant"), document.get("idempotency_key")
    accepted_ns = document.get("accepted_ns")
    if not isinstance(tenant, str) or not isinstance(key, str):
        raise _refused(code="no_identity")
    if not isinstance(accepted_ns, int) or isinstance(accepted_ns, bool) or accepted_ns < 0:
        raise _refused(code="no_accepted_ns")
    body = {name: document[name] for name in _BODY if name in document}
    try:
        transfer = parse_transfer(tenant=tenant, idempotency_key=key, body=body)
    except InvalidTransferError as error:
        raise _refused(code=error.code) from error
    if document.get("transaction_id") != str(transfer.transaction_id):
        raise _refused(code="foreign_transaction_id")
    return Envelope(transfer=transfer, accepted_ns=accepted_ns)


def transfer_subject(transaction_id: uuid.UUID) -> str:
    """Return the subject a transfer is published on; one a transaction, so it can be looked up."""
    return f"ledger.transfers.{transaction_id}"


def dead_subject(transaction_id: str) -> str:
    """Return the subject on which a message that was given up is kept."""
    return f"ledger.dead.{transaction_id}"


def _refused(*, code: str) -> PermanentError:
    message = f"undecodable message: {code}"
    return PermanentError(message, code=code)
