"""What one NATS server says of itself and of the streams it holds, in our words.

A figure that a server does not give (older ones give less) is None, and becomes no sample. Times are nanoseconds by the
server's own clock; ages are worked out against its own `now`, so that two clocks are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Replica(NamedTuple):
    """A peer of a group as its leader sees it; `lag` is operations behind."""

    name: str
    current: bool
    offline: bool
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Who leads an asset, as one server knows it.

    Attributes:
        leader: name of the leader; None where the server knows none.
        led_since_ns: since when, where the leader says so; 0 otherwise.
        replicas: the other peers; what is said of them is true of the leader's word alone.
        is_clustered: False where there is nothing to elect.
    """

    leader: str | None
    led_since_ns: int = 0
    replicas: tuple[Replica, ...] = ()
    is_clustered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerReading:
    """A consumer as one server knows it; the figures are true where the server leads it.

    Attributes:
        name: of the consumer.
        durable: whether it stays when nobody reads; others have made-up names.
        pull: whether workers ask for messages.
        created_ns: when it was made, the same on every server; 0 when unknown.
        group: who leads it.
        delivered, delivered_stream: how many deliveries there were, and the stream's highest sequence among them.
        delivered_ns: the last delivery, None before the first.
        floor, floor_ns: deliveries up to which all are acknowledged, and when that moved last.
        ack_pending, pending, redelivered, waiting: as NATS counts them.
        ack_pending_max: at this delivery stops; 0 when there is no limit.
    """

    name: str
    durable: bool
    pull: bool
    created_ns: int
    group: Group
    delivered: int
    delivered_stream: int
    delivered_ns: int | None
    floor: int
    floor_ns: int | None
    ack_pending: int
    pending: int
    redelivered: int
    waiting: int
    ack_pending_max: int

    @property
    def backlog(self) -> int:
        """What a person means by it: not yet delivered, and delivered but not acknowledged."""
        return self.pending + self.ack_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReading:
    """A stream as one server knows it; the figures are true where the server leads it.

    Attributes:
        account, name: which.
        created_ns: when it was made, the same on every server; 0 when unknown.
        group: who leads it.
        holds_work: messages leave when they are acknowledged, so the age of the oldest is a wait.
        message_max, bytes_max, age_max_ns: its limits; 0 for none.
        message_count, bytes_count, first_seq, last_seq: what it holds.
        first_ns, last_ns: when the oldest and the newest were stored; None when it is empty.
        deleted_count, lost_count: sequences inside that are gone; lost by damage.
        consumer_count: how many read it.
        source_lag: messages that its mirror or the worst of its sources is behind; None without one.
        consumers: those this server holds.
    """

    account: str
    name: str
    created_ns: int
    group: Group
    holds_work: bool
    message_max: int
    bytes_max: int
    age_max_ns: int
    message_count: int
    bytes_count: int
    first_seq: int
    last_seq: int
    first_ns: int | None
    last_ns: int | None
    deleted_count: int
    lost_count: int
    consumer_count: int
    source_lag: int | None
    consumers: tuple[ConsumerReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JetStreamUse:
    """What JetStream takes of a server, and what it may take.

    Attributes:
        memory_bytes, memory_max_bytes, storage_bytes, storage_max_bytes, storage_reserved_bytes: in use, at most, promised to streams.
        api_total, api_errors: requests since the server's start; None when not told.
        api_inflight: requests under way.
        domain: the JetStream domain, or "".
        meta: who leads the cluster's own group; None without a cluster.
    """

    memory_bytes: int
    memory_max_bytes: int
    storage_bytes: int
    storage_max_bytes: int
    storage_reserved_bytes: int
    api_total: int | None
    api_errors: int | None
    api_inflight: int | None
    domain: str
    meta: Group | None
    meta_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReading:
    """What `/varz` says.

    Attributes:
        server_id, name, version: who; a server without a name has its id for one.
        now_ns, start_ns: its clock, and when it started.
        counters: what only grows, by the signal it becomes.
        gauges: what is true now, by the signal it becomes.
        jetstream: None where JetStream is off.
    """

    server_id: str
    name: str
    version: str
    now_ns: int
    start_ns: int
    counters: dict[str, int]
    gauges: dict[str, float]
    jetstream: JetStreamUse | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPage:
    """One page of `/jsz`.

    Attributes:
        server_id, now_ns: who, and its clock.
        disabled: JetStream is off.
        accounts: names of the accounts on this page; fewer than asked for means that it is the last.
        account_count: how many there are on all pages.
        streams: what it tells of.
        malformed_count: entries that could not be read.
    """

    server_id: str
    now_ns: int
    disabled: bool
    accounts: tuple[str, ...]
    account_count: int
    streams: tuple[StreamReading, ...]
    malformed_count: int
