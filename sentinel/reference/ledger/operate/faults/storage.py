"""Faults of what is below the database: a replica that falls behind, a disk that is slow to confirm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.postgres import Connection

# The longest that PostgreSQL takes, in microseconds.
_DELAY_US: Final = 100_000
_PAUSE_TIMEOUT_S: Final = 10


@asynccontextmanager
async def replica_lag(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have the replica receive the log and not replay it.

    Raises:
        LedgerError: this run has no replica.
        TimeoutError: it did not stop replaying.
    """
    del config
    async with _on_replica(target) as session:
        target.note(paused=True)
        await session.execute("select pg_wal_replay_pause()")
        # What is being replayed is finished first: until then the replica still moves.
        async with asyncio.timeout(_PAUSE_TIMEOUT_S):
            while await session.fetchval("select pg_get_wal_replay_pause_state()") != "paused":  # noqa: ASYNC110  # the server tells nobody
                await asyncio.sleep(0.02)
        yield {"replay": "paused"}


async def replay_again(target: Target) -> None:
    """Let the replica replay; harmless when it does, or has become a primary."""
    async with _on_replica(target) as session:
        if await session.fetchval("select pg_is_in_recovery()"):
            await session.execute("select pg_wal_replay_resume()")


@asynccontextmanager
async def slow_fsync(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have each commit wait before it is flushed, as long as on a disk that takes so long to confirm.

    The disk itself is as fast as ever, and what flushes besides commits is not slowed: a checkpoint for one.
    """
    del config
    async with _on_primary(target) as session:
        target.note(commit_delay=_DELAY_US)
        await session.execute(f"alter system set commit_delay = {_DELAY_US}")
        await session.execute("alter system set commit_siblings = 0")
        await session.execute("select pg_reload_conf()")
    yield {"commit_delay_s": _DELAY_US / 1_000_000}


async def fast_fsync(target: Target) -> None:
    """Take the delay back."""
    async with _on_primary(target) as session:
        await session.execute("alter system reset commit_delay")
        await session.execute("alter system reset commit_siblings")
        await session.execute("select pg_reload_conf()")


@asynccontextmanager
async def _on_replica(target: Target) -> AsyncIterator[Connection]:
    async with postgres.session(
        target.replica, application_name="ledger_fault:replica-lag"
    ) as session:
        yield session


@asynccontextmanager
async def _on_primary(target: Target) -> AsyncIterator[Connection]:
    async with postgres.session(
        target.postgres, application_name="ledger_fault:slow-fsync"
    ) as session:
        yield session
