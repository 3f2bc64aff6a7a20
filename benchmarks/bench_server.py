"""What a span costs from the socket to the closed window, over HTTP and over gRPC.

Goal: receiving costs little beside decoding. Method: a child process serves both receivers with the real decoder,
ingest and aggregator; this process sends batches of 512 and of 50 spans over one connection, plain and gzip, as fast as
they are answered; the child's CPU time divided by the spans it took, the median of several rounds, with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import psutil
from bench_ingest import trace_request
from machine import describe
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, ClosedWindows
from sentinel.pipeline.ingest import Ingest, IngestConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig, OtlpHttpReceiver
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS = {"Content-Type": "application/x-protobuf"}
VARIANTS = 20
ROUND_S = 1.5
Send = Callable[[bytes], Awaitable[None]]


async def serve() -> None:
    """The child: prints its two ports, serves until its input ends, prints how many batches it took."""
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    config = IngestConfig()

    async def take(_closed: ClosedWindows) -> None:
        """Windows end here; deciding on them is measured by bench_tick."""

    ingest = Ingest(config, Aggregator(config.series_settings()), take, surroundings)
    http = OtlpHttpReceiver(
        OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
        Downstream(sink=ingest),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    rpc = OtlpGrpcReceiver(
        OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
        Downstream(sink=ingest),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    components = (ingest, http, rpc)
    for component in components:
        await component.start()
    print(http.port, rpc.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for component in reversed(components):
        await component.stop()
    print(round(surroundings.metrics.value("sentinel_ingest_batches_total")), flush=True)


@asynccontextmanager
async def http_sender(port: int, *, compressed: bool) -> Any:
    headers = {**HEADERS, "Content-Encoding": "gzip"} if compressed else HEADERS
    async with aiohttp.ClientSession() as client:

        async def send(body: bytes) -> None:
            url = f"http://127.0.0.1:{port}/v1/traces"
            async with client.post(url, data=body, headers=headers) as response:
                assert response.status == 200, response.status

        yield send


@asynccontextmanager
async def grpc_sender(port: int, *, compressed: bool) -> Any:
    compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
        call = channel.unary_unary(TRACES)

        async def send(body: bytes) -> None:
            await call(body, timeout=30)

        yield send


def fresh(request: ExportTraceServiceRequest, number: int) -> bytes:
    """The batch as if it were recorded just now, with an id of its own, so that it is neither late nor a repeat."""
    spans = request.resource_spans[0].scope_spans[0].spans
    shift_ns = time.time_ns() - 9 * 10**9 - spans[0].start_time_unix_nano
    for span in spans:
        span.start_time_unix_nano += shift_ns
        span.end_time_unix_nano += shift_ns
    spans[0].span_id = number.to_bytes(8, "big")
    return request.SerializeToString()


async def measure(
    send: Send,
    process: psutil.Process,
    *,
    spans: int,
    compressed: bool,
    rounds: int,
) -> tuple[float, float]:
    """Microseconds of the child's CPU a span and a request."""
    requests = [trace_request(seed, spans) for seed in range(VARIANTS)]
    costs = []
    number = time.time_ns()
    for round_number in range(rounds + 1):
        before = sum(process.cpu_times()[:2])
        sent = 0
        started_s = time.perf_counter()
        while time.perf_counter() - started_s < ROUND_S:
            for request in requests:
                number += 1
                body = fresh(request, number)
                await send(gzip.compress(body, 6) if compressed else body)
            sent += len(requests)
        spent_s = sum(process.cpu_times()[:2]) - before
        if round_number:  # the first round fills the caches
            costs.append(spent_s / sent * 1e6)
    request_us = statistics.median(costs)
    return request_us / spans, request_us


async def main(rounds: int) -> None:
    print(describe())
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        ports = [int(port) for port in (await child.stdout.readline()).split()]
        process = psutil.Process(child.pid)
        print(
            f"{'transport':10} {'spans':>6} {'gzip':>5} {'us/span':>8} {'us/request':>11} {'spans/s/core':>13}"
        )
        for name, port, sender in (
            ("http", ports[0], http_sender),
            ("grpc", ports[1], grpc_sender),
        ):
            for spans in (512, 50):
                for compressed in (False, True):
                    # Over gRPC the channel compresses, over HTTP the bodies are.
                    async with sender(port, compressed=compressed) as send:
                        span_us, request_us = await measure(
                            send,
                            process,
                            spans=spans,
                            compressed=compressed and name == "http",
                            rounds=rounds,
                        )
                    print(
                        f"{name:10} {spans:6} {'yes' if compressed else 'no':>5} {span_us:8.2f} {request_us:11.0f} {1e6 / span_us:13,.0f}",
                        flush=True,
                    )
        print(f"resident {process.memory_info().rss / 2**20:.0f} MiB")
        child.stdin.close()
        print(f"batches reduced: {(await child.stdout.readline()).decode().strip()}")
        await asyncio.wait_for(child.wait(), 20)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--serve", action="store_true", help="be the server; used by the benchmark itself"
    )
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, the median counts")
    arguments = parser.parse_args()
    asyncio.run(serve() if arguments.serve else main(arguments.rounds))
