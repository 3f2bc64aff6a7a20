"""Logins for the ledger's roles, none of which is a superuser or owns a table."""

from __future__ import annotations

import secrets
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session


class Role(StrEnum):
    """Who does what in the database; what each may is in the schema's files."""

    POSTER = "ledger_poster"
    READER = "ledger_reader"
    AUDIT = "ledger_audit"


async def let_in(config: PostgresConfig, role: Role) -> str:
    """Give the role a new password and return the database's URL with it.

    Whoever used the old one is not cut off, and cannot come again: for a server that is one's own.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the user of `config` may not.
    """
    password = secrets.token_urlsafe(24)
    async with session(config, application_name="ledger-roles") as connection:
        # No parameter may stand here; neither text holds a quote.
        await connection.execute(f"alter role {role.value} login password '{password}'")
    parts = urlsplit(config.url)
    at = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role.value}:{password}@{at}"))
