"""JSON replies, and requests' queries read strictly."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import orjson
from aiohttp import web

QUERY_VALUE_LENGTH_MAX = 512


class QueryError(Exception):
    """The query of a request is wrong; the text says how, for the caller."""


def json_reply(content: object, *, status: int = 200) -> web.Response:
    """A JSON response; `<` is escaped, so that no browser can take it for markup."""
    body = orjson.dumps(content).replace(b"<", b"\\u003c")
    return web.Response(status=status, body=body, content_type="application/json")


def render_error(_request: web.BaseRequest, status: int, message: str) -> web.Response:
    """The one form that errors have."""
    return json_reply({"error": {"status": status, "message": message}}, status=status)


def read_query(request: web.BaseRequest, known: AbstractSet[str]) -> dict[str, str]:
    """The query as a mapping; QueryError for an unknown, repeated or overlong parameter."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            msg = f"unknown parameter, known are {', '.join(sorted(known))}"
            raise QueryError(msg)
        if name in found:
            msg = f"parameter {name} is given twice"
            raise QueryError(msg)
        if len(value) > QUERY_VALUE_LENGTH_MAX:
            msg = f"parameter {name} is longer than {QUERY_VALUE_LENGTH_MAX} characters"
            raise QueryError(msg)
        found[name] = value
    return found


def read_count(query: dict[str, str], name: str, *, default: int, largest: int) -> int:
    """A parameter that is a number between 1 and `largest`."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= largest):
        msg = f"parameter {name} must be a number between 1 and {largest}"
        raise QueryError(msg)
    return int(text)
