"""Answers of NATS' monitoring port, made by hand in the shape servers 2.9 and 2.15 give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sentinel.core.model import PointStream, Reading, SampleBatch, Scope
from sentinel.core.normalise.nats import ServerAnswer, read_jsz, read_varz

RECORDED = Path(__file__).parents[1] / "data" / "nats"
NOW_NS = 1_796_028_740 * 10**9
SECOND_NS = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(ns: int) -> str:
    """An instant as a server writes it."""
    return (_EPOCH + timedelta(microseconds=ns // 1000)).isoformat()


def varz(
    name: str = "n1", *, now_ns: int = NOW_NS, server_id: str = "", **changed: Any
) -> dict[str, Any]:
    """A server's word on itself; names given replace what it says."""
    return {
        "server_id": server_id or f"ID-{name}",
        "server_name": name,
        "version": "2.12.8",
        "now": at(now_ns),
        "start": at(now_ns - 3600 * SECOND_NS),
        "connections": 3,
        "max_connections": 100,
        "in_msgs": 1000,
        "slow_consumers": 0,
        "mem": 20_000_000,
        "cpu": 12.5,
        "jetstream": {
            "config": {"max_memory": 1000, "max_storage": 4000},
            "stats": {"memory": 100, "storage": 1000, "api": {"total": 9, "errors": 1}},
        },
        **changed,
    }


def group(leader: str | None, *replicas: dict[str, Any], since_ns: int = 0) -> dict[str, Any]:
    """Who leads an asset of a cluster."""
    said: dict[str, Any] = {"name": "c1", "replicas": list(replicas)}
    if leader is not None:
        said["leader"] = leader
    if since_ns:
        said["leader_since"] = at(since_ns)
    return said


def stream(
    name: str = "ORDERS",
    *consumers: dict[str, Any],
    cluster: dict[str, Any] | None = None,
    created_ns: int = NOW_NS - 3600 * SECOND_NS,
    config: dict[str, Any] | None = None,
    **state: Any,
) -> dict[str, Any]:
    """A stream's entry; names given replace what its state says."""
    return {
        "name": name,
        "created": at(created_ns),
        "cluster": {"leader": "n1"} if cluster is None else cluster,
        "config": {"retention": "limits", "max_msgs": -1, "max_bytes": -1, **(config or {})},
        "state": {
            "messages": 100,
            "bytes": 10_000,
            "first_seq": 1,
            "first_ts": at(NOW_NS - 60 * SECOND_NS),
            "last_seq": 100,
            "last_ts": at(NOW_NS - 5 * SECOND_NS),
            "consumer_count": len(consumers),
            **state,
        },
        "consumer_detail": list(consumers),
    }


def consumer(
    name: str = "poster",
    *,
    delivered: int = 20,
    stream_seq: int | None = None,
    floor: int = 10,
    pending: int = 80,
    ack_pending: int = 10,
    redelivered: int = 0,
    cluster: dict[str, Any] | None = None,
    durable: bool = True,
    created_ns: int = NOW_NS - 3600 * SECOND_NS,
    delivered_ns: int = NOW_NS - SECOND_NS,
    **config: Any,
) -> dict[str, Any]:
    """A consumer's entry."""
    found: dict[str, Any] = {
        "stream_name": "ORDERS",
        "name": name,
        "created": at(created_ns),
        "config": {"max_ack_pending": 50, **({"durable_name": name} if durable else {}), **config},
        "delivered": {
            "consumer_seq": delivered,
            "stream_seq": delivered if stream_seq is None else stream_seq,
            "last_active": at(delivered_ns),
        },
        "ack_floor": {"consumer_seq": floor, "stream_seq": floor},
        "num_ack_pending": ack_pending,
        "num_redelivered": redelivered,
        "num_waiting": 2,
        "num_pending": pending,
    }
    if cluster is not None:
        found["cluster"] = cluster
    return found


def jsz(
    name: str, *streams: dict[str, Any], account: str = "$G", now_ns: int = NOW_NS
) -> dict[str, Any]:
    """A page of streams of one account."""
    return {
        "server_id": f"ID-{name}",
        "now": at(now_ns),
        "account_details": [{"name": account, "stream_detail": list(streams)}],
    }


def answer(
    name: str,
    *streams: dict[str, Any],
    account: str = "$G",
    now_ns: int = NOW_NS,
    meta: dict[str, Any] | None = None,
    **changed: Any,
) -> ServerAnswer:
    """What one server answered in a poll."""
    said = varz(name, now_ns=now_ns, **changed)
    if meta is not None:
        said["jetstream"]["meta"] = meta
    page = read_jsz(orjson.dumps(jsz(name, *streams, account=account, now_ns=now_ns)))
    return ServerAnswer(
        place=f"{name}:8222",
        server=read_varz(orjson.dumps(said)),
        streams=page.streams,
        streams_ns=page.now_ns,
    )


def recorded(name: str) -> ServerAnswer:
    """What a real server answered; see `tests/data/nats`."""
    page = read_jsz((RECORDED / f"{name}_jsz.json").read_bytes())
    return ServerAnswer(
        place=f"{name}:8222",
        server=read_varz((RECORDED / f"{name}_varz.json").read_bytes()),
        streams=page.streams,
        streams_ns=page.now_ns,
        jetstream_off=page.disabled,
    )


class Told(NamedTuple):
    """One number of a poll."""

    scope: Scope
    signal: str
    reading: Reading
    identity: PointStream
    start_ns: int
    time_ns: int
    value: float


def told(batch: SampleBatch) -> list[Told]:
    """All numbers of a poll, out of its columns."""
    found = []
    for columns in batch.scraped:
        table = columns.table
        starts = columns.start_ns if columns.start_ns is not None else [0] * len(columns.cell)
        assert len(set(columns.cell.tolist())) == len(columns.cell), "a cell came twice"
        for cell, start_ns, value in zip(columns.cell, starts, columns.value, strict=True):
            stream = int(table.stream_of_cell[cell])
            placed = table.placed[stream]
            found.append(
                Told(
                    placed.scope,
                    placed.signal,
                    placed.reading,
                    table.identity[stream],
                    int(start_ns),
                    columns.time_ns,
                    float(value),
                )
            )
    return found


def points(batch: SampleBatch, route: str) -> dict[str, Told]:
    """The numbers of one route, by signal."""
    return {one.signal: one for one in told(batch) if one.scope.route == route}


def values(batch: SampleBatch, route: str) -> dict[str, float]:
    """The values of one route, by signal."""
    return {signal: one.value for signal, one in points(batch, route).items()}
