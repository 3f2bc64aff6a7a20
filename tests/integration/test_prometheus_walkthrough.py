"""Goal: who has a Prometheus with a past, and nothing else, is paged within minutes, by what that past says is usual.

Method: docs/prometheus.md is followed as it stands, each of its commands typed in its order by a program that was installed from the
wheel where nothing else of ours is; Debian's Prometheus with days of data scrapes a shop; then a part of the shop's calls
fail, fewer than any limit that holds without a past, and Debian's Alertmanager must have the page. With the windows that it
gives everybody it takes ten minutes and more (`full`); else with the narrow ones that it says how to ask for. Each step's
time is printed (`pytest -s`).
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from sentinel.app.config import load_config
from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.clean_install import ROOT, bare_install
from tests.support.prometheus_past import Minute, put_past, shop_lines
from tests.support.servers import prometheus_server, wait_until
from tests.support.shop import shop
from tests.support.walked_document import Step, Walk, steps_of

DOCUMENT = (ROOT / "docs/prometheus.md").read_text()
BEGIN = "## 1. What there is"
NARROW = "sentinel discover --prometheus http://127.0.0.1:9090 --interval 5s --write sentinel.yaml"
HOUR_S = 3600
SERIES = 6


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


def walked() -> list[Step]:
    """What the document has one do: the settings for who has other metrics are not for this shop."""
    steps = steps_of(DOCUMENT[DOCUMENT.index(BEGIN) : DOCUMENT.index("## How long it takes")])
    return [step for step in steps if not step.text.startswith("scrapers:")]


def walk_to_the_page(
    prefix: Path,
    folder: Path,
    *,
    days: int,
    scrape_s: int,
    settled: str,
    more: Mapping[str, str],
    patience_s: float,
) -> Walk:
    """From the first command to the last, with what each must show; the walk, for its times."""
    now_s = int(time.time()) // 60 * 60
    past = shop_lines(
        with_an_outage(now_s),  # type: ignore[arg-type]
        start_s=now_s - days * 86_400,
        end_s=now_s - 60,
    )
    put_past(past, folder / "prometheus" / "data")
    here = folder / "here"
    here.mkdir()
    steps = iter(walked())
    with shop(story) as running, collector() as hook:
        target = urllib.parse.urlsplit(running.url).netloc
        scrapes = (
            f"global: {{scrape_interval: {scrape_s}s}}\nscrape_configs:\n"
            f"- job_name: shop\n  static_configs: [{{targets: ['{target}']}}]\n"
        )
        with (
            prometheus_server(scrapes, folder / "prometheus") as prometheus,
            alertmanager_server(folder / "alertmanager", webhook_url=hook.url) as alertmanager,
        ):
            # As long as one who has had a Prometheus for days has: its own scrapes fill the range of a rate.
            wait_until(lambda: bool(prometheus.query(settled)), what="scrapes", timeout_s=150)
            addresses = {
                "http://127.0.0.1:9090": prometheus.url,
                "http://127.0.0.1:9093": alertmanager.url,
            }
            walk = Walk(prefix=prefix, folder=here, addresses=addresses, more=more)
            assert "3 queries" in walk.type(next(steps))
            assert "is right" in walk.type(next(steps))
            assert "2 series, such as shop edge POST /cart traffic" in walk.type(next(steps))
            assert re.search(r"page +shop edge POST /pay errors", walk.type(next(steps)))
            stored = walk.type(next(steps))
            assert "Stored" in stored
            assert "there is nothing before" in stored  # days, of six weeks
            assert "judges from its first window on" in stored
            with walk.running(next(steps)) as log:
                assert "Ready" in walk.type(next(steps))
                look = next(steps)
                walk.type(look)
                assert "No incident" in walk.type(next(steps))
                walk.write(next(steps), "sentinel.yaml")
                assert "mode live" in walk.type(next(steps))
                pages = next(steps)
                with walk.timed("until the Alertmanager hears of it"):
                    wait_until(
                        lambda: "SentinelHeartbeat" in walk.quietly(pages), what="the heartbeat"
                    )
                with walk.timed("until each series is judged"):
                    wait_until(
                        lambda: are_judged(walk.quietly(look)),
                        what="all scores",
                        timeout_s=patience_s,
                        every_s=1.0,
                    )
                # What it knows of the shop now is usual, and pages nobody.
                assert hook.alerts() == [], log.read_text()
                running.error_ratio = 0.3
                with walk.timed("from the fault to the page"):
                    wait_until(
                        lambda: bool(hook.alerts()),
                        what="the page",
                        timeout_s=patience_s,
                        every_s=0.2,
                    )
                assert "SentinelAnomaly" in walk.type(pages)
    assert next(steps, None) is None
    page = hook.alerts()[0]
    assert page["labels"]["alertname"] == "SentinelAnomaly", page
    assert page["labels"]["service"] == "shop"
    assert page["labels"]["severity"] == "page"
    sys.stdout.write(walk.table())
    return walk


def _settled(width: str, ago: str) -> str:
    """True once the shop itself, and not its past, was scraped often enough for a rate."""
    return f"count(count_over_time(up{{instance!='shop-1:8080'}}[{width}] offset {ago}) >= 4)"


def are_judged(answer: str) -> bool:
    """Whether each series has a score in the last window."""
    rows = json.loads(answer)["series"]
    return len(rows) == SERIES and all(row["score"] is not None for row in rows)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed, and what it needs."""
    return bare_install(tmp_path_factory)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_with_narrow_windows(prefix: Path, tmp_path: Path) -> None:
    assert f"`{NARROW}`" in DOCUMENT
    more = {"sentinel discover": "--interval 5s"}
    walk_to_the_page(
        prefix,
        tmp_path,
        days=2,
        scrape_s=5,
        settled=_settled("20s", "7s"),
        more=more,
        patience_s=150,
    )


@pytest.mark.integration
@pytest.mark.full
@pytest.mark.timeout(1500)
def test_as_written(prefix: Path, tmp_path: Path) -> None:
    """Windows of a minute, and scrapes every fifteen seconds: what somebody has who changes nothing."""
    walk_to_the_page(
        prefix,
        tmp_path,
        days=3,
        scrape_s=15,
        settled=_settled("75s", "35s"),
        more={},
        patience_s=900,
    )


def test_what_it_says_to_write_by_hand_is_a_configuration(tmp_path: Path) -> None:
    """For who has no metrics with usual names."""
    [block] = [step.text for step in steps_of(DOCUMENT) if step.text.startswith("scrapers:")]
    file = tmp_path / "sentinel.yaml"
    file.write_text(f"mode: shadow\n{block}")
    loaded = load_config(file, environment={})
    [server] = loaded.config.scrapers.prometheus_queries
    assert [query.signal for query in server.queries] == ["traffic", "errors"]
    assert yaml.safe_load(block)["scrapers"]["prometheus_queries"][0]["url"] == server.url
