"""Which place a span was at, and whether it failed.

| kind | condition | stage | route |
|---|---|---|---|
| SERVER | | edge | `{method} {http.route}`, else `{rpc.service}/{rpc.method}`, else the span's name, else `other` |
| PRODUCER | | queue | `{operation name} {destination}` |
| CONSUMER | | consumer | `{operation name} {destination}` |
| CLIENT | names a database system | database | db.query.summary, else `{operation} {collection}`, else the name |
| CLIENT | messaging operation receive or settle | consumer | `{operation name} {destination}` |
| CLIENT | named `kong.balancer`: a try of Kong's to reach an upstream | client | `balancer {server.address}`; of an address in numbers, `balancer` |
| CLIENT | otherwise named `kong.…`: Kong at work inside a call | none | makes no series |
| CLIENT | otherwise | client | `{method} {peer.service}`, else `{method} {server.address}`, else `{rpc.service}/{rpc.method}`, else the name |
| INTERNAL | | none | makes no series: it is part of a call, not one |

Both the stable semantic conventions and the names before them are read; instrumentations still in use send only the
old ones. A span's own name is a fallback, and ids are taken out of it (`labels.without_ids`).

Kong's plugin names its SERVER span `kong`, whatever was asked for, and its `http.route` is the first path of the route, ""
where no route matched: those calls are at the route `other`. It never sets the status of that span, so its code decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sentinel.core.model import Scope
from sentinel.core.normalise.labels import OTHER, label_of, looks_like_raw_path, without_ids

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5

STAGE_EDGE = "edge"
STAGE_QUEUE = "queue"
STAGE_CONSUMER = "consumer"
STAGE_DATABASE = "database"
STAGE_CLIENT = "client"

_METHOD = ("http.request.method", "http.method")
_ROUTE = ("http.route",)
_STATUS_CODE = ("http.response.status_code", "http.status_code")
_DATABASE = ("db.system.name", "db.system")
_QUERY_SUMMARY = ("db.query.summary",)
_DB_OPERATION = ("db.operation.name", "db.operation")
_COLLECTION = ("db.collection.name", "db.sql.table")
_OPERATION_NAME = ("messaging.operation.name", "messaging.operation")
_OPERATION_TYPE = ("messaging.operation.type", "messaging.operation")
_DESTINATION_TEMPLATE = ("messaging.destination.template",)
_DESTINATION = ("messaging.destination.name", "messaging.destination")
_SERVER_ADDRESS = ("server.address", "net.peer.name", "http.host")

# What the sender itself calls the other side, where addresses are too many or too alike.
_PEER = ("service.peer.name", "peer.service")

_RPC_SERVICE = ("rpc.service",)
_RPC_METHOD = ("rpc.method",)

_RPC = (*_RPC_SERVICE, *_RPC_METHOD)
_MESSAGING = (*_OPERATION_NAME, *_OPERATION_TYPE, *_DESTINATION_TEMPLATE, *_DESTINATION)

ATTRIBUTES_BY_KIND: Mapping[int, frozenset[str]] = {
    SERVER: frozenset((*_METHOD, *_ROUTE, *_STATUS_CODE, *_RPC)),
    CLIENT: frozenset(
        (
            *_METHOD,
            *_PEER,
            *_SERVER_ADDRESS,
            *_DATABASE,
            *_QUERY_SUMMARY,
            *_DB_OPERATION,
            *_COLLECTION,
            *_MESSAGING,
            *_RPC,
        )
    ),
    PRODUCER: frozenset(_MESSAGING),
    CONSUMER: frozenset(_MESSAGING),
}
"""The attributes that decide anything, by kind of span; no other is looked at."""

SERVER_COMPLETE = (_METHOD, _ROUTE, _STATUS_CODE)
"""A SERVER span with one of each is decided by them alone, the first name of each before the second."""

ATTRIBUTES = frozenset().union(*ATTRIBUTES_BY_KIND.values())

_FAILED_HTTP_STATUS = 500
_KONG, _KONG_INSIDE, _KONG_TRY = "kong", "kong.", "kong.balancer"
_ADDRESS_IN_NUMBERS = re.compile(r"[0-9.]+|\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?", re.ASCII)


def scope_of(service: str, kind: int, name: str, attributes: Mapping[str, str]) -> Scope | None:
    """The place a span was at, or None when its kind makes no series.

    >>> scope_of("pay", 2, "GET", {"http.route": "/v1/x", "http.request.method": "GET"})
    Scope(service='pay', stage='edge', route='GET /v1/x')
    >>> scope_of("pay", 3, "q", {"db.system": "postgresql", "db.operation": "INSERT", "db.sql.table": "posting"})
    Scope(service='pay', stage='database', route='INSERT posting')
    """
    if kind == SERVER:
        return Scope(service, STAGE_EDGE, _server_route(name, attributes))
    if kind == PRODUCER:
        return Scope(service, STAGE_QUEUE, _messaging_route(name, attributes))
    if kind == CONSUMER:
        return Scope(service, STAGE_CONSUMER, _messaging_route(name, attributes))
    if kind == CLIENT:
        if name.startswith(_KONG_INSIDE):
            return (
                Scope(service, STAGE_CLIENT, _try_route(attributes)) if name == _KONG_TRY else None
            )
        if _first(attributes, _DATABASE):
            return Scope(service, STAGE_DATABASE, _database_route(name, attributes))
        if _first(attributes, _OPERATION_TYPE) in ("receive", "settle"):
            return Scope(service, STAGE_CONSUMER, _messaging_route(name, attributes))
        return Scope(service, STAGE_CLIENT, _client_route(name, attributes))
    return None


def has_failed(kind: int, *, status_is_error: bool, attributes: Mapping[str, str]) -> bool:
    """Whether a call counts as failed: its status says so, or it is a SERVER span that answered 5xx.

    The second rule is for senders that set the code but never the status.
    """
    if status_is_error:
        return True
    return kind == SERVER and status_code_of(attributes) >= _FAILED_HTTP_STATUS


def status_code_of(attributes: Mapping[str, str]) -> int:
    """The HTTP status a call was answered with, 0 when it names none."""
    code = _first(attributes, _STATUS_CODE)
    return int(code[:4]) if code.isascii() and code.isdigit() else 0


def method_of(attributes: Mapping[str, str]) -> str:
    """The HTTP method, "" when there is none."""
    return _first(attributes, _METHOD)


def _first(attributes: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        value = attributes.get(name)
        if value:
            return value
    return ""


def _fallback(name: str) -> str:
    return label_of(without_ids(name)) or OTHER


def _server_route(name: str, attributes: Mapping[str, str]) -> str:
    route = _first(attributes, _ROUTE)
    if route:
        return label_of(f"{_first(attributes, _METHOD)} {route}")
    if called := _called(attributes):
        return called
    return OTHER if looks_like_raw_path(name) or name == _KONG else _fallback(name)


def _try_route(attributes: Mapping[str, str]) -> str:
    """The upstream that Kong tried, by name: numbers are those of pods, which come and go."""
    address = _first(attributes, _SERVER_ADDRESS)
    if not address or _ADDRESS_IN_NUMBERS.fullmatch(address):
        return "balancer"
    return label_of(without_ids(f"balancer {address}"))


def _client_route(name: str, attributes: Mapping[str, str]) -> str:
    method, other = _first(attributes, _METHOD), _first(attributes, (*_PEER, *_SERVER_ADDRESS))
    if method and other:
        return label_of(f"{method} {other}")
    if called := _called(attributes):
        return called
    return OTHER if looks_like_raw_path(name) else _fallback(name)


def _called(attributes: Mapping[str, str]) -> str:
    """The procedure a remote call names; newer instrumentations put the service into the method's name."""
    service, method = _first(attributes, _RPC_SERVICE), _first(attributes, _RPC_METHOD)
    return label_of(f"{service}/{method}" if service and method else method)


def _messaging_route(name: str, attributes: Mapping[str, str]) -> str:
    operation = _first(attributes, _OPERATION_NAME)
    destination = _first(attributes, _DESTINATION_TEMPLATE) or without_ids(
        _first(attributes, _DESTINATION)
    )
    if operation and destination:
        return label_of(f"{operation} {destination}")
    return _fallback(name)


def _database_route(name: str, attributes: Mapping[str, str]) -> str:
    summary = _first(attributes, _QUERY_SUMMARY)
    if summary:
        return _fallback(summary)
    operation, collection = _first(attributes, _DB_OPERATION), _first(attributes, _COLLECTION)
    if operation and collection:
        return _fallback(f"{operation} {collection}")
    return _fallback(name)
