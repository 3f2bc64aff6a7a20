"""The ledger's tables against the trail: whatever is in one and not, or not the same, in the other.

The trail lags by what was committed a moment ago. So a row that it does not have, or has as it was
before a change that the ledger makes, is looked for once more, when the trail has what was committed
before the look; only then the row is one that nobody recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sentinel.reference.ledger.audit.rows import IDS, PREFETCH_COUNT
from sentinel.reference.ledger.audit.snapshot import columns_of, texts
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
_PAUSE_S: Final = 0.2
_RECORDED_TO: Final = """
select s.confirmed_flush_lsn::text from pg_replication_slots s
where s.slot_name = (
    select convert_from(leaf, 'UTF8')::jsonb -> 'row' ->> 'slot' from ledger.audit_log
    where op in ('start', 'gap') order by sequence desc limit 1)
"""
_NOW_RECORDED: Final = """
select relation, cohort, row_id, leg, leaf from ledger.audit_log
where sequence > $1 and op in ('insert', 'snapshot', 'update')
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
    """

    rows_count: int = 0
    unrecorded_count: int = 0


async def compare(
    connection: Connection, report: Report, *, snapshot_lsn: str, wait_s: float, later: Connection
) -> Compared:
    """Compare each of the ledger's rows with the last that the trail says of it.

    Args:
        connection: in a transaction whose snapshot does not move.
        report: takes the findings.
        snapshot_lsn: where the write-ahead log was after that snapshot was taken.
        wait_s: how long to wait for the trail to come to that place.
        later: another session, which sees what is recorded meanwhile.
    """
    compared = Compared()
    unrecorded: dict[Key, _Wanted] = {}
    for relation in IDS:
        columns = await columns_of(connection, relation)
        async for found in _pairs(connection, relation, columns):
            _judge(relation, columns, found, report, compared, unrecorded)
    if not unrecorded:
        return compared
    if not await _wait(later, parse_lsn(snapshot_lsn), wait_s):
        compared.unrecorded_count = len(unrecorded)
        return compared
    last = await connection.fetchval("select coalesce(max(sequence), -1) from ledger.audit_log")
    async with later.transaction():
        async for found in later.cursor(_NOW_RECORDED, last, prefetch=PREFETCH_COUNT):
            key = (found["relation"], found["cohort"], found["row_id"], found["leg"])
            wanted, entry = unrecorded.get(key), _entry(found["leaf"])
            if wanted is not None and entry is not None and entry.row == wanted.row:
                del unrecorded[key]
    for wanted in unrecorded.values():
        report.add(wanted.finding)
    return compared


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
    id_column, leg_column = IDS[relation]
    leg = f"t.{leg_column}" if leg_column else "null::smallint"
    # Every name in it is a constant of this package or comes from the catalogue, quoted.
    query = f"""
        select t.row, t.cohort, t.row_id, t.leg, a.leaf
        from (select {texts(columns, "t")} as row, t.cohort, t.{id_column} as row_id, {leg} as leg
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
        place = await later.fetchval(_RECORDED_TO)
        if place is not None and parse_lsn(place) >= lsn:
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
