"""Fetching a page of another system: one time limit over the whole body, one bound after decompression.

A target may be hostile or ill: it may drip, never end, send a bomb, or point elsewhere. So nothing is followed, nothing
is taken from the environment's proxies, and only one layer of gzip is opened.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import aiohttp

from sentinel.errors import (
    InputTooLargeError,
    MalformedInputError,
    RefusedError,
    TooSlowError,
    UnreachableError,
    UnsupportedInputError,
    UntrustedError,
)
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.http.client import (
    ClientConfig,
    client_context,
    new_session,
    place_of,
)

BODY_BYTES_MAX = 8 * 2**20


_place_of = lru_cache(maxsize=512)(place_of)
"""Targets are few, and each is asked again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer, whole.

    Attributes:
        status: 200-299, or one that was asked for besides.
        headers: names in lower case.
        body: decompressed.
        wire_bytes: how much came over the wire.
    """

    status: int
    body: bytes
    wire_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Fetcher:
    """One system's client; its session is made on first use and again after `close`."""

    def __init__(
        self, config: ClientConfig, url: str, *, body_bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        """Make it for places like `url`; ConfigError when a file of its TLS cannot be used."""
        self._config = config
        self._body_bytes_max = body_bytes_max
        self._tls = client_context(config, url)
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        also: Collection[int] = (),
        form: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Get a page once.

        Args:
            url: of the page.
            headers: sent besides our own.
            also: statuses that are an answer too, such as the 503 of a health check.
            form: posted as a form, for what is too long for a URL.

        Raises:
            UnreachableError: no answer or a broken one; TooSlowError: none in time.
            UntrustedError: its certificate is not believed.
            RefusedError: any other status but 2xx, a redirect too.
            InputTooLargeError: the body is over the bound.
            MalformedInputError: its compression is broken.
            UnsupportedInputError: an encoding that is not spoken here.
        """
        place = _place_of(url)
        try:
            async with asyncio.timeout(self._config.timeout):
                return await self._get(url, dict(headers or {}), place, also, form)
        except TimeoutError:
            msg = f"no whole answer from {place} within {self._config.timeout:g} s"
            raise TooSlowError(msg) from None
        except aiohttp.ClientError as error:
            if distrust := distrust_of(error):
                msg = f"{distrust} at {place}"
                raise UntrustedError(msg) from None
            # The class and the place say enough; an error's own text may quote the URL.
            number = error.errno if isinstance(error, OSError) else None
            what = os.strerror(number) if number and number > 0 else type(error).__name__
            if isinstance(error, aiohttp.ClientResponseError):
                what = "no HTTP is spoken"
            elif isinstance(error, aiohttp.ClientConnectorDNSError):
                what = "the name is not known"
            msg = f"{what} at {place}"
            raise UnreachableError(msg) from None
        except (OSError, ValueError) as error:
            msg = f"{type(error).__name__} at {place}"
            raise UnreachableError(msg) from None

    async def close(self) -> None:
        """Release connections; idempotent."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _get(
        self,
        url: str,
        headers: dict[str, str],
        place: str,
        also: Collection[int],
        form: Mapping[str, str] | None,
    ) -> Fetched:
        session = self._ready_session()
        method = "GET" if form is None else "POST"
        async with session.request(
            method, url, data=form, headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300 and response.status not in also:
                what = "a redirect is not followed" if 300 <= response.status < 400 else "refused"
                # What is left of the body is not read, so the connection cannot be used again.
                response.close()
                raise RefusedError(what, status=response.status, endpoint=place)
            body, wire_bytes = await self._body(response)
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return Fetched(
                status=response.status, headers=lowered, body=body, wire_bytes=wire_bytes
            )

    async def _body(self, response: aiohttp.ClientResponse) -> tuple[bytes, int]:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            response.close()
            msg = f"content encoding {encoding[:40]!r} is not spoken here"
            raise UnsupportedInputError(msg)
        inflating = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        chunks: list[bytes] = []
        size_bytes = wire_bytes = 0
        # As they come: cut to size they would be copied once more.
        async for chunk in response.content.iter_any():
            wire_bytes += len(chunk)
            part = chunk
            if inflating is not None:
                left = self._body_bytes_max - size_bytes + 1
                try:
                    part = inflating.decompress(chunk, left)
                except zlib.error as error:
                    response.close()
                    msg = f"the body is not valid gzip: {error}"
                    raise MalformedInputError(msg) from None
            size_bytes += len(part)
            # The wire is bounded too: what follows the end of the gzip would be kept without being counted.
            if max(size_bytes, wire_bytes) > self._body_bytes_max or (
                inflating is not None and inflating.unconsumed_tail
            ):
                response.close()
                msg = "the body is too large"
                raise InputTooLargeError(
                    msg, size_bytes=size_bytes, limit_bytes=self._body_bytes_max
                )
            chunks.append(part)
        if inflating is not None and not inflating.eof:
            msg = "the gzip body is cut off"
            raise MalformedInputError(msg)
        return b"".join(chunks), wire_bytes

    def _ready_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session(self._config, {"Accept-Encoding": "gzip"}, tls=self._tls)
        return self._session
