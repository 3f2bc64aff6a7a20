"""Goal: OTLP over gRPC answers every call as the specification says, also the hostile ones.

Method: the receiver on a free port of loopback, called with raw bytes through grpc's own client, which
also lets a test send what is no message at all.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sentinel.ports import Admission
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.request import IntakeLimitsConfig
from sentinel.runtime.settings import ByteSize, Duration, Secret
from tests.support.otlp import grpc_receiver, traces_request
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Caller:
    """Calls a method with bytes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(
        self, body: bytes, *, method: str = EXPORT, authorization: str | None = None
    ) -> bytes:
        """The answer's bytes; grpc.aio.AioRpcError when there is none."""
        call = self._channel.unary_unary(method, bytes, bytes)
        metadata = (("authorization", authorization),) if authorization else ()
        answer: bytes = await call(body, metadata=metadata, timeout=10)
        return answer

    async def fails_with(
        self, body: bytes, *, method: str = EXPORT, authorization: str | None = None
    ) -> grpc.aio.AioRpcError:
        """The error a call ends with."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(body, method=method, authorization=authorization)
        return caught.value


def trailer(error: grpc.aio.AioRpcError, name: str) -> str | bytes | None:
    """A value of the trailing metadata."""
    metadata: Any = error.trailing_metadata() or ()  # pairs, which the stubs do not know
    return next((value for key, value in metadata if key == name), None)


@asynccontextmanager
async def caller(
    receiver: OtlpGrpcReceiver, *, compression: grpc.Compression = grpc.Compression.NoCompression
) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{receiver.port}", compression=compression
    ) as channel:
        yield Caller(channel)


async def test_success_is_an_empty_message_and_partial_success_is_told() -> None:
    sink = ListSink()
    async with grpc_receiver(sink) as receiver, caller(receiver) as call:
        assert await call(traces_request("a", "b")) == b""
        assert await call(b"") == b""
        answer = ExportTraceServiceResponse.FromString(await call(traces_request("a", "reject")))
    assert answer.partial_success.rejected_spans == 1
    assert answer.partial_success.error_message == "not kept: 1 bad_id"
    assert sink.sample_count == 3


async def test_what_can_never_work_is_not_to_be_retried() -> None:
    sink = ListSink(Admission.REFUSED)
    surroundings = make_surroundings()
    async with (
        grpc_receiver(sink, surroundings=surroundings) as receiver,
        caller(receiver) as call,
    ):
        for body in (traces_request("refused"), b"\xff\xff no message", b"break the decoder"):
            error = await call.fails_with(body)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        error = await call.fails_with(b"", method="/opentelemetry.Nothing/Export")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        # Nothing else is disturbed.
        assert await call(traces_request("after")) == b""
    refused = surroundings.metrics.value(
        "sentinel_receiver_requests_total",
        receiver="receivers.otlp_grpc",
        signal="traces",
        outcome="invalid_argument",
    )
    assert refused == 3


async def test_busy_is_unavailable_with_a_time_to_come_back() -> None:
    sink = ListSink(Admission.RETRY_LATER)
    async with grpc_receiver(sink) as receiver, caller(receiver) as call:
        error = await call.fails_with(traces_request("a"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    status = Status.FromString(trailer(error, "grpc-status-details-bin"))
    assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 1000
    assert sink.batches == []


def outcomes(surroundings: Surroundings) -> dict[str, float]:
    """Requests answered so far, by outcome."""
    return {
        outcome: surroundings.metrics.value(
            "sentinel_receiver_requests_total",
            receiver="receivers.otlp_grpc",
            signal="traces",
            outcome=outcome,
        )
        for outcome in ("accepted", "too_large", "not_read")
    }


async def test_giants_and_bombs_are_refused_before_they_are_inflated_and_counted() -> None:
    """Bombs left no trace once: gRPC refuses them itself, and a method that takes one message is not called then."""
    sink = ListSink()
    surroundings = make_surroundings()
    async with grpc_receiver(sink, surroundings=surroundings) as receiver:
        async with caller(receiver) as call:
            error = await call.fails_with(bytes(6 * 2**20))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert trailer(error, "grpc-status-details-bin") is None
        before = psutil.Process().memory_info().rss
        async with caller(receiver, compression=grpc.Compression.Gzip) as call:
            # 64 MiB of zeros, which this process makes and holds itself, are 64 KiB on the wire.
            error = await call.fails_with(bytes(64 * 2**20))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert trailer(error, "grpc-status-details-bin") is None
            assert await call(traces_request("after")) == b""
        after = psutil.Process().memory_info().rss
    assert after - before < 100 * 2**20
    assert sink.sample_count == 1
    assert outcomes(surroundings) == {"accepted": 1, "too_large": 0, "not_read": 2}


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_little_over_the_limit_is_refused_by_name(compression: grpc.Compression) -> None:
    surroundings = make_surroundings()
    sink = ListSink()
    async with (
        grpc_receiver(sink, surroundings=surroundings) as receiver,
        caller(receiver, compression=compression) as call,
    ):
        error = await call.fails_with(bytes(4 * 2**20 + 1))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "the message is too large (4194305 bytes, limit 4194304)"
        assert trailer(error, "grpc-status-details-bin") is None
        assert await call(traces_request("after")) == b""
    assert sink.sample_count == 1
    assert outcomes(surroundings) == {"accepted": 1, "too_large": 1, "not_read": 0}


async def test_gzip_inside_the_message_is_not_unpacked() -> None:
    """GRPC has its own compression; a body that is gzip is simply no message."""
    async with grpc_receiver(ListSink()) as receiver, caller(receiver) as call:
        error = await call.fails_with(gzip.compress(traces_request("a")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_only_a_token_for_ingest_may_send() -> None:
    tokens = TokensConfig(
        ingest=Secret("ingest-token-01234567"), read=Secret("read-token-0123456789")
    )
    config = OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0, tokens=tokens))
    surroundings = make_surroundings()
    sink = ListSink()
    async with (
        grpc_receiver(sink, config, surroundings) as receiver,
        caller(receiver) as call,
    ):
        body = traces_request("a")
        for shown, code in (
            (None, grpc.StatusCode.UNAUTHENTICATED),
            ("Bearer wrong-token-0123456789", grpc.StatusCode.UNAUTHENTICATED),
            ("Bearer read-token-0123456789", grpc.StatusCode.PERMISSION_DENIED),
        ):
            error = await call.fails_with(body, authorization=shown)
            assert error.code() is code
        assert await call(body, authorization="Bearer ingest-token-01234567") == b""
    refused = surroundings.metrics.value(
        "sentinel_access_refused_total", listener="receivers.otlp_grpc", reason="unknown_token"
    )
    assert refused == 1
    assert sink.sample_count == 1


async def test_a_taken_port_stops_the_start_and_leaves_nothing() -> None:
    async with grpc_receiver(ListSink()) as first:
        config = OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=first.port))
        # The library's own words name neither the setting nor the reason.
        told = rf"cannot listen on 127.0.0.1:{first.port} \(receivers.otlp_grpc.listen.port\): the port is taken"
        with pytest.raises(OSError, match=told):
            async with grpc_receiver(ListSink(), config):
                pytest.fail("a second receiver listens on the same port")


async def test_stopping_lets_go_of_the_port_and_is_idempotent() -> None:
    async with grpc_receiver(ListSink()) as receiver:
        port = receiver.port
        await receiver.stop()
        await receiver.stop()
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", port)


@asynccontextmanager
async def silent_calls(receiver: OtlpGrpcReceiver, count: int) -> AsyncIterator[list[Any]]:
    """So many calls that have begun and send no message."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        method: Any = channel.stream_unary(EXPORT, bytes, bytes)
        calls = [method(nothing(), timeout=60) for _ in range(count)]
        try:
            while receiver._reads._value:  # until each of them has its turn
                await asyncio.sleep(0.01)
            yield calls
        finally:
            for one in calls:
                one.cancel()


