"""Goal: what PostgreSQL commits is in the trail once, in its order, whatever happens in between.

Method: a real PostgreSQL from the wheel, the ledger's own statements, and a recorder whose steps are
cut short between the write and the slot's advance, and whose slot is taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sentinel.reference.ledger.audit import recorder as recording
from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit import slot as slots
from sentinel.reference.ledger.audit.compare import Compared, compare
from sentinel.reference.ledger.audit.followed import FIRST_FOLLOWED, IDS
from sentinel.reference.ledger.audit.rows import BrokenLogError
from sentinel.reference.ledger.audit.slot import SlotLostError
from sentinel.reference.ledger.domain import (
    Kind,
    LedgerError,
    PermanentError,
    Step,
    Transfer,
    UnavailableError,
)
from sentinel.reference.ledger.domain.audit.books import Books
from sentinel.reference.ledger.domain.audit.check import Finding, FindingKind, Report
from sentinel.reference.ledger.domain.audit.entry import Op, decode_entry
from sentinel.reference.ledger.domain.disbursement import parse_disbursement
from sentinel.reference.ledger.wire import postgres
from tests.support.audit_scene import (
    DROP_SLOTS,
    Scene,
    audit_scene,
    drain,
    now_us,
    transfer,
)
from tests.support.ledger_servers import LedgerServers

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# What somebody with a superuser's password does to a table that is append only.
PAST_THE_TRIGGERS = "set session_replication_role = replica"


@pytest.fixture
async def scene(ledger_servers: LedgerServers) -> AsyncIterator[Scene]:
    async with audit_scene(ledger_servers) as made:
        yield made


async def test_what_was_there_and_what_comes_is_recorded_in_its_order(scene: Scene) -> None:
    await scene.post(transfer("before"))
    async with scene.recorder() as recorder:
        assert await recorder.open(now_us=now_us())
        pending = transfer("pending", expires_in_s=600)
        await scene.post(transfer("a"), pending)
        post = Step(
            kind=Kind.POST,
            tenant="shop",
            idempotency_key="post",
            target_id=pending.transaction_id,
        )
        await scene.post(post)
        # a: a transaction, two entries; the pending one: itself and a hold; its end: itself, two entries, the hold's. The
        # accounts were written twice, and the entries of each commit say what they became.
        assert await drain(recorder) == 9
        assert await drain(recorder) == 0
    entries = await scene.entries()
    assert [one.op for one in entries[:6]] == [Op.START, *5 * [Op.SNAPSHOT]]
    assert [(one.op.value, one.relation) for one in entries[6:]] == [
        *2 * [("insert", "transactions")],
        *2 * [("insert", "entries")],
        ("insert", "holds"),
        ("insert", "transactions"),
        *2 * [("insert", "entries")],
        ("update", "holds"),
    ]
    assert [one.ordinal for one in entries[6:]] == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert {one.tenant for one in entries[1:]} == {"shop"}
    # A snapshot's row and a change's are written alike.
    assert entries[1].row.keys() == entries[6].row.keys()
    assert (
        entries[1].row["accepted_at"]
        == entries[6].row["accepted_at"]
        == "1970-01-01 00:00:00.000001+00"
    )
    report = await scene.check()
    assert report.whole
    assert report.witnessed_size == 15


class CutError(Exception):
    """The process is gone at this point."""


async def test_what_is_delivered_again_after_a_crash_is_recorded_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash comes when the entries are in the database and the server has not been told that they are."""
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        for number in range(5):
            await scene.post(transfer(f"t{number}"))

    async def cut(*arguments: object) -> None:
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(recording, "advance_slot", cut)
        async with scene.recorder() as recorder:
            await recorder.open(now_us=now_us())
            with pytest.raises(CutError):
                await recorder.cycle()
    await scene.post(transfer("t5"))
    async with scene.recorder() as recorder:
        assert not await recorder.open(now_us=now_us())
        assert await drain(recorder) == 3
        assert (
            recorder.state.tree.root()
            == scene.keys.checkpoint(await scene.records()).checkpoint.root
        )
    keys = [
        one.row["idempotency_key"]
        for one in await scene.entries()
        if one.relation == "transactions"
    ]
    assert keys == [f"t{number}" for number in range(6)]
    assert (await scene.check()).whole


