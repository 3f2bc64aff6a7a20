"""OTLP over gRPC: the three export methods with raw bytes, so that no generated code stands between.

gRPC itself refuses messages far over the limit, also compressed ones, before they are inflated whole; what is a
little over it is let through and refused here, by name. A busy answer is UNAVAILABLE with RetryInfo: a bare
RESOURCE_EXHAUSTED would make senders drop their batch.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sentinel.errors import InputError, InputTooLargeError, OverloadedError
from sentinel.runtime.auth import AccessDecision, AccessScope, TokenTable
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.intake.request import Decoder, Intake, IntakeLimitsConfig, describe_rejected
from sentinel.runtime.listen import ListenConfig, bind_address, cannot_listen, refuse_exposed
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal, encode_status, encode_success
from sentinel.runtime.settings import ByteSize, Duration, setting
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tls import ServerTls

if TYPE_CHECKING:
    import grpc

_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": OtlpSignal.TRACES,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": OtlpSignal.METRICS,
    "opentelemetry.proto.collector.logs.v1.LogsService": OtlpSignal.LOGS,
}
_UNAVAILABLE = 14
_MARGIN_BYTES = 2**20
"""gRPC tells nobody here what it refused; honest batches that outgrew the limit are seen within this."""

_LOOKAHEAD_BYTES = 64 * 1024
"""How much of a message the library holds before it is read."""

Export = Callable[[OtlpSignal, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """How a call ends: with a reply, or refused."""

    outcome: str
    reply: bytes = b""
    refused_as: grpc.StatusCode | None = None
    text: str = ""
    trailers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpGrpcListenConfig(ListenConfig):
    """Where OTLP over gRPC is listened for."""

    port: int = setting(4317, help="TCP port; 0 takes a free one.", restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpGrpcConfig:
    """The receiver of OTLP over gRPC."""

    enabled: bool = setting(True, help="Whether to listen.", restart=True)  # noqa: FBT003  # a default
    listen: OtlpGrpcListenConfig = setting(
        OtlpGrpcListenConfig(), help="Where to listen.", restart=True
    )
    message_max: ByteSize = setting(
        ByteSize(4 * 2**20), help="Largest message, after decompression.", restart=True
    )
    connection_count_max: int = setting(
        256, help="Most connections at once; more are closed.", restart=True
    )
    stream_count_max: int = setting(
        100, help="Most calls at once on one connection.", restart=True
    )
    idle_timeout: Duration = setting(
        Duration(300.0), help="How long a connection may stay without a call.", restart=True
    )
    ping_interval_min: Duration = setting(
        Duration(10.0), help="Senders that ping more often are disconnected.", restart=True
    )
    drain_timeout: Duration = setting(
        Duration(5.0), help="How long stopping waits for calls being answered.", restart=True
    )
    read_timeout: Duration = setting(
        Duration(10.0),
        help="How long a call may wait until its message is read.",
        restart=True,
    )
    intake: IntakeLimitsConfig = setting(
        IntakeLimitsConfig(), help="Bounds of all calls together.", restart=True
    )

    def __post_init__(self) -> None:
        refuse_exposed(self.listen, scopes=[AccessScope.INGEST])
        for name in (
            "message_max",
            "connection_count_max",
            "stream_count_max",
            "idle_timeout",
            "ping_interval_min",
            "drain_timeout",
            "read_timeout",
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)


class OtlpGrpcReceiver:
    """Answers the export methods of the trace, metrics and logs services."""

    def __init__(
        self,
        config: OtlpGrpcConfig,
        downstream: Downstream,
        surroundings: Surroundings,
        *,
        make_decoder: Callable[[], Decoder],
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._intake = Intake(self.name, config.intake, make_decoder, downstream, surroundings)
        # As many as may be worked on at once, were each as large as may be.
        self._reads = asyncio.Semaphore(max(1, config.intake.inflight_max // config.message_max))
        self._tokens = TokenTable(config.listen.tokens)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._server: grpc.aio.Server | None = None
        self._port = 0

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.otlp_grpc"

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._port

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        # Imported here: it costs 20 MB, which only those pay who listen for gRPC.
        import grpc.aio

        config = self._config
        server = grpc.aio.server(
            handlers=[
                _handler(service, signal, self._export) for service, signal in _SERVICES.items()
            ],
            options=[
                ("grpc.max_receive_message_length", config.message_max + _MARGIN_BYTES),
                ("grpc.max_allowed_incoming_connections", config.connection_count_max),
                ("grpc.max_concurrent_streams", config.stream_count_max),
                ("grpc.max_metadata_size", 16 * 1024),
                ("grpc.max_connection_idle_ms", round(config.idle_timeout * 1000)),
                (
                    "grpc.http2.min_ping_interval_without_data_ms",
                    round(config.ping_interval_min * 1000),
                ),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.keepalive_permit_without_calls", 1),
                # Two processes on one port would each get a part of the telemetry.
                ("grpc.so_reuseport", 0),
                # Without it the library reads ahead as much as a connection is quick, which on this machine is whole messages.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
            ],
        )
        address = bind_address(config.listen.address)
        target = f"{f'[{address}]' if ':' in address else address}:{config.listen.port}"
        try:
            if config.listen.tls is None:
                self._port = server.add_insecure_port(target)
            else:
                self._port = server.add_secure_port(target, self._credentials())
        except RuntimeError as error:
            number = _refusal_of(address, config.listen.port)
            raise cannot_listen(
                config.listen,
                setting_path=f"{self.name}.listen",
                number=number,
                reason=os.strerror(number).lower() if number else str(error),
            ) from None
        await server.start()
        self._server = server
        self._health.ok(f"Listening on {address}:{self._port}")

    async def stop(self) -> None:
        """Turn new calls away, answer the ones begun, close."""
        self._intake.refuse_new()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(self._config.drain_timeout)
        await self._tasks.close()
        self._port = 0
        self._intake.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _export(
        self, signal: OtlpSignal, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        # Whatever is answered, the message is let go of before: an answer may wait for its caller, and many for many.
        answer = self._denied(context) or await self._answer(signal, context)
        self._count(signal, answer.outcome)
        if answer.refused_as is not None:
            await context.abort(answer.refused_as, answer.text, answer.trailers)
        return answer.reply

    def _denied(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> _Answer | None:
        """What a caller is told who may not send, before its message is read."""
        import grpc  # loaded already, see start

        # What came with a call costs something to read, and mostly nobody asks.
        shown = _authorization(context) if self._tokens.guards(AccessScope.INGEST) else None
        decision = self._tokens.decide(AccessScope.INGEST, shown)
        if decision is AccessDecision.ALLOWED:
            return None
        self._surroundings.metrics.count(
            "sentinel_access_refused_total", listener=self.name, reason=decision.value
        )
        code, text = grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed"
        if decision is AccessDecision.WRONG_SCOPE:
            code = grpc.StatusCode.PERMISSION_DENIED
            text = "the token is not for sending telemetry"
        return _Answer(outcome="access_refused", refused_as=code, text=text)

    async def _answer(
        self, signal: OtlpSignal, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> _Answer:
        """Read the message of a call and take it; the answer holds nothing of it."""
        import grpc  # loaded already, see start

        code = grpc.StatusCode
        try:
            body = await self._read(signal, context)
            if not isinstance(body, bytes):
                # gRPC refused the message for its size and has answered already, or the sender broke off.
                return _Answer(
                    outcome="not_read",
                    refused_as=code.INVALID_ARGUMENT,
                    text="no message was sent",
                )
            self._refuse_over(len(body))
            with self._intake.admit(len(body), signal):
                batch = await self._intake.take(
                    signal, OtlpEncoding.PROTOBUF, body, wire_bytes=len(body)
                )
        except OverloadedError as error:
            status = encode_status(
                OtlpEncoding.PROTOBUF,
                code=_UNAVAILABLE,
                message=str(error),
                retry_after_s=error.retry_after_s,
            )
            return _Answer(
                outcome="unavailable",
                refused_as=code.UNAVAILABLE,
                text=str(error),
                trailers=(("grpc-status-details-bin", status),),
            )
        except InputTooLargeError as error:
            return _Answer(
                outcome="too_large", refused_as=code.RESOURCE_EXHAUSTED, text=str(error)
            )
        except InputError as error:
            return _Answer(
                outcome="invalid_argument", refused_as=code.INVALID_ARGUMENT, text=str(error)
            )
        reply = encode_success(
            signal,
            OtlpEncoding.PROTOBUF,
            rejected_count=batch.rejected_count,
            message=describe_rejected(batch),
        )
        return _Answer(outcome="accepted", reply=reply)

    async def _read(
        self, signal: OtlpSignal, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> object:
        """The message of a call, or what says that there is none.

        Its size is known only once it is in memory, so that few are read at once; those of the others stay with their senders.

        Raises:
            OverloadedError: it did not come in time, or its turn did not.
        """
        try:
            async with asyncio.timeout(self._config.read_timeout), self._reads:
                return await context.read()
        except TimeoutError:
            # Of which size it would have been nobody knows, so that nothing can tell that it came again.
            self._intake.turned_away(0, signal)
            msg = "the message did not come in time"
            raise OverloadedError(msg, retry_after_s=self._intake.retry_after_s) from None

    def _refuse_over(self, size_bytes: int) -> None:
        limit_bytes = self._config.message_max
        if size_bytes > limit_bytes:
            msg = "the message is too large"
            raise InputTooLargeError(msg, size_bytes=size_bytes, limit_bytes=limit_bytes)

    def _count(self, signal: OtlpSignal, outcome: str) -> None:
        self._surroundings.metrics.count(
            "sentinel_receiver_requests_total",
            receiver=self.name,
            signal=signal.value,
            outcome=outcome,
        )

    def _credentials(self) -> grpc.ServerCredentials:
        import grpc  # loaded already, see start

        config = self._config.listen.tls
        assert config is not None
        tls = ServerTls(config, self._surroundings, listener=self.name)
        self._tasks.spawn("tls", tls.follow)
        authorities = tls.read_client_authorities()

        def current() -> Any:  # the stubs have no name for what the call makes
            return grpc.ssl_server_certificate_configuration([tls.pair], authorities)

        return grpc.dynamic_ssl_server_credentials(
            current(), current, require_client_authentication=authorities is not None
        )


def _authorization(context: grpc.aio.ServicerContext[bytes, bytes]) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            return value
    return None


def _handler(service: str, signal: OtlpSignal, export: Export) -> grpc.GenericRpcHandler[Any, Any]:
    """The one method of an OTLP service; without serializers gRPC hands over and takes bytes.

    It is served as one that takes a stream and reads a single message, which on the wire is the same: gRPC calls
    such a method also when it refused the message, so that nothing is refused without being counted.
    """
    import grpc

    async def handle(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return await export(signal, context)

    method = grpc.stream_unary_rpc_method_handler(handle)
    return grpc.method_handlers_generic_handler(service, {"Export": method})


def _refusal_of(address: str, port: int) -> int:
    """Why the address was refused, as the system numbers it, or 0: the gRPC library tells its own log only."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno or 0
    return 0
