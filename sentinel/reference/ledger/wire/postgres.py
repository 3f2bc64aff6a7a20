"""PostgreSQL through asyncpg: connections with time limits, migrations, errors by kind.

This is the one file that imports asyncpg. Its exceptions leave here as UnavailableError (the same
statement may succeed later) or PermanentError (it will not), with the SQLSTATE as `code`.
"""

from __future__ import annotations

import asyncio
import socket
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
# Who asks and what it may, which database, what the server cannot do or has found broken: whoever is told so by a server that
# knew better yesterday is told of the server, not of what was asked. Rights come back, and so does a password that was changed. Only
# for a pool: a command that somebody has typed is refused at once.
_SERVERS_CLASSES: Final = frozenset({"0A", "28", "3D", "XX"})
_SERVERS_STATES: Final = frozenset({"42501"})
# A statement took longer than its limit, or somebody ended it.
TOOK_TOO_LONG: Final = "57014"
# Two posters met on one key: the retry sees the other's row. A missing table: not yet migrated.
_RETRYABLE_STATES: Final = frozenset({"23505", "42P01", "3F000"})
_MIGRATION_LOCK: Final = 0x6C656467  # "ledg"
# Both say that a lock was not had: the second where who has it waits for one of this migration's.
_LOCKS_STATES: Final = ("55P03", "40P01")
# An index over a trail of years is made for hours. A limit there is all the same: what takes longer has gone wrong.
MIGRATION_LIMIT_S: Final = 6 * 3600.0
# For a table that is in use. Each attempt has the lock's own short limit, for whoever comes after it waits behind it.
_LOCK_PATIENCE_S: Final = 900.0
_LOCK_PAUSE_FIRST_S: Final = 0.5
_LOCK_PAUSE_MAX_S: Final = 30.0
# A peer whose host has gone says nothing, not even that the connection ended: it is asked, and let go of after a minute.
_KEEPALIVE_IDLE_S: Final = 30
_KEEPALIVE_INTERVAL_S: Final = 10
_KEEPALIVE_COUNT: Final = 3
_UNACKNOWLEDGED_S: Final = 60
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


POOL_EXHAUSTED: Final = "pool_exhausted"
"""The code of `UnavailableError` when all connections of a pool are lent: its own process asks for more than it has."""


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
                init=_keep_alive,
                # An open transaction is rolled back either way, and what fails in it has its connection closed.
                reset=None if resets else _nothing_to_undo,
                server_settings={**_settings(config, application_name), **(settings or {})},
            )
        return cls(config, pool)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Lend a connection; waiting for one has its limit too.

        Raises:
            UnavailableError: no connection is to be had, what was done with it timed out, or the server is not as it
                should be: it lets the role in no longer, has taken its rights away, or is damaged.
            PermanentError: the server refused a statement.
        """
        connection = await self._connection()
        with translated(pooled=True):
            try:
                await self._plan_anew(connection)
                yield connection
            finally:
                await self._take_back(connection)

    async def _connection(self) -> Any:
        try:
            with translated(pooled=True):
                try:
                    return await self._pool.acquire(timeout=self._config.acquire_timeout_s)
                except TimeoutError:
                    message = "no database connection came free in time"
                    raise UnavailableError(message, code=POOL_EXHAUSTED) from None
        except PermanentError as error:
            # Nothing was asked yet that could have been wrong.
            raise UnavailableError(str(error), code=error.code) from error

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

    @property
    def has_room(self) -> bool:
        """Whether a connection could be had now, without a wait for whoever has one."""
        return bool(
            self._pool.get_idle_size() or self._pool.get_size() < self._pool.get_max_size()
        )

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

    The client waits for an answer as long as the session's `statement_timeout` and a grace: the server's own limit ends
    nothing once its host has gone. Without a statement limit ("0") only the connection's keepalive notices that.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the server refused.
    """
    told = {**_settings(config, application_name), **(settings or {})}
    with translated():
        connection: Connection = await asyncpg.connect(
            config.url,
            timeout=config.connect_timeout_s,
            command_timeout=command_timeout_s(told, grace_s=config.grace_s),
            server_settings=told,
        )
        try:
            await _keep_alive(connection)
            yield connection
        finally:
            try:
                await asyncio.wait_for(connection.close(), timeout=2.0)
            except TimeoutError:
                connection.terminate()


def command_timeout_s(settings: Mapping[str, str], *, grace_s: float) -> float | None:
    """Return how long a client waits for an answer to a statement of a session with these settings.

    >>> command_timeout_s({"statement_timeout": "60000"}, grace_s=1.0)
    61.0
    >>> command_timeout_s({"statement_timeout": "0"}, grace_s=1.0) is None
    True
    """
    statement_timeout_ms = int(settings["statement_timeout"])
    return statement_timeout_ms / 1000 + grace_s if statement_timeout_ms else None


