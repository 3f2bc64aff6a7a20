"""Goal: a real sidecar hands on what it acknowledged, through outages and `kill -9`, and no canary is ever on its disk.

Method: `python -m sentinel run` as a child; OpenTelemetry's own exporters and hand-made requests in, a receiver of the test or
a second sidecar behind it. What a kill may take is what had not reached the queue: before each kill the test waits until
the sidecar says what waits on its disk, and holds it to that.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from tests.support.canaries import SHAPED
from tests.support.otlp_messages import resource
from tests.support.sidecar_process import SidecarProcess, sidecar_process
from tests.support.upstream import Upstream, http_upstream

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def config_in(folder: Path, *endpoints: str, more: str = "") -> Path:
    """A sidecar on free ports that hands on to these; each is a line of YAML's flow style."""
    path = folder / "sentinel.yaml"
    path.write_text(
        f"""
receivers: {{otlp_http: {{listen: {{port: 0}}}}, otlp_grpc: {{listen: {{port: 0}}}}}}
series: {{window: 1s, lateness: 200ms, tick: 100ms}}
store: {{directory: {folder / "store"}}}
web: {{listen: {{port: 0}}}}
forward: {{endpoints: [{", ".join(endpoints)}], delay: 10ms, drain_timeout: 500ms{more}}}
"""
    )
    return path


def logs_request(*bodies: str) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add(resource=resource("ledger")).scope_logs.add()
    for body in bodies:
        record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=17)
        record.body.string_value = body
    return request.SerializeToString()


def post(url: str, body: bytes) -> int:
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(url, data=body, headers=headers)  # loopback
    with urllib.request.urlopen(request, timeout=10) as reply:
        return int(reply.status)


def bodies(upstream: Upstream) -> list[str]:
    return [
        one.body.string_value
        for body in upstream.bodies("logs")
        for group in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in group.scope_logs
        for one in scope.log_records
    ]


async def metric(side: SidecarProcess, name: str, **labels: str) -> float:
    """The sum of a self-metric's samples with these labels."""
    text = await asyncio.to_thread(side.get, "/metrics")
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if re.match(rf"{name}(\{{|\s)", line)
        and all(f'{key}="{value}"' in line for key, value in labels.items())
    )


async def until(side: SidecarProcess, count: float, name: str, **labels: str) -> None:
    async with asyncio.timeout(30):
        while await metric(side, name, **labels) < count:
            await asyncio.sleep(0.03)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def line_of(number: int) -> str:
    """Of one width, so that none is a part of another."""
    return f"line {number:05}"


async def killed_many_times(folder: Path, *, kills: int, seed: int) -> None:
    """Send, wait for what the sidecar says is on disk, send on, kill; in the end everything of the first kind arrived."""
    rng = random.Random(seed)
    settled: list[str] = []
    number = 0
    async with http_upstream() as upstream:
        upstream.down = True
        config = config_in(folder, f"{{name: up, url: '{upstream.url}', retry_max: 100ms}}")

        async def send(side: SidecarProcess, count: int) -> list[str]:
            nonlocal number
            lines = [line_of(one) for one in range(number, number + count)]
            number += count
            for line in lines:
                url = f"{side.addresses['otlp_http_url']}/v1/logs"
                assert await asyncio.to_thread(post, url, logs_request(line)) == 200
            return lines

        for turn in range(kills):
            with sidecar_process(config, name=f"run{turn}") as side:
                # An outage ends for a moment now and then, so that a kill comes while something is sent.
                upstream.down = rng.random() < 0.5
                lines = await send(side, rng.randrange(5, 20))
                # Looked for themselves: what is sent just now is counted as sent and as waiting for a moment.
                async with asyncio.timeout(60):
                    while not all(
                        line in bodies(upstream) or line.encode() in on_disk(folder)
                        for line in lines
                    ):
                        await asyncio.sleep(0.01)
                settled += lines
                await send(side, rng.randrange(5))
                await asyncio.sleep(rng.random() * 0.05)
                assert side.end(signal.SIGKILL) == -signal.SIGKILL
        upstream.down = False
        with sidecar_process(config, name="last") as side:
            await upstream.wait(lambda: set(settled) <= set(bodies(upstream)), timeout_s=60)
            assert await metric(side, "sentinel_forward_damage_total") == 0
            assert await metric(side, "sentinel_forward_dropped_items_total") == 0
    found = bodies(upstream)
    assert set(found) <= {line_of(one) for one in range(number)}
    # Again comes only what was on its way at a kill: one request of each.
    again = len(found) - len(set(found))
    assert again <= kills * 25


async def test_what_waits_on_disk_survives_kills(tmp_path: Path) -> None:
    await killed_many_times(tmp_path, kills=1, seed=3)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
async def test_what_waits_on_disk_survives_many_kills(tmp_path: Path, seed: int) -> None:
    await killed_many_times(tmp_path, kills=15, seed=100 + seed)


