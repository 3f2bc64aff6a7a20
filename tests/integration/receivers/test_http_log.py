"""Goal: what Kong's http-log plugin sends is taken once and answered at once, whatever came before or between.

Method: the receiver on a free port of loopback, requests as Kong sends them and as nobody should; a sink that says no.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.model import Rung
from sentinel.ports import Admission
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.http_log.component import HttpLogReceiver
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.component import Surroundings
from sentinel.runtime.consumer_tiers import TierConfig
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.intake.downstream import (
    NO_SHEDDING,
    NO_TAP,
    Downstream,
    Shedding,
    Telemetry,
    TelemetryTap,
)
from sentinel.runtime.intake.request import IntakeLimitsConfig
from sentinel.runtime.settings import ByteSize, Secret
from tests.support.fetch import Reply, fetch
from tests.support.kong_records import DATA, record
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.taps import RoomyTap

JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-for-the-gateway"
NOW_MS = 1_790_000_000_000


class ListTap(RoomyTap):
    """Keeps what is offered to be handed on."""

    def __init__(self) -> None:
        self.payloads: list[Telemetry] = []

    def offer(self, payload: Telemetry) -> None:
        """Keep it."""
        self.payloads.append(payload)


class Sheds:
    """Sheds logs."""

    def sheds(self, rung: Rung) -> bool:
        """Logs, and what goes before them."""
        return rung in (Rung.TRACES, Rung.LOGS)


@asynccontextmanager
async def receiver_of(
    sink: ListSink,
    *,
    surroundings: Surroundings | None = None,
    tap: TelemetryTap = NO_TAP,
    shedding: Shedding = NO_SHEDDING,
    listen: HttpLogListenConfig | None = None,
    **settings: Any,
) -> AsyncIterator[HttpLogReceiver]:
    config = HttpLogConfig(enabled=True, listen=listen or HttpLogListenConfig(port=0), **settings)
    downstream = Downstream(sink=sink, tap=tap, shedding=shedding)
    receiver = HttpLogReceiver(config, downstream, surroundings or make_surroundings())
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


async def post(
    receiver: HttpLogReceiver,
    payload: object,
    *,
    headers: Mapping[str, str] = JSON,
    method: str = "POST",
) -> Reply:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return await fetch(receiver.url, method=method, headers=headers, body=body)


def records(*numbers: int) -> list[dict[str, Any]]:
    return [record(number, started_ms=NOW_MS - 1000 + number) for number in numbers]


def call_count(sink: ListSink) -> int:
    return sum(len(batch.calls.end_ns) for batch in sink.batches if batch.calls is not None)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_kong_may_send_one_or_many_by_any_of_its_methods(
    method: str, content_type: str
) -> None:
    sink = ListSink()
    async with receiver_of(sink) as receiver:
        headers = {"Content-Type": content_type}
        reply = await post(receiver, records(1)[0], method=method, headers=headers)
        assert (reply.status, reply.json()) == (200, {"taken": 1, "duplicates": 0, "rejected": {}})
        reply = await post(receiver, records(2, 3), method=method, headers=headers)
        assert reply.json() == {"taken": 2, "duplicates": 0, "rejected": {}}
        packed = {**headers, "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(records(4)).encode(), mtime=0)
        assert (await post(receiver, body, method=method, headers=packed)).status == 200
        assert (await post(receiver, [], method=method, headers=headers)).status == 200
    assert call_count(sink) == 4
    assert {service for batch in sink.batches for service in batch.services} == {"kong"}


async def test_what_is_sent_again_is_counted_once_also_beside_others() -> None:
    sink, surroundings = ListSink(), make_surroundings()
    async with receiver_of(sink, surroundings=surroundings) as receiver:
        assert (await post(receiver, records(1, 2, 3))).json()["taken"] == 3
        # The answer was lost: the same batch; then some of it beside new ones; then one twice in one batch.
        assert (await post(receiver, records(1, 2, 3))).json() == {
            "taken": 0,
            "duplicates": 3,
            "rejected": {},
        }
        assert (await post(receiver, records(3, 4))).json()["duplicates"] == 1
        assert (await post(receiver, records(5, 5))).json() == {
            "taken": 1,
            "duplicates": 1,
            "rejected": {},
        }
    assert call_count(sink) == 5
    metrics = surroundings.metrics
    labels = {"component": "receivers.http_log"}
    assert metrics.value("sentinel_component_dropped_total", **labels, reason="duplicate") == 5
    received = metrics.value("sentinel_component_received_total", **labels, signal="logs")
    sent = metrics.value("sentinel_component_sent_total", **labels, signal="logs")
    assert (received, sent) == (10, 5)


async def test_what_was_turned_away_is_new_when_it_comes_again() -> None:
    sink = ListSink(Admission.RETRY_LATER)
    surroundings = make_surroundings()
    async with receiver_of(sink, surroundings=surroundings) as receiver:
        reply = await post(receiver, records(1, 2))
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "1"
        await surroundings.clock.advance(1.0)  # type: ignore[attr-defined]  # a manual one
        assert (await post(receiver, records(1, 2))).json()["taken"] == 2
    assert call_count(sink) == 2


async def test_the_same_batch_at_the_same_time_is_counted_once() -> None:
    sink = ListSink()
    many = [
        {**each, "correlation_id": "x" * 2000} for number in range(100) for each in records(number)
    ]
    async with receiver_of(sink) as receiver:
        # Over the size that is decoded beside the loop.
        assert len(json.dumps(many)) > 128 * 1024
        replies = await asyncio.gather(*(post(receiver, many) for _ in range(4)))
    assert {reply.status for reply in replies} == {200}
    assert call_count(sink) == 100
    assert sum(reply.json()["duplicates"] for reply in replies) == 300


async def test_lost_answers_and_requests_that_break_off_count_each_call_once() -> None:
    """What Kong's queue does: a batch goes out again, whole, until it was answered."""
    sink = ListSink()
    async with receiver_of(sink) as receiver:
        for first in range(0, 200, 10):
            body = json.dumps(records(*range(first, first + 10))).encode()
            head = (
                f"POST /kong HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            # Half of it, then nothing more; all of it, and nobody there for the answer.
            for sent in (head + body[: len(body) // 2], head + body):
                _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
                writer.write(sent)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            reply = await post(receiver, body)
            assert reply.status == 200
            assert reply.json()["taken"] + reply.json()["duplicates"] == 10
    assert call_count(sink) == 200


async def test_ids_are_remembered_up_to_a_bound() -> None:
    sink = ListSink()
    async with receiver_of(sink, remembered_count_max=2) as receiver:
        await post(receiver, records(1, 2, 3))
        assert (await post(receiver, records(3))).json()["duplicates"] == 1
        assert (await post(receiver, records(1))).json()["taken"] == 1
        assert len(receiver._seen) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b'{"a":1,"a":2}', JSON, 400),
        (b"[[],1]", JSON, 400),
        (b'{"message":"not of Kong"}', JSON, 400),
        (b"[]", {"Content-Type": "text/plain"}, 415),
        (b"[]", {"Content-Type": "application/jsonx"}, 415),
        (b"[]", {**JSON, "Content-Encoding": "br"}, 415),
        (b"[]", {**JSON, "Content-Encoding": "gzip"}, 400),
        (b" " * 5000, JSON, 413),
        (gzip.compress(bytes(2_000_000), mtime=0), {**JSON, "Content-Encoding": "gzip"}, 413),
    ],
)
async def test_what_cannot_be_used_is_refused_and_disturbs_nothing(
    body: bytes, headers: Mapping[str, str], status: int
) -> None:
    sink = ListSink()
    limits = BodyLimitsConfig(compressed_max=ByteSize(4096), inflated_max=ByteSize(4096))
    async with receiver_of(sink, body=limits) as receiver:
        reply = await post(receiver, body, headers=headers)
        assert reply.status == status
        assert "error" in reply.json()
        assert (await post(receiver, records(1))).status == 200
    assert call_count(sink) == 1


