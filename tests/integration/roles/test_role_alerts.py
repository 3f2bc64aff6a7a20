"""Goal: Prometheus' own rules say of a collector's death what Sentinel says: a ticket and no page; and of a scorer's, a page.

Method: a scorer and two collectors as processes, scraped each second by Debian's Prometheus with the shipped rules, of which only the waits
and windows are shorter. One collector is killed, then the scorer.
"""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.alertmanager_server import collector
from tests.support.nats_servers import free_ports
from tests.support.role_processes import Traffic, collector_config, scorer_config
from tests.support.servers import PrometheusServer, prometheus_server, wait_until
from tests.support.sidecar_process import SidecarProcess, sidecar_process

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

_RULES = Path(__file__).parents[3] / "alert_rules/sentinel.yaml"
_PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: {targets}}}]
"""


def shortened(text: str) -> str:
    """Minutes as seconds: a wait of 5 m is one of 5 s; a window, which needs scrapes, one of 10 s at least."""
    text = re.sub(r"(?m)^( +for:) (\d+)m$", r"\1 \2s", text)
    return re.sub(r"\[(\d+)m\]", lambda found: f"[{max(int(found[1]), 10)}s]", text)


def firing(server: PrometheusServer) -> set[tuple[str, str, str]]:
    """Name, severity and instance of every alert that fires."""
    return {
        (one["metric"]["alertname"], one["metric"]["severity"], one["metric"].get("instance", ""))
        for one in server.query('ALERTS{alertstate="firing"}')
    }


def place(side: SidecarProcess) -> str:
    return urlsplit(side.web_url).netloc


def test_a_collectors_death_is_a_ticket_and_a_scorers_a_page(tmp_path: Path) -> None:
    rules = tmp_path / "sentinel.yaml"
    rules.write_text(shortened(_RULES.read_text()))
    (port,) = free_ports(1)
    with ExitStack() as stack:
        hook = stack.enter_context(collector())
        scorer = stack.enter_context(
            sidecar_process(scorer_config(tmp_path / "scorer", hook=hook.url, port=port))
        )
        first, second = (
            stack.enter_context(
                sidecar_process(
                    collector_config(tmp_path / name, name, url=f"http://127.0.0.1:{port}")
                )
            )
            for name in ("a", "b")
        )
        traffic = Traffic()
        traffic.deal_to({"a": first, "b": second})
        stack.enter_context(traffic.flowing())
        server = stack.enter_context(
            prometheus_server(
                _PROMETHEUS.format(
                    rules=rules, targets=[place(one) for one in (scorer, first, second)]
                ),
                tmp_path / "prometheus",
            )
        )
        collecting = "count(instance:sentinel_collector:info) == 2"
        wait_until(lambda: bool(server.query(collecting)), what="both to be known as collectors")
        wait_until(lambda: bool(server.query("sentinel_collectors == 2")), what="both to be heard")

        first.end(signal.SIGKILL)
        tickets = {
            ("SentinelCollectorDown", "ticket", place(first)),
            ("SentinelCollectorsSilent", "ticket", place(scorer)),
        }
        wait_until(
            lambda: firing(server) >= tickets, what="both tickets", timeout_s=90, every_s=0.5
        )
        # A page about it would have come before the ticket: it waits for less long.
        assert not [one for one in firing(server) if one[1] == "page" and one[2] == place(first)]
        [told] = server.query('ALERTS{alertname="SentinelCollectorsSilent", alertstate="firing"}')
        assert told["metric"]["service"] == "sentinel"
        alerts = server.get("/api/v1/alerts")["alerts"]
        [silent] = [
            one for one in alerts if one["labels"]["alertname"] == "SentinelCollectorsSilent"
        ]
        assert silent["annotations"]["description"].startswith("Blind 1/2 for 10 minutes.")

        scorer.end(signal.SIGKILL)
        both = {
            ("SentinelDown", "page", place(scorer)),
            ("SentinelScorerUnreachable", "ticket", place(second)),
        }
        wait_until(
            lambda: firing(server) >= both,
            what="the page and what waits",
            timeout_s=90,
            every_s=0.5,
        )
        assert ("SentinelDown", "page", place(second)) not in firing(server)