async def test_a_crash_within_the_write_leaves_nothing_behind(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
    await scene.post(transfer("a"))

    async def cut(*arguments: object) -> None:
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(rows, "append_nodes", cut)
        async with scene.recorder() as recorder:
            await recorder.open(now_us=now_us())
            with pytest.raises(CutError):
                await recorder.cycle()
            assert recorder.state.tree.size == 1
    assert len(await scene.entries()) == 1
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        assert await drain(recorder) == 5


async def test_a_transaction_is_recorded_whole_however_many_are_asked_for_at_a_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CHANGES_COUNT", 4)
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(*(transfer(f"a{number}") for number in range(10)))
        await scene.post(transfer("b"))
        first = await recorder.cycle()
        assert (first.entries_count, first.caught_up) == (32, False)
        assert await drain(recorder) == 3
    assert (await scene.check()).whole


async def test_only_one_process_has_the_trail(scene: Scene) -> None:
    async with scene.recorder() as first:
        await first.open(now_us=now_us())
        async with scene.recorder() as second:
            with pytest.raises(UnavailableError, match="another process"):
                await second.open(now_us=now_us())


async def test_a_lost_slot_is_told_of_and_gone_on_from_with_a_gap_that_says_so(
    scene: Scene,
) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("recorded"))
        await drain(recorder)
        await scene.execute(DROP_SLOTS)
        await scene.post(transfer("lost", expires_in_s=600))
        with pytest.raises(SlotLostError, match="is gone"):
            await recorder.cycle()
    async with scene.recorder() as recorder:
        with pytest.raises(SlotLostError):
            await recorder.open(now_us=now_us())
        assert await recorder.resume(reason="the disk was full", now_us=now_us())
        await scene.post(transfer("after"))
        assert await drain(recorder) == 3
        assert not await recorder.resume(reason="again", now_us=now_us())
    entries = (await scene.entries())[6:]
    assert [(one.op, one.relation) for one in entries] == [
        (Op.GAP, ""),
        (Op.SNAPSHOT, "transactions"),
        (Op.SNAPSHOT, "holds"),
        (Op.INSERT, "transactions"),
        *2 * [(Op.INSERT, "entries")],
    ]
    assert {one.generation for one in entries} == {2}
    assert str(entries[0].row["reason"]).endswith("is gone: the disk was full")
    assert entries[1].row["idempotency_key"] == "lost"
    report = await scene.check()
    assert report.whole
    assert [place for place, _ in report.gaps] == [0, 6]


async def test_a_slot_that_a_crash_left_before_its_generation_began_is_not_taken_for_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot is made before the snapshot is written: without the entry that names it, it counts for nothing."""

    async def cut(*arguments: object) -> None:
        raise CutError

    await scene.post(transfer("before"))
    with monkeypatch.context() as patch:
        patch.setattr(rows, "append", cut)
        async with scene.recorder() as recorder:
            with pytest.raises(CutError):
                await recorder.open(now_us=now_us())
    async with scene.recorder() as recorder:
        assert await recorder.open(now_us=now_us())
        await drain(recorder)
    assert [one.op for one in await scene.entries()] == [Op.START, *5 * [Op.SNAPSHOT]]


async def test_what_a_superuser_does_past_the_triggers_is_in_the_trail(scene: Scene) -> None:
    await scene.post(transfer("a"))
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.execute(
            PAST_THE_TRIGGERS,
            "update ledger.entries set amount_minor = 7 where leg = 0",
            "delete from ledger.entries where leg = 1",
            "truncate ledger.batches",
        )
        await drain(recorder)
    changes = (await scene.entries())[6:]
    assert [(one.op, one.relation) for one in changes] == [
        (Op.UPDATE, "entries"),
        (Op.DELETE, "entries"),
        (Op.TRUNCATE, "batches"),
    ]
    assert changes[0].row["amount_minor"] == "7"
    assert changes[1].old is not None
    assert changes[1].old.keys() == {"cohort", "transaction_id", "leg"}
    report = await scene.check()
    assert report.counts == {FindingKind.LEDGER_CHANGED: 3}


async def test_the_trail_is_written_by_its_role_alone_and_never_changed(scene: Scene) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
    statements = [
        "update ledger.audit_log set tenant = 'x'",
        "delete from ledger.audit_log",
        "truncate ledger.audit_log",
        "update ledger.audit_nodes set hash = hash",
        "delete from ledger.audit_checkpoints",
        "insert into ledger.entries default values",
        "update ledger.accounts set version = 1",
    ]
    async with postgres.session(scene.audit, application_name="test") as connection:
        for statement in statements:
            with pytest.raises(PermanentError) as caught, postgres.translated():
                await connection.execute(statement)
            assert caught.value.code == "42501", statement
    # The triggers stand in the way of the tables' owner too.
    for statement in statements[:3]:
        with pytest.raises(PermanentError, match="append only"):
            await scene.execute(statement)


async def test_a_trail_that_is_not_what_its_checkpoint_says_is_not_gone_on_from(
    scene: Scene,
) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("a"))
        await drain(recorder)
    note = scene.keys.checkpoint(await scene.records())
    await scene.execute(
        f"insert into ledger.audit_checkpoints (size, witnessed, note) values (6, true, '{note}')"
    )
    async with scene.recorder() as recorder:
        assert not await recorder.open(now_us=now_us())
    await scene.execute(
        PAST_THE_TRIGGERS, "update ledger.audit_log set leaf = leaf || 'x' where sequence = 2"
    )
    async with scene.recorder() as recorder:
        with pytest.raises(BrokenLogError, match="not what its checkpoint of 6"):
            await recorder.open(now_us=now_us())
    await scene.execute(PAST_THE_TRIGGERS, "delete from ledger.audit_log where sequence = 5")
    async with scene.recorder() as recorder:
        with pytest.raises(BrokenLogError, match="tells of 6 entries, and the trail has 5"):
            await recorder.open(now_us=now_us())


async def test_what_a_server_lacks_is_said(scene: Scene) -> None:
    await scene.execute("drop publication ledger_audit")
    async with scene.recorder() as recorder:
        with pytest.raises(LedgerError, match="there is no publication ledger_audit"):
            await recorder.open(now_us=now_us())


async def test_the_slot_moves_on_without_changes(scene: Scene) -> None:
    """An idle ledger beside a busy database must not keep the server's log for ever."""
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await drain(recorder)
        before = recorder.state.slot
        async with postgres.session(scene.admin, application_name="test") as connection:
            after = status = await slots.slot_status(connection, before)
            await connection.execute(
                "create table public.busy as select generate_series(1, 20000)"
            )
            for _ in range(100):
                after = (await recorder.cycle()).status
                if after.retained_bytes < 200_000:
                    break
                await asyncio.sleep(0.05)
        assert after.confirmed_lsn > status.confirmed_lsn + 500_000
        assert after.retained_bytes < 200_000


