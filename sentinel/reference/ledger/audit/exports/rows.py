"""The statements of the process that makes exports: what is due, what became of it, and what is let go."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from sentinel.reference.ledger.domain.audit.entry import parse_lsn
from sentinel.reference.ledger.domain.exports import ExportFailure
from sentinel.reference.ledger.wire.postgres import Connection

# Of the file of a part; the database keeps it in these.
CHUNK_BYTES: Final = 256 * 1024

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
where cohort = $1 and export_id = $2 and state in ('waiting', 'running')
"""
_BEGIN: Final = """
update ledger.exports set state = 'running', attempts = attempts + 1, next_at = now() + make_interval(secs => $3)
where cohort = $1 and export_id = $2
"""
_RENEW: Final = """
update ledger.exports set next_at = now() + make_interval(secs => $3) where cohort = $1 and export_id = $2
"""
_FAIL: Final = """
update ledger.exports set state = 'failed', reason = $3, ended_at = now()
where cohort = $1 and export_id = $2 and state in ('waiting', 'running')
"""
# Another process has begun it anew, when this one was thought lost: that one's work counts.
_MINE: Final = """
select true from ledger.exports where cohort = $1 and export_id = $2 and state = 'running' and attempts = $3 for update
"""
_CLEAR: Final = "delete from ledger.export_parts where cohort = $1 and export_id = $2"
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
where e.cohort = o.cohort and e.export_id = o.export_id returning e.cohort, e.export_id
"""
_SURPLUS: Final = """
update ledger.exports e set state = 'expired' from (
    select cohort, export_id from (
        select cohort, export_id, row_number() over (partition by cohort, tenant order by ended_at desc, export_id) as place
        from ledger.exports where state = 'done') as numbered
    where place > $1 limit $2) as o
where e.cohort = o.cohort and e.export_id = o.export_id and e.state = 'done' returning e.cohort, e.export_id
"""
_FORGET: Final = """
delete from ledger.exports e using (
    select cohort, export_id from ledger.exports
    where state in ('failed', 'expired') and ended_at <= now() - make_interval(secs => $1) limit $2) as o
where e.cohort = o.cohort and e.export_id = o.export_id
"""
_STANDING: Final = """
select count(*) filter (where state = 'waiting') as waiting_count,
       count(*) filter (where state = 'running') as running_count,
       coalesce(extract(epoch from now() - min(asked_at) filter (where state in ('waiting', 'running'))), 0)::float8 as oldest_s,
       coalesce(sum(bytes_count) filter (where state = 'done'), 0)::bigint as kept_bytes
from ledger.exports
"""


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
    def key(self) -> tuple[int, uuid.UUID]:
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


async def wait(connection: Connection, due: Due, seconds: float) -> None:
    """Have it looked at again in so many seconds."""
    await connection.execute(_WAIT, *due.key, seconds)


async def begin(connection: Connection, due: Due, lease_s: float) -> None:
    """Note that it is worked on; after so many seconds the work counts as lost."""
    await connection.execute(_BEGIN, *due.key, lease_s)


async def renew(connection: Connection, due: Due, lease_s: float) -> None:
    """Note that work on it goes on; after so many seconds it counts as lost."""
    await connection.execute(_RENEW, *due.key, lease_s)


async def fail(connection: Connection, due: Due, reason: ExportFailure) -> None:
    """Note that there will be none, and why; what was stored of it goes."""
    async with connection.transaction():
        await connection.execute(_CLEAR, *due.key)
        await connection.execute(_FAIL, *due.key, reason.value)


async def is_mine(connection: Connection, due: Due) -> bool:
    """Lock the row and say whether it is still this process that works on it."""
    return bool(await connection.fetchval(_MINE, *due.key, due.attempts + 1))


async def clear_chunks(connection: Connection, due: Due) -> None:
    """Remove what an earlier attempt may have left."""
    await connection.execute(_CLEAR, *due.key)


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
    """Let files go whose time is over; returns how many."""
    return await _let_go(connection, await connection.fetch(_EXPIRE, count_max))


async def expire_surplus(connection: Connection, *, keep_count: int, count_max: int) -> int:
    """Let the oldest files go of whoever has more than so many; returns how many."""
    return await _let_go(connection, await connection.fetch(_SURPLUS, keep_count, count_max))


async def forget(connection: Connection, *, keep_s: float, count_max: int) -> int:
    """Forget exports that ended long ago and have no file; returns how many."""
    tag = await connection.execute(_FORGET, keep_s, count_max)
    return int(tag.rpartition(" ")[2])


async def standing(connection: Connection) -> Standing:
    """Return what there is."""
    return Standing(**dict(await connection.fetchrow(_STANDING)))


async def _let_go(connection: Connection, found: Any) -> int:
    for row in found:
        await connection.execute(_CLEAR, row["cohort"], row["export_id"])
    return len(found)
