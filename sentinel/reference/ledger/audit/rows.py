"""The trail's statements: appending to it, and reading entries, hashes and checkpoints back."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sentinel.reference.ledger.audit.followed import FIRST_FOLLOWED, IDS, row_id
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.check import Record
from sentinel.reference.ledger.domain.audit.entry import AuditEntry, Row, format_lsn, parse_lsn
from sentinel.reference.ledger.domain.audit.merkle import Subtree, complete, leaf_hash
from sentinel.reference.ledger.domain.audit.note import SignedCheckpoint, parse_checkpoint
from sentinel.reference.ledger.wire.postgres import Connection

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Every how many levels the tree's hashes are kept.
STEP: Final = 8
PREFETCH_COUNT: Final = 1000

_APPEND: Final = """
insert into ledger.audit_log
    (sequence, generation, commit_lsn, ordinal, committed_at, op, relation, cohort, tenant, row_id, leg, leaf, signature)
select s, g, l::pg_lsn, o, c, p, r, h, t, i, e, b, z
from unnest($1::bigint[], $2::int[], $3::text[], $4::int[], $5::timestamptz[], $6::text[], $7::text[], $8::smallint[],
            $9::text[], $10::uuid[], $11::smallint[], $12::bytea[], $13::bytea[])
    as u (s, g, l, o, c, p, r, h, t, i, e, b, z)
"""
_NODES: Final = """
insert into ledger.audit_nodes (level, place, hash)
select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])
"""
_LAST: Final = """
select sequence, generation, commit_lsn::text as lsn, committed_at from ledger.audit_log
order by sequence desc limit 1
"""
_SLOT: Final = """
select generation, leaf from ledger.audit_log
where generation = $1 and op in ('start', 'gap') order by commit_lsn, ordinal limit 1
"""
_RECORDED_TO: Final = """
select s.confirmed_flush_lsn::text from pg_replication_slots s
where s.slot_name = (
    select convert_from(leaf, 'UTF8')::jsonb -> 'row' ->> 'slot' from ledger.audit_log
    where op in ('start', 'gap') order by sequence desc limit 1)
"""
_SIZE_BEFORE: Final = (
    "select coalesce(max(sequence) + 1, 0) from ledger.audit_log where committed_at < $1"
)
_COUNT: Final = """
select count(*) from (
    select from ledger.audit_log where sequence >= $1 and sequence < $2 and ($3::text is null or tenant = $3) limit $4) as found
"""
_FOLLOWED: Final = """
select convert_from(leaf, 'UTF8')::jsonb -> 'row' ->> 'relations' from ledger.audit_log
where op in ('start', 'gap') order by sequence desc limit 1
"""
_NEXT_ORDINAL: Final = """
select coalesce(max(ordinal) + 1, 0) from ledger.audit_log where generation = $1 and commit_lsn = $2::text::pg_lsn
"""
_LEAVES: Final = """
select leaf from ledger.audit_log where sequence >= $1 and sequence < $2 order by sequence
"""
_HASHES: Final = """
select hash from ledger.audit_nodes where level = $1 and place >= $2 and place < $3 order by place
"""
_RECORDS: Final = """
select sequence, leaf, signature, generation, commit_lsn::text as lsn, ordinal, committed_at, op, relation, cohort, tenant,
       row_id, leg
