"""JetStream's advisories: what happened to a stream, a consumer or a server, counted and put into words.

They come as plain JSON on `$JS.EVENT.ADVISORY.>`, once for each listener in the account. One log serves all listeners of a
service and knows an advisory by its id, so that two of them do not count it twice. What happens to one consumer again and again
(deliveries given up, refused, terminated) is counted for that consumer; what happens to consumers that come and go, for
their stream.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sentinel.core.model import SampleBatch
from sentinel.core.normalise.nats.fields import count, object_of, text
from sentinel.core.normalise.nats.points import (
    ERROR,
    FATAL,
    INFO,
    LINES_MAX,
    WARN,
    Points,
    Round,
)
from sentinel.core.redact import redact
from sentinel.errors import MalformedInputError

ROUTE_CLUSTER = "cluster"
ROUTE_OTHER = "(other)"

_PREFIX = "io.nats.jetstream.advisory.v1."
_PLACES_MAX = 256
_IDS_MAX = 4096
_IDLE_NS = 24 * 3600 * 10**9
_REASON_CHARACTERS_MAX = 200


class AdvisoryKind(StrEnum):
    """What an advisory tells of; part of a signal's name."""

    MAX_DELIVERIES = "max_deliveries"
    TERMINATED = "terminated"
    REFUSED = "refused"
    STREAM_LEADER = "stream_leader_elected"
    CONSUMER_LEADER = "consumer_leader_elected"
    QUORUM_LOST = "quorum_lost"
    CREATED = "created"
    DELETED = "deleted"
    CHANGED = "changed"
    PAUSED = "paused"
    OUT_OF_STORAGE = "out_of_storage"
    SERVER_REMOVED = "server_removed"
    META_LEADER = "meta_leader_elected"
    API_LIMIT = "api_limit_reached"
    BATCH_ABANDONED = "batch_abandoned"
    OTHER = "other"

    @property
    def signal(self) -> str:
        """The series that counts it."""
        return f"events_{self.value}_per_s"


