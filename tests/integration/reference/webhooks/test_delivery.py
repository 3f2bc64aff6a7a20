"""Goal: an event reaches every endpoint of its tenant at least once, signed, whatever fails on the way.

Method: the process on real NATS and PostgreSQL, under its own role, and a receiver that answers as it is told. Signatures are
held against Standard Webhooks' own library and PyNaCl.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from base64 import b64decode
from typing import Any

import nats
import pytest
from nacl.signing import VerifyKey
from standardwebhooks import Webhook, WebhookVerificationError

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.domain.webhooks.asked import Signature
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.webhooks.fanout import FanoutConfig
from tests.support.ledger_run import eventually
from tests.support.webhook_receiver import QUICK, WebhookSite, quick

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.webhook_fixtures")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from sentinel.reference.ledger.telemetry import start_telemetry
from sentinel.reference.ledger.webhooks import Webhooks, dispatch
from sentinel.reference.ledger.webhooks.process import BY_INDEX
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.webhook_secrets import Opener
from tests.support.webhook_receiver import quick

async def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

dispatch.Dispatcher._note = die

async def main():
    queue = await Queue.connect(
        NatsConfig(url=os.environ["NATS"], ack_wait_s=2.0), name="dying", on_change=lambda *_: None)
    await queue.subscribe_events("webhooks")
    database = await Database.connect(
        PostgresConfig(url=os.environ["POSTGRES"]), application_name="dying", settings=BY_INDEX)
    process = Webhooks(quick(), queue=queue, database=database, opener=Opener.of_file(Path(os.environ["KEY"])),
                       telemetry=start_telemetry("dying", {}))
    await process.run(asyncio.Event())

asyncio.run(main())
"""


async def test_an_event_is_delivered_and_its_signature_holds(webhook_site: WebhookSite) -> None:
    site = webhook_site
    _, secret = await site.endpoint("/hmac")
    _, pair = await site.endpoint("/ed25519", signature=Signature.ED25519)
    _, foreign = await site.endpoint("/rival", tenant="rival")
    await site.start()
    (event_id,) = await site.publish(amount_minor=5)
    await eventually("both", lambda: len(site.receiver.received), lambda count: count == 2)
    (one,), (other,) = site.receiver.at("/hmac"), site.receiver.at("/ed25519")
    assert one.message_id == other.message_id == event_id
    assert one.document["type"] == "transaction.posted"
    assert one.document["data"]["amount_minor"] == 5
    assert Webhook(secret.secret).verify(one.body, one.headers) == one.document
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign.secret).verify(one.body, one.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.secret).verify(one.body + b" ", one.headers)
    assert pair.public_key is not None
    assert pair.public_key.startswith("whpk_")
    kind, _, signature = other.headers["webhook-signature"].partition(",")
    assert kind == "v1a"
    content = f"{event_id}.{other.headers['webhook-timestamp']}.".encode() + other.body
    VerifyKey(b64decode(pair.public_key.removeprefix("whpk_"))).verify(
        content, b64decode(signature)
    )
    await eventually(
        "both noted",
        site.deliveries,
        lambda rows: [row["state"] for row in rows] == ["delivered", "delivered"],
    )
    spans = [one for one in site.recorded.spans.get_finished_spans() if one.name == "POST webhook"]
    assert [one.attributes["http.response.status_code"] for one in spans if one.attributes] == [
        200,
        200,
    ]
    port = int(site.receiver.url.rpartition(":")[2])
    where = ("server.address", "server.port", "url.full", "peer.service")
    for span in spans:
        # Where it went; neither metrics nor whoever counts calls by peer has a name of a receiver.
        assert [dict(span.attributes or {})[name] for name in where] == [
            *("127.0.0.1", port),
            *(f"http://127.0.0.1:{port}/REDACTED", "webhook"),
        ]


async def test_what_fails_is_tried_again_with_the_same_id_and_a_new_signature(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    endpoint_id, secret = await site.endpoint("/hook")
    site.receiver.answer("/hook", 500)
    await site.start()
    (event_id,) = await site.publish()
    await eventually("two attempts", lambda: len(site.receiver.received), lambda count: count >= 2)
    assert await site.state_of(endpoint_id) == "failing"
    site.receiver.answer("/hook", 204)
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )
    assert {one.message_id for one in site.receiver.received} == {event_id}
    for one in site.receiver.received:
        Webhook(secret.secret).verify(one.body, one.headers)
    (row,) = await site.deliveries()
    assert row["attempts_count"] == len(site.receiver.received)
    assert (row["last_status"], row["last_reason"]) == (204, "ok")
    await eventually("active", lambda: site.state_of(endpoint_id), lambda state: state == "active")


async def test_attempts_are_used_up(webhook_site: WebhookSite) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    site.receiver.answer("/hook", 400)
    process = await site.start()
    await site.publish()
    await eventually(
        "failed", site.deliveries, lambda rows: [one["state"] for one in rows] == ["failed"]
    )
    assert len(site.receiver.received) == len(QUICK.schedule.waits_s)
    assert process.signals.totals["dropped", "used_up"] == 1
    assert process.signals.totals["attempts", "client_error"] == len(QUICK.schedule.waits_s)


