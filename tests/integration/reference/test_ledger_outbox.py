"""Goal: everything that is decided is told on LEDGER_EVENTS, once as far as its readers can see, in the order of commits.

Method: posters on real NATS and PostgreSQL from the wheels; the relay is cut off between publish and delete, the stream is taken
away and comes back, and the outbox is given less room than it needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.posting import BY_INDEX, PosterConfig
from sentinel.reference.ledger.posting.relay import Relay, RelayConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM, LedgerEvent, decode_event
from sentinel.reference.ledger.wire.nats import Outgoing, PublishResult, Queue, operator
from sentinel.reference.ledger.wire.postgres import Database
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOPS_COHORT = new_cohort("shop")


async def told(site: LedgerSite) -> list[LedgerEvent]:
    """What is on the stream, in its order."""
    async with operator(site.nats, name="test") as (_, stream):
        state = (await stream.stream_info(EVENTS_STREAM)).state
        numbers = range(state.first_seq, state.last_seq + 1)
        messages = [await stream.get_msg(EVENTS_STREAM, one) for one in numbers]
        return [decode_event(message.data or b"") for message in messages]


async def outbox_rows(site: LedgerSite) -> int:
    rows = await site.rows("select count(*)::int as n from ledger.outbox")
    return int(rows[0]["n"])


async def settle(site: LedgerSite, count: int) -> None:
    await eventually(
        "all decided",
        lambda: site.rows("select count(*)::int as n from ledger.transactions"),
        lambda rows: rows[0]["n"] == count,
    )


async def emptied(site: LedgerSite) -> None:
    await eventually("an empty outbox", lambda: outbox_rows(site), lambda count: count == 0)


async def relay_of(
    site: LedgerSite, queue_class: type[Queue] = Queue, config: RelayConfig | None = None
) -> Relay:
    queue = await queue_class.connect(site.nats, name="test", on_change=lambda what, detail: None)
    site.stack.push_async_callback(queue.close)
    database = await Database.connect(
        site.postgres, application_name="relay", settings=dict(BY_INDEX)
    )
    site.stack.push_async_callback(database.close)
    return Relay(
        config or RelayConfig(),
        cohorts=(SHOPS_COHORT,),
        queue=queue,
        database=database,
        telemetry=site.poster.telemetry,
    )


async def test_every_decision_is_told_once_and_in_the_order_of_commits(
    ledger_site: LedgerSite,
) -> None:
    # Two posters of one cohort, which commit in turns.
    await ledger_site.start_poster(PosterConfig(fetch_wait_s=0.2, batch_count_max=3))
    await ledger_site.start_poster(PosterConfig(fetch_wait_s=0.2, batch_count_max=3))
    for number in range(40):
        await ledger_site.transfer(f"in{number}", "external:bank", "alice", 10)
    await ledger_site.transfer("too-much", "alice", "bob", 10_000)
    await settle(ledger_site, 41)
    await emptied(ledger_site)
    events = await told(ledger_site)
    assert len({event.event_id for event in events}) == len(events) == 41
    positions = [event.position for event in events]
    assert positions == sorted(positions)
    versions = await ledger_site.rows(
        "select transaction_id, account_version from ledger.entries where account_id = 'alice' order by account_version"
    )
    posted = [event.event_id for event in events if event.type == "transaction.posted"]
    assert [row["transaction_id"] for row in versions] == posted
    refused = next(event for event in events if event.type == "transaction.rejected")
    assert refused.tenant == "shop"
    assert refused.cohort == SHOPS_COHORT
    assert refused.data == {
        "transaction_id": str(refused.event_id),
        "kind": "transfer",
        "state": "rejected",
        "reason": "insufficient_funds",
        "target_id": None,
        "batch_id": None,
        "item": None,
        "debit_account": "alice",
        "credit_account": "bob",
        "amount_minor": 10_000,
        "currency": "EUR",
    }


async def test_an_event_carries_the_trace_of_the_request_that_asked(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    for number in range(3):
        await ledger_site.transfer(f"t{number}", "external:bank", "alice", 10)
    await settle(ledger_site, 3)
    await emptied(ledger_site)
    async with operator(ledger_site.nats, name="test") as (_, stream):
        messages = [await stream.get_msg(EVENTS_STREAM, number) for number in (1, 2, 3)]
    carried = [(message.headers or {})["traceparent"].split("-")[1:3] for message in messages]
    requests = [
        one.context.trace_id
        for one in ledger_site.edge.spans.get_finished_spans()
        if one.name == "POST /v1/transfers" and one.context is not None
    ]
    deciding = [
        one.context.span_id
        for one in ledger_site.poster.spans.get_finished_spans()
        if one.name == "process ledger.transfers" and one.context is not None
    ]
    assert {int(trace, 16) for trace, _ in carried} == set(requests)
    assert {int(span, 16) for _, span in carried} == set(deciding)
    assert len(set(requests)) == len(set(deciding)) == 3


class CutOff(Queue):
    """Publishes, and is gone before anybody hears that it did."""

    async def publish_in_order(self, messages: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish, then end as a killed process does."""
        await super().publish_in_order(messages)
        raise asyncio.CancelledError


