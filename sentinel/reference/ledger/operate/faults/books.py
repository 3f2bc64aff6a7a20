"""Faults of the books themselves: what no part of the ledger does, and reconciliation must tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.wire import postgres

_ACCOUNT: Final = "external:fault-drift"
_ALTERED_MINOR: Final = 4200
_TENANT: Final = "select tenant, cohort from ledger.tenants order by tenant limit 1"
_OPEN: Final = """
insert into ledger.accounts (cohort, tenant, account_id, currency, balance_minor, allow_negative, version)
values ($1, $2, $3, 'EUR', 0, true, 0) on conflict do nothing
"""
_ALTER: Final = """
update ledger.accounts set balance_minor = balance_minor + $4 where cohort = $1 and tenant = $2 and account_id = $3
"""
_CLOSE: Final = """
delete from ledger.accounts where cohort = $1 and tenant = $2 and account_id = $3 and version = 0 and balance_minor = 0
"""


@asynccontextmanager
async def drift(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Alter one balance, of an account that nobody uses.

    Of one that moves, the next entry would go on from the altered balance, and entries stay for ever.
    """
    del config
    async with postgres.session(target.postgres, application_name="ledger_fault:drift") as session:
        row = await session.fetchrow(_TENANT)
        if row is None:
            message = "there is no tenant whose balance could be altered"
            raise LedgerError(message)
        account = (row["cohort"], row["tenant"], _ACCOUNT)
        await session.execute(_OPEN, *account)
        # The note first: whoever is killed here has altered nothing yet, and undoing that changes nothing.
        target.note(cohort=row["cohort"], tenant=row["tenant"])
        await session.execute(_ALTER, *account, _ALTERED_MINOR)
    yield {
        "tenant": row["tenant"],
        "account_id": _ACCOUNT,
        "altered_minor": _ALTERED_MINOR,
    }


async def mend(target: Target) -> None:
    """Put the balance back, and take the account away that nobody has used meanwhile."""
    account = (target.notes["cohort"], target.notes["tenant"], _ACCOUNT)
    async with (
        postgres.session(target.postgres, application_name="ledger_fault:drift") as session,
        session.transaction(),
    ):
        await session.execute(
            "update ledger.accounts set balance_minor = coalesce((select balance_after_minor from ledger.entries e"
            " where e.cohort = $1 and e.tenant = $2 and e.account_id = $3 order by account_version desc limit 1), 0)"
            " where cohort = $1 and tenant = $2 and account_id = $3",
            *account,
        )
        await session.execute(_CLOSE, *account)
