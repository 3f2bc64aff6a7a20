"""Secrets of webhooks: made at the edge, sealed to the process that sends, and opened only there.

The edge holds a public key. It can show a secret once, when it is made, and seal it for the database; it cannot open one again,
and neither can whoever reads the database. All of it is PyNaCl's: sealed boxes (X25519, XSalsa20-Poly1305) and Ed25519 keys.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.webhooks.asked import Signature
from sentinel.reference.ledger.wire.private_files import (
    check_private,
    has_content,
    write_once,
    write_over,
)

HMAC_PREFIX: Final = "whsec_"
PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
_SEALING_PREFIX: Final = "whseal_"
_OPENING_PREFIX: Final = "whopen_"
# Standard Webhooks asks for 24 to 64 bytes.
_HMAC_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A secret that was just made; for Ed25519 the half that its owner is given is not secret."""

    secret: str = field(repr=False)
    public_key: str | None


def new_secret(signature: Signature) -> NewSecret:
    """Return a fresh secret in the form that Standard Webhooks writes it in."""
    if signature is Signature.HMAC:
        return NewSecret(
            secret=HMAC_PREFIX + b64encode(secrets.token_bytes(_HMAC_BYTES)).decode(),
            public_key=None,
        )
    key = SigningKey.generate()
    public = bytes(key.verify_key)
    return NewSecret(
        secret=PRIVATE_PREFIX + b64encode(bytes(key) + public).decode(),
        public_key=PUBLIC_PREFIX + b64encode(public).decode(),
    )


class Sealer:
    """Seals secrets; it cannot open them."""

    def __init__(self, public_key: bytes) -> None:
        self._box = SealedBox(PublicKey(public_key))

    @classmethod
    def of_file(cls, path: Path) -> Sealer:
        """Return the sealer of the public key in a file.

        Raises:
            UnreadableError: the file cannot be read.
            LedgerError: it holds no such key.
        """
        return cls(_keys(path, _SEALING_PREFIX)[0])

    def seal(self, secret: str) -> bytes:
        """Return what only the holder of the private key can open."""
        sealed: bytes = self._box.encrypt(secret.encode())
        return sealed


class Opener:
    """Opens what was sealed to one of its keys, of which there are several while they are changed."""

    def __init__(self, private_keys: list[bytes]) -> None:
        self._boxes = [SealedBox(PrivateKey(key)) for key in private_keys]

    @classmethod
    def of_file(cls, path: Path) -> Opener:
        """Return the opener of the private keys in a file, one a line.

        Raises:
            UnreadableError: the file cannot be read, or by others than its owner too.
            LedgerError: it holds no such key.
        """
        check_private(path)
        return cls(_keys(path, _OPENING_PREFIX))

    def open(self, sealed: bytes) -> str | None:
        """Return the secret, or None when no key opens it."""
        for box in self._boxes:
            try:
                opened: bytes = box.decrypt(sealed)
            except CryptoError:
                continue
            return opened.decode()
        return None


def make_key_files(*, private: Path, public: Path) -> None:
    """Write a fresh pair of files, unless the private one is there; then only its public half is written.

    Raises:
        UnreadableError: the private file that is there cannot be read.
        LedgerError: it holds no such key.
    """
    if not has_content(private):
        text = _OPENING_PREFIX + b64encode(bytes(PrivateKey.generate())).decode() + "\n"
        with suppress(FileExistsError):  # somebody else has just made it
            write_once(private, text.encode())
    # The first line is the newest: what is sealed from now on is sealed to it.
    key = PrivateKey(_keys(private, _OPENING_PREFIX)[0])
    text = _SEALING_PREFIX + b64encode(bytes(key.public_key)).decode() + "\n"
    write_over(public, text.encode())


def _keys(path: Path, prefix: str) -> list[bytes]:
    try:
        with path.open("rb") as file:
            lines = file.read(_FILE_BYTES_MAX).decode("ascii", errors="replace").split()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    keys = []
    for line in lines:
        try:
            key = b64decode(line.removeprefix(prefix), validate=True)
        except ValueError:
            key = b""
        if not line.startswith(prefix) or len(key) != 32:
            # Never shown: it may be a key of another kind.
            message = f"{path} holds something else than keys that begin with {prefix}"
            raise LedgerError(message)
        keys.append(key)
    if not keys:
        message = f"{path} holds no key"
        raise LedgerError(message)
    return keys
