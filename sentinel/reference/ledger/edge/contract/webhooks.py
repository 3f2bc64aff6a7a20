"""What the ledger asks of its clients: one webhook for each type of event, as Standard Webhooks has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sentinel.reference.ledger.domain.transfer import Kind
from sentinel.reference.ledger.domain.webhooks.endpoint import Why
from sentinel.reference.ledger.domain.webhooks.message import EventType
from sentinel.reference.ledger.edge.contract.answers import REASON
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

_DATA: Final[Mapping[EventType, str]] = {
    EventType.POSTED: "TransactionEventData",
    EventType.REJECTED: "TransactionEventData",
    EventType.CONFLICT: "TransactionUndecidedEventData",
    EventType.FAILED: "TransactionUndecidedEventData",
    EventType.DISABLED: "WebhookEndpointDisabledData",
    EventType.TEST: "WebhookEndpointTestData",
}
_TOLD: Final[Mapping[EventType, str]] = {
    EventType.POSTED: "A transaction was decided, and done",
    EventType.REJECTED: "A transaction was decided, and not done",
    EventType.CONFLICT: "A request is not done, for its idempotency key stands for another one",
    EventType.FAILED: "A request that was accepted was given up, and not done",
    EventType.DISABLED: "An endpoint of the tenant takes no events any more",
    EventType.TEST: "Somebody asked for a test of this endpoint",
}
_HEADERS: Final = {
    "webhook-id": {
        "schema": {"type": "string"},
        "description": "The event's id, the same for each attempt: what came twice is told by it.",
    },
    "webhook-timestamp": {
        "schema": {"type": "integer"},
        "description": "Unix seconds of this attempt.",
    },
    "webhook-signature": {
        "schema": {"type": "string"},
        "description": "Signatures of `id.timestamp.body`, separated by spaces; one of them is by the endpoint's secret.",
    },
}
_ANSWERS: Final = {
    "2XX": {"description": "Taken. Anything else is tried again, later and later."},
    "410": {"description": "Never again: the endpoint is disabled."},
    "429": {
        "description": "Too much: there is a pause, as long as `Retry-After` asks for. So it is at 502 and 504."
    },
}

_SCHEMAS: Final[Mapping[str, Schema]] = {
    "TransactionEventData": record(
        {
            "transaction_id": dict(UUID),
            "kind": one_of([kind.value for kind in Kind]),
            "state": one_of(("posted", "rejected")),
            "reason": REASON,
            "target_id": or_null(UUID),
            "batch_id": or_null(UUID),
            "item": or_null(COUNT),
            "debit_account": or_null(ACCOUNT),
            "credit_account": or_null(ACCOUNT),
            "amount_minor": or_null(AMOUNT_MINOR),
            "currency": or_null(CURRENCY),
        },
        description="What does not apply to the transaction is null.",
    ),
    "TransactionUndecidedEventData": record(
        {
            "transaction_id": or_null(UUID),
            "kind": or_null(known([kind.value for kind in Kind], "What was asked for.")),
            "reason": known(("idempotency_key_reused", "dead_lettered"), "Why it is not done."),
            "target_id": or_null(UUID),
            "batch_id": or_null(UUID),
            "debit_account": or_null(ACCOUNT),
            "credit_account": or_null(ACCOUNT),
            "amount_minor": or_null(AMOUNT_MINOR),
            "currency": or_null(CURRENCY),
        },
        description=(
            "What was asked for and is not done. Of a batch, none of whose items is, `batch_id` alone; else what applies, and "
            "`batch_id` is null. Under the id of a conflict there may be a transaction: that of the request which had the key first."
        ),
    ),
    "WebhookEndpointDisabledData": record(
        {
            "endpoint_id": dict(UUID),
            "url": {"type": "string", "format": "uri"},
            "reason": known([why.value for why in Why], "Why."),
        }
    ),
    "WebhookEndpointTestData": record({"endpoint_id": dict(UUID)}),
}


def event_name(kind: EventType) -> str:
    """Return the name of the schema of an event.

    >>> event_name(EventType.POSTED)
    'TransactionPostedEvent'
    """
    words = kind.value.replace(".", "_").split("_")
    return "".join(word.capitalize() for word in words) + "Event"


def webhook_schemas() -> dict[str, Schema]:
    """Return the schemas of all events, and of them together."""
    events = {
        event_name(kind): record(
            {
                "type": one_of((kind.value,)),
                "timestamp": {**MOMENT, "description": "When it happened."},
                "data": ref(_DATA[kind]),
            },
            description=f"{_TOLD[kind]}.",
        )
        for kind in EventType
    }
    any_event = {
        "oneOf": [ref(name) for name in events],
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind.value: ref(event_name(kind))["$ref"] for kind in EventType},
        },
    }
    return {**_SCHEMAS, **events, "WebhookEvent": any_event}


def webhooks() -> dict[str, Any]:
    """Return the document's section of webhooks."""
    return {
        kind.value: {
            "post": {
                "operationId": f"on{event_name(kind).removesuffix('Event')}",
                "summary": _TOLD[kind],
                "tags": ["Webhooks"],
                "security": [],
                "parameters": [
                    {"name": name, "in": "header", "required": True, **header}
                    for name, header in _HEADERS.items()
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": ref(event_name(kind))}},
                },
                "responses": _ANSWERS,
            }
        }
        for kind in EventType
    }