from ledger.audit_log where sequence >= $1 and sequence < $2 and ($3::text is null or tenant = $3) order by sequence
"""
_CHECKPOINT: Final = """
insert into ledger.audit_checkpoints (size, witnessed, note) values ($1, $2, $3)
"""
_CHECKPOINTS: Final = """
select note from ledger.audit_checkpoints where size >= $1 and size <= $2 order by checkpoint_id
"""
_LAST_CHECKPOINT: Final = """
select note from ledger.audit_checkpoints where witnessed or not $1 order by size desc, checkpoint_id desc limit 1
"""


class BrokenLogError(LedgerError):
    """Rows of the trail that must be there are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEntry:
    """Where the trail ends."""

    sequence: int
    generation: int
    lsn: int
    committed_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An entry, its canonical bytes and their signature."""

    entry: AuditEntry
    leaf: bytes
    signature: bytes


async def append(connection: Connection, signed: Sequence[Signed]) -> None:
    """Insert entries; one that is there already is an error of whoever calls."""
    entries = [one.entry for one in signed]
    found = [_found_by(one) for one in entries]
    await connection.execute(
        _APPEND,
        [one.sequence for one in entries],
        [one.generation for one in entries],
        [format_lsn(one.lsn) for one in entries],
        [one.ordinal for one in entries],
        [time_of(one.committed_us) for one in entries],
        [one.op.value for one in entries],
        [one.relation for one in entries],
        [one[0] for one in found],
        [one.tenant for one in entries],
        [one[1] for one in found],
        [one[2] for one in found],
        [one.leaf for one in signed],
        [one.signature for one in signed],
    )


async def append_nodes(connection: Connection, nodes: Sequence[tuple[Subtree, bytes]]) -> None:
    """Insert hashes of complete subtrees, of those levels that are kept."""
    kept = [(subtree, hashed) for subtree, hashed in nodes if subtree.level % STEP == 0]
    if kept:
        await connection.execute(
            _NODES,
            [subtree.level for subtree, _ in kept],
            [subtree.place for subtree, _ in kept],
            [hashed for _, hashed in kept],
        )


async def last_entry(connection: Connection) -> LastEntry | None:
    """Return where the trail ends; None when it has not begun."""
    row = await connection.fetchrow(_LAST)
    if row is None:
        return None
    return LastEntry(
        sequence=row["sequence"],
        generation=row["generation"],
        lsn=parse_lsn(row["lsn"]),
        committed_us=us_of(row["committed_at"]),
    )


async def first_leaf(connection: Connection, generation: int) -> bytes | None:
    """Return the bytes of the entry that began a generation."""
    row = await connection.fetchrow(_SLOT, generation)
    return None if row is None else bytes(row["leaf"])


async def read_hashes(connection: Connection, subtrees: Sequence[Subtree]) -> list[bytes]:
    """Return the subtrees' hashes, made of the nearest level below that is kept.

    Raises:
        BrokenLogError: rows that they are made of are not there.
    """
    return [await _read_hash(connection, subtree) for subtree in subtrees]


async def recorded_to(connection: Connection) -> int | None:
    """Return up to where in the write-ahead log all is recorded; None without a slot."""
    place = await connection.fetchval(_RECORDED_TO)
    return None if place is None else parse_lsn(place)


async def size_before(connection: Connection, unix_us: int) -> int:
    """Return how many entries the trail has up to the last that was committed before a time."""
    size: int = await connection.fetchval(_SIZE_BEFORE, time_of(unix_us))
    return size


async def count(
    connection: Connection, start: int, end: int, tenant: str | None, count_max: int
) -> int:
    """Return how many entries of these places are a tenant's, or of all; at most `count_max`."""
    found: int = await connection.fetchval(_COUNT, start, end, tenant, count_max)
    return found


async def leaf_hashes(connection: Connection, start: int, end: int) -> list[bytes]:
    """Return the hashes of the entries of these places.

    Raises:
        BrokenLogError: some are not there.
    """
    found = await connection.fetch(_LEAVES, start, end)
    if len(found) != end - start:
        message = f"of the entries {start} to {end - 1} some are missing"
        raise BrokenLogError(message)
    return [leaf_hash(bytes(row["leaf"])) for row in found]


async def followed(connection: Connection) -> frozenset[str]:
    """Return the tables that the trail follows by now, by the last entry that says so."""
    told = await connection.fetchval(_FOLLOWED)
    return frozenset(FIRST_FOLLOWED if told is None else str(told).split(","))


