"""A small authorization server for the demo: code with PKCE, client credentials, keys that rotate; its state is in memory."""

from sentinel.reference.ledger.authorize.accounts import (
    Accounts,
    Client,
    Grant,
    User,
    read_accounts,
    write_accounts,
)
from sentinel.reference.ledger.authorize.server import AuthorizeConfig, AuthorizeServer

__all__ = [
    "Accounts",
    "AuthorizeConfig",
    "AuthorizeServer",
    "Client",
    "Grant",
    "User",
    "read_accounts",
    "write_accounts",
]
