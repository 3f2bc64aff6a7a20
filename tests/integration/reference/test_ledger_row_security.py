"""Goal: no role of the ledger sees or changes more than it must, whichever way it tries.

Method: the schema on a real PostgreSQL from the wheel with two tenants' money in two cohorts; every
role logs in with a password of its own and tries the ways around: a partition's own name, a setting
that a pooled connection has kept, the other tenant's ids, changes to what is append only; on the primary and
on a streaming replica.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from sentinel.reference.ledger.domain import (
    Batch,
    PermanentError,
    Request,
    Transfer,
    UnavailableError,
    parse_batch,
)
from sentinel.reference.ledger.domain.disbursement import parse_disbursement
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT, new_cohort
from sentinel.reference.ledger.edge import reads
from sentinel.reference.ledger.edge.lookup import PLANNED_ONCE
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.servers import ReplicaServer
from sentinel.reference.ledger.posting import BY_INDEX
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.roles import REPLICATION_ROLE, Role, role_url
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import TENANTS, LedgerServers, open_ledger

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TABLES = ("accounts", "transactions", "entries", "batches", "holds", "disbursements")
# The ledger's own, which no tenant has a part of.
INNER_TABLES = ("outbox", "intake")
# Of the tenant too, and not the readers' to read: secrets are in one, sealed, and what is sent in the other.
WEBHOOK_TABLES = ("webhook_endpoints", "webhook_deliveries")
# What a tenant asked for, and the file that was made of it: neither the readers', who have the books to read.
EXPORT_TABLES = ("exports", "export_parts")
SHOP, RIVAL = (new_cohort(name) for name in TENANTS)


def transfer(tenant: str, key: str, *, expires_in_s: int | None = None) -> Transfer:
    return Transfer(
        tenant=tenant,
        idempotency_key=key,
        debit_account="external:bank",
        credit_account="alice",
        amount_minor=100,
        currency="EUR",
        expires_in_s=expires_in_s,
    )


def transfer_body() -> dict[str, object]:
    return {
        "debit_account": "external:bank",
        "credit_account": "alice",
        "amount_minor": 1,
        "currency": "EUR",
    }


def paid(tenant: str) -> Transfer:
    return parse_disbursement(
        tenant=tenant,
        idempotency_key="d",
        body={
            "debit_account": "external:bank",
            "amount_minor": 1,
            "currency": "EUR",
            "payee": {"account": "DE00-1", "name": "Ann"},
        },
    )


class Roles:
    """A configuration for each role's login, and the superuser's."""

    def __init__(self, admin: PostgresConfig, urls: dict[Role, str]) -> None:
        self.admin = admin
        self._urls = urls

    def config(self, role: Role) -> PostgresConfig:
        """What this role connects with."""
        return PostgresConfig(url=self._urls[role])

    def on(self, url: str) -> Roles:
        """The same roles and database on the server of this URL."""
        where = urlsplit(url).netloc.rpartition("@")[2]
        urls = {}
        for role, known in self._urls.items():
            parts = urlsplit(known)
            who = parts.netloc.rpartition("@")[0]
            urls[role] = urlunsplit(parts._replace(netloc=f"{who}@{where}"))
        return Roles(self.admin, urls)


@pytest.fixture
async def roles(ledger_servers: LedgerServers) -> Roles:
    admin = await open_ledger(ledger_servers)
    # With what a URL must quote and a statement too.
    urls = {role: role_url(admin, role, f"it's {role.value} @/:%") for role in Role}
    await prepare(admin, (), role_urls=list(urls.values()))
    found = Roles(admin, urls)
    for tenant, cohort in zip(TENANTS, (SHOP, RIVAL), strict=True):
        payroll = parse_batch(
            tenant=tenant, idempotency_key="c", body={"items": [transfer_body(), transfer_body()]}
        )
        requests: list[Request | Batch] = [
            transfer(tenant, "a"),
            transfer(tenant, "b", expires_in_s=600),
            payroll,
            paid(tenant),
        ]
        envelopes = [Envelope(asked=one, cohort=cohort, accepted_ns=1) for one in requests]
        async with postgres.session(
            found.config(Role.POSTER), application_name="test", settings=dict(BY_INDEX)
        ) as connection:
            await apply_batch(connection, cohort, envelopes)
    return found


async def tenants_seen(connection: postgres.Connection, table: str) -> set[str]:
    return {row["tenant"] for row in await connection.fetch(f"select tenant from ledger.{table}")}


async def as_tenant(connection: postgres.Connection, tenant: str, cohort: int) -> None:
    await connection.execute(
        "select set_config('ledger.tenant', $1, true), set_config('ledger.cohort', $2, true)",
        tenant,
        str(cohort),
    )


def test_the_two_tenants_are_in_two_cohorts() -> None:
    assert SHOP != RIVAL


async def test_a_reader_sees_the_tenant_that_asks_and_nobody_unasked(roles: Roles) -> None:
    for table in TABLES:
        await check_reader(roles, table)


async def check_reader(roles: Roles, table: str) -> None:
    async with postgres.session(roles.config(Role.READER), application_name="test") as reader:
        assert await tenants_seen(reader, table) == set()
        async with reader.transaction():
            await as_tenant(reader, "shop", SHOP)
            assert await tenants_seen(reader, table) == {"shop"}
        # What a transaction has left behind is an empty text, which is nobody.
        assert await tenants_seen(reader, table) == set()
        async with reader.transaction():
            await as_tenant(reader, "shop", RIVAL)
            assert await tenants_seen(reader, table) == set()
        async with reader.transaction():
            await as_tenant(reader, "rival' or 'a'='a", RIVAL)
            assert await tenants_seen(reader, table) == set()


async def test_a_reader_is_told_nothing_of_the_ledgers_own_tables(roles: Roles) -> None:
    statements = [f"select * from ledger.{table}" for table in INNER_TABLES]
    await check_refused(roles, Role.READER, statements)


async def test_no_partition_answers_by_its_own_name(roles: Roles) -> None:
    statements = [
        f"select * from ledger.{table}_c{cohort}"
        for table in TABLES + INNER_TABLES + WEBHOOK_TABLES + EXPORT_TABLES
        for cohort in range(COHORTS_COUNT)
    ]
    for role in Role:
        await check_refused(roles, role, statements)


async def check_refused(roles: Roles, role: Role, statements: Sequence[str], *codes: str) -> None:
    async with postgres.session(roles.config(role), application_name="test") as connection:
        for statement in statements:
            with (
                pytest.raises((PermanentError, UnavailableError)) as caught,
                postgres.translated(),
            ):
                await connection.execute(statement)
            assert getattr(caught.value, "code", "") in (codes or ("42501",)), statement


async def test_a_partition_that_somebody_is_granted_shows_nothing_all_the_same(
    roles: Roles,
) -> None:
    """The day somebody grants on all tables: each partition's own row security still says no."""
    async with postgres.session(roles.admin, application_name="test") as admin:
        await admin.execute("grant select on all tables in schema ledger to ledger_reader")
        await admin.execute("select ledger.make_cohort(9::smallint)")
        await admin.execute("grant select on all tables in schema ledger to ledger_reader")
        names = await admin.fetch(
            "select relname from pg_class c join pg_inherits i on i.inhrelid = c.oid "
            "where c.relkind = 'r' and c.relnamespace = 'ledger'::regnamespace"
        )
        tables = TABLES + INNER_TABLES + WEBHOOK_TABLES + EXPORT_TABLES
        assert len(names) == len(tables) * (COHORTS_COUNT + 1)
        unsecured = await admin.fetch(
            "select relname from pg_class where relnamespace = 'ledger'::regnamespace "
            "and relkind in ('r', 'p') and not (relrowsecurity and relforcerowsecurity)"
        )
        # Analytics are secured too, and are in no partitions.
        registers = {"tenants", "tiers", "elevations", "schema_version"}
        assert {row["relname"] for row in unsecured} == registers
    async with (
        postgres.session(roles.config(Role.READER), application_name="test") as reader,
        reader.transaction(),
    ):
        await as_tenant(reader, "shop", SHOP)
        for row in names:
            assert await reader.fetch(f"select * from ledger.{row['relname']}") == []


