"""Goal: a small request that is answered where it is read gets the answer it would get in the usual way, whatever comes with it.

Method: the receiver of OTLP over HTTP on a free port; bytes on bare sockets, in pieces and orders a client would not choose;
whether aiohttp's own way was gone is seen by a spy on it.
"""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.http import connection as http_connection
from sentinel.runtime.http.server import ConnectionLimitsConfig, HttpServer, Route
from sentinel.runtime.settings import Duration
from tests.support.otlp import http_receiver, traces_request
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

LISTEN = OtlpHttpListenConfig(port=0)
INFLIGHT = "sentinel_receiver_inflight_bytes"
RECEIVER = "receivers.otlp_http"


def request(body: bytes, *, path: str = "/v1/traces", more: str = "") -> bytes:
    """One request's bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    ).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    return int(status.split()[1]), headers, body


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests that aiohttp's own way was gone for."""
    gone: list[str] = []
    handle = RequestHandler._handle_request

    async def spied(self: RequestHandler, request, *others):  # type: ignore[no-untyped-def]
        gone.append(request.path)
        return await handle(self, request, *others)

    monkeypatch.setattr(RequestHandler, "_handle_request", spied)
    return gone


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # The server's side begins to wait for a request a turn after it was accepted.
    await asyncio.sleep(0.05)
    return reader, writer


async def test_requests_of_one_connection_are_answered_at_once(usual: list[str]) -> None:
    sink, surroundings = ListSink(), make_surroundings()
    async with http_receiver(sink, surroundings=surroundings) as receiver:
        reader, writer = await connect(receiver.port)
        for name in ("a", "b", "c"):
            writer.write(request(traces_request(name)))
            assert (await answer(reader))[0] == 200
        writer.close()
        assert usual == []
        assert surroundings.metrics.value(INFLIGHT, receiver=RECEIVER) == 0
        counted = surroundings.metrics.value(
            "sentinel_http_requests_total", route=f"{RECEIVER}/v1/traces", code="200"
        )
        assert counted == 3
    assert [log.event for batch in sink.batches for log in batch.logs] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("body", "path", "more", "status"),
    [
        (traces_request("a"), "/v1/traces", "", 200),
        (traces_request("a", "reject"), "/v1/traces", "", 200),
        (b"\xff\xff\xff not protobuf", "/v1/traces", "", 400),
        (b"break the decoder", "/v1/traces", "", 400),
        (b"x", "/v1/traces", "Content-Encoding: zstd\r\n", 415),
        (gzip.compress(traces_request("a"), mtime=0), "/v1/logs", "Content-Encoding: gzip\r\n", 400),
    ],
    ids=["taken", "partly", "malformed", "fault", "encoding", "other_signal"],
)  # fmt: skip
async def test_the_answer_is_the_same_as_in_the_usual_way(
    usual: list[str], body: bytes, path: str, more: str, status: int
) -> None:
    async with http_receiver(ListSink()) as receiver:
        reader, writer = await connect(receiver.port)
        writer.write(request(body, path=path, more=more))
        short = await answer(reader)
        assert usual == []
        # Of two that come in one piece the first goes the usual way, with the second.
        writer.write(2 * request(body, path=path, more=more))
        long = await answer(reader)
        assert await answer(reader)
        assert usual == [path, path]
        writer.close()
    for _, headers, _ in (short, long):
        del headers["Date"]
    assert short == long
    assert short[0] == status


async def test_pieces_are_put_together_and_answers_keep_their_order(usual: list[str]) -> None:
    sink = ListSink()
    first, second, third = (request(traces_request(name)) for name in ("a", "b", "c"))
    async with http_receiver(sink) as receiver:
        reader, writer = await connect(receiver.port)
        for piece in (first[:30], first[30:-3], first[-3:] + second + third[:-1]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await answer(reader))[0] == 200
        assert (await answer(reader))[0] == 200
        writer.write(third[-1:])
        assert (await answer(reader))[0] == 200
        writer.close()
    assert [log.event for batch in sink.batches for log in batch.logs] == ["a", "b", "c"]


