"""How a look round asks: bounded in time, bytes and number, and what each way of not answering is called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import orjson

from sentinel.app.discover.findings import Finding, Outcome, told
from sentinel.errors import (
    InputError,
    MalformedInputError,
    RefusedError,
    SentinelError,
    UnreachableError,
)
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.http.fetch import Fetched, Fetcher
from sentinel.runtime.settings import Duration

_AT_ONCE_MAX = 8
_JSON_BYTES_MAX = 8 * 2**20

Item = TypeVar("Item")
Result = TypeVar("Result")


class Asking:
    """One look round's HTTP client."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._fetcher = Fetcher(
            ClientConfig(connect_timeout=Duration(timeout_s), timeout=Duration(timeout_s)),
            "https://",  # some may be
            body_bytes_max=_JSON_BYTES_MAX,
        )

    async def get(self, url: str, accept: str = "*/*") -> Fetched:
        """The page; see `runtime.fetch.Fetcher.get`."""
        return await self._fetcher.get(url, {"Accept": accept})

    async def json(self, url: str) -> dict[str, Any]:
        """The JSON object at an address; MalformedInputError when it is none."""
        fetched = await self.get(url, "application/json")
        try:
            document = orjson.loads(fetched.body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            msg = "the answer is not a JSON object"
            raise MalformedInputError(msg)
        return document

    async def close(self) -> None:
        """Release connections."""
        await self._fetcher.close()


async def at_once(
    items: Iterable[Item], look: Callable[[Item], Awaitable[Result]]
) -> list[Result]:
    """What `look` gives for each, in order, a few at a time."""
    room = asyncio.Semaphore(_AT_ONCE_MAX)

    async def one(item: Item) -> Result:
        async with room:
            return await look(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


def not_found(kind: str, where: str, error: Exception, *, asked: bool, name: str) -> Finding:
    """What an attempt that failed tells of the place."""
    outcome, sentence = Outcome.ABSENT, told(str(error))
    if isinstance(error, RefusedError):
        outcome = Outcome.LACKING if error.status in (401, 403) else Outcome.OTHER
        sentence = (
            f"answers with status {error.status}: it wants credentials"
            if outcome is Outcome.LACKING
            else f"answers with status {error.status}, which {name} does not"
        )
    elif isinstance(error, InputError):
        outcome, sentence = Outcome.OTHER, f"does not answer as {name} does: {told(str(error))}"
    elif isinstance(error, TimeoutError):
        sentence = "does not answer in time"
    elif not isinstance(error, (UnreachableError, SentinelError, OSError)):
        outcome, sentence = Outcome.OTHER, f"could not be read: {type(error).__name__}"
    return Finding(kind=kind, where=where, outcome=outcome, sentence=sentence, asked=asked)


def base_of(url: str) -> str:
    """A base URL without a slash at its end."""
    return url.rstrip("/")


def text_of(value: object, default: str = "") -> str:
    """A text from a document of the other side, made harmless; the default when it is none."""
    return told(value) if isinstance(value, str) and value else default


def dict_of(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """A JSON list, or an empty one."""
    return value if isinstance(value, list) else []


def system_reason(error: OSError) -> str:
    """Why the system refused, without its number.

    >>> system_reason(FileNotFoundError(2, "No such file or directory"))
    'no such file or directory'
    """
    reason = error.strerror or type(error).__name__
    return told(reason[:1].lower() + reason[1:])