async def test_endpoints_are_shown_to_and_changed_by_their_tenant_alone(roles: Roles) -> None:
    async with postgres.session(roles.config(Role.ENDPOINTS), application_name="test") as edge:
        for tenant, cohort in zip(TENANTS, (SHOP, RIVAL), strict=True):
            async with edge.transaction():
                await as_tenant(edge, tenant, cohort)
                await edge.execute(NEW_ENDPOINT, cohort, uuid.uuid4(), tenant)
            async with edge.transaction():
                await as_tenant(edge, tenant, cohort)
                other = "rival" if tenant == "shop" else "shop"
                with pytest.raises(PermanentError, match="row-level"), postgres.translated():
                    await edge.execute(NEW_ENDPOINT, cohort, uuid.uuid4(), other)
        assert await tenants_seen(edge, "webhook_endpoints") == set()
        async with edge.transaction():
            await as_tenant(edge, "shop", SHOP)
            assert await tenants_seen(edge, "webhook_endpoints") == {"shop"}
            assert await edge.execute("delete from ledger.webhook_endpoints") == "DELETE 1"
    async with postgres.session(roles.config(Role.WEBHOOKS), application_name="test") as sender:
        assert await tenants_seen(sender, "webhook_endpoints") == {"rival"}
    refused = ["update ledger.webhook_endpoints set url = 'https://elsewhere.example/'"]
    await check_refused(roles, Role.WEBHOOKS, refused)
    reads = [f"select * from ledger.{table}" for table in WEBHOOK_TABLES]
    for role in (Role.READER, Role.POSTER, Role.AUDIT):
        await check_refused(roles, role, reads)
    for role in (Role.WEBHOOKS, Role.ENDPOINTS):
        await check_refused(roles, role, [f"select * from ledger.{table}" for table in TABLES])


