"""Is the trail whole: of an exported file with nothing but public keys, or of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.archive import (
    Head,
    MalformedArchiveError,
    read_beside,
    read_entries,
    read_head,
)
from sentinel.reference.ledger.audit.keys import check_signature, checker
from sentinel.reference.ledger.domain.audit.books import Books
from sentinel.reference.ledger.domain.audit.check import (
    Check,
    Finding,
    FindingKind,
    Policy,
    Report,
)
from sentinel.reference.ledger.domain.audit.entry import MalformedEntryError, decode_entry
from sentinel.reference.ledger.domain.audit.note import (
    MalformedNoteError,
    PublicKey,
    SignedCheckpoint,
    parse_checkpoint,
)
from sentinel.reference.ledger.domain.audit.parts import Part
from sentinel.reference.ledger.domain.audit.period import Extract, ExtractCheck
from sentinel.reference.ledger.wire.postgres import Connection

_END: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Whose signatures count; None for no witness, which then is not asked for."""

    log: PublicKey
    witness: PublicKey | None

    def policy(self, *, unwitnessed_since_us: int | None = None) -> Policy:
        """Return what a check with these keys goes by."""
        witness = self.witness
        return Policy(
            origin=self.log.name,
            check_entry=checker(self.log),
            log_signed=lambda note: note.signed_by(self.log, check_signature),
            witness_signed=None
            if witness is None
            else lambda note: note.signed_by(witness, check_signature),
            unwitnessed_since_us=unwitnessed_since_us,
        )


def verify_file(path: Path, keys: Keys, kept: Sequence[SignedCheckpoint] = ()) -> Report:
    """Check an exported audit.

    Args:
        path: the file.
        keys: the public keys, which come from elsewhere than the file.
        kept: checkpoints that come from elsewhere, such as the witness's last.

    Raises:
        UnreadableError: it cannot be read.
        MalformedArchiveError: it is no exported audit, or not all of one.
    """
    head = read_head(path)
    if head.extract:
        return _verify_extract(path, head, keys, kept)
    beside = read_beside(path)
    check = Check(keys.policy(), [*beside.checkpoints, *kept])
    for broken in beside.broken_notes:
        check.report.add(Finding(kind=FindingKind.CHECKPOINT, detail=broken))
    for line in read_entries(path):
        check.feed(line.record)
    return check.end()


def part_of(path: Path) -> Part:
    """Return what a file says of the export that it is a part of.

    Raises:
        UnreadableError: it cannot be read.
        MalformedArchiveError: it is no exported audit, or not all of one.
    """
    head = read_head(path)
    checkpoints = tuple(str(note) for note in read_beside(path).checkpoints)
    return Part(
        name=str(path),
        number=head.part,
        following=head.following,
        first=head.first,
        end=head.end,
        of=(head.origin, head.tenant, head.from_us, head.to_us, checkpoints),
    )


async def verify_database(
    connection: Connection,
    keys: Keys,
    kept: Sequence[SignedCheckpoint] = (),
    *,
    unwitnessed_since_us: int,
) -> tuple[Report, Books | None]:
    """Check the trail as it is in the database, whose columns beside an entry must say what that says.

    Returns:
        what was found, and what the ledger's accounts are by the trail, where that can be told.

    Args:
        connection: in a transaction whose snapshot does not move.
        keys: the public keys.
        kept: checkpoints that come from elsewhere.
        unwitnessed_since_us: what was committed from then on need not be witnessed yet.
    """
    notes, broken = list(kept), []
    async for note in rows.checkpoint_notes(connection):
        try:
            notes.append(parse_checkpoint(note))
        except MalformedNoteError as error:
            broken.append(str(error))
    check = Check(keys.policy(unwitnessed_since_us=unwitnessed_since_us), notes)
    for text in broken:
        check.report.add(Finding(kind=FindingKind.CHECKPOINT, detail=text))
    async for record, row in rows.records(connection, 0, _END):
        check.feed(record)
        try:
            same = rows.same_as_entry(row, decode_entry(record.leaf))
        except (MalformedEntryError, ValueError):
            continue  # then it does not fit its signature either, and is told of
        if not same:
            check.report.add(
                Finding(
                    kind=FindingKind.ALTERED,
                    first=record.place,
                    last=record.place,
                    detail="the columns beside it say another thing than it does",
                )
            )
    return check.end(), check.books


def _verify_extract(
    path: Path, head: Head, keys: Keys, kept: Sequence[SignedCheckpoint]
) -> Report:
    beside = read_beside(path)
    if len(beside.checkpoints) != 1 or beside.broken_notes:
        message = f"{path} has {len(beside.checkpoints)} checkpoints, and an extract has one"
        raise MalformedArchiveError(message)
    extract = Extract(
        checkpoint=beside.checkpoints[0],
        tenant=head.tenant,
        first=head.first,
        end=head.end,
        from_us=head.from_us,
        to_us=head.to_us,
    )
    check = ExtractCheck(keys.policy(), extract)
    for line in read_entries(path):
        check.feed(line.record, line.proof or ())
    return check.end([(note, _proof(note, extract, beside.proofs)) for note in kept])


def _proof(
    note: SignedCheckpoint, extract: Extract, proofs: dict[int, tuple[bytes, ...]]
) -> tuple[bytes, ...] | None:
    """Return the proof that the checkpoint is the beginning of the extract's; None when there is none."""
    size = note.checkpoint.size
    if size in (0, extract.checkpoint.checkpoint.size):
        return ()
    return proofs.get(size)
