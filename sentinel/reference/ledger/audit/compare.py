"""The ledger's tables against the trail: whatever is in one and not, or not the same, in the other.

The trail lags by what was committed a moment ago. So a row that it does not have, or has as it was
before a change that the ledger makes, is looked for once more, when the trail has what was committed
before the look; only then the row is one that nobody recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sentinel.reference.ledger.audit.balances import Balances
from sentinel.reference.ledger.audit.followed import IDS, row_id_in_sql
from sentinel.reference.ledger.audit.rows import PREFETCH_COUNT, last_entry, recorded_to, us_of
from sentinel.reference.ledger.audit.snapshot import columns_of, texts
from sentinel.reference.ledger.domain.audit.books import AccountKey, Books
from sentinel.reference.ledger.domain.audit.check import (
    APPEND_ONLY,
    Finding,
    FindingKind,
    Report,
)
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    MalformedEntryError,
    decode_entry,
    parse_lsn,
)
from sentinel.reference.ledger.wire.postgres import Connection

# Rows that the trail does not have yet, of which more would be a trail that stands still.
UNRECORDED_COUNT_MAX: Final = 100_000
# Between the moment that a row says and its commit, of a ledger at its slowest.
_COMMIT_US: Final = 60_000_000
# Where a row says when it was written or has changed.
_MOMENTS: Final = {"transactions": "posted_at", "disbursements": "changed_at"}
_PAUSE_S: Final = 0.2
_NOW_RECORDED: Final = """
select relation, cohort, row_id, leg, leaf from ledger.audit_log where sequence > $1 order by sequence
"""

Key = tuple[str, int, Any, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A row that the trail may come to have, and what is said of it if it does not."""

    row: Mapping[str, str | None]
    finding: Finding


@dataclass(slots=True)
class Compared:
    """What a comparison came to, beside what it added to the report.

    Attributes:
        rows_count: rows that are in both and the same.
        unrecorded_count: rows that the trail did not have, and could not be waited for.
        balances_compared: whether accounts were compared; not where entries are missing or altered, by which
            a balance is reckoned.
    """

    rows_count: int = 0
    unrecorded_count: int = 0
    balances_compared: bool = False


async def compare(
    connection: Connection,
    report: Report,
    books: Books | None,
    *,
    snapshot_lsn: str = "0/0",
    wait_s: float = 0.0,
    later: Connection | None,
) -> Compared:
    """Compare each of the ledger's rows with the last that the trail says of it.

    Args:
        connection: in a transaction whose snapshot does not move.
        report: takes the findings.
        books: what the accounts are by the trail of that snapshot; None when that cannot be told.
        snapshot_lsn: where the write-ahead log was after that snapshot was taken.
        wait_s: how long to wait for the trail to come to that place.
        later: another session, which sees what is recorded meanwhile; None where nobody records, of a database that
            was restored: then what was committed last, behind the trail's end, counts as not recorded yet.
    """
    compared = Compared()
    unrecorded: dict[Key, _Wanted] = {}
    for relation in IDS:
        if relation == "accounts":
            continue
        columns = await columns_of(connection, relation)
        async for found in _pairs(connection, relation, columns):
            _judge(relation, columns, found, report, compared, unrecorded)
    balances = None if books is None else Balances(books, report, count_max=UNRECORDED_COUNT_MAX)
    if balances is not None:
        compared.rows_count += await balances.compare(connection)
        compared.balances_compared = True
    waiting: Mapping[AccountKey, Finding] = {} if balances is None else balances.unrecorded
    if not unrecorded and not waiting:
        return compared
    if later is None:
        await _settle_at_rest(connection, report, compared, unrecorded, waiting)
        return compared
    if not await _wait(later, parse_lsn(snapshot_lsn), wait_s):
        compared.unrecorded_count = len(unrecorded) + len(waiting)
        return compared
    last = await connection.fetchval("select coalesce(max(sequence), -1) from ledger.audit_log")
    async with later.transaction():
        async for found in later.cursor(_NOW_RECORDED, last, prefetch=PREFETCH_COUNT):
            key = (found["relation"], found["cohort"], found["row_id"], found["leg"])
            wanted, entry = unrecorded.get(key), _entry(found["leaf"])
            if wanted is not None and entry is not None and entry.row == wanted.row:
                del unrecorded[key]
            if balances is not None and entry is not None:
                balances.feed(entry)
    for finding in (*(one.finding for one in unrecorded.values()), *waiting.values()):
        report.add(finding)
    return compared


