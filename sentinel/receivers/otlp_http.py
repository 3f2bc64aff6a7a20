"""OTLP over HTTP: traces, metrics and logs as protobuf or JSON, plain or gzip.

200 means that the batch is held in memory until its windows close; the sender keeps what was answered
with 503. What can never work is answered with a status that OTLP senders do not retry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from sentinel.errors import (
    InputError,
    InputTooLargeError,
    OverloadedError,
    UnsupportedInputError,
)
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.body import (
    BodyLimitsConfig,
    SlowInputError,
    body_is_gzip,
    inflate,
    read_body,
    refuse_declared_size,
)
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.downstream import Downstream
from sentinel.runtime.http import ConnectionLimitsConfig, Handler, HttpServer, Route
from sentinel.runtime.intake import Decoder, Intake, IntakeLimitsConfig, describe_rejected
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal, encode_status, encode_success
from sentinel.runtime.settings import setting

_RPC_CODE = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 500: 13, 503: 14}
"""google.rpc.Code by HTTP status; senders go by the HTTP status alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpHttpListenConfig(ListenConfig):
    """Where OTLP over HTTP is listened for."""

    port: int = setting(4318, help="TCP port; 0 takes a free one.", restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpHttpConfig:
    """The receiver of OTLP over HTTP."""

    enabled: bool = setting(True, help="Whether to listen.", restart=True)  # noqa: FBT003  # a default
    listen: OtlpHttpListenConfig = setting(
        OtlpHttpListenConfig(), help="Where to listen.", restart=True
    )
    body: BodyLimitsConfig = setting(BodyLimitsConfig(), help="Bounds of one body.", restart=True)
    intake: IntakeLimitsConfig = setting(
        IntakeLimitsConfig(), help="Bounds of all requests together.", restart=True
    )
    connections: ConnectionLimitsConfig = setting(
        ConnectionLimitsConfig(), help="Bounds of connections.", restart=True
    )

    def __post_init__(self) -> None:
        refuse_exposed(self.listen, scopes=[AccessScope.INGEST])


class OtlpHttpReceiver:
    """Answers `POST /v1/traces`, `/v1/metrics` and `/v1/logs`."""

    def __init__(
        self,
        config: OtlpHttpConfig,
        downstream: Downstream,
        surroundings: Surroundings,
        *,
        make_decoder: Callable[[], Decoder],
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._intake = Intake(self.name, config.intake, make_decoder, downstream, surroundings)
        self._server = HttpServer(
            self.name,
            config.listen,
            config.connections,
            [
                Route(
                    path=f"/v1/{signal}",
                    methods={hdrs.METH_POST: self._handler(signal)},
                    scope=AccessScope.INGEST,
                )
                for signal in OtlpSignal
            ],
            surroundings,
            render_error=_render_error,
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.otlp_http"

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._server.port

    @property
    def url(self) -> str:
        """The base that exporters are given."""
        return self._server.url

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._server.start()
        self._health.ok(f"Listening on {self.url}")

    async def stop(self) -> None:
        """Turn new requests away, answer the ones begun, close."""
        self._intake.refuse_new()
        await self._server.stop()
        self._intake.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    def _handler(self, signal: OtlpSignal) -> Handler:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = await self._export(signal, request)
            self._surroundings.metrics.count(
                "sentinel_receiver_requests_total",
                receiver=self.name,
                signal=signal.value,
                outcome=_outcome(response),
            )
            return response

        return handle

    async def _export(self, signal: OtlpSignal, request: web.BaseRequest) -> web.Response:
        try:
            return await self._take(signal, request)
        except UnsupportedInputError as error:
            return _render_error(request, 415, str(error))
        except InputTooLargeError as error:
            return _render_error(request, 413, str(error))
        except SlowInputError as error:
            response = _render_error(request, 408, str(error))
            response.force_close()
            return response
        except InputError as error:
            return _render_error(request, 400, str(error))
        except OverloadedError as error:
            return _render_busy(request, error)

    async def _take(self, signal: OtlpSignal, request: web.BaseRequest) -> web.Response:
        encoding = _encoding(request)
        if encoding is None:
            msg = "content type must be application/x-protobuf or application/json"
            raise UnsupportedInputError(msg)
        limits = self._config.body
        gzip = body_is_gzip(request.headers.getall(hdrs.CONTENT_ENCODING, []))
        refuse_declared_size(request, limits)
        # A body of unknown length may become as large as the limit.
        declared = request.content_length
        with self._intake.admit(
            limits.compressed_max if declared is None else declared, signal
        ) as place:
            if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            wire = await read_body(request, limits)
            body = inflate(wire, limits) if gzip else wire
            place.grow(len(body))
            batch = await self._intake.take(signal, encoding, body, wire_bytes=len(wire))
        reply = encode_success(
            signal,
            encoding,
            rejected_count=batch.rejected_count,
            message=describe_rejected(batch),
        )
        return web.Response(body=reply, content_type=encoding.value)


def _encoding(request: web.BaseRequest) -> OtlpEncoding | None:
    # The parameters are cut off unread: aiohttp takes two seconds for a header of eight thousand semicolons.
    media_type = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0]
    try:
        return OtlpEncoding(media_type.strip().lower())
    except ValueError:
        return None


def _outcome(response: web.StreamResponse) -> str:
    return "accepted" if response.status == 200 else f"http_{response.status}"


def _render_error(request: web.BaseRequest, status: int, message: str) -> web.Response:
    encoding = _encoding(request) or OtlpEncoding.JSON
    body = encode_status(encoding, code=_RPC_CODE.get(status, 2), message=message)
    return web.Response(status=status, body=body, content_type=encoding.value)


def _render_busy(request: web.BaseRequest, error: OverloadedError) -> web.Response:
    encoding = _encoding(request) or OtlpEncoding.JSON
    body = encode_status(
        encoding, code=_RPC_CODE[503], message=str(error), retry_after_s=error.retry_after_s
    )
    response = web.Response(status=503, body=body, content_type=encoding.value)
    # The header holds whole seconds; rounding down to 0 would mean "at once".
    response.headers[hdrs.RETRY_AFTER] = str(max(1, round(error.retry_after_s)))
    return response
