"""Goal: what is tried again after an outage is never more than one database transaction takes, and nothing is left out.

Method: a queue and a database that keep what they are asked, in place of servers; what real ones do is in
tests/integration/reference/test_ledger_poster_outages.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from sentinel.reference.ledger.domain import (
    Batch,
    Decision,
    Outcome,
    PermanentError,
    Transfer,
    UnavailableError,
)
from sentinel.reference.ledger.domain.batch import parse_batch
from sentinel.reference.ledger.posting import Poster, PosterConfig
from sentinel.reference.ledger.posting import poster as module
from sentinel.reference.ledger.wire.envelope import Envelope, encode_envelope
from tests.support.ledger_metrics import Counted

QUICK = PosterConfig(cohorts=(0,), back_off_first_s=0.001, back_off_max_s=0.002, fetch_wait_s=0.01)


def large_batch(key: str, items_count: int) -> Batch:
    item = {"debit_account": "external:bank", "credit_account": "alice", "amount_minor": 1}
    body = {"items": [{**item, "currency": "EUR"}] * items_count}
    return parse_batch(tenant="shop", idempotency_key=key, body=body)


def single(key: str) -> Transfer:
    return Transfer(
        tenant="shop",
        idempotency_key=key,
        debit_account="external:bank",
        credit_account="alice",
        amount_minor=1,
        currency="EUR",
    )


def message(place: int, asked: Transfer | Batch) -> Msg:
    payload = encode_envelope(Envelope(asked=asked, cohort=0, accepted_ns=1))
    return Msg(
        _client=Client(),
        subject="ledger.c0.transfers.x",
        reply=f"$JS.ACK.LEDGER_C0.poster.1.{place}.{place}.1700000000000000000.0",
        data=payload,
    )


class FakeQueue:
    """Delivers what it was given, as much at a time as `per_fetch`."""

    def __init__(self, messages: Sequence[Msg], *, per_fetch: Sequence[int]) -> None:
        self.messages = list(messages)
        self.per_fetch: Iterator[int] = iter(per_fetch)
        self.done: list[Msg] = []
        self.back: list[Msg] = []
        self.emptied = asyncio.Event()

    async def fetch(self, cohort: int, *, count_max: int, wait_s: float) -> list[Msg]:
        """Deliver the next."""
        await asyncio.sleep(0)
        count = min(count_max, next(self.per_fetch, count_max))
        given, self.messages = self.messages[:count], self.messages[count:]
        return given

    async def acknowledge(self, messages: list[Msg]) -> None:
        """Note what is done."""
        self.done += messages
        if not self.messages:
            self.emptied.set()

    async def keep(self, messages: list[Msg]) -> None:
        """Do nothing."""

    async def hand_back(self, messages: list[Msg], *, delay_s: float) -> None:
        """Deliver them again."""
        self.back += messages
        self.messages += messages

    async def backlog(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    async def events_unread(self) -> dict[str, float]:
        """Nothing."""
        return {}

    async def publish_in_order(self, messages: object) -> list[object]:
        """Nothing."""
        return []


class FakeDatabase:
    """Lends nothing; what is applied with it is noted by `Applied`."""

    namespace = "books|ledger"

    def occupancy(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend it; whoever asks it anything of its own finds it away."""
        yield _Away()


class _Away:
    async def fetch(self, *_: object) -> list[Any]:
        message = "no such column"
        raise PermanentError(message, code="42703")

    fetchrow = fetchval = execute = fetch

    def transaction(self) -> Any:
        message = "away"
        raise UnavailableError(message)


class Applied:
    """Stands for `apply_batch`: what it is called with, and failures that come first."""

    def __init__(self, judge: Any) -> None:
        self.judge = judge
        self.calls: list[int] = []

    async def __call__(
        self, _connection: object, _cohort: int, envelopes: Sequence[Envelope], **_: object
    ) -> list[Decision]:
        """Decide, or fail."""
        requests = [request for envelope in envelopes for request in envelope.requests]
        self.calls.append(len(requests))
        self.judge(len(self.calls), requests)
        return [
            Decision(request=one, outcome=Outcome.REPLAYED, reason=None, movement=None)
            for one in requests
        ]


async def post(
    monkeypatch: pytest.MonkeyPatch, queue: FakeQueue, judge: Any, config: PosterConfig = QUICK
) -> Applied:
    applied = Applied(judge)
    monkeypatch.setattr(module, "apply_batch", applied)
    counted = Counted()
    poster = Poster(
        config,
        queue=queue,  # type: ignore[arg-type]
        database=FakeDatabase(),  # type: ignore[arg-type]
        telemetry=counted.telemetry,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(poster.run(stop))
    try:
        await asyncio.wait_for(queue.emptied.wait(), 40)
    finally:
        stop.set()
        await running
    return applied


async def test_what_came_during_an_outage_is_applied_in_transactions_of_their_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five batches of 5,000 were one transaction of 25,000 after the first failure, which timed out for ever."""
    messages = [message(place, large_batch(f"k{place}", 5000)) for place in range(1, 6)]
    queue = FakeQueue(messages, per_fetch=[1])

    def judge(call: int, _: object) -> None:
        if call == 1:
            text = "away"
            raise UnavailableError(text, code="57P03")

    applied = await post(monkeypatch, queue, judge)
    assert applied.calls == [5000] * 6
    assert queue.done == messages


async def test_a_small_batch_is_topped_up_after_an_outage_and_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages = [message(1, single("k1"))]
    messages += [message(place, large_batch(f"k{place}", 3000)) for place in range(2, 6)]
    queue = FakeQueue(messages, per_fetch=[1, 2])

    def judge(call: int, _: object) -> None:
        if call == 1:
            text = "away"
            raise UnavailableError(text, code="57P03")

    applied = await post(monkeypatch, queue, judge)
    assert applied.calls[:3] == [1, 3001, 3000]
    assert max(applied.calls) <= QUICK.requests_count_max
    assert queue.done == messages


async def test_what_takes_too_long_together_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [message(place, single(f"k{place}")) for place in range(1, 9)]
    queue = FakeQueue(messages, per_fetch=[8])

    def judge(_: int, requests: Sequence[object]) -> None:
        if len(requests) > 2:
            text = "canceling statement due to statement timeout"
            raise UnavailableError(text, code="57014")

    applied = await post(monkeypatch, queue, judge)
    assert applied.calls == [8, 4, 2, 2, 4, 2, 2]
    assert queue.done == messages


async def test_a_refusal_that_no_neutral_transfer_confirms_is_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database refuses everything: nothing is handed back, so nothing is ever given up."""
    messages = [message(place, single(f"k{place}")) for place in range(1, 4)]
    queue = FakeQueue(messages, per_fetch=[3])

    def judge(call: int, _: object) -> None:
        if call < 20:
            text = "column does not exist"
            raise PermanentError(text, code="42703")

    applied = await post(monkeypatch, queue, judge)
    assert len(applied.calls) >= 20
    assert queue.back == []
    assert queue.done == messages
