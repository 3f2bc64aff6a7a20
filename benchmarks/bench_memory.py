"""Resident memory of the sidecar: idle, with 10,000 live series, and with a baseline of them in effect.

The sidecar is the real program on its defaults with both OTLP receivers; it is fed over HTTP with payloads
of the official messages. It runs three times on one store: on an empty one (idle, then with the load); after
two days of 5-minute history of the same series were stored by another process, until the second fit is
in effect, because a refit is when two of them are held; and once more, to resume. Two more sidecars begin with an empty store: one
with every collector configured, whose targets are the sidecar's own pages or do not answer; and one that gets 100,000 spans a second,
or as many as the machine can send beside it, for as long as a load lasts. Memory is read from /proc.

    python benchmarks/bench_memory.py [--scopes 3334] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from paced import Batch, http_sender, send_paced

from sentinel.core.model import SeriesKey, WindowBlock, kind_of_signal
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from sentinel.storage.sqlite import SqliteStore, StoreConfig

SPANS_PER_REQUEST = 1000
LOAD_EVERY_S = 3.0
IDLE_MB, COLLECTORS_MB, FULL_MB, FLOODED_MB = 75, 95, 140, 256
FLOOD_SPANS_PER_S = 100_000
FLOOD_SENDERS = 4
COLLECTORS_S = 45.0
BIN_NS = 300_000_000_000
HISTORY_BINS = 50 * 12
FIT_EVERY_S = 45
FITTED_WITHIN_S = 600.0


class Sidecar:
    """A running sidecar and where it answers."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self._process = process
        self._ready = ready

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def port(self, transport: str) -> int:
        """Where it takes OTLP over `http` or `grpc`."""
        return int(self._ready[f"otlp_{transport}_url"].rpartition(":")[2])

    def metric(self, name: str) -> float:
        """A self-metric, summed over its labels."""
        lines = self._get("/metrics").splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name}{{", f"{name} "))
        )

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Resident memory in MB; with `VmHWM` the highest so far."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / 1e6
        message = f"process {self._process.pid} has no {field}"
        raise RuntimeError(message)

    def load(self, *, scopes: int, seconds: float, until_fit: int = 0) -> None:
        """Send spans of all scopes for some seconds, and on until all are live and that fit is in effect."""
        started = time.monotonic()
        while True:
            round_started = time.monotonic()
            for first in range(0, scopes, SPANS_PER_REQUEST):
                count = min(SPANS_PER_REQUEST, scopes - first)
                body = payload(first, count, time.time_ns())
                post(self._ready["otlp_http_url"] + "/v1/traces", body)
            passed = time.monotonic() - started
            is_live = self.series_count() >= scopes * 3
            if passed > seconds and is_live and self.fit_version() >= until_fit:
                return
            if passed > FITTED_WITHIN_S:
                message = f"not all series live and fit {until_fit} in effect after {passed:.0f} s"
                raise RuntimeError(message)
            time.sleep(max(0.0, LOAD_EVERY_S - (time.monotonic() - round_started)))

    def fit_version(self) -> int:
        """The fit in effect, 0 before the first."""
        return json.loads(self._get("/api/v1/status"))["fit_version"] or 0

    def series_count(self) -> int:
        """How many series are live."""
        lines = self._get("/metrics").splitlines()
        counts = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("sentinel_series{")]
        return round(sum(map(float, counts)))

    def tell(self, phase: str, *, goal_mb: int) -> None:
        """Print what is resident, and the most that was since the start."""
        print(
            f"{phase}: {self.memory_mb():.0f} MB resident (to reach: {goal_mb}),"
            f" {self.memory_mb('VmHWM'):.0f} MB at most since the start",
            flush=True,
        )

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(self._ready["web_url"] + path, timeout=20) as response:
            return str(response.read().decode())


