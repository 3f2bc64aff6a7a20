"""Goal: windows are as wide as queries are asked and open until they are answered, or the configuration says what would be right.

Method: configurations as text, loaded as the start loads them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.app.query_windows import may_be_measured
from sentinel.core.model import SeriesKey
from sentinel.errors import ConfigError
from sentinel.pipeline.ingest import IngestConfig

SERVER = """\
scrapers:
  prometheus_queries:
    - name: {name}
      url: http://127.0.0.1:9090
      {more}
      queries: [{{signal: traffic, query: up, service: shop}}]
"""


def loaded(folder: Path, text: str) -> IngestConfig:
    path = folder / "sentinel.yaml"
    path.write_text(text)
    return load_config(path, environment={}).config.series


def server(more: str = "parallel: 2", name: str = "main") -> str:
    return SERVER.format(more=more, name=name)


@pytest.mark.parametrize(
    ("text", "window", "lateness"),
    [
        ("", 10.0, 5.0),
        (server(), 60.0, 50.0),
        (server("lag: 1m"), 60.0, 80.0),
        (server("interval: 30s"), 30.0, 50.0),
        (server("interval: 10s\n      lag: 5s"), 10.0, 15.0),
        (server("interval: 5s\n      lag: 2s"), 5.0, 7.0),
        (server("interval: 30s") + "series: {window: 30s, lateness: 40s}\n", 30.0, 40.0),
        (server() + "series: {window: 10s}\n", 10.0, 40.0),
    ],
    ids=[
        "no queries",
        "nothing set",
        "a longer lag",
        "an interval",
        "narrow",
        "narrower",
        "both",
        "a window alone",
    ],
)
def test_windows_follow_the_queries(
    tmp_path: Path, text: str, window: float, lateness: float
) -> None:
    series = loaded(tmp_path, text)
    assert (series.window, series.lateness) == (window, lateness)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            server("interval: 1m") + "series: {window: 10s}\n",
            r"yaml:5: scrapers\.prometheus_queries\[0\]\.interval: queries are asked every 60 s and windows are 10 s wide",
        ),
        (
            server("interval: 1m") + "series: {lateness: 10s}\n",
            r"yaml:7: series\.lateness: windows are closed 10 s after their end, and queries are asked 30 s after it .* 35s",
        ),
        (
            server("interval: 80s"),
            r"yaml:5: .*windows of 80 s are never kept for longer",
        ),
    ],
)
def test_what_cannot_be_says_where_and_what_would_be_right(
    tmp_path: Path, text: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        loaded(tmp_path, text)


def test_two_servers_are_asked_alike(tmp_path: Path) -> None:
    one = server("interval: 30s")
    other = "\n".join(server("interval: 1m", name="other").splitlines()[2:]) + "\n"
    with pytest.raises(ConfigError, match="windows are 30 s wide"):
        loaded(tmp_path, one + other)


def test_which_series_may_be_measured_goes_by_fixed_names(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text(server())
    config = load_config(path, environment={}).config
    may = may_be_measured(config.scrapers.prometheus_queries)
    assert may(SeriesKey("shop", "edge", "GET /", "traffic"))
    assert not may(SeriesKey("bank", "edge", "GET /", "traffic"))
    assert not may(SeriesKey("shop", "edge", "GET /", "latency"))
