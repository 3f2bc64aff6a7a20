"""Who a request comes from, or why that is not believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.edge.problem import ProblemError

REALM: Final = "ledger"


class Scope(StrEnum):
    """What a caller may do."""

    READ = "ledger.read"
    WRITE = "ledger.write"


EVERYTHING: Final = frozenset(Scope)


class Method(StrEnum):
    """How a caller showed who it is."""

    BEARER = "bearer"
    CERTIFICATE = "certificate"
    HEADER = "header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The tenant that a request speaks for, and what it may do."""

    tenant: str
    scopes: frozenset[Scope]
    method: Method

    def require(self, scope: Scope) -> None:
        """Refuse a caller that may not.

        Raises:
            AuthRefusedError: `insufficient_scope`.
        """
        if scope not in self.scopes:
            raise AuthRefusedError(Reason.INSUFFICIENT_SCOPE, scope=scope)


class Reason(StrEnum):
    """Why a caller was refused: a label of the counter, and the code of the answer where there is one.

    A certificate that is foreign, revoked or otherwise refused ends the handshake, and is answered by TLS alone.
    """

    NO_CREDENTIALS = "no_credentials"
    UNKNOWN_SCHEME = "unknown_scheme"
    MALFORMED_TOKEN = "malformed_token"  # noqa: S105  # the name of a reason
    FORBIDDEN_ALGORITHM = "forbidden_algorithm"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    INVALID_CLAIM = "invalid_claim"
    NO_TENANT_CLAIM = "no_tenant_claim"
    TENANT_MISMATCH = "tenant_mismatch"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_FOREIGN = "certificate_foreign"
    CERTIFICATE_REFUSED = "certificate_refused"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_UNCHECKED = "certificate_unchecked"
    CERTIFICATE_WITHOUT_TENANT = "certificate_without_tenant"
    ISSUER_UNAVAILABLE = "issuer_unavailable"


# What the answer says, for who is to mend the client; never what was in the token.
_TOLD: Final = {
    Reason.NO_CREDENTIALS: "Give a bearer token or a client certificate.",
    Reason.UNKNOWN_SCHEME: "The Authorization header is to be one, of the scheme Bearer.",
    Reason.MALFORMED_TOKEN: "The token is no signed JWT for use here.",
    Reason.FORBIDDEN_ALGORITHM: "The token is not signed by an algorithm that is allowed here.",
    Reason.UNKNOWN_KEY: "The issuer does not publish the key that the token names.",
    Reason.BAD_SIGNATURE: "The token's signature is wrong.",
    Reason.TOKEN_EXPIRED: "The token has expired.",
    Reason.TOKEN_NOT_YET_VALID: "The token is not valid yet.",
    Reason.WRONG_ISSUER: "The token is another issuer's.",
    Reason.WRONG_AUDIENCE: "The token is meant for another audience.",
    Reason.INVALID_CLAIM: "A claim of the token is missing or has no sense.",
    Reason.NO_TENANT_CLAIM: "The token does not say which tenant it speaks for.",
    Reason.TENANT_MISMATCH: "The request speaks for more than one tenant.",
    Reason.INSUFFICIENT_SCOPE: "The token does not allow this.",
    Reason.CERTIFICATE_EXPIRED: "The client certificate has expired.",
    Reason.CERTIFICATE_WITHOUT_TENANT: "The client certificate does not name one tenant.",
    Reason.ISSUER_UNAVAILABLE: "The issuer's keys cannot be had; try again.",
}
_NO_TOKEN: Final = frozenset(
    {Reason.NO_CREDENTIALS, Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_WITHOUT_TENANT}
)
_ERRORS: Final = {
    Reason.INSUFFICIENT_SCOPE: "insufficient_scope",
    Reason.UNKNOWN_SCHEME: "invalid_request",
}


class AuthRefusedError(ProblemError):
    """A request that is not let in; its reason is the problem's code.

    401 says who asks is not known, 403 that they are known and may not, 503 that nobody can be known now.
    """

    def __init__(self, reason: Reason, *, scope: Scope | None = None) -> None:
        super().__init__(
            code=reason, detail=_TOLD[reason], headers=_challenge(reason, scope) or None
        )
        self.reason = reason


def _challenge(reason: Reason, scope: Scope | None) -> dict[str, str]:
    """Return `WWW-Authenticate` as RFC 6750 has it, unless the refusal is nothing of the client's."""
    if reason is Reason.ISSUER_UNAVAILABLE:
        return {}
    told = f'Bearer realm="{REALM}"'
    # Who has shown no token is told nothing but the scheme (RFC 6750, 3.1).
    if reason not in _NO_TOKEN:
        error = _ERRORS.get(reason, "invalid_token")
        told += f', error="{error}", error_description="{_TOLD[reason]}"'
    if scope is not None:
        told += f', scope="{scope}"'
    return {"WWW-Authenticate": told}
