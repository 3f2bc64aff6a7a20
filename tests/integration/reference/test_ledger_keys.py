"""Goal: what is answered 202 is stored somewhere, also when the queue says that it knows the key already.

Method: an edge and a poster on real servers; tenants and keys whose names run into each other, a stream that is purged with messages
in it, and a database that does not answer meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext

from sentinel.reference.ledger.domain import parse_batch, parse_transfer
from sentinel.reference.ledger.domain.tenant import Opening, Tier, new_cohort
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.envelope import message_id
from sentinel.reference.ledger.wire.nats import stream_name
from sentinel.reference.ledger.wire.register import open_tenants
from tests.support.ledger_servers import LedgerServers, LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ITEM = {
    "debit_account": "external:bank",
    "credit_account": "alice",
    "amount_minor": 5,
    "currency": "EUR",
}
SHOPS_STREAM = stream_name(new_cohort("shop"))
# Of the same cohort as `batch`, so both are on one stream.
NEIGHBOUR = next(
    name for name in map("n{}".format, range(99)) if new_cohort(name) == new_cohort("batch")
)


@asynccontextmanager
async def streams(servers: LedgerServers) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(servers.nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def post_batch(site: LedgerSite, key: str, *, tenant: str) -> tuple[int, dict[str, Any]]:
    async with site.http.post(
        "/v1/batches",
        json={"items": [ITEM]},
        headers={"X-Tenant": tenant, "Idempotency-Key": key},
    ) as response:
        return response.status, await response.json()


def lost(site: LedgerSite) -> float:
    return site.edge.values("ledger.transfers.lost").get((), 0)


@pytest.mark.parametrize("batch_first", [True, False])
async def test_a_tenant_called_batch_swallows_nobodys_batches(
    ledger_site: LedgerSite, *, batch_first: bool
) -> None:
    """Its transfer `NAME:payroll` once had the message id of NAME's batch `payroll`: one of the two was answered 202 and nowhere."""
    names = ("batch", NEIGHBOUR)
    await open_tenants(
        ledger_site.postgres, [Opening(name=name, tier=Tier.ENTERPRISE) for name in names]
    )

    async def transfer() -> tuple[int, dict[str, Any]]:
        return await ledger_site.transfer(
            f"{NEIGHBOUR}:payroll", "external:bank", "bob", 7, tenant="batch"
        )

    async def batch() -> tuple[int, dict[str, Any]]:
        return await post_batch(ledger_site, "payroll", tenant=NEIGHBOUR)

    first, second = (batch, transfer) if batch_first else (transfer, batch)
    answers = {one: await one() for one in (first, second)}
    assert [status for status, _ in answers.values()] == [202, 202]
    await ledger_site.start_poster()
    decided = await ledger_site.settled(answers[batch][1]["status_url"], tenant=NEIGHBOUR)
    assert decided["posted_count"] == 1
    posted = await ledger_site.settled(answers[transfer][1]["status_url"], tenant="batch")
    assert posted["state"] == "posted"
    # Each was taken as new: none of them was found to be missing.
    assert lost(ledger_site) == 0


def test_no_two_requests_have_one_message_id() -> None:
    names, keys = (
        ("batch", "demo", "a"),
        ("k", "demo:k", "demo/k", "a:k", "a/k", "/k", ":k", "batch:k"),
    )
    told = [
        message_id(made)
        for tenant in names
        for key in keys
        for made in (
            parse_transfer(tenant=tenant, idempotency_key=key, body=ITEM),
            parse_batch(tenant=tenant, idempotency_key=key, body={"items": [ITEM]}),
        )
    ]
    assert len(set(told)) == len(told) == 2 * len(names) * len(keys)


@pytest.mark.parametrize("is_batch", [False, True])
async def test_what_a_purged_stream_remembers_and_has_lost_is_taken_again(
    ledger_servers: LedgerServers, ledger_site: LedgerSite, *, is_batch: bool
) -> None:
    """The stream's memory of ids outlives a purge: the client that tried again was once told 202 of nothing."""

    async def ask() -> tuple[int, dict[str, Any]]:
        if is_batch:
            return await post_batch(ledger_site, "k1", tenant="shop")
        return await ledger_site.transfer("k1", "external:bank", "alice", 5)

    _, first = await ask()
    # While it waits, trying again stores nothing more.
    status, again = await ask()
    assert (status, again) == (202, first)
    async with streams(ledger_servers) as manager:
        assert (await manager.stream_info(SHOPS_STREAM)).state.messages == 1
        await manager.purge_stream(SHOPS_STREAM)
        assert lost(ledger_site) == 0
        for _ in range(2):
            status, again = await ask()
            assert (status, again) == (202, first)
            assert (await manager.stream_info(SHOPS_STREAM)).state.messages == 1
    assert lost(ledger_site) == 1
    assert Event.EDGE_TRANSFER_LOST in ledger_site.edge.events()
    await ledger_site.start_poster()
    state = await ledger_site.settled(first["status_url"])
    assert state["state"] == ("decided" if is_batch else "posted")
    # It has left the stream and is in the database: nothing is lost, and nothing is taken again.
    assert await ask() == (202, first)
    await ledger_site.stop_posters()
    assert lost(ledger_site) == 1
    rows = await ledger_site.rows("select amount_minor from ledger.transactions")
    assert [row["amount_minor"] for row in rows] == [5]


async def test_another_body_after_the_loss_is_what_counts_then(
    ledger_servers: LedgerServers, ledger_site: LedgerSite
) -> None:
    """Of the first nothing is left, so it cannot be in conflict with the second."""
    await ledger_site.transfer("k1", "external:bank", "alice", 5)
    async with streams(ledger_servers) as manager:
        await manager.purge_stream(SHOPS_STREAM)
    status, answer = await ledger_site.transfer("k1", "external:bank", "alice", 6)
    assert status == 202
    status, refused = await ledger_site.transfer("k1", "external:bank", "alice", 5)
    assert (status, refused["code"]) == (409, "idempotency_key_reused")
    await ledger_site.start_poster()
    assert (await ledger_site.settled(answer["status_url"]))["amount_minor"] == 6


async def test_without_the_database_only_what_still_waits_is_known_to_be_there(
    ledger_servers: LedgerServers, ledger_site: LedgerSite
) -> None:
    _, first = await ledger_site.transfer("k1", "external:bank", "alice", 5)
    async with (
        postgres.session(ledger_site.postgres, application_name="test") as session,
        session.transaction(),
    ):
        await session.execute("lock table ledger.transactions in access exclusive mode")
        assert await ledger_site.transfer("k1", "external:bank", "alice", 5) == (202, first)
        status, refused = await ledger_site.transfer("k1", "external:bank", "alice", 6)
        assert (status, refused["code"]) == (409, "idempotency_key_reused")
        async with streams(ledger_servers) as manager:
            await manager.purge_stream(SHOPS_STREAM)
        status, refused = await ledger_site.transfer("k1", "external:bank", "alice", 5)
        assert (status, refused["code"]) == (503, "unavailable")
        # A key that is new needs no look.
        assert (await ledger_site.transfer("k2", "external:bank", "alice", 5))[0] == 202
    assert lost(ledger_site) == 0
    assert (await ledger_site.transfer("k1", "external:bank", "alice", 5))[0] == 202
    assert lost(ledger_site) == 1
