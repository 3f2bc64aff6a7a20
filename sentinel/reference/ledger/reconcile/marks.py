"""What is known of a cohort from pass to pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sentinel.reference.ledger.reconcile.audited import Audited, copied
from sentinel.reference.ledger.reconcile.books import NO_ACCOUNT, AccountKey, TakenFrom
from sentinel.reference.ledger.reconcile.place import Place
from sentinel.reference.ledger.reconcile.taken import Numbers
from sentinel.reference.ledger.reconcile.told import Suspects


@dataclass(slots=True)
class Mark:
    """How far a cohort has been looked at by earlier passes; each of those who may be behind has a place of its own.

    Attributes:
        numbers: of its stream.
        books: everything that was committed before has been compared with itself, but for what a full pass has still to do.
        taken_from: from when on there are control totals; what a pass that breaks off has read of it stays true.
        account: the last account that was looked at; the next stretch begins after it.
        replica: as `books`, with the replica.
        replica_account: as `account`.
        audited: as `books`, with the audit trail.
        suspects: what analytics had not counted.
    """

    numbers: Numbers = field(default_factory=Numbers)
    books: Place | None = None
    taken_from: TakenFrom = field(default_factory=TakenFrom)
    account: AccountKey = NO_ACCOUNT
    replica: Place | None = None
    replica_account: AccountKey = NO_ACCOUNT
    audited: Audited = field(default_factory=Audited)
    suspects: Suspects = field(default_factory=Suspects)

    def copy(self) -> Mark:
        """Return one that a pass may move: a pass that breaks off leaves this one as it is."""
        return replace(
            self,
            numbers=replace(self.numbers, lost=list(self.numbers.lost)),
            audited=copied(self.audited),
            suspects=replace(self.suspects),
        )
