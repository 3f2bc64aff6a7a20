"""Goal: whoever pastes the scrape configuration of docs/components/web.md sees the board and the alerts work.

Method: the block is cut out and checked by promtool, then held against the pages and the rules that need it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from sentinel.core.model import SeriesKey
from sentinel.web import WebConfig, WebListenConfig
from sentinel.web.scope import SeriesScope
from tests.support.latest_verdicts import make_latest
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/components/web.md").read_text()
[BLOCK] = re.findall(r"(?ms)^```yaml\n(scrape_configs:.*?)^```$", TEXT)


def test_promtool_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(BLOCK)
    done = subprocess.run(
        [require_binary("promtool"), "check", "config", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_pages_are_scraped_where_they_are_served() -> None:
    """The board was empty for a newcomer, who had scraped `/metrics` alone."""
    jobs = yaml.safe_load(BLOCK)["scrape_configs"]
    assert {job.get("metrics_path", "/metrics") for job in jobs} == {"/metrics", "/metrics/series"}
    listen = WebListenConfig()
    targets = {
        target for job in jobs for one in job["static_configs"] for target in one["targets"]
    }
    # One address for both, because the board joins them by `instance`.
    assert targets == {f"{listen.address}:{listen.port}"}


def test_the_rules_know_its_jobs() -> None:
    rules = (ROOT / "alert_rules/sentinel.yaml").read_text()
    asked = set(re.findall(r'job=~"([^"]+)"', rules))
    assert asked
    for job in yaml.safe_load(BLOCK)["scrape_configs"]:
        assert all(re.fullmatch(pattern, job["job_name"]) for pattern in asked)


def test_every_board_is_in_the_table_of_boards_and_no_other() -> None:
    text = (ROOT / "docs/components/dashboards.md").read_text()
    told = re.findall(r"(?m)^\| `(sentinel-\w+)` \|", text)
    assert sorted(told) == sorted(path.stem for path in (ROOT / "dashboards").glob("*.json"))
    for path in re.findall(r"`(dashboards/provisioning/[\w./-]+)`", text):
        assert (ROOT / path).is_file(), path


def test_the_series_the_boards_need_can_be_named_as_the_document_says() -> None:
    """NATS and PostgreSQL alone are more series than are shown by default."""
    text = (ROOT / "docs/components/dashboards.md").read_text()
    [block] = re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```$", text)
    routes = yaml.safe_load(block)["web"]["series_routes"]
    WebConfig(series_routes=tuple(routes))
    latest = make_latest(
        [
            SeriesKey("nats", "queue", "LEDGER/poster", "consumer_backlog_count"),
            SeriesKey("postgres", "database", "locks", "sessions_blocked_count"),
            SeriesKey("ledger-edge", "edge", "POST /v1/transfers", "traffic"),
            SeriesKey("shop", "edge", "GET /", "traffic"),
        ],
        [1.0] * 4,
        [0.5] * 4,
    )
    assert SeriesScope(routes, strangest_count=0).choose(latest).tolist() == [0, 1, 2]