def small_config(**settings: Any) -> OtlpGrpcConfig:
    """Two messages are read at once."""
    intake = IntakeLimitsConfig(inflight_max=ByteSize(2 * 2**20))
    listen = OtlpGrpcListenConfig(port=0)
    return OtlpGrpcConfig(listen=listen, message_max=ByteSize(2**20), intake=intake, **settings)


async def test_as_many_messages_are_read_at_once_as_there_is_room_for() -> None:
    """Each call's message was read whole before anything was asked: 800 MB of them were held while all were turned away."""
    sink = ListSink()
    async with grpc_receiver(sink, small_config()) as receiver, caller(receiver) as call:
        async with silent_calls(receiver, 2) as silent:
            waits = asyncio.create_task(call(traces_request("a")))
            await asyncio.sleep(0.3)
            assert not waits.done()
            assert not sink.batches
            silent[0].cancel()
            assert await waits == b""
        assert await call(traces_request("b")) == b""
    assert sink.sample_count == 2


async def test_a_message_that_does_not_come_in_time_makes_room_for_others() -> None:
    surroundings, sink = make_surroundings(), ListSink()
    config = small_config(read_timeout=Duration(0.2))
    async with (
        grpc_receiver(sink, config, surroundings) as receiver,
        silent_calls(receiver, 2) as silent,
        caller(receiver) as call,
    ):
        for one in silent:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await one
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert trailer(caught.value, "grpc-status-details-bin")
        assert await call(traces_request("a")) == b""
    assert outcomes(surroundings)["accepted"] == 1


async def test_who_may_not_send_is_told_so_before_the_message_is_read() -> None:
    config = small_config()
    guarded = OtlpGrpcListenConfig(port=0, tokens=TokensConfig(ingest=Secret("a" * 40)))
    config = replace(config, listen=guarded)
    async with grpc_receiver(ListSink(), config) as receiver, caller(receiver) as call:
        for _ in range(2):
            await receiver._reads.acquire()  # none would be read
        error = await call.fails_with(traces_request("a"))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
