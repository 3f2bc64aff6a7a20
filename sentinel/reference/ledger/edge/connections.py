"""The edge's connections: how many there may be, and how long each may take over what it sends and reads.

aiohttp bounds one thing only, how long a connection may be idle after an answer. Before the first head that is the only limit as
well, so half a head would keep a connection for that long; and nothing bounds their number. It knows the inside of aiohttp, of the
minor version that pyproject.toml allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.edge.problem import ProblemError, problem_of, render

# Beyond the limit so many more are told to come again; a flood of yet more is closed without a word.
_TOLD_COUNT_MAX: Final = 64
_TOLD_WITHIN_S: Final = 2.0

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be, and how long each may wait.

    Attributes:
        count_max: connections at once; some more are answered 503.
        head_timeout_s: from a connection's beginning to the end of its first head, and from a further head's first byte to its end;
            for the handshake before the first as well.
        idle_timeout_s: from an answer to the next head.
        write_timeout_s: how long a client may take to read an answer.
    """

    count_max: int = 2048
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 30.0


class Closed(StrEnum):
    """Why the edge closed a connection; the value is for counting."""

    TOO_MANY = "too_many"
    TOO_MANY_UNTOLD = "too_many_untold"
    SLOW_HEAD = "slow_head"
    SLOW_READER = "slow_reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who is told of connections: of what failed outside the application, and of what was closed."""

    failed: Callable[[BaseException | None], None]
    closed: Callable[[Closed], None]


class Connections(web.Server):
    """Takes connections in the application's stead, bounds them, and has them know what a problem is."""

    def __init__(self, application: web.Server, limits: ConnectionLimits, told: Told) -> None:
        super().__init__(
            _answered(application.request_handler, told),
            request_factory=application.request_factory,
        )
        self.limits = limits
        self.told = told
        self.open_count = 0

    def __call__(self) -> web.RequestHandler:
        """A new connection."""
        return _Connection(self)


class _Connection(web.RequestHandler):
    """One connection."""

    # The base has slots and no dictionary.
    __slots__ = ("_all", "_head_timer", "_is_counted", "is_one_too_many")

    def __init__(self, connections: Connections) -> None:
        super().__init__(
            connections,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=connections.limits.idle_timeout_s,
            # None is what switches it off, whatever the annotation says; every request is in the metrics.
            access_log=None,  # type: ignore[arg-type]
        )
        self._all = connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_counted = False
        self.is_one_too_many = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        over_count = self._all.open_count - self._all.limits.count_max
        if over_count >= _TOLD_COUNT_MAX:
            self._all.told.closed(Closed.TOO_MANY_UNTOLD)
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._all.open_count += 1
        self._is_counted = True
        self.is_one_too_many = over_count >= 0
        if self.is_one_too_many:
            self._all.told.closed(Closed.TOO_MANY)
        super().connection_made(transport)
        limit_s = self._all.limits.head_timeout_s
        self._start_timer(min(limit_s, _TOLD_WITHIN_S) if self.is_one_too_many else limit_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self._is_counted:
            self._is_counted = False
            self._all.open_count -= 1
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_timer()
        elif self._waiter is not None and not self._waiter.done() and self._head_timer is None:
            # Nothing is under way, so this is the beginning of a head.
            self._start_timer(self._all.limits.head_timeout_s)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; a client that does not read it is disconnected."""
        transport = self.transport
        try:
            async with asyncio.timeout(self._all.limits.write_timeout_s):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self._all.told.closed(Closed.SLOW_READER)
            # Closing would first wait for what was written to be read.
            if isinstance(transport, asyncio.Transport):
                transport.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes what was sent
    ) -> web.StreamResponse:
        """Return the answer to what is no request, and close the connection."""
        self._all.told.failed(exc)
        if request.writer.output_size > 0:
            # Half an answer has left: nothing that follows would be understood.
            text = "an answer was broken off"
            raise ConnectionError(text)
        if status < 500:
            response = render(
                ProblemError(code="bad_request", detail="This is not HTTP as it must be.")
            )
        else:
            response = render(problem_of(exc or RuntimeError()))
        response.force_close()
        return response

    def _start_timer(self, timeout_s: float) -> None:
        self._head_timer = self._loop.call_later(timeout_s, self._head_too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.is_one_too_many:
            self._all.told.closed(Closed.SLOW_HEAD)
        self.force_close()


def _answered(handler: Handler, told: Told) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, _Connection) and connection.is_one_too_many:
            response = render(
                ProblemError(code="overloaded", detail="There are too many connections.")
            )
            response.force_close()
            return response
        try:
            return await handler(request)
        except web.HTTPException as error:
            told.failed(error)
            return render(problem_of(error))

    return answer
