"""PostgreSQL through asyncpg: connections with time limits, migrations, errors by kind.

This is the one file that imports asyncpg. Its exceptions leave here as UnavailableError (the same
statement may succeed later) or PermanentError (it will not), with the SQLSTATE as `code`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # ships no types; the Protocols below stand for it

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.migrations import MIGRATIONS, SCHEMA

# Classes of SQLSTATE that mean trouble with the server or its neighbours, not with the statement.
_RETRYABLE_CLASSES: Final = frozenset({"08", "25", "40", "53", "55", "57", "58"})
# Two posters met on one key: the retry sees the other's row. A missing table: not yet migrated.
_RETRYABLE_STATES: Final = frozenset({"23505", "42P01", "3F000"})
_MIGRATION_LOCK: Final = 0x6C656467  # "ledg"
# A plan is kept, also that of a foreign key's check, and while a table is small all indexes of it look alike: a plan of an empty
# ledger's first moments reads all of a partition for one row, until the first `analyze` a minute later. So plans are made anew each
# time that a connection has been borrowed twice as often, for tables have at most doubled since then.
_PLANS_KEPT_COUNT: Final = 4096
_CONNECTIONS_KNOWN_MAX: Final = 1000


class Connection(Protocol):
    """The part of asyncpg's connection that the ledger uses."""

    async def fetch(self, query: str, *args: object) -> Sequence[Any]:
        """Return all rows."""

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Return the first row, or None."""

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement and return its command tag."""

    def transaction(self, *, isolation: str | None = None, readonly: bool = False) -> Any:
        """Return a transaction block, of the session's isolation unless another is named."""

    def cursor(self, query: str, *args: object, prefetch: int) -> Any:
        """Return an iterator that asks for some rows at a time, within a transaction."""

    async def close(self) -> None:
        """Close the connection."""

    def terminate(self) -> None:
        """Drop the connection without a word to the server."""


