"""One poll of a cluster's servers to samples: each stream and consumer once, by its leader's word.

Every server of a cluster tells of all assets it holds, so the sum over servers counts each as often as it is replicated, and a
follower knows nothing of what is pending (it says 0). Only the leader's figures count. A consumer may be led by another
server than its stream. Where no leader answers there is no value: neither 0 nor what was true a minute ago.

Names: stage `queue`; route `server/<name>`, `cluster`, `<stream>`, `<stream>/<consumer>`. Consumers without a durable name
have made-up ones that come and go; those of a stream are put together as `<stream>/(ephemeral)`. An account other than the
default one stands before the stream: `<account>:<stream>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sentinel.core.model import RejectReason, SampleBatch
from sentinel.core.normalise.nats.figures import Led, consumer_gauges, put_use, stream_gauges
from sentinel.core.normalise.nats.marks import AssetId, ConsumerGain, Marks, leads
from sentinel.core.normalise.nats.points import ERROR, INFO, Points, Round
from sentinel.core.normalise.nats.readings import (
    ConsumerReading,
    Group,
    ServerReading,
    StreamReading,
)
from sentinel.core.redact import redact

ROUTE_CLUSTER = "cluster"
EPHEMERAL = "(ephemeral)"
DEFAULT_ACCOUNT = "$G"

_STARTS_MAX = 256
_KEPT_MAX = 40_000
_KEPT_FACTOR, _KEPT_EXTRA = 2, 100
_META = AssetId("", "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What one server answered in a poll.

    Attributes:
        place: host and port it was asked at.
        server: its word on itself.
        gauges: what else was found of it, by signal.
        ill: why it says that it is not well; "" when it is; None when it was not asked or did not say.
        streams: what it tells of streams; None when it was not asked or could not be read.
        streams_ns: its clock as it told of them.
        jetstream_off: it says that JetStream is off.
        one_account: it was asked for the streams of one account, whose names stand alone.
    """

    place: str
    server: ServerReading
    gauges: dict[str, float] = field(default_factory=dict)
    ill: str | None = None
    streams: tuple[StreamReading, ...] | None = None
    streams_ns: int = 0
    jetstream_off: bool = False
    one_account: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsLimits:
    """How many streams and consumers become series."""

    stream_count_max: int = 100
    consumer_count_max: int = 300


class Reduced(NamedTuple):
    """A batch, what is missing from it and why, and how many streams and consumers were left out."""

    batch: SampleBatch
    notes: tuple[str, ...]
    left_out_count: int


