"""Bearer tokens: signed by a key that the issuer publishes, meant for here, valid now.

Everything that could be chosen by whoever wrote the token is fixed here: the algorithm must be one of a
list, the key is the issuer's by its id, and a key checks only the algorithms of its own type. So neither
a token without signature nor one that takes a public key for a shared secret gets any further.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import (
    ExpiredTokenError,
    InvalidClaimError,
    JoseError,
    MissingClaimError,
)
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    UnavailableError,
    check_tenant,
)
from sentinel.reference.ledger.edge.auth.caller import (
    AuthRefusedError,
    Caller,
    Method,
    Reason,
    Scope,
)
from sentinel.reference.ledger.edge.auth.config import IssuerConfig
from sentinel.reference.ledger.edge.auth.keys import IssuerKeys
from sentinel.reference.ledger.telemetry import Telemetry

_TOKEN_LENGTH_MAX: Final = 8 * 1024
# RFC 9068 has `at+jwt`; many issuers write `JWT` or nothing. An ID token, whose audience is a client, fails by that.
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
_BY_CLAIM: Final = {
    "iss": Reason.WRONG_ISSUER,
    "aud": Reason.WRONG_AUDIENCE,
    "nbf": Reason.TOKEN_NOT_YET_VALID,
    "iat": Reason.TOKEN_NOT_YET_VALID,
}


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    expires_s: float
    checked_s: float


class Bearer:
    """Checks tokens of one issuer, each once while it is remembered."""

    def __init__(
        self,
        config: IssuerConfig,
        *,
        telemetry: Telemetry,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._registry = JWSRegistry(algorithms=config.algorithms, strict_check_header=False)
        # By digest, so that the memory of the process holds no list of tokens.
        self._known: dict[bytes, _Known] = {}
        self._monotonic_s = monotonic_s
        self.keys = IssuerKeys(
            config, telemetry=telemetry, on_removed=self._known.clear, monotonic_s=monotonic_s
        )

    async def caller_of(self, token: str, now_s: float) -> Caller:
        """Return who the token speaks for.

        Args:
            token: what came after `Bearer `.
            now_s: Unix seconds.

        Raises:
            AuthRefusedError: it is not to be believed, or nobody can say because the issuer is away.
        """
        if len(token) > _TOKEN_LENGTH_MAX or not token.isascii():
            raise AuthRefusedError(Reason.MALFORMED_TOKEN)
        digest = hashlib.sha256(token.encode("ascii")).digest()
        known = self._known.get(digest)
        if known is not None:
            if now_s >= known.expires_s:
                del self._known[digest]
                raise AuthRefusedError(Reason.TOKEN_EXPIRED)
            is_fresh = self._monotonic_s() - known.checked_s < self._config.remembered_s
            if self.keys.touch() and is_fresh:
                return known.caller
            del self._known[digest]
        claims = await self._claims(token, now_s)
        caller = self._caller(claims)
        if len(self._known) >= self._config.tokens_count_max:
            # The one that has been there longest: it will be checked again if it still comes.
            del self._known[next(iter(self._known))]
            self._telemetry.access.token_forgotten()
        self._known[digest] = _Known(
            caller,
            expires_s=float(claims["exp"]) + self._config.leeway_s,
            checked_s=self._monotonic_s(),
        )
        return caller

    async def _claims(self, token: str, now_s: float) -> Mapping[str, Any]:
        signed = _extracted(token, self._registry)
        header = signed.headers()
        if header.get("alg") not in self._config.algorithms:
            raise AuthRefusedError(Reason.FORBIDDEN_ALGORITHM)
        kid = header.get("kid")
        if str(header.get("typ") or "").lower() not in _TYPES or not isinstance(kid, str | None):
            raise AuthRefusedError(Reason.MALFORMED_TOKEN)
        try:
            key = await self.keys.find(kid)
        except UnavailableError as error:
            raise AuthRefusedError(Reason.ISSUER_UNAVAILABLE) from error
        if key is None:
            raise AuthRefusedError(Reason.UNKNOWN_KEY)
        try:
            good = jws.validate_compact(signed, key, registry=self._registry)
        except (JoseError, ValueError, TypeError):
            # A key of another type than the algorithm's, or marked for another, or a critical header.
            raise AuthRefusedError(Reason.FORBIDDEN_ALGORITHM) from None
        if not good:
            raise AuthRefusedError(Reason.BAD_SIGNATURE)
        return self._valid(signed.payload, now_s)

    def _valid(self, payload: bytes, now_s: float) -> Mapping[str, Any]:
        """Read and check the claims, of which only now is known who wrote them."""
        try:
            claims = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise AuthRefusedError(Reason.MALFORMED_TOKEN) from None
        if not isinstance(claims, dict):
            raise AuthRefusedError(Reason.MALFORMED_TOKEN)
        registry = JWTClaimsRegistry(
            now=int(now_s),
            leeway=self._config.leeway_s,
            iss={"essential": True, "value": self._config.url},
            aud={"essential": True, "value": self._config.audience},
            exp={"essential": True},
        )
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise AuthRefusedError(Reason.TOKEN_EXPIRED) from None
        except (MissingClaimError, InvalidClaimError) as error:
            reason = _BY_CLAIM.get(error.claim, Reason.INVALID_CLAIM)
            raise AuthRefusedError(reason) from None
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        tenant = claims.get(self._config.tenant_claim)
        try:
            check_tenant(tenant if isinstance(tenant, str) else "")
        except InvalidTransferError:
            raise AuthRefusedError(Reason.NO_TENANT_CLAIM) from None
        return Caller(tenant=str(tenant), scopes=_scopes(claims), method=Method.BEARER)


def _extracted(token: str, registry: JWSRegistry) -> CompactSignature:
    try:
        return jws.extract_compact(token.encode("ascii"), registry=registry)
    except (JoseError, ValueError, TypeError, KeyError):
        raise AuthRefusedError(Reason.MALFORMED_TOKEN) from None


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Return the scopes that mean something here: `scope` is a text, `scp` of some issuers a list."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given
    named = words if isinstance(words, list) else []
    return frozenset(scope for scope in Scope if scope.value in named)
