"""Goal: who has a Prometheus with a past, and nothing else, is paged within minutes, by what that past says is usual.

Method: as docs/prometheus.md has it, command for command: Debian's Prometheus with days of data scrapes a shop; the commands run as
processes; then a part of the shop's calls fail, fewer than any limit that holds without a past, and Debian's Alertmanager must
have the page. Windows are shorter than a person's, so that the test does not wait. Each step's time is printed (`pytest -s`).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentinel.app.config import load_config
from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.prometheus_past import Minute, put_past, shop_lines
from tests.support.servers import prometheus_server, running_process, wait_until
from tests.support.shop import shop
from tests.support.sidecar_process import command, environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAYS = 3
HOUR_S = 3600


def story(route: str, second: int) -> Minute:
    """More calls by day than by night, never quite the same; a few of a thousand fail."""
    base = 24.0 if route == "/cart" else 12.0
    daily = 1 + 0.3 * math.sin(2 * math.pi * second / 86_400)
    noise = 1 + 0.05 * math.sin(second / 7.0) * math.cos(second / 131.0)
    return Minute(calls_per_s=base * daily * noise, error_ratio=0.004)


def with_an_outage(until_s: int) -> object:
    """The same with half an hour, six hours ago, in which two in five calls to pay failed."""

    def told(route: str, second: int) -> Minute:
        minute = story(route, second)
        hit = route == "/pay" and 0 <= second - (until_s - 6 * HOUR_S) < HOUR_S // 2
        return Minute(calls_per_s=minute.calls_per_s, error_ratio=0.4 if hit else 0.004)

    return told


class Steps:
    """The steps and how long each took."""

    def __init__(self) -> None:
        self.took: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        began = time.monotonic()
        yield
        self.took.append((name, time.monotonic() - began))

    def run(self, folder: Path, *arguments: str) -> str:
        """A command as a person types it; its output, and what it said besides."""
        with self.step(f"sentinel {' '.join(arguments[:2])}"):
            done = subprocess.run(  # our own command
                command(*arguments),
                capture_output=True,
                text=True,
                cwd=folder,
                env=environment(),
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def table(self) -> str:
        """For people."""
        rows = [f"{name:<34}{seconds:7.1f} s" for name, seconds in self.took]
        total = sum(seconds for _, seconds in self.took)
        return "\n".join(["", *rows, f"{'all':<34}{total:7.1f} s"])


def test_from_a_prometheus_with_a_past_to_a_page(tmp_path: Path) -> None:
    now_s = int(time.time()) // 60 * 60
    past = shop_lines(
        with_an_outage(now_s),  # type: ignore[arg-type]
        start_s=now_s - DAYS * 86_400,
        end_s=now_s - 60,
    )
    put_past(past, tmp_path / "prometheus" / "data")
    steps = Steps()
    with shop(story) as running, collector() as hook:
        target = urllib.parse.urlsplit(running.url).netloc
        scrapes = (
            "global: {scrape_interval: 5s}\nscrape_configs:\n"
            f"- job_name: shop\n  static_configs: [{{targets: ['{target}']}}]\n"
        )
        with (
            prometheus_server(scrapes, tmp_path / "prometheus") as prometheus,
            alertmanager_server(tmp_path / "alertmanager", webhook_url=hook.url) as alertmanager,
        ):
            wait_until(
                lambda: bool(prometheus.query("count_over_time(up{job='shop'}[1m]) > 2")),
                what="three scrapes of the shop",
            )
            steps.run(
                tmp_path, "discover", "--prometheus", prometheus.url, "--write", "sentinel.yaml"
            )
            config = tmp_path / "sentinel.yaml"
            config.write_text(_quick(config.read_text(), tmp_path))
            assert "is right" in steps.run(tmp_path, "check", "config", "sentinel.yaml")
            ready = steps.run(tmp_path, "check", "ready", "--config", "sentinel.yaml")
            assert "2 series, such as shop edge POST /cart traffic" in ready
            seen = steps.run(
                tmp_path,
                *("preview", "--prometheus", "--config", "sentinel.yaml"),
                *("--last", f"{DAYS}d", "--step", "1m"),
            )
            assert "page  shop edge POST /pay errors" in seen, seen
            config.write_text(_live(config.read_text(), alertmanager.url))
            stored = steps.run(
                tmp_path,
                *("baseline", "backfill", "--config", "sentinel.yaml"),
                *("--start", _instant(now_s - DAYS * 86_400), "--step", "1m"),
            )
            assert "Stored" in stored
            ready_file = tmp_path / "ready.json"
            argv = command("run", "--config", str(config), "--ready-file", str(ready_file))
            log = tmp_path / "sentinel.log"
            with running_process(argv, log=log, env=environment()):
                with steps.step("sentinel run, until it is ready"):
                    wait_until(ready_file.exists, what="the sidecar")
                # What it knows of the shop now is usual, and pages nobody.
                url = json.loads(ready_file.read_text())["web_url"]
                with steps.step("until each series is judged"):
                    wait_until(lambda: judged(url), what="all scores", timeout_s=150, every_s=1.0)
                assert hook.alerts() == [], log.read_text()
                running.error_ratio = 0.3
                with steps.step("from the fault to the page"):
                    wait_until(lambda: bool(hook.alerts()), what="the page", timeout_s=120)
    page = hook.alerts()[0]
    assert page["labels"]["alertname"] == "SentinelAnomaly", page
    assert page["labels"]["service"] == "shop"
    assert page["labels"]["severity"] == "page"
    sys.stdout.write(steps.table() + "\n")


def judged(url: str) -> bool:
    """Whether each series has a score in the last window."""
    with urllib.request.urlopen(f"{url}/api/v1/series", timeout=5) as reply:  # loopback
        rows = json.load(reply)["series"]
    return len(rows) == 6 and all(row["score"] is not None for row in rows)


def _quick(text: str, folder: Path) -> str:
    """The same with windows of five seconds, asked a second after their end, and free ports."""
    text = re.sub(r"\[65s\]", "[20s]", text)
    assert "[20s]" in text
    text = text.replace("./sentinel-store", str(folder / "sentinel-store"))
    text = text.replace(
        "      queries:\n", "      interval: 5s\n      lag: 1s\n      queries:\n", 1
    )
    return (
        text
        + "receivers: {otlp_http: {enabled: false}, otlp_grpc: {enabled: false}}\nweb: {listen: {port: 0}}\nseries: {lateness: 7s}\n"
    )


def _live(text: str, alertmanager_url: str) -> str:
    text = text.replace("mode: shadow", "mode: live", 1)
    return f'{text}senders: {{alertmanager: {{urls: ["{alertmanager_url}"]}}}}\n'


def _instant(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds))


def test_the_document_has_these_steps() -> None:
    """What is typed in the document is what the test types, but for windows and ports."""
    text = (Path(__file__).parents[2] / "docs" / "prometheus.md").read_text()
    at = [
        text.index(step)
        for step in (
            "sentinel discover --prometheus",
            "sentinel check config",
            "sentinel preview --prometheus",
            "sentinel baseline backfill",
            "sentinel run",
        )
    ]
    assert at == sorted(at)
    assert load_config(None, environment={}).config.mode.value == "live"
