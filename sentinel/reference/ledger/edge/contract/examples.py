"""Requests as they may be, by the schema of their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_FLAT: Final = {
    "debit_account": "alice",
    "credit_account": "bob",
    "amount_minor": 500,
    "currency": "EUR",
}
_MONEY: Final = {"minor": 500, "currency": "EUR"}
_TRANSFER: Final = {"debit_account": "alice", "credit_account": "bob", "amount": _MONEY}
_PAYEE: Final = {"account": "DE02120300000000202051", "name": "A. Person"}
_SALARY: Final = {**_TRANSFER, "credit_account": "carol"}

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "TransferRequest": {
        "at_once": _TRANSFER,
        "pending": {**_TRANSFER, "pending": {"expires_in_s": 600}},
    },
    "TransferRequestV1": {"at_once": _FLAT, "pending": {**_FLAT, "expires_in_s": 600}},
    "PostRequest": {"all": {}, "part": {"amount": {"minor": 300}}},
    "PostRequestV1": {"all": {}, "part": {"amount_minor": 300}},
    "EmptyRequest": {"nothing": {}},
    "BatchRequest": {"payroll": {"items": [_TRANSFER, _SALARY]}},
    "BatchRequestV1": {"payroll": {"items": [_FLAT, {**_FLAT, "credit_account": "carol"}]}},
    "DisbursementRequest": {
        "payment": {"debit_account": "alice", "amount": _MONEY, "payee": _PAYEE}
    },
    "DisbursementRequestV1": {
        "payment": {
            "debit_account": "alice",
            "amount_minor": 500,
            "currency": "EUR",
            "payee": _PAYEE,
        }
    },
    "WebhookEndpointRequest": {
        "everything": {"url": "https://hooks.example/ledger"},
        "some": {
            "url": "https://hooks.example/ledger",
            "event_types": ["transaction.rejected"],
            "signature": "v1a",
        },
    },
    "ExportRequest": {
        "october": {"from": "2026-10-01", "to": "2026-11-01"},
        "an_hour": {"from": "2026-11-02T08:00:00+01:00", "to": "2026-11-02T09:00:00+01:00"},
    },
    "RotationRequest": {"in_an_hour": {"overlap_s": 3600}},
}
