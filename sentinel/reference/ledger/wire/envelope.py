"""The message between edge and poster: versioned JSON; trace context travels in the headers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

import orjson

from sentinel.reference.ledger.domain import (
    BatchItem,
    InvalidTransferError,
    Kind,
    PermanentError,
    Request,
    Step,
    Transfer,
    expire_step,
    parse_step,
    parse_transfer,
)
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT

VERSION: Final = 2
_BODY: Final = ("debit_account", "credit_account", "amount_minor", "currency", "expires_in_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request, its tenant's cohort, and when the edge accepted it."""

    request: Request
    cohort: int
    accepted_ns: int


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the message's payload."""
    request = envelope.request
    document: dict[str, object] = {
        "version": VERSION,
        "transaction_id": str(request.transaction_id),
        "accepted_ns": envelope.accepted_ns,
        "cohort": envelope.cohort,
        "tenant": request.tenant,
        "idempotency_key": request.idempotency_key,
        "kind": request.kind.value,
    }
    if isinstance(request, Step):
        document["target_id"] = str(request.target_id)
        if request.amount_minor is not None:
            document["amount_minor"] = request.amount_minor
    else:
        values = ((name, getattr(request, name)) for name in _BODY)
        document.update((name, value) for name, value in values if value is not None)
        if request.batch is not None:
            document["batch_id"] = str(request.batch.batch_id)
            document["item"] = request.batch.place
    return orjson.dumps(document)


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
    accepted_ns, cohort = document.get("accepted_ns"), document.get("cohort")
    if not _is_count(accepted_ns):
        raise _refused(code="no_accepted_ns")
    if not _is_count(cohort) or cohort >= COHORTS_COUNT:
        raise _refused(code="no_cohort")
    tenant, key = document.get("tenant"), document.get("idempotency_key")
    if not isinstance(tenant, str) or not isinstance(key, str):
        raise _refused(code="no_identity")
    try:
        kind = Kind(document.get("kind"))
        request = _request(document, kind=kind, tenant=tenant, key=key)
    except InvalidTransferError as error:
        raise _refused(code=error.code) from error
    except ValueError as error:
        raise _refused(code="invalid_kind") from error
    if document.get("transaction_id") != str(request.transaction_id) or request.kind is not kind:
        raise _refused(code="foreign_transaction_id")
    return Envelope(request=request, cohort=cohort, accepted_ns=accepted_ns)


def transfer_subject(*, cohort: int, transaction_id: uuid.UUID) -> str:
    """Return the subject a request is published on; one a transaction, so it can be looked up."""
    return f"ledger.c{cohort}.transfers.{transaction_id}"


def dead_subject(transaction_id: str) -> str:
    """Return the subject on which a message that was given up is kept."""
    return f"ledger.dead.{transaction_id}"


def _request(document: dict[str, object], *, kind: Kind, tenant: str, key: str) -> Request:
    if kind in (Kind.TRANSFER, Kind.PENDING):
        return _transfer(document, tenant=tenant, key=key)
    target, amount = document.get("target_id"), document.get("amount_minor")
    if not isinstance(target, str):
        raise _refused(code="no_target")
    if kind is Kind.EXPIRE:
        # The ledger's own, whose key no client's could be.
        attempt = int(key.rpartition(" ")[2])
        return expire_step(tenant=tenant, pending_id=uuid.UUID(target), attempt=attempt)
    body = None if amount is None else {"amount_minor": amount}
    return parse_step(tenant=tenant, idempotency_key=key, kind=kind, target=target, body=body)


def _transfer(document: dict[str, object], *, tenant: str, key: str) -> Transfer:
    batch, place = document.get("batch_id"), document.get("item")
    item = None
    if batch is not None:
        if not isinstance(batch, str) or not isinstance(place, int):
            raise _refused(code="invalid_item")
        item = BatchItem(batch_id=uuid.UUID(batch), place=place)
    body = {name: document[name] for name in _BODY if name in document}
    return parse_transfer(tenant=tenant, idempotency_key=key, body=body, batch=item)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refused(*, code: str) -> PermanentError:
    message = f"undecodable message: {code}"
    return PermanentError(message, code=code)
