"""The ways in, as schemes of the document, and what an operation asks of who comes in."""

from __future__ import annotations

from typing import Any, Final

from sentinel.reference.ledger.edge.auth.caller import Scope

_SCOPES: Final = {
    Scope.READ.value: "Look things up.",
    Scope.WRITE.value: "Ask for anything to be done.",
}

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "oauth2": {
        "type": "oauth2",
        "description": "A token of the issuer that the ledger is told of, by the authorization code grant with PKCE (S256 alone), or by another of its "
        "grants. The addresses stand for the issuer's own, which its discovery document names. The claim `tenant` says whom the token speaks for.",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://issuer.example/authorize",
                "tokenUrl": "https://issuer.example/token",
                "scopes": _SCOPES,
            }
        },
    },
    "bearerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The same token, for programs that get theirs by themselves.",
    },
    "clientCertificate": {
        "type": "mutualTLS",
        "description": "A certificate of the ledger's authority for integrators, with the one URI `urn:ledger:tenant:NAME` among its subject's "
        "alternative names. It allows everything of that tenant.",
    },
    "tenantHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Tenant",
        "description": "For trying by hand, on loopback alone: believed only by an edge that was told so. Beside a token or a certificate it may repeat "
        "the tenant and never choose it.",
    },
}


def security_of(scope: Scope | None) -> list[dict[str, list[str]]]:
    """Return what an operation asks for, any of the ways; nothing of who needs no scope."""
    if scope is None:
        return []
    return [{name: [scope.value] if name == "oauth2" else []} for name in SECURITY_SCHEMES]
