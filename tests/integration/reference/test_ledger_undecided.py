"""Goal: whoever was answered 202 hears that nothing came of it: a key that stands for another request, a message that was given up.

Method: posters on real NATS and PostgreSQL; messages as an edge sends them whose stream has forgotten the key, and a database that
refuses one amount. What is told is read off the stream; analytics reads it too.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.domain import Batch, Request, parse_batch, parse_transfer
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.posting import PosterConfig, outbox, undecided
from sentinel.reference.ledger.posting.outbox import Told
from sentinel.reference.ledger.wire.envelope import (
    Envelope,
    asked_id,
    encode_envelope,
    transfer_subject,
)
from sentinel.reference.ledger.wire.events import EVENTS_STREAM, LedgerEvent, decode_event
from sentinel.reference.ledger.wire.nats import Queue, operator
from sentinel.reference.ledger.wire.postgres import Database
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

COHORT = new_cohort("shop")
NOTHING = dict.fromkeys(
    (
        *("transaction_id", "kind", "target_id", "batch_id"),
        *("debit_account", "credit_account", "amount_minor", "currency"),
    )
)


def body(amount_minor: int, to: str = "alice") -> dict[str, object]:
    return {
        "debit_account": "external:bank",
        "credit_account": to,
        "amount_minor": amount_minor,
        "currency": "EUR",
    }


def transfer(key: str, amount_minor: int) -> Request:
    return parse_transfer(tenant="shop", idempotency_key=key, body=body(amount_minor))


def batch(key: str, *amounts: int) -> Batch:
    items = [body(amount) for amount in amounts]
    return parse_batch(tenant="shop", idempotency_key=key, body={"items": items})


async def ask(site: LedgerSite, *asked: Request | Batch) -> None:
    """Put each onto the stream as one that the stream has not seen."""
    queue = await Queue.connect(site.nats, name="test", on_change=lambda *_: None)
    try:
        for one in asked:
            envelope = Envelope(asked=one, cohort=COHORT, accepted_ns=1_700_000_000_000_000_000)
            await queue.publish(
                subject=transfer_subject(cohort=COHORT, asked_id=asked_id(one)),
                payload=encode_envelope(envelope),
                message_id=str(uuid.uuid4()),
                headers={},
            )
    finally:
        await queue.close()


async def told(site: LedgerSite, *types: str) -> list[LedgerEvent]:
    """Events of these types, once all of them are there."""

    async def look() -> Sequence[LedgerEvent]:
        async with operator(site.nats, name="test") as (_, stream):
            state = (await stream.stream_info(EVENTS_STREAM)).state
            if not state.messages:
                return []
            numbers = range(state.first_seq, state.last_seq + 1)
            messages = [await stream.get_msg(EVENTS_STREAM, one) for one in numbers]
            return [decode_event(one.data or b"") for one in messages]

    events = await eventually(
        str(types), look, lambda seen: sorted(one.type for one in seen) == sorted(types)
    )
    return [one for one in events if one.type != "transaction.posted"]


async def test_a_conflict_is_told_once_however_often_it_is_asked(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    first, second = transfer("k1", 500), transfer("k1", 501)
    await ask(ledger_site, first, second, second)
    (event,) = await told(ledger_site, "transaction.posted", "transaction.conflict")
    assert event.tenant == "shop"
    assert event.event_id not in (first.transaction_id, second.transaction_id)
    assert event.data == {
        **NOTHING,
        "reason": "idempotency_key_reused",
        "transaction_id": str(first.transaction_id),
        "kind": "transfer",
        "debit_account": "external:bank",
        "credit_account": "alice",
        "amount_minor": 501,
        "currency": "EUR",
    }
    # Another body under the same key is another word.
    await ask(ledger_site, transfer("k1", 502))
    events = await told(
        ledger_site, "transaction.posted", "transaction.conflict", "transaction.conflict"
    )
    assert [one.data["amount_minor"] for one in events] == [501, 502]


async def test_a_batch_whose_key_stands_for_another_list_is_waitingof_once(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    await ask(ledger_site, batch("june", 5), batch("june", 5, 6, 7))
    (event,) = await told(ledger_site, "transaction.posted", "transaction.conflict")
    assert event.data == {
        **NOTHING,
        "reason": "idempotency_key_reused",
        "batch_id": str(batch("june", 5).batch_id),
    }


async def test_what_is_given_up_is_waitingand_analytics_counts_what_was_decided(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.rows(
        "alter table ledger.transactions add constraint poison check (amount_minor <> 666)"
    )
    await site.start_poster(
        PosterConfig(fetch_wait_s=0.2, refusals_max=2, back_off_first_s=0.05, back_off_max_s=0.1)
    )
    given_up = transfer("poison", 666)
    await ask(site, transfer("k1", 5), given_up)
    (event,) = await told(site, "transaction.posted", "transaction.failed")
    assert event.data["transaction_id"] == str(given_up.transaction_id)
    assert (event.data["reason"], event.data["amount_minor"]) == ("dead_lettered", 666)
    rows = await site.rows("select sum(dead_count)::int as n from ledger.intake")
    assert rows == [{"n": 1}]

    queue = await Queue.connect(site.nats, name="test", on_change=lambda *_: None)
    site.stack.push_async_callback(queue.close)
    await queue.subscribe_events("analytics")
    database = await Database.connect(site.postgres, application_name="analytics")
    site.stack.push_async_callback(database.close)
    analytics = Analytics(
        AnalyticsConfig(), queue=queue, database=database, telemetry=site.poster.telemetry
    )
    await analytics.count(await queue.fetch_events(count_max=2, wait_s=2.0))
    assert await site.rows(
        "select state, transactions_count::int as n from ledger.analytics_daily"
    ) == [{"state": "posted", "n": 1}]
    assert site.poster.values("ledger.analytics.events") == {
        ("counted",): 1,
        ("undecided",): 1,
    }
    assert await queue.backlog() == (0, 0)


async def test_an_older_relay_does_not_delete_what_it_cannot_tell(ledger_site: LedgerSite) -> None:
    """Beside a poster of before migration 0016, which finds no transaction for such a row and takes it for told."""
    asked = transfer("k1", 500)
    waiting = Told(event_id=uuid.uuid4()), undecided.conflict(asked)
    database = await Database.connect(ledger_site.postgres, application_name="test")
    try:
        async with database.acquire() as connection, connection.transaction():
            await outbox.insert(connection, COHORT, waiting, created_at=datetime.now(UTC))
        async with database.acquire() as connection:
            positions = [
                row.position for row in await outbox.read(connection, COHORT, after=0, count_max=9)
            ]
            await connection.execute(
                "delete from ledger.outbox where cohort = $1 and position = any($2::bigint[])",
                COHORT,
                positions,
            )
            left = await outbox.read(connection, COHORT, after=0, count_max=9)
        assert [row.position for row in left] == positions[1:]
        await ledger_site.start_poster()
        (event,) = await told(ledger_site, "transaction.conflict")
        assert event.event_id == undecided.conflict(asked).event_id
        await eventually(
            "an empty outbox",
            lambda: ledger_site.rows("select position from ledger.outbox"),
            lambda rows: not rows,
        )
    finally:
        await database.close()


async def test_a_full_outbox_drops_what_has_a_content_too(ledger_site: LedgerSite) -> None:
    waiting = [undecided.conflict(transfer("k1", amount)) for amount in (1, 2, 3)]
    database = await Database.connect(ledger_site.postgres, application_name="test")
    try:
        async with database.acquire() as connection, connection.transaction():
            await outbox.insert(connection, COHORT, waiting, created_at=datetime.now(UTC))
        async with database.acquire() as connection:
            assert await outbox.trim(connection, COHORT, rows_max=1, count_max=9) == 2
            (left,) = await outbox.read(connection, COHORT, after=0, count_max=9)
        assert left.event is not None
        assert left.event.event_id == waiting[2].event_id
    finally:
        await database.close()
