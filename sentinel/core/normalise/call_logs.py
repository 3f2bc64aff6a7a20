"""Log records that tell of a finished call, such as those of structured access logs.

A record with a method and a status code is a call that the service answered, at stage `edge` as its SERVER span would be.

| of the call | attribute, the first that is there |
|---|---|
| method | `http.request.method`, `http.method` |
| status code | `http.response.status_code`, `http.status_code`, `status`: a whole number from 100 to 599; failed from 500 on |
| route | `{method} {http.route}`; without `http.route` the method alone, because a path as it was requested is no route |
| duration | `http.server.request.duration`, `duration_s`, `duration`, `request_time` in seconds; `http.server.duration`, `duration_ms`, `latency_ms` in milliseconds |

The names are exact. A duration that is absent, no number, or more than a day is not known: the call counts without it. A
record with `url.full` is a client's, and no call that was answered here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sentinel.core.model import Scope
from sentinel.core.normalise import span_rules
from sentinel.core.normalise.otlp_values import attributes_of

_METHODS = ("http.request.method", "http.method")
_STATUS = ("http.response.status_code", "http.status_code", "status")
_ROUTE = "http.route"
_CLIENT = b"url.full"
_DURATION_S = {
    "http.server.request.duration": 1.0,
    "duration_s": 1.0,
    "duration": 1.0,
    "request_time": 1.0,
    "http.server.duration": 1e-3,
    "duration_ms": 1e-3,
    "latency_ms": 1e-3,
}

_PLACING = frozenset((*_METHODS, *_STATUS, _ROUTE))
_TIMING = frozenset(_DURATION_S)
_PLACING_KEYS = frozenset(name.encode() for name in _PLACING)
_KEYS = _PLACING_KEYS | {name.encode() for name in _TIMING} | {_CLIENT}
_LENGTHS = bytes(length in {len(key) for key in _KEYS} for length in range(256))
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
DURATION_MAX_S = 24 * 3600.0
"""A longer call is not believed: it counts without its duration."""

_FAILED_STATUS = 500
_PLACES_MAX = 8192
_KEY_BYTES_MAX = 1024


class ToldCall(NamedTuple):
    """What a record tells: where the call was, whether it failed, and how long it took, if that is known."""

    scope: Scope
    error: bool
    duration_s: float | None


class CallLogs:
    """Finds calls in log records; holds a bounded cache of places."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, bytes], tuple[Scope, bool] | None] = {}

    def call_of(self, service: str, attributes: Iterable[bytes]) -> ToldCall | None:
        """The call that a record with these attributes tells of, or None."""
        placing: list[bytes] = []
        timing: list[bytes] = []
        for attribute in attributes:
            if len(attribute) < 2 or not _LENGTHS[attribute[1]]:
                continue
            key = attribute[2 : 2 + attribute[1]]
            if key in _PLACING_KEYS:
                placing.append(attribute)
            elif key == _CLIENT:
                return None
            elif key in _KEYS:
                timing.append(attribute)
        if len(placing) < 2:
            return None
        known = (service, b"".join(placing))
        if known in self._places:
            place = self._places[known]
        else:
            place = _place_of(service, attributes_of(placing, _PLACING))
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            if len(known[1]) <= _KEY_BYTES_MAX:
                self._places[known] = place
        if place is None:
            return None
        return ToldCall(*place, _duration_of(attributes_of(timing, _TIMING)) if timing else None)


def place_of(service: str, *, method: str, status: str, route: str) -> tuple[Scope, bool] | None:
    """Where a call with these was answered and whether it failed; None when they are of no call.

    >>> place_of("pay", method="GET", status="503", route="/v1/x")
    (Scope(service='pay', stage='edge', route='GET /v1/x'), True)
    """
    code = _number(status)
    if not method or code is None or not 100 <= code <= 599 or not code.is_integer():
        return None
    names = {"http.request.method": method, _ROUTE: route}
    scope = span_rules.scope_of(service, span_rules.SERVER, method, names)
    assert scope is not None, "a server's call has a place"
    return scope, code >= _FAILED_STATUS


def _place_of(service: str, given: dict[str, str]) -> tuple[Scope, bool] | None:
    return place_of(
        service,
        method=next((given[name] for name in _METHODS if given.get(name)), ""),
        status=next((given[name] for name in _STATUS if given.get(name)), ""),
        route=given.get(_ROUTE, ""),
    )


def _duration_of(given: dict[str, str]) -> float | None:
    for name, scale in _DURATION_S.items():
        if name in given:
            value = _number(given[name])
            if value is None or value * scale > DURATION_MAX_S:
                return None
            return value * scale
    return None


def _number(text: str) -> float | None:
    # Collectors that parse lines of JSON make every number a double: 200.0.
    return float(text) if _NUMBER.fullmatch(text) else None