_KINDS = {
    "max_deliver": AdvisoryKind.MAX_DELIVERIES,
    "terminated": AdvisoryKind.TERMINATED,
    "nak": AdvisoryKind.REFUSED,
    "stream_leader_elected": AdvisoryKind.STREAM_LEADER,
    "consumer_leader_elected": AdvisoryKind.CONSUMER_LEADER,
    "stream_quorum_lost": AdvisoryKind.QUORUM_LOST,
    "consumer_quorum_lost": AdvisoryKind.QUORUM_LOST,
    "consumer_pause": AdvisoryKind.PAUSED,
    "server_out_of_space": AdvisoryKind.OUT_OF_STORAGE,
    "server_removed": AdvisoryKind.SERVER_REMOVED,
    "domain_leader_elected": AdvisoryKind.META_LEADER,
    "api_limit_reached": AdvisoryKind.API_LIMIT,
    "stream_batch_abandoned": AdvisoryKind.BATCH_ABANDONED,
}
_ACTIONS = {
    "create": AdvisoryKind.CREATED,
    "delete": AdvisoryKind.DELETED,
    "modify": AdvisoryKind.CHANGED,
}
_OF_CONSUMER = {
    AdvisoryKind.MAX_DELIVERIES,
    AdvisoryKind.TERMINATED,
    AdvisoryKind.REFUSED,
    AdvisoryKind.QUORUM_LOST,
    AdvisoryKind.PAUSED,
}
_SEVERITY = {
    AdvisoryKind.MAX_DELIVERIES: ERROR,
    AdvisoryKind.TERMINATED: ERROR,
    AdvisoryKind.REFUSED: WARN,
    AdvisoryKind.QUORUM_LOST: ERROR,
    AdvisoryKind.DELETED: WARN,
    AdvisoryKind.OUT_OF_STORAGE: FATAL,
    AdvisoryKind.SERVER_REMOVED: WARN,
    AdvisoryKind.API_LIMIT: ERROR,
    AdvisoryKind.BATCH_ABANDONED: ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One advisory.

    Attributes:
        kind: what it tells of.
        advisory_id: the same for every listener, or "".
        stream, consumer: about what; "" where it is not said.
        domain: the JetStream domain it happened in, or "".
        words: what happened, for people; redacted.
    """

    kind: AdvisoryKind
    advisory_id: str
    stream: str
    consumer: str
    domain: str
    words: str


def read_advisory(body: bytes) -> Advisory:
    """What an advisory says.

    Raises:
        MalformedInputError: it is none.
        InputTooLargeError: it would take far more memory than its size.
    """
    raw = object_of(body, "the advisory")
    name = text(raw, "type")
    if not name.startswith(_PREFIX):
        msg = "the message is no advisory of JetStream: its type says something else"
        raise MalformedInputError(msg)
    kind = _KINDS.get(name.removeprefix(_PREFIX))
    if kind is None and name.endswith("_action"):
        kind = _ACTIONS.get(text(raw, "action"))
    kind = kind or AdvisoryKind.OTHER
    return Advisory(
        kind=kind,
        advisory_id=text(raw, "id"),
        stream=text(raw, "stream"),
        consumer=text(raw, "consumer"),
        domain=text(raw, "domain"),
        words=redact(_words(kind, raw)),
    )


class AdvisoryLog:
    """Gathers advisories between two readings; bounded in places, lines and ids."""

    def __init__(self, service: str, *, now_ns: int) -> None:
        self._points = Points(service)
        self._counts: Counter[tuple[AdvisoryKind, str]] = Counter()
        self._seen_ns: dict[tuple[AdvisoryKind, str], int] = {}
        self._lines: list[tuple[int, Advisory]] = []
        self._ids: dict[str, None] = {}
        self._since_ns = now_ns
        self._left_out = 0
        self.taken_count = 0

    def take(self, advisory: Advisory, *, now_ns: int) -> bool:
        """Count an advisory; False when it was counted before."""
        if advisory.advisory_id:
            if advisory.advisory_id in self._ids:
                return False
            self._ids[advisory.advisory_id] = None
            if len(self._ids) > _IDS_MAX:
                del self._ids[next(iter(self._ids))]
        self.taken_count += 1
        place = (advisory.kind, self._route(advisory))
        if place not in self._seen_ns and len(self._seen_ns) >= _PLACES_MAX:
            place = (advisory.kind, ROUTE_OTHER)
        self._seen_ns[place] = now_ns
        self._counts[place] += 1
        if len(self._lines) < LINES_MAX:
            self._lines.append((now_ns, advisory))
        else:
            self._left_out += 1
        return True

    def unheard(self, now_ns: int) -> None:
        """Nobody listens at this moment: what comes later was not gained since the last reading, but since then."""
        if not self._counts:
            self._since_ns = now_ns

    def drain(self, now_ns: int) -> tuple[SampleBatch, int]:
        """What was gathered since the last reading, and how many lines there was no room for.

        A place where something happened within a day has a rate in every reading, 0 when nothing more did.
        """
        round_ = Round(self._points, now_ns)
        for place in [p for p, at in self._seen_ns.items() if now_ns - at > _IDLE_NS]:
            del self._seen_ns[place]
        since_ns = min(self._since_ns, now_ns)
        for kind, route in self._seen_ns:
            gained = float(self._counts[kind, route])
            round_.increase(route, kind.signal, gained, since_ns=since_ns)
        for at_ns, advisory in self._lines:
            severity = _SEVERITY.get(advisory.kind, INFO)
            round_.line(f"nats.{advisory.kind.value}", severity, advisory.words, time_ns=at_ns)
        left_out, self._left_out = self._left_out, 0
        self._counts.clear()
        self._lines.clear()
        self._since_ns = now_ns
        batch = SampleBatch(
            numbers=tuple(round_.numbers),
            logs=tuple(round_.lines),
            services=frozenset({self._points.service}),
        )
        return batch, left_out

    def _route(self, advisory: Advisory) -> str:
        if not advisory.stream:
            return ROUTE_CLUSTER
        stream = self._points.label(advisory.stream)
        if advisory.consumer and advisory.kind in _OF_CONSUMER:
            return f"{stream}/{self._points.label(advisory.consumer)}"
        return stream


def _words(kind: AdvisoryKind, raw: dict[str, Any]) -> str:
    stream, consumer = text(raw, "stream"), text(raw, "consumer")
    of = f"consumer {consumer} of stream {stream}" if consumer else f"stream {stream}"
    reason = text(raw, "reason")[:_REASON_CHARACTERS_MAX]
    because = f": {reason}" if reason else ""
    message = f"message {count(raw, 'stream_seq')}"
    leader = text(raw, "leader")
    server = text(raw, "server")
    if kind is AdvisoryKind.MAX_DELIVERIES:
        return f"{of}: {message} is given up after {count(raw, 'deliveries')} deliveries; it stays in the stream"
    if kind is AdvisoryKind.TERMINATED:
        return f"{of}: {message} was terminated by its reader{because}"
    if kind is AdvisoryKind.REFUSED:
        return f"{of}: {message} was refused by its reader and comes again"
    if kind in (AdvisoryKind.STREAM_LEADER, AdvisoryKind.CONSUMER_LEADER):
        return f"{of}: {leader or 'nobody'} was elected leader"
    if kind is AdvisoryKind.META_LEADER:
        return f"{leader or 'nobody'} was elected leader of the cluster"
    if kind is AdvisoryKind.QUORUM_LOST:
        return f"{of}: its replicas are too few for a majority"
    if kind in (AdvisoryKind.CREATED, AdvisoryKind.DELETED, AdvisoryKind.CHANGED):
        return f"{of} was {kind.value}"
    if kind is AdvisoryKind.PAUSED:
        return f"{of} was {'paused' if raw.get('paused') is True else 'resumed'}"
    if kind is AdvisoryKind.OUT_OF_STORAGE:
        return f"server {server} is out of storage" + (f" for stream {stream}" if stream else "")
    if kind is AdvisoryKind.SERVER_REMOVED:
        return f"server {server} was removed from the cluster"
    if kind is AdvisoryKind.API_LIMIT:
        return f"server {server} dropped {count(raw, 'dropped')} requests to JetStream"
    if kind is AdvisoryKind.BATCH_ABANDONED:
        return f"{of}: a batch was abandoned{because}"
    return f"{text(raw, 'type').removeprefix(_PREFIX)}" + (f" of {of}" if stream else "")
