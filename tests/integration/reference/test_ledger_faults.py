"""Goal: each fault of the ledger breaks what it says, and leaves nothing broken behind.

Method: one ledger as people run it; each fault is held for a moment by the code behind the command, what it breaks is looked at
where it is broken, and when it is over the ledger posts again. What rules and detector make of faults is told elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults import queue
from sentinel.reference.ledger.operate.faults.notes import Note, note_file, write_note
from sentinel.reference.ledger.operate.state import read_state
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats import CONSUMER, DEAD_STREAM, STREAMS, operator
from tests.support.ledger_faults import held, value
from tests.support.ledger_run import Up, end_up, eventually, start_up
from tests.support.otlp_collector import OtlpCollector

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(tmp_path_factory.mktemp("faults"), collector, "--receiver")
    try:
        await running.posted("the-first")
        yield running
    finally:
        await end_up(running)
        await collector.stop()


async def test_webhooks_that_their_receiver_refuses_are_sent_again(up: Up) -> None:
    def answers() -> dict[Any, int]:
        spans = [one for one in up.collector.spans if one.name == "POST webhook"]
        return dict(Counter(one.attributes.get("http.response.status_code") for one in spans))

    await up.posted("told-to-its-receiver")
    before = await eventually("a webhook", answers, lambda seen: seen.get(204, 0) >= 1)
    assert 401 not in before  # its signature held
    async with held(up, "webhook-errors", error_ratio=1.0):
        await up.posted("refused-by-its-receiver")
        await eventually("refused", answers, lambda seen: seen.get(503, 0) >= 1)
    # The second attempt comes five to six seconds after the first.
    await eventually("sent again", answers, lambda seen: seen.get(204, 0) > before[204])
    failed = [
        one for one in up.collector.spans if one.attributes.get("error.type") == "server_error"
    ]
    assert {one.service for one in failed} == {"ledger-webhooks"}
    assert all(one.is_error for one in failed)


async def varz(up: Up) -> dict[str, Any]:
    # Not the edge's client, whose every answer is held against the edge's contract.
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{up.ready['nats_monitor_url']}/varz") as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


def nats_of(up: Up) -> NatsConfig:
    return NatsConfig(url=up.ready["nats_url"])


async def test_poison_goes_to_the_dead_letters(up: Up) -> None:
    async def kept() -> int:
        async with operator(nats_of(up), name="test") as (_, stream):
            return int((await stream.stream_info(DEAD_STREAM)).state.messages)

    async with held(up, "poison"):
        await eventually("dead letters", kept, lambda count: count >= 1)
    await up.posted("after-the-poison")


async def test_a_loss_loses_what_was_accepted(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_LOSS_S", 3.0)

    async def waiting() -> int:
        async with operator(nats_of(up), name="test") as (_, stream):
            return sum([(await stream.stream_info(name)).state.messages for name in STREAMS])

    asked = []
    async with held(up, "loss"):
        # What the poster had asked for before it was stopped is still delivered to it.
        for number in range(8):
            asked.append(await up.transfer(f"lost-{number}"))
            await asyncio.sleep(0.25)
        assert await waiting() >= 1
        await eventually("a purge", waiting, lambda count: count == 0)
    await up.posted("after-the-loss")
    assert {status for status, _ in asked} == {202}
    found = [await up.read(accepted["status_url"]) for _, accepted in asked]
    assert 404 in {status for status, _ in found}


async def test_messages_that_nobody_acknowledges_wait_and_are_posted_afterwards(up: Up) -> None:
    async def pending() -> int:
        async with operator(nats_of(up), name="test") as (_, stream):
            infos = [await stream.consumer_info(name, CONSUMER) for name in STREAMS]
            return sum(info.num_ack_pending or 0 for info in infos)

    async with held(up, "unacknowledged"):
        assert (await up.transfer("taken"))[0] == 202
        await eventually("a message that was taken", pending, lambda count: count >= 1)
    await up.posted("taken")


async def test_a_full_stream_is_answered_503_and_has_its_limit_back(up: Up) -> None:
    keys = iter(range(100_000))

    async def limit() -> list[int | None]:
        async with operator(nats_of(up), name="test") as (_, stream):
            return [(await stream.stream_info(name)).config.max_bytes for name in STREAMS]

    before = await limit()
    async with held(up, "full"):
        await eventually(
            "a full stream",
            lambda: up.transfer(f"full-{next(keys)}"),
            lambda answer: answer[0] == 503,
        )
    assert await limit() == before
    await up.posted("after-the-full-stream")


async def test_a_fault_whose_command_was_killed_is_undone_by_the_next_one(up: Up) -> None:
    async with operator(nats_of(up), name="test") as (_, stream):
        before = (await stream.stream_info(STREAMS[0])).config.max_bytes
    marker = note_file(read_state(up.state_file), "full")
    truth = up.state_file.with_name("killed.ndjson")

    def left(max_bytes: int | None) -> None:
        # As a command leaves it that was killed: a process of this number is not there.
        write_note(
            marker,
            Note(
                fault="full",
                pid=2**22 + 1,
                pid_start_ticks=1,
                start_ns=1,
                holding_ns=2,
                until_ns=3,
                record_file=str(truth),
                undo={"max_bytes": {STREAMS[0]: max_bytes}},
            ),
        )

    left(12_345_678)
    async with held(up, "poison"), operator(nats_of(up), name="test") as (_, stream):
        assert (await stream.stream_info(STREAMS[0])).config.max_bytes == 12_345_678
    assert not marker.exists()
    end = json.loads(truth.read_text())
    assert (end["event"], end["fault"], end["killed"]) == ("fault_end", "full", True)
    assert end["start_ns"] == 1
    assert end["last_held_ns"] < end["end_ns"]
    left(before)
    async with held(up, "errors"):
        pass


async def test_the_store_is_filled_and_emptied(up: Up) -> None:
    async def used() -> float:
        stats = (await varz(up))["jetstream"]
        return float(stats["stats"]["memory"] / stats["config"]["max_memory"])

    async with held(up, "store-full"):
        assert await used() > 0.9
    assert await used() < 0.1


@pytest.mark.full
async def test_a_reader_that_does_not_read_is_cut_off(up: Up) -> None:
    async def cut_off() -> int:
        return int((await varz(up))["slow_consumers"])

    async with held(up, "slow-reader"):
        await eventually("a slow consumer", cut_off, lambda count: count >= 1)


@pytest.mark.parametrize(
    ("fault", "path"),
    # The replica answers for accounts that it knows; of this one the primary is asked.
    [("nats-stopped", None), ("postgres-stopped", "/v1/accounts/nobody-named-it/balance")],
)
async def test_a_server_that_is_stopped_is_told_of_and_goes_on(
    up: Up, fault: str, path: str | None
) -> None:
    async with held(up, fault):
        status, _ = await (up.transfer("stopped") if path is None else up.read(path))
        assert status == 503
    await up.posted(f"after-{fault}")


async def test_keys_are_reused_only_when_the_queue_has_forgotten_them(up: Up) -> None:
    with pytest.raises(LedgerError, match="older than 150 s"):
        async with held(up, "reused-keys"):
            pass
    # Append only, but to a superuser without scruples.
    await value(
        up,
        "update ledger.transactions set accepted_at = accepted_at - interval '1 hour'",
        session_replication_role="replica",
    )
    before = await value(up, "select count(*) from ledger.entries")
    async with held(up, "reused-keys"):
        await asyncio.sleep(1)
    assert await value(up, "select count(*) from ledger.entries") == before


async def test_a_storm_of_duplicates_posts_nothing_again(up: Up) -> None:
    await up.posted("before-the-storm")
    before = await value(up, "select count(*) from ledger.entries")
    seen = len(up.collector.spans)
    async with held(up, "duplicates"):
        await eventually("requests", lambda: len(up.collector.spans), lambda count: count > seen)
    assert await value(up, "select count(*) from ledger.entries") == before


async def test_connections_are_used_up_but_for_the_reserved_ones(up: Up) -> None:
    free = (
        "select current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int - count(*)"
        " from pg_stat_activity where backend_type = 'client backend'"
    )
    async with held(up, "connections"):
        # This session is one of the reserved ones.
        assert await value(up, free) <= 0
    await eventually("connections", lambda: value(up, free), lambda count: count > 5)


async def test_sessions_deadlock(up: Up) -> None:
    count = "select deadlocks from pg_stat_database where datname = current_database()"
    async with held(up, "deadlocks"):
        await eventually("a deadlock", lambda: value(up, count), lambda seen: seen >= 1)
    await up.posted("after-the-deadlocks")


async def test_a_slot_loses_what_it_needs(up: Up) -> None:
    """And the audit's slot, which is read, does not."""
    its = "from pg_replication_slots where slot_name = 'ledger_fault_slot'"
    read = "select count(*) from pg_replication_slots where slot_name like 'ledger_audit%' and wal_status = 'reserved'"
    async with held(up, "slot"):
        assert await value(up, f"select wal_status {its}") in ("unreserved", "lost")
        assert await value(up, read) == 1
    assert await value(up, f"select count(*) {its}") == 0
    assert await value(up, "select current_setting('max_slot_wal_keep_size')") == "1GB"


