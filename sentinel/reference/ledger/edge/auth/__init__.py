"""Who asks: a bearer token, a client certificate, or, on loopback only, a header that is believed."""

from sentinel.reference.ledger.edge.auth.authenticator import Authenticator
from sentinel.reference.ledger.edge.auth.caller import (
    AuthRefusedError,
    Caller,
    Method,
    Reason,
    Scope,
)
from sentinel.reference.ledger.edge.auth.config import AuthConfig, IssuerConfig, TlsConfig
from sentinel.reference.ledger.edge.auth.tls import watch_expiry

__all__ = [
    "AuthConfig",
    "AuthRefusedError",
    "Authenticator",
    "Caller",
    "IssuerConfig",
    "Method",
    "Reason",
    "Scope",
    "TlsConfig",
    "watch_expiry",
]
