"""Pulling messages off a durable consumer, by count and by size.

The client's own `fetch` asks by count alone: two hundred messages may be batches of four hundred kilobytes each, which no process
of modest memory holds. The server's request for messages has a limit in bytes, so it is made here.

A request is answered by messages and, last, by a status. `no_wait` with a time to wait means: what is there now, or else the first
that comes within that time. A status is told from an earlier request's by the subject it comes on.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import APIError, NoStreamResponseError

_NOBODY: Final = "503"
_NOTHING: Final = frozenset({"404", "408"})
_ENDED: Final = "409"
# Of the reasons for which the server ends a request early, those that are about the request alone.
_FULL: Final = ("Message Size Exceeds MaxBytes", "Batch Completed")
_GONE: Final = "Consumer Deleted"
# What the answer that nothing has come may be late by.
_GRACE_S: Final = 1.0


class Pull:
    """What is read of one consumer; one `fetch` at a time."""

    def __init__(self, client: Client, *, stream: str, durable: str) -> None:
        self._client = client
        self._asks = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._requests_count = 0

    async def start(self) -> None:
        """Listen for answers."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*")

    async def stop(self) -> None:
        """Listen no more; what was delivered and not fetched is delivered again."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    async def fetch(self, *, count_max: int, bytes_max: int, wait_s: float) -> list[Msg]:
        """Return messages that are there, or the first that come within `wait_s`; none when none came.

        Together they have at most `bytes_max`, headers and subjects included, unless the first alone has more.

        Raises:
            NoStreamResponseError: there is no such consumer, or it went while it was asked.
            APIError: the server refused.
        """
        messages = await self._left_over(count_max)
        if messages:
            return messages
        messages, is_too_large = await self._ask(
            {"batch": count_max, "max_bytes": bytes_max}, count_max, wait_s
        )
        if is_too_large and not messages:
            # It must be fetched some day, however large it is: alone.
            messages, _ = await self._ask({"batch": 1}, 1, wait_s)
        return messages

    async def _left_over(self, count_max: int) -> list[Msg]:
        """Return what came after an earlier request had been given up."""
        messages: list[Msg] = []
        while self._listener.pending_msgs and len(messages) < count_max:
            message = await self._listener.next_msg(_GRACE_S)  # it is there already
            if not _status(message):
                messages.append(message)
        return messages

    async def _ask(
        self, request: dict[str, int], count_max: int, wait_s: float
    ) -> tuple[list[Msg], bool]:
        """Return what one request brings, and whether it ended because the next message is too large for it."""
        self._requests_count += 1
        reply = f"{self._inbox}.{self._requests_count}"
        asked = {**request, "no_wait": True, "expires": int(wait_s * 1e9)}
        await self._client.publish(self._asks, orjson.dumps(asked), reply=reply)
        messages: list[Msg] = []
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + wait_s + _GRACE_S
        while len(messages) < count_max:
            try:
                message = await self._listener.next_msg(max(ends_s - loop.time(), 0.001))
            except TimeoutError:
                break
            status = _status(message)
            if not status:
                messages.append(message)
            elif message.subject == reply:
                return messages, _ends(message, status, has_some=bool(messages))
        return messages, False

    @property
    def _listener(self) -> Subscription:
        assert self._subscription is not None, "fetch before start"
        return self._subscription


def _ends(message: Msg, status: str, *, has_some: bool) -> bool:
    """Judge the status that ends a request: whether the next message is too large; raises when it is a failure."""
    described = (message.headers or {}).get("Description", "")
    if status in _NOTHING:
        return False
    if status == _ENDED and described.startswith(_FULL):
        return described.startswith(_FULL[0])
    if has_some:
        return False  # what is wrong will be told to the next request too
    if status == _NOBODY or described.startswith(_GONE):
        raise NoStreamResponseError
    if status == _ENDED:
        return False  # such as a change of leader: asked again, it is another that answers
    raise APIError.from_msg(message)


def _status(message: Msg) -> str:
    # A message has a place on its stream, and is acknowledged there; a status has none.
    return "" if message.reply else (message.headers or {}).get("Status", "")
