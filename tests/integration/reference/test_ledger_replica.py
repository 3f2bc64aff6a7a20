"""Goal: reads come from the replica, nobody is shown less than they have seen, and a replica in trouble costs no answer.

Method: an edge over a real primary and a real streaming replica from the wheel. Replay is paused to tell the two
apart: what was committed since is on the primary alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sentinel.reference.ledger.domain.position import HEADER, Position, parse_position
from sentinel.reference.ledger.edge.watch import WatchConfig
from sentinel.reference.ledger.operate.servers import ReplicaServer
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig, read_url
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    delete_streams,
    open_ledger,
    open_site,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

READS = "ledger.reads"
PATH = "/v1/accounts/alice/balance"


def on_replica(config: PostgresConfig, replica: ReplicaServer) -> PostgresConfig:
    """The same database on the replica."""
    name = config.url.rpartition("/")[2]
    base = read_url(replica.url_file).rpartition("/")[0]
    return PostgresConfig.of_replica(f"{base}/{name}")


@pytest.fixture
async def site(
    ledger_servers: LedgerServers, ledger_replica: ReplicaServer
) -> AsyncIterator[LedgerSite]:
    config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    replica = on_replica(config, ledger_replica)
    await caught_up(config, replica)
    async with open_site(
        NatsConfig(url=ledger_servers.nats_url, ack_wait_s=2.0),
        config,
        replica=replica,
        watch=WatchConfig(every_s=0.2),
    ) as opened:
        yield opened


async def caught_up(primary: PostgresConfig, replica: PostgresConfig) -> None:
    async with (
        postgres.session(primary, application_name="test") as there,
        postgres.session(
            PostgresConfig(url=replica.url.rpartition("/")[0] + "/postgres"),
            application_name="test",
        ) as here,
    ):
        lsn = await there.fetchval("select pg_current_wal_flush_lsn()::text")

        async def is_there() -> bool:
            query = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
            return bool(await here.fetchval(query, lsn))

        await eventually("the replica has it", is_there, bool)


@asynccontextmanager
async def paused(replica: ReplicaServer) -> AsyncIterator[None]:
    config = PostgresConfig(url=read_url(replica.url_file))
    async with postgres.session(config, application_name="test") as session:
        await session.execute("select pg_wal_replay_pause()")
        try:
            yield
        finally:
            await session.execute("select pg_wal_replay_resume()")


async def balance(site: LedgerSite, token: str | None = None) -> tuple[int, dict[str, Any], str]:
    headers = {"X-Tenant": "shop", **({HEADER: token} if token else {})}
    async with site.http.get(PATH, headers=headers) as response:
        return response.status, await response.json(), response.headers.get(HEADER, "")


async def posted(site: LedgerSite, key: str) -> str:
    """Post five to alice; returns the position at which the client was told so."""
    status, accepted = await site.transfer(key, "external:bank", "alice", 5)
    assert status == 202

    async def ask() -> tuple[str, str]:
        async with site.http.get(accepted["status_url"], headers={"X-Tenant": "shop"}) as response:
            return (await response.json())["state"], response.headers[HEADER]

    return str((await eventually(f"{key} posted", ask, lambda seen: seen[0] == "posted"))[1])


async def test_reads_come_from_the_replica_and_a_position_from_whoever_has_it(
    site: LedgerSite, ledger_replica: ReplicaServer
) -> None:
    await site.start_poster()
    first = await posted(site, "one")
    status, body, _ = await balance(site, first)
    assert (status, body["balance_minor"]) == (200, 5)
    before = site.edge.values(READS)
    async with paused(ledger_replica):
        second = await posted(site, "two")
        assert parse_position(second) > parse_position(first)
        # Without a position: what the replica has, which is what was there before.
        status, body, seen = await balance(site)
        assert (status, body["balance_minor"]) == (200, 5)
        assert parse_position(seen) < parse_position(second)
        # With it: the replica is waited for, in vain, and the primary answers.
        status, body, seen = await balance(site, second)
        assert (status, body["balance_minor"]) == (200, 10)
        assert parse_position(seen) >= parse_position(second)
        after = site.edge.values(READS)
        assert after["behind", "primary"] == before.get(("behind", "primary"), 0) + 1
        # That a transfer which left the queue is on the primary only is told as well, not taken for unknown.
        assert after["missing", "primary"] > before.get(("missing", "primary"), 0)
        lag = site.edge.values("ledger.replica.lag.size")
        assert lag[()] > 0
    status, body, _ = await eventually(
        "the replica answers again",
        lambda: balance(site),
        lambda seen: seen[1]["balance_minor"] == 10,
    )
    # A replica that is there in time is waited for and answers.
    before = site.edge.values(READS)
    third = await posted(site, "three")
    assert (await balance(site, third))[1]["balance_minor"] == 15
    after = site.edge.values(READS)
    assert after["ok", "replica"] > before["ok", "replica"]


async def test_an_accepted_transfer_carries_a_position_and_keeps_the_clients(
    site: LedgerSite,
) -> None:
    body = {
        "debit_account": "external:bank",
        "credit_account": "alice",
        "amount_minor": 1,
        "currency": "EUR",
    }
    far = Position(timeline=1, lsn=2**62).token
    for given, key in ((None, "a"), (far, "b")):
        headers = {"X-Tenant": "shop", "Idempotency-Key": key}
        if given:
            headers[HEADER] = given
        async with site.http.post("/v1/transfers", json=body, headers=headers) as response:
            assert response.status == 202
            token = response.headers[HEADER]
        assert parse_position(token).lsn > 0
        assert given is None or token == given


async def test_a_position_that_nobody_gave_out_is_refused(site: LedgerSite) -> None:
    good = Position(timeline=1, lsn=4711).token
    for bad in ("0/16B3748", good[:-1], good + "A", good[:5] + "!" + good[6:], "é" * 23, "A" * 23):
        status, body, _ = await balance(site, bad)
        assert status == 400, bad
        assert body["code"] == "invalid_position"
        assert [one["field"] for one in body["errors"]] == [HEADER]
    body = {"debit_account": "a", "credit_account": "b", "amount_minor": 1, "currency": "EUR"}
    headers = {"X-Tenant": "shop", "Idempotency-Key": "k", HEADER: "nonsense"}
    async with site.http.post("/v1/transfers", json=body, headers=headers) as response:
        assert response.status == 400
    assert await site.rows("select 1 from ledger.transactions") == []


async def test_a_position_of_another_history_is_answered_by_the_primary(site: LedgerSite) -> None:
    """After a restore clients hold positions of what is lost; they must be served, and given new ones."""
    await site.start_poster()
    await posted(site, "one")
    for token, reason in (
        (Position(timeline=7, lsn=1).token, "other_timeline"),
        (Position(timeline=1, lsn=2**60).token, "behind"),
    ):
        status, body, seen = await balance(site, token)
        assert (status, body["balance_minor"]) == (200, 5)
        assert parse_position(seen).timeline == 1
        assert parse_position(seen).lsn < 2**60
        assert site.edge.values(READS)[reason, "primary"] == 1


async def test_a_replica_that_is_away_costs_no_answer(ledger_servers: LedgerServers) -> None:
    config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    nowhere = PostgresConfig.of_replica("postgresql://ledger:x@127.0.0.1:9/ledger")
    async with open_site(NatsConfig(url=ledger_servers.nats_url), config, replica=nowhere) as site:
        await site.start_poster()
        await posted(site, "one")
        status, body, seen = await balance(site)
        assert (status, body["balance_minor"]) == (200, 5)
        assert parse_position(seen).lsn > 0
        assert site.edge.values("ledger.replica.up") == {(): 0}
        assert {source for _, source in site.edge.values(READS)} == {"primary"}


async def test_a_replica_that_was_cut_off_is_found_again(
    site: LedgerSite, ledger_replica: ReplicaServer
) -> None:
    await site.start_poster()
    await posted(site, "one")
    config = PostgresConfig(url=read_url(ledger_replica.url_file))
    async with postgres.session(config, application_name="test") as session:
        await session.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'edge%'"
        )
    assert (await balance(site))[1]["balance_minor"] == 5
    await eventually(
        "the replica is up",
        lambda: site.edge.values("ledger.replica.up"),
        lambda up: up == {(): 1},
    )
    before = site.edge.values(READS)["ok", "replica"]

    async def again() -> float:
        await balance(site)
        return site.edge.values(READS)["ok", "replica"]

    await eventually("the replica answers", again, lambda count: count > before)


async def test_a_replica_that_is_late_is_left_alone(
    ledger_servers: LedgerServers, ledger_replica: ReplicaServer
) -> None:
    config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    replica = on_replica(config, ledger_replica)
    await caught_up(config, replica)
    async with (
        paused(ledger_replica),
        open_site(
            NatsConfig(url=ledger_servers.nats_url),
            config,
            replica=replica,
            watch=WatchConfig(every_s=0.1, lag_bytes_max=100),
        ) as site,
    ):
        await site.start_poster()
        await posted(site, "one")

        async def read() -> dict[tuple[str, ...], float]:
            await balance(site)
            return site.edge.values(READS)

        seen = await eventually(
            "a read for which the replica is too late",
            read,
            lambda reads: ("lagging", "primary") in reads,
        )
        assert seen["lagging", "primary"] >= 1
        assert (await balance(site))[1]["balance_minor"] == 5