async def test_what_changes_while_it_is_compared_is_waited_for(scene: Scene) -> None:
    """A row that is new, and a hold that ends, after the trail's last entry and before the look at the tables."""
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        pending = transfer("pending", expires_in_s=600)
        await scene.post(pending)
        await drain(recorder)
        await scene.post(
            Step(
                kind=Kind.VOID,
                tenant="shop",
                idempotency_key="void",
                target_id=pending.transaction_id,
            )
        )
        recorded = asyncio.Event()

        async def record() -> None:
            await recorded.wait()
            await drain(recorder)

        task = asyncio.create_task(record())
        found = await compared(scene, wait_s=0.3)
        assert (found[0].unrecorded_count, found[1].counts) == (4, {})
        recorded.set()
        found = await compared(scene, wait_s=20)
        await task
    assert (found[0].unrecorded_count, found[1].counts) == (0, {})


async def test_a_hold_that_somebody_else_changed_is_found(scene: Scene) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("pending", expires_in_s=600))
        await drain(recorder)
        await scene.execute(DROP_SLOTS, "update ledger.holds set amount_minor = 7")
        with pytest.raises(SlotLostError):
            await recorder.cycle()
        # With the gap comes a snapshot of what the trail has not: the hold's state is one it has.
        await recorder.resume(reason="test", now_us=now_us())
        await drain(recorder)
    found, report = await compared(scene, wait_s=20)
    assert report.counts == {FindingKind.LEDGER_DIFFERS: 1}
    assert "another amount_minor" in report.findings[0].detail
    # The transaction, and two accounts, of which so much is reserved as the trail says.
    assert found.rows_count == 3


def payout(key: str) -> Transfer:
    return parse_disbursement(
        tenant="shop",
        idempotency_key=key,
        body={
            "debit_account": "alice",
            "amount_minor": 30,
            "currency": "EUR",
            "payee": {"account": "DE00-1", "name": "Ann"},
        },
    )


ASKED = "update ledger.disbursements set attempts = attempts + 1, next_at = now() + interval '1 s'"
MOVED = "update ledger.disbursements set state = 'submitted', attempts = 9, changed_at = now()"


