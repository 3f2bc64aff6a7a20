"""The statements of the process that makes exports: what is due, what became of it, and what is let go."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import orjson

from sentinel.reference.ledger.domain.audit.entry import parse_lsn
from sentinel.reference.ledger.domain.exports import ExportFailure
from sentinel.reference.ledger.wire.postgres import Connection

# Of the file of a part; the database keeps it in these.
CHUNK_BYTES: Final = 256 * 1024
# So many chunks go by one statement: all of a large export would take longer than a statement may.
CLEAR_COUNT: Final = 64

# A commit has its time a moment before its place in the log: the place is asked for once such moments are over.
_DUE: Final = """
select cohort, export_id, tenant, from_at, to_at, trace_parent, attempts, covered_lsn::text as covered_lsn,
       extract(epoch from now() - asked_at)::float8 as age_s
from ledger.exports
where state in ('waiting', 'running') and next_at <= now() and to_at + interval '2 seconds' <= now()
order by next_at, export_id limit 1 for update skip locked
"""
_COVER: Final = """
update ledger.exports set covered_lsn = pg_current_wal_insert_lsn() where cohort = $1 and export_id = $2
returning covered_lsn::text
"""
_WAIT: Final = """
update ledger.exports set state = 'waiting', next_at = now() + make_interval(secs => $3)
where cohort = $1 and export_id = $2 and state in ('waiting', 'running') and attempts = $4
"""
_BEGIN: Final = """
update ledger.exports set state = 'running', attempts = attempts + 1, next_at = now() + make_interval(secs => $3)
where cohort = $1 and export_id = $2
"""
# Not from the transaction's beginning on, since when a whole part was stored.
_RENEW: Final = """
update ledger.exports set next_at = clock_timestamp() + make_interval(secs => $3) where cohort = $1 and export_id = $2
"""
_FAIL: Final = """
update ledger.exports set state = 'failed', reason = $3, ended_at = now()
where cohort = $1 and export_id = $2 and state in ('waiting', 'running') and attempts = $4 returning true
"""
# Another process has begun it anew, when this one was thought lost: that one's work counts.
_MINE: Final = """
select true from ledger.exports where cohort = $1 and export_id = $2 and state = 'running' and attempts = $3 for update
"""
# From a place on: those before have gone, and would be stepped over again each time.
_CLEAR: Final = """
with slice as (
    select part from ledger.export_parts where cohort = $1 and export_id = $2 and part >= $3 order by part limit $4),
gone as (
    delete from ledger.export_parts p using slice where p.cohort = $1 and p.export_id = $2 and p.part = slice.part)
select max(part) from slice
"""
_LEFT: Final = """
select cohort, export_id from ledger.exports e
where state in ('failed', 'expired')
    and exists (select from ledger.export_parts p where p.cohort = e.cohort and p.export_id = e.export_id)
order by ended_at limit $1
"""
_CHUNK: Final = """
insert into ledger.export_parts (cohort, export_id, tenant, part, content) values ($1, $2, $3, $4, $5)
"""
_DONE: Final = """
update ledger.exports
set state = 'done', ended_at = now(), next_at = now() + make_interval(secs => $3),
    entries_count = $4, bytes_count = $5, sha256 = $6, checkpoint_size = $7, parts = $8
where cohort = $1 and export_id = $2
"""
_EXPIRE: Final = """
update ledger.exports e set state = 'expired' from (
    select cohort, export_id from ledger.exports where state = 'done' and next_at <= now() limit $1 for update skip locked) as o
where e.cohort = o.cohort and e.export_id = o.export_id
"""
_SURPLUS: Final = """
update ledger.exports e set state = 'expired' from (
    select cohort, export_id from (
        select cohort, export_id, row_number() over (partition by cohort, tenant order by ended_at desc, export_id) as place
        from ledger.exports where state = 'done') as numbered
    where place > $1 limit $2) as o
where e.cohort = o.cohort and e.export_id = o.export_id and e.state = 'done'
"""
# Not those whose chunks are still there, which would all go by this statement.
_FORGET: Final = """
delete from ledger.exports e using (
    select cohort, export_id from ledger.exports ended
    where state in ('failed', 'expired') and ended_at <= now() - make_interval(secs => $1)
        and not exists (
            select from ledger.export_parts p where p.cohort = ended.cohort and p.export_id = ended.export_id)
    limit $2) as o
where e.cohort = o.cohort and e.export_id = o.export_id
"""
_STANDING: Final = """
select count(*) filter (where state = 'waiting') as waiting_count,
       count(*) filter (where state = 'running') as running_count,
       coalesce(extract(epoch from now() - min(asked_at) filter (where state in ('waiting', 'running'))), 0)::float8 as oldest_s,
       coalesce(sum(bytes_count) filter (where state = 'done'), 0)::bigint as kept_bytes