@pytest.mark.full
async def test_exporters_of_the_sdk_through_two_sidecars(tmp_path: Path) -> None:
    """Traces, metrics and logs of the SDK through one sidecar into a second; what the second takes is what was sent."""
    (tmp_path / "second").mkdir()
    (tmp_path / "first").mkdir()
    second_config = tmp_path / "second" / "sentinel.yaml"
    second_config.write_text(
        f"""
receivers: {{otlp_http: {{listen: {{port: 0}}}}, otlp_grpc: {{listen: {{port: 0}}}}}}
store: {{directory: {tmp_path / "second" / "store"}}}
web: {{listen: {{port: 0}}}}
"""
    )
    with sidecar_process(second_config) as second:
        grpc_url = second.addresses["otlp_grpc_url"]
        http_url = second.addresses["otlp_http_url"]
        config = config_in(
            tmp_path / "first",
            f"{{name: rpc, url: '{grpc_url}', protocol: grpc, compression: gzip, metrics: false}}",
            f"{{name: web, url: '{http_url}', traces: false, logs: false}}",
        )
        with sidecar_process(config) as first:
            await asyncio.to_thread(_sdk_sends, first)
            received = "sentinel_component_received_total"
            rpc = {"component": "receivers.otlp_grpc"}
            await until(first, 500, "sentinel_forward_items_total", signal="traces")
            await until(second, 50, received, signal="logs", **rpc)
            await until(second, 1, received, signal="metrics", component="receivers.otlp_http")
            ours = {"component": "senders.otlp_forward"}
            assert await metric(first, "sentinel_component_dropped_total", **ours) == 0
            assert await metric(second, "sentinel_receiver_rejected_samples_total") == 0
            assert await metric(second, received, signal="traces", **rpc) == 250


def _sdk_sends(side: SidecarProcess) -> None:
    url = side.addresses["otlp_http_url"]
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    for number in range(500):
        with tracing.get_tracer("t").start_as_current_span(
            f"s{number % 7}", kind=SpanKind.SERVER if number % 2 else SpanKind.INTERNAL
        ):
            pass
    meter = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), 3_600_000)]
    )
    meter.get_meter("m").create_counter("orders").add(3)
    logs = LoggerProvider()
    exporter = OTLPLogExporter(endpoint=side.addresses["otlp_grpc_url"], insecure=True)
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter))
    for number in range(50):
        logs.get_logger("l").emit(timestamp=time.time_ns(), body=f"line {number}")
    closing: tuple[Any, ...] = (tracing, meter, logs)
    for provider in closing:
        provider.shutdown()


async def test_no_canary_is_on_disk_in_pages_or_in_logs(tmp_path: Path) -> None:
    """Every kind of secret in every place of spans and records, with an endpoint that is away and refuses."""
    async with http_upstream() as upstream:
        upstream.down = True
        more = ", redact_spans: false"
        config = config_in(
            tmp_path, f"{{name: up, url: '{upstream.url}', retry_max: 100ms}}", more=more
        )
        secrets = {kind: one for kind, one in SHAPED.items() if kind != "url"}
        with sidecar_process(config) as side:
            url = side.addresses["otlp_http_url"]
            for secret in secrets.values():
                request = ExportLogsServiceRequest.FromString(logs_request(f"failed for {secret}"))
                group = request.resource_logs[0]
                group.resource.attributes.add(key=f"k {secret}").value.string_value = secret
                record = group.scope_logs[0].log_records[0]
                record.event_name = f"event {secret}"
                record.attributes.add(key="note").value.string_value = secret
                record.attributes.add(key="exception.message").value.string_value = f"x {secret}"
                assert (
                    await asyncio.to_thread(post, f"{url}/v1/logs", request.SerializeToString())
                    == 200
                )
                traced = ExportTraceServiceRequest()
                spans = traced.resource_spans.add(
                    resource=resource(f"svc {secret}")
                ).scope_spans.add()
                now_ns = time.time_ns()
                span = spans.spans.add(
                    trace_id=b"t" * 16,
                    span_id=b"s" * 8,
                    kind=2,
                    name=f"GET /pay/{secret}",
                    start_time_unix_nano=now_ns - 10**7,
                    end_time_unix_nano=now_ns,
                )
                span.status.code = 2  # type: ignore[assignment]
                span.status.message = f"bad {secret}"
                span.attributes.add(key="http.route").value.string_value = f"/pay/{secret}"
                assert (
                    await asyncio.to_thread(post, f"{url}/v1/traces", traced.SerializeToString())
                    == 200
                )
            await until(
                side, len(secrets), "sentinel_forward_queue_items", place="disk", signal="logs"
            )
            upstream.answers.extend([(400, {}, f"no: {one}".encode()) for one in secrets.values()])
            await until(side, 1, "sentinel_forward_requests_total", result="refused")
            await asyncio.sleep(2.5)  # windows of a second close and are stored
            pages = [
                await asyncio.to_thread(side.get, path)
                for path in (
                    "/metrics",
                    "/metrics/series",
                    "/api/v1/status",
                    "/api/v1/incidents",
                    "/-/healthy",
                    "/",
                )
            ]
        seen = on_disk(tmp_path).decode("utf-8", "replace") + "".join(pages)
        assert "failed for [PAN]" in seen
        for kind, secret in secrets.items():
            assert secret not in seen, kind
