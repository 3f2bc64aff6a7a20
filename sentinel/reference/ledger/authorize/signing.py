"""The keys that tokens are signed by: each is published before it signs and for as long as what it signed lasts.

    next ──rotate──► current ──rotate──► previous ──rotate, but not before its tokens have expired──► gone

A verifier that asks for keys now and then so knows a key before it meets it, and knows it until it does no longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from joserfc.jwk import ECKey, KeySet
from joserfc.jwk import KeySetSerialization as PublishedKeys


@dataclass(slots=True)
class _Kept:
    key: ECKey
    ends_s: float


class SigningKeys:
    """A current key, its successor, and those that may still be met; times are monotonic seconds."""

    def __init__(self, *, rotate_s: float, token_s: float, now_s: float) -> None:
        self._rotate_s = rotate_s
        # A little longer, for verifiers' clocks.
        self._keep_s = token_s + 60.0
        self._current, self._next = _new(), _new()
        self._previous: list[_Kept] = []
        self._rotates_s = now_s + rotate_s

    def current(self, now_s: float) -> KeySet:
        """Return the key to sign with."""
        self._turn(now_s)
        return KeySet([self._current])

    def published(self, now_s: float) -> PublishedKeys:
        """Return all public keys, as they are published."""
        self._turn(now_s)
        keys = [self._current, self._next, *(one.key for one in self._previous)]
        return KeySet(list(keys)).as_dict(private=False)

    def rotate(self, now_s: float) -> None:
        """Sign with the next key from now on."""
        self._previous.append(_Kept(self._current, now_s + self._keep_s))
        self._current, self._next = self._next, _new()
        self._rotates_s = now_s + self._rotate_s
        self._forget(now_s)

    def _turn(self, now_s: float) -> None:
        if now_s >= self._rotates_s:
            self.rotate(now_s)
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        self._previous = [one for one in self._previous if one.ends_s > now_s]


def _new() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
