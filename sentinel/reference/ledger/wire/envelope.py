"""The message between edge and poster: versioned JSON; trace context travels in the headers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Final, TypeGuard

import orjson

from sentinel.reference.ledger.domain import (
    Batch,
    InvalidTransferError,
    Kind,
    PermanentError,
    Request,
    Step,
    Transfer,
    check_tenant,
    expire_step,
    items_of,
    parse_batch,
    parse_step,
    parse_transfer,
)
from sentinel.reference.ledger.domain.disbursement import OWN_KEYS, parse_payee
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT

VERSION: Final = 2
_BATCH: Final = "batch"
_BODY: Final = ("debit_account", "credit_account", "amount_minor", "currency", "expires_in_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What was asked, its tenant's cohort, and when the edge accepted it."""

    asked: Request | Batch
    cohort: int
    accepted_ns: int

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests to decide: one, or a batch's items in order."""
        return items_of(self.asked)


def asked_id(asked: Request | Batch) -> uuid.UUID:
    """Return the id under which its state is asked for."""
    return asked.batch_id if isinstance(asked, Batch) else asked.transaction_id


def message_id(asked: Request | Batch) -> str:
    """Return what the stream recognises it by, unlike any other tenant's and any other kind's.

    A tenant's name has neither colon nor slash, so the first of them ends it and says what the key is of: a batch and a
    transaction may have one key, and a tenant may be called `batch`.
    """
    return f"{asked.tenant}{'/' if isinstance(asked, Batch) else ':'}{asked.idempotency_key}"


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the message's payload."""
    asked = envelope.asked
    document: dict[str, object] = {
        "version": VERSION,
        "id": str(asked_id(asked)),
        "accepted_ns": envelope.accepted_ns,
        "cohort": envelope.cohort,
        "tenant": asked.tenant,
        "idempotency_key": asked.idempotency_key,
    }
    if isinstance(asked, Batch):
        document["kind"] = _BATCH
        document["items"] = [_body(item) for item in asked.items]
    elif isinstance(asked, Step):
        document["kind"] = asked.kind.value
        document["target_id"] = str(asked.target_id)
        if asked.amount_minor is not None:
            document["amount_minor"] = asked.amount_minor
    else:
        document["kind"] = asked.kind.value
        document.update(_body(asked))
        if asked.payee is not None:
            document["payee"] = {"account": asked.payee.account, "name": asked.payee.name}
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
        asked = _asked(document, tenant=tenant, key=key)
    except InvalidTransferError as error:
        raise _refused(code=error.code) from error
    except ValueError as error:
        raise _refused(code="invalid_kind") from error
    if document.get("id") != str(asked_id(asked)):
        raise _refused(code="foreign_id")
    return Envelope(asked=asked, cohort=cohort, accepted_ns=accepted_ns)


def transfer_subject(*, cohort: int, asked_id: uuid.UUID) -> str:
    """Return the subject it is published on; one a transaction or batch, so it can be looked up."""
    return f"ledger.c{cohort}.transfers.{asked_id}"


def dead_subject(transaction_id: str) -> str:
    """Return the subject on which a message that was given up is kept."""
    return f"ledger.dead.{transaction_id}"


def _asked(document: dict[str, object], *, tenant: str, key: str) -> Request | Batch:
    if document.get("kind") == _BATCH:
        body = {"items": document.get("items")}
        return parse_batch(tenant=tenant, idempotency_key=key, body=body)
    kind = Kind(str(document.get("kind")))
    if kind in (Kind.TRANSFER, Kind.PENDING):
        given = {name: document[name] for name in _BODY if name in document}
        transfer = parse_transfer(tenant=tenant, idempotency_key=key, body=given)
        if "payee" in document:
            transfer = replace(transfer, payee=parse_payee(document["payee"]))
        if transfer.kind is not kind or (transfer.payee is not None and kind is Kind.TRANSFER):
            raise _refused(code="invalid_kind")
        return transfer
    target, amount = document.get("target_id"), document.get("amount_minor")
    if not isinstance(target, str):
        raise _refused(code="no_target")
    if kind is Kind.EXPIRE:
        # The ledger's own, whose key no client's could be.
        attempt = int(key.rpartition(" ")[2])
        return expire_step(tenant=tenant, pending_id=uuid.UUID(target), attempt=attempt)
    if key.startswith(OWN_KEYS):
        # Likewise, of a disbursement.
        check_tenant(tenant)
        return Step(tenant=tenant, idempotency_key=key, kind=kind, target_id=uuid.UUID(target))
    posted = None if amount is None else {"amount_minor": amount}
    return parse_step(tenant=tenant, idempotency_key=key, kind=kind, target=target, body=posted)


def _body(transfer: Transfer) -> dict[str, object]:
    values = ((name, getattr(transfer, name)) for name in _BODY)
    return {name: value for name, value in values if value is not None}


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refused(*, code: str) -> PermanentError:
    message = f"undecodable message: {code}"
    return PermanentError(message, code=code)