@pytest.mark.parametrize("hold_s", [0.0, 5.0], ids=["came_late", "came_in_time"])
async def test_a_body_that_follows_its_head(
    usual: list[str], monkeypatch: pytest.MonkeyPatch, hold_s: float
) -> None:
    monkeypatch.setattr(http_connection, "_HOLD_S", hold_s)
    sink, sent = ListSink(), request(traces_request("a"))
    head, body = sent.split(b"\r\n\r\n")
    async with http_receiver(sink) as receiver:
        reader, writer = await connect(receiver.port)
        for _ in range(2):
            writer.write(head + b"\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(body)
            assert (await answer(reader))[0] == 200
        writer.close()
    assert sink.sample_count == 2
    assert usual == ([] if hold_s else ["/v1/traces", "/v1/traces"])


async def test_what_has_to_wait_goes_on_in_the_usual_way_and_is_taken_once(
    usual: list[str],
) -> None:
    """A small body that inflates to much is decoded by a thread; what was begun at once must not be begun again."""
    sink, surroundings = ListSink(), make_surroundings()
    large = traces_request(*[f"{number:0400}" for number in range(2_000)])
    packed = gzip.compress(large, 9, mtime=0)
    assert len(packed) < 64 * 1024 < 2**19 < len(large)
    sent = request(packed, more="Content-Encoding: gzip\r\n")
    async with http_receiver(sink, surroundings=surroundings) as receiver:
        reader, writer = await connect(receiver.port)
        # What comes behind it waits for it.
        writer.write(sent)
        await writer.drain()
        writer.write(request(traces_request("after")))
        assert (await answer(reader))[0] == 200
        assert (await answer(reader))[0] == 200
        writer.close()
        assert usual[0] == "/v1/traces"
        # A sender that is gone meanwhile leaves no room taken.
        _, writer = await connect(receiver.port)
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
        async with asyncio.timeout(10):
            while surroundings.metrics.value("sentinel_http_connections", listener=RECEIVER):
                await asyncio.sleep(0.01)
            while surroundings.metrics.value(INFLIGHT, receiver=RECEIVER):
                await asyncio.sleep(0.01)
    assert [len(batch.logs) for batch in sink.batches][:2] == [2_000, 1]


async def test_what_is_no_request_does_not_take_the_one_before_it_along() -> None:
    sink, sent = ListSink(), request(traces_request("a"))
    async with http_receiver(sink) as receiver:
        reader, writer = await connect(receiver.port)
        writer.write(sent[:-1])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(sent[-1:] + b"\x16\x03\x01 no request\r\n\r\n")
        assert (await answer(reader))[0] == 200
        assert (await answer(reader))[0] == 400
        writer.close()
    assert sink.sample_count == 1


async def test_a_head_that_came_in_time_is_not_cut_off_while_its_body_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock of the head went on while the request was held for its body."""
    monkeypatch.setattr(http_connection, "_HOLD_S", 5.0)
    config = OtlpHttpConfig(
        listen=LISTEN, connections=ConnectionLimitsConfig(header_timeout=Duration(0.2))
    )
    surroundings, sink, sent = make_surroundings(), ListSink(), request(traces_request("a"))
    async with http_receiver(sink, config, surroundings) as receiver:
        reader, writer = await connect(receiver.port)
        for piece in (sent[:30], sent[30:-3]):
            writer.write(piece)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        writer.write(sent[-3:])
        assert (await answer(reader))[0] == 200
        writer.close()
    assert sink.sample_count == 1


@pytest.mark.parametrize("unknown", ["_waiter_of_a_later_version", "_messages_renamed"])
async def test_with_another_aiohttp_all_requests_go_the_usual_way(
    usual: list[str], monkeypatch: pytest.MonkeyPatch, unknown: str
) -> None:
    """The short way knows the inside of aiohttp; where that is another, a receiver that answers none would be the price."""
    monkeypatch.setattr(http_connection, "_INSIDE", (*http_connection._INSIDE, unknown))
    sink = ListSink()
    async with http_receiver(sink) as receiver:
        reader, writer = await connect(receiver.port)
        writer.write(request(traces_request("a")))
        assert (await answer(reader))[0] == 200
        writer.close()
    assert usual == ["/v1/traces"]
    assert sink.sample_count == 1


@pytest.mark.parametrize("at_once", [False, True], ids=["usual_way", "short_way"])
async def test_an_answer_that_ends_its_connection_ends_it(*, at_once: bool) -> None:
    """The short way closed aiohttp's side alone: the connection stayed, and its place among all was never given back."""

    async def last(_: web.BaseRequest) -> web.Response:
        response = web.Response(body=b"bye")
        response.force_close()
        return response

    surroundings = make_surroundings()
    server = HttpServer(
        "test.server",
        LISTEN,
        ConnectionLimitsConfig(),
        [Route(path="/", methods={"POST": last}, scope=AccessScope.INGEST, at_once=at_once)],
        surroundings,
        render_error=lambda _, status, message: web.Response(status=status, text=message),
    )
    await server.start()
    try:
        reader, writer = await connect(server.port)
        writer.write(request(b"x", path="/"))
        _, headers, body = await answer(reader)
        assert (headers["Connection"], body) == ("close", b"bye")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        async with asyncio.timeout(5):
            while surroundings.metrics.value("sentinel_http_connections", listener="test.server"):
                await asyncio.sleep(0.01)
    finally:
        await server.stop()


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"], ids=["idle", "closed"])
async def test_a_connection_whose_answers_are_not_read_is_let_go_of(last: str) -> None:
    """Closing waits for what was written to be read; 256 such connections, and the receiver took no other any more."""
    surroundings = make_surroundings()
    config = OtlpHttpConfig(
        listen=LISTEN,
        connections=ConnectionLimitsConfig(
            idle_timeout=Duration(0.5), write_timeout=Duration(0.2)
        ),
    )
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", receiver.port))
            connections, sent_count, waiting_bytes = receiver._http._server._protocols, 0, 0
            assert connections is not None
            async with asyncio.timeout(30):
                while not waiting_bytes:
                    await loop.sock_sendall(deaf, request(b"", path="/v1/logs"))
                    sent_count += 1
                    # Each is answered before the next, so that none is under way when this ends.
                    while connections.requests_count < sent_count:
                        await asyncio.sleep(0)
                    (connection,) = connections.connections
                    assert connection.transport is not None
                    waiting_bytes = connection.transport.get_write_buffer_size()
            if last:
                await loop.sock_sendall(deaf, request(b"", path="/v1/logs", more=last))
            async with asyncio.timeout(5):
                while surroundings.metrics.value("sentinel_http_connections", listener=RECEIVER):
                    await asyncio.sleep(0.01)
    closed = surroundings.metrics.value(
        "sentinel_http_connections_closed_total", listener=RECEIVER, reason="slow_reader"
    )
    assert closed == 1


async def test_a_sender_that_does_not_read_its_answers_is_disconnected() -> None:
    surroundings = make_surroundings()
    config = OtlpHttpConfig(
        listen=LISTEN, connections=ConnectionLimitsConfig(write_timeout=Duration(0.2))
    )
    async with http_receiver(ListSink(), config, surroundings) as receiver:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", receiver.port))

            async def send() -> None:
                while True:
                    await loop.sock_sendall(deaf, request(b"", path="/v1/logs"))
                    await asyncio.sleep(0)

            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await asyncio.wait_for(send(), 15)
    closed = surroundings.metrics.value(
        "sentinel_http_connections_closed_total", listener=RECEIVER, reason="slow_reader"
    )
    assert closed == 1
