"""The connections of an HTTP server: bounds on their number and on every wait, and a short way for small requests.

A small request that came whole, on a connection where nothing else is under way, is answered in the very call that read it:
its handler is run there and then, as an eager task would be, and the answer written. The usual way takes three turns of the
loop, a task and a timer, which costs more than decoding fifty spans. A handler that has to wait goes on in the usual way,
and so does everything that is not plain: pipelined requests, upgrades, `Expect`, HTTP/1.0, `Connection: close`.

It knows the inside of aiohttp, of the one minor version that pyproject.toml allows; where names of it are missing, all goes the
usual way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from types import coroutine
from typing import Any, TypeAlias, cast

from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.web_protocol import RequestHandler

from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.turned_away import TurnedAway
from sentinel.runtime.settings import Duration, setting

Handler = Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]
Begun: TypeAlias = Coroutine[Any, Any, web.StreamResponse]
Messages: TypeAlias = Sequence[tuple[Any, StreamReader]]
"""Heads, as aiohttp's parser or its errors are, with their bodies."""

_AT_ONCE_BYTES = 96 * 1024
_HOLD_S = 0.05
"""How long a small request whose head has come waits for its body before it goes the usual way; many clients send the two
one after the other."""

_INSIDE = (
    *("_buffer_paused", "_close", "_force_close", "_keepalive_handle", "_keepalive_timeout"),
    *("_messages", "_next_keepalive_close_time", "_parser", "_paused"),
    *("_reading_paused", "_request_count", "_task_handler", "_waiter"),
)
"""What the short way uses of aiohttp's connections that is no part of its interface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimitsConfig:
    """How many connections there may be, and how long each may wait."""

    connection_count_max: int = setting(
        256, help="Most connections at once; more are told to come again."
    )
    header_timeout: Duration = setting(
        Duration(5.0), help="Longest time from a request's first byte to the end of its head."
    )
    idle_timeout: Duration = setting(
        Duration(30.0), help="How long a connection may stay without a request."
    )
    write_timeout: Duration = setting(
        Duration(30.0), help="Longest time a caller may take to read an answer."
    )
    drain_timeout: Duration = setting(
        Duration(5.0), help="How long stopping waits for requests being answered."
    )

    def __post_init__(self) -> None:
        for name in (
            "connection_count_max",
            "header_timeout",
            "idle_timeout",
            "write_timeout",
            "drain_timeout",
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)


class Connections(web.Server):
    """Makes the connections of one listener, counts them and turns away more than the limit."""

    def __init__(
        self,
        answer: Handler,
        limits: ConnectionLimitsConfig,
        surroundings: Surroundings,
        *,
        listener: str,
        at_once: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        """Store what is needed; `at_once` are the methods and paths whose small requests go the short way."""
        super().__init__(self._observed)
        self.answer = answer
        self.at_once = at_once
        if at_once and (
            missing := [each for each in _INSIDE if not hasattr(RequestHandler, each)]
        ):
            self.at_once = frozenset()
            surroundings.logger.warning(
                "This aiohttp is another one inside; small requests cost more with it",
                extra={"listener": listener, "missing": ", ".join(missing)},
            )
        self._limits = limits
        self._metrics = surroundings.metrics
        self._listener = listener
        self._open_count = 0
        self._turned_away = TurnedAway()

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return _Connection(
            self,
            self._limits,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._limits.idle_timeout,
            access_log=None,
            logger=_QUIET,
            lingering_time=2.0,
            # Bodies are inflated by runtime.body, which bounds size and ratio.
            auto_decompress=False,
        )

    def take_place(self) -> bool:
        """Count a new connection; False when there are too many."""
        if self._open_count >= self._limits.connection_count_max:
            return False
        self._open_count += 1
        self._metrics.set("sentinel_http_connections", self._open_count, listener=self._listener)
        return True

    def leave_place(self) -> None:
        """A counted connection ended."""
        self._open_count -= 1
        self._metrics.set("sentinel_http_connections", self._open_count, listener=self._listener)

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Let go of a connection that has no place, and count it."""
        told = self._turned_away.take(transport)
        self.count_closed("too_many" if told else "too_many_untold")

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # aiohttp's
        """Close all connections; those of requests being answered when these are, or after `timeout` seconds."""
        self._turned_away.close()
        await super().shutdown(timeout)

    def count_closed(self, reason: str) -> None:
        """Count a connection closed by us before it was answered."""
        self._metrics.count(
            "sentinel_http_connections_closed_total", listener=self._listener, reason=reason
        )

    async def _observed(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        try:
            begun = connection.take_begun()
            return await (self.answer(request) if begun is None else _go_on(begun))
        finally:
            connection.request_ended()


@coroutine
def _go_on(begun: Begun) -> Generator[Any, Any, web.StreamResponse]:
    """The rest of a handler that was begun outside of a task; awaited plainly it would be taken for awaited already."""
    return (yield from begun.__await__())


# aiohttp logs every malformed request with its bytes; those are a sender's text, and counted elsewhere.
_QUIET = logging.getLogger("sentinel.runtime.http.server.protocol")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _Connection(RequestHandler):
    """A connection whose heads must come and whose answers must be read in time; aiohttp bounds idle time only."""

    __slots__ = (
        "_answered",
        "_begun",
        "_factory",
        "_has_place",
        "_head_timer",
        "_held",
        "_hold_is_over",
        "_hold_timer",
        "_limits",
        "_requests_open",
    )

    def __init__(
        self, factory: Connections, limits: ConnectionLimitsConfig, **options: Any
    ) -> None:
        super().__init__(factory, **options)
        self._factory = factory
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._requests_open = 0
        self._has_place = False
        self._answered = False
        self._begun: Begun | None = None
        self._held: tuple[RawRequestMessage, StreamReader] | None = None
        self._hold_timer: asyncio.TimerHandle | None = None
        self._hold_is_over = False
        if factory.at_once:
            self._parser = cast("Any", _Sieve(self._parser, self._look, self._give_back))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._has_place = self._factory.take_place()
        if not self._has_place:
            assert isinstance(transport, asyncio.Transport)
            self._factory.turn_away(transport)
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        self._take_held()
        if (begun := self.take_begun()) is not None:
            begun.close()
        if self._has_place:
            self._has_place = False
            self._factory.leave_place()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        came = self._request_count - before
        answered, self._answered = self._answered, False
        if came or answered or self._held is not None:
            self._requests_open += came
            self._stop_timer()
        elif data and not self._requests_open and self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._limits.header_timeout, self._head_too_slow
            )

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  # aiohttp's
        # Called after every read of a body, also where nothing was paused; the parser would be asked for nothing.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; a caller that does not read it is disconnected."""
        transport = self.transport
        try:
            async with asyncio.timeout(self._limits.write_timeout):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self._factory.count_closed("slow_reader")
            # Closing would first wait for what was written to be read.
            if isinstance(transport, asyncio.Transport):
                transport.abort()
            return resp, True

    async def start(self) -> None:
        """Take requests until there are no more; what was answered last has to be read in time as well."""
        transport = self.transport
        try:
            await super().start()
        finally:
            # Small answers are written without waiting, and closing waits until they were read, for ever if need be.
            is_closing = transport is not None and transport.is_closing() and self._has_place
            if transport is not None and is_closing and transport.get_write_buffer_size():
                self._loop.call_later(self._limits.write_timeout, self._let_go, transport)

    def _let_go(self, transport: asyncio.Transport) -> None:
        if self._has_place:
            self._factory.count_closed("slow_reader")
            transport.abort()

    def request_ended(self) -> None:
        """A request of this connection was answered."""
        self._requests_open -= 1

    def take_begun(self) -> Begun | None:
        """The handler that was begun the short way and goes on in the usual one."""
        begun, self._begun = self._begun, None
        return begun

    # The short way.

    def _look(self, messages: Messages, *, upgraded: bool) -> Messages:
        """Answer what can be answered at once; the messages that are left for the usual way."""
        if self._held is not None:
            messages = [self._held, *messages]
        if upgraded or len(messages) != 1 or not self._may_answer_at_once(messages[0][0]):
            self._take_held()
            return messages
        message, payload = messages[0]
        if not payload.is_eof():
            if self._hold_is_over or not _is_small(message):
                self._take_held()
                return messages
            if self._hold_timer is None:
                self._held = (message, payload)
                self._hold_timer = self._loop.call_later(_HOLD_S, self._end_hold)
            return ()
        self._take_held()
        return () if self._answer_at_once(message, payload) else messages

    def _may_answer_at_once(self, message: Any) -> bool:  # noqa: ANN401, RUF100 - a head or an error
        idle = self._waiter is not None and not self._waiter.done() and not self._messages
        return (
            idle
            and self.transport is not None
            and not (self._close or self._force_close or self._buffer_paused or self._paused)
            and isinstance(message, RawRequestMessage)
            and (message.method, message.path.partition("?")[0]) in self._factory.at_once
            and message.version == HttpVersion11
            and not message.should_close
            and not message.upgrade
            and hdrs.EXPECT not in message.headers
        )

    def _answer_at_once(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Run the handler; False when it has to wait, and is left to be gone on with."""
        assert self._parser is not None
        assert self._task_handler is not None
        request = web.BaseRequest(
            message, payload, self, StreamWriter(self, self._loop), self._task_handler, self._loop
        )
        answering = self._factory.answer(request)
        try:
            waits_for = answering.send(None)
        except StopIteration as stop:
            response = stop.value
        except Exception:
            self.logger.exception("A request was not answered")
            self.force_close()
            return True
        else:
            assert waits_for is None, "a handler that is run at once gives the loop a turn first"
            self._begun = answering
            return False
        self._factory.requests_count += 1
        self._parser.message_consumed()
        self._answered = True
        assert isinstance(response, web.Response)
        assert self.transport is not None
        self.transport.write(_written(response))
        if response.keep_alive is False:
            # Not `close`: that leaves the transport to a request under way, and there is none.
            self.force_close()
            return True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        return True

    def _take_held(self) -> tuple[RawRequestMessage, StreamReader] | None:
        held, self._held = self._held, None
        self._hold_is_over = False
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None
        return held

    def _end_hold(self) -> None:
        self._hold_is_over = True
        self.data_received(b"")

    def _give_back(self) -> None:
        """What is held goes the usual way, because what came after it is none."""
        if (held := self._take_held()) is not None:
            self._request_count += 1
            self._messages.append(held)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self._factory.count_closed("slow_head")
        self.force_close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Sieve:
    """aiohttp's parser with a look at its messages before they are queued."""

    __slots__ = ("_give_back", "_look", "_parser")

    def __init__(
        self, parser: Any, look: Callable[..., Messages], give_back: Callable[[], None]
    ) -> None:
        self._parser = parser
        self._look = look
        self._give_back = give_back

    def feed_data(self, data: bytes) -> tuple[Messages, bool, bytes]:
        """As of the parser, less what was answered already."""
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
        except BaseException:
            self._give_back()
            raise
        return self._look(messages, upgraded=upgraded), upgraded, tail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def _is_small(message: RawRequestMessage) -> bool:
    size = message.headers.get(hdrs.CONTENT_LENGTH, "")
    return size.isdecimal() and len(size) < 9 and int(size) <= _AT_ONCE_BYTES


def _written(response: web.Response) -> bytes:
    """An answer with all its bytes, as aiohttp would write it."""
    body = response.body
    assert body is None or isinstance(body, bytes)
    body = body or b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.keep_alive is False:
        lines.append("Connection: close")
    lines += [
        f"Content-Length: {len(body)}",
        f"Date: {rfc822_formatted_time()}",
        f"Server: {SERVER_SOFTWARE}\r\n\r\n",
    ]
    return "\r\n".join(lines).encode() + body
