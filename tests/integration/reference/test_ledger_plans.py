"""Goal: a ledger that began empty reads no more for a transfer when it has grown, also before the server has analyzed anything.

Method: batches on one connection of a real PostgreSQL that never analyzes; the server's own counts of what indexes gave it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentinel.reference.ledger.domain import Transfer
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.posting import BY_INDEX
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import Database
from tests.support.ledger_servers import LedgerServers, open_ledger

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOP = new_cohort("shop")
BATCH_COUNT = 50
READ = """
select coalesce(sum(idx_tup_read), 0)::int from pg_stat_user_indexes
where schemaname = 'ledger' and relname in ('transactions_c{0}', 'accounts_c{0}')
"""


def transfer(number: int) -> Envelope:
    asked = Transfer(
        tenant="shop",
        idempotency_key=f"k{number}",
        debit_account="external:bank",
        credit_account=f"a{number % 10}",
        amount_minor=1,
        currency="EUR",
    )
    return Envelope(asked=asked, cohort=SHOP, accepted_ns=1000)


async def test_what_a_transfer_reads_does_not_grow_with_the_ledger(
    ledger_servers: LedgerServers,
) -> None:
    config = replace(await open_ledger(ledger_servers), pool_size_max=1)
    database = await Database.connect(config, application_name="test", settings=BY_INDEX)
    try:
        async with database.acquire() as connection:
            for table in ("transactions", "accounts", "entries"):
                await connection.execute(
                    f"alter table ledger.{table}_c{SHOP} set (autovacuum_enabled = false)"
                )

        async def posted(first: int, batches_count: int) -> None:
            for batch in range(batches_count):
                numbers = range(first + batch * BATCH_COUNT, first + (batch + 1) * BATCH_COUNT)
                async with database.acquire() as connection:
                    await apply_batch(connection, SHOP, [transfer(one) for one in numbers])

        async def read() -> int:
            async with database.acquire() as connection:
                await connection.execute("select pg_stat_force_next_flush()")
                await connection.execute("select 1")
                return int(await connection.fetchval(READ.format(SHOP)))

        await posted(0, 40)
        before = await read()
        await posted(40 * BATCH_COUNT, 4)
        found = await read() - before
    finally:
        await database.close()
    # Two checks of foreign keys for each of two entries, and the accounts once a batch; a partition read for each were thousands.
    assert found < 20 * 4 * BATCH_COUNT