async def _settle_at_rest(
    connection: Connection,
    report: Report,
    compared: Compared,
    unrecorded: Mapping[Key, _Wanted],
    waiting: Mapping[AccountKey, Finding],
) -> None:
    """Tell what of a database at rest is behind the trail's end, and what is missing in it.

    A row that says when it was written is judged by that; the others go with the transactions that are behind the end, for
    a commit is recorded whole.
    """
    last = await last_entry(connection)
    end_us = 0 if last is None else last.committed_us - _COMMIT_US
    behind_count = 0
    for key, wanted in unrecorded.items():
        said = wanted.row.get(_MOMENTS.get(key[0], ""))
        if said is None:
            continue
        if us_of(datetime.fromisoformat(said)) >= end_us:
            behind_count += 1
        else:
            report.add(wanted.finding)
    others = [one.finding for key, one in unrecorded.items() if key[0] not in _MOMENTS]
    others += waiting.values()
    compared.unrecorded_count = behind_count + (len(others) if behind_count else 0)
    if not behind_count:
        for finding in others:
            report.add(finding)


def _judge(
    relation: str,
    columns: list[str],
    found: Any,
    report: Report,
    compared: Compared,
    unrecorded: dict[Key, _Wanted],
) -> None:
    entry = _entry(found["leaf"])
    row = None if found["row"] is None else dict(zip(columns, found["row"], strict=True))
    key = (relation, found["cohort"], found["row_id"], found["leg"])
    if entry is None:
        if found["leaf"] is None and row is not None and len(unrecorded) < UNRECORDED_COUNT_MAX:
            detail = f"a row of {relation} is not in the trail: {_named(row)}"
            finding = Finding(kind=FindingKind.LEDGER_DIFFERS, detail=detail)
            unrecorded[key] = _Wanted(row=row, finding=finding)
        return
    if row is None:
        if entry.row:
            report.add(_differs(entry, "the trail has it, and the ledger does not"))
    elif row == dict(entry.row):
        compared.rows_count += 1
    elif not entry.row:
        report.add(_differs(entry, "the trail has its removal, and the ledger has it"))
    else:
        names = [name for name in columns if row.get(name) != entry.row.get(name)]
        finding = _differs(entry, f"the ledger has another {', '.join(names)}")
        if relation in APPEND_ONLY or len(unrecorded) >= UNRECORDED_COUNT_MAX:
            report.add(finding)
        else:
            # It may have changed just now, as the ledger changes it.
            unrecorded[key] = _Wanted(row=row, finding=finding)


def _differs(entry: AuditEntry, what: str) -> Finding:
    return Finding(
        kind=FindingKind.LEDGER_DIFFERS,
        first=entry.sequence,
        last=entry.sequence,
        detail=f"a row of {entry.relation}: {what}: {_named(entry.row or entry.old or {})}",
    )


async def _pairs(connection: Connection, relation: str, columns: list[str]) -> AsyncIterator[Any]:
    """Yield each row of the table beside the last entry of it; either may not be there."""
    _, leg_column = IDS[relation]
    leg = f"t.{leg_column}" if leg_column else "null::smallint"
    # Every name in it is a constant of this package or comes from the catalogue, quoted.
    query = f"""
        select t.row, t.cohort, t.row_id, t.leg, a.leaf
        from (select {texts(columns, "t")} as row, t.cohort, {row_id_in_sql(relation, "t")} as row_id, {leg} as leg
              from ledger.{relation} t) t
        full join (select distinct on (cohort, row_id, leg) cohort, row_id, leg, leaf from ledger.audit_log
                   where relation = '{relation}' and row_id is not null order by cohort, row_id, leg, sequence desc) a
        on a.cohort = t.cohort and a.row_id = t.row_id and coalesce(a.leg, -1) = coalesce(t.leg, -1)
    """  # noqa: S608
    async for found in connection.cursor(query, prefetch=PREFETCH_COUNT):
        yield found


async def _wait(later: Connection, lsn: int, wait_s: float) -> bool:
    """Wait until the trail has all that was committed before `lsn`; False when it does not come there."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        place = await recorded_to(later)
        if place is not None and place >= lsn:
            return True
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_PAUSE_S)


def _entry(leaf: Any) -> AuditEntry | None:
    if leaf is None:
        return None
    try:
        return decode_entry(bytes(leaf))
    except MalformedEntryError:
        return None  # the check of the trail itself tells of it


def _named(row: Mapping[str, str | None]) -> str:
    names = ("cohort", "tenant", "transaction_id", "batch_id", "pending_id", "leg")
    return ", ".join(f"{name} {row[name]}" for name in names if row.get(name) is not None)
