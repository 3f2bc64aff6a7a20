"""Goal: a lent database connection is put as it was, and its going wrong then takes no answer away.

Method: the pool's own part is played by a stand-in, for a real server breaks when it likes; what a real one
forgets is in tests/integration/reference/test_ledger_row_security.py.
"""

from __future__ import annotations

import asyncio
import socket

import asyncpg  # type: ignore[import-untyped]
import pytest

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database, translated
from sentinel.reference.ledger.wire.tenants import Tenants


class Lent:
    """What is lent: a connection is told apart by its server process; it answers nothing."""

    async def fetchrow(self, *_: object) -> None:
        """Refuse for good."""
        msg = "no such column"
        raise asyncpg.UndefinedColumnError(msg)

    def get_server_pid(self) -> int:
        """Of its server process."""
        return 1


class BreakingPool:
    """Lends one thing, and fails when it comes back."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure
        self.lent = Lent()
        self.back: list[object] = []

    async def acquire(self, *, timeout: float) -> Lent:
        """Lend it."""
        assert timeout > 0
        return self.lent

    async def release(self, connection: object, *, timeout: float) -> None:
        """Note it, and fail."""
        assert timeout > 0
        self.back.append(connection)
        raise self.failure


def lend(failure: BaseException) -> tuple[Database, BreakingPool]:
    pool = BreakingPool(failure)
    return Database(PostgresConfig(url="postgresql://localhost/books"), pool), pool


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("closed"),
        asyncpg.QueryCanceledError("too late"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_what_was_answered_stays_answered(failure: Exception) -> None:
    database, pool = lend(failure)
    async with database.acquire():
        answer = 1
    assert (answer, pool.back) == (1, [pool.lent])


async def test_what_went_wrong_before_is_what_is_told() -> None:
    database, pool = lend(ConnectionResetError())
    with pytest.raises(PermanentError, match="no such column"):
        async with database.acquire():
            raise asyncpg.UndefinedColumnError("no such column")
    assert pool.back == [pool.lent]


async def test_an_end_that_was_asked_for_is_an_end() -> None:
    database, _ = lend(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        async with database.acquire():
            pass


class Held:
    """A connection as far as its socket goes."""

    def __init__(self, held: socket.socket) -> None:
        self._transport = self
        self._held = held

    def get_extra_info(self, name: str) -> socket.socket:
        """As asyncio's transports have it."""
        assert name == "socket"
        return self._held


async def test_the_clients_side_asks_whether_the_server_is_there() -> None:
    """A host that has gone ends no connection; without being asked for, it is waited for without end."""
    with socket.socket() as held:
        await postgres._keep_alive(Held(held))
        assert held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    with socket.socket(socket.AF_UNIX) as local:
        await postgres._keep_alive(Held(local))
        assert not local.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class RefusingPool:
    """Lets nobody in."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def acquire(self, *, timeout: float) -> Lent:
        """Refuse."""
        assert timeout > 0
        raise self.failure


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
        asyncpg.InvalidCatalogNameError("database does not exist"),
        asyncpg.UndefinedColumnError("whatever it is, nothing was asked yet"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_whoever_is_not_let_in_is_told_of_an_outage(failure: asyncpg.PostgresError) -> None:
    database = Database(PostgresConfig(url="postgresql://localhost/books"), RefusingPool(failure))
    with pytest.raises(UnavailableError) as caught:
        async with database.acquire():
            pass
    assert caught.value.code == failure.sqlstate


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InsufficientPrivilegeError("permission denied"),
        asyncpg.DataCorruptedError("invalid page"),
        asyncpg.IndexCorruptedError("broken"),
        asyncpg.FeatureNotSupportedError("cached plan must not change"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_what_a_server_says_of_itself_is_an_outage_to_a_pool_and_a_refusal_to_a_command(
    failure: Exception,
) -> None:
    with pytest.raises(PermanentError), translated():
        raise failure
    database, _ = lend(ConnectionResetError())
    with pytest.raises(UnavailableError):
        async with database.acquire():
            raise failure


async def test_a_known_tenant_is_served_on_whatever_the_database_answers() -> None:
    """After a migration that went wrong half way, tenants that were known were answered 500."""
    now_s = 0.0
    database, _ = lend(ConnectionResetError())
    tenants = Tenants(database, steady_s=lambda: now_s)
    known = Tenant(name="shop", cohort=1)
    tenants._known["shop"] = (known, 0.0)
    now_s = 60.0
    assert await tenants.find("shop") == known
    database, _ = lend(ConnectionResetError())
    with pytest.raises(PermanentError):
        await Tenants(database).find("shop")