async def test_a_process_that_is_killed_between_request_and_note_sends_it_again(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DYING,
        env={"NATS": site.nats.url, "POSTGRES": site.config.url, "KEY": str(site.keys[0])},
    )
    try:
        (event_id,) = await site.publish()
        assert await asyncio.wait_for(dying.wait(), timeout=60) == -signal.SIGKILL
    finally:
        if dying.returncode is None:
            dying.kill()
            await dying.wait()
    assert [one.message_id for one in site.receiver.received] == [event_id]
    assert [one["state"] for one in await site.deliveries()] == ["pending"]
    await site.start()
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )
    assert [one.message_id for one in site.receiver.received] == [event_id, event_id]


async def test_an_event_that_the_stream_delivers_twice_is_sent_once(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    await site.start()
    await site.publish()
    await eventually("the first", lambda: len(site.receiver.received), lambda count: count == 1)
    await site.stop()
    client = await nats.connect(site.nats.url)
    try:
        # The place in the stream is lost, as when somebody deletes the consumer: everything comes again.
        await client.jetstream().delete_consumer("LEDGER_EVENTS", "webhooks")
    finally:
        await client.close()
    await site.start()
    (last,) = await site.publish()
    await eventually(
        "the last", lambda: site.receiver.received[-1].message_id, lambda seen: seen == last
    )
    assert len(site.receiver.received) == 2


async def test_a_message_that_is_no_event_is_counted_and_holds_nothing_up(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    process = await site.start()
    client = await nats.connect(site.nats.url)
    try:
        for payload in (b"{", b"[]", b'{"version": 2}', b"\xff"):
            await client.jetstream().publish(
                f"ledger.events.c{new_cohort('shop')}.shop.x", payload
            )
        # Of a tenant without endpoints: nobody looks.
        await client.jetstream().publish(f"ledger.events.c{new_cohort('rival')}.rival.x", b"{")
    finally:
        await client.close()
    (event_id,) = await site.publish()
    await eventually(
        "the good one", lambda: [one.message_id for one in site.receiver.received], bool
    )
    assert [one.message_id for one in site.receiver.received] == [event_id]
    assert process.signals.totals["dropped", "unreadable"] == 4
    assert Event.WEBHOOKS_EVENT_UNREADABLE in site.recorded.events()


async def test_an_endpoints_queue_is_bounded_and_what_it_dropped_is_counted(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/full")
    site.receiver.answer("/full", 429, Retry_After="3600")
    await site.endpoint("/fine", tenant="rival")
    process = await site.start(quick(fanout=FanoutConfig(waiting_count_max=5)))
    await site.publish()
    await eventually("paused", lambda: len(site.receiver.at("/full")), lambda count: count == 1)
    await site.publish(9)
    await site.publish(5, tenant="rival")
    await eventually("the other", lambda: len(site.receiver.at("/fine")), lambda count: count == 5)

    async def counts() -> tuple[int, int]:
        (row,) = await site.rows(
            "select (select count(*) from ledger.webhook_deliveries where tenant = 'shop') as waiting, dropped_count"
            " from ledger.webhook_endpoints where tenant = 'shop'"
        )
        return row["waiting"], row["dropped_count"]

    _, dropped_count = await eventually("all ten", counts, lambda seen: sum(seen) == 10)
    # Roughly: what waits is counted again now and then, and events may come in between.
    assert 1 <= dropped_count <= 5
    assert process.signals.totals["dropped", "queue_full"] == dropped_count


async def test_what_ended_is_forgotten_by_age_and_by_number(webhook_site: WebhookSite) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    await site.start(quick(keep_count=2))
    await site.publish(6)
    await eventually("all", lambda: len(site.receiver.received), lambda count: count == 6)
    await eventually("two are kept", site.deliveries, lambda rows: len(rows) == 2)
    await site.execute("update ledger.webhook_deliveries set ended_at = now() - interval '2 days'")
    await eventually("none", site.deliveries, lambda rows: not rows)


async def test_what_waited_too_long_is_given_up(webhook_site: WebhookSite) -> None:
    site = webhook_site
    await site.endpoint("/hook")
    site.receiver.answer("/hook", 429, Retry_After="3600")
    process = await site.start()
    await site.publish()
    # Until its answer is noted, a moment after it was received: what is changed before that is changed back.
    await eventually("tried", site.deliveries, lambda rows: [one["last_status"] for one in rows] == [429])  # fmt: skip

    def rows_changed() -> Any:
        return site.execute(
            "update ledger.webhook_deliveries set created_at = now() - interval '8 days', next_at = now()"
        )

    await rows_changed()
    await eventually(
        "given up", site.deliveries, lambda rows: [one["state"] for one in rows] == ["failed"]
    )
    assert process.signals.totals["dropped", "expired"] == 1
