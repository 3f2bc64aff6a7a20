"""Faults that a tenant makes or has: one account that everybody uses, a limit that was set by mistake."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.clients import Clients, clients
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target, repeated
from sentinel.reference.ledger.wire import postgres

_HOT: Final = ("external:fault-hot", "fault-hot")
_HOT_COUNT: Final = 20
_HOT_EVERY_S: Final = 0.2
_LOW_RPS: Final = 1
_TRIES_COUNT: Final = 10
_ASKED_COUNT: Final = 5
_ASKED_EVERY_S: Final = 1.0
# The edge looks tenants up every ten seconds.
_REFUSED_TIMEOUT_S: Final = 40.0
_BUSIEST: Final = """
select t.tenant, t.tier, t.contract_rps, t.contract_burst
from ledger.tenants t left join (
    select tenant, count(*) as number from ledger.transactions
    where accepted_at > now() - interval '10 minutes' group by tenant
) asked using (tenant)
order by asked.number desc nulls last, t.tenant limit 1
"""
_LOWER: Final = """
update ledger.tenants set tier = 'enterprise', contract_rps = $2, contract_burst = $2 where tenant = $1
"""
# Whoever set another one meanwhile has mended it.
_RESTORE: Final = """
update ledger.tenants set tier = $2, contract_rps = $3, contract_burst = $4
where tenant = $1 and contract_rps = $5 and contract_burst = $5
"""


@asynccontextmanager
async def hot_account(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have a hundred transfers a second go between two accounts, so that each waits for the one before it.

    They are transfers like others, and stay in the books.
    """
    del config
    tenant = (await _busiest(target))["tenant"]
    async with clients(target.state) as asking:

        async def send() -> None:
            await asyncio.gather(*(_transfer(asking, tenant, _HOT) for _ in range(_HOT_COUNT)))

        async with repeated(send, every_s=_HOT_EVERY_S):
            yield {
                "tenant": tenant,
                "debit_account": _HOT[0],
                "credit_account": _HOT[1],
                "count_a_turn": _HOT_COUNT,
            }


@asynccontextmanager
async def rate_limit(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Let the busiest tenant ask once a second, while its client asks again at once whenever it is refused.

    It holds once the edge refuses.

    Raises:
        LedgerError: the edge never did, as when the tenant has an elevation.
    """
    del config
    row = await _busiest(target)
    tenant = row["tenant"]
    target.note(**dict(row))
    async with _session(target) as session:
        await session.execute(_LOWER, tenant, _LOW_RPS)
    refused = asyncio.Event()
    async with clients(target.state) as asking:

        async def insist() -> None:
            key = f"fault-{uuid.uuid4()}"
            for _ in range(_TRIES_COUNT):
                if await _transfer(asking, tenant, ("external:bank", "fault-limit"), key) != 429:
                    return
                refused.set()

        async def ask() -> None:
            await asyncio.gather(*(insist() for _ in range(_ASKED_COUNT)))

        async with repeated(ask, every_s=_ASKED_EVERY_S):
            try:
                await asyncio.wait_for(refused.wait(), timeout=_REFUSED_TIMEOUT_S)
            except TimeoutError:
                message = f"the edge did not refuse {tenant} within {_REFUSED_TIMEOUT_S:g} s"
                raise LedgerError(message) from None
            yield {"tenant": tenant, "rps": _LOW_RPS, "tries_count": _TRIES_COUNT}


async def restore_limit(target: Target) -> None:
    """Let the tenant ask as often as before; the edge knows within ten seconds."""
    notes = target.notes
    before = (notes["tenant"], notes["tier"], notes["contract_rps"], notes["contract_burst"])
    async with _session(target) as session:
        await session.execute(_RESTORE, *before, _LOW_RPS)


async def _busiest(target: Target) -> Any:  # a row of asyncpg's
    async with _session(target) as session:
        row = await session.fetchrow(_BUSIEST)
    if row is None:
        message = "there is no tenant"
        raise LedgerError(message)
    return row


async def _transfer(
    asking: Clients, tenant: str, accounts: tuple[str, str], key: str | None = None
) -> int:
    debit, credit = accounts
    body = {
        "debit_account": debit,
        "credit_account": credit,
        "amount_minor": 1,
        "currency": "EUR",
    }
    return await asking.transfer(tenant, key or f"fault-{uuid.uuid4()}", body)


def _session(target: Target) -> Any:  # asyncpg's
    return postgres.session(target.postgres, application_name=f"ledger_fault:{target.held.fault}")
