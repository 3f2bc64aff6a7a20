"""The bodies of requests, in either version, of the table by which the edge reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sentinel.reference.ledger.domain.batch import ITEMS_COUNT_MAX
from sentinel.reference.ledger.domain.disbursement import PAYEE_ACCOUNT, PAYEE_NAME_LENGTH_MAX
from sentinel.reference.ledger.domain.exports import PERIOD_DAYS_MAX, TIME
from sentinel.reference.ledger.domain.transfer import (
    ACCOUNT_ID,
    AMOUNT_MINOR_MAX,
    CURRENCY_CODE,
    EXPIRES_IN_S_MAX,
)
from sentinel.reference.ledger.domain.webhooks.asked import (
    DESCRIPTION_CHARS_MAX,
    OVERLAP_DEFAULT_S,
    OVERLAP_MAX_S,
    Signature,
)
from sentinel.reference.ledger.domain.webhooks.message import CHOOSABLE
from sentinel.reference.ledger.edge.contract.shapes import Schema, one_of, record, ref, whole
from sentinel.reference.ledger.edge.versions.table import WRITES, Form, Write

ACCOUNT: Final = whole(
    ACCOUNT_ID, description="An account's id; the first transfer that names it opens it."
)
CURRENCY: Final = whole(CURRENCY_CODE, description="As in ISO 4217.")
AMOUNT_MINOR: Final[Schema] = {
    "type": "integer",
    "format": "int64",
    "minimum": 1,
    "maximum": AMOUNT_MINOR_MAX,
    "description": "In the currency's minor unit, such as cents.",
}
# By the domain's names, which are those of version 1.
_FIELDS: Final[Mapping[str, Schema]] = {
    "debit_account": ACCOUNT,
    "credit_account": ACCOUNT,
    "amount_minor": AMOUNT_MINOR,
    "currency": CURRENCY,
    "expires_in_s": {
        "type": "integer",
        "minimum": 1,
        "maximum": EXPIRES_IN_S_MAX,
        "description": "With it the transfer is pending: the amount is reserved for so many seconds at most.",
    },
    "payee": ref("Payee"),
}
# Of each request, what may be left out.
_OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "transfers": frozenset({"expires_in_s"}),
    "post": frozenset({"amount_minor"}),
    "batches": frozenset({"expires_in_s"}),
}
_NAMES: Final = {
    "transfers": "TransferRequest",
    "post": "PostRequest",
    "void": "EmptyRequest",
    "reverse": "EmptyRequest",
    "batches": "BatchRequest",
    "disbursements": "DisbursementRequest",
}
# The objects that version 2 has fields in, by what is in them.
_OBJECTS: Final[Mapping[tuple[str, ...], str]] = {
    ("amount.minor", "amount.currency"): "Money",
    ("amount.minor",): "PostAmount",
    ("pending.expires_in_s",): "PendingTerms",
}


_TIME: Final = whole(
    TIME,
    description="A time with its zone, to the microsecond, or a date, which is its first moment in UTC.",
)
_EXPORT_BODIES: Final = {
    "ExportRequest": record(
        {"from": _TIME, "to": _TIME},
        closed=True,
        description=f"What was committed at or after `from` and before `to`: {PERIOD_DAYS_MAX} days at most, which are over.",
    )
}


def body_name(write: Write, version: int) -> str:
    """Return the name of the schema of a request's body."""
    name = _NAMES[write.name]
    return f"{name}V1" if version == 1 and write.form.moves else name


def body_schemas() -> dict[str, Schema]:
    """Return the schemas of all bodies, with the objects in them."""
    found: dict[str, Schema] = {
        "Payee": record(
            {
                "account": whole(PAYEE_ACCOUNT, description="As in ISO 13616."),
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": PAYEE_NAME_LENGTH_MAX,
                    "description": "Printable characters.",
                },
            },
            closed=True,
            description="Who is paid over a bank's rail.",
        )
    }
    for write in WRITES:
        for version in (1, 2):
            found |= _schemas(write, version)
    return {**found, **_webhook_bodies(), **_EXPORT_BODIES}


def _schemas(write: Write, version: int) -> dict[str, Schema]:
    optional = _OPTIONAL.get(write.name, frozenset())
    if not write.form.each:
        fields, inner = _object(write.form, version, optional)
        return {**inner, body_name(write, version): fields}
    # Its items are transfers, whose schema is there by the transfers' own.
    items = {
        "type": "array",
        "minItems": 1,
        "maxItems": ITEMS_COUNT_MAX,
        "items": ref("TransferRequestV1" if version == 1 else "TransferRequest"),
    }
    return {body_name(write, version): record({write.form.each: items}, closed=True)}


def _object(
    form: Form, version: int, optional: frozenset[str]
) -> tuple[Schema, dict[str, Schema]]:
    """Return a body's schema, and those of the objects in it."""
    if version == 1:
        fields = {name: _FIELDS[name] for name in form.fields}
        return record(fields, required=form.fields.keys() - optional, closed=True), {}
    places = {place: name for name, place in form.fields.items()}
    properties: dict[str, Schema] = {}
    required: set[str] = set()
    inner: dict[str, Schema] = {}
    for place, name in places.items():
        top, dot, _ = place.partition(".")
        if name not in optional:
            required.add(top)
        if not dot:
            properties[top] = _FIELDS[name]
        elif top not in properties:
            within = tuple(f"{top}.{one}" for one in form.objects[top])
            object_name = _OBJECTS[within]
            properties[top] = ref(object_name)
            inner[object_name] = record(
                {one.partition(".")[2]: _FIELDS[places[one]] for one in within}, closed=True
            )
    return record(properties, required=required, closed=True), inner


def _webhook_bodies() -> dict[str, Any]:
    return {
        "WebhookEndpointRequest": record(
            {
                "url": {
                    "type": "string",
                    "format": "uri",
                    "maxLength": 2048,
                    "description": "https, on a public address.",
                },
                "event_types": {
                    "type": "array",
                    "minItems": 1,
                    "items": one_of([kind.value for kind in CHOOSABLE]),
                    "description": "What it is told of; all when left out.",
                },
                "signature": {
                    **one_of([kind.value for kind in Signature]),
                    "default": Signature.HMAC.value,
                    "description": "HMAC-SHA256 by a shared secret (v1), or Ed25519 by a pair of keys (v1a).",
                },
                "description": {"type": "string", "maxLength": DESCRIPTION_CHARS_MAX},
            },
            required={"url"},
            closed=True,
        ),
        "RotationRequest": record(
            {
                "overlap_s": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": OVERLAP_MAX_S,
                    "default": OVERLAP_DEFAULT_S,
                    "description": "For how many seconds the secret before signs as well.",
                }
            },
            required=(),
            closed=True,
        ),
    }
