"""Goal: what is odd about a query is said at its line, and what is usual is not. Method: configurations as text, loaded as the start loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config

HEAD = """\
scrapers:
  prometheus_queries:
    - name: main
      url: http://127.0.0.1:9090
      queries:
"""
TRAFFIC = "        - {signal: traffic, query: 'sum by (job) (rate(http_requests_total[75s]))'}\n"


def warnings(folder: Path, queries: str) -> list[str]:
    path = folder / "sentinel.yaml"
    path.write_text(f"mode: shadow\n{HEAD}{queries}")
    return [str(one) for one in load_config(path, environment={}).warnings]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "{signal: errors, query: 'a / b'}",
            "nothing of how many calls are behind its values",
        ),
        (
            "{signal: traffic, query: 'sum(rate(x_total[30s]))'}",
            "looks back 30 s and is asked every 60 s",
        ),
        ("{signal: depth, query: jobs_done_total}", "climbs for ever"),
    ],
)
def test_what_is_odd_is_said_with_its_line(tmp_path: Path, query: str, said: str) -> None:
    [found] = warnings(tmp_path, f"        - {query}\n")
    assert said in found
    assert "sentinel.yaml:7: scrapers.prometheus_queries[0].queries[0].query: query " in found


@pytest.mark.parametrize(
    "query",
    [
        "{signal: errors, query: 'a / b', calls: b}",
        "{signal: latency, query: 'histogram_quantile(0.95, sum by (le) (rate(d_seconds_bucket[1m15s])))', calls: b}",
        "{signal: depth, query: 'max(queue_depth)'}",
        "{signal: short, query: 'avg_over_time(queue_depth[30s])'}",
        "{signal: named, query: 'max(depth{of=\"x_total [5s]\"})'}",
        "{signal: new, query: 'count(x_total)'}",
    ],
)
def test_what_is_usual_is_not_warned_of(tmp_path: Path, query: str) -> None:
    assert warnings(tmp_path, f"        - {query}\n") == []


def test_traffic_beside_it_says_how_many_calls(tmp_path: Path) -> None:
    assert warnings(tmp_path, f"{TRAFFIC}        - {{signal: errors, query: 'a / b'}}\n") == []
