"""What is told of what was asked and is no transaction: a key that stands for another request, and a message that was given up.

Whoever asked was answered 202 and would wait for a decision that never comes. An id is made of what was asked, so that the same
message delivered again, or the same request made again, is told once.
"""

from __future__ import annotations

import uuid
from typing import Final

from sentinel.reference.ledger.domain import Batch, Request, Transfer
from sentinel.reference.ledger.posting.outbox import Told
from sentinel.reference.ledger.wire.envelope import asked_id
from sentinel.reference.ledger.wire.events import CONFLICT, FAILED

_NAMESPACE: Final = uuid.UUID("0d0f6a3e-3d3b-5c57-8d1e-6f7a52c6a1b4")
_TRACE_PARENT_SIZE_MAX: Final = 64
# As the edge answers whom it can answer at once.
_REASONS: Final = {CONFLICT: "idempotency_key_reused", FAILED: "dead_lettered"}


def conflict(asked: Request | Batch, trace_parent: str | None = None) -> Told:
    """Return what is told of a request whose key stands for another one."""
    return _told(CONFLICT, asked, trace_parent)


def failed(asked: Request | Batch, trace_parent: str | None = None) -> Told:
    """Return what is told of a message that was given up."""
    is_kept = trace_parent is not None and len(trace_parent) <= _TRACE_PARENT_SIZE_MAX
    return _told(FAILED, asked, trace_parent if is_kept else None)


def _told(kind: str, asked: Request | Batch, trace_parent: str | None) -> Told:
    mark = f"{kind}:{asked_id(asked)}:{asked.fingerprint}"
    return Told(
        event_id=uuid.uuid5(_NAMESPACE, mark),
        trace_parent=trace_parent,
        content={"type": kind, "tenant": asked.tenant, "data": _data(kind, asked)},
    )


def _data(kind: str, asked: Request | Batch) -> dict[str, object]:
    data: dict[str, object] = {
        "transaction_id": None,
        "kind": None,
        "reason": _REASONS[kind],
        "target_id": None,
        "batch_id": None,
        "debit_account": None,
        "credit_account": None,
        "amount_minor": None,
        "currency": None,
    }
    if isinstance(asked, Batch):
        # None of its items is posted: one word is enough for all of them.
        return data | {"batch_id": str(asked.batch_id)}
    data |= {"transaction_id": str(asked.transaction_id), "kind": asked.kind.value}
    if isinstance(asked, Transfer):
        return data | {
            "debit_account": asked.debit_account,
            "credit_account": asked.credit_account,
            "amount_minor": asked.amount_minor,
            "currency": asked.currency,
        }
    return data | {"target_id": str(asked.target_id), "amount_minor": asked.amount_minor}