from ledger.exports
"""


Key = tuple[int, uuid.UUID]
"""Cohort and id of an export, by which its row is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An export that may be made now.

    Attributes:
        attempts: how often it was begun before.
        covered_lsn: up to where the log must have been recorded.
        age_s: since it was asked for.
    """

    cohort: int
    export_id: uuid.UUID
    tenant: str
    start: datetime
    end: datetime
    trace_parent: str | None
    attempts: int
    covered_lsn: int
    age_s: float

    @property
    def key(self) -> Key:
        """What its row is found by."""
        return self.cohort, self.export_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part of an export that is done: what it holds, and with which chunk its file begins."""

    entries_count: int
    bytes_count: int
    sha256: str
    first_chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What there is at a moment."""

    waiting_count: int = 0
    running_count: int = 0
    oldest_s: float = 0.0
    kept_bytes: int = 0


async def take_due(connection: Connection) -> Due | None:
    """Return the export that is due first, locked for the connection's transaction; None when none is."""
    row = await connection.fetchrow(_DUE)
    if row is None:
        return None
    covered = row["covered_lsn"]
    if covered is None:
        covered = await connection.fetchval(_COVER, row["cohort"], row["export_id"])
    return Due(
        cohort=row["cohort"],
        export_id=uuid.UUID(int=row["export_id"].int),
        tenant=row["tenant"],
        start=row["from_at"],
        end=row["to_at"],
        trace_parent=row["trace_parent"],
        attempts=row["attempts"],
        covered_lsn=parse_lsn(covered),
        age_s=row["age_s"],
    )


async def wait(connection: Connection, due: Due, seconds: float, *, begun: bool = False) -> None:
    """Have it looked at again in so many seconds, unless another process has begun it meanwhile.

    Args:
        connection: where.
        due: which.
        seconds: until then.
        begun: whether this process has begun it.
    """
    await connection.execute(_WAIT, *due.key, seconds, due.attempts + begun)


async def begin(connection: Connection, due: Due, lease_s: float) -> None:
    """Note that it is worked on; after so many seconds the work counts as lost."""
    await connection.execute(_BEGIN, *due.key, lease_s)


async def renew(connection: Connection, due: Due, lease_s: float) -> None:
    """Note that work on it goes on; after so many seconds it counts as lost."""
    await connection.execute(_RENEW, *due.key, lease_s)


async def fail(
    connection: Connection, due: Due, reason: ExportFailure, *, begun: bool = False
) -> bool:
    """Note that there will be none, and why; what was stored of it is `left`.

    Args:
        connection: where.
        due: which.
        reason: why.
        begun: whether this process has begun it.

    Returns:
        False where another process has begun it anew: that one's work counts.
    """
    return bool(await connection.fetchval(_FAIL, *due.key, reason.value, due.attempts + begun))


async def is_mine(connection: Connection, due: Due) -> bool:
    """Lock the row and say whether it is still this process that works on it."""
    return bool(await connection.fetchval(_MINE, *due.key, due.attempts + 1))


async def clear_slice(connection: Connection, key: Key, first: int) -> int | None:
    """Remove the next CLEAR_COUNT chunks of an export from `first` on; returns where to go on, None once there are no more."""
    last = await connection.fetchval(_CLEAR, *key, first, CLEAR_COUNT)
    return None if last is None else int(last) + 1


async def left(connection: Connection, *, count_max: int) -> list[Key]:
    """Return exports that have no file any more, and chunks that have not gone yet."""
    found = await connection.fetch(_LEFT, count_max)
    return [(row["cohort"], uuid.UUID(int=row["export_id"].int)) for row in found]


async def add_chunk(connection: Connection, due: Due, chunk: int, content: bytes) -> None:
    """Store the next bytes of the files of all parts, counted from 0."""
    await connection.execute(_CHUNK, *due.key, due.tenant, chunk, content)


async def done(
    connection: Connection,
    due: Due,
    *,
    keep_s: float,
    entries_count: int,
    bytes_count: int,
    parts: Sequence[StoredPart],
    checkpoint_size: int,
) -> None:
    """Note that it is done; its files are kept for so many seconds."""
    await connection.execute(
        _DONE,
        *due.key,
        keep_s,
        entries_count,
        bytes_count,
        bytes.fromhex(parts[0].sha256),
        checkpoint_size,
        orjson.dumps([asdict(part) for part in parts]).decode(),
    )


async def expire(connection: Connection, *, count_max: int) -> int:
    """Let files go whose time is over; returns how many. Their chunks are `left`."""
    return _count(await connection.execute(_EXPIRE, count_max))


async def expire_surplus(connection: Connection, *, keep_count: int, count_max: int) -> int:
    """Let the oldest files go of whoever has more than so many; returns how many. Their chunks are `left`."""
    return _count(await connection.execute(_SURPLUS, keep_count, count_max))


async def forget(connection: Connection, *, keep_s: float, count_max: int) -> int:
    """Forget exports that ended long ago and have no file; returns how many."""
    return _count(await connection.execute(_FORGET, keep_s, count_max))


async def standing(connection: Connection) -> Standing:
    """Return what there is."""
    return Standing(**dict(await connection.fetchrow(_STANDING)))


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
