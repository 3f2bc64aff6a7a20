"""Headers, ids in paths and parameters of queries that operations name."""

from __future__ import annotations

from typing import Any, Final

from sentinel.reference.ledger.domain.position import HEADER as POSITION
from sentinel.reference.ledger.domain.transfer import IDEMPOTENCY_KEY, KEY_LENGTH_MAX
from sentinel.reference.ledger.domain.webhooks.delivery import DeliveryState
from sentinel.reference.ledger.edge.contract.bodies import ACCOUNT
from sentinel.reference.ledger.edge.contract.shapes import UUID, one_of, whole
from sentinel.reference.ledger.edge.endpoint_routes import DELIVERIES_COUNT, DELIVERIES_COUNT_MAX


def _id(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
    }


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "TransactionId": _id(dict(UUID), "A transaction's id."),
    "BatchId": _id(dict(UUID), "A batch's id."),
    "AccountId": _id(ACCOUNT, "An account's id."),
    "ExportId": _id(dict(UUID), "An export's id."),
    "EndpointId": _id(dict(UUID), "A webhook endpoint's id."),
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "schema": whole(IDEMPOTENCY_KEY, minLength=1, maxLength=KEY_LENGTH_MAX),
        "description": "The client's own name for this request. Whoever repeats it gets the same id, and it is done once; with another body it is refused.",
    },
    "Position": {
        "name": POSITION,
        "in": "header",
        "schema": {"type": "string"},
        "description": "What an earlier answer carried in this header: this one is not older.",
    },
    "RequestMark": _query(
        "request",
        {"type": "string"},
        "Of a status URL: which request is asked about, should its key have been used for another.",
    ),
    "FirstItem": _query(
        "first_item",
        {"type": "integer", "minimum": 0, "maximum": 999_999, "default": 0},
        "The place at which the page of items begins, from 0.",
    ),
    "Part": _query(
        "part",
        {"type": "integer", "minimum": 1, "maximum": 999_999, "default": 1},
        "Which part's file, from 1.",
    ),
    "DeliveryState": _query(
        "state", one_of([state.value for state in DeliveryState]), "Only those that stand so."
    ),
    "DeliveriesLimit": _query(
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": DELIVERIES_COUNT_MAX,
            "default": DELIVERIES_COUNT,
        },
        "How many at most, the newest first.",
    ),
}
