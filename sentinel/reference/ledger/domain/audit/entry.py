"""What one audit entry says, and the bytes that stand for it: hashed into the tree, and signed.

The bytes are JSON in the canonical form of RFC 8785 (names sorted, no space, one way to write a text),
so that anybody can read them and nobody can write the same entry in two ways: what does not come out
the same when it is written again is refused. Values of a row are PostgreSQL's texts, or null; a value
that an update left alone and that the database did not send is not there at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from sentinel.reference.ledger.domain.audit.merkle import leaf_hash
from sentinel.reference.ledger.domain.errors import LedgerError

VERSION: Final = 1
# What JSON's readers agree on; the ledger's numbers are far below.
_NUMBER_MAX: Final = 2**53 - 1
_LSN: Final = re.compile(r"(0|[1-9A-F][0-9A-F]{0,7})/(0|[1-9A-F][0-9A-F]{0,7})")
_NAMES: Final = frozenset(
    {
        "committed_us",
        "generation",
        "lsn",
        "old",
        "op",
        "ordinal",
        "relation",
        "row",
        "sequence",
        "v",
        "xid",
    }
)
# A text begins with no zero byte, so that no signed checkpoint is ever a signed entry.
_PURPOSE: Final = b"\x00sentinel-ledger audit entry v1\x00"

Row = Mapping[str, str | None]


class MalformedEntryError(LedgerError):
    """Bytes that stand for no audit entry, or not in the one way they may be written."""


class Op(StrEnum):
    """What happened: to a row, to a table, or to the audit itself."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    # A row that was there before a generation began, as it was then.
    SNAPSHOT = "snapshot"
    START = "start"
    GAP = "gap"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change.

    Attributes:
        sequence: its place in the log, from 0.
        generation: which replication slot it came through, from 1.
        lsn: where the write-ahead log has its commit, as an integer.
        ordinal: its place in that transaction, from 0.
        committed_us: Unix time of the commit, in microseconds.
        xid: the transaction's number in its server; 0 for what is in no transaction.
        relation: the table, without schema; empty for `start` and `gap`.
        row: the row as it is after the change, empty when it is gone; of `start` and `gap` what is to be told.
        old: what identified the row before, when the change changed that or removed the row; of a disbursement
            the whole row before.
    """

    sequence: int
    generation: int
    lsn: int
    ordinal: int
    committed_us: int
    xid: int
    op: Op
    relation: str
    row: Row
    old: Row | None = None

    @property
    def tenant(self) -> str | None:
        """Whose row it is; None when the entry is of no tenant."""
        return self.row.get("tenant") or (self.old or {}).get("tenant")


def encode_entry(entry: AuditEntry) -> bytes:
    """Return the canonical bytes.

    >>> start = AuditEntry(sequence=0, generation=1, lsn=26, ordinal=0, committed_us=5, xid=0, op=Op.START, relation="", row={"slot": "s"})
    >>> encode_entry(start).decode()
    '{"committed_us":5,"generation":1,"lsn":"0/1A","old":null,"op":"start","ordinal":0,"relation":"","row":{"slot":"s"},"sequence":0,"v":1,"xid":0}'
    """
    return orjson.dumps(
        {
            "v": VERSION,
            "sequence": entry.sequence,
            "generation": entry.generation,
            "lsn": format_lsn(entry.lsn),
            "ordinal": entry.ordinal,
            "committed_us": entry.committed_us,
            "xid": entry.xid,
            "op": entry.op.value,
            "relation": entry.relation,
            "row": entry.row,
            "old": entry.old,
        },
        option=orjson.OPT_SORT_KEYS,
    )


def decode_entry(leaf: bytes) -> AuditEntry:
    """Return what canonical bytes say.

    Raises:
        MalformedEntryError: they are of another version, say something else, or could be written otherwise.
    """
    try:
        document = orjson.loads(leaf)
    except orjson.JSONDecodeError as error:
        message = "an audit entry is no JSON"
        raise MalformedEntryError(message) from error
    if not isinstance(document, dict) or document.keys() != _NAMES:
        message = "an audit entry has other names than it must"
        raise MalformedEntryError(message)
    if document["v"] != VERSION:
        message = f"an audit entry is of version {document['v']!r}; this is for {VERSION}"
        raise MalformedEntryError(message)
    try:
        entry = _entry(document)
        # Also what a reader would shrug off: names that come twice, an escape that need not be one.
        same = encode_entry(entry) == leaf
    except (ValueError, TypeError) as error:
        message = "an audit entry's values are none that it may have"
        raise MalformedEntryError(message) from error
    if not same:
        message = "an audit entry is not in its canonical form"
        raise MalformedEntryError(message)
    return entry


def signed_bytes(origin: str, leaf: bytes) -> bytes:
    """Return what is signed for an entry of the log `origin`: its hash, and for what it is signed."""
    return _PURPOSE + origin.encode() + b"\x00" + leaf_hash(leaf)


def format_lsn(lsn: int) -> str:
    """Return a place in the write-ahead log as PostgreSQL writes it.

    >>> format_lsn(2**32 + 255)
    '1/FF'
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Return a place in the write-ahead log as an integer.

    Raises:
        ValueError: it is not written as PostgreSQL writes it.
    """
    found = _LSN.fullmatch(text)
    if found is None:
        message = f"{text!r} is no place in a write-ahead log"
        raise ValueError(message)
    return int(found[1], 16) << 32 | int(found[2], 16)


def _entry(document: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        sequence=_number(document["sequence"]),
        generation=_number(document["generation"]),
        lsn=parse_lsn(document["lsn"]),
        ordinal=_number(document["ordinal"]),
        committed_us=_number(document["committed_us"]),
        xid=_number(document["xid"]),
        op=Op(document["op"]),
        relation=_text(document["relation"]),
        row=_row(document["row"]),
        old=None if document["old"] is None else _row(document["old"]),
    )


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
        message = f"{value!r} is no number of an audit entry"
        raise ValueError(message)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = "a text was expected"
        raise TypeError(message)
    return value


def _row(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not all(
        one is None or isinstance(one, str) for one in value.values()
    ):
        message = "a row of texts was expected"
        raise TypeError(message)
    return value