async def test_wrong_paths_and_methods_are_told_apart() -> None:
    async with receiver_of(ListSink()) as receiver:
        assert (await fetch(receiver.url)).status == 405
        assert (await fetch(receiver.url + "/x", method="POST", body=b"[]")).status == 404


async def test_good_records_of_a_batch_count_beside_bad_ones() -> None:
    sink, surroundings = ListSink(), make_surroundings()
    far = record(9, started_ms=NOW_MS + 86_400_000)
    async with receiver_of(sink, surroundings=surroundings) as receiver:
        reply = await post(receiver, [*records(1), 7, {"response": {}}, far])
    assert reply.json() == {"taken": 1, "duplicates": 0, "rejected": {"bad_shape": 2, "future": 1}}
    rejected = surroundings.metrics.value(
        "sentinel_receiver_rejected_samples_total",
        receiver="receivers.http_log",
        signal="logs",
        reason="bad_shape",
    )
    assert rejected == 2


async def test_busy_is_said_so_before_the_body_is_read() -> None:
    limits = IntakeLimitsConfig(inflight_max=ByteSize(100))
    async with receiver_of(ListSink(), intake=limits) as receiver:
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(
            b"POST /kong HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"
        )
        async with asyncio.timeout(10):
            while not receiver._intake.request_count:
                await asyncio.sleep(0.01)
        reply = await post(receiver, records(1))
        writer.close()
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Sentinel-Token": TOKEN}, 200),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": "Basic " + base64.b64encode(f"kong:{TOKEN}".encode()).decode()}, 200),
        ({}, 401),
        ({"X-Sentinel-Token": TOKEN + "x"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"kong:no-such-token-here").decode()}, 401),
        ({"Authorization": "Basic not base64"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()}, 401),
        ({"Authorization": "Basic " + base64.b64encode(TOKEN.encode()).decode()}, 401),
        ({"Authorization": TOKEN}, 401),
    ],
)
async def test_a_token_may_come_in_any_way_that_kong_can_send_it(
    headers: Mapping[str, str], status: int
) -> None:
    listen = HttpLogListenConfig(port=0, tokens=TokensConfig(ingest=Secret(TOKEN)))
    async with receiver_of(ListSink(), listen=listen) as receiver:
        reply = await post(receiver, records(1), headers={**JSON, **headers})
        assert reply.status == status
        assert TOKEN not in reply.text


