"""Goal: one export that cannot be begun, ended or removed costs no other anything, and two processes never undo each other's work.

Method: the process that makes exports on a real PostgreSQL, with rows that were put there, triggers that make removing slow or
impossible, and another process that takes an export over in the middle.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from sentinel.reference.ledger.audit.exports import Exporter, ExporterConfig, exporter, rows
from sentinel.reference.ledger.audit.exports.making import Bounds, ExportFailedError
from sentinel.reference.ledger.audit.exports.rows import Due
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.exports import ExportFailure
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerServers, Recorded, open_ledger, recorded

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

COHORT = new_cohort("shop")
_ASK = """
insert into ledger.exports
    (cohort, export_id, tenant, idempotency_key, fingerprint, from_at, to_at, state, attempts, next_at, ended_at, bytes_count)
values ($1, $2::uuid, 'shop', $2::uuid::text, '', '2026-01-01', '2026-01-02', $3, $4, now() - $5 * interval '1 second',
        case when $3 = 'done' then now() - interval '1 minute' end, $6)
"""
_CHUNKS = """
insert into ledger.export_parts (cohort, export_id, tenant, part, content)
select $1, $2::uuid, 'shop', part, 'x' from generate_series(0, $3::int - 1) part
"""
# As much as a statement may take is soon used up, and one export's chunks cannot be removed at all.
_SLOW = """
create function ledger.slow() returns trigger language plpgsql as $$
begin
    perform pg_sleep(0.01);
    if old.content = 'stays' then
        raise exception 'it stays';
    end if;
    return old;
