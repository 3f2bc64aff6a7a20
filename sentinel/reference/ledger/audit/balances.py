"""Accounts against the trail: what the ledger's table says of each, and what entries and pending transfers come to."""

from __future__ import annotations

from typing import Any, Final

from sentinel.reference.ledger.audit.rows import PREFETCH_COUNT
from sentinel.reference.ledger.domain.audit.books import AccountKey, Books, Numbers, Standing
from sentinel.reference.ledger.domain.audit.check import Finding, FindingKind, Report
from sentinel.reference.ledger.domain.audit.entry import AuditEntry
from sentinel.reference.ledger.wire.postgres import Connection

_ACCOUNTS: Final = """
select cohort::text as cohort, tenant, account_id, currency, format('%s', allow_negative) as allow_negative,
       balance_minor, version, debits_pending_minor, credits_pending_minor
from ledger.accounts
"""
_NUMBERS: Final = ("balance_minor", "version", "debits_pending_minor", "credits_pending_minor")


class Balances:
    """Compares accounts; those that the trail may only be late with wait in `unrecorded`."""

    def __init__(self, books: Books, report: Report, *, count_max: int) -> None:
        self._books = books
        self._report = report
        self._count_max = count_max
        self._wanted: dict[AccountKey, Numbers] = {}
        self.unrecorded: dict[AccountKey, Finding] = {}

    async def compare(self, connection: Connection) -> int:
        """Look at every account, in the connection's transaction; returns how many are the same."""
        same_count = 0
        async for row in connection.cursor(_ACCOUNTS, prefetch=PREFETCH_COUNT):
            same_count += self._judge(row)
        for key, standing in self._books.accounts.items():
            if not standing.is_there:
                self._report.add(
                    _finding(key, standing, "the trail has it, and the ledger does not")
                )
        return same_count

    def feed(self, entry: AuditEntry) -> None:
        """Take what was recorded since; an account that comes to what the table says is as it should be."""
        try:
            self._books.feed(entry)
        except ValueError:
            return  # whoever checks the trail next is told of it
        for key in self._books.touched:
            standing = self._books.accounts.get(key)
            if standing is not None and standing.numbers == self._wanted.get(key):
                del self._wanted[key], self.unrecorded[key]

    def _judge(self, row: Any) -> bool:
        key = (row["cohort"], row["tenant"], row["account_id"])
        balance, version, debits, credits_ = (row[name] for name in _NUMBERS)
        numbers: Numbers = (balance, version, debits, credits_)
        standing = self._books.accounts.get(key)
        if standing is None:
            self._later(key, numbers, None, "it is not in the trail")
            return False
        standing.is_there = True
        if standing.currency is not None and (
            (standing.currency, standing.allow_negative)
            != (row["currency"], row["allow_negative"])
        ):
            self._report.add(_finding(key, standing, "the ledger has it under other terms"))
            return False
        if numbers == standing.numbers:
            return True
        told = [
            f"{name} {there}, by the trail {here}"
            for name, there, here in zip(_NUMBERS, numbers, standing.numbers, strict=True)
            if there != here
        ]
        self._later(key, numbers, standing, f"the ledger has another {'; '.join(told)}")
        return False

    def _later(
        self, key: AccountKey, numbers: Numbers, standing: Standing | None, what: str
    ) -> None:
        finding = _finding(key, standing, what)
        if len(self.unrecorded) >= self._count_max:
            self._report.add(finding)
            return
        self._wanted[key] = numbers
        self.unrecorded[key] = finding


def _finding(key: AccountKey, standing: Standing | None, what: str) -> Finding:
    place = None if standing is None else standing.place
    return Finding(
        kind=FindingKind.LEDGER_DIFFERS,
        first=place,
        last=place,
        detail=f"an account: {what}: cohort {key[0]}, tenant {key[1]}, account {key[2]}",
    )
