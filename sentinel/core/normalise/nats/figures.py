"""A stream's, a consumer's and a server's readings to the gauges they become, by signal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sentinel.core.normalise.nats.marks import AssetId, ConsumerGain
from sentinel.core.normalise.nats.readings import ConsumerReading, JetStreamUse, StreamReading


class Led(NamedTuple):
    """A consumer by its leader's word."""

    asset: AssetId
    route: str
    consumer: ConsumerReading
    server_ns: int


def put_use(use: JetStreamUse, gauges: dict[str, float], counters: dict[str, int]) -> None:
    """Put what JetStream takes of a server among its gauges and counters."""
    if use.storage_max_bytes:
        gauges["server_store_ratio"] = use.storage_bytes / use.storage_max_bytes
        gauges["server_store_reserved_ratio"] = use.storage_reserved_bytes / use.storage_max_bytes
    if use.memory_max_bytes:
        gauges["server_store_memory_ratio"] = use.memory_bytes / use.memory_max_bytes
    gauges["server_store_bytes"] = float(use.storage_bytes)
    if use.api_inflight is not None:
        gauges["server_api_inflight_count"] = float(use.api_inflight)
    if use.api_total is not None:
        counters["server_api_requests_per_s"] = use.api_total
    if use.api_errors is not None:
        counters["server_api_errors_per_s"] = use.api_errors


def stream_gauges(stream: StreamReading, server_ns: int) -> Iterator[tuple[str, float]]:
    """A stream's gauges, by its leader's word and clock."""
    yield "stream_message_count", float(stream.message_count)
    yield "stream_bytes", float(stream.bytes_count)
    yield "stream_consumer_count", float(stream.consumer_count)
    yield "stream_deleted_count", float(stream.deleted_count)
    yield "stream_lost_count", float(stream.lost_count)
    used = [
        held / most
        for held, most in (
            (stream.message_count, stream.message_max),
            (stream.bytes_count, stream.bytes_max),
        )
        if most
    ]
    if used:
        yield "stream_limit_ratio", max(used)
    if stream.holds_work or stream.age_max_ns or used:
        # In a stream that keeps all for ever it would only tell how old the stream is.
        yield "stream_oldest_message_age_s", _age_s(stream.first_ns, server_ns)
    if stream.last_ns is not None:
        yield "stream_last_message_age_s", _age_s(stream.last_ns, server_ns)
    if stream.source_lag is not None:
        yield "stream_source_lag_count", float(stream.source_lag)


def consumer_gauges(told: Sequence[tuple[Led, ConsumerGain]]) -> Iterator[tuple[str, float]]:
    """The gauges of the consumers of one route, which are several only where they are ephemeral."""
    consumers = [led.consumer for led, _ in told]
    yield "consumer_backlog_count", float(sum(one.backlog for one in consumers))
    yield "consumer_pending_count", float(sum(one.pending for one in consumers))
    yield "consumer_ack_pending_count", float(sum(one.ack_pending for one in consumers))
    yield "consumer_redelivered_count", float(sum(one.redelivered for one in consumers))
    yield (
        "consumer_ack_floor_lag_count",
        float(sum(max(0, one.delivered - one.floor) for one in consumers)),
    )
    yield "consumer_oldest_unacked_age_s", max(gain.unacked_age_ns for _, gain in told) / 1e9
    ratios = [one.ack_pending / one.ack_pending_max for one in consumers if one.ack_pending_max]
    if ratios:
        yield "consumer_ack_pending_ratio", max(ratios)
    if any(one.pull for one in consumers):
        yield "consumer_waiting_count", float(sum(one.waiting for one in consumers if one.pull))
    ages = [
        _age_s(led.consumer.delivered_ns, led.server_ns)
        for led, _ in told
        if led.consumer.delivered_ns is not None
    ]
    if ages:
        yield "consumer_last_delivery_age_s", min(ages)


def _age_s(at_ns: int | None, now_ns: int) -> float:
    return 0.0 if at_ns is None else max(0, now_ns - at_ns) / 1e9
