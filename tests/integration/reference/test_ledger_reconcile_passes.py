"""Goal: whatever is away, behind or of another clock, a pass says what it knows, and what it did not look at is looked at later.

Method: passes of one reconciler over a ledger that goes on, on real NATS and PostgreSQL from the wheels; between them a superuser alters
what was posted. Nothing is looked at twice by the clock (`OVERLAP` is none), so that what is found was not passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from sentinel.reference.ledger.audit.service import Audit, AuditConfig
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.reconciling import measured
from sentinel.reference.ledger.reconcile import (
    Check,
    Reconciler,
    State,
    place,
    replica,
    taken,
    told,
)
from sentinel.reference.ledger.reconcile.rounds import compare_slice
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, operator
from sentinel.reference.ledger.wire.roles import Role, role_url
from sentinel.reference.ledger.wire.streams import StreamState
from tests.support.audit_log import Keys
from tests.support.audit_scene import DROP_SLOTS
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite
from tests.support.reconcile_scene import (
    alter,
    ask,
    body,
    changed,
    drifts,
    gone,
    of,
    reconciler,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

COHORT: Final = new_cohort("shop")
NOWHERE: Final = "postgresql://nobody:secret@127.0.0.1:9/ledger"
LAST: Final = f"(select transaction_id from ledger.transactions where cohort = {COHORT} and idempotency_key = '{{key}}')"


@pytest.fixture(autouse=True)
def no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "OVERLAP", timedelta(0))


async def of_shop(site: LedgerSite, **config: Any) -> Reconciler:
    """One of the shop's cohort alone."""
    return await reconciler(site, cohorts=(COHORT,), **config)


async def post(site: LedgerSite, key: str, credit: str = "alice", amount: int = 10) -> None:
    await site.settled(
        await ask(site, "/v1/transfers", key, body("external:bank", credit, amount))
    )


async def alter_entry(site: LedgerSite, key: str, by: int = 3) -> None:
    """Alter what a transfer moved, which only whoever looks at that transfer sees at once."""
    where = f"cohort = {COHORT} and amount_minor > 0 and transaction_id = {LAST.format(key=key)}"
    await alter(site, *changed("ledger.entries", "amount_minor", by, where)[0])


async def moved_by(site: LedgerSite, key: str, by: str) -> None:
    """Have a transfer been posted by a clock that was wrong by so much."""
    posted = f"cohort = {COHORT} and transaction_id = {LAST.format(key=key)}"
    await alter(
        site,
        f"update ledger.intake i set decided_at = decided_at + interval '{by}' from ledger.transactions t"
        f" where i.cohort = {COHORT} and t.{posted} and i.decided_at = t.posted_at".replace(
            "and transaction_id", "and t.transaction_id"
        ),
        f"update ledger.transactions set posted_at = posted_at + interval '{by}' where {posted}",
    )