NEW_EXPORT = (
    "insert into ledger.exports (cohort, export_id, tenant, idempotency_key, fingerprint, from_at, to_at)"
    " values ($1, $2, $3, 'k', 'f', '2026-01-01', '2026-02-01')"
)
NEW_PART = (
    "insert into ledger.export_parts (cohort, export_id, tenant, part, content)"
    " select cohort, export_id, tenant, 0, 'file' from ledger.exports"
)


async def test_exports_are_asked_for_and_shown_to_their_tenant_alone(roles: Roles) -> None:
    async with postgres.session(roles.config(Role.EXPORTS), application_name="test") as edge:
        for tenant, cohort in zip(TENANTS, (SHOP, RIVAL), strict=True):
            async with edge.transaction():
                await as_tenant(edge, tenant, cohort)
                await edge.execute(NEW_EXPORT, cohort, uuid.uuid4(), tenant)
            async with edge.transaction():
                await as_tenant(edge, tenant, cohort)
                other = "rival" if tenant == "shop" else "shop"
                with pytest.raises(PermanentError, match="row-level"), postgres.translated():
                    await edge.execute(NEW_EXPORT, cohort, uuid.uuid4(), other)
        async with postgres.session(
            roles.config(Role.EXPORTER), application_name="test"
        ) as exporter:
            assert await tenants_seen(exporter, "exports") == set(TENANTS)
            await exporter.execute(NEW_PART)
        for table in EXPORT_TABLES:
            assert await tenants_seen(edge, table) == set()
            async with edge.transaction():
                await as_tenant(edge, "shop", SHOP)
                assert await tenants_seen(edge, table) == {"shop"}
    reads = [f"select * from ledger.{table}" for table in EXPORT_TABLES]
    for role in (Role.READER, Role.POSTER, Role.AUDIT, Role.ENDPOINTS):
        await check_refused(roles, role, reads)
    # Nobody says of an export that it is done but who makes it, and nobody else changes the trail or reads the books.
    await check_refused(
        roles,
        Role.EXPORTS,
        ["update ledger.exports set state = 'done'", NEW_PART, "select * from ledger.audit_log"],
    )
    await check_refused(
        roles,
        Role.EXPORTER,
        [
            "update ledger.exports set tenant = 'rival'",
            "insert into ledger.audit_checkpoints (size, witnessed, note) values (1, true, '')",
            "delete from ledger.audit_log",
            *(f"select * from ledger.{table}" for table in TABLES),
        ],
    )


