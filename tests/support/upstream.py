"""A system that telemetry is handed on to, over HTTP and gRPC, that answers as a test says and keeps what it took."""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from aiohttp import web

from tests.support.tls import Identity

HTTP_OK = web.Response


@dataclass(slots=True)
class Taken:
    """One request."""

    signal: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Upstream:
    """What it took with 200 or OK, what it was asked in all, and how it answers next.

    `answers` are used up first: an HTTP status, or (status, headers, body); over gRPC an exception to abort with, as
    (code, details, trailing metadata). Then `hang` waits for ever, `down` answers 503 or UNAVAILABLE.
    """

    taken: list[Taken] = field(default_factory=list)
    asked_count: int = 0
    answers: deque[object] = field(default_factory=deque)
    down: bool = False
    hang: bool = False
    refuse_bytes: int = 0
    url: str = ""

    def bodies(self, signal: str) -> list[bytes]:
        """Bodies of one signal, as they came."""
        return [one.body for one in self.taken if one.signal == signal]

    async def wait(self, true: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        """Until it is true."""
        async with asyncio.timeout(timeout_s):
            while not true():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def http_upstream(
    port: int = 0, identity: Identity | None = None
) -> AsyncIterator[Upstream]:
    """Listening on loopback; with an identity, over TLS."""
    upstream = Upstream()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        upstream.asked_count += 1
        if upstream.hang:
            await asyncio.sleep(3600)
        if upstream.refuse_bytes and len(body) > upstream.refuse_bytes:
            return web.Response(status=413)
        answer = upstream.answers.popleft() if upstream.answers else 503 if upstream.down else 200
        status, headers, reply = answer if isinstance(answer, tuple) else (answer, {}, b"")
        if status == 200:
            signal = request.path.rpartition("/")[2]
            upstream.taken.append(Taken(signal, dict(request.headers), body))
        return web.Response(
            status=status, headers=headers, body=reply, content_type=request.content_type
        )

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/base/v1/{signal}", handle)
    app.router.add_post("/v1/{signal}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tls = identity.server_context() if identity else None
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    upstream.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield upstream
    finally:
        await runner.cleanup()


@asynccontextmanager
async def grpc_upstream(
    port: int = 0, identity: Identity | None = None
) -> AsyncIterator[Upstream]:
    """Listening on loopback; with an identity, over TLS."""
    upstream = Upstream()

    def method(signal: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def export(request: bytes, context: Any) -> bytes:
            upstream.asked_count += 1
            if upstream.hang:
                await asyncio.sleep(3600)
            if upstream.refuse_bytes and len(request) > upstream.refuse_bytes:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max"
                )
            if upstream.answers:
                answer = upstream.answers.popleft()
                if isinstance(answer, bytes):
                    upstream.taken.append(Taken(signal, _metadata(context), request))
                    return answer
                assert isinstance(answer, tuple)
                code, details, trailing = answer
                await context.abort(code, details, trailing)
            if upstream.down:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
            upstream.taken.append(Taken(signal, _metadata(context), request))
            return b""

        return export

    server = grpc.aio.server()
    for signal, service in (("traces", "trace"), ("metrics", "metrics"), ("logs", "logs")):
        name = {"trace": "TraceService", "metrics": "MetricsService", "logs": "LogsService"}
        handler = grpc.unary_unary_rpc_method_handler(method(signal))
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    f"opentelemetry.proto.collector.{service}.v1.{name[service]}",
                    {"Export": handler},
                ),
            )
        )
    if identity is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        pair = (identity.key.read_bytes(), identity.cert.read_bytes())
        port = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    await server.start()
    upstream.url = f"{'https' if identity else 'http'}://127.0.0.1:{port}"
    try:
        yield upstream
    finally:
        await server.stop(0)


def _metadata(context: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}
