"""Whether an audit log is whole: which entries were altered, are missing, were added, or stand elsewhere.

Each entry carries its place, and the place is signed with it. So an entry that no longer fits its
signature was altered, or was added when the true one of its place is there as well; a place nobody
fills is missing; and one that comes after a later one was moved. The tree over what is there is grown
along and held against every checkpoint on the way: it finds what the holder of the log's own key has
signed anew, for a checkpoint that a witness signed binds that holder too.

Entries come as a stream and are kept for a moment only, so that some that stand a little out of place
are put right; the tree goes on over them as it did when it was signed.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.audit.books import Books
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    MalformedEntryError,
    Op,
    decode_entry,
    signed_bytes,
)
from sentinel.reference.ledger.domain.audit.merkle import Tree, leaf_hash
from sentinel.reference.ledger.domain.audit.note import SignedCheckpoint

# How far out of its place an entry may stand and still be put right, and how many findings are listed.
WINDOW_COUNT: Final = 4096
FINDINGS_COUNT_MAX: Final = 1000
# Tables of which a row, once written, never changes.
APPEND_ONLY: Final = frozenset({"transactions", "entries", "batches"})
_CHANGED: Final = frozenset({Op.UPDATE, Op.DELETE, Op.TRUNCATE})


class FindingKind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"
    REORDERED = "reordered"
    # The signatures hold and the tree does not: whoever holds the log's key wrote another history.
    REWRITTEN = "rewritten"
    # A checkpoint says of itself that a key signed it, and the key did not.
    CHECKPOINT = "checkpoint"
    TRUNCATED = "truncated"
    UNWITNESSED = "unwitnessed"
    # The trail is whole, and tells of a change that the ledger never makes.
    LEDGER_CHANGED = "ledger_changed"
    LEDGER_DIFFERS = "ledger_differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: which entries, from `first` to `last`, and what about them."""

    kind: FindingKind
    first: int | None = None
    last: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry as it is kept: the place it is said to have, its bytes and its signature."""

    place: int
    leaf: bytes
    signature: bytes


@dataclass(slots=True)
class Report:
    """What a check has come to.

    Attributes:
        entries_count: entries that stand in their place and are as they were signed.
        tree_size: how far the tree could be grown without a gap.
        witnessed_size: how many entries the last checkpoint covers that a witness signed and the tree agrees with.
        checkpoints_count: checkpoints that the tree agrees with.
        gaps: what the log itself says it has not seen, with the sequence of the entry that says so.
        counts: how many findings there are, by kind; of those listed there are at most a thousand.
    """

    entries_count: int = 0
    tree_size: int = 0
    witnessed_size: int = 0
    checkpoints_count: int = 0
    checkpoints_unproven_count: int = 0
    gaps: list[tuple[int, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[FindingKind] = field(default_factory=Counter)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts

    def add(self, finding: Finding) -> None:
        """Note a finding; beyond a thousand it is counted only."""
        self.counts[finding.kind] += 1
        if len(self.findings) < FINDINGS_COUNT_MAX:
            self.findings.append(finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a check goes by.

    Attributes:
        origin: the log's name, which its signatures are for.
        check_entry: message and signature in, whether the log's key signed it out.
        log_signed: whether the log's key signed a checkpoint.
        witness_signed: the same of the witness's key; None when no witness is to be asked for.
        unwitnessed_since_us: entries committed from then on need no witness's word yet, in Unix
            microseconds; None when all need it.
    """

    origin: str
    check_entry: Callable[[bytes, bytes], bool]
    log_signed: Callable[[SignedCheckpoint], bool]
    witness_signed: Callable[[SignedCheckpoint], bool] | None
    unwitnessed_since_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Claim:
    """Who wants a place: `entry` is None for one that does not fit its signature, `moved` says where it stood."""

    record: Record
    entry: AuditEntry | None
    moved: str