async def next_ordinal(connection: Connection, generation: int, lsn: int) -> int:
    """Return the place behind what is recorded of a commit."""
    ordinal: int = await connection.fetchval(_NEXT_ORDINAL, generation, format_lsn(lsn))
    return ordinal


async def records(
    connection: Connection, start: int, end: int, tenant: str | None = None
) -> AsyncIterator[tuple[Record, Any]]:
    """Yield entries of these places in their order, each with its whole row; needs a transaction.

    With `tenant`, those of its rows alone.
    """
    async for row in connection.cursor(_RECORDS, start, end, tenant, prefetch=PREFETCH_COUNT):
        yield (
            Record(
                place=row["sequence"], leaf=bytes(row["leaf"]), signature=bytes(row["signature"])
            ),
            row,
        )


async def add_checkpoint(
    connection: Connection, note: SignedCheckpoint, *, witnessed: bool
) -> None:
    """Insert a checkpoint."""
    await connection.execute(_CHECKPOINT, note.checkpoint.size, witnessed, str(note))


async def checkpoint_notes(
    connection: Connection, start: int = 0, end: int = 2**62
) -> AsyncIterator[str]:
    """Yield the texts of checkpoints of these sizes in the order they were made; needs a transaction."""
    async for row in connection.cursor(_CHECKPOINTS, start, end, prefetch=PREFETCH_COUNT):
        yield row["note"]


async def last_checkpoint(
    connection: Connection, *, witnessed: bool = False
) -> SignedCheckpoint | None:
    """Return the largest checkpoint, of those that a witness signed if only they are asked for.

    Raises:
        MalformedNoteError: what stands there is none.
    """
    note = await connection.fetchval(_LAST_CHECKPOINT, witnessed)
    return None if note is None else parse_checkpoint(note)


def same_as_entry(row: Any, entry: AuditEntry) -> bool:
    """Say whether the columns beside an entry say what it says."""
    cohort, found_id, leg = _found_by(entry)
    if entry.relation not in FIRST_FOLLOWED and row["row_id"] is None:
        # An older recorder, whose database was brought up to date first, knew no id for this table.
        found_id = None
    return (
        row["generation"],
        parse_lsn(row["lsn"]),
        row["ordinal"],
        us_of(row["committed_at"]),
        row["op"],
        row["relation"],
        row["cohort"],
        row["tenant"],
        None if row["row_id"] is None else uuid.UUID(int=row["row_id"].int),
        row["leg"],
    ) == (
        entry.generation,
        entry.lsn,
        entry.ordinal,
        entry.committed_us,
        entry.op.value,
        entry.relation,
        cohort,
        entry.tenant,
        found_id,
        leg,
    )


def time_of(unix_us: int) -> datetime:
    """Return a time of whole microseconds, which is what the database keeps."""
    return _EPOCH + timedelta(microseconds=unix_us)


def us_of(moment: datetime) -> int:
    """Return Unix time in microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _found_by(entry: AuditEntry) -> tuple[int | None, uuid.UUID | None, int | None]:
    """Return cohort, id and leg of the entry's row."""
    row: Row = {**(entry.old or {}), **entry.row}
    _, leg_column = IDS.get(entry.relation, ("", None))
    cohort = row.get("cohort")
    leg = row.get(leg_column) if leg_column else None
    return (
        None if cohort is None else int(cohort),
        row_id(entry.relation, row),
        None if leg is None else int(leg),
    )


async def _read_hash(connection: Connection, subtree: Subtree) -> bytes:
    level = subtree.level // STEP * STEP
    count = 1 << (subtree.level - level)
    start = subtree.place * count
    if level:
        rows = await connection.fetch(_HASHES, level, start, start + count)
        hashes = [bytes(row["hash"]) for row in rows]
    else:
        return complete(await leaf_hashes(connection, start, start + count))
    if len(hashes) != count:
        message = f"of the entries {subtree.start} to {subtree.end - 1} some are missing"
        raise BrokenLogError(message)
    return complete(hashes)
