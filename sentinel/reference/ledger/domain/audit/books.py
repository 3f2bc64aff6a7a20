"""What the books must be by the trail alone: balances by the entries, reservations by the pending transfers.

With b(a) an account's balance, v(a) its version, d(a) and c(a) what is reserved of it, at the end of each commit:

- b(a) and v(a) are balance_after and account_version of a's newest entry, 0 where it has none;
- d(a) and c(a) are the sums over the open pending transfers that name it;
- an account keeps its currency and whether it may be negative, and is never removed;
- a pending transfer is open until it ends, once, and never changes otherwise;
- a disbursement begins with its pending transfer, keeps payee and amount, and moves as the rail's words move it.

So a balance that somebody writes is found though the write itself was recorded like any other: no entry accounts for it.
The recorder leaves out updates of accounts that the entries of their commit tell already (see `audit/told.py`), and what it
does record of an account is judged here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.accounts import EXTERNAL_PREFIX
from sentinel.reference.ledger.domain.audit.entry import AuditEntry, Op, Row
from sentinel.reference.ledger.domain.disbursement import TRANSITIONS, DisbursementState

# How long a pending transfer may stay open once the rail's last word was noted, by the trail's own time: the step that ends it is
# on its way through the queue.
OPEN_AFTER_WORD_US: Final = 600_000_000
_SAME: Final = ("tenant", "payee_account", "payee_name", "amount_minor", "currency")
_HELD: Final = ("tenant", "debit_account", "credit_account", "amount_minor", "currency")

AccountKey = tuple[str, str, str]
Numbers = tuple[int, int, int, int]


@dataclass(slots=True)
class Standing:
    """One account by the trail; what is None has not been told.

    Attributes:
        place: of the last entry of the trail that says something of it.
        is_there: whether a look at the ledger's table has come to it; for whoever compares.
    """

    place: int
    balance_minor: int = 0
    version: int = 0
    debits_pending_minor: int = 0
    credits_pending_minor: int = 0
    currency: str | None = None
    allow_negative: str | None = None
    is_there: bool = False

    @property
    def numbers(self) -> Numbers:
        """Balance, version, and what is reserved of debits and credits."""
        return (
            self.balance_minor,
            self.version,
            self.debits_pending_minor,
            self.credits_pending_minor,
        )


Tell = Callable[[int, str], None]


class Books:
    """Takes a trail's entries in their order; tells of each change that the ledger never makes."""

    def __init__(self, tell: Tell) -> None:
        """Tell of place and words.

        Args:
            tell: is called once for each finding.
        """
        self._tell = tell
        self.accounts: dict[AccountKey, Standing] = {}
        # Of the entry that was fed last.
        self.touched: list[AccountKey] = []
        # Of open pending transfers: whose they are, and of what.
        self._open: dict[str, tuple[str | None, ...]] = {}
        # Of disbursements whose last word came while their pending transfer was open: place, time, state.
        self._said: dict[str, tuple[int, int, str]] = {}
        self._commit: tuple[int, int] | None = None
        self._begun: dict[str, tuple[str | None, ...]] = {}
        self._written: list[tuple[int, Row]] = []
        self._paid: list[tuple[int, Row]] = []
        self._last_us = 0

    def feed(self, entry: AuditEntry) -> None:
        """Take the next entry; `touched` then names the accounts that it says something of.

        Raises:
            ValueError: a number in it is none; then nobody of the ledger wrote it.
        """
        self.touched.clear()
        commit = (entry.generation, entry.lsn)
        if commit != self._commit:
            self._end_commit()
            self._commit = commit
        self._last_us = max(self._last_us, entry.committed_us)
        match entry.relation:
            case "entries" if entry.op in (Op.INSERT, Op.SNAPSHOT):
                self._entry(entry)
            case "holds":
                self._hold(entry)
            case "accounts":
                self._account(entry)
            case "disbursements":
                self._disbursement(entry)

    def end(self) -> None:
        """Judge what waits for the end of a commit or of the trail; more may be fed afterwards."""
        self._end_commit()
        for pending_id, (place, said_us, state) in self._said.items():
            if self._last_us - said_us > OPEN_AFTER_WORD_US:
                self._tell(
                    place,
                    f"a disbursement is {state}, and its pending transfer {pending_id} has stayed open",
                )

    def _entry(self, entry: AuditEntry) -> None:
        row = entry.row
        standing = self._standing(_key(row), entry.sequence)
        version = _number(row, "account_version")
        if version > standing.version:
            standing.version = version
            standing.balance_minor = _number(row, "balance_after_minor")

    def _hold(self, entry: AuditEntry) -> None:
        row = {**(entry.old or {}), **entry.row}
        pending_id = row.get("pending_id") or ""
        if entry.op is Op.TRUNCATE:
            self._tell(entry.sequence, "all pending transfers were removed")
            return
        if entry.op is Op.DELETE:
            self._tell(entry.sequence, f"the pending transfer {pending_id} was removed")
            self._release(pending_id, entry.sequence)
            return
        said = tuple(row.get(name) for name in ("cohort", *_HELD))
        known = self._open.get(pending_id)
        if entry.op is Op.INSERT:
            self._begun[pending_id] = said
        elif entry.op is Op.UPDATE and (known != said or row.get("state") == "open"):
            what = "ended twice" if known is None else "changed"
            self._tell(entry.sequence, f"the pending transfer {pending_id} {what}")
        if row.get("state") != "open":
            self._release(pending_id, entry.sequence)
        elif known is None:
            self._open[pending_id] = said
            self._reserve(said, 1, entry.sequence)

    def _account(self, entry: AuditEntry) -> None:
        if entry.op is Op.TRUNCATE:
            self._tell(entry.sequence, "all accounts were removed")
            return
        row = {**(entry.old or {}), **entry.row}
        key = _key(row)
        if entry.op is Op.DELETE:
            self._tell(entry.sequence, f"the account {key[2]} of {key[1]} was removed")
            self.accounts.pop(key, None)
            return
        standing = self._standing(key, entry.sequence)
        if entry.op is Op.UPDATE:
            if entry.old is not None:
                self._tell(entry.sequence, f"the account {key[2]} of {key[1]} took another's name")
            self._written.append((entry.sequence, row))
            return
        if entry.op is Op.INSERT:
            may = "t" if key[2].startswith(EXTERNAL_PREFIX) else "f"
            if _numbers(row) != (0, 0, 0, 0) or row.get("allow_negative") != may:
                self._tell(
                    entry.sequence, f"the account {key[2]} of {key[1]} was opened as none is"
                )
        standing.currency, standing.allow_negative = row.get("currency"), row.get("allow_negative")

    def _disbursement(self, entry: AuditEntry) -> None:
        row, old = entry.row, entry.old
        pending_id = {**(old or {}), **row}.get("pending_id") or ""
        if entry.op in (Op.DELETE, Op.TRUNCATE):
            what = f"the disbursement {pending_id} was" if pending_id else "all disbursements were"
            self._tell(entry.sequence, f"{what} removed")
            return
        if entry.op is Op.INSERT:
            self._paid.append((entry.sequence, row))
            return
        if entry.op is not Op.UPDATE:
            return
        changed = [name for name in _SAME if old is not None and old.get(name) != row.get(name)]
        before, after = (old or {}).get("state"), row.get("state")
        if changed:
            self._tell(
                entry.sequence, f"the disbursement {pending_id} has another {', '.join(changed)}"
            )
        elif old is not None and (before, after) not in TRANSITIONS:
            self._tell(
                entry.sequence,
                f"the disbursement {pending_id} went from {before} to {after}, as no rail has it",
            )
        if pending_id in self._open and after != DisbursementState.SUBMITTED:
            self._said[pending_id] = (entry.sequence, entry.committed_us, after or "")

    def _end_commit(self) -> None:
        """Judge what was written of accounts and of new disbursements, once the commit's other changes are known."""
        for place, row in self._written:
            key = _key(row)
            standing = self.accounts.get(key)
            if standing is None:
                continue  # removed in the same commit, and told of
            if _numbers(row) != standing.numbers:
                self._tell(
                    place,
                    f"the account {key[2]} of {key[1]} was written as no entry or pending transfer accounts for: "
                    f"balance {row.get('balance_minor')}, by the trail {standing.balance_minor}",
                )
            elif standing.currency is not None and (
                (standing.currency, standing.allow_negative)
                != (row.get("currency"), row.get("allow_negative"))
            ):
                self._tell(place, f"the account {key[2]} of {key[1]} took other terms")
        for place, row in self._paid:
            pending_id = row.get("pending_id") or ""
            held = self._begun.get(pending_id, ())
            same = held[1:2] + held[4:] == tuple(
                row.get(name) for name in ("tenant", "amount_minor", "currency")
            )
            if not same or row.get("state") != DisbursementState.REQUESTED:
                self._tell(
                    place, f"the disbursement {pending_id} did not begin with its pending transfer"
                )
        self._written.clear()
        self._paid.clear()
        self._begun.clear()

    def _release(self, pending_id: str, place: int) -> None:
        held = self._open.pop(pending_id, None)
        self._said.pop(pending_id, None)
        if held is not None:
            self._reserve(held, -1, place)

    def _reserve(self, held: tuple[str | None, ...], sign: int, place: int) -> None:
        cohort, tenant, debit, credit, amount, _ = held
        minor = sign * int(amount or 0)
        for account, is_debit in ((debit, True), (credit, False)):
            standing = self._standing((cohort or "", tenant or "", account or ""), place)
            if is_debit:
                standing.debits_pending_minor += minor
            else:
                standing.credits_pending_minor += minor

    def _standing(self, key: AccountKey, place: int) -> Standing:
        standing = self.accounts.get(key)
        if standing is None:
            standing = self.accounts[key] = Standing(place=place)
        standing.place = place
        self.touched.append(key)
        return standing


def _key(row: Row) -> AccountKey:
    return (row.get("cohort") or "", row.get("tenant") or "", row.get("account_id") or "")


def _number(row: Row, name: str) -> int:
    return int(row.get(name) or 0)


def _numbers(row: Row) -> Numbers:
    return (
        _number(row, "balance_minor"),
        _number(row, "version"),
        _number(row, "debits_pending_minor"),
        _number(row, "credits_pending_minor"),
    )