class Database:
    """A pool of connections, each statement of which ends within the configured time."""

    def __init__(self, config: PostgresConfig, pool: Any) -> None:
        self._config = config
        self._pool = pool
        self._borrowed: dict[int, int] = {}
        self.namespace = namespace(config.url)

    @classmethod
    async def connect(
        cls,
        config: PostgresConfig,
        *,
        application_name: str,
        settings: Mapping[str, str] | None = None,
        at_once: bool = True,
        resets: bool = True,
    ) -> Database:
        """Open the pool, whose connections have `settings` of the server beside the usual ones.

        Args:
            config: where the server is, and the limits.
            application_name: what the server shows of these connections.
            settings: of the session; they are what a connection comes back to.
            at_once: without it, it connects when it is first used, and the server may be away until then.
            resets: whether a connection that comes back is put as it was: settings, locks, cursors and listeners of the
                session end with whoever made them. That is a round trip for each borrower. Only a pool whose every
                borrower is one and the same, and asks for no tenant, does without.

        Raises:
            UnavailableError: the server does not answer in time or refuses.
            PermanentError: the server refuses for a reason that stays, such as a wrong password.
        """
        with translated():
            pool = await asyncpg.create_pool(
                config.url,
                min_size=1 if at_once else 0,
                max_size=config.pool_size_max,
                timeout=config.connect_timeout_s,
                command_timeout=config.command_timeout_s,
                # An open transaction is rolled back either way, and what fails in it has its connection closed.
                reset=None if resets else _nothing_to_undo,
                server_settings={**_settings(config, application_name), **(settings or {})},
            )
        return cls(config, pool)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Lend a connection; waiting for one has its limit too.

        Raises:
            UnavailableError: no connection came free, or what was done with it timed out.
            PermanentError: the server refused a statement.
        """
        with translated():
            try:
                connection = await self._pool.acquire(timeout=self._config.acquire_timeout_s)
            except TimeoutError:
                message = "no database connection came free in time"
                raise UnavailableError(message, code="pool_exhausted") from None
            try:
                await self._plan_anew(connection)
                yield connection
            finally:
                await self._take_back(connection)

    async def _plan_anew(self, connection: Any) -> None:
        """Drop the connection's plans now and then: tables that were small have grown."""
        if len(self._borrowed) >= _CONNECTIONS_KNOWN_MAX:
            self._borrowed.clear()  # of connections that have gone
        process_id = connection.get_server_pid()
        count = self._borrowed[process_id] = self._borrowed.get(process_id, 0) + 1
        if count > 1 and (count & (count - 1) == 0 or count % _PLANS_KEPT_COUNT == 0):
            await connection.execute("discard plans")

    async def _take_back(self, connection: Connection) -> None:
        # What was asked has been answered by now. The pool closes a connection that cannot be put as it was: the next
        # borrower has another, and this one need not be told.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await self._pool.release(connection, timeout=self._config.acquire_timeout_s)

    def occupancy(self) -> tuple[int, int]:
        """Return (idle, used) connections."""
        idle = int(self._pool.get_idle_size())
        return idle, int(self._pool.get_size()) - idle

    async def close(self) -> None:
        """Close the pool, giving statements in progress a moment."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=2.0)
        except TimeoutError:
            self._pool.terminate()


@asynccontextmanager
async def session(
    config: PostgresConfig, *, application_name: str, settings: dict[str, str] | None = None
) -> AsyncIterator[Connection]:
    """Open one connection outside any pool; errors leave translated.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the server refused.
    """
    with translated():
        connection: Connection = await asyncpg.connect(
            config.url,
            timeout=config.connect_timeout_s,
            server_settings={**_settings(config, application_name), **(settings or {})},
        )
        try:
            yield connection
        finally:
            try:
                await asyncio.wait_for(connection.close(), timeout=2.0)
            except TimeoutError:
                connection.terminate()


async def log_position(connection: Connection) -> str:
    """Return a place in the server's log that all that was committed before lies at or before.

    "" when it cannot be had: what was committed stays so, and to fail would have it tried again.
    """
    try:
        with translated():
            return str(await connection.fetchval("select pg_current_wal_lsn()::text"))
    except (UnavailableError, PermanentError):
        return ""


async def check_answers(config: PostgresConfig) -> None:
    """Ask the server for a sign of life.

    Raises:
        UnavailableError: it does not answer in time.
        PermanentError: it refuses, for instance a password.
    """
    async with session(config, application_name="ledger-look") as connection:
        await connection.fetchval("select 1")


async def migrate(config: PostgresConfig) -> int:
    """Bring the schema to this version and return it; several processes may try at once.

    One whose user may not change the schema can only find that nothing is to be done.

    Raises:
        LedgerError: the database was written by a newer version.
        UnavailableError: the server does not answer in time.
    """
    async with session(
        config, application_name="ledger-migrate", settings={"statement_timeout": "60000"}
    ) as connection:
        if await connection.fetchval("select to_regclass('ledger.schema_version')") is not None:
            newest = await connection.fetchval("select max(version) from ledger.schema_version")
            if newest == len(MIGRATIONS):
                return len(MIGRATIONS)
        await _migrate(connection)
    return len(MIGRATIONS)


async def _migrate(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(f"create schema if not exists {SCHEMA}")
        await connection.execute(
            "create table if not exists ledger.schema_version ("
            "version int primary key, applied_at timestamptz not null default now())"
        )
        current = await connection.fetchval(
            "select coalesce(max(version), 0) from ledger.schema_version"
        )
        if current > len(MIGRATIONS):
            message = (
                f"the database's schema is version {current}, newer than {len(MIGRATIONS)}, "
                "the newest this ledger knows; run the ledger that wrote it"
            )
            raise LedgerError(message)
        for version, statement in enumerate(MIGRATIONS[current:], start=current + 1):
            await connection.execute(statement)
            await connection.execute(
                "insert into ledger.schema_version (version) values ($1)", version
            )


async def _nothing_to_undo(_: object) -> None:
    """Leave a connection as it came back."""


def namespace(url: str) -> str:
    """Return `database|schema`, as the semantic conventions name a PostgreSQL namespace."""
    return f"{urlsplit(url).path.lstrip('/') or 'postgres'}|{SCHEMA}"


class translated:  # noqa: N801 - reads as a block: `with translated():`
    """Turns asyncpg's and the socket's exceptions into the ledger's own."""

    def __enter__(self) -> None:
        """Do nothing on entry."""

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        """Raise the ledger's exception in place of a library's."""
        if isinstance(failure, asyncpg.PostgresError):
            state = failure.sqlstate or ""
            text = str(failure).partition("\n")[0]
            if state[:2] in _RETRYABLE_CLASSES or state in _RETRYABLE_STATES:
                raise UnavailableError(text, code=state) from failure
            raise PermanentError(text, code=state) from failure
        if isinstance(failure, TimeoutError):
            message = "no answer from the database in time"
            raise UnavailableError(message, code="timeout") from failure
        # The last of them is asyncpg's own mistake, about a connection that ended between two statements.
        gone = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        if isinstance(failure, gone):
            message = f"no connection to the database: {type(failure).__name__}"
            raise UnavailableError(message, code="disconnected") from failure


def _settings(config: PostgresConfig, application_name: str) -> dict[str, str]:
    return {
        "application_name": application_name,
        "statement_timeout": str(int(config.statement_timeout_s * 1000)),
        "lock_timeout": str(int(config.lock_timeout_s * 1000)),
        # A poster that hangs between statements must not hold its row locks for ever.
        "idle_in_transaction_session_timeout": "10000",
        "search_path": SCHEMA,
        "timezone": "UTC",
    }
