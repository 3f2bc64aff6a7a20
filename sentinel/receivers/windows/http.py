"""Parts of windows over HTTP: `POST /v1/windows`, one part a request.

200 means that the part is on the scorer's disk, or was known, or came after its window was closed; then the collector
lets it go. 503 means come back, 415 that we are older than it; 400 and 413 that it never works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from aiohttp import hdrs, web

from sentinel.core.series.collected import Taken, WireLimits
from sentinel.errors import (
    InputError,
    InputTooLargeError,
    OverloadedError,
    RetryableError,
    UnsupportedInputError,
)
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.http.body import BodyLimitsConfig, read_body, refuse_declared_size
from sentinel.runtime.http.server import ConnectionLimitsConfig, HttpServer, Route
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.settings import ByteSize, setting

PATH = "/v1/windows"
TakePart = Callable[[bytes], Awaitable[Taken]]
"""Takes the bytes of a part; raises `InputError` and `OverloadedError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsListenConfig(ListenConfig):
    """Where parts of windows are listened for."""

    port: int = setting(4319, help="TCP port; 0 takes a free one.", restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsHttpConfig:
    """The receiver of parts of windows over HTTP; of the role `score`."""

    enabled: bool = setting(True, help="Whether to listen, in the role `score`.", restart=True)  # noqa: FBT003  # a default
    listen: WindowsListenConfig = setting(
        WindowsListenConfig(),
        help="Where to listen; beyond loopback with TLS and a token of the scope ingest.",
        restart=True,
    )
    inflight_max: ByteSize = setting(
        ByteSize(64 << 20), help="Most bytes of requests worked on at once.", restart=True
    )
    connections: ConnectionLimitsConfig = setting(
        ConnectionLimitsConfig(), help="Bounds of connections.", restart=True
    )

    def __post_init__(self) -> None:
        refuse_exposed(self.listen, scopes=[AccessScope.INGEST])
        if self.inflight_max < WireLimits().encoded_max:
            msg = "inflight_max must have room for one part, 8MiB"
            raise ValueError(msg)


class WindowsHttpReceiver:
    """Listens, and hands parts on."""

    def __init__(
        self, config: WindowsHttpConfig, take: TakePart, surroundings: Surroundings
    ) -> None:
        self._config = config
        self._take = take
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        part_max = ByteSize(WireLimits().encoded_max)
        self._limits = BodyLimitsConfig(compressed_max=part_max, inflated_max=part_max)
        self._held_bytes = 0
        self._server = HttpServer(
            self.name,
            config.listen,
            config.connections,
            [
                Route(
                    path=PATH,
                    methods={hdrs.METH_POST: self._answer},
                    scope=AccessScope.INGEST,
                )
            ],
            surroundings,
            render_error=_refusal,
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.windows_http"

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._server.port

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._server.start()
        self._health.ok(f"Listening on {self._server.url}")

    async def stop(self) -> None:
        """Answer what has begun, close."""
        await self._server.stop()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            refuse_declared_size(request, self._limits)
            size_bytes = request.content_length or self._limits.compressed_max
            if self._held_bytes + size_bytes > self._config.inflight_max:
                self._flow.error(FlowStage.READ, FlowReason.OVERLOADED)
                msg = "too many windows come at once"
                raise OverloadedError(msg)
            self._held_bytes += size_bytes
            try:
                body = await read_body(request, self._limits)
                self._flow.received(1, signal="windows")
                taken = await self._take(body)
            finally:
                self._held_bytes -= size_bytes
        except RetryableError as error:
            self._flow.error(FlowStage.TAKE, reason_of(error))
            response = _refusal(request, 503, str(error))
            response.headers[hdrs.RETRY_AFTER] = str(max(1, round(error.retry_after_s)))
            return response
        except InputError as error:
            self._flow.error(FlowStage.DECODE, reason_of(error))
            self._flow.dropped(reason_of(error))
            return _refusal(request, _status_of(error), str(error))
        self._flow.sent(1, signal="windows")
        return _json(200, {"taken": taken.value})


def _status_of(error: InputError) -> int:
    if isinstance(error, InputTooLargeError):
        return 413
    return 415 if isinstance(error, UnsupportedInputError) else 400


def _refusal(request: web.BaseRequest, status: int, message: str) -> web.Response:
    del request
    return _json(status, {"error": message})


def _json(status: int, document: dict[str, str]) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(document), content_type="application/json"
    )
