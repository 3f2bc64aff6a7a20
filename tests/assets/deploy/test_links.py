"""Goal: links of alerts and boards lead to the user's own runbooks, Grafana and scorer, by Helm and by Kustomize alike.

Method: the chart with the three addresses against Kustomize's objects put through `deploy/links.py`, as a user pipes them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.support.cluster_manifests import ROOT, by_identity, helm, kustomized, templated

RUNBOOKS, GRAFANA, SENTINEL = (
    "https://wiki.example/run",
    "https://grafana.example/g",
    "https://sentinel.example",
)
VALUES = {"monitoring": {"enabled": True, "runbooksUrl": f"{RUNBOOKS}/", "grafanaUrl": GRAFANA, "sentinelUrl": SENTINEL}}  # fmt: skip


def piped(*words: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy/links.py"), *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


def test_both_ways_lead_to_the_same_places() -> None:
    given = "\n---\n".join(json.dumps(document) for document in kustomized("monitored"))
    done = piped("--runbooks-url", f"{RUNBOOKS}/", "--grafana-url", GRAFANA, "--sentinel-url", SENTINEL, text=given)  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = by_identity(json.loads(done.stdout)["items"], namespace="sentinel")
    theirs = by_identity(templated(VALUES), namespace="sentinel")
    compared = 0
    for identity, document in theirs.items():
        if document["kind"] in ("PrometheusRule", "ConfigMap"):
            assert ours[identity] == document, identity
            compared += 1
    assert compared > 10
    scorer = theirs["ConfigMap sentinel/sentinel-scorer"]["data"]["sentinel.yaml"]
    assert scorer["web"]["external_url"] == SENTINEL
    assert scorer["incidents"]["runbooks_url"] == RUNBOOKS
    assert scorer["web"]["series_routes"]


def test_no_link_is_left_that_leads_nowhere() -> None:
    linked, alerts = json.dumps(templated(VALUES)), 0
    for dead in ("https://runbooks.example", "http://127.0.0.1:9640"):
        assert dead not in linked
    for document in templated(VALUES):
        if document["kind"] != "PrometheusRule":
            continue
        for group in document["spec"]["groups"]:
            for rule in group["rules"]:
                if "alert" not in rule:
                    continue
                annotations = rule["annotations"]
                assert annotations["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"
                assert annotations.get("dashboard_url", f"{GRAFANA}/d/").startswith(
                    f"{GRAFANA}/d/"
                )
                alerts += 1
    assert alerts > 20
    # Without addresses they are as the files have them: what is not known is not made up.
    assert "https://runbooks.example" in json.dumps(templated({"monitoring": {"enabled": True}}))


@pytest.mark.parametrize(
    "words",
    [(), ("--runbooks-url", "wiki"), ("--grafana-url", 'https://a"b'), ("--sentinel-url", "https://a b")],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(words: tuple[str, ...]) -> None:
    assert piped(*words, text="").returncode == 2
    if words:
        key = {"--runbooks-url": "runbooksUrl", "--grafana-url": "grafanaUrl", "--sentinel-url": "sentinelUrl"}[words[0]]  # fmt: skip
        values: dict[str, Any] = {"monitoring": {key: words[1]}}
        assert helm(values=values).returncode != 0


def test_what_is_piped_is_what_the_documents_say() -> None:
    text = (ROOT / "docs/components/deploy.md").read_text()
    [line] = [one for one in text.splitlines() if "deploy/links.py --" in one]
    _, middle, last = line.split(" | ")
    assert last == "kubectl apply -f -"
    documents = "\n---\n".join(yaml.safe_dump(d) for d in kustomized("monitored") if d["kind"] == "PrometheusRule")  # fmt: skip
    done = piped(*middle.split()[2:], text=documents)
    assert json.loads(done.stdout)["kind"] == "List"
