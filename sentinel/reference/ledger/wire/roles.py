"""Logins for the ledger's roles, none of which is a superuser or owns a table."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session


class Role(StrEnum):
    """Who does what in the database; what each may is in the schema's files."""

    POSTER = "ledger_poster"
    READER = "ledger_reader"
    DISBURSER = "ledger_disburser"
    AUDIT = "ledger_audit"
    ANALYTICS = "ledger_analytics"


async def let_in(config: PostgresConfig, role: Role, password: str) -> None:
    """Let the role log in with this password.

    Whoever used another is not cut off, and cannot come again.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the user of `config` may not.
    """
    quoted = password.replace("'", "''")
    async with session(
        config,
        application_name="ledger-roles",
        settings={"standard_conforming_strings": "on"},
    ) as connection:
        # The statement holds the password, for no parameter can. A superuser keeps it out of the
        # server's log; another user's is as its server's settings have it.
        if await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await connection.execute("set log_statement = 'none'")
            await connection.execute("set log_min_error_statement = 'panic'")
        await connection.execute(f"alter role {role.value} login password '{quoted}'")


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
