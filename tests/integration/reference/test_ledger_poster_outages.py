"""Goal: a database that lets nobody in costs time and never a transfer, and what cannot be given up holds nobody up.

Method: a poster with a role of its own on real servers, from which its password or its rights are taken while transfers come.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import nats
import pytest
from nats.js import JetStreamContext

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.posting import PosterConfig
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.nats import CONSUMER, DEAD_STREAM, stream_name
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOPS_COHORT = new_cohort("shop")
HASTY = PosterConfig(
    fetch_wait_s=0.2,
    refusals_max=2,
    back_off_first_s=0.05,
    back_off_max_s=0.1,
    dead_pause_s=0.3,
)
Act = Callable[[LedgerSite, str], Awaitable[object]]


async def take_password(site: LedgerSite, role: str) -> None:
    """As after a rotation that the poster has not heard of, and a failover."""
    await site.rows(f"alter role {role} password 'another'")
    await site.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", role
    )


async def give_password(site: LedgerSite, role: str) -> None:
    await site.rows(f"alter role {role} password 'first'")


async def take_rights(site: LedgerSite, _: str) -> None:
    """As after a restore without grants."""
    await site.rows("revoke insert on ledger.transactions from ledger_poster")


async def give_rights(site: LedgerSite, _: str) -> None:
    await site.rows("grant insert on ledger.transactions to ledger_poster")


async def refuse_all(site: LedgerSite, _: str) -> None:
    """A refusal that looks like one of the message's own, and meets every one."""
    await site.rows("alter table ledger.entries add constraint none check (false) not valid")


async def refuse_none(site: LedgerSite, _: str) -> None:
    await site.rows("alter table ledger.entries drop constraint none")


@pytest.mark.parametrize(
    ("take", "give"),
    [(take_password, give_password), (take_rights, give_rights), (refuse_all, refuse_none)],
)
async def test_a_database_that_refuses_everybody_gives_no_transfer_up(
    ledger_site: LedgerSite, take: Act, give: Act
) -> None:
    """Each of five transfers was on the dead-letter stream ten seconds after a password had been changed."""
    async with own_role(ledger_site) as (role, config):
        await ledger_site.start_poster(HASTY, postgres=config)
        _, before = await ledger_site.transfer("k0", "external:bank", "alice", 100)
        assert (await ledger_site.settled(before["status_url"]))["state"] == "posted"
        await take(ledger_site, role)
        accepted = [
            await ledger_site.transfer(f"k{index}", "external:bank", "alice", 100)
            for index in range(1, 6)
        ]
        assert {status for status, _ in accepted} == {202}
        await eventually(
            "a refusal",
            ledger_site.poster.events,
            lambda events: Event.POSTING_BATCH_FAILED in events,
        )
        await asyncio.sleep(3)  # thirty refusals' time
        for _, answer in accepted:
            _, state = await ledger_site.get(answer["status_url"])
            assert state["state"] == "pending"
        await give(ledger_site, role)
        for _, answer in accepted:
            assert (await ledger_site.settled(answer["status_url"]))["state"] == "posted"
        await ledger_site.stop_posters()
    async with stream(ledger_site) as js:
        assert (await js.stream_info(DEAD_STREAM)).state.messages == 0
    left = await ledger_site.rows(
        "select count(*) as count from ledger.accounts where account_id like 'external:neutral%'"
    )
    assert left == [{"count": 0}]
    told = await ledger_site.rows("select coalesce(sum(dead_count), 0) as dead from ledger.intake")
    assert told == [{"dead": 0}]


async def test_a_dead_letter_stream_that_is_full_holds_nobody_up(ledger_site: LedgerSite) -> None:
    """One message that nobody can read, fetched with 199 others, kept them all from being posted."""
    async with stream(ledger_site) as js:
        dead = (await js.stream_info(DEAD_STREAM)).config
        dead.max_bytes = 64
        await js.update_stream(dead)
        lost = uuid.uuid4()
        await js.publish(f"ledger.c{SHOPS_COHORT}.transfers.{lost}", b"\x00garbage")
        _, accepted = await ledger_site.transfer("k1", "external:bank", "alice", 500)
        await ledger_site.start_poster(HASTY)
        assert (await ledger_site.settled(accepted["status_url"]))["state"] == "posted"
        assert Event.POSTING_DEAD_REFUSED in ledger_site.poster.events()
        assert sum(ledger_site.poster.values("ledger.dead.refused").values()) >= 1
        # The other's acknowledgement comes after its commit; this one must still be there.
        await eventually(
            "one is left",
            lambda: js.consumer_info(stream_name(SHOPS_COHORT), CONSUMER),
            lambda info: info.num_ack_pending == 1,
        )
        dead.max_bytes = 1024 * 1024
        await js.update_stream(dead)
        await eventually(
            "it is given up",
            lambda: js.consumer_info(stream_name(SHOPS_COHORT), CONSUMER),
            lambda info: not info.num_ack_pending,
        )
        kept = await js.get_last_msg(DEAD_STREAM, f"ledger.dead.{lost}")
        assert kept.data == b"\x00garbage"
        told = await ledger_site.rows("select sum(dead_count) as dead from ledger.intake")
        assert told == [{"dead": 1}], "attempts that failed left nothing behind"


async def test_a_message_with_no_room_for_a_reason_beside_it_is_kept_in_part(
    ledger_site: LedgerSite,
) -> None:
    async with stream(ledger_site) as js:
        lost, payload = uuid.uuid4(), b"\x00" * (1024 * 1024)
        await js.publish(f"ledger.c{SHOPS_COHORT}.transfers.{lost}", payload)
        await ledger_site.start_poster(HASTY)
        await eventually(
            "it is given up",
            ledger_site.poster.events,
            lambda events: Event.POSTING_DEAD_LETTERED in events,
        )
        kept = await js.get_last_msg(DEAD_STREAM, f"ledger.dead.{lost}")
        assert kept.headers is not None
        assert kept.headers["Ledger-Truncated"] == str(len(payload))
        assert kept.headers["Ledger-Reason"] == "not_json"
        assert kept.data is not None
        assert len(payload) - 1024 < len(kept.data) < len(payload)
        assert (await js.stream_info(stream_name(SHOPS_COHORT))).state.messages == 0


@asynccontextmanager
async def own_role(site: LedgerSite) -> AsyncIterator[tuple[str, PostgresConfig]]:
    """A role that may what a poster may, and a way in for it; gone afterwards."""
    role = f"poster_{uuid.uuid4().hex[:12]}"
    await site.rows(f"create role {role} login password 'first' in role ledger_poster")
    try:
        parts = urlsplit(site.postgres.url)
        place = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=f"{role}:first@{place}"))
        yield role, PostgresConfig(url=url)
    finally:
        await site.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", role
        )
        await site.rows(f"drop role {role}")


@asynccontextmanager
async def stream(site: LedgerSite) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(site.nats.url)
    try:
        yield client.jetstream()
    finally:
        await client.close()
