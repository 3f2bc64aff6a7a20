"""Signed notes and checkpoints, in the forms of C2SP (signed-note, tlog-checkpoint, tlog-cosignature).

A checkpoint says how large a log is and which root it has: three lines of text, an empty line, and a
signature a line. The log signs the text; a witness signs it together with a time, which makes another
kind of signature. No key is here: signing and checking are functions that the caller brings.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.audit.merkle import HASH_BYTES
from sentinel.reference.ledger.domain.errors import LedgerError

NOTE_BYTES_MAX: Final = 64 * 1024
SIGNATURES_COUNT_MAX: Final = 16
KEY_BYTES: Final = 32
LOG_KIND: Final = 1
WITNESS_KIND: Final = 4
_KINDS: Final = {LOG_KIND: "log", WITNESS_KIND: "witness"}
_SIGNATURE_BYTES: Final = 64
_PRIVATE: Final = "PRIVATE+KEY+"
_NAME: Final = re.compile(r"[A-Za-z0-9._/-]{1,100}")
_LINE: Final = re.compile(r"— ([^ +]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class MalformedNoteError(LedgerError):
    """A text that is no signed note, checkpoint or key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key to check with: whose it is, and for which kind of signature."""

    name: str
    kind: int
    key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return _key_id(self.name, self.kind, self.key)

    def __str__(self) -> str:
        """The key as a note's verifier is told of it."""
        encoded = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A seed to sign with; its text form goes into a file that its owner alone can read."""

    public: PublicKey
    seed: bytes

    def __repr__(self) -> str:
        """Nothing that is secret, wherever it may be shown."""
        return f"PrivateKey({self.public})"

    def secret_text(self) -> str:
        """The key as a note's signer is told of it."""
        public = self.public
        encoded = base64.b64encode(bytes([public.kind]) + self.seed).decode()
        return f"{_PRIVATE}{public.name}+{public.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature line: who says to have signed, with which key, and the bytes of the signature."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How large the log `origin` is and which root it has."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint and whoever signed it, or says so."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.checkpoint.text}\n{''.join(map(str, self.signatures))}"

    def signed_by(self, key: PublicKey, check: Callable[[bytes, bytes, bytes], bool]) -> bool:
        """Say whether the key's holder signed it.

        Args:
            key: whose signature is asked for.
            check: key, message and signature in, whether they fit out.
        """
        for line in self.signatures:
            if (line.name, line.key_id) == (key.name, key.key_id):
                return _fits(key, self.checkpoint, line.signature, check)
        return False


def check_name(name: str) -> str:
    """Return a log's or witness's name, as a note can hold it.

    Raises:
        MalformedNoteError: it has other characters than letters, digits, dots, dashes and slashes, or too many.
    """
    if not _NAME.fullmatch(name):
        message = (
            f"{name!r} is no name of a key: 1 to 100 letters, digits, dots, dashes and slashes"
        )
        raise MalformedNoteError(message)
    return name


def parse_public_key(text: str) -> PublicKey:
    """Return a key of its text form, `name+id+base64`.

    Raises:
        MalformedNoteError: it is no such key, or not of a kind that is known here.
    """
    name, key_id, kind, key = _parse_key(text.strip())
    public = PublicKey(name=name, kind=kind, key=key)
    if public.key_id.hex() != key_id:
        message = "a public key's id is not that of its name and bytes"
        raise MalformedNoteError(message)
    return public


def parse_private_key(text: str, derive: Callable[[bytes], bytes]) -> PrivateKey:
    """Return a key of its text form; no message shows any of it.

    Args:
        text: `PRIVATE+KEY+name+id+base64`.
        derive: the seed in, the public key out.

    Raises:
        MalformedNoteError: it is no such key, or not of a kind that is known here.
    """
    text = text.strip()
    if not text.startswith(_PRIVATE):
        message = "what was to be a private key does not begin as one"
        raise MalformedNoteError(message)
    name, key_id, kind, seed = _parse_key(text.removeprefix(_PRIVATE))
    public = PublicKey(name=name, kind=kind, key=derive(seed))
    if public.key_id.hex() != key_id:
        message = "a private key's id is not that of its name and bytes"
        raise MalformedNoteError(message)
    return PrivateKey(public=public, seed=seed)


def log_message(checkpoint: Checkpoint) -> bytes:
    """Return what a log signs."""
    return checkpoint.text.encode()


