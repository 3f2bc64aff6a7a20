"""Goal: a witness signs a log's checkpoint only if it extends the last one that it signed, and never forgets that.

Method: requests as C2SP's tlog-witness has them, over a log that grows, shrinks and forks; the memory is
a folder of the test's own.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.audit.keys import Signer, check_signature, new_key
from sentinel.reference.ledger.audit.witness import (
    STATUS,
    Answer,
    Asked,
    Memory,
    Outcome,
    Witness,
    parse_request,
    write_request,
)
from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.audit.merkle import (
    complete,
    consistency_parts,
    hashes_of,
    leaf_hash,
)
from sentinel.reference.ledger.domain.audit.note import (
    MalformedNoteError,
    SignedCheckpoint,
    parse_signatures,
    signatures_of,
)
from tests.support.audit_log import Keys, entry_at

KEYS = Keys()
RECORDS = KEYS.records(30)
FORKED = [*RECORDS[:10], *(KEYS.record(entry_at(place, memo="x")) for place in range(10, 30))]
NOW_S = 1_700_000_000


def asked(size: int, old_size: int, *, forked: bool = False) -> Asked:
    records = FORKED if forked else RECORDS
    proof = hashes_of(
        consistency_parts(old_size, size) if old_size <= size else [],
        lambda subtrees: [
            complete([leaf_hash(one.leaf) for one in records[part.start : part.end]])
            for part in subtrees
        ],
    )
    note = KEYS.checkpoint(records[:size], witnessed=False)
    return Asked(note=note, old_size=old_size, proof=tuple(proof))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    Memory.create(tmp_path / "memory")
    memory = Memory(tmp_path / "memory")
    memory.open()
    return memory


def witness_of(memory: Memory) -> Witness:
    return Witness(signer=KEYS.witness, logs=[KEYS.log.public], memory=memory)


def ask(witness: Witness, request: Asked) -> Answer:
    return witness.answer(write_request(request), now_s=NOW_S)


def test_what_extends_is_signed_and_remembered(memory: Memory) -> None:
    witness = witness_of(memory)
    for size, old_size in ((7, 0), (7, 7), (20, 7), (30, 20)):
        request = asked(size, old_size)
        answer = ask(witness, request)
        assert answer.outcome is Outcome.SIGNED
        signed = signatures_of(request.note, parse_signatures(answer.body))
        assert signed.signed_by(KEYS.witness.public, check_signature)
        last = witness.last(request.note.checkpoint.origin)
        assert last is not None
        assert last.checkpoint == request.note.checkpoint
        assert last.signed_by(KEYS.witness.public, check_signature)


@pytest.mark.parametrize(
    ("request_", "outcome", "says"),
    [
        (asked(25, 0), Outcome.STALE, "20\n"),
        (asked(25, 19), Outcome.STALE, "20\n"),
        (asked(19, 20), Outcome.SMALLER, "smaller"),
        (asked(25, 20, forked=True), Outcome.INCONSISTENT, "does not extend"),
        (asked(20, 20, forked=True), Outcome.STALE, "20\n"),
        (Asked(note=asked(25, 0).note, old_size=20, proof=()), Outcome.INCONSISTENT, "extend"),
    ],
)
def test_what_does_not_extend_is_refused_and_nothing_is_remembered_of_it(
    memory: Memory, request_: Asked, outcome: Outcome, says: str
) -> None:
    witness = witness_of(memory)
    assert ask(witness, asked(20, 0)).outcome is Outcome.SIGNED
    answer = ask(witness, request_)
    assert answer.outcome is outcome
    assert says in answer.body
    last = witness.last(request_.note.checkpoint.origin)
    assert last is not None
    assert last.checkpoint.size == 20
    assert ask(witness, asked(30, 20)).outcome is Outcome.SIGNED


def test_whose_checkpoint_it_is_is_seen_to(memory: Memory) -> None:
    witness = witness_of(memory)
    stranger = Keys(log=Signer(new_key(KEYS.log.public.name)))
    note = stranger.checkpoint(RECORDS[:5], witnessed=False)
    request = Asked(note=note, old_size=0, proof=())
    assert ask(witness, request).outcome is Outcome.NOT_THE_LOGS
    other = Asked(
        note=KEYS.checkpoint(RECORDS[:5], witnessed=False, origin="other"), old_size=0, proof=()
    )
    assert ask(witness, other).outcome is Outcome.UNKNOWN_LOG
    assert witness.answer("?", now_s=NOW_S).outcome is Outcome.MALFORMED
    assert witness.last("other") is None
    assert {STATUS[one] for one in Outcome} == {200, 400, 403, 404, 409, 422}


def test_what_was_signed_is_remembered_over_a_restart(memory: Memory, tmp_path: Path) -> None:
    assert ask(witness_of(memory), asked(20, 0)).outcome is Outcome.SIGNED
    with pytest.raises(LedgerError, match="another witness has"):
        Memory(tmp_path / "memory").open()
    memory.close()
    again = Memory(tmp_path / "memory")
    again.open()
    assert ask(witness_of(again), asked(25, 0, forked=True)).outcome is Outcome.STALE
    files = list((tmp_path / "memory").iterdir())
    assert stat.S_IMODE((tmp_path / "memory").stat().st_mode) == 0o700
    assert not [file for file in files if file.name.endswith(".new")]


def test_a_witness_without_its_memory_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="must have a new key"):
        Memory(tmp_path / "memory").open()
    Memory.create(tmp_path / "memory")
    with pytest.raises(LedgerError, match="already"):
        Memory.create(tmp_path / "memory")


def test_a_memory_that_holds_no_checkpoint_signs_nothing(memory: Memory, tmp_path: Path) -> None:
    witness = witness_of(memory)
    assert ask(witness, asked(20, 0)).outcome is Outcome.SIGNED
    (file,) = (tmp_path / "memory").glob("*.checkpoint")
    file.write_text("nothing")
    with pytest.raises(MalformedNoteError):
        ask(witness, asked(25, 20))


def test_a_request_is_read_as_it_was_written() -> None:
    for request in (asked(7, 0), asked(20, 7), asked(20, 20)):
        assert parse_request(write_request(request)) == request


REQUEST = write_request(asked(20, 7))


@pytest.mark.parametrize(
    "body",
    [
        "",
        REQUEST.replace("old 7", "old 07"),
        REQUEST.replace("old 7", "old -7"),
        REQUEST.replace("old 7", "old \u0667"),
        REQUEST.replace("old 7", "new 7"),
        REQUEST.replace("old 7\n", "old 7\nAAAA\n"),
        REQUEST.replace("old 7\n", "old 7\n" + "A" * 43 + "=\n" * 1 + ("A" * 43 + "=\n") * 63),
        REQUEST.replace("\n\n", "\n"),
    ],
)
def test_what_is_no_request_is_refused(body: str) -> None:
    with pytest.raises(MalformedNoteError):
        parse_request(body)


@given(at=st.integers(0, len(REQUEST) - 1), character=st.characters())
def test_a_request_with_one_character_changed_is_never_signed(at: int, character: str) -> None:
    changed = REQUEST[:at] + character + REQUEST[at + 1 :]
    if changed == REQUEST:
        return
    try:
        read = parse_request(changed)
    except MalformedNoteError:
        return
    assert isinstance(read.note, SignedCheckpoint)
    assert read != parse_request(REQUEST)
