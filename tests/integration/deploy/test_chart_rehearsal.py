"""Goal: a sidecar as it is injected finds the chart's scorer, both prove who they are, and OTLP metrics go on to Prometheus.

Method: the chart is rendered by Helm with the secrets it makes; a scorer and a sidecar are started with these configurations,
certificate and tokens, in a network of their own where the cluster's names lead to loopback, a real NATS and a stand-in.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster_manifests import ROOT, templated
from tests.support.skips import CANNOT_MOUNT, require_binary

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
    for program in ("unshare", "ip", "nats-server"):
        require_binary(program)
    documents = templated({"ledger": {"enabled": True}, "monitoring": {"enabled": True}})
    held = {(d["kind"], d["metadata"]["name"]): d.get("data", {}) for d in documents}
    for name, folder in (
        ("sentinel-scorer-tls", "tls"),
        ("sentinel-scorer-tokens", "tokens"),
        ("sentinel", "secret"),
    ):
        (tmp_path / folder).mkdir()
        for key, encoded in held["Secret", name].items():
            (tmp_path / folder / key).write_bytes(base64.b64decode(encoded))
    for name, folder in (("sentinel-scorer", "scorer"), ("sentinel", "sidecar")):
        text = held["ConfigMap", name]["sentinel.yaml"]
        for inside, outside in _MOUNTS.items():
            text = text.replace(inside, str(tmp_path / outside))
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sentinel.yaml").write_text(text)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", "tests.support.chart_rehearsal", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=170, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == {
        "the scorer knows its collector": True,
        "verdicts with the token": 200,
        "verdicts without": 401,
        "the scorer asks the queue": True,
        "the ledger's metrics at prometheus": {"/api/v1/otlp/v1/metrics": True},
        "both run": True,
    }, done.stderr[-4000:]
