"""Keys and JWTs of NATS made for a test: an operator, an account and a user, as `nsc` would make them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey

from sentinel.runtime.nats.nkey import check_sum

_PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED = 18 << 3


def _base32(data: bytes) -> str:
    return base64.b32encode(data + check_sum(data).to_bytes(2, "little")).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair of one kind; made of the name, so that a run can be repeated."""

    kind: str
    name: str

    @property
    def pair(self) -> SigningKey:
        """The key itself."""
        return SigningKey(sha256(f"{self.kind} {self.name}".encode()).digest())

    @property
    def public(self) -> str:
        """As servers name it."""
        return _base32(bytes([_PREFIXES[self.kind]]) + bytes(self.pair.verify_key))

    @property
    def seed(self) -> str:
        """As it is kept in a file."""
        prefix = _PREFIXES[self.kind]
        return _base32(bytes([_SEED | prefix >> 5, (prefix & 31) << 3]) + bytes(self.pair))


def jwt(issuer: Key, subject: Key, nats: dict[str, Any]) -> str:
    """A JWT as NATS has them."""

    def part(value: object) -> str:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    body = {
        "jti": "test",
        "iat": 1_700_000_000,
        "iss": issuer.public,
        "name": subject.name,
        "sub": subject.public,
        "nats": {"type": subject.kind, "version": 2, **nats},
    }
    signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(body)}"
    return f"{signed}.{part(bytes(issuer.pair.sign(signed.encode()).signature))}"


def credentials(user: Key, user_jwt: str) -> str:
    """A `.creds` file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
