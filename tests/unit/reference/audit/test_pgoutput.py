"""Goal: what PostgreSQL sends is read as it says it, and anything else is refused and nothing worse.

Method: messages written by a small writer of the protocol as its documentation has it, read back; then
cut, lengthened and changed at random. Real messages of a real server are in the integration tests.
"""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.audit.pgoutput import (
    Begin,
    Change,
    Commit,
    Decoder,
    MalformedMessageError,
)
from sentinel.reference.ledger.domain.audit.entry import Op, Row

COLUMNS = ("cohort", "id", "memo")
KEYS = ("cohort", "id")
BEGIN = b"B" + struct.pack("!QqI", 0x100, 1_000_000, 7)
COMMIT = b"C" + struct.pack("!bQQq", 0, 0x100, 0x130, 1_000_000)
ROWS = st.fixed_dictionaries(
    {name: st.none() | st.text(st.characters(exclude_categories=["Cs"])) for name in COLUMNS}
)


def relation(oid: int = 5, *, schema: str = "ledger", name: str = "entries") -> bytes:
    columns = b"".join(
        struct.pack("!b", int(column in KEYS))
        + f"{column}\0".encode()
        + struct.pack("!Ii", 25, -1)
        for column in COLUMNS
    )
    head = struct.pack("!I", oid) + f"{schema}\0{name}\0d".encode()
    return b"R" + head + struct.pack("!H", len(COLUMNS)) + columns


def values(row: Row) -> bytes:
    written = [struct.pack("!H", len(COLUMNS))]
    for column in COLUMNS:
        value = row.get(column, b"u")
        if value is None:
            written.append(b"n")
        elif isinstance(value, bytes):
            written.append(value)
        else:
            encoded = value.encode()
            written.append(b"t" + struct.pack("!I", len(encoded)) + encoded)
    return b"".join(written)


def insert(row: Row, oid: int = 5) -> bytes:
    return b"I" + struct.pack("!I", oid) + b"N" + values(row)


def update(row: Row, old: Row | None = None, kind: bytes = b"K") -> bytes:
    before = b"" if old is None else kind + values(old)
    return b"U" + struct.pack("!I", 5) + before + b"N" + values(row)


def delete(old: Row, kind: bytes = b"K") -> bytes:
    return b"D" + struct.pack("!I", 5) + kind + values(old)


ROW: Row = {"cohort": "1", "id": "a", "memo": None}
NEW: Row = {"cohort": "1", "id": "b", "memo": "x"}
TRANSACTION = [
    BEGIN,
    relation(),
    insert(ROW),
    update(NEW, ROW),
    delete(NEW),
    b"T" + struct.pack("!IbI", 1, 0, 5),
    COMMIT,
]


def read(messages: list[bytes]) -> list[Begin | Change | Commit]:
    decoder = Decoder("ledger")
    return [found for message in messages for found in decoder.decode(message)]


def test_a_transaction_is_read() -> None:
    assert read(TRANSACTION) == [
        Begin(lsn=0x100, committed_us=946_684_801_000_000, xid=7),
        Change(op=Op.INSERT, relation="entries", row=ROW),
        Change(op=Op.UPDATE, relation="entries", row=NEW, old={"cohort": "1", "id": "a"}),
        Change(op=Op.DELETE, relation="entries", row={}, old={"cohort": "1", "id": "b"}),
        Change(op=Op.TRUNCATE, relation="entries", row={}),
        Commit(lsn=0x100, end_lsn=0x130),
    ]


def test_the_whole_row_before_is_kept_where_it_is_sent() -> None:
    (changed,) = read([BEGIN, relation(), update(NEW, ROW, b"O")])[1:]
    assert isinstance(changed, Change)
    assert changed.old == ROW


def test_a_value_that_was_not_sent_is_not_there() -> None:
    (changed,) = read([BEGIN, relation(), update({"cohort": "1", "id": "b"})])[1:]
    assert isinstance(changed, Change)
    assert changed.row == {"cohort": "1", "id": "b"}


