"""Goal: an endpoint hears of all that happens from its registration on, whatever clocks say; what the stream let go is counted.

Method: the process and the edge's register on real NATS and PostgreSQL; events whose positions and times are chosen, and a
stream that has room for one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import nats
import pytest

from sentinel.reference.ledger.telemetry import Event
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite
from tests.support.webhook_receiver import WebhookSite

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.webhook_fixtures")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def register(edge: LedgerSite, url: str) -> None:
    async with edge.http.post(
        "/v2/webhook_endpoints", json={"url": url}, headers={"X-Tenant": "shop"}
    ) as response:
        assert response.status == 201


async def test_what_came_after_the_registration_is_told_though_its_clock_says_before(
    webhook_site: WebhookSite, endpoints_site: LedgerSite
) -> None:
    site = webhook_site
    await register(endpoints_site, site.receiver.url + "/first")
    await site.execute("select setval('ledger.outbox_position', 41)")
    await register(endpoints_site, site.receiver.url + "/later")
    positions = await site.rows(
        "select registered_position from ledger.webhook_endpoints order by created_at"
    )
    assert [row["registered_position"] for row in positions] == [0, 41]
    process = await site.start()
    # The clock of whoever decides is a minute behind that of the database.
    late = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    (before,) = await site.publish(position=41, occurred_at="2999-01-01T00:00:00Z")
    (after,) = await site.publish(position=42, occurred_at=late)
    await eventually("all three", lambda: len(site.receiver.received), lambda count: count == 3)
    assert [one.message_id for one in site.receiver.at("/later")] == [after]
    assert {one.message_id for one in site.receiver.at("/first")} == {before, after}
    assert process.signals.totals["dropped", "before_registration"] == 1


async def test_what_the_stream_let_go_while_nobody_sent_is_counted(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    await site.start()
    (told,) = await site.publish()
    await eventually("told", lambda: len(site.receiver.received), lambda count: count == 1)
    await site.stop()
    client = await nats.connect(site.nats.url)
    try:
        config = (await client.jetstream().stream_info("LEDGER_EVENTS")).config
        config.max_msgs = 1
        await client.jetstream().update_stream(config)
        await site.publish(5)
        config.max_msgs = -1
        await client.jetstream().update_stream(config)
    finally:
        await client.close()
    process = await site.start()
    (last,) = await site.publish()
    await eventually("the last", lambda: len(site.receiver.received), lambda count: count == 3)
    assert site.receiver.received[0].message_id == told
    assert last in {one.message_id for one in site.receiver.received}
    assert process.signals.totals["missed", ""] == 4
    assert site.recorded.values("ledger.webhooks.missed") == {(): 4}
    assert site.recorded.events().count(Event.WEBHOOKS_MISSED) == 1


@pytest.mark.parametrize("kind", ["transaction.conflict", "transaction.failed"])
async def test_what_came_to_nothing_is_told_to_whoever_has_chosen_it(
    webhook_site: WebhookSite, kind: str
) -> None:
    site = webhook_site
    await site.endpoint("/all")
    await site.endpoint("/some")
    await site.execute(
        "update ledger.webhook_endpoints set event_types = '{transaction.posted}' where url like '%/some'"
    )
    await site.start()
    (undone,) = await site.publish(kind=kind, reason="dead_lettered")
    (done,) = await site.publish()
    await eventually("three", lambda: len(site.receiver.received), lambda count: count == 3)
    assert {one.message_id: one.document["type"] for one in site.receiver.at("/all")} == {
        undone: kind,
        done: "transaction.posted",
    }
    assert [one.message_id for one in site.receiver.at("/some")] == [done]
