"""The witness: signs a log's checkpoint only when it extends the last one that it signed.

It has a key of its own and a memory of its own, and belongs where whoever holds the log's key cannot
reach. What it answers is C2SP's tlog-witness. The memory is on disk before a signature leaves: a
witness that forgot what it signed could sign two histories.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.audit.keys import Signer, check_signature
from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.audit.merkle import EMPTY_ROOT, HASH_BYTES, is_consistent
from sentinel.reference.ledger.domain.audit.note import (
    MalformedNoteError,
    PublicKey,
    SignedCheckpoint,
    decode_base64,
    parse_checkpoint,
    signatures_of,
)

REQUEST_BYTES_MAX: Final = 64 * 1024
_PROOF_COUNT_MAX: Final = 63
_OLD: Final = "old "
_MARK: Final = "witness"


class Outcome(StrEnum):
    """What became of a request; the value is for counting."""

    SIGNED = "signed"
    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown_log"
    NOT_THE_LOGS = "not_the_logs"
    SMALLER = "smaller"
    # The caller does not know what was signed last; it is told and may ask again.
    STALE = "stale"
    INCONSISTENT = "inconsistent"


STATUS: Final = {
    Outcome.SIGNED: 200,
    Outcome.MALFORMED: 400,
    Outcome.UNKNOWN_LOG: 404,
    Outcome.NOT_THE_LOGS: 403,
    Outcome.SMALLER: 400,
    Outcome.STALE: 409,
    Outcome.INCONSISTENT: 422,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to sign: the checkpoint, from which size it was proven, and the proof."""

    note: SignedCheckpoint
    old_size: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered; `body` is the signature line, a size, or words."""

    outcome: Outcome
    body: str


class Memory:
    """The last checkpoint of each log, in a folder that one witness has to itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    @classmethod
    def create(cls, folder: Path) -> None:
        """Make an empty memory, once in a witness's life.

        Raises:
            LedgerError: there is one; a witness that forgets is none.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            (folder / _MARK).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            message = f"{folder} is a witness's memory already"
            raise LedgerError(message) from None
        _sync(folder)

    @classmethod
    def begin(cls, folder: Path) -> None:
        """Make an empty memory for a key that is about to be made, unless somebody made one and was stopped before the key.

        Raises:
            LedgerError: there is one, and something was signed by it.
        """
        if not cls(folder).is_empty:
            cls.create(folder)

    @property
    def is_empty(self) -> bool:
        """Whether it was made, and nothing was signed by it yet."""
        return self._folder.is_dir() and {one.name for one in self._folder.iterdir()} == {_MARK}

    def open(self) -> None:
        """Take the folder.

        Raises:
            UnreadableError: there is no memory in it.
            LedgerError: another witness has it.
        """
        try:
            self._lock = os.open(self._folder / _MARK, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            message = (
                f"{self._folder} is no witness's memory: a new witness begins with --init, and one "
                "that has lost its memory must have a new key"
            )
            raise UnreadableError(message) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            message = f"another witness has {self._folder}"
            raise LedgerError(message) from error

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def last(self, origin: str) -> SignedCheckpoint | None:
        """Return the checkpoint of this log that was signed last.

        Raises:
            MalformedNoteError: what is remembered is no checkpoint.
        """
        try:
            return parse_checkpoint(self._file(origin).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def keep(self, note: SignedCheckpoint) -> None:
        """Remember a checkpoint; it is on disk when this returns."""
        file = self._file(note.checkpoint.origin)
        draft = file.with_name(f"{file.name}.new")
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(str(note))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        _sync(self._folder)

    def _file(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.checkpoint"


class Witness:
    """Decides what to sign; one request after the other."""

    def __init__(self, *, signer: Signer, logs: Sequence[PublicKey], memory: Memory) -> None:
        self.public = signer.public
        self._signer = signer
        self._logs = {key.name: key for key in logs}
        self._memory = memory

    def last(self, origin: str) -> SignedCheckpoint | None:
        """Return the checkpoint of this log that was signed last, with the signature."""
        return self._memory.last(origin) if origin in self._logs else None

    @property
    def origins(self) -> list[str]:
        """The logs it signs for."""
        return sorted(self._logs)

    def answer(self, body: str, *, now_s: int) -> Answer:
        """Sign, or say why not.

        Args:
            body: a request as tlog-witness has it.
            now_s: Unix time of the signature.
        """
        try:
            asked = parse_request(body)
        except MalformedNoteError as error:
            return Answer(outcome=Outcome.MALFORMED, body=f"{error}\n")
        checkpoint = asked.note.checkpoint
        key = self._logs.get(checkpoint.origin)
        if key is None:
            return Answer(outcome=Outcome.UNKNOWN_LOG, body="no log of this name is known here\n")
        if not asked.note.signed_by(key, check_signature):
            return Answer(outcome=Outcome.NOT_THE_LOGS, body="the log's key did not sign it\n")
        if asked.old_size > checkpoint.size:
            return Answer(outcome=Outcome.SMALLER, body="the log is smaller than it was\n")
        last = self._memory.last(checkpoint.origin)
        size = last.checkpoint.size if last is not None else 0
        root = last.checkpoint.root if last is not None else EMPTY_ROOT
        if asked.old_size != size or (size == checkpoint.size and root != checkpoint.root):
            return Answer(outcome=Outcome.STALE, body=f"{size}\n")
        if not is_consistent(
            before=size,
            before_root=root,
            after=checkpoint.size,
            after_root=checkpoint.root,
            proof=asked.proof,
        ):
            return Answer(
                outcome=Outcome.INCONSISTENT, body="the log does not extend what was signed\n"
            )
        line = self._signer.sign_checkpoint(checkpoint, now_s)
        self._memory.keep(signatures_of(asked.note, [line]))
        return Answer(outcome=Outcome.SIGNED, body=str(line))


def write_request(asked: Asked) -> str:
    """Return the request's body."""
    proof = "".join(f"{base64.b64encode(one).decode()}\n" for one in asked.proof)
    return f"{_OLD}{asked.old_size}\n{proof}\n{asked.note}"


def parse_request(body: str) -> Asked:
    """Return what a request's body asks.

    Raises:
        MalformedNoteError: it is none.
    """
    head, separator, note = body.partition("\n\n")
    first, *lines = head.split("\n")
    number = first.removeprefix(_OLD)
    if (
        not separator
        or not first.startswith(_OLD)
        or not (number.isascii() and number.isdigit() and len(number) <= 16)
        or str(int(number)) != number
    ):
        message = "a request to sign does not begin with the size it was proven from"
        raise MalformedNoteError(message)
    if len(lines) > _PROOF_COUNT_MAX:
        message = f"a proof has more than {_PROOF_COUNT_MAX} hashes"
        raise MalformedNoteError(message)
    proof = tuple(decode_base64(line, what="a proof's hash") for line in lines)
    if any(len(one) != HASH_BYTES for one in proof):
        message = f"a proof's hash has {HASH_BYTES} bytes"
        raise MalformedNoteError(message)
    return Asked(note=parse_checkpoint(note), old_size=int(number), proof=proof)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
