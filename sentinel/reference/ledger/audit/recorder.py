"""From the slot into the trail: look, write for good, and only then let the server forget.

A crash before the write leaves nothing behind; one between the write and the slot's advance has the
same changes come again, which are known by the place of their commit. So every change is recorded
once, in the order of commits. Whole transactions are written, in pieces but in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.followed import IDS
from sentinel.reference.ledger.audit.keys import Signer
from sentinel.reference.ledger.audit.pgoutput import Begin, Change, Commit, Decoder
from sentinel.reference.ledger.audit.slot import (
    CHANGES_COUNT,
    PEEK,
    SlotLostError,
    SlotStatus,
    advance_slot,
    check_server,
    create_slot,
    flushed_lsn,
    may_move_on,
    move_on,
    slot_status,
)
from sentinel.reference.ledger.audit.snapshot import look_of, take_look, unrecorded
from sentinel.reference.ledger.audit.told import Telling
from sentinel.reference.ledger.audit.writer import TrailState, Writer
from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.audit.entry import Op, decode_entry, format_lsn
from sentinel.reference.ledger.domain.audit.merkle import Range, Tree, fold
from sentinel.reference.ledger.wire.migrations import SCHEMA
from sentinel.reference.ledger.wire.postgres import Connection

# Held by the one process that writes the trail, for as long as its session lives.
_WRITER_LOCK: Final = 0x6175646974  # "audit"
_PREFETCH_COUNT: Final = 1000
# After how much of the write-ahead log the slot is helped to move on; asking is itself a few bytes of it.
_MOVE_ON_BYTES: Final = 256 * 1024
# For sessions of the audit: a look at the slot may have to decode minutes, and texts must not depend on
# what somebody has set for the database or the role.
SETTINGS: Final = {
    "statement_timeout": "60000",
    "idle_in_transaction_session_timeout": "60000",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one look came to.

    Attributes:
        entries_count: changes that were recorded.
        caught_up: whether that is all that was committed before the look.
        status: the slot after it.
    """

    entries_count: int
    caught_up: bool
    status: SlotStatus


