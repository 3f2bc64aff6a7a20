"""Entries on their way into the trail: numbered, signed, hashed into the tree, written in pieces.

A `Writer` lives for one database transaction. What it has come to counts only once that has committed;
until then the trail's state is the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.keys import Signer
from sentinel.reference.ledger.audit.rows import Signed
from sentinel.reference.ledger.audit.snapshot import Look
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    Op,
    encode_entry,
    signed_bytes,
)
from sentinel.reference.ledger.domain.audit.merkle import Subtree, Tree, leaf_hash
from sentinel.reference.ledger.wire.postgres import Connection

_PIECE_COUNT: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailState:
    """Where the trail ends.

    Attributes:
        generation: 0 before the first.
        slot: the generation's replication slot.
        lsn: where the last transaction's commit was; what is not behind it is recorded.
        committed_us: when that was, Unix microseconds.
        tree: over every entry.
        look: what the generation's snapshot shows; None before the first.
    """

    generation: int
    slot: str
    lsn: int
    committed_us: int
    tree: Tree
    look: Look | None = None


class Writer:
    """Appends entries behind a state, on a connection that is in a transaction."""

    def __init__(
        self, connection: Connection, *, origin: str, signer: Signer, state: TrailState
    ) -> None:
        self._connection = connection
        self._origin = origin
        self._signer = signer
        self._state = replace(state, tree=state.tree.copy())
        self._signed: list[Signed] = []
        self._nodes: list[tuple[Subtree, bytes]] = []
        self.count = 0

    async def add(
        self,
        *,
        lsn: int,
        ordinal: int,
        committed_us: int,
        xid: int,
        op: Op,
        relation: str,
        row: Mapping[str, str | None],
        old: Mapping[str, str | None] | None = None,
    ) -> None:
        """Append an entry; every thousandth time those that are waiting are written."""
        tree = self._state.tree
        entry = AuditEntry(
            sequence=tree.size,
            generation=self._state.generation,
            lsn=lsn,
            ordinal=ordinal,
            committed_us=committed_us,
            xid=xid,
            op=op,
            relation=relation,
            row=row,
            old=old,
        )
        leaf = encode_entry(entry)
        signature = self._signer.sign(signed_bytes(self._origin, leaf))
        self._signed.append(Signed(entry=entry, leaf=leaf, signature=signature))
        self._nodes += tree.append(leaf_hash(leaf))
        self.count += 1
        if len(self._signed) >= _PIECE_COUNT:
            await self._write()

    async def end(self, *, lsn: int, committed_us: int) -> TrailState:
        """Write what is waiting; returns the state that holds once the transaction has committed."""
        await self._write()
        return replace(self._state, lsn=lsn, committed_us=committed_us)

    async def _write(self) -> None:
        if self._signed:
            await rows.append(self._connection, self._signed)
            await rows.append_nodes(self._connection, self._nodes)
        self._signed, self._nodes = [], []
