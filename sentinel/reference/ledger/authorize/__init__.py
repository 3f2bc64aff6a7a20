"""A small authorization server for the demo: code with PKCE, client credentials, keys that rotate; its state is in memory.

`server` is imported by who runs it: it loads Authlib, and who reads the accounts needs none of it.
"""

from sentinel.reference.ledger.authorize.accounts import (
    Accounts,
    Client,
    Grant,
    User,
    read_accounts,
    write_accounts,
)

__all__ = ["Accounts", "Client", "Grant", "User", "read_accounts", "write_accounts"]