async def test_archiving_fails_and_works_again(up: Up) -> None:
    failed = "select failed_count from pg_stat_archiver"
    async with held(up, "archive"):
        await eventually("a failure", lambda: value(up, failed), lambda count: count >= 1)
    assert await value(up, "select current_setting('archive_command')") == "/bin/true"


@pytest.mark.full
async def test_a_damaged_page_is_noticed_and_thrown_away(up: Up) -> None:
    count = "select coalesce(sum(checksum_failures), 0) from pg_stat_database"
    async with held(up, "damage"):
        await eventually("a failure", lambda: value(up, count), lambda seen: seen >= 1)
    left = "select count(*) from pg_database where datname like 'ledger_fault%'"
    assert await value(up, left) == 0
    await up.posted("after-the-damage")


@pytest.mark.full
async def test_a_slow_database_still_posts(up: Up) -> None:
    held_now = (
        "select count(*) from pg_locks where granted and mode = 'AccessExclusiveLock'"
        " and relation = 'ledger.accounts'::regclass"
    )
    async with held(up, "slow"):
        await eventually("the lock", lambda: value(up, held_now), lambda count: count == 1)
        await up.posted("slowly")


async def test_one_fault_is_held_once(up: Up) -> None:
    async with held(up, "stall"):
        with pytest.raises(LedgerError, match="held already"):
            async with held(up, "stall"):
                pass
    await up.posted("after-two-stalls")


