"""Messages of PostgreSQL's `pgoutput`, protocol version 1, read strictly.

A message that is not exactly what the protocol says (another kind, a byte too few or too many, a
relation nobody told of, a change outside of a transaction) is refused: a trail that guesses is none.
Values stay PostgreSQL's own texts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.entry import Op, Row

PROTOCOL_VERSION: Final = 1
# PostgreSQL counts microseconds from 2000.
_EPOCH_US: Final = 946_684_800_000_000
_KEY_COLUMN: Final = 1


class MalformedMessageError(LedgerError):
    """A message that the protocol does not know, or not in this place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The beginning of a transaction that has committed.

    Attributes:
        lsn: where its commit is in the write-ahead log.
        committed_us: Unix time of the commit, in microseconds.
        xid: its number.
    """

    lsn: int
    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a transaction; what `row` and `old` hold is said at AuditEntry."""

    op: Op
    relation: str
    row: Row
    old: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The end of a transaction; the next one's commit is at or behind `end_lsn`."""

    lsn: int
    end_lsn: int


@dataclass(frozen=True, slots=True)
class _Relation:
    """A table as the messages speak of it: its name, its columns, and which of them identify a row."""

    name: str
    columns: tuple[str, ...]
    keys: frozenset[str]


class Decoder:
    """Reads one session's messages in their order."""

    def __init__(self, schema: str) -> None:
        """Read changes of one schema's tables.

        Args:
            schema: whose tables are looked after; another's is refused.
        """
        self._schema = schema
        self._relations: dict[int, _Relation] = {}
        self._open: Begin | None = None

    def decode(self, data: bytes) -> list[Begin | Change | Commit]:
        """Return what a message says: nothing of those that only describe, several of a truncation.

        Raises:
            MalformedMessageError: it is none that may come here.
        """
        reader = _Reader(data)
        try:
            found = self._decode(reader)
        except (struct.error, UnicodeDecodeError) as error:
            message = "a message of pgoutput ends too early, or is no text where it should be"
            raise MalformedMessageError(message) from error
        reader.end()
        return found

    def _decode(self, reader: _Reader) -> list[Begin | Change | Commit]:
        kind = reader.letter()
        if kind == "B":
            return [self._begin(reader)]
        if kind == "C":
            return [self._commit(reader)]
        if self._open is None:
            message = f"a message {kind!r} of pgoutput is outside of a transaction"
            raise MalformedMessageError(message)
        if kind == "R":
            self._relation(reader)
            return []
        if kind in "OY":
            # Where a change came from, and a type's name: nothing of the row.
            reader.skip("q" if kind == "O" else "I")
            for _ in range(1 if kind == "O" else 2):
                reader.text()
            return []
        if kind == "T":
            return self._truncate(reader)
        if kind in "IUD":
            return [self._change(kind, reader)]
        message = f"pgoutput sent a message {kind!r}, which this does not know"
        raise MalformedMessageError(message)

    def _begin(self, reader: _Reader) -> Begin:
        if self._open is not None:
            message = "a transaction of pgoutput begins within another"
            raise MalformedMessageError(message)
        lsn, committed, xid = reader.take("QqI")
        self._open = Begin(lsn=lsn, committed_us=committed + _EPOCH_US, xid=xid)
        if self._open.committed_us < 0:
            message = "a transaction of pgoutput was committed before 1970"
            raise MalformedMessageError(message)
        return self._open

    def _commit(self, reader: _Reader) -> Commit:
        _, lsn, end_lsn, _ = reader.take("bQQq")
        if self._open is None or self._open.lsn != lsn or end_lsn <= lsn:
            message = "a commit of pgoutput ends another transaction than the one that began"
            raise MalformedMessageError(message)
        self._open = None
        return Commit(lsn=lsn, end_lsn=end_lsn)

    def _relation(self, reader: _Reader) -> None:
        (oid,) = reader.take("I")
        schema, name = reader.text(), reader.text()
        reader.skip("b")
        (count,) = reader.take("H")
        columns, keys = [], set()
        for _ in range(count):
            (flags,) = reader.take("b")
            column = reader.text()
            reader.skip("Ii")
            columns.append(column)
            if flags & _KEY_COLUMN:
                keys.add(column)
        if schema != self._schema or len(set(columns)) != count:
            message = f"pgoutput told of a table {schema}.{name}, which is not looked after here"
            raise MalformedMessageError(message)
        self._relations[oid] = _Relation(name, tuple(columns), frozenset(keys))

    def _change(self, kind: str, reader: _Reader) -> Change:
        relation = self._known(*reader.take("I"))
        part = reader.letter()
        old = None
        if kind != "I" and part in "KO":
            old = reader.row(relation.columns)
            if part == "K":
                # The other columns are sent as nulls, which they need not be.
                old = {name: value for name, value in old.items() if name in relation.keys}
            if kind == "D":
                return Change(op=Op.DELETE, relation=relation.name, row={}, old=old)
            part = reader.letter()
        if kind == "D" or part != "N":
            message = f"a change of pgoutput has a part {part!r} where it should have another"
            raise MalformedMessageError(message)
        op = Op.INSERT if kind == "I" else Op.UPDATE
        row = reader.row(relation.columns)
        if op is Op.INSERT and len(row) != len(relation.columns):
            message = "pgoutput told of an insert and left a value out"
            raise MalformedMessageError(message)
        return Change(op=op, relation=relation.name, row=row, old=old)

    def _truncate(self, reader: _Reader) -> list[Begin | Change | Commit]:
        count, _ = reader.take("Ib")
        relations = [self._known(*reader.take("I")) for _ in range(min(count, len(reader)))]
        if len(relations) != count:
            message = "a truncation of pgoutput names fewer tables than it says"
            raise MalformedMessageError(message)
        return [Change(op=Op.TRUNCATE, relation=relation.name, row={}) for relation in relations]

    def _known(self, oid: int) -> _Relation:
        relation = self._relations.get(oid)
        if relation is None:
            message = f"pgoutput told of a change of table {oid}, and not before what that is"
            raise MalformedMessageError(message)
        return relation


