"""Goal: what OpenTelemetry's exporters for Node.js send becomes the series it should, and nothing is lost under overload.

Method: their SDK in a process of Node.js, beside that of Python, over HTTP and gRPC, plain and gzip, into a whole program; the
windows it stored are compared with what was sent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections import defaultdict
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from sentinel.app.config import ReceiversConfig
from sentinel.core.model import Rung, SeriesKey
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig, OtlpHttpReceiver
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.intake.downstream import Downstream
from tests.integration.receivers.test_otlp_to_windows import send_spans
from tests.support.clock import ManualClock
from tests.support.node_sender import Plan, require_node, sent
from tests.support.otlp import CountingDecoder
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import SECOND_NS, WINDOW_S, Sidecar, config_of, sidecar

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SPANS = 200
WAYS = (
    ("http-proto", False),
    ("http-proto", True),
    ("http-json", False),
    ("http-json", True),
    ("grpc", False),
    ("grpc", True),
)
SHED_S = 1.5


def named(transport: str, *, gzip: bool) -> str:
    return f"node-{transport}-{'gzip' if gzip else 'plain'}"


async def stored(side: Sidecar, since_ns: int) -> dict[SeriesKey, list[float]]:
    """Every value of every series in the windows that were stored since."""
    store = side.app.store
    step_ns = round(WINDOW_S * SECOND_NS)

    def read() -> dict[SeriesKey, list[float]]:
        keys = {row.series_id: row.key for row in store.sync.series()}
        found: dict[SeriesKey, list[float]] = defaultdict(list)
        for block in store.sync.windows(step_ns=step_ns, start_ns=since_ns, end_ns=2**62):
            for column, series_id in enumerate(block.series.tolist()):
                values = block.value[:, column].tolist()
                found[keys[series_id]] += [one for one in values if not math.isnan(one)]
        return found

    return await store.run(read)


async def test_what_node_and_python_send_becomes_series(tmp_path: Path) -> None:
    require_node()
    # Points of metrics are stamped by the sender's own clock, so the program's is not far from it.
    boundary_ns = time.time_ns() // (10 * SECOND_NS) * 10 * SECOND_NS
    config = dataclasses.replace(
        config_of(tmp_path),
        receivers=ReceiversConfig(
            otlp_http=OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            otlp_grpc=OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
        ),
    )
    async with sidecar(config, clock=ManualClock(boundary_ns)) as side:
        addresses = side.app.addresses()
        http_url, grpc_url = addresses["otlp_http_url"], addresses["otlp_grpc_url"]
        end_ns = boundary_ns + 5 * SECOND_NS
        plans = [
            Plan(
                service=named(transport, gzip=gzip),
                transport=transport,
                gzip=gzip,
                url=grpc_url if transport == "grpc" else http_url,
                signals=("traces",) if transport == "http-json" else ("traces", "metrics", "logs"),
                spans=SPANS,
                end_ms=end_ns // 10**6,
            )
            for transport, gzip in WAYS
        ]
        outcomes = await sent(*plans)
        assert [set(one) for outcome in outcomes for one in outcome.values()] == [{"ok"}] * 14
        for service, exporter in python_exporters(http_url, grpc_url).items():
            await asyncio.to_thread(send_spans, exporter, service=service, end_ns=end_ns)
        metrics = side.metrics
        assert (
            metrics.value(
                "sentinel_receiver_samples_total", receiver="receivers.otlp_http", signal="traces"
            )
            == 4 * SPANS + 2 * 400
        )
        assert (
            metrics.value(
                "sentinel_receiver_samples_total", receiver="receivers.otlp_grpc", signal="logs"
            )
            == 2 * 20
        )
        # On to where the points of metrics are, which were stamped a moment ago.
        await side.clock.advance((time.time_ns() - boundary_ns) / SECOND_NS + 2 * WINDOW_S)
        values: dict[SeriesKey, list[float]] = {}
        for _ in range(200):
            values = await stored(side, boundary_ns)
            if sum(key.signal == "queue.depth" for key in values) == 4:
                break
            await asyncio.sleep(0.05)
    place = ("edge", "POST /v1/transfers")
    for plan in plans:
        # Every call, once, in the window it ended in; none in any other.
        traffic = values[SeriesKey(plan.service, *place, "traffic")]
        assert traffic[0] == SPANS / WINDOW_S
        assert set(traffic[1:]) <= {0.0}
        assert values[SeriesKey(plan.service, *place, "errors")] == [0.25]
        (latency_s,) = values[SeriesKey(plan.service, *place, "latency")]
        assert latency_s == pytest.approx(0.05, rel=0.03)
        if "metrics" in plan.signals:
            (depth,) = [
                found
                for key, found in values.items()
                if key.service == plan.service and key.signal == "queue.depth"
            ]
            assert depth == [7.0]
            (lines,) = [
                found
                for key, found in values.items()
                if key.service == plan.service and key.signal == "logs_error"
            ]
            assert lines[0] == 20 / WINDOW_S
    for service in python_exporters(http_url, grpc_url):
        assert values[SeriesKey(service, *place, "traffic")][0] == 400 / WINDOW_S
        assert values[SeriesKey(service, *place, "errors")] == [0.25]


def python_exporters(http_url: str, grpc_url: str) -> dict[str, SpanExporter]:
    return {
        "python-http-gzip": HttpSpans(f"{http_url}/v1/traces", compression=Compression.Gzip),
        "python-http-plain": HttpSpans(f"{http_url}/v1/traces"),
        "python-grpc": GrpcSpans(endpoint=grpc_url, insecure=True),
    }


class ShedAtFirst:
    """Sheds traces for some time from the first question on, as an overload does."""

    def __init__(self) -> None:
        self._until_s: float | None = None
        self.asked_count = 0

    def sheds(self, rung: Rung) -> bool:
        """As `Shedding`."""
        if self._until_s is None:
            self._until_s = time.monotonic() + SHED_S
        self.asked_count += 1
        return rung is Rung.TRACES and time.monotonic() < self._until_s


def names_of(service: str) -> list[str]:
    return sorted(f"{service} {number}" for number in range(SPANS))


def send_named(exporter: SpanExporter, service: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=50))
    tracer = provider.get_tracer("test")
    for number in range(SPANS):
        tracer.start_span(f"{service} {number}").end()
    provider.shutdown()


async def test_every_span_arrives_in_the_end_and_once(tmp_path: Path) -> None:
    """Traces are shed for a second and a half. What senders are told makes them come back; not one takes its data for bad.

    The gRPC exporter for Node.js comes back for no answer whatever: it says that the export failed. It is told UNAVAILABLE
    (14) for that and nothing else, and what a receiver can do ends there; docs/components/otlp_grpc.md says so.
    """
    require_node()
    sink = ListSink()
    surroundings = make_surroundings(SystemClock())
    shedding = ShedAtFirst()
    downstream = Downstream(sink=sink, shedding=shedding)
    http = OtlpHttpReceiver(
        OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
        downstream,
        surroundings,
        make_decoder=CountingDecoder,
    )
    rpc = OtlpGrpcReceiver(
        OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
        downstream,
        surroundings,
        make_decoder=CountingDecoder,
    )
    await http.start()
    await rpc.start()
    try:
        grpc_url = f"http://127.0.0.1:{rpc.port}"
        plans = [
            Plan(
                service=transport,
                transport=transport,
                url=grpc_url if transport == "grpc" else http.url,
                spans=SPANS,
                end_ms=time.time_ns() // 10**6,
                names=True,
                gzip=True,
            )
            for transport in ("http-proto", "http-json", "grpc")
        ]
        by_proto, by_json, by_grpc = (
            await asyncio.gather(
                sent(*plans),
                asyncio.to_thread(
                    send_named, HttpSpans(f"{http.url}/v1/traces", timeout=30), "python-http"
                ),
                asyncio.to_thread(
                    send_named, GrpcSpans(grpc_url, insecure=True, timeout=30), "python-grpc"
                ),
            )
        )[0]
    finally:
        await http.stop()
        await rpc.stop()
    names = sorted(record.event for batch in sink.batches for record in batch.logs)
    for service in ("http-proto", "http-json", "python-http", "python-grpc"):
        assert [name for name in names if name.startswith(f"{service} ")] == names_of(service)
    assert set(by_proto["traces"]) == set(by_json["traces"]) == {"ok"}
    assert set(by_grpc["traces"]) <= {"ok", "14"}
    shed = sum(
        surroundings.metrics.value(
            "sentinel_component_errors_total", component=name, stage="read", reason="shed"
        )
        for name in ("receivers.otlp_http", "receivers.otlp_grpc")
    )
    assert shed >= 4