def witness_message(checkpoint: Checkpoint, unix_s: int) -> bytes:
    """Return what a witness signs at a time."""
    return f"cosignature/v1\ntime {unix_s}\n{checkpoint.text}".encode()


def witness_signature(unix_s: int, signature: bytes) -> bytes:
    """Return a witness's signature line's bytes: the time it signed at, and the signature."""
    return unix_s.to_bytes(8, "big") + signature


def parse_checkpoint(note: str) -> SignedCheckpoint:
    """Return a signed checkpoint of its text; whose signatures hold is not looked at.

    Raises:
        MalformedNoteError: it is no signed note, or what is signed is no checkpoint.
    """
    if len(note.encode("utf-8", "replace")) > NOTE_BYTES_MAX:
        message = f"a checkpoint is larger than {NOTE_BYTES_MAX} bytes"
        raise MalformedNoteError(message)
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or any(ord(character) < 32 and character != "\n" for character in note):
        message = "a checkpoint is no signed note"
        raise MalformedNoteError(message)
    return SignedCheckpoint(
        checkpoint=_parse_text(f"{text}\n"), signatures=tuple(parse_signatures(signatures))
    )


def parse_signatures(lines: str) -> list[Signature]:
    """Return the signatures of a note's last lines, each of which ends in a newline.

    Raises:
        MalformedNoteError: a line is no signature, or there are none or too many.
    """
    if not lines.endswith("\n"):
        message = "a note's signatures do not end in a newline"
        raise MalformedNoteError(message)
    given = lines[:-1].split("\n")
    if len(given) > SIGNATURES_COUNT_MAX:
        message = f"a note has more than {SIGNATURES_COUNT_MAX} signatures"
        raise MalformedNoteError(message)
    return [_parse_signature(line) for line in given]


def decode_base64(text: str, *, what: str) -> bytes:
    """Return the bytes of a text in the one base64 that stands for them.

    Raises:
        MalformedNoteError: it is no base64, or another text stands for the same bytes.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"{what} is no base64"
        raise MalformedNoteError(message) from error
    if base64.b64encode(decoded).decode() != text:
        message = f"{what} is not written as base64 is"
        raise MalformedNoteError(message)
    return decoded


def _parse_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _SIZE.fullmatch(lines[1]):
        message = "a checkpoint has other lines than origin, size and root"
        raise MalformedNoteError(message)
    root = decode_base64(lines[2], what="a checkpoint's root")
    if len(root) != HASH_BYTES:
        message = f"a checkpoint's root has {len(root)} bytes, not {HASH_BYTES}"
        raise MalformedNoteError(message)
    return Checkpoint(origin=check_name(lines[0]), size=int(lines[1]), root=root)


def _parse_signature(line: str) -> Signature:
    found = _LINE.fullmatch(line)
    if found is None:
        message = "a line below a checkpoint is no signature"
        raise MalformedNoteError(message)
    decoded = decode_base64(found[2], what="a checkpoint's signature")
    if len(decoded) < 5:
        message = "a checkpoint's signature is too short"
        raise MalformedNoteError(message)
    return Signature(name=found[1], key_id=decoded[:4], signature=decoded[4:])


def _fits(
    key: PublicKey,
    checkpoint: Checkpoint,
    signature: bytes,
    check: Callable[[bytes, bytes, bytes], bool],
) -> bool:
    if key.kind == LOG_KIND:
        return len(signature) == _SIGNATURE_BYTES and check(
            key.key, log_message(checkpoint), signature
        )
    if len(signature) != 8 + _SIGNATURE_BYTES:
        return False
    unix_s = int.from_bytes(signature[:8], "big")
    return check(key.key, witness_message(checkpoint, unix_s), signature[8:])


def _parse_key(text: str) -> tuple[str, str, int, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        decoded = decode_base64(encoded, what="a key")
        check_name(name)
    except MalformedNoteError as error:
        # Not the text: it may be a private key that was put in the wrong place.
        message = "what was to be a key is not name+id+base64"
        raise MalformedNoteError(message) from error
    if len(decoded) != 1 + KEY_BYTES or decoded[0] not in _KINDS:
        message = "a key is not of Ed25519 for a log or a witness"
        raise MalformedNoteError(message)
    return name, key_id, decoded[0], decoded[1:]


def _key_id(name: str, kind: int, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def signatures_of(note: SignedCheckpoint, more: Sequence[Signature]) -> SignedCheckpoint:
    """Return the checkpoint with more signatures below it."""
    return SignedCheckpoint(checkpoint=note.checkpoint, signatures=(*note.signatures, *more))