async def test_an_altered_balance_is_found_while_it_is_held_and_leaves_nothing(up: Up) -> None:
    async def checks() -> dict[str, Any]:
        _, [report] = await up.command("reconcile", "-o", "json")
        return {one["check"]: one for one in report["checks"]}

    async with held(up, "drift"):
        found = await checks()
        assert found["balance"]["drift_count"] == found["zero_sum"]["drift_count"] == 1
        assert found["balance"]["findings"][0]["account_id"] == "external:fault-drift"
        assert found["balance"]["drift_value_minor"] == 4200
    found = await checks()
    assert found["balance"]["state"] == found["zero_sum"]["state"] == "agrees"
    # Against the standby and the audit trail that `up` has running.
    assert found["replica"]["state"] == found["audit"]["state"] == "agrees", found
    named = "select count(*) from ledger.accounts where account_id = 'external:fault-drift'"
    assert await value(up, named) == 0


async def test_a_replica_that_does_not_replay_shows_what_was_there_before(up: Up) -> None:
    async def lag() -> Any:
        return await value(
            up, "select pg_wal_lsn_diff(sent_lsn, replay_lsn) from pg_stat_replication"
        )

    async with held(up, "replica-lag"):
        before = await up.read("/v1/accounts/alice/balance")
        await up.posted("not-replayed")
        await eventually("a lag on the primary", lag, lambda seen: seen is not None and seen > 0)
        # Who has no position is told what the replica has; nobody is told of trouble.
        assert await up.read("/v1/accounts/alice/balance") == before
    await eventually("no lag", lag, lambda seen: seen == 0)
    await up.posted("replayed-again")


async def test_commits_wait_as_for_a_slow_disk(up: Up) -> None:
    query = "select setting::int from pg_settings where name = 'commit_delay'"
    before = await value(up, query)
    async with held(up, "slow-fsync"):
        await eventually("the delay", lambda: value(up, query), lambda seen: seen == 100_000)
        await up.posted("slowly")
    await eventually("none", lambda: value(up, query), lambda seen: seen == before)
    assert before == 0
    await up.posted("fast-again")
