"""Faults of PostgreSQL: locks, connections, deadlocks, slots, archiving, damage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target, repeated
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.postgres import Connection

_PATIENT: Final = {"statement_timeout": "60000", "lock_timeout": "10000"}
_SLOT: Final = "ledger_fault_slot"
_KEEP_WAL: Final = "16MB"
_SEGMENTS: Final = 4
_BEHIND: Final = """
select count(*) from pg_replication_slots
where slot_name <> $1 and wal_status <> 'lost' and pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 8 * 1024 * 1024
"""
_FOLLOW_ATTEMPTS: Final = 100
_FOLLOW_PAUSE_S: Final = 0.1
_DAMAGED: Final = ("ledger_fault_whole", "ledger_fault_damaged")
_PAGE_BYTES: Final = 8192


@asynccontextmanager
async def lock(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Hold the accounts table's strongest lock in a session of its own."""
    settings = {
        "statement_timeout": "0",
        "lock_timeout": "10000",
        # Should this process hang, the server ends the session and with it the lock.
        "idle_in_transaction_session_timeout": str(int((config.seconds + 30) * 1000)),
    }
    async with (
        postgres.session(
            target.postgres, application_name="ledger_fault:lock", settings=settings
        ) as session,
        session.transaction(),
    ):
        await session.execute("lock table ledger.accounts in access exclusive mode")
        await _tell_replicas(target)
        yield {"table": "ledger.accounts", "mode": "access exclusive"}


