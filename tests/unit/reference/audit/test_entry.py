"""Goal: an audit entry has one way to be written, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    MalformedEntryError,
    Op,
    decode_entry,
    encode_entry,
    format_lsn,
    parse_lsn,
    signed_bytes,
)

# Any text that PostgreSQL can hold: no zero byte, no half of a surrogate pair.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
ROWS = st.dictionaries(TEXTS, st.none() | TEXTS, max_size=4)
NUMBERS = st.integers(0, 2**53 - 1)
ENTRIES = st.builds(
    AuditEntry,
    sequence=NUMBERS,
    generation=NUMBERS,
    lsn=st.integers(0, 2**64 - 1),
    ordinal=NUMBERS,
    committed_us=NUMBERS,
    xid=NUMBERS,
    op=st.sampled_from(Op),
    relation=TEXTS,
    row=ROWS,
    old=st.none() | ROWS,
)
ONE = AuditEntry(
    sequence=7,
    generation=1,
    lsn=0x16B3748,
    ordinal=2,
    committed_us=1_700_000_000_000_000,
    xid=745,
    op=Op.INSERT,
    relation="entries",
    row={
        "tenant": "shop",
        "amount_minor": "-5",
        "memo": 'a\tb\u007f\u00e9 "\\/\u2028',
        "none": None,
    },
)


@given(entry=ENTRIES)
def test_what_is_written_is_read_again(entry: AuditEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(one=ENTRIES, other=ENTRIES)
def test_two_entries_have_two_texts(one: AuditEntry, other: AuditEntry) -> None:
    assert (one == other) == (encode_entry(one) == encode_entry(other))


def test_the_form_is_rfc_8785s() -> None:
    """Sorted names, no spaces, the short escapes, and everything else as it is."""
    written = encode_entry(ONE).decode()
    assert '"memo":"a\\tb\u007f\u00e9 \\"\\\\/\u2028","none":null' in written
    assert list(json.loads(written)) == sorted(json.loads(written))
    control = encode_entry(replace(ONE, row={"a": "\x01\b\f\n\r"})).decode()
    assert '"row":{"a":"\\u0001\\b\\f\\n\\r"}' in control


def altered(**values: Any) -> bytes:
    document = json.loads(encode_entry(ONE)) | values
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_an_entry_that_was_not_altered_is_read() -> None:
    assert decode_entry(altered()) == ONE


@pytest.mark.parametrize(
    ("leaf", "says"),
    [
        (b"", "no JSON"),
        (b"[]", "other names"),
        (b"{}", "other names"),
        (altered(extra=1), "other names"),
        (altered(v=2), "version 2"),
        (altered(v=True), "canonical"),
        (altered(sequence=-1), "values"),
        (altered(sequence=2**53), "values"),
        (altered(sequence=1.0), "values"),
        (altered(sequence=True), "values"),
        (altered(lsn="0/16b3748"), "values"),
        (altered(lsn="0/016B3748"), "values"),
        (altered(op="merge"), "values"),
        (altered(relation=None), "values"),
        (altered(row=None), "values"),
        (altered(row={"a": 1}), "values"),
        (altered(old=[]), "values"),
        (altered() + b"\n", "canonical"),
        (altered().replace(b'"xid":745', b'"xid": 745'), "canonical"),
        (altered().replace(b'"v":1', b'"v":1,"v":1'), "canonical"),
        (altered().replace(b'"shop"', b'"\\u0073hop"'), "canonical"),
    ],
)
def test_what_is_no_entry_or_written_otherwise_is_refused(leaf: bytes, says: str) -> None:
    with pytest.raises(MalformedEntryError, match=says):
        decode_entry(leaf)


@given(leaf=st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(leaf: bytes) -> None:
    with pytest.raises(MalformedEntryError):
        decode_entry(leaf)


def test_whose_row_it_is() -> None:
    assert ONE.tenant == "shop"
    assert replace(ONE, op=Op.DELETE, row={}, old={"tenant": "rival"}).tenant == "rival"
    assert replace(ONE, op=Op.GAP, row={"reason": "lost"}).tenant is None


def test_what_is_signed_is_of_one_log_and_one_purpose() -> None:
    signed = signed_bytes("log.example/a", b"leaf")
    assert signed != signed_bytes("log.example/b", b"leaf")
    assert signed != signed_bytes("log.example/a", b"another")
    # A note's text has no zero byte, so that the two kinds of signed bytes never meet.
    assert signed.startswith(b"\x00")


@given(lsn=st.integers(0, 2**64 - 1))
def test_a_place_in_the_write_ahead_log_is_written_as_postgresql_does(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn
