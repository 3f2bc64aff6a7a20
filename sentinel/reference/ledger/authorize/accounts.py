"""Who may have tokens: a file of clients and users that only its owner can read."""

from __future__ import annotations

import hmac
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    LedgerError,
    UnreadableError,
    check_tenant,
)

SCOPES: Final = ("ledger.read", "ledger.write")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FILE_BYTES_MAX: Final = 1024 * 1024


class Grant(StrEnum):
    """How a client comes to a token."""

    CODE = "authorization_code"
    CREDENTIALS = "client_credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program that asks for tokens: with a secret and a tenant for itself, or for the users who let it.

    Its methods are those that Authlib asks a client.
    """

    id: str
    name: str = ""
    secret: str = field(default="", repr=False)
    tenant: str = ""
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = SCOPES

    def __post_init__(self) -> None:
        """Refuse a client that could be taken for another, or that could never have a token."""
        if not _NAME.fullmatch(self.id):
            _refuse(f"client {self.id!r}: 1 to 63 letters, digits, '.', '_' and '-'")
        if bool(self.secret) != bool(self.tenant):
            _refuse(f"client {self.id}: a secret and a tenant go together")
        if not self.secret and not self.redirect_uris:
            _refuse(f"client {self.id}: neither a secret nor redirect_uris")
        for uri in self.redirect_uris:
            parts = urlsplit(uri)
            if parts.scheme not in ("https", "http") or not parts.netloc or parts.fragment:
                _refuse(f"client {self.id}: {uri!r} cannot be redirected to")
        _check_scopes(f"client {self.id}", self.scopes)
        if self.tenant:
            _check_tenant(f"client {self.id}", self.tenant)

    def get_client_id(self) -> str:
        """Its id."""
        return self.id

    def get_default_redirect_uri(self) -> None:
        """There is none: every request names its own."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """What it is given of what it asks for; all it may have when it asks for nothing, None for none of it."""
        asked = self.scopes if not scope else scope.split()
        return " ".join(one for one in self.scopes if one in asked) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Say whether it is one of the client's, letter for letter."""
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Say whether the secret is the client's."""
        return bool(self.secret) and same(self.secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Say whether it may show itself so: who has a secret must, who has none cannot."""
        del endpoint
        return (method == "none") != bool(self.secret)

    def check_response_type(self, response_type: str) -> bool:
        """Say whether it may ask for this in a browser."""
        return response_type == "code" and bool(self.redirect_uris)

    def check_grant_type(self, grant_type: str) -> bool:
        """Say whether it may come to a token so."""
        allowed = {Grant.CODE: self.redirect_uris, Grant.CREDENTIALS: self.secret}
        return bool(allowed.get(Grant(grant_type))) if grant_type in set(Grant) else False


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person of a tenant."""

    name: str
    password: str = field(repr=False)
    tenant: str

    def __post_init__(self) -> None:
        """Refuse a user nobody could be, or anybody."""
        if not _NAME.fullmatch(self.name) or len(self.password) < 8:
            _refuse(f"user {self.name!r}: a name, and a password of 8 characters at least")
        _check_tenant(f"user {self.name}", self.tenant)

    def get_user_id(self) -> str:
        """What a token calls them."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """All who may have tokens."""

    clients: Mapping[str, Client]
    users: Mapping[str, User]

    def user_of(self, name: str, password: str) -> User | None:
        """Return the user of this name and password; as slow for a name that nobody has."""
        user = self.users.get(name)
        good = same(user.password if user is not None else "", password)
        return user if user is not None and good else None


def read_accounts(path: Path) -> Accounts:
    """Return what the file says.

    Raises:
        UnreadableError: it cannot be read.
        LedgerError: others can read it too, or it says what makes no sense.
    """
    try:
        mode, raw = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    if stat.S_IMODE(mode) & 0o077:
        _refuse(f"{path} holds secrets, and others may read it: chmod 600")
    if len(raw) > _FILE_BYTES_MAX:
        _refuse(f"{path} is larger than {_FILE_BYTES_MAX} bytes")
    try:
        document = orjson.loads(raw)
        clients = [Client(**_tuples(one)) for one in document["clients"]]
        users = [User(**one) for one in document["users"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        # Without what the error quotes: that may be a secret.
        message = f"{path} is no JSON object of clients and users: {type(error).__name__}"
        raise LedgerError(message) from None
    accounts = Accounts(
        clients={one.id: one for one in clients}, users={one.name: one for one in users}
    )
    if len(accounts.clients) < len(clients) or len(accounts.users) < len(users):
        _refuse(f"{path} names a client or a user twice")
    return accounts


def write_accounts(accounts: Accounts) -> bytes:
    """Return the content of such a file."""
    return orjson.dumps(
        {
            "clients": [asdict(one) for one in accounts.clients.values()],
            "users": [asdict(one) for one in accounts.users.values()],
        },
        option=orjson.OPT_INDENT_2,
    )


def same(known: str, given: str) -> bool:
    """Compare two secrets in a time that does not tell how much of them is the same."""
    return hmac.compare_digest(known.encode(), given.encode())


def _tuples(one: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in one.items()
    }


def _check_scopes(what: str, scopes: tuple[str, ...]) -> None:
    if not scopes or set(scopes) - set(SCOPES):
        _refuse(f"{what}: scopes are of {', '.join(SCOPES)}")


def _check_tenant(what: str, tenant: str) -> None:
    try:
        check_tenant(tenant)
    except InvalidTransferError:
        _refuse(f"{what}: {tenant!r} is no tenant's name")


def _refuse(message: str) -> None:
    raise LedgerError(message)
