"""Goal: a real PostgreSQL 15 is read whole by the role of our documents, whatever its users, locks and failures do.

Method: one server for the module; each test makes trouble from connections of its own and looks at what polls say. The
clock is the test's: ten seconds pass between two polls, and what is read less often is due when its time has come.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.errors import UnreachableError, UntrustedError
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import Duration, FilePath
from sentinel.scrapers.postgres.config import TlsMode
from sentinel.scrapers.postgres.schedule import Due, Schedule
from sentinel.scrapers.postgres.session import DeniedError
from tests.support.postgres_scene import Scene, config_for, scene
from tests.support.postgres_server import ROLE_PASSWORD, PostgresServer, postgres_server
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAN = "4111111111111111"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(
        15, shared_preload_libraries="pg_stat_statements", deadlock_timeout="50ms"
    ) as made:
        made.run(
            "psql",
            *("-X", "-q", "-h", str(made.folder), "-p", str(made.port), "-U", "postgres"),
            *("-c", "CREATE DATABASE app"),
        )
        made.make_role("postgres", "app")
        yield made


@pytest.fixture
async def watched(server: PostgresServer) -> AsyncIterator[Scene]:
    async with scene(config_for(server, database="app")) as made:
        yield made


@asynccontextmanager
async def clients(server: PostgresServer, count: int, **more: Any) -> AsyncIterator[list[Any]]:
    """Connections of somebody else to the database that is watched."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            connection = await server.connect("app", **more)
            stack.push_async_callback(connection.close, timeout=5)
            made.append(connection)
        yield made


