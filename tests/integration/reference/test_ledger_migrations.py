"""Goal: an upgrade takes the time that it takes, waits for what is in use, keeps what is done, and is made by one process.

Method: migrations of the tests' own on an empty database of a real PostgreSQL, and those of payouts, for the locks that they take.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.resources import files
from typing import Final

import asyncpg  # type: ignore[import-untyped]
import pytest

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.migrations import MIGRATIONS
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
WAITS_FOR_OTHER: Final = """
select exists (select from pg_locks where not granted and relation = 'ledger.other'::regclass and mode = 'AccessExclusiveLock')
"""
HELD: Final = """
select distinct c.relname, l.mode from pg_locks l join pg_class c on c.oid = l.relation
where l.pid = pg_backend_pid() and c.relkind in ('r', 'p') and c.relname ~ '^(transactions|holds|disbursements)'
"""
KEYS: Final = """
select (select relname::text from pg_class where oid = conrelid) as name, convalidated, conparentid <> 0 as is_part from pg_constraint
where contype = 'f' and conrelid::regclass::text ~ 'disbursements' and confrelid = 'ledger.transactions'::regclass
      and pg_get_constraintdef(oid) like '%corrected_by%'
"""
STOPS_WRITERS: Final = frozenset(
    {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
)
MIGRATION_NAMES: Final = sorted(
    one.name
    for one in (files("sentinel.reference.ledger.wire") / "schema").iterdir()
    if one.name.endswith(".sql")
)
VALIDATES, JOINS, INDEXES = (
    next(number for number, name in enumerate(MIGRATION_NAMES, start=1) if part in name)
    for part in ("correction_valid", "correction_whole", "payouts_changed")
)
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


async def test_a_migration_that_deadlocks_is_tried_again(empty: PostgresConfig) -> None:
    patient = replace(empty, lock_timeout_s=20.0, statement_timeout_s=30.0)
    other = "create table ledger.other (number int)"
    both = """
    lock table ledger.kept in access exclusive mode;
    lock table ledger.other in access exclusive mode;
    alter table ledger.other add column more int;
    """
    await postgres.migrate(patient, migrations=[TABLE, other])
    user = await asyncpg.connect(empty.url)
    try:
        # Who waits longest without a look at what it waits for is not the one that is ended.
        await user.execute("set deadlock_timeout = '30s'")
        using = user.transaction()
        await using.start()
        await user.execute("lock table ledger.other in access share mode")
        upgrading = asyncio.create_task(postgres.migrate(patient, migrations=[TABLE, other, both]))
        async with asyncio.timeout(20), postgres.session(patient, application_name="test") as look:
            while not await look.fetchval(WAITS_FOR_OTHER):
                await asyncio.sleep(0.02)
        # Had only because the migration was ended: it held this one, and waits for the other longer than this test has.
        await asyncio.wait_for(user.execute("lock table ledger.kept in access share mode"), 15)
        await using.rollback()
        assert await asyncio.wait_for(upgrading, 30) == 3
    finally:
        await user.close()


async def test_payouts_are_migrated_beside_posters_and_reads(empty: PostgresConfig) -> None:
    """What keeps readers out does so for moments; what reads all payments keeps nobody out, or new payouts alone."""
    config = replace(empty, statement_timeout_s=30.0)
    await postgres.migrate(config, migrations=MIGRATIONS[:13])
    connection = await asyncpg.connect(empty.url)
    try:
        names = dict(enumerate(MIGRATION_NAMES, start=1))
        for number in range(14, len(MIGRATIONS) + 1):
            changing = connection.transaction()
            await changing.start()
            await connection.execute(MIGRATIONS[number - 1])
            held = {tuple(row) for row in await connection.fetch(HELD)}
            await changing.commit()
            if "payouts" not in names[number]:
                continue
            shut_out = {table for table, mode in held if mode == "AccessExclusiveLock"}
            # As a unit: a table and its partitions are altered together. One takes both, transactions first, and reads neither.
            tables_max = 2 if number == JOINS else 1
            assert len({table.partition("_c")[0] for table in shut_out}) <= tables_max, names[
                number
            ]
            stopped = {table for table, mode in held if mode in STOPS_WRITERS}
            if number == VALIDATES:
                assert not stopped
            if number == INDEXES:
                assert all(table.startswith("disbursements") for table in stopped)
        whole = await connection.fetch(KEYS)
        assert whole
        assert all(row["convalidated"] for row in whole)
        # One key of the whole table and, of each partition, that one's part: none is there twice.
        tables = [row["name"] for row in whole]
        assert len(tables) == len(set(tables)) > 1
        assert [row["name"] for row in whole if not row["is_part"]] == ["disbursements"]
    finally:
        await connection.close()
