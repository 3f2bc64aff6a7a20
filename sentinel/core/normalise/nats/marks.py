"""What must be remembered between two polls: how far counters were, who led, and since when something waits.

One memory serves all targets of a service, so that a cluster asked by several targets is counted once.

| a figure, against the last one of its asset | means | gain |
|---|---|---|
| first ever, with no poll before | nothing to compare with | none |
| first ever, made since the poll before | it began at 0 | its value |
| made at another time than the last one | it was deleted and made again | its value |
| higher | | the difference |
| lower, for fewer than three polls | a new leader that is a little behind | none; the higher one is kept |
| lower, for three polls | what was stored is lost | none; counting goes on from there |

So neither a leader that moves nor a follower that answers makes a spike or a fall.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sentinel.core.normalise.nats.readings import ConsumerReading, Group, StreamReading

LEADERLESS_AFTER_NS = 15 * 10**9
_LOWER_POLLS = 3
_IDLE_NS = 3600 * 10**9
_SERVER_SEEN_NS = 900 * 10**9


class AssetId(NamedTuple):
    """A stream, or with `consumer` one of its consumers."""

    account: str
    stream: str
    consumer: str = ""


@dataclass(slots=True)
class HighMark:
    """How far one counter was."""

    value: int
    lower_count: int = 0

    def gain(self, value: int) -> int:
        """What it gained since the last reading."""
        if value >= self.value:
            gained, self.value, self.lower_count = value - self.value, value, 0
            return gained
        self.lower_count += 1
        if self.lower_count >= _LOWER_POLLS:
            self.value, self.lower_count = value, 0
        return 0


@dataclass(slots=True)
class StreamMark:
    """A stream's counters."""

    created_ns: int
    seen_ns: int
    last_seq: HighMark
    first_seq: HighMark


@dataclass(slots=True)
class ConsumerMark:
    """A consumer's counters, and since when a delivery waits for its acknowledgement."""

    created_ns: int
    seen_ns: int
    delivered: HighMark
    delivered_stream: HighMark
    redelivered: int
    floor: int
    unacked_since_ns: int | None


@dataclass(slots=True)
class LeaderMark:
    """Who led last, and when a leader was known last."""

    leader: str
    known_ns: int
    seen_ns: int


class StreamGain(NamedTuple):
    """What a stream gained: messages stored, and messages that left."""

    stored: int
    removed: int


class ConsumerGain(NamedTuple):
    """What a consumer gained: deliveries, at least so many of them again, and how long the oldest delivery waits."""

    delivered: int
    redelivered: int
    unacked_age_ns: int


