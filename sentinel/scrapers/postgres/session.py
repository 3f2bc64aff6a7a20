"""One connection to one database: every wait has a limit, every answer is read whole, every failure has a kind.

This is the one file that imports asyncpg, and it does so when the first connection is made.

Limits are settings of the session, given as it begins, so that no question runs without them: how long a statement may
take, how long it may wait for a lock, how long a transaction may lie idle. The session can only read, finds names in
`pg_catalog` alone, compiles nothing and starts no helpers. TCP notices a dead peer within some twenty seconds though
nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel.core.redact import redact
from sentinel.errors import RefusedError, SentinelError, UnreachableError, UntrustedError
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.tls import load_authorities, load_pair
from sentinel.scrapers.postgres.config import PostgresTargetConfig, TlsMode

if TYPE_CHECKING:
    from types import ModuleType

APPLICATION_NAME = "sentinel"
_PASSWORD_BYTES_MAX = 4096
_MARGIN_S = 1.0
"""The server ends a statement by itself; so much later it is taken for dead."""
_SENTENCE_CHARACTERS_MAX = 200

_FULL = "53300"
_ROLE_LIMIT_FUNCTION = "InitializeSessionUserId"
_DATABASE_LIMIT_FUNCTION = "CheckMyDatabase"
"""The functions of the server that find a limit; its messages are in the server's language."""


class Failure(Enum):
    """What kind of failure an answer was."""

    ABSENT = "absent"
    """It cannot be asked here: no such relation, function or right. It is asked for again seldom."""
    SLOW = "slow"
    """It took too long, or waited too long for a lock."""
    OTHER = "failed"
    """Anything else the server said."""


class QueryError(Exception):
    """One question failed; the session can be used on.

    Attributes:
        failure: of what kind.
        sqlstate: the server's word for it, "" where it was not the server that said it.
    """

    def __init__(self, failure: Failure, sentence: str, *, sqlstate: str = "") -> None:
        self.failure = failure
        self.sqlstate = sqlstate
        super().__init__(sentence)


class DeniedError(RefusedError):
    """The server answers, and does not let us in: a wrong password, no such database, no connection left for the role.

    Attributes:
        sqlstate: the server's word for it.
        server_is_full: whether it has no connection left for anyone.
    """

    def __init__(
        self, message: str, *, sqlstate: str, endpoint: str, server_is_full: bool = False
    ) -> None:
        self.status = 0
        self.sqlstate = sqlstate
        self.endpoint = endpoint
        self.server_is_full = server_is_full
        SentinelError.__init__(self, f"{message} (SQLSTATE {sqlstate} from {endpoint})")


class PasswordFileError(UnreachableError):
    """The file with the password cannot be read; the server was not asked."""


class Session:
    """An open connection."""

    def __init__(
        self, connection: Any, config: PostgresTargetConfig, database: str
    ) -> None:  # asyncpg ships no types
        self._connection = connection
        self._config = config
        self.database = database
        # Transactions of our own, which are not the clients'; the first is that of connecting.
        self.committed = 1
        self.rolled_back = 0

    @property
    def version(self) -> int:
        """As `server_version_num` has it: 150018 for 15.18."""
        found = self._connection.get_server_version()
        return int(found.major) * 10_000 + int(found.minor)

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return not self._connection.is_closed()

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Mapping[str, object]]:
        """The rows of a question, within its time limit.

        Raises:
            QueryError: the server did not answer this one.
            UnreachableError: the connection is gone.
        """
        asyncpg = _asyncpg()
        try:
            async with asyncio.timeout(self._config.statement_timeout + _MARGIN_S):
                records = await self._connection.fetch(sql, *arguments)
        except asyncpg.PostgresError as error:
            self.rolled_back += 1
            state = str(error.sqlstate or "")
            failure = _failure_of(state)
            if failure is None or not self.is_open:
                await self.close()
                raise UnreachableError(_said(error)) from None
            raise QueryError(failure, _said(error), sqlstate=state) from None
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, EOFError) as error:
            await self.close()
            if isinstance(error, TimeoutError):
                msg = f"no answer from {self._config.place} in time, nor was the question ended"
                raise UnreachableError(msg) from None
            msg = f"the connection to {self._config.place} is gone ({type(error).__name__})"
            raise UnreachableError(msg) from None
        except BaseException:
            # Cancelled in the middle of an answer: what comes next on this connection is not known.
            self._connection.terminate()
            raise
        self.committed += 1
        return [dict(record) for record in records]

    async def close(self) -> None:
        """Let go of it: politely for a moment, then at once; idempotent."""
        try:
            await self._connection.close(timeout=_MARGIN_S)
        except Exception:  # noqa: BLE001  # it is being given up
            self._connection.terminate()