@asynccontextmanager
async def slow(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Hold the same lock most of the time, never as long as anybody's limit."""
    del config

    async def hold() -> None:
        async with _session(target, "slow") as session, session.transaction():
            await session.execute("lock table ledger.accounts in access exclusive mode")
            await _tell_replicas(target)
            await asyncio.sleep(1.0)

    async with repeated(hold, every_s=0.25):
        yield {"held_s": 1.0, "free_s": 0.25}


@asynccontextmanager
async def connections(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Take every connection that is left for clients; those for operators stay free."""
    del config
    async with AsyncExitStack() as held, _session(target, "connections") as session:

        async def take() -> None:
            free = await session.fetchval(
                "select current_setting('max_connections')::int"
                " - current_setting('superuser_reserved_connections')::int - count(*)::int"
                " from pg_stat_activity where backend_type = 'client backend'"
            )
            for _ in range(free):
                await held.enter_async_context(_session(target, "connections"))

        await take()
        async with repeated(take, every_s=2.0):
            yield {"reserved": "superuser_reserved_connections"}


@asynccontextmanager
async def deadlocks(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have two sessions wait for each other, every few seconds."""
    del config
    async with _session(target, "deadlocks") as one, _session(target, "deadlocks") as other:

        async def meet() -> None:
            await asyncio.gather(
                _both(one, 7_104_001, 7_104_002), _both(other, 7_104_002, 7_104_001)
            )

        async with repeated(meet, every_s=10.0):
            yield {"every_s": 10.0}


async def _both(session: Connection, first: int, second: int) -> None:
    # One of the two is ended by the server, and that is what is wanted.
    with suppress(UnavailableError), postgres.translated():
        async with session.transaction():
            await session.execute("select pg_advisory_xact_lock($1)", first)
            await asyncio.sleep(0.2)
            await session.execute("select pg_advisory_xact_lock($1)", second)


@asynccontextmanager
async def slot(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Leave a replication slot that nobody reads behind, until what it needs is gone."""
    del config
    target.note(slot=_SLOT)
    async with _session(target, "slot") as session:
        await session.execute(f"alter system set max_slot_wal_keep_size = '{_KEEP_WAL}'")
        await session.execute("select pg_reload_conf()")
        await session.execute("select pg_create_physical_replication_slot($1, true)", _SLOT)
        for _ in range(_SEGMENTS):
            await _next_segment(session)
        await _let_others_follow(session)
        await session.execute("checkpoint")
        yield {"slot": _SLOT, "max_slot_wal_keep_size": _KEEP_WAL}


async def _let_others_follow(session: Connection) -> None:
    """Wait a moment for slots that are read: the fault is of the one that nobody reads."""
    for _ in range(_FOLLOW_ATTEMPTS):
        if not await session.fetchval(_BEHIND, _SLOT):
            return
        await asyncio.sleep(_FOLLOW_PAUSE_S)


async def drop_slot(target: Target) -> None:
    """Drop the slot and take the limit back."""
    async with _session(target, "slot") as session:
        await session.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
            _SLOT,
        )
        await session.execute("alter system reset max_slot_wal_keep_size")
        await session.execute("select pg_reload_conf()")


@asynccontextmanager
async def archive(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have every attempt to archive the log fail.

    Raises:
        LedgerError: this server does not archive.
    """
    del config
    async with _session(target, "archive") as session:
        if await session.fetchval("select current_setting('archive_mode')") == "off":
            message = "this server does not archive its log (archive_mode)"
            raise LedgerError(message)
        target.note(archive_command="/bin/false")
        await session.execute("alter system set archive_command = '/bin/false'")
        await session.execute("select pg_reload_conf()")

        async def fill() -> None:
            await _next_segment(session)

        async with repeated(fill, every_s=60.0):
            yield {"archive_command": "/bin/false"}


async def archive_again(target: Target) -> None:
    """Take the command back that archives."""
    async with _session(target, "archive") as session:
        await session.execute("alter system reset archive_command")
        await session.execute("select pg_reload_conf()")


@asynccontextmanager
async def damage(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Damage a page of a database made for it, and have it read.

    The database is copied file by file, so that none of its pages is in the server's memory when the file is written to.

    Raises:
        LedgerError: this server has no checksums, or its files are not this machine's.
    """
    del config
    whole, damaged = _DAMAGED
    async with _session(target, "damage") as session:
        if await session.fetchval("select current_setting('data_checksums')") == "off":
            message = "this server keeps no checksums (data_checksums)"
            raise LedgerError(message)
        await drop_damaged(target)
        target.note(databases=list(_DAMAGED))
        await session.execute(f"create database {whole}")
        async with _session(target, "damage", database=whole) as first:
            await first.execute(
                "create table public.pages as select generate_series(1, 1000) as number"
            )
            file = await first.fetchval("select pg_relation_filenode('public.pages')")
        await session.execute(f"create database {damaged} template {whole} strategy file_copy")
        folder = await session.fetchval("select current_setting('data_directory')")
        oid = await session.fetchval("select oid from pg_database where datname = $1", damaged)
        _scratch(Path(folder) / "base" / str(oid) / str(file))

        async def read() -> None:
            async with _session(target, "damage", database=damaged) as reader:
                with suppress(PermanentError), postgres.translated():
                    await reader.fetch("select count(*) from public.pages")

        async with repeated(read, every_s=10.0):
            yield {"database": damaged}


async def drop_damaged(target: Target) -> None:
    """Drop what was made to be damaged."""
    async with _session(target, "damage") as session:
        for name in _DAMAGED:
            await session.execute(f"drop database if exists {name} with (force)")


def _scratch(file: Path) -> None:
    try:
        with file.open("r+b") as pages:
            pages.seek(_PAGE_BYTES // 2)
            pages.write(b"\xff" * 64)
    except OSError as error:
        message = f"the server's files are not to be had: {error.strerror}"
        raise LedgerError(message) from error


async def _tell_replicas(target: Target) -> None:
    """Have the log written out: a lock is in it, and holds on replicas too once they have come to it.

    Otherwise a commit does that, and none may come while the lock is held.
    """
    async with _session(target, "lock") as session:
        await session.execute("select pg_logical_emit_message(true, 'ledger_fault', 'x')")


async def _next_segment(session: Connection) -> None:
    await session.execute("select pg_logical_emit_message(false, 'ledger_fault', 'x')")
    await session.execute("select pg_switch_wal()")


@asynccontextmanager
async def _session(
    target: Target, what: str, *, database: str | None = None
) -> AsyncIterator[Connection]:
    where = target.postgres
    if database is not None:
        where = replace(where, url=f"{where.url.rpartition('/')[0]}/{database}")
    async with postgres.session(
        where, application_name=f"ledger_fault:{what}", settings=_PATIENT
    ) as session:
        yield session