async def test_records_are_handed_on_redacted_and_once() -> None:
    sink, tap = ListSink(), ListTap()
    tiers = (TierConfig(name="gold", tags=("plan-gold",)),)
    async with receiver_of(sink, tap=tap, tiers=tiers, service="edge") as receiver:
        body = (DATA / "http_log_batch.json").read_bytes()
        for _ in range(2):
            assert (await post(receiver, body)).status == 200
    (payload,) = tap.payloads
    assert payload.redacted
    assert payload.item_count == 9
    for secret in (b"4111111111111111", b"s3cr3t", b"c00kie"):
        assert secret not in payload.body
    (of_resource,) = ExportLogsServiceRequest.FromString(payload.body).resource_logs
    assert of_resource.resource.attributes[0].value.string_value == "edge"
    assert len(of_resource.scope_logs[0].log_records) == 9


async def test_lines_are_shed_and_calls_are_not() -> None:
    sink, tap, surroundings = ListSink(), ListTap(), make_surroundings()
    async with receiver_of(sink, tap=tap, shedding=Sheds(), surroundings=surroundings) as receiver:
        assert (await post(receiver, records(1, 2))).status == 200
    assert call_count(sink) == 2
    assert not sink.batches[0].logs
    metrics, own = surroundings.metrics, {"component": "receivers.http_log"}
    assert (
        metrics.value("sentinel_receiver_uncounted_lines_total", receiver="receivers.http_log")
        == 2
    )
    assert metrics.value("sentinel_component_dropped_total", **own, reason="shed") == 0
    assert metrics.value("sentinel_component_sent_total", **own, signal="logs") == 2


async def test_records_are_handed_on_whatever_is_shed() -> None:
    """While logs were shed records were answered with 200, so that Kong forgot them, and handed on to nobody."""
    tap = ListTap()
    async with receiver_of(ListSink(), tap=tap, shedding=Sheds()) as receiver:
        assert (await post(receiver, records(1, 2, 2))).json()["taken"] == 2
    assert [payload.item_count for payload in tap.payloads] == [2]


@pytest.mark.parametrize("sheds", [False, True])
async def test_what_is_received_is_what_is_sent_and_what_is_dropped(sheds: bool) -> None:  # noqa: FBT001
    """What was turned away counted as received each time it came, and lines that were given up as dropped and sent."""
    sink, surroundings = ListSink(Admission.RETRY_LATER), make_surroundings()
    shedding = Sheds() if sheds else NO_SHEDDING
    async with receiver_of(sink, surroundings=surroundings, shedding=shedding) as receiver:
        mixed = [*records(1, 2, 2), {}, 7]
        assert (await post(receiver, mixed)).status == 503
        await surroundings.clock.advance(1.0)  # type: ignore[attr-defined]  # a manual one
        assert (await post(receiver, mixed)).status == 200
        assert (await post(receiver, mixed)).status == 200
        assert (await post(receiver, [{}, {}])).status == 400
        sink.answers.append(Admission.REFUSED)
        assert (await post(receiver, records(3))).status == 400
    page = surroundings.metrics.exposition(openmetrics=False).decode().splitlines()

    def total(counter: str) -> float:
        own = f'sentinel_component_{counter}_total{{component="receivers.http_log"'
        return sum(float(line.rpartition(" ")[2]) for line in page if line.startswith(own))

    assert (total("received"), total("sent"), total("dropped")) == (13, 2, 11)


@pytest.mark.parametrize(
    "wrong",
    [
        {"service": " "},
        {"remembered_count_max": 0},
        {"tiers": (TierConfig(name="a", tags=("x",)),) * 2},
        {"tiers": tuple(TierConfig(name=f"t{each}", tags=("x",)) for each in range(17))},
        {"listen": HttpLogListenConfig(address="0.0.0.0")},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        HttpLogConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"name": "Gold"}, {"name": "other"}, {"tags": ()}])
def test_a_wrong_tier_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tier"):
        TierConfig(**{"name": "gold", "tags": ("x",), **wrong})
