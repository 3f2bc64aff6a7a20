"""What the ledger tells others: an event for each transaction that was decided, on the stream LEDGER_EVENTS.

An event's id is its transaction's, so whoever reads it twice can tell; what was asked and is no transaction has an id of its own. Its `position` grows, within a cohort, in the order of
commits; the stream keeps that order unless a publish had to be repeated, and then positions say what it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from sentinel.reference.ledger.domain import PermanentError

EVENTS_STREAM: Final = "LEDGER_EVENTS"
EVENTS_SUBJECTS: Final = "ledger.events.>"
VERSION: Final = 1
POSTED: Final = "transaction.posted"
REJECTED: Final = "transaction.rejected"
CONFLICT: Final = "transaction.conflict"
FAILED: Final = "transaction.failed"
DECIDED: Final = frozenset({POSTED, REJECTED})
"""Of these there is a transaction; the others tell that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """One event as its reader sees it.

    Attributes:
        event_id: the transaction's id, or one of its own where there is none; the same when it is told again.
        type: `transaction.posted` or `transaction.rejected`, `transaction.conflict` or `transaction.failed`.
        position: grows within the cohort in the order of commits.
        occurred_at: when it was decided.
        data: transaction_id, kind, state, reason, target_id, batch_id, item, debit_account, credit_account, amount_minor,
            currency; those that the transaction has not are None. Of what is no transaction, the same without state and item.
    """

    event_id: uuid.UUID
    type: str
    tenant: str
    cohort: int
    position: int
    occurred_at: datetime
    data: Mapping[str, Any]


def event_subject(*, cohort: int, tenant: str, kind: str) -> str:
    """Return the subject of an event of this type (its dots are tokens of the subject)."""
    return f"ledger.events.c{cohort}.{tenant}.{kind}"


def event_type(state: str) -> str:
    """Return the type of the event of a transaction in this state.

    >>> event_type("posted")
    'transaction.posted'
    """
    return f"transaction.{state}"


def encode_event(event: LedgerEvent) -> bytes:
    """Return the message's payload."""
    return orjson.dumps(
        {
            "version": VERSION,
            "event_id": str(event.event_id),
            "type": event.type,
            "tenant": event.tenant,
            "cohort": event.cohort,
            "position": event.position,
            "occurred_at": event.occurred_at.astimezone(UTC),
            "data": dict(event.data),
        },
        option=orjson.OPT_UTC_Z,
    )


def decode_event(payload: bytes) -> LedgerEvent:
    """Return the event in `payload`.

    Raises:
        PermanentError: it is no event that this version understands.
    """
    try:
        document = orjson.loads(payload)
        if document["version"] != VERSION:
            message = f"an event of version {document['version']!r}"
            raise PermanentError(message, code="unknown_version")
        return LedgerEvent(
            event_id=uuid.UUID(document["event_id"]),
            type=str(document["type"]),
            tenant=str(document["tenant"]),
            cohort=int(document["cohort"]),
            position=int(document["position"]),
            occurred_at=datetime.fromisoformat(document["occurred_at"]),
            data=dict(document["data"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        message = "a message that is no event"
        raise PermanentError(message, code="no_event") from error
