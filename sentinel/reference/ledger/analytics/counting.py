"""What a batch of events adds to the days: a sum for each tenant, day, currency, kind and state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date

from sentinel.reference.ledger.wire.events import LedgerEvent

# cohort, tenant, day, currency, kind, state
Key = tuple[int, str, date, str, str, str]


@dataclass(slots=True)
class Sum:
    """How many transactions, and the sum of their amounts in minor units."""

    transactions_count: int = 0
    amount_minor: int = 0


def day_of(event: LedgerEvent) -> date:
    """Return the event's own day, in UTC: the same whenever it is told."""
    return event.occurred_at.astimezone(UTC).date()


def sums(events: Iterable[LedgerEvent]) -> dict[Key, Sum]:
    """Return the sums of events that differ, by key in ascending order.

    The order is that in which rows are locked, so that two consumers cannot wait for each other.
    """
    found: dict[Key, Sum] = {}
    for event in events:
        data = event.data
        key = (
            event.cohort,
            event.tenant,
            day_of(event),
            str(data["currency"] or ""),
            str(data["kind"]),
            str(data["state"]),
        )
        one = found.setdefault(key, Sum())
        one.transactions_count += 1
        one.amount_minor += data["amount_minor"] or 0
    return dict(sorted(found.items()))