end $$;
create trigger slow before delete on ledger.export_parts for each row execute function ledger.slow();
"""


@dataclass(slots=True)
class Desk:
    """A ledger's database, and who makes exports of it."""

    admin: PostgresConfig
    config: ExporterConfig
    made: Recorded = field(default_factory=lambda: recorded("ledger-exporter"))

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        """Rows of a query as the superuser."""
        async with postgres.session(self.admin, application_name="test") as session:
            return [dict(row) for row in await session.fetch(query, *args)]

    async def ask(
        self,
        state: str = "waiting",
        *,
        chunks_count: int = 0,
        attempts: int = 0,
        due_since_s: int = 1,
        bytes_count: int | None = None,
    ) -> uuid.UUID:
        """An export that stands there."""
        export_id = uuid.uuid4()
        row = (COHORT, export_id, state, attempts, due_since_s, bytes_count)
        await self.rows(_ASK, *row)
        await self.rows(_CHUNKS, COHORT, export_id, chunks_count)
        return export_id

    async def found(self, export_id: uuid.UUID) -> dict[str, Any]:
        """What the database says of it."""
        (row,) = await self.rows(
            "select state, reason, attempts, next_at > now() as later, (select count(*)::int from ledger.export_parts p where "
            "p.export_id = e.export_id) as chunks_count from ledger.exports e where export_id = $1",
            export_id,
        )
        return row

    async def becomes(
        self, export_id: uuid.UUID, accept: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait until `accept` says so of it."""
        found: dict[str, Any] = await eventually(
            "the export", lambda: self.found(export_id), accept
        )
        return found

    @asynccontextmanager
    async def exporting(self) -> AsyncIterator[None]:
        """The process that makes exports, until the block ends."""
        database = await Database.connect(self.config.postgres, application_name="test")
        stop = asyncio.Event()
        task = asyncio.create_task(
            Exporter(self.config, database=database, telemetry=self.made.telemetry).run(stop)
        )
        try:
            yield
        finally:
            stop.set()
            await task
            await database.close()


@pytest_asyncio.fixture
async def desk(ledger_servers: LedgerServers) -> Desk:
    admin = await open_ledger(ledger_servers)
    url = role_url(admin, Role.EXPORTER, "secret")
    await prepare(admin, (), role_urls=[url])
    desk = Desk(
        admin=admin,
        config=ExporterConfig(
            postgres=PostgresConfig(url=url, pool_size_max=2, statement_timeout_s=1.5),
            look_interval_s=0.05,
            tidy_interval_s=0.0,
        ),
    )
    await desk.rows(
        "insert into ledger.tenants (cohort, tenant) values ($1, 'shop') on conflict do nothing",
        COHORT,
    )
    return desk


async def test_files_of_any_size_go_in_slices_and_one_that_stays_keeps_no_other(
    desk: Desk,
) -> None:
    """Removed by one statement it never came to an end, and neither did anything that was done with it."""
    stays, large = [await desk.ask("done", chunks_count=count) for count in (1, 300)]
    await desk.rows("update ledger.export_parts set content = 'stays' where export_id = $1", stays)
    async with postgres.session(desk.admin, application_name="test") as session:
        await session.execute(_SLOW)
    async with desk.exporting():
        gone = await desk.becomes(large, lambda row: row["chunks_count"] == 0)
    assert gone["state"] == "expired"
    left = await desk.found(stays)
    assert (left["state"], left["chunks_count"]) == ("expired", 1)
    assert desk.made.values("ledger.exports.forgotten")[("age",)] == 2
    # It is not forgotten either while something of it is there.
    await desk.rows("update ledger.exports set ended_at = now() - interval '1 year'")
    async with desk.exporting():
        await eventually(
            "what is forgotten",
            lambda: desk.rows("select export_id from ledger.exports"),
            lambda found: len(found) == 1,
        )
    assert (await desk.found(stays))["chunks_count"] == 1


async def test_one_that_cannot_be_begun_lets_the_next_have_its_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [await desk.ask(due_since_s=since_s) for since_s in (60, 1)]
    old = await desk.ask("done", chunks_count=1)

    async def covered(_: object, due: Due, *, witnessed: bool) -> bool:
        if due.export_id == first:
            message = "the statement took too long"
            raise UnavailableError(message)
        return False

    monkeypatch.setattr(exporter, "is_covered", covered)
    desk.config = ExporterConfig(
        postgres=desk.config.postgres, look_interval_s=0.05, wait_s=0.0, tidy_interval_s=0.0
    )
    async with desk.exporting():
        ended = await desk.becomes(second, lambda row: row["state"] == "failed")
        await desk.becomes(old, lambda row: row["chunks_count"] == 0)
    assert ended["reason"] == "audit_behind"
    waits = await desk.found(first)
    assert (waits["state"], waits["later"]) == ("waiting", True)
    assert desk.made.values("ledger.exports.retried")[()] >= 1


@pytest.mark.parametrize(
    "error",
    [
        ExportFailedError("too slow", reason=ExportFailure.TOOK_TOO_LONG),
        UnavailableError("the database went away"),
    ],
)
async def test_whoever_lost_an_export_to_another_process_leaves_that_ones_work_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked = await desk.ask()
    ended = asyncio.Event()

    async def covered(*_: object, **__: object) -> bool:
        return True

    async def make(*_: object, **__: object) -> None:
        # Another took it for lost: it has begun it, and stored something.
        await desk.rows(
            "update ledger.exports set attempts = 2, next_at = now() + interval '1 hour'"
        )
        await desk.rows(_CHUNKS, COHORT, asked, 3)
        ended.set()
        raise error

    monkeypatch.setattr(exporter, "is_covered", covered)
    monkeypatch.setattr(exporter, "make", make)
    async with desk.exporting():
        await asyncio.wait_for(ended.wait(), 30)
        await asyncio.sleep(0.5)  # what it does about it, and a few looks more
    found = await desk.found(asked)
    assert (found["state"], found["attempts"], found["later"]) == ("running", 2, True)
    assert found["chunks_count"] == 3
    assert desk.made.values("ledger.exports.ended") == {}


async def test_a_lease_is_reckoned_from_its_renewal_on(desk: Desk) -> None:
    """From the beginning of the transaction on it might be over before a large part was stored."""
    asked = await desk.ask("running", attempts=1)
    due = Due(
        cohort=COHORT,
        export_id=asked,
        tenant="shop",
        start=None,  # type: ignore[arg-type]  # nobody asks it
        end=None,  # type: ignore[arg-type]
        trace_parent=None,
        attempts=0,
        covered_lsn=0,
        age_s=0.0,
    )
    lease_s = Bounds().lease_s
    async with (
        postgres.session(desk.config.postgres, application_name="test") as session,
        session.transaction(),
    ):
        assert await rows.is_mine(session, due)
        await session.execute("select pg_sleep(1)")
        await rows.renew(session, due, lease_s)
        left_s = await session.fetchval(
            "select extract(epoch from next_at - clock_timestamp())::float8 from ledger.exports"
        )
    assert lease_s - 0.8 < left_s <= lease_s
