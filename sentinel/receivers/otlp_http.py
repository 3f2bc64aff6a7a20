"""OTLP over HTTP: traces, metrics and logs as protobuf or JSON, plain or gzip.

200 means that the batch is held in memory until its windows close; the sender keeps what was answered
with 503. What can never work is answered with a status that OTLP senders do not retry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import hdrs, web

from sentinel.errors import UnsupportedInputError
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.http.intake import BodyRoute, HttpIntake, ReceivedBody, media_type_of
from sentinel.runtime.http.server import ConnectionLimitsConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.intake.request import Decoder, Intake, IntakeLimitsConfig, describe_rejected
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal, encode_status, encode_success
from sentinel.runtime.settings import setting

_RPC_CODE = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 500: 13, 503: 14}
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
        self._health = HealthRecord(surroundings.clock)
        self._intake = Intake(self.name, config.intake, make_decoder, downstream, surroundings)
        self._http = HttpIntake(
            self.name,
            self._intake,
            [
                BodyRoute(
                    path=f"/v1/{signal}",
                    methods=(hdrs.METH_POST,),
                    signal=signal,
                    admitted_as=signal,
                    check_head=_encoding_of,
                    take=partial(self._take, signal),
                    at_once=True,
                )
                for signal in OtlpSignal
            ],
            surroundings,
            listen=config.listen,
            connections=config.connections,
            body=config.body,
            render_refusal=_render_refusal,
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.otlp_http"

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._http.port

    @property
    def url(self) -> str:
        """The base that exporters are given."""
        return self._http.url

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._http.start()
        self._health.ok(f"Listening on {self.url}")

    async def stop(self) -> None:
        """Turn new requests away, answer the ones begun, close."""
        await self._http.stop()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _take(self, signal: OtlpSignal, body: ReceivedBody) -> web.Response:
        encoding = _encoding_of(body.request)
        batch = await self._intake.take(signal, encoding, body.data, wire_bytes=body.wire_bytes)
        reply = encode_success(
            signal,
            encoding,
            rejected_count=batch.rejected_count,
            message=describe_rejected(batch),
        )
        return web.Response(body=reply, content_type=encoding.value)


def _encoding_of(request: web.BaseRequest) -> OtlpEncoding:
    try:
        return OtlpEncoding(media_type_of(request))
    except ValueError:
        msg = "content type must be application/x-protobuf or application/json"
        raise UnsupportedInputError(msg) from None


def _render_refusal(
    request: web.BaseRequest,
    status: int,
    message: str,
    /,
    *,
    retry_after_s: float | None = None,
) -> web.Response:
    try:
        encoding = _encoding_of(request)
    except UnsupportedInputError:
        encoding = OtlpEncoding.JSON
    body = encode_status(
        encoding, code=_RPC_CODE.get(status, 2), message=message, retry_after_s=retry_after_s
    )
    return web.Response(status=status, body=body, content_type=encoding.value)
