"""Logins for the ledger's roles, none of which is a superuser or owns a table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session

REPLICATION_ROLE: Final = "ledger_replication"
_ROLES_LOCK: Final = 0x6C656472  # "ledr"


class Role(StrEnum):
    """Who does what in the database; what each may is in the schema's files."""

    POSTER = "ledger_poster"
    READER = "ledger_reader"
    DISBURSER = "ledger_disburser"
    AUDIT = "ledger_audit"
    ANALYTICS = "ledger_analytics"
    RECONCILE = "ledger_reconcile"
    WEBHOOKS = "ledger_webhooks"
    ENDPOINTS = "ledger_endpoints"
    EXPORTS = "ledger_exports"
    EXPORTER = "ledger_exporter"


async def let_in(config: PostgresConfig, role: Role, password: str) -> None:
    """Let the role log in with this password.

    Whoever used another is not cut off, and cannot come again.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the user of `config` may not.
    """
    await _unlogged(config, [f"alter role {role.value} login password {_quoted(password)}"])


async def let_in_replication(config: PostgresConfig, password: str) -> None:
    """Let a replica in with this password, by a role that may replicate and nothing else.

    A replica holds every tenant's rows, so this password is worth as much as the files themselves.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the user of `config` may not.
    """
    async with session(config, application_name="ledger-roles") as connection:
        known = await connection.fetchval(
            "select true from pg_roles where rolname = $1", REPLICATION_ROLE
        )
    verb = "alter" if known else "create"
    await _unlogged(
        config,
        [
            f"{verb} role {REPLICATION_ROLE} login replication nosuperuser nobypassrls "
            f"connection limit 4 password {_quoted(password)}"
        ],
    )


async def _unlogged(config: PostgresConfig, statements: Sequence[str]) -> None:
    """Run statements that hold a password, for no parameter can.

    A superuser keeps them out of the server's log; another user's are as its server's settings have it.
    """
    async with session(
        config,
        application_name="ledger-roles",
        settings={"standard_conforming_strings": "on"},
    ) as connection:
        if await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await connection.execute("set log_statement = 'none'")
            await connection.execute("set log_min_error_statement = 'panic'")
        # Two at once would be told that a tuple is concurrently updated; this one waits, until the session ends.
        await connection.execute("select pg_advisory_lock($1)", _ROLES_LOCK)
        for statement in statements:
            await connection.execute(statement)


def _quoted(password: str) -> str:
    return "'" + password.replace("'", "''") + "'"


def role_url(config: PostgresConfig, role: Role, password: str) -> str:
    """Return the URL of `config` with the role's name and password in place of its user's."""
    parts = urlsplit(config.url)
    at = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role.value}:{quote(password, safe='')}@{at}"))


def role_of(url: str) -> tuple[Role, str]:
    """Return whose URL it is and the password in it.

    Raises:
        UsageError: it is of no role of the ledger, or without a password.
    """
    parts = urlsplit(url)
    try:
        role = Role(parts.username or "")
    except ValueError:
        names = ", ".join(role.value for role in Role)
        message = f"a role's URL must be of one of {names}"
        raise UsageError(message) from None
    if not parts.password:
        message = f"the URL of {role.value} has no password"
        raise UsageError(message)
    return role, unquote(parts.password)
