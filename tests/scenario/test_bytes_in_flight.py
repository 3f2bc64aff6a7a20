"""Goal: all receivers have one bound of bytes; over it senders are told to come back, nothing is lost, and it is an overload.

Method: the whole program on a manual clock; what others hold is held by the test.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from sentinel.app.config import ReceiversConfig, SentinelConfig
from sentinel.core.model import SIGNAL_ERRORS, SIGNAL_TRAFFIC, Reason
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.settings import ByteSize
from tests.support.fetch import Reply, fetch
from tests.support.kong_records import record
from tests.support.otlp_messages import traces
from tests.support.whole_app import Calls, Sidecar, config_of, sidecar, thought

pytestmark = pytest.mark.timeout(60)

BOUND_BYTES = 2**20
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def config(folder: Path) -> SentinelConfig:
    plain = config_of(folder)
    return replace(
        plain,
        receivers=ReceiversConfig(
            otlp_http=OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            otlp_grpc=OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
            http_log=HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0)),
        ),
        overload=replace(plain.overload, inflight_max=ByteSize(BOUND_BYTES)),
    )


def spans_of(side: Sidecar, route: str) -> bytes:
    return traces(*Calls(route=route, count=3).spans(side.next_ns)).SerializeToString()


async def kong_post(side: Sidecar) -> Reply:
    url = side.app.addresses()["http_log_url"] + "/kong"
    body = json.dumps([record(1, started_ms=side.clock.now_ns() // 10**6)]).encode()
    return await fetch(url, method="POST", headers={"Content-Type": "application/json"}, body=body)


async def grpc_export(side: Sidecar) -> grpc.aio.AioRpcError | None:
    """One export; how it failed, or None."""
    url = side.app.addresses()["otlp_grpc_url"].removeprefix("http://")
    async with grpc.aio.insecure_channel(url) as channel:
        try:
            await channel.unary_unary(EXPORT, bytes, bytes)(spans_of(side, "/grpc"), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error
    return None


async def test_all_receivers_turn_away_and_take_when_it_comes_again(tmp_path: Path) -> None:
    async with sidecar(config(tmp_path)) as side:
        await side.windows(1, Calls())
        inflight = side.app.inflight
        assert inflight.held_bytes == 0
        assert inflight.take(BOUND_BYTES - 10)

        assert await side.post("/v1/traces", spans_of(side, "/http")) == 503
        assert side.retry_after_s == 1
        kong = await kong_post(side)
        assert (kong.status, kong.headers["Retry-After"]) == (503, "1")
        refused = await grpc_export(side)
        assert refused is not None
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        metadata: Any = refused.trailing_metadata() or ()  # pairs, which the stubs do not know
        (details,) = (value for key, value in metadata if key == "grpc-status-details-bin")
        status = Status.FromString(details)
        info = RetryInfo()
        assert status.details[0].Unpack(info)
        assert info.retry_delay.seconds == 1

        inflight.give_back(BOUND_BYTES - 10)
        assert await side.post("/v1/traces", spans_of(side, "/http")) == 200
        assert (await kong_post(side)).status == 200
        assert await grpc_export(side) is None
        await side.close()
        assert inflight.held_bytes == 0


async def half(side: Sidecar, *, comes_again: bool) -> None:
    """A window whose calls come in two requests, of which the second is turned away, and may come again."""
    await side.send()
    spans = Calls().spans(side.next_ns)
    assert await side.post("/v1/traces", traces(*spans[:10]).SerializeToString()) == 200
    body = traces(*spans[10:]).SerializeToString()
    side.app.inflight.hold(BOUND_BYTES)
    assert await side.post("/v1/traces", body) == 503
    side.app.inflight.give_back(BOUND_BYTES)
    if comes_again:
        assert await side.post("/v1/traces", body) == 200
    await side.close()


async def test_what_was_turned_away_is_no_fall_unless_it_came_again(tmp_path: Path) -> None:
    """A bound turned requests away while no rung was on: four calls in five were lost, and the window said so of the traffic."""
    async with sidecar(config(tmp_path)) as side:
        await side.windows(3, Calls())
        await half(side, comes_again=True)
        reason, value = thought(side, SIGNAL_TRAFFIC)
        assert reason is not Reason.SHED
        assert value == Calls().count / side.window_s
        assert side.metrics.value("sentinel_windows_shed_total", signal="traces") == 0

        await half(side, comes_again=False)
        reason, value = thought(side, SIGNAL_TRAFFIC)
        assert (reason, value != value) == (Reason.SHED, True)
        assert thought(side, SIGNAL_ERRORS)[1] == 0.0
        assert "no room" in side.app.overload.note(side.clock.now_ns() - 10**9)
        assert side.app.overload.shed.rungs == ()

        await side.windows(4, Calls())
        reason, value = thought(side, SIGNAL_TRAFFIC)
        assert reason is not Reason.SHED
        assert value == Calls().count / side.window_s
        lost = {"component": "receivers.otlp_http", "signal": "traces"}
        assert side.metrics.value("sentinel_not_taken_again_total", **lost) == 1


async def test_a_bound_of_bytes_that_stays_full_is_an_overload(tmp_path: Path) -> None:
    async with sidecar(config(tmp_path)) as side:
        await side.windows(1, Calls())
        side.app.inflight.hold(BOUND_BYTES)
        await side.clock.advance(0.5)
        assert side.app.overload.shed.rungs == (), "full for a moment is none"
        await side.clock.advance(1.0)
        _, status = await side.get("/api/v1/status")
        assert status["overload"]["shed"] == ["traces"]
        assert status["overload"]["pressure_of"] == "inflight"
        assert side.metrics.value("sentinel_inflight_bytes") == BOUND_BYTES
        pressure = side.metrics.value("sentinel_overload_pressure_ratio", source="inflight")
        assert pressure > 0.99
        side.app.inflight.give_back(BOUND_BYTES)
        await side.clock.advance(16.0)
        assert side.app.overload.shed.rungs == ()
