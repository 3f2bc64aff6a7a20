"""The answers of NATS' monitoring port to readings: `/varz`, `/jsz`, `/connz`, `/healthz`.

Fields were read off servers 2.9.10 and 2.15.1; what one of them lacks is None. The query parameter of `/jsz` is `consumers`, the field that
comes back `consumer_detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.core.normalise.nats.fields import (
    count,
    count_or_none,
    instant_ns,
    object_of,
    part,
    parts,
    text,
)
from sentinel.core.normalise.nats.readings import (
    ConsumerReading,
    Group,
    JetStreamUse,
    Replica,
    ServerReading,
    StreamPage,
    StreamReading,
)
from sentinel.errors import MalformedInputError

_COUNTERS = {
    "total_connections": "server_connects_per_s",
    "in_msgs": "server_in_messages_per_s",
    "out_msgs": "server_out_messages_per_s",
    "in_bytes": "server_in_bytes_per_s",
    "out_bytes": "server_out_bytes_per_s",
    "slow_consumers": "server_slow_consumers_per_s",
    "stale_connections": "server_stale_connections_per_s",
    "stalled_clients": "server_stalled_clients_per_s",
}
_GAUGES = {
    "connections": "server_connection_count",
    "subscriptions": "server_subscription_count",
    "routes": "server_route_count",
    "leafnodes": "server_leafnode_count",
    "mem": "server_memory_bytes",
}
_REPLICAS_MAX = 64


def read_varz(body: bytes) -> ServerReading:
    """What a server says of itself.

    Raises:
        MalformedInputError: it is not the answer of a NATS server.
        InputTooLargeError: it would take far more memory than its size.
    """
    raw = object_of(body, "/varz")
    server_id, now_ns = text(raw, "server_id"), instant_ns(raw, "now")
    if not server_id or now_ns is None:
        msg = "/varz is not what a NATS server answers: it has no server_id or no time"
        raise MalformedInputError(msg)
    counters = {
        signal: number
        for name, signal in _COUNTERS.items()
        if (number := count_or_none(raw, name)) is not None
    }
    gauges: dict[str, float] = {
        signal: float(number)
        for name, signal in _GAUGES.items()
        if (number := count_or_none(raw, name)) is not None
    }
    cpu = raw.get("cpu")
    if isinstance(cpu, (int, float)) and not isinstance(cpu, bool) and 0 <= cpu < 1e6:
        gauges["server_cpu_ratio"] = cpu / 100.0
    connection_max = count(raw, "max_connections")
    if connection_max and "server_connection_count" in gauges:
        gauges["server_connection_limit_ratio"] = (
            gauges["server_connection_count"] / connection_max
        )
    return ServerReading(
        server_id=server_id,
        name=text(raw, "server_name") or server_id,
        version=text(raw, "version"),
        now_ns=now_ns,
        start_ns=instant_ns(raw, "start") or 0,
        counters=counters,
        gauges=gauges,
        jetstream=_jetstream_use(part(raw, "jetstream")),
    )


def read_connz(body: bytes) -> dict[str, float]:
    """What the connections asked for (the worst by pending bytes) come to, by signal.

    Raises:
        MalformedInputError, InputTooLargeError: as for `read_varz`.
    """
    raw = object_of(body, "/connz")
    connections = [one for one in parts(raw, "connections") if isinstance(one, dict)]
    if not isinstance(raw.get("connections"), list):
        msg = "/connz is not what a NATS server answers: it has no connections"
        raise MalformedInputError(msg)
    return {
        "server_pending_bytes": float(
            max((count(one, "pending_bytes") for one in connections), default=0)
        )
    }


def read_healthz(body: bytes) -> str:
    """Why a server says that it is not well, in its own words; "" when it is.

    Raises:
        MalformedInputError, InputTooLargeError: as for `read_varz`.
    """
    raw = object_of(body, "/healthz")
    status = text(raw, "status")
    if not status:
        msg = "/healthz is not what a NATS server answers: it has no status"
        raise MalformedInputError(msg)
    return "" if status == "ok" else text(raw, "error") or status


def read_jsz(body: bytes) -> StreamPage:
    """The streams and consumers on one page.

    Raises:
        MalformedInputError, InputTooLargeError: as for `read_varz`.
    """
    raw = object_of(body, "/jsz")
    server_id, now_ns = text(raw, "server_id"), instant_ns(raw, "now")
    if not server_id or now_ns is None:
        msg = "/jsz is not what a NATS server answers: it has no server_id or no time"
        raise MalformedInputError(msg)
    accounts = parts(raw, "account_details")
    streams: list[StreamReading] = []
    names: list[str] = []
    malformed = 0
    for account in accounts:
        if not isinstance(account, dict):
            malformed += 1
            continue
        name = text(account, "name") or text(account, "id")
        names.append(name)
        for stream in parts(account, "stream_detail"):
            found = _stream(name, stream) if isinstance(stream, dict) else None
            if found is None:
                malformed += 1
            else:
                reading, bad = found
                streams.append(reading)
                malformed += bad
    return StreamPage(
        server_id=server_id,
        now_ns=now_ns,
        disabled=raw.get("disabled") is True,
        accounts=tuple(names),
        # Newer servers have `total`; older ones count their accounts alone.
        account_count=max(count(raw, "total"), count(raw, "accounts"), len(accounts)),
        streams=tuple(streams),
        malformed_count=malformed,
    )


def _jetstream_use(raw: Mapping[str, Any]) -> JetStreamUse | None:
    config, stats = part(raw, "config"), part(raw, "stats")
    if not config and not stats:
        return None
    api = part(stats, "api")
    meta = part(raw, "meta")
    return JetStreamUse(
        memory_bytes=count(stats, "memory"),
        memory_max_bytes=count(config, "max_memory"),
        storage_bytes=count(stats, "storage"),
        storage_max_bytes=count(config, "max_storage"),
        storage_reserved_bytes=count(stats, "reserved_storage"),
        api_total=count_or_none(api, "total"),
        api_errors=count_or_none(api, "errors"),
        api_inflight=count_or_none(api, "inflight"),
        domain=text(config, "domain"),
        meta=_group(meta) if meta else None,
        meta_size=count(meta, "cluster_size"),
    )


def _stream(account: str, raw: Mapping[str, Any]) -> tuple[StreamReading, int] | None:
    name, state = text(raw, "name"), part(raw, "state")
    if not name or not state:
        return None
    config = part(raw, "config")
    consumers: list[ConsumerReading] = []
    malformed = 0
    group = _group(part(raw, "cluster"))
    for one in parts(raw, "consumer_detail"):
        found = _consumer(one, group) if isinstance(one, dict) else None
        if found is None:
            malformed += 1
        else:
            consumers.append(found)
    messages = count(state, "messages")
    lags = [
        count(one, "lag")
        for one in (part(raw, "mirror"), *parts(raw, "sources"))
        if isinstance(one, dict) and one
    ]
    reading = StreamReading(
        account=account,
        name=name,
        created_ns=instant_ns(raw, "created") or 0,
        group=group,
        holds_work=text(config, "retention") in ("workqueue", "interest"),
        message_max=count(config, "max_msgs"),
        bytes_max=count(config, "max_bytes"),
        age_max_ns=count(config, "max_age"),
        message_count=messages,
        bytes_count=count(state, "bytes"),
        first_seq=count(state, "first_seq"),
        last_seq=count(state, "last_seq"),
        first_ns=instant_ns(state, "first_ts") if messages else None,
        last_ns=instant_ns(state, "last_ts"),
        deleted_count=count(state, "num_deleted"),
        lost_count=len(parts(part(state, "lost"), "msgs")),
        consumer_count=count(state, "consumer_count"),
        source_lag=max(lags) if lags else None,
        consumers=tuple(consumers),
    )
    return reading, malformed


def _consumer(raw: Mapping[str, Any], of_stream: Group) -> ConsumerReading | None:
    name, delivered, floor = text(raw, "name"), part(raw, "delivered"), part(raw, "ack_floor")
    if not name or not delivered:
        return None
    config, cluster = part(raw, "config"), part(raw, "cluster")
    return ConsumerReading(
        name=name,
        # Without its configuration it cannot be told; a name that stays is the more likely.
        durable=not config or bool(text(config, "durable_name")),
        pull=not text(config, "deliver_subject"),
        created_ns=instant_ns(raw, "created") or 0,
        # A server outside a cluster does not say who leads a consumer: who leads the stream does.
        group=_group(cluster) if cluster else of_stream,
        delivered=count(delivered, "consumer_seq"),
        delivered_stream=count(delivered, "stream_seq"),
        delivered_ns=instant_ns(delivered, "last_active"),
        floor=count(floor, "consumer_seq"),
        floor_ns=instant_ns(floor, "last_active"),
        ack_pending=count(raw, "num_ack_pending"),
        pending=count(raw, "num_pending"),
        redelivered=count(raw, "num_redelivered"),
        waiting=count(raw, "num_waiting"),
        ack_pending_max=count(config, "max_ack_pending"),
    )


def _group(raw: Mapping[str, Any]) -> Group:
    return Group(
        leader=text(raw, "leader") or None,
        led_since_ns=instant_ns(raw, "leader_since") or 0,
        replicas=tuple(
            Replica(
                name=text(one, "name"),
                current=one.get("current") is True,
                offline=one.get("offline") is True,
                lag=count(one, "lag"),
            )
            for one in parts(raw, "replicas")[:_REPLICAS_MAX]
            if isinstance(one, dict)
        ),
        is_clustered=bool(raw.get("name") or raw.get("replicas")),
    )
