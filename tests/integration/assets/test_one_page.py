"""Goal: Sentinel and Prometheus both page, and a person gets one page.

Method: a real Prometheus with the shipped rules scrapes Sentinel's own page of verdicts, a real Alertmanager hears of both, and
Sentinel delivers an incident of its own; a collector stands for the person. Only the rules' waits are shortened.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sentinel.core.incidents.identity import labels_of
from sentinel.core.model import SeriesKey
from tests.support.alertmanager_server import Collector, alertmanager_server, collector
from tests.support.latest_verdicts import make_latest
from tests.support.outbox import firing
from tests.support.real_delivery import sidecar, until
from tests.support.rules.cases import RULES
from tests.support.servers import PrometheusServer, prometheus_server
from tests.support.web_pages import Pages, serve_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KEY = SeriesKey("ledger-edge", "edge", "POST /v1/transfers", "latency")
LABELS = labels_of(alert_name="SentinelAnomaly", service="ledger-edge", severity="page")
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [verdicts.yaml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{sentinel}"]}}]
"""


async def test_rules_alone_page_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook, _, _ = await _scene(stack, tmp_path, left_to_rules=True)
        await until(lambda: bool(hook.alerts("firing")), what="the page")
        [alert] = await _settled(hook)
    assert alert["labels"] == LABELS
    assert "latency of POST /v1/transfers (edge), score 2.5" in alert["annotations"]["description"]


async def test_where_sentinel_delivers_its_rules_are_silent(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook, alertmanager, prometheus = await _scene(stack, tmp_path, left_to_rules=False)
        at = await stack.enter_async_context(sidecar(alertmanager))
        at.page(firing(service="ledger-edge"))
        await until(lambda: bool(hook.alerts("firing")), what="the page")
        [alert] = await _settled(hook)
        assert prometheus.query("sentinel_score")
        assert prometheus.query("ALERTS") == []
    assert alert["labels"] == LABELS


async def test_also_where_both_believe_that_it_is_theirs_one_page_comes(tmp_path: Path) -> None:
    """A Sentinel that was just given a destination, a Prometheus that has not scraped it since."""
    async with AsyncExitStack() as stack:
        hook, alertmanager, prometheus = await _scene(stack, tmp_path, left_to_rules=True)
        await until(
            lambda: bool(prometheus.query('ALERTS{alertstate="firing"}')), what="the rule to fire"
        )
        at = await stack.enter_async_context(sidecar(alertmanager))
        at.page(firing(service="ledger-edge"))
        await until(lambda: bool(hook.alerts("firing")), what="the page")
        [alert] = await _settled(hook)
    assert alert["labels"] == LABELS


async def _scene(
    stack: AsyncExitStack, folder: Path, *, left_to_rules: bool
) -> tuple[Collector, str, PrometheusServer]:
    """A strange series on Sentinel's page, and who looks at it; the address is that of the Alertmanager."""
    pages = Pages()
    pages.latest = make_latest([KEY], values=[0.9], scores=[2.5])
    pages.pages_left_to_rules = left_to_rules
    web = await stack.enter_async_context(serve_pages(pages))
    hook = stack.enter_context(collector())
    alertmanager = stack.enter_context(
        alertmanager_server(folder / "alertmanager", webhook_url=hook.url)
    )
    place = folder / "prometheus"
    place.mkdir()
    document = yaml.safe_load((RULES / "verdicts.yaml").read_text())
    for rule in document["groups"][0]["rules"]:
        del rule["for"]
        rule.pop("keep_firing_for", None)
    (place / "verdicts.yaml").write_text(yaml.safe_dump(document))
    text = CONFIG.format(
        alertmanager=urlsplit(alertmanager.url).netloc, sentinel=f"127.0.0.1:{web.port}"
    )
    # Started in a thread, because it waits for the page that this loop serves.
    running = prometheus_server(text, place)
    prometheus = await asyncio.to_thread(running.__enter__)
    stack.push(running.__exit__)
    await until(lambda: bool(prometheus.query("sentinel_score")), what="a scrape")
    return hook, alertmanager.url, prometheus


async def _settled(hook: Collector) -> list[dict[str, Any]]:
    """All that was told, once a second page would have come: rules are evaluated and groups told each second."""
    await asyncio.sleep(4)
    return hook.alerts()
