"""One attempt to hand a request on, over HTTP or gRPC. Both end within their time limit and never raise."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import aiohttp

from sentinel.runtime.distrust import distrust_in, distrust_of
from sentinel.runtime.echo import secrets_of
from sentinel.runtime.flow import FlowReason
from sentinel.runtime.http.client import (
    REPLY_BYTES_MAX,
    Reply,
    authorization_of,
    client_context,
    new_session,
    place_of,
    retry_after_of,
)
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.senders.otlp_forward.config import Compression, EndpointConfig, ForwardProtocol
from sentinel.senders.otlp_forward.outcome import Outcome, Verdict, of_grpc, of_http

if TYPE_CHECKING:
    import grpc.aio

_INLINE_GZIP_BYTES = 32 * 1024
_GZIP_LEVEL = 1
_RETRY_AFTER_MAX_S = 300.0
_METHODS = {
    OtlpSignal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    OtlpSignal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    OtlpSignal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


class Transport(Protocol):
    """Hands requests on to one endpoint."""

    async def send(self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes) -> Outcome:
        """Try once."""
        ...

    async def close(self) -> None:
        """Release connections; idempotent."""
        ...


def make_transport(config: EndpointConfig) -> Transport:
    """The one that is configured; ConfigError when a file of its TLS cannot be used."""
    return (
        GrpcTransport(config) if config.protocol is ForwardProtocol.GRPC else HttpTransport(config)
    )


class HttpTransport:
    """OTLP over HTTP, protobuf or JSON."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._base = config.url.rstrip("/")
        self._tls = client_context(config.client, config.url)
        self._headers = {
            "User-Agent": "sentinel",
            **config.all_headers(),
            **authorization_of(config.client),
        }
        client = config.client
        credentials = [one.reveal() for one in (client.bearer_token, client.basic_password) if one]
        self._secrets = secrets_of(config.url, self._headers, credentials)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes) -> Outcome:
        """Post once."""
        headers = {"Content-Type": encoding.value}
        if self._config.compression is Compression.GZIP:
            headers["Content-Encoding"] = "gzip"
            body = await _gzipped(body)
        place = place_of(self._base)
        try:
            async with (
                asyncio.timeout(self._config.client.timeout),
                self._ready().post(
                    f"{self._base}/v1/{signal.value}",
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                said = await _bounded(response)
                status = response.status
                reply_encoding = (
                    OtlpEncoding.JSON
                    if response.content_type == OtlpEncoding.JSON.value
                    else OtlpEncoding.PROTOBUF
                )
                detail = Reply(
                    status=status, text=said.decode("utf-8", "replace"), secrets=self._secrets
                ).detail
                return of_http(
                    status,
                    said,
                    reply_encoding,
                    retry_after_s=retry_after_of(response.headers),
                    detail=f"{place}: {detail}",
                )
        except TimeoutError:
            detail = f"no answer from {place} in time"
            return Outcome(verdict=Verdict.RETRY, reason=FlowReason.TIMEOUT, detail=detail)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The class and the place say enough; an error's own text may quote the URL.
            if distrust := distrust_of(error):
                return _untrusted(distrust, place)
            detail = f"{type(error).__name__} at {place}"
            return Outcome(verdict=Verdict.RETRY, reason=FlowReason.UNREACHABLE, detail=detail)

    async def close(self) -> None:
        """Release connections; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session(self._config.client, self._headers, tls=self._tls)
        return self._session


class GrpcTransport:
    """OTLP over gRPC. The library is loaded with the first of these."""

    def __init__(self, config: EndpointConfig) -> None:
        import grpc.aio  # noqa: PLC0415, RUF100

        self._config = config
        client_context(config.client)  # names the file that cannot be used, which gRPC would not
        parts = urlsplit(config.url)
        self._is_tls = parts.scheme == "https"
        self._target = place_of(config.url)
        headers = {**config.all_headers(), **authorization_of(config.client)}
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        client = config.client
        credentials = [one.reveal() for one in (client.bearer_token, client.basic_password) if one]
        self._secrets = secrets_of(config.url, headers, credentials)
        self._compression = (
            grpc.Compression.Gzip
            if config.compression is Compression.GZIP
            else grpc.Compression.NoCompression
        )
        self._channel: grpc.aio.Channel | None = None

    async def send(self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes) -> Outcome:  # noqa: ARG002  # the protocol's
        """Call once; bodies are protobuf."""
        import grpc  # noqa: PLC0415, RUF100

        try:
            call = self._ready().unary_unary(
                _METHODS[signal], request_serializer=None, response_deserializer=None
            )
            said = await call(
                body,
                timeout=self._config.client.timeout,
                metadata=self._metadata,
                compression=self._compression,
            )
        except grpc.aio.AioRpcError as error:
            text = error.details() or ""
            if self._is_tls and (distrust := distrust_in(text)):
                return _untrusted(distrust, self._target)
            detail = Reply(status=0, text=text, secrets=self._secrets).detail
            return of_grpc(
                error.code().value[0],
                retry_after_s=_retry_info(error.trailing_metadata()),
                said=text,
                detail=f"{self._target}: {error.code().name} {detail}".rstrip(),
            )
        except (TimeoutError, OSError, ValueError) as error:
            detail = f"{type(error).__name__} at {self._target}"
            return Outcome(verdict=Verdict.RETRY, reason=FlowReason.UNREACHABLE, detail=detail)
        return of_http(200, bytes(said), OtlpEncoding.PROTOBUF, retry_after_s=None, detail="")

    async def close(self) -> None:
        """Release the connection; idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def _ready(self) -> grpc.aio.Channel:
        import grpc  # noqa: PLC0415, RUF100

        if self._channel is None:
            options = (
                ("grpc.max_receive_message_length", REPLY_BYTES_MAX),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                ("grpc.service_config_disable_resolution", 1),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2000),
            )
            if self._is_tls:
                client = self._config.client
                credentials = grpc.ssl_channel_credentials(
                    root_certificates=_read(client.ca_file),
                    private_key=_read(client.key_file),
                    certificate_chain=_read(client.cert_file),
                )
                self._channel = grpc.aio.secure_channel(self._target, credentials, options=options)
            else:
                self._channel = grpc.aio.insecure_channel(self._target, options=options)
        return self._channel


def _untrusted(distrust: str, place: str) -> Outcome:
    """Tried again: a certificate is renewed without a word to us."""
    detail = f"{distrust} at {place}"
    return Outcome(verdict=Verdict.RETRY, reason=FlowReason.CERTIFICATE, detail=detail)


async def _gzipped(body: bytes) -> bytes:
    if len(body) <= _INLINE_GZIP_BYTES:
        return _gzip(body)
    return await asyncio.to_thread(_gzip, body)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        read += chunk
        if len(read) >= REPLY_BYTES_MAX:
            response.close()
            break
    return bytes(read[:REPLY_BYTES_MAX])


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _retry_info(metadata: object) -> float | None:
    """What `google.rpc.RetryInfo` in the trailers says; None without one."""
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # noqa: PLC0415, RUF100

    for key, value in metadata or ():  # type: ignore[attr-defined]  # pairs, whatever their class
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    wish_s = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                    return float(min(max(wish_s, 0.0), _RETRY_AFTER_MAX_S))
        except Exception:  # noqa: BLE001  # whatever it is, it is not a wish that can be read
            return None
    return None