async def test_a_relay_that_dies_after_its_publish_tells_nothing_twice(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster(PosterConfig(relay=RelayConfig(interval_s=3600, pause_s=3600)))
    await ledger_site.transfer("k1", "external:bank", "alice", 10)
    await emptied(ledger_site)  # its first round; then it pauses
    for number in range(5):
        await ledger_site.transfer(f"again{number}", "external:bank", "alice", 10)
    await settle(ledger_site, 6)
    dying = await relay_of(ledger_site, CutOff)
    with pytest.raises(asyncio.CancelledError):
        await dying.round(SHOPS_COHORT)
    assert (await outbox_rows(ledger_site), len(await told(ledger_site))) == (5, 6)
    assert await (await relay_of(ledger_site)).round(SHOPS_COHORT) == 5
    assert (await outbox_rows(ledger_site), len(await told(ledger_site))) == (0, 6)


async def test_a_stream_that_is_away_stops_no_posting_and_gets_everything_later(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    async with operator(ledger_site.nats, name="test") as (_, stream):
        config = (await stream.stream_info(EVENTS_STREAM)).config
        await stream.delete_stream(EVENTS_STREAM)
        for number in range(5):
            await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
        await settle(ledger_site, 5)
        await eventually(
            "the relay's complaint",
            ledger_site.poster.events,
            lambda seen: "relay.failed" in seen,
        )
        assert await outbox_rows(ledger_site) == 5
        await stream.add_stream(config)
    await emptied(ledger_site)
    assert len(await told(ledger_site)) == 5


async def test_an_outbox_without_room_drops_the_oldest_and_says_how_many(
    ledger_site: LedgerSite,
) -> None:
    quiet = RelayConfig(interval_s=3600, pause_s=3600)
    await ledger_site.start_poster(PosterConfig(relay=quiet))
    await ledger_site.transfer("k0", "external:bank", "alice", 10)
    await emptied(ledger_site)
    for number in range(1, 9):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    await settle(ledger_site, 9)
    before = await ledger_site.rows("select position from ledger.outbox order by position")
    full = RelayConfig(rows_max=5, interval_s=3600, watch_interval_s=0.05)
    relay = asyncio.create_task((await relay_of(ledger_site, config=full)).run())
    await eventually("five rows", lambda: outbox_rows(ledger_site), lambda count: count == 5)
    relay.cancel()
    after = await ledger_site.rows("select position from ledger.outbox order by position")
    assert after == before[3:]
    logs = ledger_site.poster.logs.get_finished_logs()
    dropped: list[Any] = [one for one in logs if one.log_record.event_name == "relay.dropped"]
    assert [one.log_record.attributes["dropped_count"] for one in dropped] == [3]


async def test_how_much_of_the_stream_a_reader_has_not_read_is_told_by_whoever_writes(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    for number in range(6):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    await settle(ledger_site, 6)
    await emptied(ledger_site)
    reader = await Queue.connect(ledger_site.nats, name="test", on_change=lambda *_: None)
    ledger_site.stack.push_async_callback(reader.close)
    await reader.subscribe_events("webhooks")
    async with operator(ledger_site.nats, name="test") as (_, stream):
        config = (await stream.stream_info(EVENTS_STREAM)).config
        config.max_msgs = 8
        await stream.update_stream(config)
    relay = await relay_of(ledger_site, config=RelayConfig(watch_interval_s=0.05))
    running = asyncio.create_task(relay.run())
    try:

        def shares() -> dict[tuple[str, ...], float]:
            return ledger_site.poster.values("ledger.events.unread")

        await eventually("six of eight", shares, lambda seen: seen == {("webhooks",): 0.75})
        await reader.acknowledge(await reader.fetch_events(count_max=6, wait_s=2.0))
        await eventually("none", shares, lambda seen: seen == {("webhooks",): 0.0})
    finally:
        running.cancel()


async def test_the_intake_names_every_number_of_the_stream_and_what_became_of_it(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    for number in range(7):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    await ledger_site.transfer("too-much", "alice", "bob", 500)
    await settle(ledger_site, 8)
    rows = await ledger_site.rows("select * from ledger.intake order by first_sequence")
    numbers = [
        number for row in rows for number in range(row["first_sequence"], row["last_sequence"] + 1)
    ]
    assert numbers == list(range(1, 9))
    assert sum(row["posted_count"] for row in rows) == 7
    assert sum(row["rejected_count"] for row in rows) == 1
    assert sum(row["amount_minor"] for row in rows) == 570