class _Reader:
    """Takes a message apart, from its beginning to its very end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __len__(self) -> int:
        """Bytes that are left."""
        return len(self._data) - self._at

    def take(self, form: str) -> tuple[int, ...]:
        """Return numbers in network order, as `struct` names them."""
        layout = struct.Struct(f"!{form}")
        values = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return values

    def skip(self, form: str) -> None:
        """Pass over numbers."""
        self.take(form)

    def letter(self) -> str:
        """Return one byte as a character."""
        (byte,) = self.take("B")
        return chr(byte)

    def text(self) -> str:
        """Return a text that a zero byte ends."""
        end = self._data.find(b"\x00", self._at)
        if end < 0:
            message = "a text of pgoutput has no end"
            raise MalformedMessageError(message)
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def row(self, columns: tuple[str, ...]) -> dict[str, str | None]:
        """Return a row's values by column, without those that were not sent."""
        (count,) = self.take("H")
        if count != len(columns):
            message = f"a row of pgoutput has {count} values, its table {len(columns)} columns"
            raise MalformedMessageError(message)
        row: dict[str, str | None] = {}
        for column in columns:
            kind = self.letter()
            if kind == "n":
                row[column] = None
            elif kind == "t":
                row[column] = self._value()
            elif kind != "u":
                message = f"a value of pgoutput is of the kind {kind!r}, which was not asked for"
                raise MalformedMessageError(message)
        return row

    def end(self) -> None:
        """Refuse what is left over."""
        if len(self):
            message = f"a message of pgoutput has {len(self)} bytes too many"
            raise MalformedMessageError(message)

    def _value(self) -> str:
        (length,) = self.take("I")
        if length > len(self):
            message = "a value of pgoutput is longer than its message"
            raise MalformedMessageError(message)
        value = self._data[self._at : self._at + length].decode()
        self._at += length
        return value