@dataclass(slots=True)
class Marks:
    """The memory of one service."""

    streams: dict[AssetId, StreamMark] = field(default_factory=dict)
    consumers: dict[AssetId, ConsumerMark] = field(default_factory=dict)
    leaders: dict[AssetId, LeaderMark] = field(default_factory=dict)
    servers_ns: dict[str, int] = field(default_factory=dict)
    told_ns: int | None = None

    def note_server(self, name: str, now_ns: int) -> None:
        """A server answered for itself."""
        self.servers_ns[name] = now_ns

    def is_asked(self, name: str, now_ns: int) -> bool:
        """Whether a server speaks for itself, so that others' word on it is not needed."""
        return now_ns - self.servers_ns.get(name, -_IDLE_NS) < _SERVER_SEEN_NS

    def gain_of_stream(
        self, asset: AssetId, stream: StreamReading, now_ns: int, server_ns: int
    ) -> StreamGain:
        """What the stream gained since its last reading; remembers this one.

        Args:
            asset: which.
            stream: as its leader knows it.
            now_ns: our clock.
            server_ns: the leader's clock at that moment.
        """
        mark = self.streams.get(asset)
        if mark is None or mark.created_ns != stream.created_ns:
            is_new = mark is not None or self._is_made_since(stream.created_ns, server_ns)
            self.streams[asset] = StreamMark(
                stream.created_ns, now_ns, HighMark(stream.last_seq), HighMark(stream.first_seq)
            )
            return StreamGain(stream.last_seq if is_new else 0, 0)
        mark.seen_ns = now_ns
        # An empty stream's first sequence is the next one that comes.
        return StreamGain(
            mark.last_seq.gain(stream.last_seq), mark.first_seq.gain(stream.first_seq)
        )

    def gain_of_consumer(
        self, asset: AssetId, consumer: ConsumerReading, now_ns: int, server_ns: int
    ) -> ConsumerGain:
        """What the consumer gained since its last reading; remembers this one.

        Args:
            asset: which.
            consumer: as its leader knows it.
            now_ns: our clock.
            server_ns: the leader's clock at that moment.
        """
        mark = self.consumers.get(asset)
        if mark is None or mark.created_ns != consumer.created_ns:
            is_new = mark is not None or self._is_made_since(consumer.created_ns, server_ns)
            mark = self.consumers[asset] = ConsumerMark(
                created_ns=consumer.created_ns,
                seen_ns=now_ns,
                delivered=HighMark(consumer.delivered),
                delivered_stream=HighMark(consumer.delivered_stream),
                redelivered=consumer.redelivered,
                floor=consumer.floor,
                unacked_since_ns=None,
            )
            mark.unacked_since_ns = _unacked_since_ns(mark, consumer, now_ns, server_ns)
            return ConsumerGain(consumer.delivered if is_new else 0, 0, _age_ns(mark, now_ns))
        mark.unacked_since_ns = _unacked_since_ns(mark, consumer, now_ns, server_ns)
        mark.seen_ns, mark.floor = now_ns, consumer.floor
        delivered = mark.delivered.gain(consumer.delivered)
        advanced = mark.delivered_stream.gain(consumer.delivered_stream)
        more_again = consumer.redelivered - mark.redelivered
        mark.redelivered = consumer.redelivered
        # A delivery that moved the stream's sequence on was no repeat, so what is left must be; a filter that skips
        # messages hides some. Of what is out more than once now, none was so before.
        return ConsumerGain(
            delivered, max(delivered - advanced, more_again, 0), _age_ns(mark, now_ns)
        )

    def note_leader(
        self, asset: AssetId, leader: str | None, now_ns: int
    ) -> tuple[bool, str | None]:
        """Take note of who leads; whether the asset has no leader, and who led before if that changed.

        A leader that is unknown for less than `LEADERLESS_AFTER_NS` is being elected.
        """
        mark = self.leaders.get(asset)
        if leader is not None:
            before = mark.leader if mark is not None else ""
            self.leaders[asset] = LeaderMark(leader, now_ns, now_ns)
            return False, before if before and before != leader else None
        if mark is None:
            self.leaders[asset] = LeaderMark("", 0, now_ns)
            return True, None
        mark.seen_ns = now_ns
        return now_ns - mark.known_ns >= LEADERLESS_AFTER_NS, None

    def end_poll(self, now_ns: int, servers_ns: int) -> None:
        """Forget what was not seen for an hour; `servers_ns` is the servers' clock as they told of their streams."""
        self.told_ns = servers_ns or self.told_ns
        for known in (self.streams, self.consumers, self.leaders):
            for asset in [key for key, mark in known.items() if now_ns - mark.seen_ns > _IDLE_NS]:
                del known[asset]
        for name in [key for key, at in self.servers_ns.items() if now_ns - at > _IDLE_NS]:
            del self.servers_ns[name]

    def _is_made_since(self, created_ns: int, server_ns: int) -> bool:
        """Whether it was made since the poll before, by the servers' clocks."""
        return self.told_ns is not None and self.told_ns <= created_ns <= server_ns


def leads(group: Group, server_name: str) -> bool:
    """Whether a server's figures of an asset are the ones that count."""
    if group.leader is None:
        return not group.is_clustered
    return group.leader == server_name


def _unacked_since_ns(
    mark: ConsumerMark, consumer: ConsumerReading, now_ns: int, server_ns: int
) -> int | None:
    """Since when, at the latest, the oldest delivery without an acknowledgement waits, by our clock; None when none does.

    NATS tells of no single delivery. The oldest is at least as old as the newest; if it was out at the poll before, it waits
    since then; and while the floor stands still it is the same one.
    """
    if not consumer.ack_pending or consumer.delivered <= consumer.floor:
        return None
    if mark.unacked_since_ns is not None and consumer.floor == mark.floor:
        return mark.unacked_since_ns
    newest_ns = now_ns - max(0, server_ns - (consumer.delivered_ns or server_ns))
    was_out = mark.unacked_since_ns is not None and mark.delivered.value > consumer.floor
    return min(mark.seen_ns, newest_ns) if was_out else newest_ns


def _age_ns(mark: ConsumerMark, now_ns: int) -> int:
    return 0 if mark.unacked_since_ns is None else max(0, now_ns - mark.unacked_since_ns)
