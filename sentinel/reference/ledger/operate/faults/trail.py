"""Faults of the audit trail: what somebody with a superuser's password does to it, and verification must tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.wire import postgres

_ALTERED_MINOR: Final = 4200
# One that a checkpoint covers, for behind it nobody could say that it was there; and that reconciliation compares by now, which leaves
# half a minute to the recorder. Else the last one.
_ENTRY: Final = """
select sequence, leaf from ledger.audit_log
where relation = 'entries' and op in ('insert', 'snapshot')
order by sequence < (select max(size) from ledger.audit_checkpoints) desc nulls last,
         committed_at < (select max(committed_at) from ledger.audit_log) - interval '35 seconds' desc,
         sequence desc
limit 1
"""
_PAST_THE_TRIGGERS: Final = "set local session_replication_role = replica"
_WRITE: Final = "update ledger.audit_log set leaf = $2 where sequence = $1 and leaf = $3"


@asynccontextmanager
async def audit_tamper(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Alter the amount in one recorded entry, with the triggers off that forbid it.

    The books themselves, the signature and the tree stay as they were: that is what finds it.

    Raises:
        LedgerError: nothing is recorded here yet, or the run's user is no superuser.
    """
    del config
    async with postgres.session(
        target.postgres, application_name="ledger_fault:audit-tamper"
    ) as session:
        if await session.fetchval("select current_setting('is_superuser')") == "off":
            message = "only a superuser can take the audit trail's triggers away"
            raise LedgerError(message)
        row = await session.fetchrow(_ENTRY)
        if row is None:
            message = "the audit trail has no entry of a transfer"
            raise LedgerError(message)
        leaf = bytes(row["leaf"])
        altered = altered_leaf(leaf, by_minor=_ALTERED_MINOR)
        # The note first: whoever is killed here has altered nothing yet, and undoing that changes nothing.
        target.note(sequence=row["sequence"], leaf=leaf.hex(), altered=altered.hex())
        async with session.transaction():
            await session.execute(_PAST_THE_TRIGGERS)
            await session.execute(_WRITE, row["sequence"], altered, leaf)
    yield {"sequence": row["sequence"], "altered_minor": _ALTERED_MINOR}


async def restore_entry(target: Target) -> None:
    """Put the entry back, byte for byte, unless somebody has written something else there."""
    leaf, altered = (bytes.fromhex(str(target.notes[name])) for name in ("leaf", "altered"))
    async with (
        postgres.session(target.postgres, application_name="ledger_fault:audit-tamper") as session,
        session.transaction(),
    ):
        await session.execute(_PAST_THE_TRIGGERS)
        await session.execute(_WRITE, target.notes["sequence"], leaf, altered)


def altered_leaf(leaf: bytes, *, by_minor: int) -> bytes:
    """The same entry with another amount, as whoever hides something would write it.

    >>> altered_leaf(b'{"row":{"amount_minor":"5","leg":"0"},"v":1}', by_minor=10)
    b'{"row":{"amount_minor":"15","leg":"0"},"v":1}'
    """
    entry = orjson.loads(leaf)
    entry["row"]["amount_minor"] = str(int(entry["row"]["amount_minor"]) + by_minor)
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
