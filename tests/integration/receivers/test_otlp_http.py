"""Goal: OTLP over HTTP answers every request as the specification says, also the hostile ones.

Method: the receiver on a free port of loopback; requests by aiohttp's client, or bytes on a bare socket
where a client would refuse to send them. Answers are read with the official messages.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sentinel.ports import Admission
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.http.server import ConnectionLimitsConfig
from sentinel.runtime.intake.request import IntakeLimitsConfig
from sentinel.runtime.settings import ByteSize, Duration, FilePath, Secret
from sentinel.runtime.tls import TlsConfig
from tests.support.fetch import Reply, fetch
from tests.support.otlp import http_receiver, traces_request
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.tls import make_certificate

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
GZIP = {**PROTOBUF, "Content-Encoding": "gzip"}
LISTEN = OtlpHttpListenConfig(port=0)


async def post(url: str, body: bytes, headers: Mapping[str, str] = PROTOBUF) -> Reply:
    return await fetch(f"{url}/v1/traces", method="POST", headers=headers, body=body)


async def exchange(port: int, sent: bytes, *, timeout_s: float = 10.0) -> bytes:
    """What a bare connection gets back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), timeout_s)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def zeros_gzip(size_bytes: int) -> bytes:
    deflate = zlib.compressobj(1, wbits=31)
    block = bytes(2**20)
    parts = [deflate.compress(block) for _ in range(size_bytes // len(block))]
    return b"".join([*parts, deflate.flush()])


async def test_success_is_200_with_an_empty_message_in_the_request_s_encoding() -> None:
    sink = ListSink()
    async with http_receiver(sink) as receiver:
        reply = await post(receiver.url, traces_request("a", "b"))
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Content-Type"] == "application/x-protobuf"
        reply = await post(receiver.url, b'{"resourceSpans":[]}', JSON)
        assert (reply.status, reply.body) == (200, b"{}")
        assert reply.headers["Content-Type"].startswith("application/json")
        reply = await post(receiver.url, b"")
        assert (reply.status, reply.body) == (200, b"")
    assert [record.event for batch in sink.batches for record in batch.logs] == ["a", "b"]


@pytest.mark.parametrize(
    "content_type",
    ["application/x-protobuf; charset=utf-8", "Application/X-Protobuf ;a=b", "application/x-protobuf" + ";" * 8000],
    ids=["parameter", "upper_case", "semicolons"],
)  # fmt: skip
async def test_parameters_of_the_content_type_are_not_read(
    monkeypatch: pytest.MonkeyPatch, content_type: str
) -> None:
    """A header of nothing but semicolons held the loop for two seconds: the library's parser takes each one anew."""

    def parse(value: str) -> object:
        msg = "the parameters were parsed"
        raise AssertionError(msg)

    sink = ListSink()
    async with http_receiver(sink) as receiver:
        head = (
            f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        monkeypatch.setattr("aiohttp.helpers.parse_mimetype", parse)
        monkeypatch.setattr("aiohttp.helpers.parse_content_type", parse)
        answer = await exchange(receiver.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_partial_success_tells_how_many_and_why() -> None:
    sink = ListSink()
    surroundings = make_surroundings()
    async with http_receiver(sink, surroundings=surroundings) as receiver:
        reply = await post(receiver.url, traces_request("a", "reject", "reject"))
        message = ExportTraceServiceResponse.FromString(reply.body)
        assert reply.status == 200
        assert message.partial_success.rejected_spans == 2
        assert message.partial_success.error_message == "not kept: 2 bad_id"
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"reject"}]}]}]}'
        reply = await post(receiver.url, body, JSON)
        assert reply.json() == {
            "partialSuccess": {"rejectedSpans": "1", "errorMessage": "not kept: 1 bad_id"}
        }
    assert sink.sample_count == 1
    rejected = surroundings.metrics.value(
        "sentinel_receiver_rejected_samples_total",
        receiver="receivers.otlp_http",
        signal="traces",
        reason="bad_id",
    )
    assert rejected == 3


