"""Goal: telemetry is handed on whole, as it came or redacted, through outages and restarts, and disturbs nobody.

Method: the component against receivers on loopback that answer as the test says; the disk is looked at with `grep`'s eyes:
every byte of every file.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration as DurationMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.intake.downstream import Telemetry
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal, encode_success
from sentinel.runtime.receipt import Offered, Receipt
from sentinel.runtime.settings import ByteSize, Duration, Secret
from sentinel.senders.otlp_forward.config import (
    Compression,
    EndpointConfig,
    ForwardConfig,
    ForwardProtocol,
    ForwardQueueConfig,
    RawPlace,
)
from sentinel.senders.otlp_forward.forwarding import Forwarding
from tests.support.otlp_messages import as_json, attribute, span, traces
from tests.support.otlp_messages import resource as resource_of
from tests.support.surroundings import make_surroundings
from tests.support.upstream import Upstream, grpc_upstream, http_upstream

pytestmark = pytest.mark.integration

CANARY = "4111111111111111"
QUEUE = ForwardQueueConfig(min_free_bytes=ByteSize(0))


def endpoint(url: str, **settings: Any) -> EndpointConfig:
    settings.setdefault("queue", QUEUE)
    return EndpointConfig(url=url, retry_max=Duration(0.1), **settings)


def trace_payload(*names: str, canary: str = "") -> Telemetry:
    request = traces(*(span(name=name, note=canary) for name in names))
    return Telemetry(
        signal=OtlpSignal.TRACES,
        encoding=OtlpEncoding.PROTOBUF,
        body=request.SerializeToString(),
        item_count=len(names),
        redacted=False,
    )


def log_payload(*bodies: str) -> Telemetry:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add(resource=resource_of("ledger"))
    scope = group.scope_logs.add()
    for body in bodies:
        record = scope.log_records.add(time_unix_nano=1, severity_number=9)
        record.body.string_value = body
        record.attributes.append(attribute("note", body))
    return Telemetry(
        signal=OtlpSignal.LOGS,
        encoding=OtlpEncoding.PROTOBUF,
        body=request.SerializeToString(),
        item_count=len(bodies),
        redacted=False,
    )


def json_payload(*names: str, canary: str = "") -> Telemetry:
    request = traces(*(span(name=name, note=canary) for name in names))
    return Telemetry(
        signal=OtlpSignal.TRACES,
        encoding=OtlpEncoding.JSON,
        body=as_json(request),
        item_count=len(names),
        redacted=False,
    )


@asynccontextmanager
async def forwarding(
    folder: Path, *endpoints: EndpointConfig, **settings: Any
) -> AsyncIterator[tuple[Forwarding, Surroundings]]:
    surroundings = make_surroundings(SystemClock())
    settings.setdefault("delay", Duration(0.01))
    settings.setdefault("drain_timeout", Duration(0.2))
    config = ForwardConfig(endpoints=endpoints, **settings)
    component = Forwarding(config, folder, surroundings)
    await component.start()
    try:
        yield component, surroundings
    finally:
        await component.stop()


def counted(surroundings: Surroundings, name: str, **labels: str) -> float:
    found = 0.0
    for metric in surroundings.metrics.registry.collect():
        for sample in metric.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found += sample.value
    return found


def dropped(surroundings: Surroundings, reason: str) -> float:
    return counted(surroundings, "sentinel_component_dropped_total", reason=reason)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def span_names(bodies: list[bytes]) -> list[str]:
    return [
        one.name
        for body in bodies
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for one in scope.spans
    ]


def log_bodies(bodies: list[bytes]) -> list[str]:
    return [
        one.body.string_value
        for body in bodies
        for group in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in group.scope_logs
        for one in scope.log_records
    ]


@pytest.mark.parametrize("compression", list(Compression))
async def test_traces_and_metrics_go_byte_for_byte(
    tmp_path: Path, compression: Compression
) -> None:
    """Unknown fields, odd encodings, secrets: nothing of them is touched without `redact_spans`."""
    body = trace_payload("a", canary=CANARY).body + b"\xfa\x3f\x03abc"
    payload = replace(trace_payload("a"), body=body)
    metrics = replace(payload, signal=OtlpSignal.METRICS, body=b"\x0a\x00\x0a\x00")
    headers = {"X-Scope": "ours"}
    async with http_upstream() as upstream:
        target = endpoint(
            upstream.url + "/base/",
            compression=compression,
            headers=headers,
            secret_headers=Secret("X-Api-Key: very-secret\n"),
        )
        async with forwarding(tmp_path, target) as (component, surroundings):
            component.offer(payload)
            component.offer(metrics)
            component.offer(json_payload("b", canary=CANARY))
            await upstream.wait(lambda: len(upstream.taken) == 3)
            await upstream.wait(
                lambda: counted(surroundings, "sentinel_component_sent_total") == 3
            )
    by_type = {(one.signal, one.headers["Content-Type"]): one for one in upstream.taken}
    assert by_type["traces", "application/x-protobuf"].body == body
    assert by_type["metrics", "application/x-protobuf"].body == metrics.body
    assert by_type["traces", "application/json"].body == json_payload("b", canary=CANARY).body
    assert all(one.headers["X-Scope"] == "ours" for one in upstream.taken)
    assert all(one.headers["X-Api-Key"] == "very-secret" for one in upstream.taken)


async def test_over_grpc_json_becomes_protobuf_of_the_same_content(tmp_path: Path) -> None:
    async with grpc_upstream() as upstream:
        target = endpoint(
            upstream.url, protocol=ForwardProtocol.GRPC, secret_headers=Secret("X-Api-Key: s3")
        )
        async with forwarding(tmp_path, target) as (component, _):
            component.offer(trace_payload("a"))
            await upstream.wait(lambda: len(upstream.taken) == 1)
            component.offer(json_payload("b", "c"))
            component.offer(log_payload("hello"))
            await upstream.wait(lambda: len(upstream.taken) == 3)
    assert upstream.bodies("traces")[0] == trace_payload("a").body
    converted = ExportTraceServiceRequest.FromString(upstream.bodies("traces")[1])
    assert converted == traces(span(name="b", note=""), span(name="c", note=""))  # fmt: skip
    assert log_bodies(upstream.bodies("logs")) == ["hello"]
    assert all(one.headers["x-api-key"] == "s3" for one in upstream.taken)


async def test_what_waits_together_goes_in_one_request(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        settings = {"delay": Duration(0.1)}
        async with forwarding(tmp_path, endpoint(upstream.url), **settings) as (component, _):
            for number in range(50):
                component.offer(trace_payload(f"s{number}"))
            await upstream.wait(lambda: len(span_names(upstream.bodies("traces"))) == 50)
    assert upstream.asked_count == 1
    assert span_names(upstream.bodies("traces")) == [f"s{number}" for number in range(50)]


async def test_logs_lose_their_secrets_before_the_disk_and_the_wire(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        upstream.down = True
        async with forwarding(tmp_path, endpoint(upstream.url)) as (component, surroundings):
            component.offer(log_payload(f"card {CANARY}", "plain"))
            as_json_body = (
                b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1790000000123456789",'
                b'"body":{"stringValue":"card 4111111111111111"},"attributes":[{"key":"password","value":{"intValue":"7"}},'
                b'{"key":"n","value":{"intValue":"4111111111111111"}}]}]}]}]}'
            )
            component.offer(
                replace(log_payload("x"), encoding=OtlpEncoding.JSON, body=as_json_body)
            )
            broken = replace(log_payload("x"), body=b"\xff" + CANARY.encode())
            component.offer(broken)
            await upstream.wait(lambda: upstream.asked_count >= 2)
            assert b"plain" in on_disk(tmp_path)
            assert CANARY.encode() not in on_disk(tmp_path)
            assert dropped(surroundings, "malformed") == 1
            upstream.down = False
            await upstream.wait(lambda: len(upstream.taken) == 2)
    assert log_bodies([upstream.taken[0].body]) == ["card [PAN]", "plain"]
    assert upstream.taken[1].body == (
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1790000000123456789",'
        b'"body":{"stringValue":"card [PAN]"},"attributes":[{"key":"password","value":{"stringValue":"[SECRET]"}},'
        b'{"key":"n","value":{"stringValue":"[PAN]"}}]}]}]}]}'
    )


@pytest.mark.parametrize("raw", list(RawPlace))
@pytest.mark.parametrize("redact_spans", [False, True])
async def test_raw_traces_touch_the_disk_only_when_they_may(
    tmp_path: Path, *, raw: RawPlace, redact_spans: bool
) -> None:
    async with http_upstream() as upstream:
        upstream.down = True
        settings = {"raw": raw, "redact_spans": redact_spans}
        async with forwarding(tmp_path, endpoint(upstream.url), **settings) as (component, _):
            component.offer(trace_payload("span-name", canary=CANARY))
            component.offer(json_payload("span-name", canary=CANARY))
            await upstream.wait(lambda: upstream.asked_count >= 2)
            data = on_disk(tmp_path)
            assert (b"span-name" in data) == (redact_spans or raw is RawPlace.DISK)
            assert (CANARY.encode() in data) == (raw is RawPlace.DISK and not redact_spans)
            upstream.down = False
            await upstream.wait(lambda: len(upstream.taken) == 2)
    sent = b"".join(one.body for one in upstream.taken)
    assert (CANARY.encode() in sent) == (not redact_spans)
    assert sent.count(b"[PAN]") == (2 if redact_spans else 0)


async def test_an_outage_with_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        target = endpoint(upstream.url)
        upstream.down = True
        for turn in range(3):
            async with forwarding(tmp_path, target) as (component, surroundings):
                for number in range(20):
                    component.offer(log_payload(f"line {turn}.{number}"))
                    await asyncio.sleep(0.001)
                asked = upstream.asked_count
                await upstream.wait(lambda asked=asked: upstream.asked_count > asked)  # type: ignore[misc]
                assert component.health().status is HealthStatus.DEGRADED
                assert "503" in component.health().sentence
                assert dropped(surroundings, "stopped") == 0
        upstream.down = False
        async with forwarding(tmp_path, target) as (component, surroundings):
            await upstream.wait(lambda: len(log_bodies(upstream.bodies("logs"))) >= 60)
            await upstream.wait(lambda: component.health().status is HealthStatus.OK)
            waiting = "sentinel_forward_queue_items"
            await upstream.wait(lambda: counted(surroundings, waiting) == 0)
    assert log_bodies(upstream.bodies("logs")) == [
        f"line {turn}.{number}" for turn in range(3) for number in range(20)
    ]


async def test_a_wish_to_wait_is_heeded(tmp_path: Path) -> None:
    """No earlier than asked; how much later is not asserted."""
    async with http_upstream() as upstream:
        upstream.answers.append((429, {"Retry-After": "1"}, b""))
        upstream.answers.append((502, {}, b""))
        async with forwarding(tmp_path, endpoint(upstream.url)) as (component, _):
            start_s = time.monotonic()
            component.offer(trace_payload("a"))
            await upstream.wait(lambda: len(upstream.taken) == 1)
            assert time.monotonic() - start_s >= 1.0
    assert upstream.asked_count == 3


async def test_what_is_refused_for_good_is_dropped_by_reason(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        target = endpoint(upstream.url)
        async with forwarding(tmp_path, target) as (component, surroundings):
            for status, reason in ((400, "refused"), (401, "denied"), (404, "refused")):
                before = dropped(surroundings, reason)
                upstream.answers.append((status, {}, b"no \x1b[31m password=hunter2"))
                component.offer(trace_payload("a", "b"))
                await upstream.wait(
                    lambda r=reason, b=before: dropped(surroundings, r) == b + 2  # type: ignore[misc]
                )
            sentence = component.health().sentence
            assert "404" in sentence
            assert "hunter2" not in sentence
            component.offer(trace_payload("c"))
            await upstream.wait(lambda: len(upstream.taken) == 1)
            await upstream.wait(lambda: component.health().status is HealthStatus.OK)
    assert span_names(upstream.bodies("traces")) == ["c"]


@pytest.mark.parametrize("encoding", list(OtlpEncoding))
async def test_partial_success_counts_what_was_rejected(
    tmp_path: Path, encoding: OtlpEncoding
) -> None:
    reply = encode_success(OtlpSignal.TRACES, encoding, rejected_count=2, message="too old")
    make = trace_payload if encoding is OtlpEncoding.PROTOBUF else json_payload
    async with http_upstream() as upstream:
        upstream.answers.append((200, {}, reply))
        async with forwarding(tmp_path, endpoint(upstream.url)) as (component, surroundings):
            component.offer(make("a", "b", "c"))
            await upstream.wait(lambda: dropped(surroundings, "partial") == 2)
            assert counted(surroundings, "sentinel_component_sent_total") == 1
    assert upstream.asked_count == 1


@pytest.mark.parametrize("encoding", list(OtlpEncoding))
@pytest.mark.parametrize("protocol", list(ForwardProtocol))
async def test_what_is_too_large_is_sent_in_halves(
    tmp_path: Path, encoding: OtlpEncoding, protocol: ForwardProtocol
) -> None:
    make = trace_payload if encoding is OtlpEncoding.PROTOBUF else json_payload
    serve = http_upstream if protocol is ForwardProtocol.HTTP else grpc_upstream
    names = [f"span-{number:03}" for number in range(40)]
    async with serve() as upstream:
        upstream.refuse_bytes = 3000
        target = endpoint(upstream.url, protocol=protocol)
        async with forwarding(tmp_path, target) as (component, surroundings):
            component.offer(make(*names, "x" * 4000))
            await upstream.wait(lambda: dropped(surroundings, "too_large") == 1)
            await upstream.wait(
                lambda: counted(surroundings, "sentinel_component_sent_total") == 40
            )
    if encoding is OtlpEncoding.PROTOBUF or protocol is ForwardProtocol.GRPC:
        assert span_names(upstream.bodies("traces")) == names
    else:
        assert all(any(n.encode() in b for b in upstream.bodies("traces")) for n in names)


async def test_one_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with http_upstream() as good, http_upstream() as bad:
        bad.hang = True
        targets = (
            endpoint(bad.url, name="bad"),
            endpoint("http://127.0.0.1:9", name="nobody"),
            endpoint(good.url, name="good", traces=False),
        )
        async with forwarding(tmp_path, *targets) as (component, surroundings):
            for number in range(10):
                component.offer(log_payload(f"l{number}"))
                component.offer(trace_payload(f"s{number}"))
                await asyncio.sleep(0.01)
            await good.wait(lambda: len(log_bodies(good.bodies("logs"))) == 10)
            await good.wait(lambda: component.health().status is HealthStatus.DEGRADED)
            assert "nobody" in component.health().sentence
            assert "good" not in component.health().sentence
        assert good.bodies("traces") == []
        assert bad.asked_count == 2
    # What only memory held for those two is gone with the process, and counted; logs are on disk.
    assert dropped(surroundings, "stopped") == 20
    assert on_disk(tmp_path / "bad").count(b"string") >= 0


async def test_an_offer_never_waits_and_is_counted_when_there_is_no_room(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        upstream.down = True
        settings = {"inbox_max": ByteSize(1 << 16), "delay": Duration(1.0)}
        async with forwarding(tmp_path, endpoint(upstream.url), **settings) as (
            component,
            surroundings,
        ):
            payload = log_payload("x" * 10_000)
            for _ in range(100):
                component.offer(payload)
            received = counted(surroundings, "sentinel_component_received_total")
            assert received == 100
            fits = (1 << 16) // len(payload.body)
            assert dropped(surroundings, "overloaded") == 100 - fits
        component.offer(payload)
        assert dropped(surroundings, "stopped") >= 1


async def test_who_asks_is_told_when_it_is_queued_and_whether_there_is_room(
    tmp_path: Path,
) -> None:
    """Log files note a line as done with only when a kill would not lose it any more, and keep what would find no room."""
    async with http_upstream() as upstream:
        upstream.down = True
        one, logs_only = endpoint(upstream.url, traces=False), log_payload("kept over a kill")
        async with forwarding(
            tmp_path, one, delay=Duration(0.3), inbox_max=ByteSize(len(logs_only.body) + (1 << 16))
        ) as (component, _):
            assert component.has_room(OtlpSignal.LOGS, 10**9), "it would never fit"
            component.offer(logs_only)
            assert b"kept over a kill" not in on_disk(tmp_path)
            assert component.has_room(OtlpSignal.LOGS, 1 << 16)
            assert not component.has_room(OtlpSignal.LOGS, (1 << 16) + 1)
            assert component.has_room(OtlpSignal.TRACES, 10**9), "nobody wants it"
            assert await component.queued()
            assert b"kept over a kill" in on_disk(tmp_path)
            assert component.has_room(OtlpSignal.LOGS, (1 << 16) + 1)
        assert await component.queued(), "stopped: there is nothing to wait for"


async def test_the_bound_on_disk_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    queue = replace(QUEUE, max_bytes=ByteSize(1 << 18))
    async with http_upstream() as upstream:
        upstream.down = True
        async with forwarding(tmp_path, endpoint(upstream.url, queue=queue)) as (
            component,
            surroundings,
        ):
            for number in range(60):
                component.offer(log_payload(f"{number} " + "x" * 8000))
                await asyncio.sleep(0.015)
            await upstream.wait(lambda: not component._inbox and not component._is_working)
            assert dropped(surroundings, "queue_full") > 0
            assert len(on_disk(tmp_path)) <= (1 << 18) + 100
            gone = dropped(surroundings, "queue_full")
            upstream.down = False
            await upstream.wait(lambda: _numbers(upstream)[-1:] == [59])
            assert dropped(surroundings, "queue_full") == gone
    found = _numbers(upstream)
    assert len(found) == len(set(found)) == 60 - gone


def _numbers(upstream: Upstream) -> list[int]:
    return [int(body.split()[0]) for body in log_bodies(upstream.bodies("logs"))]


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 4 KiB: what a disk that is full looks like to a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_leaves_the_way_through_memory(tmp_path: Path) -> None:
    async with http_upstream() as upstream:
        upstream.down = True
        queue = replace(QUEUE, memory_max_bytes=ByteSize(1 << 16))
        async with forwarding(tmp_path, endpoint(upstream.url, queue=queue)) as (
            component,
            surroundings,
        ):
            with small_files():
                for number in range(30):
                    component.offer(log_payload(f"{number} " + "x" * 5000))
                    await asyncio.sleep(0.02)
                await upstream.wait(lambda: not component._inbox and not component._is_working)
                assert dropped(surroundings, "disk_full") > 0
                assert "the disk takes nothing" in component.health().sentence or (
                    "503" in component.health().sentence
                )
                upstream.down = False
                await upstream.wait(lambda: _numbers(upstream)[-1:] == [29])
            gone = int(dropped(surroundings, "disk_full"))
            assert len(_numbers(upstream)) == 30 - gone
            component.offer(log_payload("30 there is room again"))
            await upstream.wait(lambda: _numbers(upstream)[-1:] == [30])
            await upstream.wait(lambda: component.health().status is HealthStatus.OK)


def retry_info(seconds: int) -> tuple[tuple[str, bytes], ...]:
    detail = AnyMessage()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=DurationMessage(seconds=seconds)))
    status = status_pb2.Status(code=8, message="slow down", details=[detail])
    return (("grpc-status-details-bin", status.SerializeToString()),)


async def test_grpc_answers_mean_what_otlp_says(tmp_path: Path) -> None:
    code = grpc.StatusCode
    async with grpc_upstream() as upstream:
        target = endpoint(upstream.url, protocol=ForwardProtocol.GRPC)
        async with forwarding(tmp_path, target) as (component, surroundings):
            start_s = time.monotonic()
            upstream.answers += [
                (code.UNAVAILABLE, "later", ()),
                (code.ABORTED, "later", ()),
                (code.RESOURCE_EXHAUSTED, "slow down", retry_info(1)),
                b"\x0a\x06\x08\x01\x12\x02no",
            ]
            component.offer(trace_payload("a", "b"))
            await upstream.wait(lambda: dropped(surroundings, "partial") == 1)
            assert time.monotonic() - start_s >= 1.0
            for refusal, reason in (
                (code.INVALID_ARGUMENT, "refused"),
                (code.RESOURCE_EXHAUSTED, "refused"),
                (code.UNAUTHENTICATED, "denied"),
            ):
                before = dropped(surroundings, reason)
                upstream.answers.append((refusal, "no", ()))
                component.offer(trace_payload("c"))
                await upstream.wait(
                    lambda r=reason, b=before: dropped(surroundings, r) == b + 1  # type: ignore[misc]
                )
    assert span_names(upstream.bodies("traces")) == ["a", "b"]


async def test_a_queue_that_cannot_be_opened_is_told_and_memory_serves(tmp_path: Path) -> None:
    (tmp_path / "upstream").write_text("a file where the folder should be")
    async with (
        http_upstream() as upstream,
        forwarding(tmp_path, endpoint(upstream.url)) as (component, _),
    ):
        component.offer(log_payload("hello"))
        await upstream.wait(lambda: log_bodies(upstream.bodies("logs")) == ["hello"])
        assert component.health().status is HealthStatus.DEGRADED
        assert "cannot be opened" in component.health().sentence


async def test_what_can_be_offered_again_is_taken_up_to_what_finds_no_room(tmp_path: Path) -> None:
    """Behind one that was refused nothing is taken, however small: what is offered again goes on where that one began."""
    queue = ForwardQueueConfig(
        max_bytes=ByteSize(1 << 18), memory_max_bytes=ByteSize(1 << 16), min_free_bytes=ByteSize(0)
    )
    async with http_upstream() as upstream:
        upstream.down = True
        async with forwarding(tmp_path, endpoint(upstream.url, queue=queue)) as (
            component,
            surroundings,
        ):
            receipt = Receipt(component.endpoints(OtlpSignal.LOGS))
            sizes = (100_000, 100_000, 100_000, 10)
            for count, size_bytes in enumerate(sizes, start=1):
                payload = log_payload("b" * (size_bytes // 2))
                receipt.offered_count = count
                component.offer(
                    replace(payload, redacted=True, offered=Offered(receipt=receipt, count=count))
                )
            assert await component.queued()
            assert receipt.taken_count("upstream") == 2
            assert receipt.is_refused("upstream")
            assert dropped(surroundings, "queue_full") == dropped(surroundings, "disk_full") == 0
            upstream.down = False
            await upstream.wait(lambda: len(log_bodies(upstream.bodies("logs"))) == 2)
