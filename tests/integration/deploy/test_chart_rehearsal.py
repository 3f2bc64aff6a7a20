"""Goal: a sidecar as it is injected finds the chart's scorer, which has a past; both prove who they are; OTLP metrics go on.

Method: the chart is rendered by Helm with the secrets it makes; a scorer and a sidecar are started with these configurations,
certificate and tokens, in a network of their own where the cluster's names lead to loopback, a real NATS and a stand-in.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentinel.core.model import SeriesKey
from sentinel.pipeline.backfill import STEP_NS
from sentinel.storage.sqlite import StoreReader
from tests.support.cluster_manifests import ISSUER, ROOT, templated
from tests.support.prometheus_past import ROUTES, put_past, shop_lines, usual
from tests.support.skips import CANNOT_MOUNT, require_binary

DAYS = 2
PAST = {
    "name": "past",
    "url": "http://prometheus-past.monitoring.svc:9091",
    "queries": [
        {
            "name": "calls",
            "signal": "traffic",
            "query": "sum by (job, handler) (rate(http_requests_total[5m]))",
            "service_labels": ["job"],
            "stage": "edge",
            "route_labels": ["handler"],
        }
    ],
}
_MOUNTS = {
    "/etc/sentinel-tls": "tls",
    "/etc/sentinel-tokens": "tokens",
    "/etc/sentinel-secret": "secret",
}


@pytest.mark.full
@pytest.mark.integration
def test_a_sidecar_finds_its_scorer(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(CANNOT_MOUNT)
    for program in ("unshare", "ip", "nats-server", "prometheus"):
        require_binary(program)
    end_s = (int(time.time()) - 3 * 3600) // 7200 * 7200
    put_past(shop_lines(usual, start_s=end_s - DAYS * 86_400, end_s=end_s), tmp_path / "prometheus/data")  # fmt: skip
    (tmp_path / "prometheus/prometheus.yml").write_text("{}")
    documents = templated(
        {
            "ledger": {"enabled": True, "edge": ISSUER},
            "monitoring": {"enabled": True},
            "scorer": {"backfill": {"enabled": True, "weeks": 1, "servers": [PAST]}},
        }
    )
    held = {(d["kind"], d["metadata"]["name"]): d.get("data", {}) for d in documents}
    for name, folder in (
        ("sentinel-scorer-tls", "tls"),
        ("sentinel-scorer-tokens", "tokens"),
        ("sentinel", "secret"),
    ):
        (tmp_path / folder).mkdir()
        for key, encoded in held["Secret", name].items():
            (tmp_path / folder / key).write_bytes(base64.b64decode(encoded))
    for name, folder in (
        ("sentinel-scorer", "scorer"),
        ("sentinel", "sidecar"),
        ("sentinel-scorer-backfill", "past"),
    ):
        text = held["ConfigMap", name]["sentinel.yaml"]
        for inside, outside in _MOUNTS.items():
            text = text.replace(inside, str(tmp_path / outside))
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sentinel.yaml").write_text(text)
    [pod] = [
        d["spec"]["template"]["spec"]
        for d in documents
        if d["kind"] == "StatefulSet" and d["metadata"]["name"] == "sentinel-scorer"
    ]
    [before] = pod["initContainers"]
    (tmp_path / "backfill.json").write_text(json.dumps(before["args"]))
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", "tests.support.chart_rehearsal", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=170, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == {
        "containers before the scorer end with": [0, 0, 0],
        "the past is read": True,
        "and not again": True,
        "incidents by its configuration": [0, []],
        "it is found by its configuration": True,
        "the scorer knows its collector": True,
        "verdicts with the token": 200,
        "verdicts without": 401,
        "the scorer asks the queue": True,
        "the ledger's metrics at prometheus": {"/api/v1/otlp/v1/metrics": True},
        "both run": True,
    }, done.stderr[-4000:]
    with StoreReader(tmp_path / "scorer-store") as reader:
        keys = {row.key for row in reader.series()}
        span = {step: (start_ns, end_ns) for step, start_ns, end_ns in reader.history_span()}
    assert {SeriesKey("shop", "edge", route, "traffic") for route in ROUTES} <= keys
    assert span[STEP_NS][0] <= (end_s - DAYS * 86_400 + 3600) * 10**9
