"""What a database needs before the ledger's processes can work on it."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.reference.ledger.domain.tenant import Opening
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import migrate
from sentinel.reference.ledger.wire.register import open_tenants
from sentinel.reference.ledger.wire.roles import let_in, role_of


async def prepare(
    admin: PostgresConfig,
    tenants: Sequence[Opening],
    *,
    role_urls: Sequence[str] = (),
) -> None:
    """Bring tables and roles up to date, open tenants, and let roles in by their own URLs.

    Doing it again changes nothing; a tenant that is there gets the tier and the contract that are given.

    Raises:
        UsageError: a role's URL is of no role, or without a password; nothing was changed.
        UnavailableError: the server does not answer in time.
        PermanentError: the user of `admin` may not.
        LedgerError: the database was written by a newer version.
    """
    roles = [role_of(url) for url in role_urls]
    await migrate(admin)
    if tenants:
        await open_tenants(admin, tenants)
    for role, password in roles:
        await let_in(admin, role, password)
