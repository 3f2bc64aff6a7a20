"""What a user may write of servers and queries, and what is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.runtime.promql import QueryConfig, QueryServerConfig

TRAFFIC = QueryConfig(signal="traffic", query="sum(rate(x[5m]))")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"signal": ""}, "signal"),
        ({"query": " "}, "PromQL"),
        ({"query": "x" * 20_000}, "characters"),
        ({"name": "Two Words"}, "name"),
        ({"service": "a\nb"}, "printable"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"series_max": 0}, "series_max"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        QueryConfig(**{"signal": "traffic", "query": "up", **wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"),
        ({"url": ""}, "url"),
        ({"url": "http://user:secret@h:1"}, "credentials"),
        ({"url": "http://h:1/?a=b"}, "question mark"),
        ({"interval": 0.5}, "interval"),
        ({"lag": -1.0}, "lag"),
        ({"tenant": "a b"}, "tenant"),
        ({"parallel": 0}, "parallel"),
        ({"queries": (TRAFFIC, TRAFFIC)}, "traffic is there twice"),
    ],
)
def test_a_server_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        QueryServerConfig(**{"name": "main", "url": "http://127.0.0.1:9090", **wrong})


def test_rules_know_the_servers_name() -> None:
    server = QueryServerConfig(name="main", url="http://127.0.0.1:9090", queries=(TRAFFIC,))
    [rule] = server.rules()
    assert rule.key_of({"route": "/a"}) == ("main", "edge", "/a", "traffic")
    assert rule.name == "traffic"
