"""Goal: an endpoint that is slow, broken, throttling or gone is treated as it asks for, and costs nobody else anything.

Method: the process on real NATS and PostgreSQL, and a receiver each of whose paths answers in a way of its own.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from sentinel.reference.ledger.domain.webhooks.asked import Signature
from sentinel.reference.ledger.domain.webhooks.endpoint import Patience
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.webhooks.sender import SenderConfig
from tests.support.ledger_run import eventually
from tests.support.webhook_receiver import QUICK, WebhookSite, quick

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.webhook_fixtures")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_one_that_is_slow_holds_up_nobody_and_itself_within_bounds(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    gate, at_once_count, most_count = asyncio.Event(), 0, 0

    async def hang() -> web.StreamResponse:
        nonlocal at_once_count, most_count
        at_once_count += 1
        most_count = max(most_count, at_once_count)
        await gate.wait()
        at_once_count -= 1
        return web.Response()

    await site.endpoint("/slow")
    site.receiver.answers["/slow"] = hang
    await site.endpoint("/fine")
    await site.start(quick(dispatch=replace(QUICK, endpoint_attempts_max=3, lost_after_s=60.0)))
    await site.publish(10)
    await eventually("the fine one", lambda: len(site.receiver.at("/fine")), lambda n: n == 10)
    assert most_count == 3
    gate.set()
    await eventually("the slow one", lambda: len(site.receiver.at("/slow")), lambda n: n == 10)
    assert most_count == 3


async def test_one_that_answers_too_late_has_failed(webhook_site: WebhookSite) -> None:
    site = webhook_site
    gate = asyncio.Event()

    async def hang() -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    endpoint_id, _ = await site.endpoint("/late")
    site.receiver.answers["/late"] = hang
    process = await site.start(quick(sender=SenderConfig(timeout_s=0.3, connect_timeout_s=0.3)))
    try:
        await site.publish()
        await eventually(
            "failing", lambda: site.state_of(endpoint_id), lambda state: state == "failing"
        )
        assert process.signals.totals["attempts", "timeout"] >= 1
    finally:
        gate.set()


async def test_one_that_is_gone_is_disabled_at_once_and_the_others_are_told(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    endpoint_id, _ = await site.endpoint("/gone")
    await site.endpoint("/other")
    await site.endpoint("/rival", tenant="rival")
    site.receiver.answer("/gone", 410)
    process = await site.start()
    await site.publish()
    told = await eventually(
        "told", lambda: site.receiver.at("/other"), lambda received: len(received) == 2
    )
    document = told[1].document
    assert document["type"] == "webhook_endpoint.disabled"
    assert document["data"]["endpoint_id"] == str(endpoint_id)
    assert document["data"]["reason"] == "gone"
    assert await site.state_of(endpoint_id) == "disabled"
    assert process.signals.totals["disabled", "gone"] == 1
    assert Event.WEBHOOKS_ENDPOINT_DISABLED in site.recorded.events()
    await site.publish()
    await eventually("the next", lambda: len(site.receiver.at("/other")), lambda n: n == 3)
    assert len(site.receiver.at("/gone")) == 1
    assert process.signals.totals["dropped", "disabled"] == 1
    assert not site.receiver.at("/rival")


async def test_one_that_fails_for_long_is_disabled_and_goes_on_when_it_is_enabled(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    endpoint_id, _ = await site.endpoint("/hook")
    site.receiver.answer("/hook", 503)
    patience = Patience(disable_after_s=0.25, pause_first_s=0.1, pause_max_s=0.1)
    process = await site.start(quick(dispatch=replace(QUICK, patience=patience)))
    (event_id,) = await site.publish()
    await eventually(
        "disabled", lambda: site.state_of(endpoint_id), lambda state: state == "disabled"
    )
    assert process.signals.totals["disabled", "failed_long"] == 1
    count = len(site.receiver.received)
    site.receiver.answer("/hook", 200)
    # What waited for it is kept: it had one attempt left.
    await site.execute(
        "update ledger.webhook_deliveries set state = 'pending', ended_at = null, attempts_count = 1, next_at = now()"
    )
    await asyncio.sleep(0.3)
    assert len(site.receiver.received) == count
    await site.execute(
        "update ledger.webhook_endpoints set state = 'active', failing_since = null, failures_count = 0, disabled_because = null"
    )
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )
    assert site.receiver.received[-1].message_id == event_id


async def test_one_that_asks_to_be_left_alone_is_for_as_long_as_it_says(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    endpoint_id, _ = await site.endpoint("/hook")
    site.receiver.answer("/hook", 429, Retry_After="2")
    await site.start()
    await site.publish()
    await eventually(
        "throttled", lambda: site.state_of(endpoint_id), lambda state: state == "throttled"
    )
    site.receiver.answer("/hook", 200)
    # Not even what comes now for the first time.
    await site.publish(3)
    await eventually(
        "all", site.deliveries, lambda rows: {one["state"] for one in rows} == {"delivered"}
    )
    first, *later = [int(one.headers["webhook-timestamp"]) for one in site.receiver.received]
    assert len(later) == 4
    assert min(later) - first >= 1  # two seconds, by stamps of whole seconds
    assert await site.state_of(endpoint_id) == "active"


async def test_a_redirect_is_a_failure_and_is_not_followed(webhook_site: WebhookSite) -> None:
    site = webhook_site
    await site.endpoint("/moved")
    site.receiver.answer("/moved", 307, Location=site.receiver.url + "/elsewhere")
    process = await site.start()
    await site.publish()
    await eventually(
        "failed", site.deliveries, lambda rows: [one["state"] for one in rows] == ["failed"]
    )
    assert {one.path for one in site.receiver.received} == {"/moved"}
    assert process.signals.totals["attempts", "redirect"] == len(QUICK.schedule.waits_s)


async def test_an_answer_without_an_end_is_read_a_little(webhook_site: WebhookSite) -> None:
    site = webhook_site
    sent_bytes = 0

    async def flood() -> web.StreamResponse:
        nonlocal sent_bytes
        response = web.StreamResponse()
        response.force_close()
        await response.prepare(current[0])
        while sent_bytes < 1_000_000_000:
            await response.write(b"x" * 65536)
            sent_bytes += 65536
        return response

    current: list[web.Request] = []
    handle = site.receiver._handle

    async def keep(request: web.Request) -> web.StreamResponse:
        current[:] = [request]
        return await handle(request)

    await site.receiver.stop()
    site.receiver._handle = keep  # type: ignore[method-assign]
    await site.receiver.start()
    await site.endpoint("/flood")
    site.receiver.answers["/flood"] = flood
    await site.start()
    await site.publish()
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )
    assert sent_bytes < 50_000_000  # what the sockets' buffers take, not what was offered


async def test_both_secrets_sign_while_they_are_changed(webhook_site: WebhookSite) -> None:
    site = webhook_site
    endpoint_id, old = await site.endpoint("/hook")
    _, new = await site.endpoint("/donor", tenant="rival")
    await site.execute(
        "update ledger.webhook_endpoints e set previous_secret = e.secret, previous_until = now() + interval '1 hour',"
        " secret = d.secret from ledger.webhook_endpoints d where e.endpoint_id = $1 and d.tenant = 'rival'",
        endpoint_id,
    )
    await site.start()
    await site.publish()
    await eventually("one", lambda: len(site.receiver.received), lambda n: n == 1)
    (one,) = site.receiver.received
    assert len(one.headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret.secret).verify(one.body, one.headers)
    await site.execute(
        "update ledger.webhook_endpoints set previous_until = now() where endpoint_id = $1",
        endpoint_id,
    )
    await eventually(
        "the old one is forgotten",
        lambda: site.rows("select previous_secret from ledger.webhook_endpoints"),
        lambda rows: all(row["previous_secret"] is None for row in rows),
    )
    await asyncio.sleep(0.3)
    await site.publish()
    await eventually("two", lambda: len(site.receiver.received), lambda n: n == 2)
    assert len(site.receiver.received[1].headers["webhook-signature"].split()) == 1


async def test_a_secret_that_no_key_opens_fails_and_sends_nothing(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    await site.endpoint("/hook", signature=Signature.ED25519)
    await site.execute("update ledger.webhook_endpoints set secret = 'x'")
    process = await site.start()
    await site.publish()
    await eventually(
        "failed", site.deliveries, lambda rows: [one["state"] for one in rows] == ["failed"]
    )
    assert not site.receiver.received
    assert process.signals.totals["attempts", "secret_lost"] == len(QUICK.schedule.waits_s)
    assert Event.WEBHOOKS_SECRET_LOST in site.recorded.events()


async def test_a_stop_does_not_wait_for_one_that_hangs_and_loses_nothing(
    webhook_site: WebhookSite,
) -> None:
    site = webhook_site
    gate = asyncio.Event()

    async def hang() -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    await site.endpoint("/slow")
    site.receiver.answers["/slow"] = hang
    slow_to_lose = replace(QUICK, lost_after_s=600.0, stop_patience_s=0.2)
    await site.start(quick(dispatch=slow_to_lose))
    await site.publish()
    await eventually("under way", lambda: len(site.receiver.received), lambda n: n == 1)
    await site.stop()
    (row,) = await site.deliveries()
    assert (row["state"], row["attempts_count"]) == ("pending", 0)
    gate.set()
    began = time.monotonic()
    await site.start(quick(dispatch=slow_to_lose))
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )
    assert time.monotonic() - began < 300  # not after it would have counted as lost


async def test_names_that_do_not_resolve_hold_up_no_other_tenant(
    webhook_site: WebhookSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lookups shared the six threads of the event loop: one tenant's ten names stopped everybody's webhooks."""
    site, gate, asked = webhook_site, threading.Event(), threading.Event()
    ask = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".slow"):
            return ask(host, *args, **options)
        asked.set()
        gate.wait(60.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for number in range(10):
        await site.endpoint("", tenant="rival", url=f"https://n{number}.slow/hook")
    await site.endpoint("/good", url=site.receiver.url.replace("127.0.0.1", "localhost") + "/good")
    await site.start()
    try:
        await site.publish(tenant="rival")
        await eventually("the first lookup", asked.is_set, bool)
        (event_id,) = await site.publish()
        await eventually("the good one", lambda: len(site.receiver.received), bool)
        # Not one of the others has got its answer yet.
        assert not gate.is_set()
        assert [one.message_id for one in site.receiver.at("/good")] == [event_id]
    finally:
        gate.set()
