"""One attempt to bring a part of a window to the scorer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sentinel.runtime.http.client import ClientConfig, HttpClient, place_of

PATH = "/v1/windows"
MEDIA_TYPE = "application/vnd.sentinel.window"
_NEVER = frozenset({400, 413})
"""A scorer that knows no such version (415) is older, and upgraded soon: the window waits for that."""


class Verdict(StrEnum):
    """What became of an attempt."""

    TAKEN = "taken"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        verdict: TAKEN is kept by the scorer on its disk; REFUSED never works.
        detail: what went wrong, for a person, without secrets.
        retry_after_s: the scorer's wish.
    """

    verdict: Verdict
    detail: str = ""
    retry_after_s: float | None = None


class Transport(Protocol):
    """A way to the scorer."""

    @property
    def place(self) -> str:
        """Where it leads, for messages."""
        ...

    async def send(self, body: bytes, *, identity: str) -> Outcome:
        """Try once, within a time limit; never raises. `identity` is the same when the part is sent again."""
        ...

    async def close(self) -> None:
        """Let connections go; idempotent."""
        ...


class HttpTransport:
    """POST to the scorer itself."""

    def __init__(self, url: str, client: ClientConfig) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used."""
        self._url = url.rstrip("/") + PATH
        self._client = HttpClient(client, url)

    @property
    def place(self) -> str:
        """Where it leads, for messages."""
        return place_of(self._url)

    async def send(self, body: bytes, *, identity: str) -> Outcome:
        """Try once."""
        headers = {"Content-Type": MEDIA_TYPE, "X-Sentinel-Part": identity}
        reply = await self._client.post(self._url, body, headers)
        if reply.ok:
            return Outcome(verdict=Verdict.TAKEN)
        verdict = Verdict.REFUSED if reply.status in _NEVER else Verdict.RETRY
        return Outcome(verdict=verdict, detail=reply.detail, retry_after_s=reply.retry_after_s)

    async def close(self) -> None:
        """Let connections go; idempotent."""
        await self._client.close()