async def test_users_work_is_read_and_nothing_that_they_wrote(
    server: PostgresServer, watched: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await watched.poll()
    async with clients(server, 1) as (client,):
        await client.execute(
            "CREATE TABLE cards (pan text, holder int); CREATE INDEX on cards (holder);"
            f"INSERT INTO cards SELECT '{PAN}', n FROM generate_series(1, 3000) n"
        )
        await client.execute("DELETE FROM cards WHERE holder % 3 = 0")
        for _ in range(30):
            await client.fetch(
                f"SELECT * FROM cards /* {PAN} */ WHERE pan = '{PAN}' AND holder = 5"
            )
        # Such a statement keeps its literal in pg_stat_statements.
        await client.execute(f"COMMENT ON TABLE cards IS '{PAN}'")
        await client.execute(f"SET application_name = 'x{PAN}'")
        with pytest.raises(asyncpg.PostgresError):
            await client.execute("SELECT 1 / 0")
        await client.execute("SELECT pg_stat_force_next_flush()")
        caplog.set_level(logging.DEBUG)
        first = await watched.poll(after_s=60.0)
        succeeded, failed = watched.calls("app")
        assert (succeeded >= 35, failed) == (True, 1)
        await client.fetch(f"SELECT * FROM cards WHERE pan = '{PAN}' AND holder = 7")
        found = await watched.poll(after_s=60.0)
    assert watched.notes == ()
    assert first["app public.cards", "dead_rows_ratio"] == pytest.approx(1 / 3, abs=0.01)
    assert found["app", "cache_hit_ratio"] > 0.5
    assert first["app", "rows_written_per_s"] > 0
    assert first["wal", "wal_bytes_per_s"] > 0
    assert first["app", "size_bytes"] > 2**20
    assert first["app", "xid_age_ratio"] > 0
    statements = {route for route, signal_ in found if signal_ == "exec_time_ratio"}
    (select,) = [one for one in statements if "select * from cards where pan" in one]
    assert found[select, "calls_per_s"] == pytest.approx(1 / 60)
    assert found["statements", "mean_time_s"] > 0
    told = repr(watched.last) + caplog.text + repr(await watched.target.reach())
    told += watched.surroundings.metrics.exposition(openmetrics=False).decode()
    assert PAN not in told
    assert not any(result for result in (watched.asked("activity", "absent"),))


async def test_a_watched_database_that_rests_has_no_traffic(watched: Scene) -> None:
    """What the sidecar asks is itself transactions: they were a stage's traffic that never stopped."""
    counted = []
    for _ in range(5):
        await watched.poll()
        await asyncio.sleep(0.05)
        if watched.last is not None and watched.last.batch.distributions:
            counted.append(watched.calls("app"))
    assert len(counted) == 4
    # A worker of autovacuum may have looked in.
    assert sum(succeeded + failed for succeeded, failed in counted) <= 3


async def test_a_table_that_is_locked_holds_nothing_up(
    server: PostgresServer, watched: Scene
) -> None:
    """Functions that measure a relation wait for its lock; a monitor that calls them hangs with everybody else."""
    async with clients(server, 2) as (holder, waiter):
        await holder.execute("CREATE TABLE IF NOT EXISTS held (n int)")
        async with holder.transaction():
            await holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
            waiting = asyncio.create_task(waiter.fetch("SELECT * FROM held"))
            while not await _waits(server):
                await asyncio.sleep(0.02)
            found = await watched.poll()
            assert watched.notes == ()
            assert found["locks", "sessions_blocked_count"] == 1.0
            assert found["locks", "sessions_blocking_count"] == 1.0
            assert found["locks", "lock_wait_max_s"] >= 0.0
            assert found["locks AccessShareLock", "locks_waited_count"] == 1.0
            assert found["activity", "sessions_waiting_lock_count"] == 1.0
            assert ("app public.held", "dead_rows_count") in found
        await waiting
    found = await watched.poll()
    assert found["locks", "sessions_blocked_count"] == 0.0


async def _waits(server: PostgresServer) -> bool:
    connection = await server.connect()
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    finally:
        await connection.close()


async def test_a_catalogue_that_is_locked_costs_what_is_read_from_it(
    server: PostgresServer, watched: Scene
) -> None:
    async with clients(server, 1) as (holder,):
        async with holder.transaction():
            await holder.execute("LOCK TABLE pg_catalog.pg_stat_archiver IN ACCESS EXCLUSIVE MODE")
            found = await watched.poll()
            assert ("archiver", "archiver_failing_count") not in found
            assert found["connections", "connections_used_count"] >= 2
            (note,) = watched.notes
            assert note == "archiver: the answer took too long and is asked for more seldom"
        assert ("archiver", "archiver_failing_count") not in await watched.poll()
        found = await watched.poll(after_s=130.0)
    assert found["archiver", "archiver_failing_count"] == 0.0
    assert watched.notes == ()


async def test_what_is_cut_for_its_cost_leaves_no_zero_and_is_told(
    server: PostgresServer, watched: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine answers took long, the traffic was asked for each minute, and was 0 in between; nobody was told."""
    answered = Schedule.answered
    took_s = 0.5

    def slowly(self: Schedule, one: Due, *, now_s: float, elapsed_s: float) -> None:
        cost_s = took_s if one.query.subject == "databases" else 0.0
        answered(self, one, now_s=now_s, elapsed_s=elapsed_s + cost_s)

    monkeypatch.setattr(Schedule, "answered", slowly)
    start_ns = watched.clock.now_ns()
    windows = Aggregator(SeriesSettings(), start_ns=start_ns)
    traffic: list[float] = []
    polls = 40

    async with clients(server, 1) as (client,):
        for _ in range(polls):
            for _ in range(10):
                # A transaction that touches no table is counted later.
                await client.fetch("SELECT count(*) FROM pg_class")
            await client.execute("SELECT pg_stat_force_next_flush()")
            await watched.poll()
            assert watched.last is not None
            windows.add(watched.last.batch, watched.clock.now_ns())
            for closed in windows.close(watched.clock.now_ns() + 5 * 10**9).windows:
                traffic += [
                    value
                    for key, value in zip(closed.keys, closed.value.tolist(), strict=True)
                    if key[1:] == ("database", "app", "traffic")
                ]
    told = [value for value in traffic if not math.isnan(value)]
    assert len(traffic) > polls - 5
    assert 5 <= len(told) < polls / 4
    assert min(told) > 0.9
    unasked = watched.surroundings.metrics.value(
        "sentinel_postgres_unasked_total",
        target=watched.target.name,
        subject="databases",
        reason="cost",
    )
    assert unasked == polls - watched.asked("databases", "ok") > polls / 2
    assert watched.asked("activity", "ok") == polls
    (note,) = watched.notes
    assert note.startswith("answers take more of the server than cost_ratio_max (0.005) lets")
    assert "every 100 s at worst" in note
    took_s = 0.0
    for _ in range(90):
        await watched.poll()
    assert watched.notes == ()


async def test_what_a_poll_has_no_time_for_is_counted_and_leaves_no_zero(
    watched: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.polls(2)
    assert watched.calls("app")
    now_s = watched.clock.monotonic_s
    calls = iter(range(10**6))
    # The poll's time is over as soon as it has begun.
    monkeypatch.setattr(watched.clock, "monotonic_s", lambda: now_s() + 100.0 * next(calls))
    await watched.poll()
    assert watched.last is not None
    assert {point.pending for point in watched.last.batch.distributions} == {True}
    for subject in ("databases", "activity", "connections"):
        unasked = watched.surroundings.metrics.value(
            "sentinel_postgres_unasked_total",
            target=watched.target.name,
            subject=subject,
            reason="time",
        )
        assert unasked == 1


async def test_a_question_that_takes_too_long_is_ended_by_the_server(
    server: PostgresServer,
) -> None:
    config = config_for(server, database="app", statement_timeout=Duration(0.3))
    async with scene(config) as watched:
        (wal,) = [one for one in watched.target._schedule.entries if one.query.subject == "wal"]
        object.__setattr__(wal.query, "sql", {150_000: "SELECT pg_sleep(60)"})
        found = await watched.poll()
        assert watched.asked("wal", "slow") == 1
        assert found["slots", "slots_count"] == 0.0
        await watched.poll()
        assert watched.asked("wal", "slow") == 1
        assert watched.asked("slots", "ok") == 1


async def test_a_role_without_rights_sees_what_everyone_may_and_says_what_it_lacks(
    server: PostgresServer,
) -> None:
    await server.execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN PASSWORD 'plain-1'")
    config = config_for(server, database="app", user="plain")
    Path(config.password_file).write_text("plain-1")
    async with clients(server, 1), scene(config) as watched:
        found = await watched.polls(2)
        notes = "; ".join(watched.notes)
        assert "activity: only sessions of its own role are seen" in notes
        assert 'GRANT pg_monitor TO "plain"' in notes
        assert "wal_files: permission denied" in notes
        assert found["connections", "connections_used_count"] >= 2
        assert watched.calls("app")[1] == 0
        assert found["app", "size_bytes"] > 0
        lacking = {one.what: one for one in await watched.target.reach()}
    rights = lacking["scrapers.postgres main rights"]
    assert rights.status is ReachStatus.DEGRADED
    assert rights.remedy == 'GRANT pg_monitor TO "plain"'


async def test_a_restart_costs_a_poll_and_no_storm(server: PostgresServer) -> None:
    async with scene(config_for(server, database="app")) as watched:
        await watched.polls(2)
        server.stop(signal.SIGQUIT)
        try:
            with pytest.raises(UnreachableError):
                await watched.poll()
            with pytest.raises(UnreachableError, match="cannot be connected to"):
                await watched.poll()
            tried = watched.target._links["app"]._attempts
            with pytest.raises(UnreachableError):
                await watched.poll(after_s=0.0)
            assert watched.target._links["app"]._attempts == tried, "the wait lasts"
        finally:
            server.start()
        found = await watched.poll()
        assert found["connections", "connections_used_count"] >= 1
        assert ("app", "size_bytes") in found
        assert watched.last is not None
        pending = {point.pending for point in watched.last.batch.distributions}
        assert pending == {True}, "a server that began anew has no gains yet, which is not none"
        await watched.poll()
        assert watched.calls("app")[1] == 0


async def test_a_server_that_hangs_is_given_up_in_time_and_taken_back(
    server: PostgresServer,
) -> None:
    """A process that is stopped answers nothing and closes nothing: only time tells."""
    config = config_for(
        server, database="app", statement_timeout=Duration(0.3), lock_timeout=Duration(0.2)
    )
    async with scene(config) as watched, clients(server, 1) as (client,):
        await watched.poll()
        pid = await client.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'sentinel'"
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(UnreachableError):
                await watched.poll()
        finally:
            os.kill(pid, signal.SIGCONT)
        found = await watched.poll()
        assert found["connections", "connections_used_count"] >= 2


async def test_a_full_server_is_seen_from_the_place_that_was_kept_and_told_by_who_is_refused(
    server: PostgresServer, watched: Scene
) -> None:
    await watched.poll()
    await server.execute("DROP ROLE IF EXISTS crowd; CREATE ROLE crowd LOGIN PASSWORD 'crowd-1'")
    async with AsyncExitStack() as stack:
        try:
            while True:
                client = await server.connect("app", user="crowd", password="crowd-1")
                stack.push_async_callback(client.close, timeout=5)
        except asyncpg.TooManyConnectionsError:
            pass
        found = await watched.poll()
        assert found["connections", "connections_used_ratio"] >= 0.9
        assert found["connections", "clients_refused_count"] == 0.0
        async with scene(config_for(server, database="app", name="late")) as late:
            found = await late.poll()
            assert found == {("connections", "clients_refused_count"): 1.0}
            assert late.last is not None
            assert late.last.batch.services == {"postgres"}
            assert "refused: too many connections, the server is full" in late.notes[0]
    found = await watched.poll()
    assert found["connections", "connections_used_ratio"] < 0.5


async def test_a_role_that_used_up_its_own_limit_is_no_full_server(
    server: PostgresServer, watched: Scene
) -> None:
    await server.execute(
        "DROP ROLE IF EXISTS narrow; CREATE ROLE narrow LOGIN PASSWORD 'narrow-1' CONNECTION LIMIT 2"
    )
    async with clients(server, 2, user="narrow", password="narrow-1"):
        found = await watched.poll()
        assert found["role narrow", "role_connections_used_ratio"] == 1.0
        assert found["connections", "connections_used_ratio"] < 0.5
        config = config_for(server, database="app", user="narrow")
        Path(config.password_file).write_text("narrow-1")
        async with scene(config) as late:
            with pytest.raises(DeniedError, match="its own CONNECTION LIMIT") as refused:
                await late.poll()
            assert not refused.value.server_is_full


async def test_a_deadlock_and_a_transaction_that_lies_idle(
    server: PostgresServer, watched: Scene
) -> None:
    await watched.poll()
    async with clients(server, 3) as (one, other, idle):
        await one.execute("DROP TABLE IF EXISTS d; CREATE TABLE d AS SELECT 1 AS n UNION SELECT 2")
        begun = idle.transaction()
        await begun.start()
        await idle.fetch("SELECT txid_current()")
        await one.execute("BEGIN; UPDATE d SET n = n WHERE n = 1")
        await other.execute("BEGIN; UPDATE d SET n = n WHERE n = 2")
        crossed = await asyncio.gather(
            one.execute("UPDATE d SET n = n WHERE n = 2"),
            other.execute("UPDATE d SET n = n WHERE n = 1"),
            return_exceptions=True,
        )
        assert any(isinstance(error, asyncpg.DeadlockDetectedError) for error in crossed)
        for client in (one, other):
            await client.execute("ROLLBACK; SELECT pg_stat_force_next_flush()")
        await asyncio.sleep(0.2)
        found = await watched.poll()
        await begun.rollback()
    assert found["app", "deadlocks_per_s"] == pytest.approx(0.1)
    assert found["activity", "sessions_idle_in_transaction_count"] == 1.0
    assert found["activity", "idle_in_transaction_max_s"] > 0.1
    assert found["activity", "oldest_transaction_s"] > 0.1
    assert found["activity", "horizon_age_count"] >= 0


async def test_a_password_that_was_changed_needs_no_restart(server: PostgresServer) -> None:
    await server.execute("DROP ROLE IF EXISTS turning; CREATE ROLE turning LOGIN PASSWORD 'old-1'")
    config = config_for(server, database="app", user="turning")
    file = Path(config.password_file)
    file.write_text("old-1\n")
    async with scene(config) as watched:
        await watched.poll()
        await server.execute(
            "ALTER ROLE turning PASSWORD 'new-2';"
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'turning'"
        )
        with pytest.raises((UnreachableError, DeniedError)):
            await watched.poll()
        with pytest.raises(DeniedError, match="28P01") as denied:
            await watched.poll()
        assert "old-1" not in str(denied.value)
        file.write_text("new-2\n")
        assert await watched.poll()


async def test_one_database_of_several_that_is_away_disturbs_no_other(
    server: PostgresServer,
) -> None:
    config = config_for(server, database="app", databases=("postgres", "gone"))
    async with scene(config) as watched:
        await server.execute("CREATE TABLE IF NOT EXISTS there (n int)")
        found = await watched.poll()
        assert ("postgres public.there", "dead_rows_count") in found
        assert found["app", "invalid_indexes_count"] == 0.0
        assert [note.startswith("database gone:") for note in watched.notes] == [True]
        count = watched.surroundings.metrics.value(
            "sentinel_postgres_connections_count", target="main"
        )
        assert count == 2
        await watched.target.close()
        await watched.target.close()


async def test_bloat_is_measured_where_that_is_allowed_and_said_to_be_absent_where_not(
    server: PostgresServer,
) -> None:
    async with clients(server, 1) as (client,):
        await client.execute(
            "CREATE TABLE puffed AS SELECT n, repeat('x', 100) AS filling FROM generate_series(1, 20000) n;"
            "DELETE FROM puffed WHERE n % 2 = 0; ANALYZE puffed"
        )
        async with scene(config_for(server, database="app")) as watched:
            found = await watched.poll()
            assert ("app public.puffed", "bloat_ratio") not in found
            assert watched.notes == ()
            bloat = {one.what: one for one in await watched.target.reach()}
        assert "not to be seen" in bloat["scrapers.postgres main bloat"].sentence
        await client.execute("GRANT SELECT ON puffed TO sentinel")
        await client.execute("VACUUM ANALYZE puffed")
        async with scene(config_for(server, database="app")) as watched:
            estimated = (await watched.poll())["app public.puffed", "bloat_ratio"]
        await client.execute("CREATE EXTENSION pgstattuple; REVOKE SELECT ON puffed FROM sentinel")
        try:
            async with scene(config_for(server, database="app")) as watched:
                measured = (await watched.poll())["app public.puffed", "bloat_ratio"]
        finally:
            await client.execute("DROP EXTENSION pgstattuple; DROP TABLE puffed")
    assert estimated == pytest.approx(0.5, abs=0.08)
    assert measured == pytest.approx(0.5, abs=0.08)


async def test_the_session_can_only_read_within_its_limits(
    server: PostgresServer, watched: Scene
) -> None:
    await watched.poll()
    session = watched.target._links["app"].session
    assert session is not None
    names = ("statement_timeout", "lock_timeout", "search_path", "application_name", "jit")
    (row,) = await session.fetch(
        "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    )
    assert row == {
        "statement_timeout": "2s",
        "lock_timeout": "200ms",
        "search_path": "pg_catalog",
        "application_name": "sentinel",
        "jit": "off",
    }
    with pytest.raises(Exception, match="read-only transaction"):
        await session.fetch("CREATE TABLE pg_temp.x (n int)")
    async with clients(server, 1) as (client,):
        await client.execute("CREATE TABLE IF NOT EXISTS payments (pan text)")
    with pytest.raises(Exception, match="permission denied"):
        await session.fetch("SELECT * FROM public.payments")
    sock = session._connection._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_the_file_that_makes_the_role_leaves_its_password_nowhere(
    server: PostgresServer,
) -> None:
    """pg_stat_statements kept `ALTER ROLE ... PASSWORD` with the password in it, to be read by every monitor."""
    server.make_role("app")
    async with clients(server, 1) as (client,):
        kept = await client.fetch("SELECT query FROM pg_stat_statements WHERE query ~* 'role'")
        stored = await client.fetchval(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'sentinel'"
        )
    assert kept
    assert not any(ROLE_PASSWORD in row["query"] for row in kept)
    assert stored.startswith("SCRAM-SHA-256$")


async def test_what_keeps_us_out_is_told_with_its_remedy(server: PostgresServer) -> None:
    async def found(**more: Any) -> tuple[str, str]:
        async with scene(config_for(server, **more)) as watched:
            (one,) = await watched.target.reach()
        assert one.status is ReachStatus.FAILING
        return one.sentence, one.remedy

    sentence, remedy = await found(user="nobody-here")
    assert "28P01" in sentence
    sentence, remedy = await found(database="nowhere")
    assert "nowhere" in sentence
    assert 'CREATE DATABASE "nowhere"' in remedy
    sentence, remedy = await found(port=1)
    assert sentence.endswith("cannot be connected to: connection refused")
    assert remedy.startswith("is the server running")
    # With a colon before it, the reason itself was taken for a password: "[SECRET] such file or directory".
    sentence, remedy = await found(password_file=FilePath("/nowhere/a.password"))
    assert (
        "the password cannot be read from /nowhere/a.password (No such file or directory)"
        in sentence
    )


async def test_a_server_is_believed_by_its_certificate_and_its_name(
    server: PostgresServer, tmp_path: Path
) -> None:
    ours, key = make_certificate(tmp_path, "server")
    other, _ = make_certificate(tmp_path, "other")
    for source, name in ((ours, "server.crt"), (key, "server.key")):
        target = server.data / name
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)
        owner = server.data.stat()
        os.chown(target, owner.st_uid, owner.st_gid)
    await server.execute("ALTER SYSTEM SET ssl = on")
    await server.execute("SELECT pg_reload_conf()")
    try:
        full = {"tls": TlsMode.VERIFY_FULL, "ca_file": FilePath(str(ours))}
        async with scene(config_for(server, **full)) as watched:
            while not await _encrypted(watched):
                await watched.target.close()
                await asyncio.sleep(0.05)
        wrong = {"tls": TlsMode.VERIFY_FULL, "ca_file": FilePath(str(other))}
        async with scene(config_for(server, **wrong)) as watched:
            with pytest.raises(UntrustedError, match="failed: certificate not trusted"):
                await watched.poll()
            (one,) = await watched.target.reach()
            assert "ca_file" in one.remedy
    finally:
        await server.execute("ALTER SYSTEM RESET ssl")
        await server.execute("SELECT pg_reload_conf()")


async def _encrypted(watched: Scene) -> bool:
    try:
        await watched.poll()
    except (UnreachableError, DeniedError):
        return False
    session = watched.target._links["postgres"].session
    assert session is not None
    (row,) = await session.fetch("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    return bool(row["ssl"])


async def test_tls_that_was_asked_for_is_never_done_without(server: PostgresServer) -> None:
    async with scene(config_for(server, tls=TlsMode.VERIFY_FULL)) as watched:
        with pytest.raises(UnreachableError, match="rejected SSL"):
            await watched.poll()