async def connect(config: PostgresTargetConfig, database: str) -> Session:
    """Connect, with every limit in place.

    The password is read from its file each time, so that one that was changed needs no restart.

    Raises:
        UnreachableError: no answer, or the server is starting or stopping; `PasswordFileError` when it was not asked.
        UntrustedError: its certificate is not believed.
        DeniedError: it does not let us in.
        ConfigError: a file of ours cannot be used.
    """
    asyncpg = _asyncpg()
    place = config.place
    password = _password(config)
    try:
        async with asyncio.timeout(config.connect_timeout):
            connection = await asyncpg.connect(
                host=config.host,
                port=config.port,
                user=config.user,
                database=database,
                # Values and False rather than None: for None asyncpg asks the environment and ~/.pgpass.
                password=password,
                ssl=tls_context(config) or False,
                target_session_attrs="any",
                timeout=config.connect_timeout,
                command_timeout=None,
                max_cached_statement_lifetime=0,
                server_settings=_session_settings(config),
            )
    except TimeoutError:
        msg = f"no answer from {place} within {config.connect_timeout:g} s"
        raise UnreachableError(msg) from None
    except asyncpg.PostgresError as error:
        raise _denied(error, config, database) from None
    except ssl.SSLError as error:
        if distrust := distrust_of(error):
            msg = f"TLS with {place} failed: {distrust}"
            raise UntrustedError(msg) from None
        msg = f"TLS with {place} failed: {_line(str(error))}"
        raise DeniedError(msg, sqlstate="08001", endpoint=place) from None
    except (OSError, EOFError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        msg = f"{place} cannot be connected to: {_why_not(error)}"
        raise UnreachableError(msg) from None
    _keep_alive(connection)
    return Session(connection, config, database)


def tls_context(config: PostgresTargetConfig) -> ssl.SSLContext | None:
    """How to shake hands, from the files as they are now; None for no TLS, ConfigError for a file that cannot be used."""
    if config.tls_mode is TlsMode.DISABLE:
        return None
    if config.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, "ca_file", config.ca_file)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = config.tls_mode is TlsMode.VERIFY_FULL
    if config.cert_file:
        load_pair(context, config.cert_file, config.key_file)
    return context


def _session_settings(config: PostgresTargetConfig) -> dict[str, str]:
    return {
        "application_name": APPLICATION_NAME,
        "search_path": "pg_catalog",
        "default_transaction_read_only": "on",
        "statement_timeout": f"{round(config.statement_timeout * 1000)}ms",
        "lock_timeout": f"{round(config.lock_timeout * 1000)}ms",
        "idle_in_transaction_session_timeout": "10s",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        "timezone": "UTC",
    }


def _password(config: PostgresTargetConfig) -> str:
    if not config.password_file:
        return ""
    try:
        with Path(config.password_file).open("rb") as file:
            secret = file.read(_PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        msg = f"the password cannot be read from {config.password_file} ({error.strerror})"
        raise PasswordFileError(msg) from None
    if len(secret) > _PASSWORD_BYTES_MAX:
        msg = f"{config.password_file} is too long for a password"
        raise PasswordFileError(msg)
    return secret.decode("utf-8", "replace").rstrip("\r\n")


def _denied(
    error: Any, config: PostgresTargetConfig, database: str
) -> SentinelError:  # asyncpg ships no types
    state = str(error.sqlstate or "")
    if state == "57P03" or state.startswith("57P"):
        return UnreachableError(f"{config.place}: {_said(error)}")
    if state != _FULL:
        return DeniedError(_said(error), sqlstate=state, endpoint=config.place)
    function = error.server_source_function
    if function == _ROLE_LIMIT_FUNCTION:
        msg = f"refused: role {config.user} has used up its own CONNECTION LIMIT; the server is not full"
    elif function == _DATABASE_LIMIT_FUNCTION:
        msg = f"refused: database {database} has used up its own CONNECTION LIMIT; the server is not full"
    else:
        msg = "refused: too many connections, the server is full"
        return DeniedError(msg, sqlstate=state, endpoint=config.place, server_is_full=True)
    return DeniedError(msg, sqlstate=state, endpoint=config.place)


def _failure_of(state: str) -> Failure | None:
    """What a SQLSTATE means for the question; None when the connection is gone with it."""
    if state in ("57014", "55P03"):
        return Failure.SLOW
    # Missing relation, function, column, schema, right; not in the state for it (not preloaded, in recovery); not made.
    if state in ("42P01", "42883", "42703", "3F000", "42501", "55000", "0A000"):
        return Failure.ABSENT
    if state.startswith(("08", "57P", "53300")):
        return None
    return Failure.OTHER


def _why_not(error: Exception) -> str:
    """Why there is no connection, in the system's words: asyncpg's own hold a number and a tuple."""
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    number = error.errno if isinstance(error, OSError) else None
    if number and number > 0:
        return os.strerror(number).lower()
    said = _line(str(error)) if isinstance(error, ConnectionError) else ""
    return said or type(error).__name__


def _said(error: Any) -> str:  # asyncpg ships no types
    """The server's sentence, redacted: it may quote what it was asked, or data."""
    return _line(str(error.message or error))


def _line(text: str) -> str:
    visible = "".join(one if one.isprintable() else " " for one in redact(text))
    return " ".join(visible.split())[:_SENTENCE_CHARACTERS_MAX]


def _keep_alive(connection: Any) -> None:  # asyncpg ships no types
    """Let TCP ask whether the peer is there; asyncpg has no setting for it."""
    transport = getattr(connection, "_transport", None)
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 10),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", 20_000),
    ):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _asyncpg() -> ModuleType:
    import asyncpg  # type: ignore[import-untyped]  # only who watches a server pays for it

    return asyncpg  # type: ignore[no-any-return]
