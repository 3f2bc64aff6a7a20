"""Whether the database takes a transfer at all: a neutral one is applied, and undone.

A refusal says something of the message that was refused only if another would have been taken at that moment. A table that was
restored without its rights, a column that a newer version has renamed, an index that is damaged refuse every message alike.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Final

from sentinel.reference.ledger.domain import Transfer
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.posting.intake import Taken
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import Connection

# Whose it is does not matter, for nothing stays of it.
_TENANT: Final = "select tenant from ledger.tenants where cohort = $1 order by tenant limit 1"


async def try_neutral(connection: Connection, cohort: int) -> None:
    """Apply a transfer between two accounts that nobody has, with all that is written of one, and undo it.

    Raises whatever the connection raises when the database does not take it.
    """
    tenant = await connection.fetchval(_TENANT, cohort)
    transaction = connection.transaction()
    await transaction.start()
    try:
        if tenant is None:  # then nobody of the cohort can have asked for anything
            await apply_batch(connection, cohort, [])
        else:
            await apply_batch(
                connection,
                cohort,
                [_neutral(tenant, cohort)],
                taken=[Taken(sequence=0, stored_at=datetime.now(UTC))],
            )
            await connection.execute("set constraints all immediate")
    finally:
        await transaction.rollback()


def _neutral(tenant: str, cohort: int) -> Envelope:
    name = uuid.uuid4().hex
    transfer = Transfer(
        tenant=tenant,
        idempotency_key=f"neutral {name}",  # with a blank, as no client's key can have
        debit_account=f"external:neutral-{name}",
        credit_account=f"external:neutral-{name[::-1]}",
        amount_minor=1,
        currency="XTS",
    )
    return Envelope(asked=transfer, cohort=cohort, accepted_ns=time.time_ns())