class NatsSamples:
    """Reduces the polls of one service; remembers what must be over polls, within bounds. One poll at a time."""

    def __init__(self, service: str, *, limits: NatsLimits) -> None:
        self._service = service
        self._limits = limits
        self._marks = Marks()
        self._points = Points(service)
        self._kept: set[str] = set()
        self._starts: dict[str, int] = {}

    def reduce(
        self,
        answers: Sequence[ServerAnswer],
        *,
        source: str,
        unanswered: Sequence[str],
        now_ns: int,
    ) -> Reduced:
        """The samples of one poll.

        Args:
            answers: of the servers that answered.
            source: who asked; of several that ask servers of one cluster each names its own.
            unanswered: host and port of those that did not.
            now_ns: our clock, which the samples carry.
        """
        round_ = Round(self._points, now_ns)
        for answer in answers:
            self._marks.note_server(answer.server.name, now_ns)
            self._server(answer, round_)
        self._cluster(answers, source, len(unanswered), round_)
        led_streams, led_consumers = self._led(answers, round_)
        self._streams_of(led_streams, round_)
        self._consumers_of(led_consumers, round_)
        self._marks.end_poll(now_ns, max((one.streams_ns for one in answers), default=0))
        notes = _notes(answers, unanswered, round_)
        rejected = {RejectReason.LIMIT: round_.left_out} if round_.left_out else {}
        batch = SampleBatch(
            scraped=round_.columns(),
            logs=tuple(round_.lines),
            rejected=rejected,
            services=frozenset({self._service}),
        )
        return Reduced(batch, notes, round_.left_out)

    # Servers and the cluster.

    def _server(self, answer: ServerAnswer, to: Round) -> None:
        server = answer.server
        # A server that was given no name has its id for one, which is another after each restart.
        named = answer.place if server.name == server.server_id else server.name
        route = f"server/{self._points.label(named)}"
        # Our clock at its start, fixed at the first sight, so that two clocks that drift make no restart.
        start_ns = self._starts.setdefault(
            server.server_id, max(1, to.now_ns - max(0, server.now_ns - server.start_ns))
        )
        if len(self._starts) > _STARTS_MAX:
            self._starts = {server.server_id: start_ns}
        gauges, counters = {**server.gauges, **answer.gauges}, dict(server.counters)
        if answer.ill is not None:
            gauges["server_unhealthy_count"] = float(bool(answer.ill))
            if answer.ill:
                why = redact(answer.ill)
                to.line(
                    "nats.unhealthy",
                    ERROR,
                    f"server {self._points.label(named)} is not well: {why}",
                )
        if server.jetstream is not None:
            put_use(server.jetstream, gauges, counters)
        for signal, value in gauges.items():
            to.gauge(route, signal, value)
        for signal, value in counters.items():
            to.counter(route, signal, float(value), start_ns=start_ns)

    def _cluster(
        self, answers: Sequence[ServerAnswer], source: str, unanswered_count: int, to: Round
    ) -> None:
        metas = [
            (answer, answer.server.jetstream.meta, answer.server.jetstream.meta_size)
            for answer in answers
            if answer.server.jetstream is not None and answer.server.jetstream.meta is not None
        ]
        to.gauge(ROUTE_CLUSTER, "cluster_unanswered_count", float(unanswered_count), source=source)
        if not metas:
            return
        size = max(size for _, _, size in metas)
        to.cluster_size = size
        to.gauge(ROUTE_CLUSTER, "cluster_server_count", float(size))
        own = [group for answer, group, _ in metas if group.leader == answer.server.name]
        leader = self._leader_of(
            _META,
            [(answer.server.name, group) for answer, group, _ in metas],
            to,
            ROUTE_CLUSTER,
            "cluster",
        )
        if own and leader:
            self._put_replicas(own[0], ROUTE_CLUSTER, "cluster", to)

    def _put_replicas(self, group: Group, route: str, of: str, to: Round) -> None:
        """What a leader says of the other peers."""
        offline = sum(one.offline for one in group.replicas)
        behind = sum(not one.current for one in group.replicas)
        lag = max((one.lag for one in group.replicas), default=0)
        middle = "" if of == "cluster" else "replicas_"
        lag_name = "cluster_lag_count" if of == "cluster" else f"{of}_replica_lag_count"
        to.gauge(route, f"{of}_{middle}offline_count", float(offline))
        to.gauge(route, f"{of}_{middle}behind_count", float(behind))
        to.gauge(route, lag_name, float(lag))

    def _leader_of(
        self,
        asset: AssetId,
        words: Sequence[tuple[str, Group]],
        to: Round,
        route: str,
        of: str,
    ) -> str | None:
        """Who leads an asset by the word of these servers; counts when it is another, or nobody."""
        own = [(name, group) for name, group in words if group.leader == name]
        if own:
            leader: str | None = max(own, key=lambda pair: pair[1].led_since_ns)[0]
        else:
            # What others say of a server that speaks for itself is old: it no longer leads, or not yet.
            said = Counter(
                group.leader
                for _, group in words
                if group.leader is not None and not self._marks.is_asked(group.leader, to.now_ns)
            )
            leader = said.most_common(1)[0][0] if said else None
        leaderless, before = self._marks.note_leader(asset, leader, to.now_ns)
        if before is not None:
            to.line(
                "nats.leader_changed",
                INFO,
                f"{self._points.label(leader or '')} leads {route} now, and {self._points.label(before)} did before",
            )
        to.add_total(route, f"{of}_leader_changes_per_s", float(before is not None))
        to.gauge(route, f"{of}_leaderless_count", float(leaderless))
        if leaderless:
            to.line("nats.no_leader", ERROR, f"{route} has no leader")
        return leader

    # Streams and consumers.

    def _led(
        self, answers: Sequence[ServerAnswer], to: Round
    ) -> tuple[list[tuple[AssetId, str, StreamReading, int]], list[Led]]:
        """Streams and consumers that are told of by their leaders, with the leader's clock; leaders are noted."""
        streams: dict[AssetId, list[tuple[ServerAnswer, StreamReading]]] = {}
        consumers: dict[AssetId, list[tuple[ServerAnswer, ConsumerReading]]] = {}
        for answer in answers:
            for stream in answer.streams or ():
                account = "" if answer.one_account else stream.account
                asset = AssetId(account, stream.name)
                streams.setdefault(asset, []).append((answer, stream))
                for consumer in stream.consumers:
                    own = asset._replace(consumer=consumer.name)
                    consumers.setdefault(own, []).append((answer, consumer))
        kept_streams = self._within(
            {
                self._route(asset): max(stream.message_count for _, stream in told)
                for asset, told in streams.items()
            },
            self._limits.stream_count_max,
            to,
        )
        led_streams = []
        for asset, told in streams.items():
            route = self._route(asset)
            if route not in kept_streams:
                continue
            found = self._one_led(
                asset, [(answer, one.group) for answer, one in told], to, route, "stream"
            )
            if found is not None:
                answer, stream = told[found]
                led_streams.append((asset, route, stream, answer.streams_ns))
        return led_streams, self._led_consumers(consumers, kept_streams, to)

    def _led_consumers(
        self,
        consumers: dict[AssetId, list[tuple[ServerAnswer, ConsumerReading]]],
        kept_streams: set[str],
        to: Round,
    ) -> list[Led]:
        routes = {asset: self._consumer_route(asset, told) for asset, told in consumers.items()}
        backlogs: Counter[str] = Counter()
        for asset, told in consumers.items():
            backlogs[routes[asset]] += max(one.backlog for _, one in told)
        known = {
            route: n for route, n in backlogs.items() if route.rpartition("/")[0] in kept_streams
        }
        to.left_out += len(backlogs) - len(known)
        kept = self._within(known, self._limits.consumer_count_max, to)
        told_of = set(backlogs) | {self._route(asset) for asset in consumers}
        self._kept = {route for route in self._kept if route not in told_of} | kept | kept_streams
        if len(self._kept) > _KEPT_MAX:
            self._kept = kept | kept_streams
        led = []
        for asset, told in consumers.items():
            route = routes[asset]
            if route not in kept:
                continue
            found = self._one_led(
                asset, [(answer, one.group) for answer, one in told], to, route, "consumer"
            )
            if found is not None:
                answer, consumer = told[found]
                led.append(Led(asset, route, consumer, answer.streams_ns))
        return led

    def _one_led(
        self,
        asset: AssetId,
        told: Sequence[tuple[ServerAnswer, Group]],
        to: Round,
        route: str,
        of: str,
    ) -> int | None:
        """Which of the servers that tell of an asset leads it, or None; followed in clusters, where leaders change."""
        # An ephemeral consumer has no replicas; who leads it is where it happened to be made.
        followed = any(group.is_clustered for _, group in told) and not route.endswith(EPHEMERAL)
        leader = None
        if followed:
            words = [(answer.server.name, group) for answer, group in told]
            leader = self._leader_of(asset, words, to, route, of)
        leading = [
            at
            for at, (answer, group) in enumerate(told)
            if leads(group, answer.server.name) and leader in (None, answer.server.name)
        ]
        if not leading:
            to.unled += 1
            return None
        return max(leading, key=lambda at: (told[at][1].led_since_ns, told[at][0].streams_ns))

    def _within(self, sizes: dict[str, int], count_max: int, to: Round) -> set[str]:
        """The largest, at most so many; one that is kept gives way only to one twice as large, so that series last."""
        if len(sizes) <= count_max:
            return set(sizes)
        to.left_out += len(sizes) - count_max

        def weight(route: str) -> tuple[int, str]:
            size = sizes[route]
            return (_KEPT_FACTOR * size + _KEPT_EXTRA if route in self._kept else size), route

        return set(sorted(sizes, key=weight, reverse=True)[:count_max])

    def _streams_of(
        self, streams: Iterable[tuple[AssetId, str, StreamReading, int]], to: Round
    ) -> None:
        for asset, route, stream, server_ns in streams:
            gain = self._marks.gain_of_stream(asset, stream, to.now_ns, server_ns)
            to.add_total(route, "stream_stored_per_s", float(gain.stored))
            to.add_total(route, "stream_removed_per_s", float(gain.removed))
            for signal, value in stream_gauges(stream, server_ns):
                to.gauge(route, signal, value)
            if stream.group.replicas:
                self._put_replicas(stream.group, route, "stream", to)

    def _consumers_of(self, consumers: Iterable[Led], to: Round) -> None:
        by_route: dict[str, list[tuple[Led, ConsumerGain]]] = {}
        for led in consumers:
            gain = self._marks.gain_of_consumer(led.asset, led.consumer, to.now_ns, led.server_ns)
            by_route.setdefault(led.route, []).append((led, gain))
        for route, told in by_route.items():
            to.add_total(
                route, "consumer_delivered_per_s", float(sum(g.delivered for _, g in told))
            )
            to.add_total(
                route, "consumer_redelivered_per_s", float(sum(g.redelivered for _, g in told))
            )
            for signal, value in consumer_gauges(told):
                to.gauge(route, signal, value)

    # Names.

    def _route(self, asset: AssetId) -> str:
        bare = asset.account in ("", DEFAULT_ACCOUNT)
        stream = self._points.label(asset.stream)
        return stream if bare else f"{self._points.label(asset.account)}:{stream}"

    def _consumer_route(
        self, asset: AssetId, told: Sequence[tuple[ServerAnswer, ConsumerReading]]
    ) -> str:
        durable = any(one.durable for _, one in told)
        name = self._points.label(asset.consumer) if durable else EPHEMERAL
        return f"{self._route(asset)}/{name}"


def _notes(
    answers: Sequence[ServerAnswer], unanswered: Sequence[str], found: Round
) -> tuple[str, ...]:
    notes = []
    if unanswered:
        notes.append(f"no answer from {_listed(unanswered)}")
    off = [answer.place for answer in answers if answer.jetstream_off]
    if off and len(off) == len(answers):
        notes.append("JetStream is off, so there are no streams and consumers")
    unread = [a.place for a in answers if a.streams is None and not a.jetstream_off]
    if unread:
        notes.append(f"streams and consumers cannot be read at {_listed(unread)}")
    if found.unled and len(answers) + len(unanswered) < found.cluster_size:
        asked = len(answers) + len(unanswered)
        notes.append(
            f"{found.unled} streams and consumers are led by servers that are not asked:"
            f" the cluster has {found.cluster_size}, and {asked} of them are configured"
        )
    if found.left_out:
        notes.append(f"{found.left_out} streams and consumers are beyond the limits")
    return tuple(notes)


def _listed(places: Sequence[str]) -> str:
    shown = ", ".join(sorted(places)[:3])
    return shown + (f" and {len(places) - 3} more" if len(places) > 3 else "")
