"""Goal: a batch of events is summed by tenant, day, currency, kind and state, and an event is read as it was written.

Method: events as values.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from sentinel.reference.ledger.analytics import AnalyticsConfig
from sentinel.reference.ledger.analytics.counting import day_of, sums
from sentinel.reference.ledger.domain import LedgerError, PermanentError
from sentinel.reference.ledger.wire.events import LedgerEvent, decode_event, encode_event

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def event(*, tenant: str = "shop", occurred_at: datetime = NOON, **data: object) -> LedgerEvent:
    given: dict[str, Any] = {
        "kind": "transfer",
        "state": "posted",
        "currency": "EUR",
        "amount_minor": 100,
        **data,
    }
    return LedgerEvent(
        event_id=uuid.uuid4(),
        type=f"transaction.{given['state']}",
        tenant=tenant,
        cohort=1,
        position=7,
        occurred_at=occurred_at,
        data=given,
    )


def test_events_are_summed_by_what_they_are() -> None:
    found = sums(
        [
            event(),
            event(amount_minor=250),
            event(currency="USD"),
            event(state="rejected"),
            event(tenant="rival"),
            event(kind="void", amount_minor=None, currency=None),
        ]
    )
    day = date(2026, 11, 22)
    assert {key: (one.transactions_count, one.amount_minor) for key, one in found.items()} == {
        (1, "rival", day, "EUR", "transfer", "posted"): (1, 100),
        (1, "shop", day, "", "void", "posted"): (1, 0),
        (1, "shop", day, "EUR", "transfer", "posted"): (2, 350),
        (1, "shop", day, "EUR", "transfer", "rejected"): (1, 100),
        (1, "shop", day, "USD", "transfer", "posted"): (1, 100),
    }
    assert list(found) == sorted(found)


def test_a_day_is_the_events_own_in_utc() -> None:
    late = datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert day_of(event(occurred_at=late)) == date(2026, 11, 22)


def test_an_event_is_read_as_it_was_written() -> None:
    one = event(item=None)
    assert decode_event(encode_event(one)) == one


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "no_event"),
        (b"[]", "no_event"),
        (b'{"version": 1}', "no_event"),
        (b'{"version": 2}', "unknown_version"),
        (b'{"version": 1, "event_id": "x", "data": {}}', "no_event"),
    ],
)
def test_what_is_no_event_is_refused_by_name(payload: bytes, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        decode_event(payload)
    assert caught.value.code == code


def test_ids_cannot_be_forgotten_before_the_stream_forgets_the_event() -> None:
    with pytest.raises(LedgerError, match="at least 8"):
        AnalyticsConfig(remembered_days=7)
