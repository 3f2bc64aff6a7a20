"""Goal: checkpoints and keys are C2SP's, so that other programs' notes are read here and ours there.

Method: the example of Go's own package of signed notes, made by another program; then everything that
is none is refused, with nothing of a private key in what is said.
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.audit.keys import (
    Signer,
    check_signature,
    new_key,
    read_public_key,
    read_signer,
    write_key,
)
from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.audit.note import (
    LOG_KIND,
    WITNESS_KIND,
    Checkpoint,
    MalformedNoteError,
    PublicKey,
    Signature,
    SignedCheckpoint,
    check_name,
    parse_checkpoint,
    parse_public_key,
    parse_signatures,
    signatures_of,
)

GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
CHECKPOINT = Checkpoint(origin="ledger.example/audit", size=20852163, root=bytes(range(32)))


def test_the_note_of_another_program_is_checked(tmp_path: Path) -> None:
    public = parse_public_key(GO_PUBLIC)
    (line,) = parse_signatures(GO_LINE)
    assert (line.name, line.key_id) == (public.name, public.key_id)
    assert check_signature(public.key, GO_TEXT.encode(), line.signature)
    assert not check_signature(public.key, GO_TEXT.encode() + b"\n", line.signature)
    file = tmp_path / "key"
    file.write_text(GO_PRIVATE)
    file.chmod(0o600)
    signer = read_signer(file, kind=LOG_KIND)
    assert str(signer.public) == GO_PUBLIC
    assert signer.sign(GO_TEXT.encode()) == line.signature


def signed() -> tuple[SignedCheckpoint, Signer, Signer]:
    log = Signer(new_key("ledger.example/audit"))
    witness = Signer(new_key("witness.example/w1", kind=WITNESS_KIND))
    lines = [one.sign_checkpoint(CHECKPOINT, 1_679_315_147) for one in (log, witness)]
    return SignedCheckpoint(checkpoint=CHECKPOINT, signatures=tuple(lines)), log, witness


def test_a_checkpoint_is_read_as_it_was_written_and_says_who_signed_it() -> None:
    note, log, witness = signed()
    read = parse_checkpoint(str(note))
    assert read == note
    assert str(note).startswith("ledger.example/audit\n20852163\n")
    for signer in (log, witness):
        assert read.signed_by(signer.public, check_signature)
    assert not read.signed_by(new_key("ledger.example/audit").public, check_signature)
    alone = SignedCheckpoint(checkpoint=CHECKPOINT, signatures=note.signatures[:1])
    assert not alone.signed_by(witness.public, check_signature)
    assert signatures_of(alone, note.signatures[1:]) == note


def test_a_signature_is_of_one_checkpoint_and_one_time() -> None:
    note, log, witness = signed()
    other = Checkpoint(origin=CHECKPOINT.origin, size=CHECKPOINT.size + 1, root=CHECKPOINT.root)
    moved = SignedCheckpoint(checkpoint=other, signatures=note.signatures)
    assert not moved.signed_by(log.public, check_signature)
    assert not moved.signed_by(witness.public, check_signature)
    encoded = base64.b64encode(note.signatures[1].key_id + note.signatures[1].signature).decode()
    late = note.signatures[1].signature[:7] + b"\x00" + note.signatures[1].signature[8:]
    relabelled = base64.b64encode(note.signatures[1].key_id + late).decode()
    changed = parse_checkpoint(str(note).replace(encoded, relabelled))
    assert changed.signed_by(log.public, check_signature)
    assert not changed.signed_by(witness.public, check_signature)


def test_the_same_key_signs_in_two_kinds_that_do_not_meet() -> None:
    """What somebody signed as a log is not what they sign as a witness, though the bytes of the key are the same."""
    log_key = new_key("same.example")
    as_witness = PublicKey(name="same.example", kind=WITNESS_KIND, key=log_key.public.key)
    line = Signer(log_key).sign_checkpoint(CHECKPOINT, 1)
    assert as_witness.key_id != log_key.public.key_id
    claimed = Signature(
        name="same.example", key_id=as_witness.key_id, signature=bytes(8) + line.signature
    )
    note = SignedCheckpoint(checkpoint=CHECKPOINT, signatures=(claimed,))
    assert not note.signed_by(as_witness, check_signature)


NOTE = str(signed()[0])


@pytest.mark.parametrize(
    ("note", "says"),
    [
        ("", "no signed note"),
        (CHECKPOINT.text, "no signed note"),
        (NOTE.replace("\n\n", "\n"), "no signed note"),
        (NOTE.replace("audit", "au\tdit"), "no signed note"),
        (NOTE[:-1], "newline"),
        (NOTE + "\n", "newline|no signature|lines"),
        (NOTE.replace("— ", "- "), "no signature"),
        (NOTE.replace("20852163", "020852163"), "other lines"),
        (NOTE.replace("20852163", "-1"), "other lines"),
        (NOTE.replace("20852163", "9" * 17), "other lines"),
        (NOTE.replace("20852163", "20852163\nextension"), "other lines"),
        (NOTE.replace("AAECAw", "AAECA"), "base64"),
        (NOTE.replace("ledger.example/audit\n", "a b\n"), "no name"),
        (f"{CHECKPOINT.text}\n" + "— a AAAA\n", "too short"),
        (f"{CHECKPOINT.text}\n" + "— a AAAAAAB=\n", "written as base64"),
        (f"{CHECKPOINT.text}\n" + "— a AAAAAAA=\n" * 17, "more than 16"),
        ("x" * 65_537, "larger"),
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str, says: str) -> None:
    with pytest.raises(MalformedNoteError, match=says):
        parse_checkpoint(note)


@given(text=st.text(max_size=300))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for parse in (parse_checkpoint, parse_signatures, parse_public_key):
        with pytest.raises(MalformedNoteError):
            parse(text)


@given(at=st.integers(0, len(NOTE) - 1), character=st.characters())
def test_a_note_with_one_character_changed_is_signed_by_nobody_or_no_note(
    at: int, character: str
) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed == NOTE:
        return
    original = parse_checkpoint(NOTE)
    try:
        read = parse_checkpoint(changed)
    except MalformedNoteError:
        return
    assert read != original


def test_a_key_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    key = new_key("ledger.example/audit")
    file = tmp_path / "log.key"
    write_key(key, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_signer(file, kind=LOG_KIND).public == key.public
    assert read_public_key(str(tmp_path / "log.key.pub"), kind=LOG_KIND) == key.public
    assert read_public_key(str(key.public), kind=LOG_KIND) == key.public
    with pytest.raises(LedgerError, match="never written over"):
        write_key(new_key("ledger.example/audit"), file)
    with pytest.raises(LedgerError, match="a log's key, and a witness's is needed"):
        read_signer(file, kind=WITNESS_KIND)
    file.chmod(0o640)
    with pytest.raises(LedgerError, match="others can read"):
        read_signer(file, kind=LOG_KIND)
    with pytest.raises(UnreadableError, match="absent"):
        read_public_key(str(tmp_path / "absent"), kind=LOG_KIND)


def test_nothing_that_is_shown_holds_a_private_key(tmp_path: Path) -> None:
    key = new_key("ledger.example/audit")
    # By its place: a plus may stand in the secret too, and at its end.
    secret = key.secret_text().split("+", 4)[4]
    assert secret not in repr(key)
    file = tmp_path / "log.key"
    for text in (key.secret_text()[:-4], key.secret_text().replace("audit", "other")):
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(MalformedNoteError) as caught:
            read_signer(file, kind=LOG_KIND)
        assert secret[:20] not in str(caught.value)
    with pytest.raises(MalformedNoteError) as caught:
        parse_public_key(key.secret_text())
    assert secret[:20] not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "ä", "x" * 101])
def test_a_name_that_a_note_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(MalformedNoteError, match="no name"):
        check_name(name)


@pytest.mark.parametrize(
    "text",
    [
        GO_PUBLIC.replace("c74f20a3", "c74f20a4"),
        GO_PUBLIC[:-4],
        GO_PUBLIC.replace("+AR", "+Ag"),
        GO_PUBLIC.replace("Peter", "Pe ter"),
        "a+b",
    ],
)
def test_a_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedNoteError):
        parse_public_key(text)