async def _keep_alive(connection: Any) -> None:
    """Have the client's side of a connection notice that the server's host has gone; the server's side is in the settings."""
    # asyncpg has no option for it and no other way to the socket.
    transport = getattr(connection, "_transport", None)
    peer = None if transport is None else transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
        # What was sent and is not acknowledged; the keepalive asks only where nothing is.
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_S * 1000),
    ):
        option = getattr(socket, name, None)  # not every system has each
        if option is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


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


async def migrate(
    config: PostgresConfig,
    *,
    migrations: Sequence[str] = MIGRATIONS,
    lock_patience_s: float = _LOCK_PATIENCE_S,
) -> int:
    """Bring the schema to this version and return it; several processes may try at once, and wait for the one that does.

    Each migration is a transaction of its own: what is done stays done. One whose user may not change the schema can only find that
    nothing is to be done.

    Args:
        config: where the server is. Its limit of a statement is not a migration's: that one has MIGRATION_LIMIT_S.
        migrations: all of them, the oldest first.
        lock_patience_s: how long to try for a table that others have locked.

    Raises:
        LedgerError: the database was written by a newer version.
        UnavailableError: the server does not answer, or a table was not free in time.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    limit_s = {"migration": MIGRATION_LIMIT_S, **dict.fromkeys(_LOCKS_STATES, lock_patience_s)}
    settings = {"statement_timeout": str(int(MIGRATION_LIMIT_S * 1000))}
    pause_s = _LOCK_PAUSE_FIRST_S
    while True:
        try:
            async with session(
                config, application_name="ledger-migrate", settings=settings
            ) as connection:
                while await _is_behind(connection, migrations):
                    await _apply_next(connection, migrations)
                    pause_s, began = _LOCK_PAUSE_FIRST_S, loop.time()
            return len(migrations)
        except UnavailableError as error:
            if loop.time() - began >= limit_s.get(error.code, 0.0):
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LOCK_PAUSE_MAX_S)


async def _is_behind(connection: Connection, migrations: Sequence[str]) -> bool:
    """Say whether anything is to be done, which anybody may ask."""
    if await connection.fetchval("select to_regclass('ledger.schema_version')") is None:
        return True
    newest = await connection.fetchval("select max(version) from ledger.schema_version")
    return bool(newest != len(migrations))


async def _apply_next(connection: Connection, migrations: Sequence[str]) -> None:
    """Apply the first migration that the database does not have."""
    async with connection.transaction():
        if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", _MIGRATION_LOCK):
            message = "another process is migrating the database"
            raise UnavailableError(message, code="migration")
        await connection.execute(f"create schema if not exists {SCHEMA}")
        await connection.execute(
            "create table if not exists ledger.schema_version ("
            "version int primary key, applied_at timestamptz not null default now())"
        )
        current = await connection.fetchval(
            "select coalesce(max(version), 0) from ledger.schema_version"
        )
        if current > len(migrations):
            message = (
                f"the database's schema is version {current}, newer than {len(migrations)}, "
                "the newest this ledger knows; run the ledger that wrote it"
            )
            raise LedgerError(message)
        if current == len(migrations):
            return  # another process was faster
        await connection.execute(migrations[current])
        await connection.execute(
            "insert into ledger.schema_version (version) values ($1)", current + 1
        )


async def _nothing_to_undo(_: object) -> None:
    """Leave a connection as it came back."""


def namespace(url: str) -> str:
    """Return `database|schema`, as the semantic conventions name a PostgreSQL namespace."""
    return f"{urlsplit(url).path.lstrip('/') or 'postgres'}|{SCHEMA}"


class translated:  # noqa: N801 - reads as a block: `with translated():`
    """Turns asyncpg's and the socket's exceptions into the ledger's own.

    For a pool (`pooled`), what the server says of itself is an outage; for a command, a refusal.
    """

    def __init__(self, *, pooled: bool = False) -> None:
        self._pooled = pooled

    def __enter__(self) -> None:
        """Do nothing on entry."""

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        """Raise the ledger's exception in place of a library's."""
        if isinstance(failure, asyncpg.PostgresError):
            state = failure.sqlstate or ""
            text = str(failure).partition("\n")[0]
            if (
                state[:2] in _RETRYABLE_CLASSES
                or state in _RETRYABLE_STATES
                or (self._pooled and (state[:2] in _SERVERS_CLASSES or state in _SERVERS_STATES))
            ):
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
        # A client whose host has gone must not hold its locks, or the audit's, for hours.
        "tcp_keepalives_idle": str(_KEEPALIVE_IDLE_S),
        "tcp_keepalives_interval": str(_KEEPALIVE_INTERVAL_S),
        "tcp_keepalives_count": str(_KEEPALIVE_COUNT),
        "search_path": SCHEMA,
        "timezone": "UTC",
    }