NEW_ENDPOINT = (
    "insert into ledger.webhook_endpoints (cohort, endpoint_id, tenant, url, event_types, signature, secret)"
    " values ($1, $2, $3, 'https://example.com/', '{}', 'v1', 'sealed')"
)
FORBIDDEN = (
    "update ledger.entries set amount_minor = 1",
    "delete from ledger.entries",
    "truncate ledger.entries cascade",
    "update ledger.transactions set state = 'posted'",
    "delete from ledger.transactions",
    "update ledger.accounts set currency = 'USD'",
    "update ledger.accounts set tenant = 'rival'",
    "delete from ledger.accounts",
    "update ledger.holds set amount_minor = 1",
    "update ledger.tenants set cohort = 0",
    "insert into ledger.tenants (tenant, cohort) values ('mine', 0)",
    "alter table ledger.entries disable row level security",
    "alter table ledger.entries detach partition ledger.entries_c0",
    "set session_replication_role = replica",
    "set role ledger_owner",
    "create table ledger.mine (a int)",
)


async def test_what_was_written_stays(roles: Roles) -> None:
    for role in Role:
        await check_refused(roles, role, FORBIDDEN)


async def test_not_even_the_owner_changes_what_is_append_only(roles: Roles) -> None:
    """By mistake, that is: who holds a superuser's password can take the triggers away first."""
    statements = []
    for table in ("entries", "transactions", "batches"):
        statements += [f"update ledger.{table} set tenant = tenant", f"delete from ledger.{table}"]
        names = (table, *(f"{table}_c{cohort}" for cohort in range(COHORTS_COUNT)))
        statements += [f"truncate ledger.{name} cascade" for name in names]
    async with postgres.session(roles.admin, application_name="test") as admin:
        for statement in statements:
            with pytest.raises(PermanentError, match="append only"), postgres.translated():
                await admin.execute(statement)


async def test_an_entry_cannot_be_booked_to_another_tenants_account(roles: Roles) -> None:
    async with postgres.session(roles.config(Role.POSTER), application_name="test") as poster:
        with pytest.raises(PermanentError) as caught, postgres.translated():
            await poster.execute(
                "insert into ledger.entries values ($1, $2, 5, 'rival', 'alice', 5, 5, 9)",
                SHOP,
                transfer("shop", "a").transaction_id,
            )
        assert caught.value.code == "23503"


async def test_a_pooled_connection_forgets_who_asked(roles: Roles) -> None:
    await check_pool(roles.config(Role.READER))


# What the edge's pools set for each session, beside the limits that all have.
SESSION = (
    "select current_setting('plan_cache_mode') as planning, current_setting('search_path') as path, "
    "current_setting('statement_timeout') as ends, current_setting('application_name') as name"
)


async def check_pool(config: PostgresConfig) -> None:
    pool = await postgres.Database.connect(
        PostgresConfig(url=config.url, pool_size_max=1),
        application_name="test",
        settings=PLANNED_ONCE,
    )
    try:
        async with pool.acquire() as first:
            backend = await first.fetchval("select pg_backend_pid()")
            usual = await first.fetchrow(SESSION)
            async with first.transaction():
                await as_tenant(first, "shop", SHOP)
                assert await tenants_seen(first, "accounts") == {"shop"}
        async with pool.acquire() as second:
            assert await tenants_seen(second, "accounts") == set()
            await second.execute("select set_config('ledger.tenant', 'shop', false)")
            await second.execute(f"select set_config('ledger.cohort', '{SHOP}', false)")
            await second.execute("set statement_timeout = 0")
            await second.execute("select pg_advisory_lock(7)")
            assert await tenants_seen(second, "accounts") == {"shop"}
        async with pool.acquire() as third:
            assert await third.fetchval("select pg_backend_pid()") == backend
            assert await tenants_seen(third, "accounts") == set()
            assert await third.fetchrow(SESSION) == usual
            held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
            assert await third.fetchval(held) == 0
            async with third.transaction():
                await as_tenant(third, "rival", RIVAL)
                assert await tenants_seen(third, "accounts") == {"rival"}
    finally:
        await pool.close()


