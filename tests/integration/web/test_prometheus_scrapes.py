"""Goal: Debian's Prometheus takes both pages, and promtool has nothing against them.

Method: a real Prometheus scrapes the running web component; promtool lints the pages' text.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
from pathlib import Path

import pytest

from sentinel.core.model import SeriesKey
from tests.support.fetch import fetch
from tests.support.latest_verdicts import make_latest, many_keys
from tests.support.servers import PrometheusServer, prometheus_server, require_binary, wait_until
from tests.support.surroundings import make_surroundings
from tests.support.web_pages import Pages, serve_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

HOSTILE = 'a"b\\c\nd}<script>é'
KEYS = [SeriesKey(HOSTILE, "edge", HOSTILE, "errors"), *many_keys(500)]

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - {{job_name: own, metrics_path: /metrics, static_configs: [targets: ["{target}"]]}}
  - {{job_name: series, metrics_path: /metrics/series, static_configs: [targets: ["{target}"]]}}
"""


def filled_pages() -> Pages:
    pages = Pages()
    values = [0.25, math.nan, *(float(number) for number in range(499))]
    pages.latest = make_latest(KEYS, values, [2.5, math.nan, *([0.5] * 499)])
    return pages


async def test_prometheus_scrapes_both_pages(tmp_path: Path) -> None:
    async with serve_pages(filled_pages()) as server:
        found = await asyncio.to_thread(_scrape, f"127.0.0.1:{server.port}", tmp_path)
    assert found["up"] == {"own": "1", "series": "1"}
    labels = found["labels"]
    assert isinstance(labels, dict)
    assert {name: labels[name] for name in ("service", "route", "stage", "signal")} == {
        "service": HOSTILE,
        "route": HOSTILE,
        "stage": "edge",
        "signal": "errors",
    }
    # The default scope: the strangest 200; one of them has no value... but each has a line of the others.
    assert found["scored"] == 200


def _scrape(target: str, directory: Path) -> dict[str, object]:
    with prometheus_server(CONFIG.format(target=target), directory) as prometheus:
        wait_until(lambda: len(_up(prometheus)) == 2, what="two scrapes")
        wait_until(lambda: bool(prometheus.query("sentinel_score > 2")), what="a verdict")
        return {
            "up": _up(prometheus),
            "labels": prometheus.query("sentinel_score > 2")[0]["metric"],
            "scored": len(prometheus.query("sentinel_score")),
        }


def _up(prometheus: PrometheusServer) -> dict[str, str]:
    return {row["metric"]["job"]: row["value"][1] for row in prometheus.query("up")}


@pytest.mark.parametrize("path", ["/metrics", "/metrics/series"])
async def test_promtool_has_nothing_against_a_page(path: str) -> None:
    promtool = require_binary("promtool")
    surroundings = make_surroundings()
    surroundings.metrics.set("sentinel_build_info", 1.0, version="1.2.3")
    async with serve_pages(filled_pages(), surroundings=surroundings) as server:
        reply = await fetch(f"{server.url}{path}")
    checked = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=reply.body,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
