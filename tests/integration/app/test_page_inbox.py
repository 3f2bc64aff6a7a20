"""The demo's receiver of pages hands out each page once: senders repeat what they have no answer to.

Alertmanager sends again after 500 or silence, and our webhook after a lost reply; the page's id tells.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sentinel.app.demo.inbox import PageInbox
from sentinel.ports import SendResult
from sentinel.senders.webhook import WebhookConfig, WebhookSender
from tests.support.outbox import firing, resolved

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

_NOW_NS = 1_790_000_000_000_000_000
_SHORT_S = 0.05


@pytest.fixture
async def inbox() -> AsyncIterator[PageInbox]:
    running = PageInbox()
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def sender(inbox: PageInbox) -> AsyncIterator[WebhookSender]:
    running = WebhookSender(WebhookConfig(url=inbox.url))
    try:
        yield running
    finally:
        await running.close()


async def incidents_in(inbox: PageInbox) -> list[tuple[str, str]]:
    """What it hands out until there is no more."""
    found = []
    while (alert := await inbox.next(timeout_s=_SHORT_S)) is not None:
        found.append((alert.annotations["incident"], alert.status))
    return found


async def test_a_page_that_comes_again_is_handed_out_once(
    inbox: PageInbox, sender: WebhookSender
) -> None:
    for _ in range(3):
        outcomes = await sender.send([firing("a1"), resolved("a1")], now_ns=_NOW_NS)
        assert {outcome.result for outcome in outcomes} == {SendResult.DELIVERED}
    assert await incidents_in(inbox) == [("a1", "firing"), ("a1", "resolved")]
    await sender.send([firing("a1"), firing("a1", 2)], now_ns=_NOW_NS)
    assert await incidents_in(inbox) == [("a1", "firing")]


async def test_a_page_that_a_full_inbox_turned_away_is_not_taken_for_a_repeat(
    inbox: PageInbox, sender: WebhookSender
) -> None:
    """Noted as seen before it was kept, it would be lost with the sender's next attempt."""
    many = [firing(f"a{number}") for number in range(1000)]
    await sender.send(many, now_ns=_NOW_NS)
    (turned_away,) = await sender.send([firing("last")], now_ns=_NOW_NS)
    assert (turned_away.result, turned_away.retry_after_s) == (SendResult.RETRY, 5.0)
    assert len(await incidents_in(inbox)) == 1000
    (taken,) = await sender.send([firing("last")], now_ns=_NOW_NS)
    assert taken.result is SendResult.DELIVERED
    assert await incidents_in(inbox) == [("last", "firing")]
