"""Goal: what a pass asks costs by what it looks at, and not by how long the ledger and its trail are.

Method: a generated ledger whose trail is far longer than what is looked at, on real PostgreSQL; the parsing of a leaf is counted by a
function that stands in for it and that the planner may move as freely.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from sentinel.reference.ledger.reconcile import audited, statements, taken
from sentinel.reference.ledger.reconcile.books import TakenFrom
from sentinel.reference.ledger.reconcile.place import EVER, NEVER
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.postgres import Connection
from sentinel.reference.ledger.wire.streams import StreamState
from tests.support.ledger_servers import LedgerServers, open_ledger

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

BEGAN: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
# One each second: those of the first half were there when the trail began.
COUNT: Final = 8_000
BEGUN: Final = BEGAN + timedelta(seconds=COUNT // 2)
TRAIL: Final = audited.Trail(sequence=10 * COUNT, place="0/0", begun_at=BEGUN)
ID: Final = "lpad(to_hex(n), 32, '0')::uuid"
AT: Final = f"'{BEGAN}'::timestamptz + n * interval '1 second'"
FILL: Final = (
    "set session_replication_role = replica",
    "insert into ledger.transactions (cohort, transaction_id, tenant, idempotency_key, fingerprint, kind, state, debit_account,"
    " credit_account, amount_minor, currency, accepted_at, posted_at)"
    f" select 0, {ID}, 'shop', n::text, '', 'transfer', 'posted', 'bank', 'alice', 1, 'EUR', {AT}, {AT}"
    f" from generate_series(0, {COUNT} - 1) n",
    "insert into ledger.entries (cohort, transaction_id, leg, tenant, account_id, amount_minor, balance_after_minor, account_version)"
    f" select 0, {ID}, leg, 'shop', case leg when 0 then 'bank' else 'alice' end, 2 * leg - 1, (2 * leg - 1) * (n + 1), n + 1"
    f" from generate_series(0, {COUNT} - 1) n, generate_series(0, 1) leg",
    "insert into ledger.audit_log (sequence, generation, commit_lsn, ordinal, committed_at, op, relation, cohort, tenant, row_id, leg,"
    " leaf, signature)"
    f" select row_number() over (order by moment, id, leg nulls first), 1, '0/0', row_number() over (order by id, leg nulls first),"
    f" moment, case when n < {COUNT // 2} then 'snapshot' else 'insert' end, relation, 0, 'shop', id, leg,"
    " convert_to(jsonb_build_object('row', row)::text, 'UTF8'), decode(repeat('00', 64), 'hex')"
    f" from (select 'transactions' as relation, transaction_id as id, null::smallint as leg, to_jsonb(t) as row from ledger.transactions t"
    " union all select 'entries', transaction_id, leg, to_jsonb(e) from ledger.entries e) as written"
    f" join (select {ID} as id, n, greatest({AT}, '{BEGUN}') as moment from generate_series(0, {COUNT} - 1) n) as moments using (id)",
    "insert into ledger.intake (cohort, first_sequence, last_sequence, stored_at, decided_at, posted_count, rejected_count,"
    f" repeated_count, amount_minor) select 0, n + 1, n + 1, {AT}, {AT}, 1, 0, 0, 1 from generate_series(0, {COUNT} - 1) n",
    "set session_replication_role = default",
    "analyze ledger.transactions, ledger.entries, ledger.audit_log, ledger.intake",
    "select brin_summarize_new_values(oid) from pg_class where relname in ('audit_log_times', 'intake_c0_decided_at_idx')",
    "create sequence public.parsed",
    # Said to be stable, so that the planner may write it out as often as what it stands for.
    "create function public.parsed(leaf bytea) returns text language plpgsql stable cost 1 as"
    " 'begin perform nextval(''public.parsed''); return convert_from(leaf, ''UTF8''); end'",
)


async def filled(servers: LedgerServers) -> Any:
    config = await open_ledger(servers)
    async with postgres.session(
        config, application_name="test", settings={"statement_timeout": "120000"}
    ) as session:
        for statement in FILL:
            await session.execute(statement)
    return config


async def plan_of(connection: Connection, statement: str, *args: object) -> str:
    return "\n".join(
        row[0] for row in await connection.fetch(f"explain (costs off) {statement}", *args)
    )


async def parsed_count(connection: Connection) -> int:
    count = await connection.fetchval("select nextval('public.parsed')")
    await connection.execute("alter sequence public.parsed restart")
    return int(count) - 1


async def test_a_leaf_of_the_trail_is_parsed_once_and_only_of_a_row_that_is_looked_for(
    ledger_servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_UNRECORDED", "_FOUND"):
        statement = getattr(audited, name)
        assert "convert_from(leaf, 'UTF8')" in statement
        monkeypatch.setattr(
            audited, name, statement.replace("convert_from(leaf, 'UTF8')", "public.parsed(leaf)")
        )
    config = await filled(ledger_servers)
    # The last seconds as a pass has them, a slice of the middle, one of what was there before the trail, and the first.
    looks = {
        (BEGAN + timedelta(seconds=COUNT - 45), NEVER): 45,
        (BEGUN + timedelta(seconds=600), BEGUN + timedelta(seconds=700)): 100,
        (BEGAN + timedelta(seconds=600), BEGAN + timedelta(seconds=700)): 100,
        (EVER, BEGAN + timedelta(seconds=100)): 100,
    }
    async with postgres.session(config, application_name="test") as session:
        for times, count in looks.items():
            known = audited.Audited()
            assert await audited.look(session, 0, known, TRAIL, times, place=None) == count
            assert known.looks == []  # all of them were found
            assert await parsed_count(session) == 3 * count, times
            since, until = times
            plan = await plan_of(
                session,
                audited._UNRECORDED,
                *(0, since, until, *audited.window(times), 10, since < BEGUN),
            )
            assert "Seq Scan on audit_log" not in plan, plan
            assert "audit_log_times" in plan, plan
        rows = await session.fetch(
            audited._FOUND, 0, [row["transaction_id"] for row in await some(session, 5)], -1
        )
        assert len(rows) == 15
        assert await parsed_count(session) == 15


async def some(session: Connection, count: int) -> Any:
    return await session.fetch(
        "select transaction_id from ledger.transactions where cohort = 0 limit $1", count
    )


async def test_control_totals_are_not_read_again_for_what_is_known_of_them(
    ledger_servers: LedgerServers,
) -> None:
    config = await filled(ledger_servers)
    stream = StreamState(created_at=BEGAN, first=COUNT + 1, last=COUNT, gone=frozenset())
    async with postgres.session(config, application_name="test") as session:
        plan = await plan_of(session, statements.DEAD, 0, BEGAN, 10)
        assert "Seq Scan" not in plan, plan
        assert plan.count("last_sequence_first_sequence_idx") == 2, plan
        await session.execute("update ledger.schema_version set applied_at = '2026-01-01Z'")
        asked: list[str] = []
        driver: Any = session
        driver.add_query_logger(lambda record: asked.append(record.query))
        known, taken_from = taken.Numbers(), TakenFrom()
        for _ in range(2):
            await asyncio.sleep(0)  # what was asked is told a moment later
            asked.clear()
            result, totals = await taken.compare_stream(session, 0, stream, known)
            assert (result.drift_count, totals.decided_messages) == (0, COUNT)
            assert await taken_from.read(session, 0, BEGUN) == BEGAN
        await asyncio.sleep(0)
        # The second time: what is new, and the sums.
        assert asked.count(statements.TAKEN) == 2
        assert statements.INTAKE_FROM not in asked
        # A stream that was made anew is another one.
        made_anew = StreamState(created_at=NEVER, first=1, last=0, gone=frozenset())
        await taken.compare_stream(session, 0, made_anew, known)
        assert known.began == NEVER
        assert not known.began_known


async def test_a_poster_whose_clock_is_behind_moves_the_first_control_total(
    ledger_servers: LedgerServers,
) -> None:
    config = await open_ledger(ledger_servers)
    taken_from = TakenFrom()
    async with postgres.session(config, application_name="test") as session:
        assert await taken_from.read(session, 0, EVER) is None
        for number, minute in ((1, 60), (2, 70), (3, 0)):
            at = BEGAN + timedelta(minutes=minute)
            await session.execute(
                "insert into ledger.intake (cohort, first_sequence, last_sequence, stored_at, decided_at, posted_count, rejected_count,"
                " repeated_count, amount_minor) values (0, $1, $1, $2, $2, 0, 0, 0, 0)",
                number,
                at,
            )
            assert await taken_from.read(session, 0, at) == min(at, BEGAN + timedelta(hours=1))
