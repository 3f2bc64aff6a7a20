"""The trail into a file: all of it, or what was committed in a period, with a proof for each entry.

Everything is read in one snapshot, up to the last checkpoint that the witness signed: what comes behind
it could not be verified by whoever is given the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sentinel.reference.ledger.audit import archive, rows
from sentinel.reference.ledger.audit.archive import Head, Sink
from sentinel.reference.ledger.audit.checkpoints import prove
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.merkle import (
    Subtree,
    hashes_of,
    inclusion_parts,
    node_hash,
)
from sentinel.reference.ledger.domain.audit.note import SignedCheckpoint
from sentinel.reference.ledger.wire.postgres import Connection

_FIRST: Final = (
    "select min(sequence) from ledger.audit_log where committed_at >= $1 and sequence < $2"
)
_LAST: Final = (
    "select max(sequence) from ledger.audit_log where committed_at < $1 and sequence < $2"
)
# Hashes of subtrees that several proofs need, until there are so many.
_KEPT_COUNT_MAX: Final = 20_000
_BLOCK: Final = 1 << rows.STEP


class NothingToExportError(LedgerError):
    """There is no checkpoint, or no such entry below it."""


class Parts(Protocol):
    """Where the parts of an extract go, one after another."""

    def begin(self) -> Sink:
        """Begin the next part; returns where all but its first line goes."""

    async def end(self, head: Head, writer: archive.Writer) -> None:
        """Take the part that was begun, with what its first line says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What an extract is to be of: commits from one time to before another, Unix microseconds, of one tenant or all."""

    from_us: int | None = None
    to_us: int | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    entries_count: int
    checkpoints_count: int
    size: int
    left_out_count: int


async def export_log(connection: Connection, out: Sink, *, witnessed: bool) -> Exported:
    """Write the whole trail.

    Args:
        connection: in a transaction whose snapshot does not move.
        out: where to.
        witnessed: whether only a checkpoint that a witness signed will do.

    Raises:
        NothingToExportError: there is no such checkpoint yet.
    """
    last, total = await _newest(connection, witnessed=witnessed)
    size = last.checkpoint.size
    writer = archive.Writer(out, Head(origin=last.checkpoint.origin, end=size))
    async for record, _ in rows.records(connection, 0, size):
        writer.entry(record)
    async for note in rows.checkpoint_notes(connection, 0, size):
        writer.checkpoint(note)
    return _end(writer, size, total)


async def export_period(
    connection: Connection,
    out: Sink,
    period: Period,
    *,
    witnessed: bool,
    earlier: Sequence[SignedCheckpoint] = (),
) -> Exported:
    """Write what was committed in a period, each entry with the proof that it is in the trail.

    Args:
        connection: in a transaction whose snapshot does not move.
        out: where to.
        period: which entries.
        witnessed: whether only a checkpoint that a witness signed will do.
        earlier: checkpoints that the receiver has; it is proven that the trail begins with what they are of.

    Raises:
        NothingToExportError: there is no such checkpoint yet.
    """
    last, total = await _newest(connection, witnessed=witnessed)
    first, end = await _places(connection, period, last.checkpoint.size)
    head = Head(
        origin=last.checkpoint.origin,
        extract=True,
        tenant=period.tenant,
        first=first,
        end=end,
        from_us=period.from_us,
        to_us=period.to_us,
    )
    return await _extract(connection, out, head, last, total, earlier)


async def export_parts(
    connection: Connection,
    parts: Parts,
    period: Period,
    *,
    witnessed: bool,
    entries_count_max: int,
    bytes_max: int,
) -> Exported:
    """Write what a tenant committed in a period as numbered parts, each an extract by itself.

    All lead to one checkpoint. No more than a part's last entry is in memory.

    Args:
        connection: in a transaction whose snapshot does not move.
        parts: where they go.
        period: which entries, of one tenant.
        witnessed: whether only a checkpoint that a witness signed will do.
        entries_count_max: of one part.
        bytes_max: after which a part ends; it is larger by one entry and what ends it.

    Raises:
        NothingToExportError: there is no such checkpoint yet.
    """
    last, total = await _newest(connection, witnessed=witnessed)
    size = last.checkpoint.size
    first, end = await _places(connection, period, size)
    proofs = Proofs(connection, size)
    whole = Head(
        origin=last.checkpoint.origin,
        extract=True,
        tenant=period.tenant,
        first=first,
        end=end,
        from_us=period.from_us,
        to_us=period.to_us,
        part=1,
    )

    async def close(head: Head) -> None:
        writer.checkpoint(str(last))
        writer.end()
        await parts.end(head, writer)

    number, entries_count = 1, 0
    writer = archive.Writer(parts.begin())
    async for record, _ in rows.records(connection, first, min(end, size), period.tenant):
        if writer.entries_count >= entries_count_max or writer.bytes_count >= bytes_max:
            # The next one's first place: between the two there is none of the tenant's.
            head = replace(whole, first=first, end=record.place, part=number, following=number + 1)
            await close(head)
            number, first = number + 1, record.place
            writer = archive.Writer(parts.begin())
        writer.entry(record, await proofs.of(record.place))
        entries_count += 1
    await close(replace(whole, first=first, part=number))
    return Exported(
        entries_count=entries_count,
        checkpoints_count=1,
        size=size,
        left_out_count=max(total - size, 0),
    )


async def export_entry(
    connection: Connection, out: Sink, place: int, *, witnessed: bool
) -> Exported:
    """Write one entry with the proof that it is in the trail.

    Raises:
        NothingToExportError: no checkpoint covers it yet.
    """
    last, total = await _newest(connection, witnessed=witnessed)
    if not 0 <= place < last.checkpoint.size:
        message = f"the last checkpoint is of {last.checkpoint.size} entries, and there is no {place} in it"
        raise NothingToExportError(message)
    head = Head(origin=last.checkpoint.origin, extract=True, first=place, end=place + 1)
    return await _extract(connection, out, head, last, total, ())


class Proofs:
    """Proofs of many entries for one size of the tree, which have most of their hashes in common."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._connection = connection
        self._size = size
        self._known: dict[Subtree, bytes] = {}

    async def of(self, place: int) -> list[bytes]:
        """Return the hashes that lead from the entry to the root."""
        parts = inclusion_parts(place, self._size)
        wanted = [subtree for part in parts for subtree in part.subtrees()]
        known = await self._read(wanted)
        return hashes_of(parts, lambda subtrees: [known[one] for one in subtrees])

    async def _read(self, wanted: Sequence[Subtree]) -> Mapping[Subtree, bytes]:
        if len(self._known) > _KEPT_COUNT_MAX:
            # Those far up are asked for by every entry; those below by its neighbours alone.
            self._known = {one: hashed for one, hashed in self._known.items() if one.level >= 8}
        below = {
            one.start // _BLOCK
            for one in wanted
            if one.level < rows.STEP and one not in self._known
        }
        for block in sorted(below):
            await self._read_block(block)
        missing = [one for one in wanted if one not in self._known]
        read = await rows.read_hashes(self._connection, missing)
        self._known.update(zip(missing, read, strict=True))
        return self._known

    async def _read_block(self, block: int) -> None:
        """Reckon all hashes between two levels that are kept at once: a proof needs one of each level."""
        start = block * _BLOCK
        hashes = await rows.leaf_hashes(
            connection=self._connection, start=start, end=min(start + _BLOCK, self._size)
        )
        for level in range(rows.STEP):
            first = start >> level
            self._known.update(
                (Subtree(level, first + index), one) for index, one in enumerate(hashes)
            )
            hashes = [
                node_hash(hashes[index], hashes[index + 1])
                for index in range(0, len(hashes) - 1, 2)
            ]


