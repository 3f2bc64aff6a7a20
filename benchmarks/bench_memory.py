"""Resident memory of the sidecar: idle, and with 10,000 live series.

The sidecar is the real program on its defaults with both OTLP receivers; it is fed over HTTP with payloads
of the official messages. Memory is read from /proc, after each phase has settled.

    python benchmarks/bench_memory.py [--scopes 3334] [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from machine import describe
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

SPANS_PER_REQUEST = 1000


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"process {pid} has no VmRSS"
    raise RuntimeError(message)


def payload(first: int, count: int, now_ns: int) -> bytes:
    """One request: `count` server spans, each of a route of its own."""
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    service = resource.resource.attributes.add()
    service.key = "service.name"
    service.value.string_value = f"service-{first // SPANS_PER_REQUEST}"
    spans = resource.scope_spans.add().spans
    for number in range(first, first + count):
        span = spans.add()
        span.trace_id = os.urandom(16)
        span.span_id = os.urandom(8)
        span.name = f"GET /r{number}"
        span.kind = trace_pb2.Span.SPAN_KIND_SERVER
        span.end_time_unix_nano = now_ns
        span.start_time_unix_nano = now_ns - 1_000_000 * (1 + number % 90)
        for key, value in (("http.request.method", "GET"), ("http.route", f"/r{number}")):
            attribute = span.attributes.add()
            attribute.key = key
            attribute.value.string_value = value
    return request.SerializeToString()


def post(url: str, body: bytes) -> None:
    """Send one request; any answer but 200 is an error."""
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        if response.status != 200:
            message = f"the sidecar answered {response.status}"
            raise RuntimeError(message)


def main() -> int:
    """Run both phases and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scopes", type=int, default=3334, help="routes; each makes three series")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the load lasts")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        ready_path = Path(folder) / "ready.json"
        config_path = Path(folder) / "sentinel.yaml"
        config_path.write_text(
            "web: {listen: {port: 0}}\n"
            "receivers: {otlp_http: {listen: {port: 0}}, otlp_grpc: {listen: {port: 0}}}\n"
            f"series: {{series_count_max: {args.scopes * 3 + 100}}}\n"
            f"store: {{directory: {folder}/store}}\n"
        )
        sidecar = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("sentinel")),
                *("run", "--config", str(config_path), "--ready-file", str(ready_path)),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            while not (ready_path.exists() and ready_path.read_text().endswith("\n")):
                if time.monotonic() > deadline or sidecar.poll() is not None:
                    print("the sidecar did not become ready", file=sys.stderr)
                    return 3
                time.sleep(0.1)
            time.sleep(15)
            print(f"idle: {rss_mb(sidecar.pid):.0f} MB resident (to reach: 75)")
            ready = json.loads(ready_path.read_text())
            peak_mb = 0.0
            until = time.monotonic() + args.seconds
            while time.monotonic() < until:
                started = time.monotonic()
                for first in range(0, args.scopes, SPANS_PER_REQUEST):
                    count = min(SPANS_PER_REQUEST, args.scopes - first)
                    post(
                        ready["otlp_http_url"] + "/v1/traces",
                        payload(first, count, time.time_ns()),
                    )
                peak_mb = max(peak_mb, rss_mb(sidecar.pid))
                time.sleep(max(0.0, 3.0 - (time.monotonic() - started)))
            text = (
                urllib.request.urlopen(ready["web_url"] + "/metrics", timeout=20).read().decode()
            )
            series = sum(
                float(line.rsplit(" ", 1)[1])
                for line in text.splitlines()
                if line.startswith("sentinel_series{")
            )
            print(
                f"with {series:.0f} series: {rss_mb(sidecar.pid):.0f} MB resident,"
                f" {peak_mb:.0f} MB at most (to reach: 140)"
            )
        finally:
            sidecar.send_signal(signal.SIGTERM)
            sidecar.wait(20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
