"""Whether the entries of an extract are the log's: each by its own proof, and together without a gap.

An extract holds some of a log's entries, each with the hashes that lead from it to one checkpoint's root.
An extract of a time and of every tenant holds all entries between two places and the neighbours of both,
so that a missing one is seen. An extract of one tenant leaves others' entries out; that none of the
tenant's own is missing it cannot show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentinel.reference.ledger.domain.audit.check import (
    Finding,
    FindingKind,
    Policy,
    Record,
    Report,
)
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    MalformedEntryError,
    decode_entry,
    signed_bytes,
)
from sentinel.reference.ledger.domain.audit.merkle import is_consistent, is_included, leaf_hash
from sentinel.reference.ledger.domain.audit.note import SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What an extract says it holds.

    Attributes:
        checkpoint: what its proofs lead to.
        tenant: whose entries it holds alone; None for all.
        first: the place of its first entry, neighbours not counted.
        end: the place after its last.
        from_us: commits from this time on; None for the log's beginning.
        to_us: commits before this time; None for the log's end.
    """

    checkpoint: SignedCheckpoint
    tenant: str | None
    first: int
    end: int
    from_us: int | None = None
    to_us: int | None = None


class ExtractCheck:
    """Takes an extract's entries one after another, and says at the end what is wrong with it."""

    def __init__(self, policy: Policy, extract: Extract) -> None:
        self.report = Report()
        self._policy = policy
        self._extract = extract
        self._next = extract.first
        self._before: AuditEntry | None = None
        self._after: AuditEntry | None = None
        self._last = -1
        checkpoint = extract.checkpoint.checkpoint
        self.report.tree_size = checkpoint.size
        if checkpoint.origin != policy.origin:
            self._found(FindingKind.CHECKPOINT, None, f"it is of the log {checkpoint.origin!r}")
        if not policy.log_signed(extract.checkpoint):
            self._found(FindingKind.CHECKPOINT, None, "the log's key did not sign its checkpoint")
        else:
            self.report.checkpoints_count = 1
        if policy.witness_signed is not None:
            if policy.witness_signed(extract.checkpoint):
                self.report.witnessed_size = checkpoint.size
            else:
                self._found(
                    FindingKind.UNWITNESSED, None, "the witness did not sign its checkpoint"
                )

    def feed(self, record: Record, proof: Sequence[bytes]) -> None:
        """Take the next entry and its proof."""
        entry = self._verified(record, proof)
        if entry is None:
            # Its place is taken: it is altered, and not missing as well.
            if record.place == self._next and self._extract.tenant is None:
                self._next += 1
            return
        if entry.sequence <= self._last:
            twice = entry.sequence == self._last
            self._found(
                FindingKind.ADDED if twice else FindingKind.REORDERED,
                entry.sequence,
                "it stands there twice" if twice else f"it stands after {self._last}",
            )
            return
        self._last = entry.sequence
        if entry.sequence < self._extract.first:
            self._before = entry
        elif entry.sequence >= self._extract.end:
            self._after = entry
        else:
            self._inside(entry)

    def end(self, earlier: Sequence[tuple[SignedCheckpoint, Sequence[bytes] | None]]) -> Report:
        """Return what was found, once every entry was fed.

        Args:
            earlier: other checkpoints of the log, each with the proof that it is the beginning of the
                extract's, or None where there is no proof of it.
        """
        extract = self._extract
        if extract.tenant is None:
            if self._next < extract.end:
                self._missing(extract.end)
            self._edges()
        for note, proof in earlier:
            self._compare(note, proof)
        self.report.findings.sort(key=lambda one: -1 if one.first is None else one.first)
        return self.report

    def _verified(self, record: Record, proof: Sequence[bytes]) -> AuditEntry | None:
        policy, checkpoint = self._policy, self._extract.checkpoint.checkpoint
        signed = policy.check_entry(signed_bytes(policy.origin, record.leaf), record.signature)
        included = is_included(
            leaf=leaf_hash(record.leaf),
            index=record.place,
            size=checkpoint.size,
            proof=proof,
            root=checkpoint.root,
        )
        if not signed:
            detail = (
                "its signature is another; its content is what the checkpoint tells of"
                if included
                else "it does not fit its signature"
            )
            self._found(FindingKind.ALTERED, record.place, detail)
            return None
        try:
            entry = decode_entry(record.leaf)
        except MalformedEntryError as error:
            self._found(FindingKind.ALTERED, record.place, str(error))
            return None
        if entry.sequence != record.place:
            self._found(
                FindingKind.REORDERED,
                entry.sequence,
                f"entry {entry.sequence} stands at place {record.place}",
            )
            return None
        if not included:
            self._found(
                FindingKind.REWRITTEN,
                entry.sequence,
                "its signature holds, and its proof does not lead to the checkpoint",
            )
            return None
        return entry

    def _inside(self, entry: AuditEntry) -> None:
        extract = self._extract
        if extract.tenant is None:
            if entry.sequence > self._next:
                self._missing(entry.sequence)
            self._next = entry.sequence + 1
        elif entry.tenant != extract.tenant:
            self._found(
                FindingKind.ADDED, entry.sequence, f"it is of another tenant than {extract.tenant}"
            )
            return
        self.report.entries_count += 1

    def _missing(self, end: int) -> None:
        self._found(FindingKind.MISSING, self._next, "nothing stands in its place", last=end - 1)
        self._next = end

    def _edges(self) -> None:
        """See that the extract begins and ends where its times do."""
        extract = self._extract
        size = extract.checkpoint.checkpoint.size
        if extract.first and not _is_outside(
            self._before, place=extract.first - 1, us=extract.from_us, before=True
        ):
            self._found(
                FindingKind.TRUNCATED,
                extract.first - 1,
                "the entry before the first is not there, or is of the time that was asked for",
            )
        if extract.end < size and not _is_outside(
            self._after, place=extract.end, us=extract.to_us, before=False
        ):
            self._found(
                FindingKind.TRUNCATED,
                extract.end,
                "the entry after the last is not there, or is of the time that was asked for",
            )

    def _compare(self, note: SignedCheckpoint, proof: Sequence[bytes] | None) -> None:
        own, other = self._extract.checkpoint.checkpoint, note.checkpoint
        if other.origin != self._policy.origin or not self._policy.log_signed(note):
            self._found(
                FindingKind.CHECKPOINT,
                None,
                "a checkpoint beside it is not signed by the log's key",
            )
        elif other.size > own.size or proof is None:
            self.report.checkpoints_unproven_count += 1
        elif is_consistent(
            before=other.size,
            before_root=other.root,
            after=own.size,
            after_root=own.root,
            proof=proof,
        ):
            self.report.checkpoints_count += 1
        else:
            self._found(
                FindingKind.REWRITTEN,
                0,
                f"the log of {own.size} entries does not begin with what a checkpoint of {other.size} "
                "was signed over",
                last=max(other.size - 1, 0),
            )

    def _found(
        self, kind: FindingKind, first: int | None, detail: str, *, last: int | None = None
    ) -> None:
        self.report.add(
            Finding(kind=kind, first=first, last=first if last is None else last, detail=detail)
        )


def _is_outside(entry: AuditEntry | None, *, place: int, us: int | None, before: bool) -> bool:
    """Say whether the neighbour is there and is not of the time that the extract is of."""
    if entry is None or entry.sequence != place:
        return False
    if us is None:
        return True
    return entry.committed_us < us if before else entry.committed_us >= us
