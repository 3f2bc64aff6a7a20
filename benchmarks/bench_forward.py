"""What forwarding adds to a core at 10,000 spans a second, and how long a log record takes to its endpoint.

Method: a receiver on loopback in a process of its own takes whatever comes; this process offers payloads of 512 spans at a
steady pace and its CPU time is taken, less that of the same loop with forwarding off. Ways: byte for byte through memory,
through the disk, redacted through the disk, over gRPC, with gzip. Then log records one by one at 2,000 a second,
redacted, through the disk; the time from the offer to the receiver's having the request, p50 and p99, by one clock.
Printed with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import re
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from bench_ingest import trace_request
from machine import describe
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import NO_TAP, Telemetry, TelemetryTap
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.senders.otlp_forward.config import (
    Compression,
    EndpointConfig,
    ForwardConfig,
    ForwardProtocol,
    RawPlace,
)
from sentinel.senders.otlp_forward.forwarding import Forwarding

SPANS_PER_S = 10_000
SPANS_A_PAYLOAD = 512
RECORDS_PER_S = 2_000
_SENT_AT = re.compile(rb"sent-at (\d+)")


def receive(pipe: Connection) -> None:
    """A receiver over HTTP and gRPC that keeps nothing but when log records came; in a process of its own."""
    delays_s: list[float] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        now_ns = time.monotonic_ns()
        delays_s.extend((now_ns - int(found)) / 1e9 for found in _SENT_AT.findall(body))
        return web.Response(content_type="application/x-protobuf")

    async def serve() -> None:
        import grpc

        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/{signal}", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server = grpc.aio.server()

        async def export(request: bytes, context: object) -> bytes:  # noqa: ARG001
            return b""

        handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        pipe.send((runner.addresses[0][1], port))
        await asyncio.to_thread(pipe.recv)
        pipe.send(delays_s)

    asyncio.run(serve())


async def cpu_of(tap: TelemetryTap, payloads: list[Telemetry], *, seconds: float) -> float:
    """Share of a core while payloads are offered at a steady pace."""
    every_s = SPANS_A_PAYLOAD / SPANS_PER_S
    start_s, cpu_s = time.monotonic(), time.process_time()
    number = 0
    while time.monotonic() - start_s < seconds:
        tap.offer(payloads[number % len(payloads)])
        number += 1
        await asyncio.sleep(max(0.0, start_s + number * every_s - time.monotonic()))
    return (time.process_time() - cpu_s) / (time.monotonic() - start_s)


async def with_forwarding(
    config: ForwardConfig, payloads: list[Telemetry], *, seconds: float
) -> tuple[float, float]:
    """Share of a core with forwarding, and share of items that were dropped."""
    metrics = Metrics(CATALOGUE)
    surroundings = Surroundings(clock=SystemClock(), metrics=metrics, logger=_silent())
    with tempfile.TemporaryDirectory() as folder:
        forwarding = Forwarding(config, Path(folder), surroundings)
        await forwarding.start()
        await cpu_of(forwarding, payloads, seconds=1.0)
        share = await cpu_of(forwarding, payloads, seconds=seconds)
        await forwarding.stop()
    dropped = received = 0.0
    for family in metrics.registry.collect():
        for sample in family.samples:
            dropped += sample.value if sample.name == "sentinel_component_dropped_total" else 0
            received += sample.value if sample.name == "sentinel_component_received_total" else 0
    return share, dropped / max(received, 1.0)


async def log_delays(url: str, *, seconds: float) -> None:
    """Offer log records one by one; the receiver takes the time."""
    config = ForwardConfig(endpoints=(EndpointConfig(url=url),))
    surroundings = Surroundings(clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=_silent())
    with tempfile.TemporaryDirectory() as folder:
        forwarding = Forwarding(config, Path(folder), surroundings)
        await forwarding.start()
        start_s, number = time.monotonic(), 0
        while time.monotonic() - start_s < seconds:
            number += 1
            request = ExportLogsServiceRequest()
            scope = request.resource_logs.add().scope_logs.add()
            record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=9)
            record.body.string_value = (
                f"posted transfer {number} for jane.doe@example.com, sent-at {time.monotonic_ns()}"
            )
            forwarding.offer(
                Telemetry(
                    signal=OtlpSignal.LOGS,
                    encoding=OtlpEncoding.PROTOBUF,
                    body=request.SerializeToString(),
                    item_count=1,
                    redacted=False,
                )
            )
            await asyncio.sleep(max(0.0, start_s + number / RECORDS_PER_S - time.monotonic()))
        await forwarding.stop()
    print(f"log records offered: {number / seconds:,.0f}/s")


def _silent() -> object:
    import logging

    logger = logging.getLogger("benchmark.forward")
    logger.disabled = True
    return logger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=receive, args=(theirs,), daemon=True
    )
    child.start()
    http_port, grpc_port = ours.recv()
    http, rpc = f"http://127.0.0.1:{http_port}", f"http://127.0.0.1:{grpc_port}"
    payloads = [
        Telemetry(
            signal=OtlpSignal.TRACES,
            encoding=OtlpEncoding.PROTOBUF,
            body=trace_request(seed, SPANS_A_PAYLOAD).SerializeToString(),
            item_count=SPANS_A_PAYLOAD,
            redacted=False,
        )
        for seed in range(20)
    ]
    print(describe())
    size = sum(len(one.body) for one in payloads) / len(payloads) / SPANS_A_PAYLOAD
    print(
        f"{SPANS_PER_S:,} spans/s of {size:.0f} bytes, 12 attributes, in payloads of {SPANS_A_PAYLOAD}"
    )
    plain = EndpointConfig(url=http)
    ways = {
        "byte for byte, through memory": ForwardConfig(endpoints=(plain,)),
        "byte for byte, through the disk": ForwardConfig(endpoints=(plain,), raw=RawPlace.DISK),
        "redacted, through the disk": ForwardConfig(endpoints=(plain,), redact_spans=True),
        "byte for byte, gRPC": ForwardConfig(
            endpoints=(EndpointConfig(url=rpc, protocol=ForwardProtocol.GRPC),)
        ),
        "byte for byte, gzip": ForwardConfig(
            endpoints=(EndpointConfig(url=http, compression=Compression.GZIP),)
        ),
    }

    async def run() -> None:
        bare = await cpu_of(NO_TAP, payloads, seconds=options.seconds)
        for name, config in ways.items():
            taken = [
                await with_forwarding(config, payloads, seconds=options.seconds)
                for _ in range(options.repeats)
            ]
            share = statistics.median(one[0] for one in taken) - bare
            dropped = max(one[1] for one in taken)
            print(f"{name:<36} {share:7.2%} of a core added, {dropped:.2%} dropped")
        await log_delays(http, seconds=options.seconds)

    asyncio.run(run())
    ours.send("end")
    delays_s = sorted(ours.recv())
    child.join(timeout=10)
    for quantile in (0.5, 0.99, 1.0):
        at = min(len(delays_s) - 1, int(quantile * len(delays_s)))
        print(
            f"log record to its endpoint, p{100 * quantile:g}: {delays_s[at] * 1000:.0f} ms   (goal p99 200 ms)"
        )


if __name__ == "__main__":
    main()