def packed(content: bytes) -> bytes:
    """Compressed without the time of day, which would be in the test's name and differ between workers."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (PROTOBUF, b"\xff\xff\xff not protobuf", 400),
        (PROTOBUF, b"break the decoder", 400),
        (JSON, b"{not json", 400),
        (JSON, b'{"resourceSpans":[}', 400),
        ({"Content-Type": "text/plain"}, b"x", 415),
        ({"Content-Type": "application/x-protobuf; charset=utf-8"}, traces_request("a"), 200),
        ({**PROTOBUF, "Content-Encoding": "zstd"}, b"x", 415),
        ({**PROTOBUF, "Content-Encoding": "gzip, gzip"}, packed(packed(b"")), 415),
        ({**PROTOBUF, "Content-Encoding": "identity"}, traces_request("a"), 200),
        (GZIP, packed(traces_request("a")), 200),
        (GZIP, packed(traces_request("a")) + packed(traces_request("b")), 200),
        (GZIP, packed(traces_request("a")) + b"\0" * 40, 200),
        (GZIP, packed(traces_request("a"))[:-9], 400),
        (GZIP, packed(traces_request("a")) + b"tail", 400),
        (GZIP, traces_request("a"), 400),
        (GZIP, b"", 400),
        (GZIP, packed(b"") * 100, 400),
        (PROTOBUF, bytes(4 * 2**20 + 1), 413),
        (GZIP, zeros_gzip(20 * 2**20), 413),
        (GZIP, zeros_gzip(9 * 2**20) + zeros_gzip(9 * 2**20), 413),
    ],
)
async def test_each_body_has_its_status(
    headers: Mapping[str, str], body: bytes, status: int
) -> None:
    sink = ListSink()
    async with http_receiver(sink) as receiver:
        reply = await post(receiver.url, body, headers)
        assert reply.status == status, reply.body
        if status != 200:
            assert sink.batches == []
            if reply.headers["Content-Type"].startswith("application/json"):
                assert reply.json()["message"]
            else:
                assert Status.FromString(reply.body).message
        # Nothing else is disturbed.
        reply = await post(receiver.url, traces_request("after"))
        assert reply.status == 200
    assert sink.batches[-1].logs[0].event == "after"


async def test_a_gzip_bomb_of_a_gibibyte_costs_little_memory() -> None:
    """1 MB on the wire; without the ratio rule it would be 16 MiB, without a bound a gibibyte."""
    bomb = await asyncio.to_thread(zeros_gzip, 2**30)
    sink = ListSink()
    async with http_receiver(sink) as receiver:
        await post(receiver.url, traces_request("warm"))
        before = psutil.Process().memory_info().rss
        reply = await post(receiver.url, bomb, GZIP)
        after = psutil.Process().memory_info().rss
    assert reply.status == 413
    assert after - before < 48 * 2**20


async def test_wrong_method_path_and_expectation() -> None:
    sink = ListSink()
    async with http_receiver(sink) as receiver:
        reply = await fetch(f"{receiver.url}/v1/traces")
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
        reply = await fetch(f"{receiver.url}/v1/profiles", method="POST", headers=PROTOBUF)
        assert reply.status == 404
        body = traces_request("a")
        head = (
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        answer = await exchange(receiver.port, head + body)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_busy_is_503_with_retry_after_and_nothing_kept() -> None:
    sink = ListSink(Admission.RETRY_LATER)
    surroundings = make_surroundings()
    async with http_receiver(sink, surroundings=surroundings) as receiver:
        reply = await post(receiver.url, traces_request("a"))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        status = Status.FromString(reply.body)
        assert status.details[0].type_url == "type.googleapis.com/google.rpc.RetryInfo"
        # While the queue is full, the next request does not even cost a decoding.
        reply = await post(receiver.url, b"{}", JSON)
        assert reply.json()["details"] == [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
        ]
        assert sink.offered_count == 1
    assert sink.batches == []


async def test_what_the_sink_refuses_for_good_is_not_retried() -> None:
    sink = ListSink(Admission.REFUSED)
    async with http_receiver(sink) as receiver:
        assert (await post(receiver.url, traces_request("a"))).status == 400


@pytest.mark.parametrize(
    "intake",
    [IntakeLimitsConfig(request_count_max=1), IntakeLimitsConfig(inflight_max=ByteSize(60))],
)
async def test_a_second_request_over_the_bound_is_turned_away_before_its_body(
    intake: IntakeLimitsConfig,
) -> None:
    sink = ListSink()
    config = OtlpHttpConfig(listen=LISTEN, intake=intake)
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n"
    body = traces_request("first")
    async with http_receiver(sink, config) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(head % len(body))
        await writer.drain()
        while (reply := await post(receiver.url, traces_request("second"))).status != 503:
            await asyncio.sleep(0.01)
        assert reply.headers["Retry-After"] == "1"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert (await post(receiver.url, traces_request("third"))).status == 200
    assert sink.batches[-1].logs[0].event == "third"


async def test_a_slow_body_is_cut_off() -> None:
    limits = BodyLimitsConfig(grace=Duration(0.2), timeout=Duration(5.0))
    surroundings = make_surroundings()
    config = OtlpHttpConfig(listen=LISTEN, body=limits)
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        answer = await exchange(
            receiver.port,
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50\r\n\r\n{",
        )
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert b"too slowly" in answer
    labels = {"component": "receivers.otlp_http", "stage": "read", "reason": "timeout"}
    assert surroundings.metrics.value("sentinel_component_errors_total", **labels) == 1


async def test_a_slow_head_is_closed_without_an_answer() -> None:
    limits = ConnectionLimitsConfig(header_timeout=Duration(0.2))
    surroundings = make_surroundings()
    config = OtlpHttpConfig(listen=LISTEN, connections=limits)
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        assert await exchange(receiver.port, b"POST /v1/traces HTTP/1.1\r\nHost:") == b""
    closed = surroundings.metrics.value(
        "sentinel_http_connections_closed_total",
        listener="receivers.otlp_http",
        reason="slow_head",
    )
    assert closed == 1


async def test_a_silent_connection_is_closed() -> None:
    limits = ConnectionLimitsConfig(idle_timeout=Duration(0.2))
    config = OtlpHttpConfig(listen=LISTEN, connections=limits)
    async with http_receiver(ListSink(), config) as receiver:
        assert await exchange(receiver.port, b"") == b""


async def test_connections_over_the_limit_are_told_to_come_again_and_counted() -> None:
    limits = ConnectionLimitsConfig(connection_count_max=2)
    surroundings = make_surroundings()
    config = OtlpHttpConfig(listen=LISTEN, connections=limits)
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        held = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(2)]
        # Larger than what the sockets hold: its sender reads the answer only once all of it was read over.
        asked = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n"
        answer = await exchange(receiver.port, asked + bytes(16_000_000))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        while surroundings.metrics.value(
            "sentinel_http_connections", listener="receivers.otlp_http"
        ):
            await asyncio.sleep(0.01)
        assert (await post(receiver.url, traces_request("a"))).status == 200
    closed = surroundings.metrics.value(
        "sentinel_http_connections_closed_total", listener="receivers.otlp_http", reason="too_many"
    )
    assert closed == 1


async def test_a_connection_over_the_limit_is_told_over_tls_as_well(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "server")
    listen = OtlpHttpListenConfig(
        port=0, tls=TlsConfig(cert_file=FilePath(str(cert)), key_file=FilePath(str(key)))
    )
    config = OtlpHttpConfig(
        listen=listen, connections=ConnectionLimitsConfig(connection_count_max=1)
    )
    trusting = ssl.create_default_context(cafile=str(cert))
    async with http_receiver(ListSink(), config) as receiver:
        _, held = await asyncio.open_connection("127.0.0.1", receiver.port, ssl=trusting)
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port, ssl=trusting)
        writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 503 ")
        for each in (writer, held):
            each.close()


async def test_those_that_are_turned_away_are_bounded_themselves() -> None:
    """What says nothing is not waited for, a flood is closed untold, and stopping waits for none of them."""
    limits = ConnectionLimitsConfig(connection_count_max=1)
    surroundings = make_surroundings()
    config = OtlpHttpConfig(listen=LISTEN, connections=limits)
    labels = {"listener": "receivers.otlp_http"}
    name = "sentinel_http_connections_closed_total"
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        _, held = await asyncio.open_connection("127.0.0.1", receiver.port)
        assert await exchange(receiver.port, b"") == b""
        many = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(100)]
        async with asyncio.timeout(10):
            while not surroundings.metrics.value(name, reason="too_many_untold", **labels):
                await asyncio.sleep(0.01)
        assert surroundings.metrics.value(name, reason="too_many", **labels) >= 2
    for _, writer in [*many, (None, held)]:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"X: a\r\n folded: line\r\n",
        b"X: a\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"X : space before the colon\r\n",
    ],
)
async def test_requests_two_servers_could_read_differently_are_refused(head: bytes) -> None:
    sink = ListSink()
    sent = (
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
        + head
        + b"\r\n0\r\n\r\nPOST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    async with http_receiver(sink) as receiver:
        answer = await exchange(receiver.port, sent)
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400")), answer
    assert sink.batches == []


async def test_only_a_token_for_ingest_may_send() -> None:
    tokens = TokensConfig(
        ingest=Secret("old-ingest-token-0123"),
        ingest_next=Secret("new-ingest-token-0123"),
        admin=Secret("admin-token-012345678"),
    )
    sink = ListSink()
    config = OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0, tokens=tokens))
    async with http_receiver(sink, config) as receiver:
        statuses = {}
        for shown in (
            None,
            "Bearer",
            "Bearer wrong-token-0123456789",
            "Basic old-ingest-token-0123",
            "Bearer admin-token-012345678",
            "Bearer old-ingest-token-0123",
            "bearer new-ingest-token-0123",
        ):
            headers = {**PROTOBUF, **({"Authorization": shown} if shown else {})}
            reply = await post(receiver.url, traces_request("a"), headers)
            statuses[shown] = reply.status
        assert list(statuses.values()) == [401, 401, 401, 401, 403, 200, 200]
    assert len(sink.batches) == 2


async def test_large_bodies_are_decoded_aside() -> None:
    """Two at once share the one thread; both arrive, and the loop goes on meanwhile."""
    sink = ListSink()
    body = traces_request(*[f"{number:0100}" for number in range(12_000)])
    assert len(body) > 2**20
    async with http_receiver(sink) as receiver:
        replies = await asyncio.gather(*(post(receiver.url, body) for _ in range(2)))
    assert [reply.status for reply in replies] == [200, 200]
    assert sink.sample_count == 24_000
