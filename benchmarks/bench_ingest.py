"""How much one core decodes and reduces, with everything switched on.

Goal: 150,000 spans a second on one core, from the bytes of a request to closed windows: places, failures, exemplars,
service names, fingerprints, windows with histograms. Method: batches made with OpenTelemetry's own
messages (512 spans, 12 attributes, 8 resource attributes, some 500 places in all), decoded and added in rounds, a
window closed after every round; process CPU time, the median of several repetitions, printed with the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from google.protobuf.json_format import MessageToDict
from machine import describe
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, SeriesSettings

GOAL_PER_S = 150_000
START_NS = 1_790_000_000 * 10**9
SERVICES = ("gateway", "ledger", "cards", "payouts", "fraud", "identity", "statements", "fees")
ROUTES = tuple(
    f"/v1/{noun}{tail}"
    for noun in (
        "transfers",
        "accounts",
        "payouts",
        "cards",
        "refunds",
        "quotes",
        "limits",
        "holds",
    )
    for tail in ("", "/{id}", "/{id}/events", "/search")
)
METHODS = ("GET", "POST")


def _attribute(key: str, value: str | int) -> KeyValue:
    pair = KeyValue(key=key)
    if isinstance(value, int):
        pair.value.int_value = value
    else:
        pair.value.string_value = value
    return pair


def _resource(rng: random.Random) -> Resource:
    return Resource(
        attributes=[
            _attribute("service.name", rng.choice(SERVICES)),
            _attribute("service.version", "1.42.7"),
            _attribute("service.instance.id", f"{rng.getrandbits(128):032x}"),
            _attribute("deployment.environment.name", "production"),
            _attribute("telemetry.sdk.language", "python"),
            _attribute("telemetry.sdk.name", "opentelemetry"),
            _attribute("telemetry.sdk.version", "1.39.0"),
            _attribute("host.name", f"node-{rng.randrange(50)}"),
        ]
    )


def trace_request(seed: int, span_count: int) -> ExportTraceServiceRequest:
    rng = random.Random(seed)
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(resource=_resource(rng))
    scope = group.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.aiohttp_server"
    for _ in range(span_count):
        method, route = rng.choice(METHODS), rng.choice(ROUTES)
        code = rng.choices((200, 201, 404, 500, 503), (85, 8, 4, 2, 1))[0]
        start_ns = START_NS + rng.randrange(9 * 10**9)
        span = scope.spans.add(
            trace_id=rng.randbytes(16),
            span_id=rng.randbytes(8),
            parent_span_id=rng.randbytes(8),
            name=f"{method} {route}",
            kind=2,
            flags=1,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + int(rng.lognormvariate(16.5, 1.0)),
        )
        span.attributes.extend(
            (
                _attribute("http.request.method", method),
                _attribute("url.scheme", "http"),
                _attribute("url.path", route.replace("{id}", str(rng.randrange(10**6)))),
                _attribute("server.address", "ledger.internal"),
                _attribute("server.port", 8080),
                _attribute("network.protocol.version", "1.1"),
                _attribute("client.address", f"10.0.{rng.randrange(255)}.{rng.randrange(255)}"),
                _attribute(
                    "user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"
                ),
                _attribute("http.route", route),
                _attribute("http.response.status_code", code),
                _attribute("enduser.id", f"u-{rng.getrandbits(32):08x}"),
                _attribute("thread.id", rng.getrandbits(31)),
            )
        )
        if code >= 500:
            span.status.code = 2
    return request


def metrics_request(seed: int, point_count: int) -> ExportMetricsServiceRequest:
    rng = random.Random(seed)
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add(resource=_resource(random.Random(seed % 8)))
    metric = group.scope_metrics.add().metrics.add(name="http.server.request.duration", unit="s")
    metric.histogram.aggregation_temporality = 2
    bounds = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    for number in range(point_count):
        counts = [rng.randrange(100) + 100 * seed for _ in range(len(bounds) + 1)]
        point = metric.histogram.data_points.add(
            start_time_unix_nano=START_NS - 10**12,
            time_unix_nano=START_NS + 10**9 + seed,
            count=sum(counts),
            sum=1.0,
            bucket_counts=counts,
            explicit_bounds=bounds,
        )
        point.attributes.extend(
            (
                _attribute("http.request.method", METHODS[number % 2]),
                _attribute("http.route", ROUTES[number // 2 % len(ROUTES)]),
                _attribute("http.response.status_code", 200),
            )
        )
    return request


def logs_request(seed: int, record_count: int) -> ExportLogsServiceRequest:
    rng = random.Random(seed)
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add(resource=_resource(rng)).scope_logs.add()
    for number in range(record_count):
        record = records.log_records.add(
            time_unix_nano=START_NS + rng.randrange(9 * 10**9),
            severity_number=17 if number % 20 == 0 else 9,
            event_name="transfer.posted",
            trace_id=rng.randbytes(16),
        )
        record.body.string_value = (
            f"transfer {rng.randrange(10**8)} posted in {rng.random():.4f} s"
        )
        record.attributes.append(_attribute("tenant", f"t-{rng.randrange(100)}"))
    return request


def measure(
    name: str,
    unit: str,
    bodies: list[bytes],
    count: int,
    repetitions: int,
    signal: str,
    encoding: str,
) -> float:
    decoder = OtlpDecoder()
    seconds: list[float] = []
    places = 0
    for repetition in range(repetitions + 1):
        aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
        # The clock moves between rounds; else only the first would find calls slower than those named lately.
        now_ns = START_NS + (10 + 12 * (repetition % 2)) * 10**9
        began = time.process_time()
        for body in bodies:
            aggregator.add(decoder.decode(signal, encoding, body, now_ns=now_ns), now_ns)
        closed = aggregator.close(START_NS + 30 * 10**9)
        if repetition:  # the first round fills the caches
            seconds.append(time.process_time() - began)
        places = len(closed.windows[0].keys)
    total = count * len(bodies)
    rate = total / statistics.median(seconds)
    print(
        f"{name:34s} {rate:11,.0f} {unit}/s  {1e6 / rate:7.2f} us each"
        f"  ({places} series, {sum(map(len, bodies)) / total:.0f} bytes each)"
    )
    return rate


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """The request as OTLP writes JSON: integer enumerations and hexadecimal ids."""
    document = MessageToDict(request, use_integers_for_enums=True)
    for group, typed in zip(document["resourceSpans"], request.resource_spans, strict=True):
        for scope, typed_scope in zip(group["scopeSpans"], typed.scope_spans, strict=True):
            for span, typed_span in zip(scope["spans"], typed_scope.spans, strict=True):
                span["traceId"] = typed_span.trace_id.hex()
                span["spanId"] = typed_span.span_id.hex()
    return json.dumps(document, separators=(",", ":")).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions
    print(f"{describe()}; CPU time of one core, median of {repetitions}")
    big = [trace_request(seed, 512) for seed in range(32)]
    small = [trace_request(seed, 50) for seed in range(128)]
    encode: Callable[[ExportTraceServiceRequest], bytes] = (
        ExportTraceServiceRequest.SerializeToString
    )
    protobuf, media_json = "application/x-protobuf", "application/json"
    rate = measure(
        "spans, batches of 512", "spans", [encode(each) for each in big], 512, repetitions,
        "traces", protobuf,
    )  # fmt: skip
    measure(
        "spans, batches of 50", "spans", [encode(each) for each in small], 50, repetitions,
        "traces", protobuf,
    )  # fmt: skip
    measure(
        "spans, JSON, batches of 512", "spans", [as_json(each) for each in big[:8]], 512,
        repetitions, "traces", media_json,
    )  # fmt: skip
    measure(
        "histogram points, batches of 64", "points",
        [metrics_request(seed, 64).SerializeToString() for seed in range(32)], 64, repetitions,
        "metrics", protobuf,
    )  # fmt: skip
    measure(
        "log records, batches of 512", "records",
        [logs_request(seed, 512).SerializeToString() for seed in range(16)], 512, repetitions,
        "logs", protobuf,
    )  # fmt: skip
    verdict = "reached" if rate >= GOAL_PER_S else "NOT reached"
    print(f"goal: {GOAL_PER_S:,} spans/s in batches of 512: {verdict}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
