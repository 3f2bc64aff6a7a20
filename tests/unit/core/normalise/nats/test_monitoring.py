"""Goal: the answers of old and new servers are read as they are, and what is no answer is refused.

Method: recorded answers of 2.9.10 and 2.15.1, and answers made by hand with fields missing, wrong or absurd.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sentinel.core.normalise.nats import (
    is_safe,
    read_connz,
    read_healthz,
    read_jsz,
    read_varz,
    safe_minimum,
)
from sentinel.errors import InputError, MalformedInputError
from tests.support.nats_answers import NOW_NS, RECORDED, SECOND_NS, consumer, jsz, stream, varz


def test_an_old_server_gives_what_it_has() -> None:
    found = read_varz((RECORDED / "single_2_9_varz.json").read_bytes())
    assert (found.name, found.version) == ("deb", "2.9.10")
    assert found.counters["server_in_messages_per_s"] > 100
    assert "server_stale_connections_per_s" not in found.counters
    assert found.jetstream is not None
    assert found.jetstream.meta is None
    assert found.jetstream.storage_max_bytes == 256 * 2**20
    assert 0 < found.start_ns < found.now_ns


def test_a_server_of_a_cluster_tells_of_the_cluster() -> None:
    found = read_varz((RECORDED / "cluster_n2_2_15_varz.json").read_bytes())
    assert found.jetstream is not None
    assert found.jetstream.meta is not None
    assert (found.jetstream.meta.leader, found.jetstream.meta_size) == ("n2", 3)
    assert [one.name for one in found.jetstream.meta.replicas] == ["n1", "n3"]
    assert found.counters["server_stale_connections_per_s"] == 0


def test_consumers_are_read_with_who_leads_them() -> None:
    page = read_jsz((RECORDED / "cluster_n2_2_15_jsz.json").read_bytes())
    (orders,) = [one for one in page.streams if one.name == "ORDERS"]
    assert orders.group.leader == "n3"
    (poster,) = orders.consumers
    assert (poster.group.leader, poster.backlog, poster.redelivered) == ("n2", 90, 5)
    assert poster.durable
    assert poster.pull


def test_a_consumer_outside_a_cluster_is_led_by_who_leads_its_stream() -> None:
    page = read_jsz((RECORDED / "single_2_9_jsz.json").read_bytes())
    (orders,) = [one for one in page.streams if one.name == "ORDERS"]
    assert {one.group.leader for one in orders.consumers} == {"deb"}
    (work,) = [one for one in page.streams if one.name == "WORK"]
    assert (work.holds_work, work.first_ns, work.last_ns) == (True, None, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"server_id": 3}', b"<html>", b'{"a":' * 200_000],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    for read in (read_varz, read_jsz, read_connz, read_healthz):
        with pytest.raises(InputError):
            read(body)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7", None, [], 2**64 - 1])
def test_a_number_that_is_none_is_left_out(wrong: Any) -> None:
    """A server's unsigned count of nothing is 2^64 - 1, and its "no limit" -1: neither is a number of anything."""
    found = read_varz(orjson.dumps(varz(in_msgs=wrong, max_connections=wrong, cpu=-1)))
    assert "server_in_messages_per_s" not in found.counters
    assert "server_connection_limit_ratio" not in found.gauges
    assert "server_cpu_ratio" not in found.gauges


def test_entries_that_cannot_be_read_cost_no_other() -> None:
    page = read_jsz(orjson.dumps(jsz("n1", stream("A", consumer(), {"name": 3}), {"name": "B"})))
    assert [one.name for one in page.streams] == ["A"]
    assert [one.name for one in page.streams[0].consumers] == ["poster"]
    assert page.malformed_count == 2
    raw = jsz("n1")
    raw["account_details"].append("x")
    assert read_jsz(orjson.dumps(raw)).malformed_count == 1


def test_jetstream_that_is_off_is_told_apart_from_no_streams() -> None:
    raw = {"server_id": "x", "now": "2026-11-30T08:52:14Z", "disabled": True}
    assert read_jsz(orjson.dumps(raw)).disabled
    assert not read_jsz(orjson.dumps(jsz("n1"))).disabled
    assert read_varz(orjson.dumps(varz(jetstream={}))).jetstream is None


def test_the_worst_connection_counts() -> None:
    raw = {"connections": [{"pending_bytes": 5}, {"pending_bytes": 700}, 3]}
    assert read_connz(orjson.dumps(raw)) == {"server_pending_bytes": 700.0}
    assert read_connz(b'{"connections": []}') == {"server_pending_bytes": 0.0}


def test_a_server_says_why_it_is_not_well() -> None:
    assert read_healthz(b'{"status":"ok"}') == ""
    assert read_healthz(b'{"status":"unavailable","error":"no meta leader"}') == "no meta leader"
    assert read_healthz(b'{"status":"unavailable"}') == "unavailable"


def test_times_are_instants_or_nothing() -> None:
    raw = varz()
    raw["start"] = "0001-01-01T00:00:00Z"
    assert read_varz(orjson.dumps(raw)).start_ns == 0
    raw["now"] = "2026-11-30T09:52:24.000000001+01:00"
    assert (
        read_varz(orjson.dumps(raw)).now_ns == NOW_NS - NOW_NS % (60 * SECOND_NS) + 24 * SECOND_NS
    )
    raw["now"] = "yesterday"
    with pytest.raises(MalformedInputError, match="no time"):
        read_varz(orjson.dumps(raw))


def test_versions_are_held_against_the_safe_ones_of_their_line() -> None:
    assert [is_safe(one) for one in ("2.11.16", "2.12.6", "v2.15.1", "3.0.0", "2.10.29", "")] == [
        True,
        False,
        True,
        True,
        False,
        None,
    ]
    assert safe_minimum() == "2.11.16 or 2.12.7"
