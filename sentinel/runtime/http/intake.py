"""From a request over HTTP to a body within its bounds, and from what goes wrong to a status that says whether to come again.

What receivers over HTTP share; what a body is and how an answer looks is each one's own. A sender that could never succeed
gets a status it does not try again after, and any other one 503: after 408 as well the exporters of OTLP drop what they hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import hdrs, web

from sentinel.errors import (
    InputError,
    InputTooLargeError,
    OverloadedError,
    RetryableError,
    UnsupportedInputError,
)
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.http.body import (
    BodyLimitsConfig,
    SlowInputError,
    body_is_gzip,
    inflate,
    read_body,
    refuse_declared_size,
)
from sentinel.runtime.http.server import ConnectionLimitsConfig, Handler, HttpServer, Route
from sentinel.runtime.intake.request import Intake
from sentinel.runtime.listen import ListenConfig
from sentinel.runtime.otlp_reply import OtlpSignal


class RenderRefusal(Protocol):
    """Makes the body of an answer that is no success."""

    def __call__(
        self,
        request: web.BaseRequest,
        status: int,
        message: str,
        /,
        *,
        retry_after_s: float | None = None,
    ) -> web.Response:
        """The answer; `retry_after_s` is when to come again, where that is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBody:
    """A body as it was sent, inflated.

    Attributes:
        request: what it came with.
        data: the body.
        wire_bytes: how long it was on the wire.
    """

    request: web.BaseRequest
    data: bytes
    wire_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRoute:
    """One path that bodies are sent to.

    Attributes:
        path, methods: as of `runtime.http.Route`.
        signal: what its requests are counted as.
        admitted_as: what its requests are turned away with when that is shed.
        check_head: raises `UnsupportedInputError` of a request whose body is of another kind, before that is read.
        take: answers a body; `InputError` and `OverloadedError` of it become the answer.
        authorization, at_once: as of `runtime.http.Route`.
    """

    path: str
    methods: Sequence[str]
    signal: OtlpSignal
    admitted_as: OtlpSignal
    check_head: Callable[[web.BaseRequest], object]
    take: Callable[[ReceivedBody], Awaitable[web.Response]]
    authorization: Callable[[web.BaseRequest], str | None] | None = None
    at_once: bool = False


class HttpIntake:
    """A listener in front of an intake."""

    def __init__(
        self,
        receiver: str,
        intake: Intake,
        routes: Sequence[BodyRoute],
        surroundings: Surroundings,
        *,
        listen: ListenConfig,
        connections: ConnectionLimitsConfig,
        body: BodyLimitsConfig,
        render_refusal: RenderRefusal,
    ) -> None:
        self._receiver = receiver
        self._flow = Flow(receiver, surroundings.metrics)
        self._intake = intake
        self._surroundings = surroundings
        self._limits = body
        self._render_refusal = render_refusal
        self._server = HttpServer(
            receiver,
            listen,
            connections,
            [
                Route(
                    path=route.path,
                    methods=dict.fromkeys(route.methods, self._handler(route)),
                    scope=AccessScope.INGEST,
                    authorization=route.authorization,
                    at_once=route.at_once,
                )
                for route in routes
            ],
            surroundings,
            render_error=render_refusal,
        )

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._server.port

    @property
    def url(self) -> str:
        """Where it can be reached from this machine, without a path."""
        return self._server.url

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._server.start()

    async def stop(self) -> None:
        """Turn new requests away, answer the ones begun, close; idempotent."""
        self._intake.refuse_new()
        await self._server.stop()
        self._intake.close()

    def _handler(self, route: BodyRoute) -> Handler:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = await self._answer(route, request)
            self._surroundings.metrics.count(
                "sentinel_receiver_requests_total",
                receiver=self._receiver,
                signal=route.signal.value,
                outcome="accepted" if response.status == 200 else f"http_{response.status}",
            )
            return response

        return handle

    async def _answer(self, route: BodyRoute, request: web.BaseRequest) -> web.Response:
        try:
            return await self._take(route, request)
        except UnsupportedInputError as error:
            return self._render_refusal(request, 415, str(error))
        except InputTooLargeError as error:
            return self._render_refusal(request, 413, str(error))
        except SlowInputError as error:
            self._flow.error(FlowStage.READ, FlowReason.TIMEOUT)
            response = self._come_again(request, error, self._intake.retry_after_s)
            # What is left of the body would be read as the next request.
            response.force_close()
            return response
        except InputError as error:
            return self._render_refusal(request, 400, str(error))
        except OverloadedError as error:
            return self._come_again(request, error, error.retry_after_s)

    def _come_again(
        self, request: web.BaseRequest, error: RetryableError, retry_after_s: float
    ) -> web.Response:
        response = self._render_refusal(request, 503, str(error), retry_after_s=retry_after_s)
        # The header holds whole seconds; rounding down to 0 would mean "at once".
        response.headers[hdrs.RETRY_AFTER] = str(max(1, round(retry_after_s)))
        return response

    async def _take(self, route: BodyRoute, request: web.BaseRequest) -> web.Response:
        route.check_head(request)
        limits = self._limits
        gzip = body_is_gzip(request.headers.getall(hdrs.CONTENT_ENCODING, []))
        refuse_declared_size(request, limits)
        # A body of unknown length may become as large as the limit.
        declared = request.content_length
        with self._intake.admit(
            limits.compressed_max if declared is None else declared, route.admitted_as
        ) as place:
            if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            wire = await read_body(request, limits)
            data = inflate(wire, limits) if gzip else wire
            place.grow(len(data))
            return await route.take(ReceivedBody(request=request, data=data, wire_bytes=len(wire)))


def media_type_of(request: web.BaseRequest) -> str:
    """The content type without its parameters, lower case; "" where there is none."""
    # The parameters are cut off unread: aiohttp takes two seconds for a header of eight thousand semicolons.
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