async def _extract(
    connection: Connection,
    out: Sink,
    head: Head,
    last: SignedCheckpoint,
    total: int,
    earlier: Sequence[SignedCheckpoint],
) -> Exported:
    size = last.checkpoint.size
    writer = archive.Writer(out, head)
    proofs = Proofs(connection, size)
    # With the neighbours of both ends, by which a reader sees that the ends are the ends.
    alone = head.tenant is not None
    start, end = (head.first, head.end) if alone else (max(head.first - 1, 0), head.end + 1)
    async for record, _ in rows.records(connection, start, min(end, size), head.tenant):
        writer.entry(record, await proofs.of(record.place))
    writer.checkpoint(str(last))
    for note in earlier:
        before = note.checkpoint.size
        if before <= size:
            writer.consistency(before, await prove(connection, before, size))
    return _end(writer, size, total)


async def _newest(connection: Connection, *, witnessed: bool) -> tuple[SignedCheckpoint, int]:
    last = await rows.last_checkpoint(connection, witnessed=witnessed)
    if last is None:
        message = "there is no checkpoint yet" + (" that a witness signed" if witnessed else "")
        raise NothingToExportError(message)
    entry = await rows.last_entry(connection)
    return last, 0 if entry is None else entry.sequence + 1


async def _places(connection: Connection, period: Period, size: int) -> tuple[int, int]:
    """Return the place of the period's first entry and the one after its last."""
    first, last = 0, size - 1
    if period.from_us is not None:
        found = await connection.fetchval(_FIRST, rows.time_of(period.from_us), size)
        first = size if found is None else found
    if period.to_us is not None:
        found = await connection.fetchval(_LAST, rows.time_of(period.to_us), size)
        last = -1 if found is None else found
    return first, max(first, last + 1)


def _end(writer: archive.Writer, size: int, total: int) -> Exported:
    writer.end()
    return Exported(
        entries_count=writer.entries_count,
        checkpoints_count=writer.checkpoints_count,
        size=size,
        left_out_count=max(total - size, 0),
    )
