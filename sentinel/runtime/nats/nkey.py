"""NKeys: a seed in a file proves to a NATS server who we are, by signing what the server says.

NATS' own package for it is to be had as source alone, which a locked installation does not build; what it does is this file
and an Ed25519 signature. The seed is read anew for each signature, so that a rotated file counts at the next connection.

A seed is base32 of two prefix bytes, 32 bytes and a check sum; a public key of one prefix byte, 32 bytes and a check sum.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from sentinel.errors import ConfigError, ConfigProblem

_SEED_PREFIX = 18 << 3
_USER_PREFIX = 20 << 3
_SEED_BYTES = 32
_FILE_BYTES_MAX = 64 * 1024


def check_sum(data: bytes) -> int:
    """CRC-16 as XMODEM has it.

    >>> hex(check_sum(b"123456789"))
    '0x31c3'
    """
    return binascii.crc_hqx(data, 0)


def seed_of(text: str) -> bytes:
    """The 32 bytes of a user's seed; ValueError, without a word of it, when it is none."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        msg = "not base32"
        raise ValueError(msg) from None
    if len(raw) != 2 + _SEED_BYTES + 2:
        msg = "not as long as a seed"
        raise ValueError(msg)
    data, summed = raw[:-2], int.from_bytes(raw[-2:], "little")
    if check_sum(data) != summed:
        msg = "its check sum is wrong"
        raise ValueError(msg)
    kind = (data[0] & 7) << 5 | (data[1] & 248) >> 3
    if data[0] & 248 != _SEED_PREFIX or kind != _USER_PREFIX:
        msg = "not the seed of a user"
        raise ValueError(msg)
    return data[2:]


def public_of(public: bytes) -> str:
    """A user's public key as servers know it, `U...`."""
    data = bytes([_USER_PREFIX]) + public
    return base64.b32encode(data + check_sum(data).to_bytes(2, "little")).decode().rstrip("=")


class Signer:
    """Signs with the seed in a file, a bare one or a `.creds` file."""

    def __init__(self, path: str, *, setting: str) -> None:
        """Make it; nothing is read yet.

        Args:
            path: of the file.
            setting: what names it, for errors.
        """
        self._path = path
        self._setting = setting

    def sign(self, nonce: str) -> bytes:
        """The signature of what the server said, in base64; ConfigError when the file cannot be used."""
        from nacl.signing import SigningKey

        signature: bytes = SigningKey(self._seed()).sign(nonce.encode()).signature
        return base64.b64encode(signature)

    def public(self) -> str:
        """The public key; ConfigError when the file cannot be used."""
        from nacl.signing import SigningKey

        return public_of(bytes(SigningKey(self._seed()).verify_key))

    def jwt(self) -> bytearray:
        """The user's JWT of a `.creds` file; ConfigError when there is none."""
        return bytearray(self._between("NATS USER JWT").encode())

    def _seed(self) -> bytes:
        text = self._read()
        seed = self._between("USER NKEY SEED") if "-----BEGIN" in text else text.strip()
        try:
            return seed_of(seed)
        except ValueError as error:
            msg = f"holds no seed of a user: {error}"
            raise self._problem(msg) from None

    def _between(self, label: str) -> str:
        lines = [line.strip() for line in self._read().splitlines()]
        starts = [at for at, line in enumerate(lines) if f"BEGIN {label}" in line]
        if not starts or starts[0] + 1 >= len(lines) or not lines[starts[0] + 1]:
            msg = f"has no {label}"
            raise self._problem(msg)
        return lines[starts[0] + 1]

    def _read(self) -> str:
        try:
            with Path(self._path).open("rb") as file:
                return file.read(_FILE_BYTES_MAX).decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"cannot be read: {type(error).__name__}"
            raise self._problem(msg) from None

    def _problem(self, what: str) -> ConfigError:
        return ConfigError([ConfigProblem(path=self._setting, message=f"the file {what}")])
