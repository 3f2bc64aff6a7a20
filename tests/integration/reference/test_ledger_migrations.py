"""Goal: an upgrade takes the time that it takes, waits for what is in use, keeps what is done, and is made by one process.

Method: migrations of the tests' own on an empty database of a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg  # type: ignore[import-untyped]
import pytest

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from tests.support.ledger_servers import LedgerServers, fresh_database

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TABLE: Final = "create table ledger.kept (number int)"
# As an index over a large table: longer than any statement of the ledger's work may take.
SLOW: Final = """
do $$
begin
    if current_setting('statement_timeout')::interval < interval '1 hour' then
        raise exception 'a statement of a migration ends after %', current_setting('statement_timeout');
    end if;
    perform pg_sleep(2);
    insert into ledger.kept values (1);
end $$
"""
BUSY: Final = "alter table ledger.kept add column more int"


@pytest.fixture
async def empty(ledger_servers: LedgerServers) -> PostgresConfig:
    """An empty database, with limits of a statement that no migration keeps."""
    found = await fresh_database(ledger_servers)
    return PostgresConfig(url=found.url, statement_timeout_s=0.4, lock_timeout_s=0.3, grace_s=0.2)


async def version(config: PostgresConfig) -> int:
    async with postgres.session(config, application_name="test") as session:
        return int(await session.fetchval("select max(version) from ledger.schema_version"))


async def test_a_statement_of_a_migration_has_hours(empty: PostgresConfig) -> None:
    assert await postgres.migrate(empty, migrations=[TABLE, SLOW]) == 2
    assert await version(empty) == 2


async def test_what_is_done_stays_done_when_the_next_one_fails(empty: PostgresConfig) -> None:
    with pytest.raises(PermanentError):
        await postgres.migrate(empty, migrations=[TABLE, "select 1 / 0"])
    assert await version(empty) == 1
    assert await postgres.migrate(empty, migrations=[TABLE, BUSY]) == 2


async def test_a_table_that_is_in_use_is_waited_for_and_not_without_end(
    empty: PostgresConfig,
) -> None:
    await postgres.migrate(empty, migrations=[TABLE])
    user = await asyncpg.connect(empty.url)
    try:
        using = user.transaction()
        await using.start()
        await user.execute("lock table ledger.kept in access exclusive mode")
        with pytest.raises(UnavailableError) as refused:
            await postgres.migrate(empty, migrations=[TABLE, BUSY], lock_patience_s=0.1)
        assert refused.value.code == "55P03"
        upgrading = asyncio.create_task(postgres.migrate(empty, migrations=[TABLE, BUSY]))
        await asyncio.sleep(1.5)  # several times the limit of a lock
        assert not upgrading.done()
        await using.rollback()
        assert await asyncio.wait_for(upgrading, 30) == 2
    finally:
        await user.close()


async def test_one_process_migrates_and_the_others_wait_for_it(empty: PostgresConfig) -> None:
    many = [postgres.migrate(empty, migrations=[TABLE, SLOW, BUSY]) for _ in range(3)]
    assert await asyncio.gather(*many) == [3, 3, 3]
    async with postgres.session(empty, application_name="test") as session:
        assert await session.fetchval("select count(*) from ledger.kept") == 1
