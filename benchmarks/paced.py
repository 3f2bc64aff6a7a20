"""Spans at a steady rate, stamped as they are sent, over one connection of HTTP or gRPC.

A batch is encoded once; before each sending its times are written into the bytes and one id is made new, so that it is
neither late nor a repeat. What sending costs is the sender's own, and the same for whoever takes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import grpc
import grpc.aio
import numpy as np
from bench_ingest import trace_request

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS = {"Content-Type": "application/x-protobuf"}
TIMEOUT_S = 30.0
_MARK = 0x5E57_11E1_0000_0000
"""Times begin with it while a batch is encoded, so that they are found again in its bytes."""

Send = Callable[[bytes], Awaitable[bool]]
"""Sends one body; whether it was taken."""


class Batch:
    """One encoded request whose times can be moved."""

    def __init__(self, seed: int, span_count: int) -> None:
        request = trace_request(seed, span_count)
        spans = request.resource_spans[0].scope_spans[0].spans
        self.span_count = span_count
        self._took_ns = np.array(
            [span.end_time_unix_nano - span.start_time_unix_nano for span in spans], np.uint64
        )
        for number, span in enumerate(spans):
            span.start_time_unix_nano = _MARK | 2 * number
            span.end_time_unix_nano = _MARK | (2 * number + 1)
        spans[0].span_id = _MARK.to_bytes(8, "little")[:7] + b"\x7f"
        body = request.SerializeToString()
        self._bytes = np.frombuffer(bytearray(body), np.uint8)
        self._id_at = body.index(_MARK.to_bytes(8, "little")[:7] + b"\x7f")
        at = [
            body.index((_MARK | number).to_bytes(8, "little")) for number in range(2 * span_count)
        ]
        self._at = np.array(at)[:, np.newaxis] + np.arange(8)

    def stamped(self, now_ns: int, number: int) -> bytes:
        """The request with spans that ended in the last millisecond."""
        end = np.uint64(now_ns) - np.arange(self.span_count, dtype=np.uint64) * np.uint64(1000)
        times = np.column_stack((end - self._took_ns, end)).reshape(-1)
        self._bytes[self._at] = times.astype("<u8").view(np.uint8).reshape(-1, 8)
        self._bytes[self._id_at : self._id_at + 8] = np.frombuffer(
            number.to_bytes(8, "big"), np.uint8
        )
        return self._bytes.tobytes()


@asynccontextmanager
async def http_sender(port: int) -> AsyncIterator[Send]:
    """Sends over one HTTP connection; not taken is what was answered with 429, 502, 503 or 504."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as client:

        async def send(body: bytes) -> bool:
            url = f"http://127.0.0.1:{port}/v1/traces"
            async with client.post(url, data=body, headers=HEADERS) as response:
                await response.read()
                if response.status not in {200, 429, 502, 503, 504}:
                    message = f"answered {response.status}"
                    raise RuntimeError(message)
                return response.status == 200

        yield send


@asynccontextmanager
async def grpc_sender(port: int) -> AsyncIterator[Send]:
    """Sends over one gRPC connection; not taken is what was answered with UNAVAILABLE."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(TRACES)

        async def send(body: bytes) -> bool:
            try:
                await call(body, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return True

        yield send


async def send_paced(
    send: Send,
    batches: Sequence[Batch],
    *,
    spans_per_s: float,
    seconds: float,
    first_number: int = 0,
) -> tuple[int, int]:
    """Send batches in turn at a rate; how many spans were taken and how many were not."""
    taken = refused = 0
    number = first_number or time.time_ns()
    started_s = time.perf_counter()
    sent = 0
    while (passed_s := time.perf_counter() - started_s) < seconds:
        due_s = sent / spans_per_s
        if due_s > passed_s:
            await asyncio.sleep(due_s - passed_s)
        batch = batches[number % len(batches)]
        number += 1
        sent += batch.span_count
        if await send(batch.stamped(time.time_ns(), number)):
            taken += batch.span_count
        else:
            refused += batch.span_count
    return taken, refused