class Recorder:
    """Records what one slot tells of; one at a time has the trail to itself."""

    def __init__(
        self, *, reader: Connection, writer: Connection, origin: str, signer: Signer
    ) -> None:
        """Read and write on two sessions, which have SETTINGS."""
        self._reader = reader
        self._writer = writer
        self._origin = origin
        self._signer = signer
        self._state: TrailState | None = None
        self._may_move_on = False

    @property
    def state(self) -> TrailState:
        """Where the trail ends, of what is in the database for good."""
        if self._state is None:
            message = "the trail has not been opened"
            raise LedgerError(message)
        return self._state

    async def open(self, *, now_us: int) -> bool:
        """Take the trail and go on where it ends; returns whether it was begun just now.

        Args:
            now_us: Unix time in microseconds, of the entries of a trail that begins.

        Raises:
            UnavailableError: another process has the trail.
            SlotLostError: changes are lost; see `resume`.
            LedgerError: the server cannot be followed, or the trail is not what its last checkpoint says.
        """
        await self._take()
        if self.state.generation:
            await slot_status(self._writer, self.state.slot)
            await self._follow_more(now_us)
            return False
        await self._begin(Op.START, "the trail begins", now_us)
        return True

    async def resume(self, *, reason: str, now_us: int) -> bool:
        """Go on after a loss, with an entry that says so and every row that the trail has not.

        Returns:
            False when nothing is lost, and nothing was done.

        Raises:
            UnavailableError: another process has the trail.
            LedgerError: as `open`.
        """
        await self._take()
        if self.state.generation:
            try:
                await slot_status(self._writer, self.state.slot)
            except SlotLostError as error:
                await self._begin(Op.GAP, f"{error}: {reason}", now_us)
                return True
        return False

    async def cycle(self) -> Progress:
        """Record what was committed since, at most some thousand changes, and let the server forget it.

        Raises:
            SlotLostError: changes are lost.
            MalformedMessageError: the server sent what the protocol does not say; nothing was recorded.

        Whatever else the connection raises leaves open whether the write is there: `open` again.
        """
        state = self.state
        status = await slot_status(self._writer, state.slot)
        upto = await flushed_lsn(self._writer)
        async with self._reader.transaction(), self._writer.transaction():
            writer = Writer(self._writer, origin=self._origin, signer=self._signer, state=state)
            seen_count, end_lsn, committed = await self._copy(writer, upto)
            lsn, committed_us = committed or (state.lsn, state.committed_us)
            after = await writer.end(lsn=lsn, committed_us=committed_us)
        self._state = after
        caught_up = seen_count < CHANGES_COUNT
        if self._may_move_on and status.retained_bytes > _MOVE_ON_BYTES:
            await move_on(self._writer)
        target = upto if caught_up else end_lsn
        if target > status.confirmed_lsn:
            await advance_slot(self._writer, state.slot, target)
            status = await slot_status(self._writer, state.slot)
        return Progress(entries_count=writer.count, caught_up=caught_up, status=status)

    async def _copy(self, writer: Writer, upto: int) -> tuple[int, int, tuple[int, int] | None]:
        """Append what the slot tells of.

        Returns:
            how many messages came, where the last transaction ends, and place and time of its commit.
        """
        decoder, telling = Decoder(SCHEMA), Telling()
        state = self.state
        begin: Begin | None = None
        seen_count = ordinal = end_lsn = 0
        committed: tuple[int, int] | None = None
        cursor = self._reader.cursor(
            PEEK, state.slot, format_lsn(upto), CHANGES_COUNT, prefetch=_PREFETCH_COUNT
        )
        async for row in cursor:
            seen_count += 1
            for event in decoder.decode(bytes(row["data"])):
                if isinstance(event, Begin):
                    begin, ordinal = event, 0
                    telling.begin()
                    continue
                changes: list[Change]
                if isinstance(event, Commit):
                    end_lsn = event.end_lsn
                    changes = telling.end()
                elif begin is not None and _is_new(begin, state):
                    change = telling.take(event)
                    changes = [] if change is None else [change]
                else:
                    continue
                for one in changes:
                    assert begin is not None
                    await self._add(writer, begin, ordinal, one)
                    committed = (begin.lsn, begin.committed_us)
                    ordinal += 1
        return seen_count, end_lsn, committed

    async def _add(self, writer: Writer, begin: Begin, ordinal: int, change: Change) -> None:
        await writer.add(
            lsn=begin.lsn,
            ordinal=ordinal,
            committed_us=begin.committed_us,
            xid=begin.xid,
            op=change.op,
            relation=change.relation,
            row=change.row,
            old=change.old,
        )

    async def _take(self) -> None:
        await check_server(self._writer)
        if not await self._writer.fetchval("select pg_try_advisory_lock($1)", _WRITER_LOCK):
            message = "another process records the audit"
            raise UnavailableError(message, code="locked")
        self._may_move_on = await may_move_on(self._writer)
        self._state = await _load(self._writer)
        last = await rows.last_checkpoint(self._writer)
        if last is not None:
            await _check(
                self._writer, self._state.tree, last.checkpoint.size, last.checkpoint.root
            )

    async def _begin(self, op: Op, reason: str, now_us: int) -> None:
        """Make a slot, and record what was there before it."""
        state = self.state
        generation = state.generation + 1
        slot, first_lsn = await create_slot(self._writer, generation)
        # The byte before all that the slot tells of: no commit is ever there.
        lsn = first_lsn - 1
        async with (
            self._reader.transaction(isolation="repeatable_read"),
            self._writer.transaction(),
        ):
            look = await take_look(self._reader)
            begun = TrailState(
                generation=generation,
                slot=slot,
                lsn=lsn,
                committed_us=now_us,
                tree=state.tree,
                look=look,
            )
            writer = Writer(self._writer, origin=self._origin, signer=self._signer, state=begun)
            told = {
                "slot": slot,
                "reason": reason,
                "recorded_to": format_lsn(state.lsn),
                "relations": ",".join(IDS),
                **look.told(),
            }
            at = Begin(lsn=lsn, committed_us=now_us, xid=0)
            await self._add(writer, at, 0, Change(op=op, relation="", row=told))
            for relation in IDS:
                async for row in unrecorded(self._reader, relation):
                    was_there = Change(op=Op.SNAPSHOT, relation=relation, row=row)
                    await self._add(writer, at, writer.count, was_there)
            after = await writer.end(lsn=lsn, committed_us=now_us)
        self._state = after

    async def _follow_more(self, now_us: int) -> None:
        """Record what is there of tables that this version follows and the trail does not yet.

        The slot tells of their changes since the publication has them. What committed between the last entry and
        this look is in the look and comes again, as it was committed: the last word is the right one.
        """
        state = self.state
        before = await rows.followed(self._writer)
        new = [relation for relation in IDS if relation not in before]
        if not new:
            return
        ordinal = await rows.next_ordinal(self._writer, state.generation, state.lsn)
        at = Begin(lsn=state.lsn, committed_us=now_us, xid=0)
        async with (
            self._reader.transaction(isolation="repeatable_read"),
            self._writer.transaction(),
        ):
            writer = Writer(self._writer, origin=self._origin, signer=self._signer, state=state)
            told = {
                "slot": state.slot,
                "reason": f"from here on {' and '.join(new)} are followed",
                "recorded_to": format_lsn(state.lsn),
                "relations": ",".join(IDS),
            }
            start = Change(op=Op.START, relation="", row=told)
            await self._add(writer, at, ordinal, start)
            for relation in new:
                async for row in unrecorded(self._reader, relation):
                    was_there = Change(op=Op.SNAPSHOT, relation=relation, row=row)
                    await self._add(writer, at, ordinal + writer.count, was_there)
            after = await writer.end(lsn=state.lsn, committed_us=state.committed_us)
        self._state = after


