"""Goal: advisories are counted once, where they belong, within bounds, and are told in words without secrets.

Method: advisories as servers write them, taken and read out by hand.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sentinel.core.model import Temporality
from sentinel.core.normalise.nats import Advisory, AdvisoryKind, AdvisoryLog, read_advisory
from sentinel.errors import InputError
from tests.support.nats_answers import NOW_NS, SECOND_NS

_PREFIX = "io.nats.jetstream.advisory.v1."


def advisory(kind: str, number: int = 1, **fields: Any) -> Advisory:
    raw = {"type": _PREFIX + kind, "id": f"{kind}-{number}", "stream": "ORDERS", **fields}
    return read_advisory(orjson.dumps(raw))


@pytest.mark.parametrize(
    ("kind", "fields", "expected", "words"),
    [
        (
            "max_deliver",
            {"consumer": "poster", "stream_seq": 7, "deliveries": 3},
            AdvisoryKind.MAX_DELIVERIES,
            "consumer poster of stream ORDERS: message 7 is given up after 3 deliveries; it stays in the stream",
        ),
        (
            "terminated",
            {"consumer": "poster", "stream_seq": 7, "reason": "password=hunter2"},
            AdvisoryKind.TERMINATED,
            "consumer poster of stream ORDERS: message 7 was terminated by its reader: password=[SECRET]",
        ),
        ("stream_action", {"action": "delete"}, AdvisoryKind.DELETED, "stream ORDERS was deleted"),
        (
            "stream_quorum_lost",
            {},
            AdvisoryKind.QUORUM_LOST,
            "stream ORDERS: its replicas are too few for a majority",
        ),
        (
            "stream_leader_elected",
            {"leader": "n2"},
            AdvisoryKind.STREAM_LEADER,
            "stream ORDERS: n2 was elected leader",
        ),
        (
            "api_limit_reached",
            {"server": "n1", "dropped": 12},
            AdvisoryKind.API_LIMIT,
            "server n1 dropped 12 requests to JetStream",
        ),
        ("of_tomorrow", {}, AdvisoryKind.OTHER, "of_tomorrow of stream ORDERS"),
    ],
)
def test_each_kind_is_known_and_told(
    kind: str, fields: dict[str, Any], expected: AdvisoryKind, words: str
) -> None:
    found = advisory(kind, **fields)
    assert (found.kind, found.words) == (expected, words)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type": "io.nats.server.v1.x"}', b'{"type": 3}'])
def test_what_is_no_advisory_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        read_advisory(body)


def test_events_become_rates_from_the_first_one_on() -> None:
    """The first point of a counter has nothing to be compared with: the first message that was given up went uncounted."""
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    for number in range(3):
        assert log.take(
            advisory("max_deliver", number, consumer="poster"), now_ns=NOW_NS + SECOND_NS
        )
    batch, left_out = log.drain(NOW_NS + 2 * SECOND_NS)
    (point,) = batch.numbers
    assert point.scope == ("nats", "queue", "ORDERS/poster")
    assert (point.signal, point.temporality) == ("events_max_deliveries_per_s", Temporality.DELTA)
    assert (point.start_ns, point.time_ns, point.value) == (NOW_NS, NOW_NS + 2 * SECOND_NS, 3.0)
    assert [line.severity for line in batch.logs] == [17, 17, 17]
    assert {line.event for line in batch.logs} == {"nats.max_deliveries"}
    assert left_out == 0
    (calm,) = log.drain(NOW_NS + 4 * SECOND_NS)[0].numbers
    assert (calm.start_ns, calm.value) == (NOW_NS + 2 * SECOND_NS, 0.0)
    assert log.drain(NOW_NS + 25 * 3600 * SECOND_NS)[0].numbers == ()


def test_an_hour_in_which_nobody_listened_does_not_thin_out_what_comes_after() -> None:
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    back_ns = NOW_NS + 3600 * SECOND_NS
    log.unheard(back_ns)
    log.take(advisory("nak", consumer="poster"), now_ns=back_ns + SECOND_NS)
    # What was heard and not read yet was gained since then all the same.
    log.unheard(back_ns + SECOND_NS)
    (point,) = log.drain(back_ns + 2 * SECOND_NS)[0].numbers
    assert (point.start_ns, point.value) == (back_ns, 1.0)


def test_two_listeners_count_an_advisory_once() -> None:
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    assert log.take(advisory("nak", 1, consumer="poster"), now_ns=NOW_NS)
    assert not log.take(advisory("nak", 1, consumer="poster"), now_ns=NOW_NS)
    assert log.drain(NOW_NS + SECOND_NS)[0].numbers[0].value == 1.0


def test_consumers_that_come_and_go_make_no_series_of_their_own() -> None:
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    for number in range(50):
        made = advisory("consumer_action", number, action="create", consumer=f"aB{number}")
        log.take(made, now_ns=NOW_NS)
    (point,) = log.drain(NOW_NS + SECOND_NS)[0].numbers
    assert (point.scope.route, point.value) == ("ORDERS", 50.0)


def test_places_lines_and_ids_are_bounded_and_the_sum_is_right() -> None:
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    for number in range(10_000):
        log.take(advisory("terminated", number, consumer=f"c{number}"), now_ns=NOW_NS)
    batch, left_out = log.drain(NOW_NS + SECOND_NS)
    assert len(batch.numbers) == 257
    assert sum(one.value for one in batch.numbers) == 10_000
    assert len(batch.logs) == 32
    assert left_out == 10_000 - 32
    assert len(log._ids) == 4096


def test_what_a_server_tells_of_itself_belongs_to_the_cluster() -> None:
    log = AdvisoryLog("nats", now_ns=NOW_NS)
    raw = {"type": _PREFIX + "server_out_of_space", "id": "1", "server": "n1"}
    log.take(read_advisory(orjson.dumps(raw)), now_ns=NOW_NS)
    batch, _ = log.drain(NOW_NS + SECOND_NS)
    assert batch.numbers[0].scope.route == "cluster"
    assert batch.logs[0].severity == 21
