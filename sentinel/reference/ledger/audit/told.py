"""What of a transaction's changes is recorded: all but what the others in it tell already.

An account is written once a commit, and the entries of that commit say what its balance and version became; a payment is asked
for again and again, and nothing of it changes. Neither is worth an entry, a signature and a leaf. Everything else is recorded, and
an account that is written without an entry to account for it is what a check looks for.
"""

from __future__ import annotations

from typing import Final

from sentinel.reference.ledger.audit.followed import told
from sentinel.reference.ledger.audit.pgoutput import Change
from sentinel.reference.ledger.domain.audit.entry import Op, Row

# Updates of accounts that wait for the end of their commit. The poster writes some hundred at a time; of more, the
# first are recorded though entries may tell them, so that somebody's update of every account does not fill the memory.
WAITING_COUNT_MAX: Final = 10_000


class Telling:
    """Takes a commit's changes one by one; returns those to record, the accounts' at its end."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str | None, ...], tuple[str | None, str | None]] = {}
        self._waiting: list[Change] = []

    def begin(self) -> None:
        """Begin with a commit."""
        self._moved.clear()
        self._waiting.clear()

    def take(self, change: Change) -> Change | None:
        """Return the change as it is to be recorded; None when it is not, or not yet."""
        row = change.row
        if change.relation == "entries" and change.op is Op.INSERT:
            self._moved[_key(row)] = (row.get("balance_after_minor"), row.get("account_version"))
        elif (
            change.relation == "accounts"
            and change.op is Op.UPDATE
            and change.old is None
            and len(self._waiting) < WAITING_COUNT_MAX
        ):
            self._waiting.append(change)
            return None
        elif change.relation == "disbursements":
            return _told(change)
        return change

    def end(self) -> list[Change]:
        """Return the updates of accounts that no entry of the commit tells."""
        return [
            change
            for change in self._waiting
            if self._moved.get(_key(change.row))
            != (change.row.get("balance_minor"), change.row.get("version"))
        ]


def _key(row: Row) -> tuple[str | None, ...]:
    return row.get("cohort"), row.get("tenant"), row.get("account_id")


def _told(change: Change) -> Change | None:
    row = told(change.relation, change.row)
    old = None if change.old is None else told(change.relation, change.old)
    if change.op is Op.UPDATE and row == old:
        return None
    return Change(op=change.op, relation=change.relation, row=row, old=old)