async def test_a_replica_holds_the_same_line(roles: Roles, ledger_replica: ReplicaServer) -> None:
    there = roles.on(read_url(ledger_replica.url_file))
    async with postgres.session(roles.admin, application_name="test") as primary:
        lsn = await primary.fetchval("select pg_current_wal_flush_lsn()::text")

    async def is_there() -> bool:
        config = PostgresConfig(url=read_url(ledger_replica.url_file))
        async with postgres.session(config, application_name="test") as replica:
            query = "select pg_is_in_recovery() and pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
            return bool(await replica.fetchval(query, lsn))

    await eventually("the replica has it", is_there, bool)
    for table in TABLES:
        await check_reader(there, table)
    await check_pool(there.config(Role.READER))
    partitions = [
        f"select * from ledger.{table}_c{cohort}"
        for table in TABLES
        for cohort in range(COHORTS_COUNT)
    ]
    for role in Role:
        await check_refused(there, role, partitions)
        await check_refused(there, role, [*FORBIDDEN], "25006", "42501")


async def test_a_replicas_own_role_may_replicate_and_nothing_else(
    roles: Roles, ledger_replica: ReplicaServer
) -> None:
    assert ledger_replica.child.pid
    async with postgres.session(roles.admin, application_name="test") as admin:
        found = await admin.fetchrow(
            "select rolreplication, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, "
            "has_schema_privilege(oid, 'ledger', 'usage') as enters "
            "from pg_roles where rolname = $1",
            REPLICATION_ROLE,
        )
        assert tuple(found) == (True, False, False, False, False, False)


async def test_the_posters_statements_use_indexes_and_one_partition(roles: Roles) -> None:
    """Over arrays and partitions the planner would read whole tables, which made a batch ten times slower."""
    from sentinel.reference.ledger.posting import rows

    async with postgres.session(roles.admin, application_name="test") as admin:
        await admin.execute(
            "insert into ledger.accounts (cohort, tenant, account_id, currency, balance_minor, allow_negative, version) "
            "select $1::smallint, 'shop', 'a' || i, 'EUR', 0, false, 0 from generate_series(1, 5000) i",
            SHOP,
        )
        await admin.execute("analyze ledger.accounts")
    names = [f"a{index}" for index in range(1, 200)]
    ids = [uuid.uuid4() for _ in names]
    shops = ["shop"] * len(names)
    numbers = [0] * len(names)
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (rows._DECIDED, (SHOP, ids)),
        (rows._HOLDS, (SHOP, ids)),
        (rows._POSTED, (SHOP, ids)),
        (rows._LOCK, (SHOP, shops, names)),
        (rows._BALANCES, (SHOP, shops, names, numbers, numbers, numbers, numbers)),
        (rows._END_HOLDS, (SHOP, ids, ["open"] * len(ids), [None] * len(ids))),
    ]
    async with (
        postgres.session(
            roles.config(Role.POSTER), application_name="test", settings=dict(BY_INDEX)
        ) as poster,
        poster.transaction(),
    ):
        for statement, arguments in statements:
            plan = "\n".join(
                row[0] for row in await poster.fetch(f"explain {statement}", *arguments)
            )
            others = [f"_c{cohort}" for cohort in range(COHORTS_COUNT) if cohort != SHOP]
            assert not [name for name in others if name in plan], plan
            if statement in (rows._LOCK, rows._BALANCES):
                assert "Seq Scan" not in plan, plan


async def test_a_read_says_who_asks_and_what_in_one_statement_and_nobody_sees_another_s(
    roles: Roles,
) -> None:
    """The order within the statement is what this rests on: planned another way it would find nothing."""
    async with postgres.session(
        roles.config(Role.READER), application_name="test", settings=dict(PLANNED_ONCE)
    ) as reader:
        for statement in (reads._BALANCE, reads._TRANSACTION):
            value = uuid.uuid4() if statement is reads._TRANSACTION else "a1"
            for _ in range(2):  # planned, and taken from what was planned
                row = await reader.fetchrow(statement.primary, "0", "nobody", 0, value)
                assert row["lsn"] > 0
                assert [
                    one for name, one in row.items() if name != "lsn" and one is not None
                ] == []
            plan = "\n".join(
                row[0]
                for row in await reader.fetch(
                    f"explain {statement.primary}", "0", "nobody", 0, value
                )
            )
            assert "Seq Scan" not in plan, plan
            assert "Hash" not in plan, plan
            assert plan.index("CTE Scan on who") < plan.index("Index Scan"), plan
            assert not [name for name in ("_c1", "_c2", "_c3") if name in plan], plan
            # What was named is forgotten with the statement.
            named = await reader.fetchval("select current_setting('ledger.tenant', true)")
            assert not named
