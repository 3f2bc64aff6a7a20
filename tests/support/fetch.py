"""One HTTP request and its whole answer, for tests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson


class Reply(NamedTuple):
    """Status, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401, RUF100
        """The body as JSON."""
        return orjson.loads(self.body)


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    """Send one request on a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=15)
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        client.request(
            method, url, headers=headers, data=None if body is None else io.BytesIO(body)
        ) as response,
    ):
        return Reply(response.status, response.headers.copy(), await response.read())
