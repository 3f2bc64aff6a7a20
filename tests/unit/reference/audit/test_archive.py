"""Goal: an exported file is read as it was written, and a file that is none does no more than be refused."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.reference.ledger.audit import archive
from sentinel.reference.ledger.audit.archive import (
    Head,
    MalformedArchiveError,
    read_beside,
    read_entries,
    read_head,
    read_notes,
)
from sentinel.reference.ledger.audit.verify import Keys as PublicKeys
from sentinel.reference.ledger.audit.verify import verify_file
from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from tests.support.audit_log import ORIGIN, Keys

KEYS = Keys()
RECORDS = KEYS.records(6)
NOTES = [KEYS.checkpoint(RECORDS[:size]) for size in (3, 6)]
PUBLIC = PublicKeys(log=KEYS.log.public, witness=KEYS.witness.public)


def exported() -> bytes:
    out = io.BytesIO()
    writer = archive.Writer(out, Head(origin=ORIGIN, end=6))
    for record in RECORDS:
        writer.entry(record)
    for note in NOTES:
        writer.checkpoint(str(note))
    writer.end()
    return out.getvalue()


WHOLE = exported()


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "export"
    file.write_bytes(WHOLE)
    assert read_head(file) == Head(origin=ORIGIN, end=6)
    assert [line.record for line in read_entries(file)] == RECORDS
    assert read_beside(file).checkpoints == NOTES
    assert verify_file(file, PUBLIC).whole
    assert read_notes(file) == NOTES


def test_an_extract_has_proofs(tmp_path: Path) -> None:
    file = tmp_path / "extract"
    head = Head(origin=ORIGIN, extract=True, tenant="shop", first=1, end=2, from_us=5, to_us=None)
    with file.open("wb") as out:
        writer = archive.Writer(out, head)
        writer.entry(RECORDS[1], [b"a" * 32])
        writer.consistency(3, [b"b" * 32])
        writer.end()
    assert read_head(file) == head
    (line,) = read_entries(file)
    assert line.proof == (b"a" * 32,)
    assert read_beside(file).proofs == {3: (b"b" * 32,)}


def test_notes_are_kept_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("".join(map(str, NOTES)))
    assert read_notes(file) == NOTES
    file.write_text("\n".join(map(str, NOTES)))
    assert read_notes(file) == NOTES
    file.write_bytes(b"\xff")
    with pytest.raises(LedgerError, match="no checkpoint"):
        read_notes(file)
    with pytest.raises(UnreadableError):
        read_notes(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no exported audit"),
        (b"{}", "line 1"),
        (b"[1]\n", "line 1"),
        (b'{"entry": {}}\n', "no exported audit"),
        (WHOLE.replace(b'"version":1', b'"version":2'), "version 2"),
        (WHOLE.replace(b'"extract":false', b'"extract":0'), "line 1"),
        (WHOLE.replace(b'"end":6', b'"end":-6'), "line 1"),
        (WHOLE[:-5], "line 10"),
        (WHOLE.replace(b'{"end"', b'{"fin"'), "line 10"),
        (WHOLE[: WHOLE.rindex(b'{"end"')], "cut off"),
        (WHOLE + b'{"entry": {}}\n', "after the end"),
        (WHOLE.replace(b'"place":2', b'"place":-2'), "line 4"),
        (WHOLE.replace(b'"signature"', b'"sign"'), "line 2"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "export"
    file.write_bytes(text)
    with pytest.raises(MalformedArchiveError, match=says):
        verify_file(file, PUBLIC)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LINE_BYTES_MAX", 100)
    file = tmp_path / "export"
    file.write_bytes(b"x" * 200)
    with pytest.raises(MalformedArchiveError, match="longer than 100"):
        read_head(file)


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_a_file_with_one_byte_changed_is_not_whole_or_says_the_same(
    tmp_path: Path, at: int, byte: int
) -> None:
    """Whatever byte it is: of an entry, a signature, a checkpoint, or of what is around them."""
    file = tmp_path / "export"
    file.write_bytes(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
    with suppress(LedgerError):
        report = verify_file(file, PUBLIC)
        if report.whole:
            assert [line.record for line in read_entries(file)] == RECORDS
            assert report.witnessed_size == 6
