"""An audit log of a test's own: entries, keys, checkpoints, and a check of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sentinel.reference.ledger.audit.keys import Signer, check_signature, checker, new_key
from sentinel.reference.ledger.domain.audit.check import Check, Policy, Record, Report
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    Op,
    encode_entry,
    signed_bytes,
)
from sentinel.reference.ledger.domain.audit.merkle import Tree, leaf_hash
from sentinel.reference.ledger.domain.audit.note import (
    WITNESS_KIND,
    Checkpoint,
    SignedCheckpoint,
)

ORIGIN = "ledger.example/audit"


def entry_at(sequence: int, *, op: Op = Op.INSERT, memo: str = "") -> AuditEntry:
    """An entry that could stand at this place."""
    return AuditEntry(
        sequence=sequence,
        generation=1,
        lsn=1000 + sequence,
        ordinal=0,
        committed_us=1_700_000_000_000_000 + sequence,
        xid=sequence,
        op=op,
        relation="entries",
        row={"cohort": "1", "transaction_id": f"t{sequence}", "tenant": "shop", "memo": memo},
    )


@dataclass(slots=True)
class Keys:
    """A log's and a witness's."""

    log: Signer = field(default_factory=lambda: Signer(new_key(ORIGIN)))
    witness: Signer = field(
        default_factory=lambda: Signer(new_key("witness.example/w1", kind=WITNESS_KIND))
    )

    def record(self, entry: AuditEntry) -> Record:
        """The entry, signed, at its place."""
        leaf = encode_entry(entry)
        return Record(
            place=entry.sequence,
            leaf=leaf,
            signature=self.log.sign(signed_bytes(ORIGIN, leaf)),
        )

    def records(self, count: int) -> list[Record]:
        """A log from its beginning."""
        return [self.record(entry_at(sequence)) for sequence in range(count)]

    def checkpoint(
        self, records: Sequence[Record], *, witnessed: bool = True, origin: str = ORIGIN
    ) -> SignedCheckpoint:
        """A checkpoint over these, signed by the log, and by the witness too."""
        tree = Tree()
        for record in records:
            tree.append(leaf_hash(record.leaf))
        checkpoint = Checkpoint(origin=origin, size=len(records), root=tree.root())
        signers = (self.log, self.witness) if witnessed else (self.log,)
        lines = tuple(one.sign_checkpoint(checkpoint, 1_700_000_000) for one in signers)
        return SignedCheckpoint(checkpoint=checkpoint, signatures=lines)

    def policy(self, *, witness: bool = True, unwitnessed_since_us: int | None = None) -> Policy:
        """What a check with these keys goes by."""
        return Policy(
            origin=ORIGIN,
            check_entry=checker(self.log.public),
            log_signed=lambda one: one.signed_by(self.log.public, check_signature),
            witness_signed=(lambda one: one.signed_by(self.witness.public, check_signature))
            if witness
            else None,
            unwitnessed_since_us=unwitnessed_since_us,
        )

    def check(
        self,
        records: Iterable[Record],
        checkpoints: Iterable[SignedCheckpoint],
        *,
        witness: bool = True,
        unwitnessed_since_us: int | None = None,
    ) -> Report:
        """What a check of these comes to."""
        policy = self.policy(witness=witness, unwitnessed_since_us=unwitnessed_since_us)
        check = Check(policy, checkpoints)
        for record in records:
            check.feed(record)
        return check.end()
