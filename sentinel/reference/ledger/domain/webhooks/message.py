"""What is sent: the body of an event, and the content that its signature is over.

The body is made once and kept, for a signature is over bytes: a second rendering of the same event need not be the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from sentinel.reference.ledger.domain.errors import PermanentError

BODY_BYTES_MAX: Final = 64 * 1024


class EventType(StrEnum):
    """What a tenant can be told of."""

    POSTED = "transaction.posted"
    REJECTED = "transaction.rejected"
    CONFLICT = "transaction.conflict"
    FAILED = "transaction.failed"
    DISABLED = "webhook_endpoint.disabled"
    TEST = "webhook_endpoint.test"


# What an endpoint that names none is told of; a test is sent when its owner asks, whatever it has chosen.
CHOOSABLE: Final = (
    EventType.POSTED,
    EventType.REJECTED,
    EventType.CONFLICT,
    EventType.FAILED,
    EventType.DISABLED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """One event of one tenant; `body` is what is sent, byte for byte."""

    event_id: uuid.UUID
    type: EventType
    tenant: str
    cohort: int
    occurred_at: datetime
    body: bytes


def make_event(
    *,
    event_id: uuid.UUID,
    kind: EventType,
    tenant: str,
    cohort: int,
    occurred_at: datetime,
    data: Mapping[str, Any],
) -> WebhookEvent:
    """Return an event with its body: `type`, `timestamp` and `data`, as Standard Webhooks would have it.

    Raises:
        PermanentError: it is larger than a webhook may be.
    """
    body = orjson.dumps(
        {"type": kind.value, "timestamp": occurred_at.astimezone(UTC), "data": dict(data)},
        option=orjson.OPT_UTC_Z,
    )
    if len(body) > BODY_BYTES_MAX:
        message = f"an event of {len(body)} bytes, of at most {BODY_BYTES_MAX}"
        raise PermanentError(message, code="event_too_large")
    return WebhookEvent(
        event_id=event_id,
        type=kind,
        tenant=tenant,
        cohort=cohort,
        occurred_at=occurred_at,
        body=body,
    )


def signed_content(message_id: str, timestamp_s: int, body: bytes) -> bytes:
    """Return the bytes that a signature is over.

    >>> signed_content("msg_1", 1614265330, b"{}")
    b'msg_1.1614265330.{}'
    """
    return b".".join((message_id.encode(), str(timestamp_s).encode(), body))
