"""Attributes as the semantic conventions name them, made once for what recurs.

Every request makes spans and measurements with the same few attributes: those that depend on a handful of names are kept, so
that a request only reads them. Nobody may change what is returned here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

DESTINATION: Final = "ledger.transfers"
EVENTS: Final = "ledger.events"

Attributes = dict[str, str | int]

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_PORTS: Final = {"https": 443, "http": 80}
# Methods and routes are the edge's own, tables the ledger's: the bound is for whoever sends other methods.
_KEPT_COUNT: Final = 256


@lru_cache(maxsize=_KEPT_COUNT)
def request_attributes(method: str, route: str, scheme: str = "http") -> tuple[str, Attributes]:
    """Return the name of a SERVER span and what it and the request's duration have in common."""
    known = method if method in _METHODS else "_OTHER"
    verb = known if known != "_OTHER" else "HTTP"
    attributes: Attributes = {"http.request.method": known, "url.scheme": scheme}
    if route:
        attributes["http.route"] = route
    return f"{verb} {route}" if route else verb, attributes


def receiver_attributes(url: str) -> Attributes:
    """Return those of a call to a URL that somebody else has named: where it goes, and nothing that may be a secret.

    A path is often one, as a query or a password is: for receivers of webhooks it is how the sender proves itself.

    >>> receiver_attributes("https://u:p@hooks.example/T0/s3cret?key=1")["url.full"]
    'https://hooks.example/REDACTED'
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return {}
    host = parts.hostname or ""
    if not host or not port:
        return {}
    place = f"[{host}]" if ":" in host else host
    if port != _PORTS.get(parts.scheme):
        place = f"{place}:{port}"
    hidden = "REDACTED" if parts.path.strip("/") else ""
    return {
        "server.address": host,
        "server.port": port,
        "url.full": f"{parts.scheme}://{place}/{hidden}",
    }


@lru_cache(maxsize=_KEPT_COUNT)
def database_attributes(operation: str, collection: str, namespace: str) -> Attributes:
    """Return those of a database operation."""
    return {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.collection.name": collection,
        "db.namespace": namespace,
    }


@lru_cache(maxsize=_KEPT_COUNT)
def messaging_attributes(name: str, kind: str, destination: str = DESTINATION) -> Attributes:
    """Return those of an operation on messages, by its own name and the conventions' type."""
    return {
        "messaging.system": "nats",
        "messaging.destination.name": destination,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }


def database_error_attributes(failure: BaseException) -> dict[str, str]:
    """Return why an operation failed: the server's code, where it gave one."""
    kind = error_type(failure)
    if not _SQLSTATE.fullmatch(kind):
        return {"error.type": kind}  # the server did not answer, so it gave no code
    return {"error.type": kind, "db.response.status_code": kind}


def error_type(failure: BaseException) -> str:
    """Return the failure's code, else its class."""
    code = getattr(failure, "code", "")
    return code if isinstance(code, str) and code else type(failure).__name__
