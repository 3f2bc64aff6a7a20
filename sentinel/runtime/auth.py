"""Who may do what on a listener: scoped bearer tokens, kept as digests, compared in constant time."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from sentinel.runtime.settings import Secret, setting

_TOKEN_LENGTH_MIN = 16
_TOKEN_LENGTH_MAX = 512


class AccessScope(StrEnum):
    """What a token opens. OPEN needs none: it is for pages that carry no telemetry text."""

    OPEN = "open"
    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class AccessDecision(StrEnum):
    """The answer to "may this caller", and why; fit to be a metric label."""

    ALLOWED = "allowed"
    NO_TOKEN = "no_token"  # noqa: S105  # a reason, not a secret
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105  # a reason, not a secret
    WRONG_SCOPE = "wrong_scope"


_GRANTS: dict[AccessScope, frozenset[AccessScope]] = {
    AccessScope.OPEN: frozenset(),
    AccessScope.INGEST: frozenset({AccessScope.INGEST}),
    AccessScope.READ: frozenset({AccessScope.READ}),
    # An administrator may look, but may not invent telemetry.
    AccessScope.ADMIN: frozenset({AccessScope.ADMIN, AccessScope.READ}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensConfig:
    """Bearer tokens of a listener. Two of a scope are valid at once, so that one can be replaced without a gap."""

    ingest: Secret | None = setting(None, help="Token that may send telemetry.")
    ingest_next: Secret | None = setting(
        None, help="Second token that may send telemetry, for a change without a gap."
    )
    read: Secret | None = setting(None, help="Token that may read verdicts and incidents.")
    read_next: Secret | None = setting(
        None, help="Second token that may read, for a change without a gap."
    )
    admin: Secret | None = setting(None, help="Token that may change things, and read.")
    admin_next: Secret | None = setting(
        None, help="Second token that may change things, for a change without a gap."
    )

    def __post_init__(self) -> None:
        for scope, secret in self.pairs():
            text = secret.reveal()
            if not _TOKEN_LENGTH_MIN <= len(text) <= _TOKEN_LENGTH_MAX:
                msg = f"a token for {scope} must have {_TOKEN_LENGTH_MIN} to {_TOKEN_LENGTH_MAX} characters"
                raise ValueError(msg)
            if not text.isascii() or not text.isprintable() or " " in text:
                msg = f"a token for {scope} may hold printable ASCII without spaces only"
                raise ValueError(msg)
        texts = [secret.reveal() for _, secret in self.pairs()]
        if len(set(texts)) != len(texts):
            msg = "every token must be different from the others"
            raise ValueError(msg)

    def pairs(self) -> list[tuple[AccessScope, Secret]]:
        """The tokens that are set, with the scope each is for."""
        named = (
            (AccessScope.INGEST, self.ingest),
            (AccessScope.INGEST, self.ingest_next),
            (AccessScope.READ, self.read),
            (AccessScope.READ, self.read_next),
            (AccessScope.ADMIN, self.admin),
            (AccessScope.ADMIN, self.admin_next),
        )
        return [(scope, secret) for scope, secret in named if secret is not None]

    def opens(self, scope: AccessScope) -> bool:
        """Whether some token opens this scope."""
        return any(scope in _GRANTS[held] for held, _ in self.pairs())


def token_for(config: TokensConfig, scope: AccessScope) -> str:
    """A token that opens this scope, the one that opens least; "" where none does.

    >>> token_for(TokensConfig(), AccessScope.READ)
    ''
    """
    opening = [
        (len(_GRANTS[held]), secret) for held, secret in config.pairs() if scope in _GRANTS[held]
    ]
    return min(opening, key=lambda one: one[0])[1].reveal() if opening else ""


class TokenTable:
    """Decides by the digest of what the caller showed; the tokens themselves are not kept."""

    def __init__(self, config: TokensConfig) -> None:
        self._digests = tuple(
            (sha256(secret.reveal().encode()).digest(), _GRANTS[scope])
            for scope, secret in config.pairs()
        )
        self._guarded = frozenset[AccessScope]().union(*(grants for _, grants in self._digests))

    def guards(self, scope: AccessScope) -> bool:
        """Whether a caller must show a token for this scope."""
        return scope in self._guarded

    def decide(self, scope: AccessScope, authorization: str | None) -> AccessDecision:
        """Whether a caller with this `Authorization` value may use a route of this scope.

        A scope that no token opens is free: only a loopback listener may be configured so.
        """
        if scope not in self._guarded:
            return AccessDecision.ALLOWED
        kind, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token or len(token) > _TOKEN_LENGTH_MAX:
            return AccessDecision.NO_TOKEN
        shown = sha256(token.encode("utf-8", "surrogateescape")).digest()
        # Every digest is compared, so that the time taken does not tell which one matched.
        matches = [
            grants for digest, grants in self._digests if hmac.compare_digest(digest, shown)
        ]
        if not matches:
            return AccessDecision.UNKNOWN_TOKEN
        if any(scope in grants for grants in matches):
            return AccessDecision.ALLOWED
        return AccessDecision.WRONG_SCOPE