async def test_a_replica_that_is_away_costs_its_own_check_and_no_other(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    await post(site, "one")
    away = PostgresConfig(url=NOWHERE, connect_timeout_s=1.0)
    lasting = await of_shop(site, replica=away, recheck_s=3600)
    for report in (await lasting.run(), await lasting.run()):
        found = of(report, Check.REPLICA)
        assert (found.state, drifts(report)) == (State.WAITING, {})
        assert "the replica is away" in found.reason
        assert "the replica is away" in report.away
        judged, messages = measured(report)
        assert set(judged) == set(map(str, Check)) - {"replica", "audit", "events"}
        assert messages["accepted"] == 1
    await post(site, "two")
    await alter_entry(site, "two")
    assert "entries" in drifts(await lasting.run())


async def test_nats_that_is_away_costs_what_only_it_can_tell(ledger_site: LedgerSite) -> None:
    site = ledger_site
    await site.start_poster()
    await post(site, "one")
    await alter_entry(site, "one")
    lasting = await of_shop(site, nats=NatsConfig(url="nats://127.0.0.1:9", connect_timeout_s=1.0))
    report = await lasting.run()
    assert {"entries", "chain", "balance"} == set(drifts(report))
    assert of(report, Check.STREAM).state is State.WAITING
    assert of(report, Check.EVENTS).state is State.WAITING
    assert report.document()["totals"] is None  # not known is not zero
    assert measured(report)[1] == {}


async def test_what_a_pass_saw_that_broke_off_is_found_by_the_next(
    ledger_site: LedgerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ledger_site
    await site.start_poster()
    await post(site, "one")
    lasting = await of_shop(site, recheck_s=3600)
    assert (await lasting.run()).full
    await post(site, "two")
    await alter_entry(site, "two")

    async def away(*_: object) -> Any:
        # After the books, whose findings end with the pass.
        message = "the connection is gone"
        raise UnavailableError(message)

    with monkeypatch.context() as broken:
        broken.setattr(told, "uncounted", away)
        with pytest.raises(UnavailableError):
            await lasting.run()
    report = await lasting.run()
    assert not report.full
    assert drifts(report)["entries"] == (1, 3)


@pytest.mark.parametrize("by", ["1 hour", "-1 hour"])
async def test_a_posters_clock_hides_nothing_from_the_next_pass(
    ledger_site: LedgerSite, by: str
) -> None:
    """A poster an hour ahead for a minute blinded the passes for an hour, and one an hour behind was never looked at."""
    site = ledger_site
    await site.start_poster()
    await post(site, "one")
    if by == "1 hour":
        await moved_by(site, "one", by)
    lasting = await of_shop(site, recheck_s=3600)
    assert drifts(await lasting.run()) == {}
    await post(site, "two")
    if by == "-1 hour":
        await moved_by(site, "two", by)
    await alter_entry(site, "two")
    report = await lasting.run()
    assert not report.full
    assert drifts(report)["entries"] == (1, 3)


async def test_a_servers_clock_that_was_ahead_when_the_stream_was_made_loses_nothing(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    for number in range(3):
        await post(site, f"k{number}")
    # As if the stream had been made an hour later than its first messages were stored.
    await alter(site, "update ledger.intake set stored_at = stored_at - interval '1 hour'")
    report = await (await of_shop(site)).once()
    assert drifts(report) == {}
    assert (report.totals.decided_messages, report.totals.posted_requests) == (3, 3)


MADE: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("runs", "lost_count"),
    [
        # Made anew, its first two were taken by nobody: what the stream before gave out under these numbers does not count.
        ([(1, 9, -60), (3, 4, 1)], 2),
        ([(1, 2, -60), (3, 9, -50), (3, 4, 1)], 2),
        # The clock was ahead when it was made, and came to where it had been with the third message.
        ([(1, 9, -90), (1, 1, -60), (2, 2, -59), (3, 4, 1)], 0),
        ([(1, 1, -60), (2, 4, -59)], 0),
        ([(1, 1, -60), (3, 4, -59)], 1),
    ],
)
async def test_a_stream_is_known_by_its_numbers(
    ledger_site: LedgerSite, runs: list[tuple[int, int, int]], lost_count: int
) -> None:
    site = ledger_site
    await alter(
        site,
        "update ledger.schema_version set applied_at = '2026-01-01Z'",
        *(
            "insert into ledger.intake (cohort, first_sequence, last_sequence, stored_at, decided_at, posted_count, rejected_count,"
            f" repeated_count, amount_minor) values (0, {first}, {last}, '{MADE + timedelta(minutes=minute)}',"
            f" '{MADE + timedelta(minutes=minute, seconds=1)}', 0, 0, 0, 0)"
            for first, last, minute in runs
        ),
    )
    stream = StreamState(created_at=MADE, first=5, last=4, gone=frozenset())
    async with postgres.session(site.postgres, application_name="test") as connection:
        result, totals = await taken.compare_stream(connection, 0, stream, taken.Numbers())
    assert result.drift_count == totals.lost_messages == lost_count


async def test_a_full_pass_is_made_in_slices_beside_the_others_and_leaves_nothing_out(
    ledger_site: LedgerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ledger_site
    await site.start_poster()
    for number in range(9):
        await post(site, f"k{number}", f"a{number}")
    await alter_entry(site, "k8")
    where = f"cohort = {COHORT} and account_id = 'a7'"
    await alter(site, *changed("ledger.entries", "balance_after_minor", 2, where)[0])
    lasting = await of_shop(
        site,
        accounts_count_max=3,
        entries_count_max=4,
        transactions_count_max=2,
        slices_s=0.001,
        recheck_s=3600,
    )
    slow = [True]

    async def compare_in_time(*args: Any) -> Any:
        if slow:
            slow.clear()
            message = "canceling statement due to statement timeout"
            raise UnavailableError(message, code="57014")
        return await compare_slice(*args)

    monkeypatch.setattr(
        "sentinel.reference.ledger.reconcile.comparing.compare_slice", compare_in_time
    )
    report = await lasting.run()
    assert "statement timeout" in report.trouble
    assert not report.full
    await post(site, "new", "a0")
    await alter_entry(site, "new", by=5)
    report = await lasting.run()
    assert not report.full
    # The pass between finds what came, though the full one is not at its end.
    assert drifts(report)["entries"] == (1, 5)
    slices_count, full = 0, False
    while not full:
        report = await lasting.run()
        slices_count, full = slices_count + 1, report.full
    assert slices_count > 5
    assert drifts(report)["entries"] == (2, 8)
    assert drifts(report)["chain"] == (3, 10)
    assert drifts(report)["balance"][0] == 3
    assert of(report, Check.CHAIN).examined_count == 20
    assert of(report, Check.ENTRIES).examined_count == 10


async def test_a_replica_is_compared_to_its_last_account_and_its_first_transaction(
    ledger_site: LedgerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the database stands for the replica, since nobody can alter a real one."""

    async def there(*_: object, **__: object) -> str:
        return ""

    site = ledger_site
    await site.start_poster()
    for number in range(7):
        await post(site, f"k{number}", f"a{number}")
    await site.stop_posters()
    name = site.postgres.url.rpartition("/")[2]
    monkeypatch.setattr(replica, "replayed", there)
    lasting = await of_shop(site)
    copy = await copied(site, name)
    for statements, expected in (
        (["update ledger.accounts set balance_minor = 17 where account_id = 'a6'"], (1, 7)),
        (
            [
                "update ledger.accounts set balance_minor = 10 where account_id = 'a6'",
                f"delete from ledger.entries where amount_minor > 0 and transaction_id = {LAST.format(key='k0')}",
            ],
            (1, 10),
        ),
    ):
        async with (
            postgres.session(copy, application_name="test") as session,
            session.transaction(),
        ):
            await session.execute("set local session_replication_role = replica")
            for statement in statements:
                await session.execute(statement)
        lasting = await of_shop(
            site,
            replica=copy,
            accounts_count_max=2,
            transactions_count_max=2,
            analytics_wait_s=0.1,
        )
        assert drifts(await lasting.once()) == {"replica": expected}


async def copied(site: LedgerSite, name: str) -> PostgresConfig:
    """A copy of the site's database beside it."""
    head = site.postgres.url.rpartition("/")[0]
    settings = {"statement_timeout": "30000"}
    admin = PostgresConfig(url=f"{head}/postgres")

    async def copy() -> bool:
        async with postgres.session(admin, application_name="test", settings=settings) as session:
            await session.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
            )
            try:
                await session.execute(f"create database {name}_copy template {name}")
            except UnavailableError:
                return False  # the edge was there again
        return True

    await eventually("a copy", copy, bool)
    return PostgresConfig(url=f"{head}/{name}_copy")


async def test_a_dead_letter_that_is_not_kept_is_a_lost_message(ledger_site: LedgerSite) -> None:
    site = ledger_site
    await site.start_poster()
    lasting = await of_shop(site)
    async with operator(site.nats, name="test") as (client, stream):
        for number in range(2):
            await client.publish(f"ledger.c{COHORT}.transfers.poison{number}", b"not json")
        await eventually(
            "the dead letters",
            lambda: site.rows(
                "select count(distinct last_sequence)::int as n from ledger.intake where dead_count > 0"
            ),
            lambda rows: rows[0]["n"] == 2,
        )
        assert drifts(await lasting.run()) == {}
        config = (await stream.stream_info(DEAD_STREAM)).config
        # Whoever has dealt with a letter removes it.
        await stream.delete_msg(DEAD_STREAM, 1)
        assert drifts(await (await of_shop(site)).once()) == {}
        await stream.delete_stream(DEAD_STREAM)
        await stream.add_stream(config)
    report = await (await of_shop(site)).once()
    assert drifts(report) == {"stream": (2, 0)}
    assert "dead letter" in of(report, Check.STREAM).findings[0]["taken_by"]
    assert drifts(await lasting.run()) == {}  # it has seen them
    await alter(
        site,
        "insert into ledger.intake (cohort, first_sequence, last_sequence, stored_at, decided_at, posted_count, rejected_count,"
        f" repeated_count, amount_minor, dead_count) values ({COHORT}, 1, 2, now(), now(), 0, 0, 0, -1, 2)",
    )
    assert drifts(await (await of_shop(site)).once()) == {}  # written off, as the runbook says


class Recording:
    """The trail's recorder, which can be started and stopped."""

    def __init__(self, site: LedgerSite, url: str) -> None:
        self._site, self._keys = site, Keys()
        self._config = AuditConfig(postgres=PostgresConfig(url=url), pause_s=0.05)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Record from now on."""
        telemetry = self._site.poster.telemetry
        audit = Audit(self._config, signer=self._keys.log, telemetry=telemetry)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(audit.run(self._stop))

    async def up_to(self, key: str) -> None:
        """Wait until a transfer is recorded."""
        await eventually(
            f"{key} is recorded",
            lambda: self._site.rows(
                "select count(*)::int as n from ledger.audit_log where relation = 'entries'"
                f" and row_id = {LAST.format(key=key)}"
            ),
            lambda rows: rows[0]["n"] == 2,
        )

    async def stop(self) -> None:
        """Record no more."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=30)

    async def catch_up(self, key: str) -> None:
        """Record until a transfer is there."""
        self.start()
        await self.up_to(key)
        await self.stop()


@asynccontextmanager
async def audited(site: LedgerSite) -> AsyncIterator[Recording]:
    """A recorder of the site's trail."""
    url = role_url(site.postgres, Role.AUDIT, "audit")
    await prepare(site.postgres, (), role_urls=[url])
    recording = Recording(site, url)
    try:
        yield recording
    finally:
        await recording.stop()
        await site.stop_posters()
        await site.rows(DROP_SLOTS)


async def test_passes_wait_for_a_trail_that_is_behind_and_pass_over_nothing(
    ledger_site: LedgerSite,
) -> None:
    """What was posted while the trail was behind was never compared with it, and a trail that stood still agreed."""
    site = ledger_site
    await site.start_poster()
    async with audited(site) as recording:
        await post(site, "one")
        await recording.catch_up("one")
        lasting = await of_shop(site, recheck_s=3600)
        assert of(await lasting.run(), Check.AUDIT).state is State.AGREES
        await post(site, "two")
        await post(site, "three")
        for _ in range(3):
            report = await lasting.run()
            assert of(report, Check.AUDIT).state is State.WAITING
            assert "audit" not in measured(report)[0]
            assert drifts(report) == {}
        await recording.catch_up("three")
        await post(site, "four")
        assert of(await lasting.run(), Check.AUDIT).state is State.AGREES


async def test_a_row_that_the_trail_does_not_have_is_named_by_the_pass_that_first_can(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    async with audited(site) as recording:
        await post(site, "one")
        await recording.catch_up("one")
        lasting = await of_shop(site, recheck_s=3600)
        await lasting.run()
        await post(site, "two")
        recording.start()
        await recording.up_to("two")
        await alter_entry(site, "two")
        await post(site, "three")
        await recording.up_to("three")
        reports = [await lasting.run() for _ in range(2)]
        assert not any(report.full for report in reports)
        assert drifts(reports[-1])["audit"] == (1, 3)
        named = of(reports[-1], Check.AUDIT).findings[0]
        assert (named["table"], named["audited_amount_minor"]) == ("entries", 10)


OF_TWO: Final = f"transaction_id = {LAST.format(key='two')}"
CHANGES: Final[dict[str, tuple[tuple[Sequence[str], Sequence[str]], tuple[int, int]]]] = {
    "another payee": (
        (
            [f"update ledger.transactions set credit_account = 'mallory' where {OF_TWO}"],
            [f"update ledger.transactions set credit_account = 'alice' where {OF_TWO}"],
        ),
        (1, 0),
    ),
    "a balance": (
        changed("ledger.entries", "balance_after_minor", 1, f"amount_minor > 0 and {OF_TWO}"),
        (1, 0),
    ),
    "a transaction that nobody recorded": (
        gone(
            "ledger.audit_log",
            f"relation = 'transactions' and row_id = {LAST.format(key='two')}",
        ),
        (1, 10),
    ),
    "a pending transfer that nobody recorded": (
        gone("ledger.audit_log", f"relation = 'holds' and row_id = {LAST.format(key='held')}"),
        (1, 5),
    ),
}


async def test_whatever_the_trail_tells_of_a_transaction_is_compared(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    async with audited(site) as recording:
        await post(site, "two")
        held = await ask(site, "/v1/transfers", "held", body("alice", "bob", 5, expires_in_s=600))
        await site.settled(held)
        await ask(site, f"{held.partition('?')[0]}/void", "back", {})
        await post(site, "last")
        recording.start()
        await recording.up_to("last")
        assert of(await (await of_shop(site)).once(), Check.AUDIT).state is State.AGREES
        for what, ((do, undo), expected) in CHANGES.items():
            await alter(site, *do)
            report = await (await of_shop(site)).once()
            assert drifts(report).get("audit") == expected, (what, drifts(report))
            await alter(site, *undo)
        assert drifts(await (await of_shop(site)).once()) == {}
