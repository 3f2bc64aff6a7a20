"""Goal: every event is counted once, whatever dies, and however often it is told.

Method: posters and the consumer on real NATS and PostgreSQL from the wheels; a consumer that must die between commit and
acknowledgement is a process of its own, killed with SIGKILL at that very point; events are told again from the stream itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM
from sentinel.reference.ledger.wire.nats import Queue, operator
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DYING = """
import asyncio, os, signal
from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.telemetry import start_telemetry
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database

class DyingQueue(Queue):
    async def acknowledge(self, messages):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    queue = await DyingQueue.connect(
        NatsConfig(url=os.environ["NATS"], ack_wait_s=2.0), name="dying", on_change=lambda *_: None)
    await queue.subscribe_events("analytics")
    database = await Database.connect(PostgresConfig(url=os.environ["POSTGRES"]), application_name="dying")
    await Analytics(AnalyticsConfig(), queue=queue, database=database,
                    telemetry=start_telemetry("dying", {})).run(asyncio.Event())

asyncio.run(main())
"""


async def analytics_role(site: LedgerSite) -> PostgresConfig:
    """A login that may do what analytics must, and nothing else."""
    url = role_url(site.postgres, Role.ANALYTICS, "analytics")
    await prepare(site.postgres, (), role_urls=[url])
    return PostgresConfig(url=url)


async def start(site: LedgerSite, config: PostgresConfig) -> Analytics:
    queue = await Queue.connect(site.nats, name="test", on_change=lambda what, detail: None)
    site.stack.push_async_callback(queue.close)
    await queue.subscribe_events("analytics")
    database = await Database.connect(config, application_name="analytics")
    site.stack.push_async_callback(database.close)
    analytics = Analytics(
        AnalyticsConfig(fetch_wait_s=0.2),
        queue=queue,
        database=database,
        telemetry=site.poster.telemetry,
    )
    stop = asyncio.Event()
    site.stops.append((stop, asyncio.create_task(analytics.run(stop))))
    return analytics


async def counted(site: LedgerSite) -> dict[tuple[str, str], tuple[int, int]]:
    """(tenant, state) -> transactions and amount of all days."""
    rows = await site.rows(
        "select tenant, state, sum(transactions_count)::int as n, sum(amount_minor)::int as amount "
        "from ledger.analytics_daily group by tenant, state"
    )
    return {(row["tenant"], row["state"]): (row["n"], row["amount"]) for row in rows}


async def drained(site: LedgerSite, messages: int) -> None:
    async def look() -> tuple[Any, ...]:
        async with operator(site.nats, name="test") as (_, stream):
            info = await stream.consumer_info(EVENTS_STREAM, "analytics")
            return info.num_pending, info.num_ack_pending, info.delivered.stream_seq

    await eventually(
        "all events acknowledged", look, lambda seen: seen[:2] == (0, 0) and seen[2] >= messages
    )


async def test_a_consumer_that_is_killed_after_its_commit_counts_nothing_twice(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    for number in range(20):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    await ledger_site.transfer("r", "external:bank", "alice", 7, tenant="rival")
    await ledger_site.transfer("no", "alice", "bob", 5_000)
    config = await analytics_role(ledger_site)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DYING,
        env={**os.environ, "NATS": ledger_site.nats.url, "POSTGRES": config.url},
        stderr=subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    before = await counted(ledger_site)
    assert before  # it had committed something that it never acknowledged
    await start(ledger_site, config)
    await drained(ledger_site, 22)
    requests = [
        one.context.trace_id
        for one in ledger_site.edge.spans.get_finished_spans()
        if one.name == "POST /v1/transfers" and one.context is not None
    ]
    linked = {
        link.context.trace_id
        for one in ledger_site.poster.spans.get_finished_spans()
        if one.name == "process ledger.events"
        for link in one.links
    }
    # It came to see all of them, for the first had acknowledged none.
    assert linked == set(requests)
    assert await counted(ledger_site) == {
        ("shop", "posted"): (20, 200),
        ("shop", "rejected"): (1, 5_000),
        ("rival", "posted"): (1, 7),
    }


async def test_what_is_told_again_or_is_no_event_changes_nothing(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    for number in range(5):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    analytics = await start(ledger_site, await analytics_role(ledger_site))
    await drained(ledger_site, 5)
    async with operator(ledger_site.nats, name="test") as (_, stream):
        told = [await stream.get_msg(EVENTS_STREAM, number) for number in range(1, 6)]
        old = (told[0].data or b"").replace(str(datetime.now(UTC).year).encode(), b"2020")
        for number, payload in enumerate([*(one.data or b"" for one in told), b"{", old]):
            # Under other message ids, as after the stream's two minutes.
            await stream.publish(
                told[0].subject or "", payload, headers={"Nats-Msg-Id": f"again {number}"}
            )
        await drained(ledger_site, 12)
    assert await counted(ledger_site) == {("shop", "posted"): (5, 50)}
    events = ledger_site.poster.events()
    assert {"analytics.unreadable", "analytics.expired"} <= set(events)

    # Ids are forgotten by day, once they cannot come again.
    past = datetime.now(UTC).date() - timedelta(days=9)
    await ledger_site.rows(
        "insert into ledger.analytics_seen select $1, gen_random_uuid() from generate_series(1, 30)",
        past,
    )
    await analytics.forget()
    assert (await ledger_site.rows("select count(*)::int as n from ledger.analytics_seen"))[0] == {
        "n": 5
    }


async def test_events_that_the_stream_let_go_unread_are_told_of(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    await ledger_site.transfer("k0", "external:bank", "alice", 10)
    analytics = await start(ledger_site, await analytics_role(ledger_site))
    await drained(ledger_site, 1)
    # One fetch may be waiting: nothing is delivered to it once the process is to stop.
    (stop, task) = ledger_site.stops.pop()
    stop.set()
    await task
    for number in range(1, 5):
        await ledger_site.transfer(f"k{number}", "external:bank", "alice", 10)
    async with operator(ledger_site.nats, name="test") as (_, stream):

        async def stored() -> int:
            return (await stream.stream_info(EVENTS_STREAM)).state.last_seq

        await eventually("five events", stored, lambda number: number == 5)
        await stream.purge_stream(EVENTS_STREAM, seq=5)
    stop = asyncio.Event()
    ledger_site.stops.append((stop, asyncio.create_task(analytics.run(stop))))
    await drained(ledger_site, 5)
    logs = ledger_site.poster.logs.get_finished_logs()
    missed = [one for one in logs if one.log_record.event_name == "analytics.missed"]
    assert [dict(one.log_record.attributes or {})["events_count"] for one in missed] == [3]
