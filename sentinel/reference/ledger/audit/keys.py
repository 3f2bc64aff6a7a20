"""Ed25519 by PyNaCl: the one file that touches keys, which live in files of their owner's alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nacl.bindings import (
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.audit.note import (
    KEY_BYTES,
    LOG_KIND,
    WITNESS_KIND,
    Checkpoint,
    PrivateKey,
    PublicKey,
    Signature,
    check_name,
    log_message,
    parse_private_key,
    parse_public_key,
    witness_message,
    witness_signature,
)
from sentinel.reference.ledger.wire.private_files import (
    check_private,
    has_content,
    write_once,
    write_over,
)

_FILE_BYTES_MAX: Final = 4096


class Signer:
    """Signs with one key."""

    def __init__(self, key: PrivateKey) -> None:
        self.public = key.public
        _, self._secret = crypto_sign_seed_keypair(key.seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        signature: bytes = crypto_sign(message, self._secret)[:crypto_sign_BYTES]
        return signature

    def sign_checkpoint(self, checkpoint: Checkpoint, unix_s: int) -> Signature:
        """Sign as the kind of key does: a witness with the time, a log without."""
        if self.public.kind == WITNESS_KIND:
            message = witness_message(checkpoint, unix_s)
            signature = witness_signature(unix_s, self.sign(message))
        else:
            signature = self.sign(log_message(checkpoint))
        return Signature(name=self.public.name, key_id=self.public.key_id, signature=signature)


def check_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether the holder of the public key signed the message."""
    if len(signature) != crypto_sign_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, key)
    except (CryptoError, ValueError):
        return False
    return True


def checker(key: PublicKey) -> Callable[[bytes, bytes], bool]:
    """Return what says whether this key's holder signed a message."""
    return lambda message, signature: check_signature(key.key, message, signature)


def new_key(name: str, *, kind: int = LOG_KIND) -> PrivateKey:
    """Return a key of the system's randomness.

    Raises:
        MalformedNoteError: no key may have this name.
    """
    seed = os.urandom(KEY_BYTES)
    return PrivateKey(
        public=PublicKey(name=check_name(name), kind=kind, key=_derive(seed)), seed=seed
    )


def write_key(key: PrivateKey, path: Path) -> None:
    """Write the key to a new file that its owner alone can read, and its public part beside it, as `.pub`.

    Each comes whole or not at all. Whoever is stopped between the two has a key, of which `kept_key` makes the public part.

    Raises:
        LedgerError: a file is there; a key that is gone cannot be had again.
    """
    for file in (path, public_path(path)):
        if has_content(file):
            raise _is_there(file)
    try:
        write_once(path, f"{key.secret_text()}\n".encode())
    except FileExistsError:
        raise _is_there(path) from None
    _write_public(path, key.public)


def kept_key(path: Path, *, kind: int) -> PublicKey | None:
    """Return the public part of the key in a file, and see to it that it lies beside it; None where there is no key yet.

    Raises:
        UnreadableError: the file cannot be read, or by others too.
        LedgerError: it holds no key of this kind.
    """
    if not has_content(path):
        return None
    public = read_signer(path, kind=kind).public
    _write_public(path, public)
    return public


def _write_public(path: Path, public: PublicKey) -> None:
    write_over(public_path(path), f"{public}\n".encode())


def _is_there(path: Path) -> LedgerError:
    return LedgerError(f"{path} is there already; a key is never written over")


def public_path(path: Path) -> Path:
    """Return where the public part of a key's file is."""
    return path.with_name(f"{path.name}.pub")


def read_signer(path: Path, *, kind: int) -> Signer:
    """Return a signer with the key in a file.

    Raises:
        UnreadableError: the file cannot be read, or by others too.
        LedgerError: it holds no key of this kind.
    """
    check_private(path)
    key = parse_private_key(_read(path), _derive)
    _check_kind(key.public, kind, str(path))
    return Signer(key)


def read_public_key(given: str, *, kind: int) -> PublicKey:
    """Return a public key that is given as such or as a file that holds it.

    Raises:
        UnreadableError: it is neither a key nor a file that can be read.
        LedgerError: it is no key of this kind.
    """
    text = given if "+" in given and not Path(given).exists() else _read(Path(given))
    key = parse_public_key(text)
    _check_kind(key, kind, given)
    return key


def _check_kind(key: PublicKey, kind: int, where: str) -> None:
    if key.kind != kind:
        names = {LOG_KIND: "a log's", WITNESS_KIND: "a witness's"}
        message = f"{where} holds {names[key.kind]} key, and {names[kind]} is needed"
        raise LedgerError(message)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} holds no key"
        raise LedgerError(message) from error


def _derive(seed: bytes) -> bytes:
    public: bytes
    public, _ = crypto_sign_seed_keypair(seed)
    return public
