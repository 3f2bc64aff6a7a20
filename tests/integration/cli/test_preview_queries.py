"""Goal: a preview over a Prometheus says what is wrong with what it was told, and with the server, and ends with the right code.

Method: the command in-process against Debian's Prometheus with a past, and against nobody. That it prints the pages that there would have
been is shown by the walkthrough.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.cli.preview import command as preview
from tests.support.prometheus_past import Minute, put_past, shop_lines, usual
from tests.support.servers import PrometheusServer, prometheus_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

START_S, END_S = 1_790_000_100, 1_790_000_100 + 40 * 3600
CONFIG = """\
scrapers:
  prometheus_queries:
    - name: main
      url: {url}
      client: {{timeout: 2s, connect_timeout: 1s}}
      queries:
        - signal: traffic
          query: sum by (job, handler) (rate(http_requests_total[75s]))
          route_labels: [handler]
        - signal: errors
          query: {errors}
          absent_is_zero: true
          route_labels: [handler]
"""
ERRORS = 'sum by (job, handler) (rate(http_requests_total{code=~"5.."}[75s])) / sum by (job, handler) (rate(http_requests_total[75s]))'


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sentinel")
    preview.add_arguments(parser.add_subparsers(required=True).add_parser("preview"))
    args = parser.parse_args(["preview", *arguments])
    code: int = args.run(args)
    return code


def written(folder: Path, url: str, errors: str = ERRORS) -> str:
    path = folder / "sentinel.yaml"
    path.write_text(CONFIG.format(url=url, errors=errors))
    return str(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """Forty hours of a shop, some months ago."""
    folder = tmp_path_factory.mktemp("prometheus")
    put_past(shop_lines(usual, start_s=START_S, end_s=END_S), folder / "data")
    options = ("--storage.tsdb.retention.time=100y",)
    with prometheus_server("scrape_configs: []\n", folder, options=options) as started:
        yield started


TIME = ("--from", "2026-09-21T14:15Z", "--to", "2026-09-23T06:00Z")


def test_quiet_hours_page_nobody_and_absent_failures_are_none(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, server.url)
    assert run("--prometheus", "main", "--config", config, *TIME, "--step", "5m") == 0
    out, err = capsys.readouterr()
    assert "no incident" in out or "0 incidents" in out
    assert "in 4 series" in out
    assert "not judged" not in err


FAULT_S = END_S - 2 * 3600


def broken(route: str, second: int) -> Minute:
    """Half of the payments fail for twenty minutes near the end."""
    fails = route == "/pay" and FAULT_S <= second < FAULT_S + 1200
    return Minute(calls_per_s=4.0, error_ratio=0.5 if fails else 0.0)


def alert_lines(name: str, start_s: int, end_s: int, severity: str = "page") -> Iterator[str]:
    labels = f'alertname="{name}",alertstate="firing",severity="{severity}"'
    for second in range(start_s, end_s, 60):
        yield f"ALERTS{{{labels}}} 1 {second}"


def broken_lines() -> Iterator[str]:
    """The shop with the fault, and what its rules told: the fault nine minutes late, and a nightly job that is none."""
    *lines, end = shop_lines(broken, start_s=START_S, end_s=END_S)
    yield from lines
    yield "# TYPE ALERTS gauge"
    yield from alert_lines("HighErrors", FAULT_S + 540, FAULT_S + 1500)
    yield from alert_lines("Nightly", START_S + 31 * 3600, START_S + 31 * 3600 + 600)
    yield from alert_lines("DiskSoonFull", START_S + 33 * 3600, END_S, severity="ticket")
    yield end


def test_pages_are_laid_beside_what_the_rules_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_past(broken_lines(), tmp_path / "data")
    options = ("--storage.tsdb.retention.time=100y",)
    with prometheus_server("scrape_configs: []\n", tmp_path, options=options) as server:
        config = written(tmp_path, server.url)
        told = ("--prometheus", "--config", config, *TIME, "--step", "1m", "--beside")
        assert run(*told) == 0
        out = capsys.readouterr().out
        assert "1 told of by both, 1 by rules alone, 0 by Sentinel alone" in out
        assert "Sentinel first in 1, a rule first in 0" in out
        assert run(*told, "-o", "ndjson") == 0
        documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        laid = [one for one in documents if "beside" in one]
        assert [(one["beside"], one["rules"][0]["rule"]) for one in laid] == [
            ("rules", "Nightly"),
            ("both", "HighErrors"),
        ]
        assert 0 < laid[1]["lead_s"] <= 540
        assert run(*told, 'ALERTS{severity="ticket"}') == 0
        assert "DiskSoonFull" in capsys.readouterr().out
        assert run(*told, "ALERTS{") == 1
        assert "parse error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--prometheus",), 2, "give --config with the queries"),
        (("--prometheus", "other", "--config", "{config}"), 1, "the configuration has main"),
        (("--prometheus", "--config", "{config}", "--kind", "errors"), 2, "--kind: only for"),
        (("--prometheus", "--config", "{config}", "--last", "1m"), 1, "no whole window"),
        (("--csv", "x.csv", "--step", "1m"), 2, "--step: only for --prometheus"),
        (("--csv", "x.csv", "--beside"), 2, "--beside: only for --prometheus"),
    ],
)
def test_what_makes_no_sense_is_said(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = written(tmp_path, "http://127.0.0.1:1")
    assert run(*(one.format(config=config) for one in arguments)) == code
    assert said in capsys.readouterr().err


def test_a_query_that_the_server_refuses_is_a_fault_of_the_configuration(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = written(tmp_path, server.url, errors="sum by (job")
    assert run("--prometheus", "--config", broken, *TIME) == 1
    assert "parse error" in capsys.readouterr().err
