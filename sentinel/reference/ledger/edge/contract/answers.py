"""What the edge answers when it is no problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sentinel.reference.ledger.domain.disbursement import DisbursementState, ReturnCode
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.domain.exports import ExportFailure, ExportState
from sentinel.reference.ledger.domain.posting import HoldState, RejectReason
from sentinel.reference.ledger.domain.transfer import Kind
from sentinel.reference.ledger.domain.webhooks.asked import Signature
from sentinel.reference.ledger.domain.webhooks.delivery import DeliveryState, Reason
from sentinel.reference.ledger.domain.webhooks.endpoint import EndpointState, Why
from sentinel.reference.ledger.domain.webhooks.message import EventType
from sentinel.reference.ledger.edge.contract.bodies import ACCOUNT, AMOUNT_MINOR, CURRENCY
from sentinel.reference.ledger.edge.contract.shapes import (
    COUNT,
    MOMENT,
    UUID,
    Schema,
    known,
    one_of,
    or_null,
    record,
    ref,
)
from sentinel.reference.ledger.edge.versions.table import READS, Read

_STATES: Final = {
    "pending": "accepted and not decided yet",
    "posted": "decided: it was done",
    "rejected": "decided: it was not done, `reason` says why",
    "failed": "given up, an operator has been told",
    "conflict": "what was asked under this key before was another request; nothing was done for this one",
}
_BATCH_STATES: Final = {
    "pending": "accepted and not decided yet",
    "decided": "each item is posted or rejected",
    "failed": "given up, an operator has been told",
    "conflict": "what was asked under this key before was another request; nothing was done for this one",
}
REASONS: Final = (*(one.value for one in RejectReason), "dead_lettered", "idempotency_key_reused")
REASON: Final = or_null(
    known(REASONS, "Why it was not done; null when it was, or is not decided.")
)
_STATUS_URL: Final = {
    "type": "string",
    "format": "uri-reference",
    "description": "Where to ask what became of it; it tells a request that was not done because its key was used before.",
}
_MOVEMENT: Final[Mapping[str, Schema]] = {
    "amount_minor": or_null(AMOUNT_MINOR),
    "currency": or_null(CURRENCY),
}


def answer_name(read: Read, version: int) -> str:
    """Return the name of the schema of what a read answers."""
    name = read.name.capitalize()
    return f"{name}V1" if version == 1 and read.answer.moves else name


def answer_schemas() -> dict[str, Schema]:
    """Return the schemas of all answers that are no problems."""
    made = {
        answer_name(read, version): _READS[read.name](read, version)
        for read in READS
        for version in (1, 2)
    }
    return {**_ACCEPTED, **made, **_PARTS, **_WEBHOOK_ENDPOINTS, **_EXPORTS, **_SERVICE}


def _transaction(read: Read, version: int) -> Schema:
    properties: dict[str, Schema] = {
        "transaction_id": dict(UUID),
        "state": one_of(_STATES, _told(_STATES)),
        "reason": REASON,
        "kind": one_of([kind.value for kind in Kind], "What it does."),
        "target_id": {**UUID, "description": "Of a step: the transaction that it is on."},
        "debit_account": or_null(ACCOUNT),
        "credit_account": or_null(ACCOUNT),
    }
    if version == 1 or not read.answer.moves:
        properties |= _MOVEMENT
    else:
        properties["amount"] = ref("TransactionAmount")
    properties |= {
        "accepted_at": dict(MOMENT),
        "posted_at": {**MOMENT, "description": "When it was decided."},
        "hold": ref("Hold"),
        "disbursement": ref("Disbursement"),
    }
    return record(
        properties,
        required={"transaction_id", "state", "reason"},
        description="A transaction as far as it is known: what is not decided has no times yet.",
    )


def _batch(_: Read, __: int) -> Schema:
    return record(
        {
            "batch_id": dict(UUID),
            "state": one_of(_BATCH_STATES, _told(_BATCH_STATES)),
            "reason": REASON,
            "accepted_at": dict(MOMENT),
            "items_count": {**COUNT, "description": "How many the batch has, on all pages."},
            "posted_count": dict(COUNT),
            "rejected_count": dict(COUNT),
            "items": {
                "type": "array",
                "items": ref("BatchItem"),
                "description": "A page of them, from `first_item` on; none before they are decided.",
            },
        },
        required={"batch_id", "state"},
    )


def _balance(_: Read, __: int) -> Schema:
    money = {"type": "integer", "format": "int64"}
    return record(
        {
            "account_id": ACCOUNT,
            "currency": CURRENCY,
            "balance_minor": money,
            "available_minor": {
                **money,
                "description": "The balance without what pending transfers reserve.",
            },
            "version": {**COUNT, "description": "How many entries the account has."},
        }
    )


def _told(states: Mapping[str, str]) -> str:
    return "; ".join(f"`{state}`: {meaning}" for state, meaning in states.items()) + "."


_READS: Final = {"transaction": _transaction, "batch": _batch, "balance": _balance}

_ACCEPTED: Final[Mapping[str, Schema]] = {
    "TransactionAccepted": record({"transaction_id": dict(UUID), "status_url": _STATUS_URL}),
    "BatchAccepted": record({"batch_id": dict(UUID), "status_url": _STATUS_URL}),
}
_PARTS: Final[Mapping[str, Schema]] = {
    "BatchItem": record(
        {
            "item": {**COUNT, "description": "Its place in the request, from 0."},
            "transaction_id": dict(UUID),
            "state": one_of(("posted", "rejected")),
            "reason": REASON,
        }
    ),
    # Objects of their own: those of requests take nothing more, and answers may say more one day.
    "TransactionAmount": record({"minor": AMOUNT_MINOR, "currency": CURRENCY}),
    "DisbursementPayee": record({"account": {"type": "string"}, "name": {"type": "string"}}),
    "Hold": record(
        {
            "state": one_of([state.value for state in HoldState]),
            "expires_at": {
                **MOMENT,
                "description": "When it is freed by itself; that of a payment over a bank's rail is not, and waits for the bank.",
            },
            "resolved_by": {
                **or_null(UUID),
                "description": "The transaction that posted, voided or expired it.",
            },
        },
        description="What a pending transfer has reserved.",
    ),
    "Disbursement": record(
        {
            "state": one_of([state.value for state in DisbursementState]),
            "return_code": or_null(
                known([code.value for code in ReturnCode], "Why the bank sent it back; else null.")
            ),
            "unbooked_reason": or_null(
                {
                    "type": "string",
                    "description": "Why what the bank has said is not in the books; null as a rule. A person is told.",
                }
            ),
            "payee": ref("DisbursementPayee"),
        },
        description="Where a payment over a bank's rail stands.",
    ),
}

_ENDPOINT: Final[Mapping[str, Any]] = {
    "endpoint_id": dict(UUID),
    "url": {"type": "string", "format": "uri"},
    "description": {"type": "string"},
    "event_types": {
        "type": "array",
        "items": known([kind.value for kind in EventType], "What it is told of."),
    },
    "signature": one_of([kind.value for kind in Signature]),
    "public_key": or_null(
        {"type": "string", "description": "What its Ed25519 signatures are checked by; else null."}
    ),
    "state": one_of([state.value for state in EndpointState]),
    "failing_since": or_null(MOMENT),
    "failures_count": dict(COUNT),
    "paused_until": or_null(MOMENT),
    "disabled_because": or_null(
        known([why.value for why in Why], "Why it was disabled; null when it is not.")
    ),
    "dropped_count": {**COUNT, "description": "How many events it was not told of."},
    "created_at": dict(MOMENT),
    "previous_secret_until": or_null(
        {**MOMENT, "description": "Until when the secret before signs as well; else null."}
    ),
}
_SECRET: Final = {
    "type": "string",
    "description": "Shown in this answer and never again; of `v1` alone, for of a pair the private half is nobody's.",
}
_WEBHOOK_ENDPOINTS: Final[Mapping[str, Schema]] = {
    "WebhookEndpoint": record(_ENDPOINT),
    "WebhookEndpointWithSecret": record(
        {**_ENDPOINT, "secret": _SECRET}, required=_ENDPOINT.keys()
    ),
    "WebhookEndpoints": record({"endpoints": {"type": "array", "items": ref("WebhookEndpoint")}}),
    "WebhookTest": record({"delivery_id": dict(UUID), "event_id": dict(UUID)}),
    "WebhookDelivery": record(
        {
            "delivery_id": dict(UUID),
            "event_id": {**UUID, "description": "The header `webhook-id` of each attempt."},
            "type": known([kind.value for kind in EventType], "What it tells of."),
            "state": one_of([state.value for state in DeliveryState]),
            "attempts_count": dict(COUNT),
            "last_status": or_null(
                {"type": "integer", "description": "The last answer's HTTP status; else null."}
            ),
            "last_reason": or_null(
                known([reason.value for reason in Reason], "How the last attempt went; else null.")
            ),
            "created_at": dict(MOMENT),
            "last_at": or_null(MOMENT),
            "ended_at": or_null(MOMENT),
            "next_at": or_null(MOMENT),
        }
    ),
    "WebhookDeliveries": record(
        {"deliveries": {"type": "array", "items": ref("WebhookDelivery")}}
    ),
}
_SHA256: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_EXPORT: Final[Mapping[str, Any]] = {
    "export_id": dict(UUID),
    "state": one_of([state.value for state in ExportState]),
    "from": dict(MOMENT),
    "to": dict(MOMENT),
    "asked_at": dict(MOMENT),
    "ended_at": or_null(MOMENT),
    "reason": known([why.value for why in ExportFailure], "Of one that failed: why."),
    "detail": {"type": "string", "description": "Of one that failed: why, for a person."},
    "entries_count": {**COUNT, "description": "Entries of the trail in all parts."},
    "bytes_count": {**COUNT, "description": "The size of all parts' files."},
    "sha256": {**_SHA256, "description": "Of the first part's file."},
    "checkpoint_size": {**COUNT, "description": "Of the tree that its proofs lead to."},
    "file_url": {
        "type": "string",
        "format": "uri-reference",
        "description": "Of one that is done: the first part's.",
    },
    "parts": {
        "type": "array",
        "items": ref("ExportPart"),
        "description": "Of one that is done: its files, each of which is verified by itself, and all of which are the period.",
    },
    "expires_at": {**MOMENT, "description": "Until when the files are kept."},
}
_EXPORT_ALWAYS: Final = frozenset({"export_id", "state", "from", "to", "asked_at", "ended_at"})
_EXPORTS: Final[Mapping[str, Schema]] = {
    "Export": record(_EXPORT, required=_EXPORT_ALWAYS),
    "ExportAccepted": record(
        {**_EXPORT, "status_url": _STATUS_URL}, required=_EXPORT_ALWAYS | {"status_url"}
    ),
    "ExportPart": record(
        {
            "part": {"type": "integer", "minimum": 1, "description": "Its number."},
            "entries_count": {**COUNT, "description": "Entries of the trail in its file."},
            "bytes_count": {**COUNT, "description": "Its file's size."},
            "sha256": {**_SHA256, "description": "Its file's."},
            "file_url": {"type": "string", "format": "uri-reference"},
        }
    ),
    "Exports": record({"exports": {"type": "array", "items": ref("Export")}}),
    "ExportFile": {
        "type": "string",
        "format": "binary",
        "description": "Lines of JSON: what it is, the entries with a proof each, the signed checkpoint, the end.",
    },
}
_SERVICE: Final[Mapping[str, Schema]] = {
    "Health": record(
        {"status": one_of(("ok",)), "durability": one_of(tuple(str(one) for one in Durability))}
    ),
    "Contract": {"type": "object", "description": "An OpenAPI 3.1 document: this one."},
}
