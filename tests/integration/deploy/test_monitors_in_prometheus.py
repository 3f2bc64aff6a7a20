"""Goal: what the monitors have Prometheus read keeps the labels that rules and boards ask by, under the job that rules know.

Method: every page that a rendered monitor selects is a job of a real Prometheus, with the labels that the operator gives its targets; the
pages are stand-ins with one series each of those that have a label the operator writes as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster_manifests import KUSTOMIZE, kustomized
from tests.support.metric_paths import Manifests, Target
from tests.support.servers import prometheus_server, wait_until

PAGES = {
    "/metrics/series": """\
sentinel_value{service="checkout",stage="edge",route="a",signal="errors"} 1
sentinel_value{service="nats",stage="queue",route="LEDGER_C1/poster",signal="consumer_backlog_count"} 740
sentinel_value{service="nats",stage="queue",route="LEDGER_C1/poster",signal="consumer_backlog_count",horizon="1h"} 9000
""",
    "/metrics": 'sentinel_forward_queue_items{endpoint="prometheus",signal="metrics",place="memory"} 3\n',
    "/kong": 'kong_http_requests_total{service="ledger",route="a",code="200",source="service"} 5\n',
}


@contextmanager
def pages() -> Iterator[str]:
    """Host and port of a server of these pages."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            body = PAGES[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def job(name: str, target: Target, address: str, *, honours: bool) -> dict[str, Any]:
    """A page as the operator would have it read; the address is the stand-in's."""
    labels = {
        "job": target.job,
        "instance": f"{target.pod.name}:{target.port}",
        "namespace": target.pod.namespace,
        "pod": target.pod.name,
        "service": "the-service",
        "container": target.container,
        "endpoint": "the-port",
    }
    path = "/kong" if target.container == "kong" else target.path
    return {
        "job_name": name,
        "metrics_path": path,
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "honor_labels": honours,
        "static_configs": [{"targets": [address], "labels": labels}],
    }


@pytest.mark.integration
def test_labels_of_the_pages_are_those_in_prometheus(tmp_path: Path) -> None:
    targets = list(Manifests(kustomized("ledger-monitored"), tmp_path).targets())
    [verdicts] = [one for one in targets if one.path == "/metrics/series"]
    with pages() as address:
        jobs = [
            job(f"page-{at}", one, address, honours=one.honours_labels)
            for at, one in enumerate(targets)
        ]
        # And what would be without it.
        unlike = job("unlike", verdicts, address, honours=False)
        unlike["static_configs"][0]["labels"]["job"] = "unlike"
        config = yaml.safe_dump({"scrape_configs": [*jobs, unlike]})
        with prometheus_server(config, tmp_path / "prometheus") as server:
            wait_until(
                lambda: len(server.query("up == 1")) == len(jobs) + 1, what="every page to be read"
            )
            found = {
                expression: len(server.query(expression))
                for expression in (
                    'sentinel_value{service="checkout", job=~".*sentinel.*"}',
                    'sentinel_forward_queue_items{endpoint="prometheus", job=~".*sentinel.*"}',
                    'kong_http_requests_total{service="ledger", job="kong"}',
                    'up{job=~".*kong.*"}',
                    'up{job=~".*sentinel.*"}',
                    'sentinel_value{exported_service="checkout", job="unlike"}',
                )
            }
            # The adapter finds the backlog by the one, and serves the other: what waits now, not over an hour.
            [rule] = yaml.safe_load((KUSTOMIZE / "prometheus-adapter.yaml").read_text())["rules"]["external"]  # fmt: skip
            assert server.get("/api/v1/series", **{"match[]": rule["seriesQuery"]})
            [backlog] = server.query(rule["metricsQuery"])
            assert backlog["value"][1] == "740"
    own = len(targets) - 1
    assert list(found.values()) == [1, own - 1, 1, 1, own, 1], found