@contextmanager
def sidecar_in(
    folder: Path,
    *,
    scopes: int = 3334,
    fit_every_s: float = FIT_EVERY_S,
    receivers: str = "",
    more: str = "",
) -> Iterator[Sidecar]:
    """The real program over the store in a folder, ended when the caller is done; `more` is configuration."""
    ready_path, config_path = folder / "ready.json", folder / "sentinel.yaml"
    ready_path.unlink(missing_ok=True)
    config_path.write_text(
        "web: {listen: {port: 0}}\n"
        f"receivers: {{otlp_http: {{listen: {{port: 0}}}}, otlp_grpc: {{listen: {{port: 0}}}}, {receivers}}}\n"
        f"series: {{series_count_max: {scopes * 3 + 100}}}\n"
        f"fit: {{interval: {fit_every_s}s}}\n"
        f"store: {{directory: {folder}/store}}\n"
        f"{more}"
    )
    command = Path(sys.executable).with_name("sentinel")
    process = subprocess.Popen(
        [command, "run", "--config", config_path, "--ready-file", ready_path],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not (ready_path.exists() and ready_path.read_text().endswith("\n")):
            if time.monotonic() > deadline or process.poll() is not None:
                message = "the sidecar did not become ready"
                raise RuntimeError(message)
            time.sleep(0.1)
        yield Sidecar(process, json.loads(ready_path.read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def fill(directory: str, scopes: int) -> None:
    """Store history of what the load will be, with some noise."""
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    store = SqliteStore(StoreConfig(directory=directory), surroundings)
    store.open()
    keys = [
        SeriesKey(f"service-{number // SPANS_PER_REQUEST}", "edge", f"GET /r{number}", signal_name)
        for number in range(scopes)
        for signal_name in ("traffic", "errors", "latency")
    ]
    named = [(key, kind_of_signal(key.signal)) for key in keys]
    ids = np.array(store.register(named, now_ns=time.time_ns()), np.int64)
    order = np.argsort(ids)
    latency_s = (1 + np.arange(scopes) % 90) / 1000
    usual = np.stack([np.full(scopes, 1 / LOAD_EVERY_S), np.zeros(scopes), latency_s], axis=1)
    rng = np.random.default_rng(1)
    end_ns = time.time_ns() // BIN_NS * BIN_NS
    for first in range(0, HISTORY_BINS, 48):
        count = min(48, HISTORY_BINS - first)
        noise = 1 + 0.05 * rng.standard_normal((count, len(keys)))
        value = (usual.reshape(-1) * noise).astype(np.float32)[:, order]
        store.append_history(
            WindowBlock(
                start_ns=end_ns - (HISTORY_BINS - first) * BIN_NS,
                step_ns=BIN_NS,
                series=ids[order],
                kind=np.array([kind for _, kind in named], np.int8)[order],
                value=value,
                weight=np.full(value.shape, 100, np.float32),
                heard=np.ones(value.shape, np.bool_),
            )
        )
    store.close()


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


def every_collector(folder: Path) -> tuple[str, str]:
    """Receivers and all else that can be configured to bring telemetry in; nothing need answer at the other ends."""
    logs = folder / "logs"
    logs.mkdir()
    (logs / "app.log").write_text('{"level": "info", "msg": "started"}\n' * 1000)
    receivers = f"http_log: {{enabled: true, listen: {{port: 0}}}}, log_files: {{sources: [{{name: app, paths: ['{logs}/*.log']}}]}}"
    more = (
        "scrapers:\n"
        "  prometheus: [{name: app, url: 'http://127.0.0.1:9/metrics'}]\n"
        "  kong: [{name: gateway, url: 'http://127.0.0.1:9'}]\n"
        "  nats: [{name: bus, urls: ['http://127.0.0.1:9']}]\n"
        "  postgres: [{name: db, host: 127.0.0.1, port: 9}]\n"
        "forward: {endpoints: [{name: away, url: 'http://127.0.0.1:9'}]}\n"
    )
    return receivers, more


async def flood(port: int, *, seconds: float) -> tuple[int, int]:
    """As many spans as FLOOD_SPANS_PER_S from some connections at once; spans taken, requests turned away."""
    shared = FLOOD_SPANS_PER_S / FLOOD_SENDERS

    async def one(first: int) -> tuple[int, int]:
        batches = [Batch(first + seed, 512) for seed in range(8)]
        async with http_sender(port) as send:
            taken, refused = await send_paced(
                send, batches, spans_per_s=shared, seconds=seconds, first_number=first << 40
            )
            return taken, refused

    found = await asyncio.gather(*(one(8 * number) for number in range(FLOOD_SENDERS)))
    return sum(taken for taken, _ in found), sum(refused for _, refused in found)


def main() -> int:
    """Run all phases and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scopes", type=int, default=3334, help="routes; each makes three series")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each load lasts")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        receivers, more = every_collector(Path(name))
        with sidecar_in(Path(name), receivers=receivers, more=more) as sidecar:
            time.sleep(COLLECTORS_S)
            sidecar.tell("all collectors configured", goal_mb=COLLECTORS_MB)
    with tempfile.TemporaryDirectory() as name, sidecar_in(Path(name)) as sidecar:
        taken, refused = asyncio.run(flood(sidecar.port("http"), seconds=args.seconds))
        print(
            f"{taken / args.seconds:,.0f} spans/s for {args.seconds:.0f} s, {refused:,} turned away:"
        )
        sidecar.tell("  under ten times the load", goal_mb=FLOODED_MB)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sidecar_in(folder, scopes=args.scopes) as sidecar:
            time.sleep(15)
            sidecar.tell("idle", goal_mb=IDLE_MB)
            sidecar.load(scopes=args.scopes, seconds=args.seconds)
            print(f"with {sidecar.series_count()} series:")
            sidecar.tell("  without a fit", goal_mb=FULL_MB)
        # In a process of its own, so that nothing of it can be inherited.
        filler = multiprocessing.get_context("spawn").Process(
            target=fill, args=(f"{folder}/store", args.scopes)
        )
        filler.start()
        filler.join()
        if filler.exitcode:
            print("the history could not be stored", file=sys.stderr)
            return 3
        with sidecar_in(folder, scopes=args.scopes) as sidecar:
            sidecar.load(scopes=args.scopes, seconds=args.seconds, until_fit=1)
            sidecar.tell("  with the first fit in effect", goal_mb=FULL_MB)
            sidecar.load(scopes=args.scopes, seconds=30.0, until_fit=sidecar.fit_version() + 1)
            sidecar.tell("  with a refit in effect", goal_mb=FULL_MB)
        with sidecar_in(folder, scopes=args.scopes) as sidecar:
            sidecar.load(scopes=args.scopes, seconds=args.seconds)
            sidecar.tell("  after a restart", goal_mb=FULL_MB)
    return 0


if __name__ == "__main__":
    sys.exit(main())