def test_what_only_describes_says_nothing() -> None:
    origin = b"O" + struct.pack("!q", 5) + b"elsewhere\0"
    kind = b"Y" + struct.pack("!I", 9) + b"public\0mood\0"
    assert len(read([BEGIN, origin, kind, relation()])) == 1


@given(rows=st.lists(ROWS, max_size=5))
def test_every_text_is_read_as_it_was_sent(rows: list[dict[str, str | None]]) -> None:
    found = read([BEGIN, relation(), *map(insert, rows), COMMIT])
    assert [one.row for one in found if isinstance(one, Change)] == rows


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([b""], "ends too early"),
        ([b"X"], "outside of a transaction"),
        ([BEGIN, b"X"], "does not know"),
        ([BEGIN, b"S" + bytes(5)], "does not know"),
        ([BEGIN, BEGIN], "within another"),
        ([COMMIT], "another transaction"),
        ([BEGIN, COMMIT.replace(b"\x00\x01\x00", b"\x00\x02\x00", 1)], "another transaction"),
        ([BEGIN + b"x"], "1 bytes too many"),
        ([BEGIN, insert(ROW)], "not before what that is"),
        ([relation()], "outside of a transaction"),
        ([BEGIN, relation(schema="public")], r"public\.entries"),
        ([BEGIN, relation(), insert({"id": "a"})], "left a value out"),
        ([BEGIN, relation(), b"I" + struct.pack("!I", 5) + b"K" + values(ROW)], "part 'K'"),
        ([BEGIN, relation(), b"D" + struct.pack("!I", 5) + b"N" + values(ROW)], "part 'N'"),
        ([BEGIN, relation(), b"I" + struct.pack("!I", 5) + b"N\x00\x01n"], "1 values"),
        ([BEGIN, relation(), insert(ROW).replace(b"n", b"b")], "not asked for"),
        ([BEGIN, relation(), insert(ROW)[:-1] + b"t\xff\xff\xff\xff"], "longer"),
        ([BEGIN, relation(), insert(NEW)[:-1] + b"\xff"], "no text"),
        ([BEGIN, b"T" + struct.pack("!Ib", 2**32 - 1, 0)], "fewer tables"),
        ([BEGIN, b"R" + struct.pack("!I", 1) + b"ledger"], "no end"),
        ([b"B" + struct.pack("!QqI", 1, -(2**62), 1)], "before 1970"),
    ],
)
def test_what_the_protocol_does_not_say_is_refused(messages: list[bytes], says: str) -> None:
    with pytest.raises(MalformedMessageError, match=says):
        read(messages)


@given(message=st.binary(max_size=100))
def test_no_bytes_do_more_than_be_refused(message: bytes) -> None:
    for before in ([], [BEGIN], [BEGIN, relation()]):
        known = read(before)
        try:
            found = read([*before, message])
        except MalformedMessageError as error:
            assert str(error)  # noqa: PT017 - it must say what is wrong
            continue
        # One message is one thing that happened, or, of a truncation, one a table.
        assert found[: len(known)] == known
        assert len(found) - len(known) <= max(1, len(message) // 4)


@given(data=st.data())
def test_a_message_that_was_cut_lengthened_or_changed_does_nothing_worse(
    data: st.DataObject,
) -> None:
    place = data.draw(st.integers(0, len(TRANSACTION) - 1))
    message = bytearray(TRANSACTION[place])
    what = data.draw(st.sampled_from(["cut", "more", "changed"]))
    if what == "cut":
        del message[data.draw(st.integers(0, len(message) - 1)) :]
    elif what == "more":
        message += data.draw(st.binary(min_size=1, max_size=5))
    else:
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    messages = [*TRANSACTION[:place], bytes(message), *TRANSACTION[place + 1 :]]
    if what == "changed":
        with suppress(MalformedMessageError):
            read(messages)
    else:
        with pytest.raises(MalformedMessageError):
            read(messages)