def _is_new(begin: Begin, state: TrailState) -> bool:
    """Say whether a transaction is neither recorded yet nor in what was there at the beginning."""
    if begin.lsn <= state.lsn:
        return False
    return state.look is None or not state.look.shows(lsn=begin.lsn, xid=begin.xid)


async def _load(connection: Connection) -> TrailState:
    """Return the state of what is in the database."""
    last = await rows.last_entry(connection)
    if last is None:
        return TrailState(generation=0, slot="", lsn=0, committed_us=0, tree=Tree())
    size = last.sequence + 1
    leaf = await rows.first_leaf(connection, last.generation)
    first = None if leaf is None else decode_entry(leaf)
    slot = None if first is None else first.row.get("slot")
    message = f"the trail does not say by which slot its generation {last.generation} came"
    if first is None or slot is None:
        raise rows.BrokenLogError(message)
    try:
        look = look_of(first.row)
    except ValueError as error:
        raise rows.BrokenLogError(message) from error
    peaks = await rows.read_hashes(connection, Range(0, size).subtrees())
    return TrailState(
        generation=last.generation,
        slot=slot,
        lsn=last.lsn,
        committed_us=last.committed_us,
        tree=Tree(size, peaks),
        look=look,
    )


async def _check(connection: Connection, tree: Tree, size: int, root: bytes) -> None:
    """Refuse to go on from a trail that is not what its last checkpoint says.

    Raises:
        BrokenLogError: it is shorter or another.
    """
    if size > tree.size:
        message = f"a checkpoint tells of {size} entries, and the trail has {tree.size}; see `audit verify`"
        raise rows.BrokenLogError(message)
    if size:
        hashes = await rows.read_hashes(connection, Range(0, size).subtrees())
        if fold(hashes) != root:
            message = (
                f"the trail is not what its checkpoint of {size} entries says; see `audit verify`"
            )
            raise rows.BrokenLogError(message)