async def test_of_payouts_what_changes_is_recorded_and_not_that_a_rail_was_asked(
    scene: Scene,
) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("a"), payout("d"))
        await drain(recorder)
        before = len(await scene.entries())
        await scene.execute(ASKED, ASKED)
        assert await drain(recorder) == 0
        await scene.execute(MOVED)
        assert await drain(recorder) == 1
        await scene.execute("select ledger.make_cohort(9::smallint)")
    entry = (await scene.entries())[before]
    assert (entry.op, entry.relation, entry.row["state"]) == (
        Op.UPDATE,
        "disbursements",
        "submitted",
    )
    assert entry.old is not None
    assert (entry.old["state"], entry.old["payee_name"]) == ("requested", "Ann")
    assert "attempts" not in entry.row
    assert "next_at" not in entry.old
    assert (await scene.check()).whole
    found, report = await compared(scene, wait_s=20)
    assert (report.counts, found.unrecorded_count) == ({}, 0)
    # A partition that comes later tells of whole rows as well.
    async with postgres.session(scene.admin, application_name="test") as connection:
        identities = await connection.fetch(
            "select relreplident from pg_class where relname ~ '^disbursements'"
            " and relkind in ('r', 'p') and relnamespace = 'ledger'::regnamespace"
        )
    assert {bytes(row["relreplident"]) for row in identities} == {b"f"}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("update ledger.accounts set balance_minor = balance_minor + 900 where account_id = 'alice'", "balance 1000, by the trail 100"),
        ("update ledger.accounts set debits_pending_minor = 0", "no entry or pending transfer accounts for"),
        ("update ledger.disbursements set payee_account = 'XX66-6'", "another payee_account"),
        ("update ledger.disbursements set state = 'returned_late', return_code = 'AC'", "as no rail has it"),
        ("delete from ledger.disbursements", "was removed"),
    ],
)  # fmt: skip
async def test_a_balance_or_payout_that_somebody_writes_is_found_whether_it_was_recorded_or_not(
    scene: Scene, statement: str, words: str
) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("a"))
        await scene.post(payout("d"))
        await drain(recorder)
        await scene.execute(statement)
        # Nobody has recorded it yet: the ledger is not what the trail says. It is waited for, in vain.
        found, report = await compared(scene, wait_s=0.3)
        assert found.unrecorded_count + sum(report.counts.values()) > 0
        await drain(recorder)
    report = await scene.check()
    assert set(report.counts) == {FindingKind.LEDGER_CHANGED}
    assert any(words in one.detail for one in report.findings), report.findings


async def test_balances_that_were_altered_while_nobody_recorded_are_named(scene: Scene) -> None:
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await scene.post(transfer("a"))
        await drain(recorder)
        await scene.execute(
            DROP_SLOTS,
            "update ledger.accounts set balance_minor = 7 where account_id = 'alice'",
        )
        with pytest.raises(SlotLostError):
            await recorder.cycle()
        await recorder.resume(reason="test", now_us=now_us())
        await drain(recorder)
    found, report = await compared(scene, wait_s=20)
    assert report.counts == {FindingKind.LEDGER_DIFFERS: 1}
    assert "balance_minor 7, by the trail 100" in report.findings[0].detail
    assert found.balances_compared


async def test_a_trail_that_was_begun_before_balances_were_followed_takes_them_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {name: IDS[name] for name in FIRST_FOLLOWED}
    with monkeypatch.context() as patch:
        patch.setattr(recording, "IDS", first)
        await scene.execute(
            "alter publication ledger_audit drop table ledger.accounts, ledger.disbursements"
        )
        patch.setattr(slots, "IDS", first)
        async with scene.recorder() as recorder:
            assert await recorder.open(now_us=now_us())
            await scene.post(transfer("a"), payout("d"))
            await drain(recorder)
    async with scene.recorder() as recorder:
        with pytest.raises(
            LedgerError, match=r"ADD TABLE ledger\.accounts, ledger\.disbursements"
        ):
            await recorder.open(now_us=now_us())
    await scene.execute(
        "alter publication ledger_audit add table ledger.accounts, ledger.disbursements"
    )
    await scene.post(transfer("b"))
    for taken_up in (True, False):
        before = len(await scene.entries())
        async with scene.recorder() as recorder:
            assert not await recorder.open(now_us=now_us())
            since = (await scene.entries())[before:]
            expected = [Op.START, *4 * [Op.SNAPSHOT]] if taken_up else []
            assert [one.op for one in since] == expected
            await drain(recorder)
    report = await scene.check()
    assert (report.whole, len(report.gaps)) == (True, 2)
    assert "accounts" in report.gaps[1][1]
    await scene.execute(
        "update ledger.accounts set balance_minor = 5000 where account_id = 'alice'"
    )
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        await drain(recorder)
    assert (await scene.check()).counts == {FindingKind.LEDGER_CHANGED: 1}


async def compared(scene: Scene, *, wait_s: float) -> tuple[Compared, Report]:
    report = Report()
    books = Books(
        lambda place, detail: report.add(
            Finding(kind=FindingKind.LEDGER_CHANGED, first=place, detail=detail)
        )
    )
    async with (
        postgres.session(
            scene.audit, application_name="test", settings=dict(recording.SETTINGS)
        ) as connection,
        postgres.session(scene.audit, application_name="test") as later,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.fetchval("select 1")
        place = await later.fetchval("select pg_current_wal_lsn()::text")
        async for record, _ in rows.records(connection, 0, 2**62):
            books.feed(decode_entry(record.leaf))
        books.end()
        found = await compare(
            connection, report, books, snapshot_lsn=place, wait_s=wait_s, later=later
        )
    return found, report
