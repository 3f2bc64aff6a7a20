"""Goal: what the ledger itself writes of balances and payouts is in order, and what anybody else writes of them is told of.

Method: trails of a few commits, as the ledger's own statements would have them, with one thing done to them at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from sentinel.reference.ledger.audit.pgoutput import Change
from sentinel.reference.ledger.audit.told import Telling
from sentinel.reference.ledger.domain.audit.books import OPEN_AFTER_WORD_US, Books
from sentinel.reference.ledger.domain.audit.check import FindingKind
from sentinel.reference.ledger.domain.audit.entry import AuditEntry, Op
from tests.support.audit_log import Keys

ALICE = {"cohort": "1", "tenant": "shop", "account_id": "alice"}
RAIL = {"cohort": "1", "tenant": "shop", "account_id": "external:rail"}
OPENED = {
    "currency": "EUR",
    "balance_minor": "0",
    "version": "0",
    "debits_pending_minor": "0",
    "credits_pending_minor": "0",
    "allow_negative": "f",
}
HOLD = {
    "cohort": "1",
    "tenant": "shop",
    "pending_id": "p1",
    "debit_account": "alice",
    "credit_account": "external:rail",
    "amount_minor": "30",
    "currency": "EUR",
    "state": "open",
}
PAYOUT = {
    "cohort": "1",
    "tenant": "shop",
    "pending_id": "p1",
    "payee_account": "DE01",
    "payee_name": "Ada",
    "amount_minor": "30",
    "currency": "EUR",
    "state": "requested",
}


@dataclass(slots=True)
class Trail:
    """Commits one after another, and what is told of them."""

    told: list[tuple[int, str]] = field(default_factory=list)
    entries: list[AuditEntry] = field(default_factory=list)
    commits_count: int = 0
    now_us: int = 1_000_000

    def commit(self, *changes: tuple[Op, str, dict[str, Any], dict[str, Any] | None]) -> Trail:
        """Add a transaction; its changes are (op, relation, row, old)."""
        self.commits_count += 1
        for ordinal, (op, relation, row, old) in enumerate(changes):
            self.entries.append(
                AuditEntry(
                    sequence=len(self.entries),
                    generation=1,
                    lsn=100 * self.commits_count,
                    ordinal=ordinal,
                    committed_us=self.now_us,
                    xid=self.commits_count,
                    op=op,
                    relation=relation,
                    row=row,
                    old=old,
                )
            )
        return self

    def books(self) -> Books:
        """What the books are by it."""
        self.told.clear()
        books = Books(lambda place, detail: self.told.append((place, detail)))
        for entry in self.entries:
            books.feed(entry)
        books.end()
        return books

    def findings(self) -> list[str]:
        """Words of what is told."""
        self.books()
        return [detail for _, detail in self.told]


def put(relation: str, row: dict[str, Any], op: Op = Op.INSERT, old: Any = None) -> Any:
    return (op, relation, row, old)


def entry(account: dict[str, str], version: int, after: int, amount: int) -> Any:
    row = {
        **account,
        "transaction_id": f"t{version}",
        "amount_minor": str(amount),
        "balance_after_minor": str(after),
        "account_version": str(version),
    }
    return put("entries", row)


def account(who: dict[str, str], **numbers: object) -> dict[str, Any]:
    return {**who, **OPENED, **{name: str(value) for name, value in numbers.items()}}


def paid_out() -> Trail:
    """An account that has 100, of which 30 are reserved to be paid out."""
    return (
        Trail()
        .commit(
            put("accounts", account(ALICE)),
            put("accounts", account(RAIL, allow_negative="t")),
            entry(ALICE, 1, 100, 100),
        )
        .commit(
            put("holds", HOLD),
            put("disbursements", PAYOUT),
            put(
                "accounts",
                account(ALICE, balance_minor=100, version=1, debits_pending_minor=30),
                Op.UPDATE,
            ),
            put(
                "accounts",
                account(RAIL, credits_pending_minor=30, allow_negative="t"),
                Op.UPDATE,
            ),
        )
    )


def settled(trail: Trail) -> Trail:
    """The same, once the rail has said that it is settled."""
    return trail.commit(
        put("disbursements", {**PAYOUT, "state": "submitted"}, Op.UPDATE, PAYOUT)
    ).commit(
        put(
            "disbursements",
            {**PAYOUT, "state": "settled"},
            Op.UPDATE,
            {**PAYOUT, "state": "submitted"},
        )
    )


def ended(trail: Trail, state: str = "posted") -> Trail:
    return trail.commit(
        entry(ALICE, 2, 70, -30),
        entry(RAIL, 1, 30, 30),
        put("holds", {**HOLD, "state": state}, Op.UPDATE),
    )


def test_what_the_ledger_writes_is_told_of_by_nobody() -> None:
    trail = ended(settled(paid_out()))
    assert trail.findings() == []
    books = trail.books()
    assert books.accounts["1", "shop", "alice"].numbers == (70, 2, 0, 0)
    assert books.accounts["1", "shop", "external:rail"].numbers == (30, 1, 0, 0)
    trail.commit(
        put("accounts", account(ALICE, balance_minor=70, version=2), Op.UPDATE),
        put(
            "disbursements",
            {**PAYOUT, "state": "returned_late"},
            Op.UPDATE,
            {**PAYOUT, "state": "settled"},
        ),
    )
    assert trail.findings() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("accounts", account(ALICE, balance_minor=900, version=1, debits_pending_minor=30), Op.UPDATE), "balance 900, by the trail 100"),
        (put("accounts", account(ALICE, balance_minor=100, version=1), Op.UPDATE), "no entry or pending transfer accounts for"),
        (put("accounts", account(ALICE, balance_minor=100, version=1, debits_pending_minor=30, allow_negative="t"), Op.UPDATE), "other terms"),
        (put("accounts", account({**ALICE, "account_id": "mallory"}, balance_minor=5)), "opened as none is"),
        (put("accounts", account({**ALICE, "account_id": "mallory"}, allow_negative="t")), "opened as none is"),
        (put("accounts", {}, Op.DELETE, ALICE), "alice of shop was removed"),
        (put("accounts", {}, Op.TRUNCATE), "all accounts were removed"),
        (put("accounts", account({**ALICE, "account_id": "bob"}), Op.UPDATE, ALICE), "took another's name"),
        (put("holds", {**HOLD, "amount_minor": "3"}, Op.UPDATE), "pending transfer p1 changed"),
        (put("holds", {**HOLD, "credit_account": "mallory", "state": "posted"}, Op.UPDATE), "pending transfer p1 changed"),
        (put("holds", {**HOLD, "pending_id": "p9", "state": "voided"}, Op.UPDATE), "p9 ended twice"),
        (put("holds", {}, Op.DELETE, {"cohort": "1", "pending_id": "p1"}), "p1 was removed"),
        (put("holds", {}, Op.TRUNCATE), "all pending transfers were removed"),
        (put("disbursements", {**PAYOUT, "payee_account": "XX66"}, Op.UPDATE, PAYOUT), "another payee_account"),
        (put("disbursements", {**PAYOUT, "amount_minor": "3000"}, Op.UPDATE, PAYOUT), "another amount_minor"),
        (put("disbursements", {**PAYOUT, "state": "returned_late"}, Op.UPDATE, PAYOUT), "from requested to returned_late"),
        (put("disbursements", {**PAYOUT, "pending_id": "p9"}), "p9 did not begin with its pending transfer"),
        (put("disbursements", {}, Op.DELETE, PAYOUT), "disbursement p1 was removed"),
        (put("disbursements", {}, Op.TRUNCATE), "all disbursements were removed"),
    ],
)  # fmt: skip
def test_what_anybody_else_writes_is_told_of(change: Any, words: str) -> None:
    trail = paid_out().commit(change)
    trail.books()
    # Not also by what follows from it: one place, the last.
    assert [place for place, _ in trail.told] == [len(trail.entries) - 1]
    assert words in trail.told[0][1]


def test_a_last_word_without_the_step_that_follows_is_told_of_in_time() -> None:
    """The step is on its way through the queue when the word is noted; it does not stay there."""
    trail = settled(paid_out())
    assert trail.findings() == []
    trail.now_us += OPEN_AFTER_WORD_US + 1
    trail.commit(put("transactions", {"tenant": "shop"}))
    assert ["is settled" in one and "stayed open" in one for one in trail.findings()] == [True]
    assert ended(trail).findings() == []


def test_where_an_entry_is_missing_nothing_is_said_of_balances() -> None:
    """They would all be wrong from there on, and what is wrong is that it is missing."""
    keys = Keys()
    records = [keys.record(one) for one in ended(settled(paid_out())).entries]
    note = keys.checkpoint(records)
    assert keys.check(records, [note]).whole
    without = records[:2] + records[3:]
    assert keys.check(without, [note]).counts == {FindingKind.MISSING: 1}


def changes(trail: Trail) -> list[tuple[Op, str]]:
    """What is recorded of the last commit when all of it comes."""
    telling, found = Telling(), []
    telling.begin()
    last = [one for one in trail.entries if one.lsn == 100 * trail.commits_count]
    for one in last:
        change = telling.take(Change(op=one.op, relation=one.relation, row=one.row, old=one.old))
        found += [] if change is None else [change]
    found += telling.end()
    return [(one.op, one.relation) for one in found]


def test_of_accounts_that_is_recorded_which_no_entry_tells() -> None:
    told = entry(ALICE, 2, 70, -30)
    same = put("accounts", account(ALICE, balance_minor=70, version=2), Op.UPDATE)
    other = put("accounts", account(ALICE, balance_minor=71, version=2), Op.UPDATE)
    assert changes(Trail().commit(told, same)) == [(Op.INSERT, "entries")]
    # Whichever comes first, in either order.
    for pair in ((told, other), (other, told)):
        assert changes(Trail().commit(*pair)) == [
            (Op.INSERT, "entries"),
            (Op.UPDATE, "accounts"),
        ]
    assert changes(Trail().commit(same)) == [(Op.UPDATE, "accounts")]
    assert changes(Trail().commit(put("accounts", account(ALICE)))) == [(Op.INSERT, "accounts")]


def test_a_payment_that_a_rail_was_asked_for_once_more_is_not_recorded() -> None:
    asked = put(
        "disbursements",
        {**PAYOUT, "attempts": "2", "next_at": "later"},
        Op.UPDATE,
        {**PAYOUT, "attempts": "1", "next_at": "now"},
    )
    moved = put("disbursements", {**PAYOUT, "state": "submitted"}, Op.UPDATE, PAYOUT)
    assert changes(Trail().commit(asked)) == []
    assert changes(Trail().commit(moved)) == [(Op.UPDATE, "disbursements")]
