"""Bodies in and out: JSON, read within a time, written by one library."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.edge.strict_json import decode_strictly


async def read_json(request: web.Request, *, timeout_s: float) -> object:
    """Return the decoded body of a request.

    Raises:
        ProblemError: it is of another type, or did not come within `timeout_s`.
        InvalidTransferError: it is no JSON, or gives a name twice.
    """
    # The parameters are cut off unread: aiohttp takes two seconds for a header of eight thousand semicolons.
    media_type = request.headers.get("Content-Type", "").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise ProblemError(
            code="unsupported_media_type", detail="The body must be application/json."
        )
    try:
        raw = await asyncio.wait_for(request.read(), timeout=timeout_s)
    except TimeoutError:
        raise ProblemError(
            code="request_timeout", detail="The body did not arrive in time."
        ) from None
    return decode_strictly(raw)


def render_json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer that is no error."""
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers=headers,
    )