class Check:
    """Takes a log's entries one after another, and says at the end what is wrong with it."""

    def __init__(self, policy: Policy, checkpoints: Iterable[SignedCheckpoint]) -> None:
        """Go by the policy and by these checkpoints, in any order, of any who keep them."""
        self._policy = policy
        self.report = Report()
        # What the ledger's accounts must be; None once an entry is not to be had, for then it cannot be told.
        self.books: Books | None = Books(
            lambda place, detail: self._found(FindingKind.LEDGER_CHANGED, place, detail)
        )
        self._checkpoints = self._trusted(checkpoints)
        self._next_checkpoint = 0
        self._tree = Tree()
        self._proven_size = 0
        self._rewritten = False
        self._cursor = 0
        self._highest = -1
        self._window: list[tuple[int, int, _Claim]] = []
        self._fed_count = 0
        self._missing: list[tuple[int, int]] = []
        # Places whose entry does not fit its signature, and nobody else's does.
        self._suspects: list[int] = []
        self._last_size = max((one.checkpoint.size for one in self._checkpoints), default=0)
        self._last_witnessed = max(
            (one.checkpoint.size for one in self._checkpoints if self._is_witnessed(one)),
            default=0,
        )
        # The first entry behind what the witness signed that should have been signed by now.
        self._first_late: int | None = None

    def feed(self, record: Record) -> None:
        """Take the next entry of the log."""
        entry = self._verified(record)
        moved = ""
        if entry is not None:
            if entry.sequence != record.place:
                moved = f"entry {entry.sequence} stands at place {record.place}"
            elif entry.sequence < self._highest:
                moved = f"entry {entry.sequence} stands after {self._highest}"
            self._highest = max(self._highest, entry.sequence)
        place = record.place if entry is None else entry.sequence
        self._fed_count += 1
        claim = _Claim(record=record, entry=entry, moved=moved)
        heapq.heappush(self._window, (place, self._fed_count, claim))
        if len(self._window) > WINDOW_COUNT:
            self._settle()

    def end(self) -> Report:
        """Return what was found, once every entry was fed."""
        while self._window:
            self._settle()
        self._compare()
        if self.books is not None:
            self.books.end()
        report = self.report
        report.tree_size = self._tree.size
        if self._cursor < self._last_size:
            self._found(
                FindingKind.TRUNCATED,
                self._cursor,
                f"a checkpoint tells of {self._last_size} entries, and the log ends after {self._cursor}",
                last=self._last_size - 1,
            )
        for start, end in self._missing:
            self._found(FindingKind.MISSING, start, "nothing stands in its place", last=end - 1)
        report.checkpoints_unproven_count = sum(
            one.checkpoint.size > self._proven_size for one in self._checkpoints
        )
        self._judge_suspects()
        if self._policy.witness_signed is not None and self._first_late is not None:
            self._found(
                FindingKind.UNWITNESSED,
                self._first_late,
                f"the last checkpoint that the witness signed is of {self._last_witnessed} entries",
                last=self._cursor - 1,
            )
        report.findings.sort(key=lambda one: -1 if one.first is None else one.first)
        return report

    def _trusted(self, checkpoints: Iterable[SignedCheckpoint]) -> list[SignedCheckpoint]:
        """Return the log's own checkpoints by size; what only pretends to be one is a finding."""
        good: dict[str, SignedCheckpoint] = {}
        for one in checkpoints:
            size = one.checkpoint.size
            if one.checkpoint.origin != self._policy.origin:
                self._found(
                    FindingKind.CHECKPOINT, None, f"a checkpoint is of {one.checkpoint.origin!r}"
                )
            elif not self._policy.log_signed(one):
                self._found(
                    FindingKind.CHECKPOINT,
                    None,
                    f"the checkpoint of {size} entries is not signed by the log's key",
                )
            else:
                good[str(one)] = one
        return sorted(good.values(), key=lambda one: one.checkpoint.size)

    def _verified(self, record: Record) -> AuditEntry | None:
        """Return the entry, or None when it is not what the log signed."""
        message = signed_bytes(self._policy.origin, record.leaf)
        if not self._policy.check_entry(message, record.signature):
            return None
        try:
            return decode_entry(record.leaf)
        except MalformedEntryError:
            return None

    def _settle(self) -> None:
        """Decide who holds the lowest place in the window, and grow the tree by it."""
        place = self._window[0][0]
        claims: list[_Claim] = []
        while self._window and self._window[0][0] == place:
            claims.append(heapq.heappop(self._window)[2])
        if place < self._cursor:
            self._late(place, claims)
            return
        if place > self._cursor:
            self._missing.append((self._cursor, place))
            self._cursor = place
            self.books = None
        # One that is as it was signed, and of several the one that stands where it should.
        chosen = min(claims, key=lambda claim: (claim.entry is None, bool(claim.moved)))
        for claim in claims:
            if claim is not chosen:
                self._found(
                    FindingKind.ADDED,
                    place,
                    "it stands in the log twice"
                    if claim.record.leaf == chosen.record.leaf
                    else "its place is held by another entry",
                )
        if chosen.moved:
            self._found(FindingKind.REORDERED, place, chosen.moved)
        if chosen.entry is None:
            self._suspects.append(place)
            self.books = None
        else:
            self._look_at(chosen.entry)
        self._cursor = place + 1
        self._grow(chosen.record)

    def _late(self, place: int, claims: Sequence[_Claim]) -> None:
        """Settle what comes after its place was decided on."""
        for claim in claims:
            for index, (start, end) in enumerate(self._missing):
                if claim.entry is not None and start <= place < end:
                    # It is there after all, and far from where it should be.
                    self._missing[index : index + 1] = [
                        part for part in ((start, place), (place + 1, end)) if part[0] < part[1]
                    ]
                    self._found(FindingKind.REORDERED, place, claim.moved)
                    self.report.entries_count += 1
                    break
            else:
                self._found(FindingKind.ADDED, place, "its place is held by another entry")

    def _look_at(self, entry: AuditEntry) -> None:
        self.report.entries_count += 1
        if entry.op in _CHANGED and entry.relation in APPEND_ONLY:
            self._found(
                FindingKind.LEDGER_CHANGED,
                entry.sequence,
                f"{entry.op.value} of {entry.relation}, which is append only: {_key(entry)}",
            )
        if self.books is not None:
            try:
                self.books.feed(entry)
            except ValueError:
                self._found(FindingKind.LEDGER_CHANGED, entry.sequence, "a number in it is none")
        if entry.op in (Op.GAP, Op.START):
            self.report.gaps.append((entry.sequence, entry.row.get("reason") or entry.op.value))
        since_us = self._policy.unwitnessed_since_us
        if (
            entry.sequence >= self._last_witnessed
            and self._first_late is None
            and (since_us is None or entry.committed_us < since_us)
        ):
            self._first_late = entry.sequence

    def _grow(self, record: Record) -> None:
        if self._tree.size != self._cursor - 1:
            return  # something before it is missing, and so are the hashes over it
        self._compare()
        self._tree.append(leaf_hash(record.leaf))
        self._compare()

    def _compare(self) -> None:
        """Hold the tree against the checkpoints of its size."""
        while self._next_checkpoint < len(self._checkpoints):
            one = self._checkpoints[self._next_checkpoint]
            if one.checkpoint.size > self._tree.size:
                return
            self._next_checkpoint += 1
            witnessed = self._is_witnessed(one)
            if one.checkpoint.root == self._tree.root():
                self.report.checkpoints_count += 1
                self._proven_size = one.checkpoint.size
                if witnessed:
                    self.report.witnessed_size = one.checkpoint.size
            elif not self._rewritten:
                # All that follow differ with it; one finding says it. What the log's key alone has signed
                # does not narrow down where the history departs from the one that the witness saw.
                self._rewritten = True
                since = self.report.witnessed_size if witnessed else self._proven_size
                if not any(place >= since for place in self._suspects):
                    self._found(
                        FindingKind.REWRITTEN,
                        min(since, one.checkpoint.size - 1),
                        "every signature holds, and they are not the entries that the checkpoint of "
                        f"{one.checkpoint.size} was signed over",
                        last=one.checkpoint.size - 1,
                    )

    def _judge_suspects(self) -> None:
        """Say of each entry that does not fit its signature what became of it."""
        for place in self._suspects:
            if place < self._proven_size:
                detail = "its signature is another; its content is what the checkpoints tell of"
            else:
                detail = "it does not fit its signature"
            beyond = place >= self._last_size and place > self._highest
            kind = FindingKind.ADDED if beyond else FindingKind.ALTERED
            self._found(kind, place, detail)

    def _is_witnessed(self, one: SignedCheckpoint) -> bool:
        signed = self._policy.witness_signed
        return signed is not None and signed(one)

    def _found(
        self, kind: FindingKind, first: int | None, detail: str, *, last: int | None = None
    ) -> None:
        self.report.add(
            Finding(kind=kind, first=first, last=first if last is None else last, detail=detail)
        )


def _key(entry: AuditEntry) -> str:
    """Return what identifies the changed row, for a person to look it up."""
    row = entry.old or entry.row
    names = ("cohort", "transaction_id", "batch_id", "pending_id", "leg", "tenant")
    return ", ".join(f"{name} {row[name]}" for name in names if row.get(name))
