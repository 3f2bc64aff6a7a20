"""Goal: what the cluster gets of rules and boards is what is in `alert_rules/` and `dashboards/`, in both ways, and fits the rest.

Method: the written files against their generator; the rendered objects against the sources themselves.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.reference.ledger.wire.nats import CONSUMER, STREAMS
from tests.support.cluster_manifests import (
    CHART,
    ISSUER,
    KUSTOMIZE,
    ROOT,
    kustomized,
    templated,
    tool,
)
from tests.support.skips import require_binary


def test_nothing_written_is_stale() -> None:
    command = [sys.executable, str(ROOT / "deploy/generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"run `make deploy`: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("way", ["kustomize", "chart"])
def test_every_rule_and_board_arrives_as_it_is(way: str) -> None:
    documents = (
        kustomized("monitored")
        if way == "kustomize"
        else templated({"monitoring": {"enabled": True}})
    )
    rules = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "PrometheusRule"}
    sources = {
        f"sentinel-{path.stem}": yaml.safe_load(path.read_text())
        for path in (ROOT / "alert_rules").glob("*.yaml")
    }
    assert rules == sources
    boards: dict[str, Any] = {}
    for document in documents:
        if document["metadata"].get("labels", {}).get("grafana_dashboard") == "1":
            boards |= {name: json.loads(text) for name, text in document["data"].items()}
    assert boards == {
        path.name: json.loads(path.read_text()) for path in (ROOT / "dashboards").glob("*.json")
    }


def test_the_chart_packs_without_the_tree(tmp_path: Path) -> None:
    """Its links lead outside of it: what is packed holds what they lead to, and renders the same."""
    helm = tool("helm")
    subprocess.run([helm, "package", str(CHART), "--destination", str(tmp_path)], capture_output=True, check=True, timeout=60)  # fmt: skip
    [packed] = tmp_path.glob("*.tgz")
    command = [helm, "template", "sentinel", str(packed), "--namespace", "sentinel"]
    command += [
        "--set",
        "monitoring.enabled=true,ledger.enabled=true,ledger.edge.issuer=https://issuer.example,scorer.generateSecrets=false",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    values = {"monitoring": {"enabled": True}, "ledger": {"enabled": True, "edge": ISSUER}, "scorer": {"generateSecrets": False}}  # fmt: skip
    assert [d for d in yaml.safe_load_all(done.stdout) if d] == templated(values)


def test_the_backlog_that_posters_are_scaled_on_is_one_that_is_measured(tmp_path: Path) -> None:
    [adapter] = yaml.safe_load((KUSTOMIZE / "prometheus-adapter.yaml").read_text())["rules"]["external"]  # fmt: skip
    by_adapter = [
        metric["external"]["metric"]["name"]
        for document in kustomized("ledger")
        if document["kind"] == "HorizontalPodAutoscaler"
        for metric in document["spec"]["metrics"]
        if metric["type"] == "External"
    ]
    assert by_adapter == [adapter["name"]["as"]]
    for asked in (adapter["seriesQuery"], adapter["metricsQuery"]):
        found = re.search(r'signal="consumer_backlog_count",route=~"([^"]+)"', asked)
        assert found is not None, asked
        assert all(re.fullmatch(found[1], f"{stream}/{CONSUMER}") for stream in STREAMS)
    [scaled] = [d for d in kustomized("ledger-keda") if d["kind"] == "ScaledObject"]
    triggers = [one["metadata"] for one in scaled["spec"]["triggers"]]
    assert [one["stream"] for one in triggers] == list(STREAMS)
    assert {one["consumer"] for one in triggers} == {CONSUMER}
    # Both ways add all streams up, for the same number a replica, and go as fast.
    named = [one["name"] for one in scaled["spec"]["triggers"]]
    modifiers = scaled["spec"]["advanced"]["scalingModifiers"]
    assert adapter["metricsQuery"].startswith("sum(")
    assert modifiers["formula"].split(" + ") == named
    [other] = [d for d in kustomized("ledger") if d["kind"] == "HorizontalPodAutoscaler" and d["metadata"]["name"].endswith("poster")]  # fmt: skip
    [metric] = other["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": modifiers["metricType"], "averageValue": modifiers["target"]}  # fmt: skip
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == other["spec"]["behavior"]
    assert not [d for d in kustomized("ledger-keda") if d["kind"] == "HorizontalPodAutoscaler" and d["metadata"]["name"].endswith("poster")]  # fmt: skip
    rule = {"groups": [{"name": "a", "rules": [{"record": "a", "expr": adapter["metricsQuery"]}]}]}
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump(rule))
    subprocess.run([require_binary("promtool"), "check", "rules", str(tmp_path / "rule.yaml")], capture_output=True, check=True, timeout=60)  # fmt: skip
