"""Authlib's grants with our memory: code with S256 only, each code once, and client credentials.

This module alone speaks to Authlib, which is synchronous and without types; what goes in and what comes out are plain values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    OAuth2Error,
    OAuth2Payload,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oauth2.rfc9207 import IssuerParameter
from joserfc.jwk import KeySet

from sentinel.reference.ledger.authorize.accounts import SCOPES, Accounts, Client, Grant, User
from sentinel.reference.ledger.authorize.memory import Kept
from sentinel.reference.ledger.authorize.signing import SigningKeys

METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
Parameters = list[tuple[str, str]]


@dataclass(slots=True)
class Answer:
    """What is to be answered: JSON, or a redirect whose body is empty."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def location(self) -> str:
        """Where it redirects to, if it does."""
        return self.headers.get("Location", "")

    @location.setter
    def location(self, url: str) -> None:
        self.headers["Location"] = url

    @property
    def error(self) -> str:
        """The error's code; empty where there is none."""
        return str(self.body.get("error", ""))


class Asked(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """A request as Authlib reads it."""

    def __init__(
        self, method: str, url: str, given: Parameters, headers: Mapping[str, str]
    ) -> None:
        super().__init__(method, url, headers=headers)
        self.payload = _Given(given)

    @property
    def form(self) -> dict[str, str]:
        """The body's fields."""
        given: dict[str, str] = self.payload.data
        return given


class _Given(OAuth2Payload):  # type: ignore[misc]
    def __init__(self, given: Parameters) -> None:
        self._lists: dict[str, list[str]] = {}
        for name, value in given:
            self._lists.setdefault(name, []).append(value)

    @property
    def data(self) -> dict[str, str]:
        return {name: values[0] for name, values in self._lists.items()}

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._lists


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    client_id: str
    redirect_uri: str
    scope: str
    user: User
    code_challenge: str = field(repr=False)
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


class Granting(AuthorizationServer):  # type: ignore[misc]
    """Decides who gets a code and who a token."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        keys: SigningKeys,
        issuer: str,
        audience: str,
        token_s: int,
        code_s: float,
        codes_count_max: int,
        on_code_dropped: Callable[[], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self._accounts = accounts
        self.monotonic_s = monotonic_s
        self.codes: Kept[_Code] = Kept(
            lasts_s=code_s, count_max=codes_count_max, on_dropped=on_code_dropped
        )
        tokens = _Tokens(issuer, token_s=token_s)
        tokens.audience, tokens.keys, tokens.monotonic_s = audience, keys, monotonic_s
        self.register_token_generator("default", tokens.generate)
        self.register_grant(_CodeGrant, [_S256Only(required=True)])
        self.register_grant(_CredentialsGrant)
        self.register_extension(lambda server: _Issuer(issuer)(server))

    def checked(self, asked: Asked) -> Client | Answer:
        """Return who asks for a code, or what is to be answered to a request that is wrong.

        An answer without location is for the person before the browser: who asks is not known, so nobody is redirected.
        """
        try:
            grant = self.get_consent_grant(asked)
        except OAuth2Error as error:
            refused: Answer = self.handle_error_response(asked, error)
            return refused
        client: Client = grant.request.client
        return client

    def decided(self, asked: Asked, user: User | None) -> Answer:
        """Return the redirect with a code for `user`, or with their refusal when None."""
        try:
            grant = self.get_consent_grant(asked)
        except OAuth2Error as error:
            refused: Answer = self.handle_error_response(asked, error)
            return refused
        answer: Answer = self.create_authorization_response(asked, grant_user=user, grant=grant)
        return answer

    def token(self, asked: Asked) -> Answer:
        """Return the answer with a token, or why there is none."""
        answer: Answer = self.create_token_response(asked)
        return answer

    def query_client(self, client_id: str) -> Client | None:
        """Called by Authlib."""
        return self._accounts.clients.get(client_id)

    def save_token(self, token: object, request: object) -> None:
        """Called by Authlib; tokens are not kept, whoever has the keys can check them."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Called by Authlib; nobody listens."""

    def create_oauth2_request(self, request: Asked) -> Asked:
        """Called by Authlib."""
        return request

    def handle_response(self, status: int, body: object, headers: list[tuple[str, str]]) -> Answer:
        """Called by Authlib."""
        given = body if isinstance(body, dict) else {}
        return Answer(status, given, dict(headers))


def claimed_client(asked: Asked) -> str:
    """Return who the client says it is, so that guesses at one are counted together."""
    name, _ = extract_basic_authorization(asked.headers)
    return str(name or asked.form.get("client_id", ""))


class _CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = list(METHODS)

    def save_authorization_code(self, code: str, request: Any) -> None:
        given = request.payload.data
        kept = _Code(
            client_id=request.client.id,
            redirect_uri=given["redirect_uri"],
            scope=request.scope,
            user=request.user,
            code_challenge=given["code_challenge"],
            code_challenge_method=given["code_challenge_method"],
        )
        self.server.codes.keep(code, kept, self.server.monotonic_s())

    def query_authorization_code(self, code: str, client: Client) -> _Code | None:
        # Taken, whatever comes of it: who guesses a verifier has one guess.
        found: _Code | None = self.server.codes.take(code, self.server.monotonic_s())
        return found if found is not None and found.client_id == client.id else None

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        """It was taken when it was shown."""

    def authenticate_user(self, authorization_code: _Code) -> User:
        return authorization_code.user


class _CredentialsGrant(grants.ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = list(METHODS[:2])


class _S256Only(CodeChallenge):  # type: ignore[misc]
    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        """Authlib takes a request without challenge, and `plain` where no method is named."""
        given = grant.request.payload.data
        if not given.get("code_challenge"):
            reason = "Missing 'code_challenge'"
            raise InvalidRequestError(reason)
        if given.get("code_challenge_method") != "S256":
            reason = "'code_challenge_method' must be S256"
            raise InvalidRequestError(reason)
        super().validate_code_challenge(grant, redirect_uri)


class _Tokens(JWTBearerTokenGenerator):  # type: ignore[misc]
    audience: str
    keys: SigningKeys
    monotonic_s: Callable[[], float]

    def __init__(self, issuer: str, *, token_s: int) -> None:
        super().__init__(issuer, alg="ES256", expires_generator=token_s)

    def get_jwks(self) -> KeySet:
        return self.keys.current(self.monotonic_s())

    def get_audiences(self, client: Client, user: User | None, scope: str) -> str:
        del client, user, scope
        return self.audience

    def get_extra_claims(
        self, client: Client, grant_type: str, user: User | None, scope: str
    ) -> dict[str, str]:
        del grant_type, scope
        return {"tenant": client.tenant if user is None else user.tenant}


class _Issuer(IssuerParameter):  # type: ignore[misc]
    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


GRANTS: Final = tuple(Grant)
