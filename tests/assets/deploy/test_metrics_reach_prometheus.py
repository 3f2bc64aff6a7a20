"""Goal: every metric that a shipped rule or board asks for comes to Prometheus, from Kustomize, the chart and Compose.

Method: names are read out of rules and boards, and each has an owner; the owner's page is followed through monitor, Service, port,
listener and NetworkPolicy of the rendered manifests, what is pushed through sidecar, forward and policy. Then the manifests are
broken at each of these places, and the same look must tell.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sentinel.app.rules.known import FOREIGN, OF_PROMETHEUS, OWN
from sentinel.runtime.catalogue import COLLECTOR, INJECTOR, SIDECAR
from sentinel.runtime.metrics import MetricSpec, MetricType
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from sentinel.web.metrics import LATENCY_METRIC, LEFT_TO_RULES_METRIC
from sentinel.web.told import TOLD_METRICS
from tests.support.cluster_manifests import ISSUER, ROOT, Document, kustomized, templated
from tests.support.metric_paths import (
    Manifests,
    Target,
    asked_for,
    hands_metrics_on,
    listens_for_others,
    recorded,
)

MONITORING = "monitoring"
OF_ALERTMANAGER = {"alertmanager_silences"}
"""Read by who installs Alertmanager: the operator's stack has a monitor for its own."""
ASKED = {selector.metric for _, selector in asked_for()} - recorded()
WAYS = ("kustomize", "chart", "chart, renamed")
RENAMED = {
    "scorer": {
        "alertmanagers": ["http://alertmanager.monitoring.svc:9193", "http://[fd00::1]:9194"],
        "config": {
            "senders": {"webhooks": [{"name": "chat", "url": "https://chat.example:8443/a"}]}
        },
    },
    "ledger": {
        "enabled": True,
        "namespace": "payments",
        "edge": ISSUER,
        "poster": {"autoscaling": {"natsMonitoring": "nats.queues.svc:9222"}},
    },
    "monitoring": {
        "enabled": True,
        "otlpReceivers": ["http://prometheus-operated.monitoring.svc:9191/api/v1/otlp"],
    },
}
OPERATORS_LABELS = {"namespace", "pod", "service", "container", "endpoint"}
"""What the operator puts on every series of a target besides `job` and `instance`."""


def names(specs: tuple[MetricSpec, ...]) -> set[str]:
    found = set()
    for spec in specs:
        parts = ("_bucket", "_sum", "_count") if spec.type is MetricType.HISTOGRAM else ("",)
        found |= {spec.name + part for part in parts}
    return found


ON_THE_SERIES_PAGE = {*SERIES_METRICS, LATENCY_METRIC, LEFT_TO_RULES_METRIC, *TOLD_METRICS}
BESIDE = ("webhooks", "audit", "exports", "analytics", "reconcile", "disburse")
"""Processes of the ledger behind edge and poster; each has a sidecar that hands its metrics on."""
PUSHED = {name for prefix, known in FOREIGN.items() if prefix != "kong_" for name in known}
OWNERS: dict[str, set[str]] = {
    "verdicts": ON_THE_SERIES_PAGE,
    "scorer": names(SIDECAR),
    "sidecars": names(COLLECTOR),
    "injector": names(INJECTOR),
    "kong": set(FOREIGN["kong_"]),
    "ledger": PUSHED,
}
"""Whose metrics there are; of a name that several have, each is followed."""


def manifests_of(way: str, folder: Path) -> Manifests:
    if way == "kustomize":
        return Manifests(kustomized("ledger-monitored"), folder)
    if way == "chart":
        everything = {
            "ledger": {"enabled": True, "edge": ISSUER},
            "monitoring": {"enabled": True},
        }
        return Manifests(templated(everything), folder)
    made = templated(RENAMED, "--namespace", "watch", release="second")
    return Manifests(made, folder, namespace="watch")


def unreached(manifests: Manifests) -> list[str]:
    """Owners whose metrics, or some of whose pods, do not come to Prometheus, and at what that fails."""
    targets = list(manifests.targets())
    missing = []
    for owner, component, path, container in (
        ("verdicts", "scorer", "/metrics/series", "sentinel"),
        ("scorer", "scorer", "/metrics", "sentinel"),
        ("injector", "injector", "/metrics", "sentinel"),
        ("sidecars", "edge", "/metrics", "sentinel"),
        *(("sidecars", each, "/metrics", "sentinel") for each in ("poster", *BESIDE)),
        ("kong", "edge", "/metrics", "kong"),
    ):
        read = [
            one
            for one in targets
            if one.pod.labels["app.kubernetes.io/component"] == component
            and (one.path, one.container) == (path, container)
        ]
        if not read:
            missing.append(f"{owner}: no monitor reads {path} of {component}")
        missing += [f"{owner}: {fault}" for one in read for fault in _faults(manifests, one)]
    for pod in manifests.pods:
        if "sentinel.dev/inject" in pod.annotations:
            urls = hands_metrics_on(manifests, pod)
            hosts = {f"{urlsplit(url).hostname}{urlsplit(url).path}" for url in urls}
            if not any(re.fullmatch(rf"prometheus\S*\.{MONITORING}\.svc/api/v1/otlp", one) for one in hosts):  # fmt: skip
                missing.append(f"ledger: {pod.name} hands its metrics to no Prometheus")
    return missing + _of_the_witness(manifests)


def _of_the_witness(manifests: Manifests) -> list[str]:
    """It has no sidecar, and sends metrics alone, to Prometheus alone."""
    [witness] = [p for p in manifests.pods if p.labels["app.kubernetes.io/component"] == "witness"]
    [container] = [c for c in witness.spec["containers"] if c["name"] == "witness"]
    told = {one["name"]: one["value"] for one in container.get("env", [])}
    url = urlsplit(told.pop("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    faults = []
    if not re.fullmatch(rf"prometheus\S*\.{MONITORING}\.svc", url.hostname or "") or url.path != "/api/v1/otlp":  # fmt: skip
        faults.append("witness: sends its metrics to no Prometheus")
    if told != {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}:
        faults.append("witness: sends Prometheus what that does not take")
    if manifests.reaches(witness) != {("kube-system", 53), (MONITORING, url.port or 0)}:
        faults.append("witness: reaches Prometheus not at all, or more than that")
    return faults


def _faults(manifests: Manifests, target: Target) -> list[str]:
    at = f"{target.pod.name} {target.port}{target.path}"
    faults = []
    if not listens_for_others(manifests, target):
        faults.append(f"{at} is not listened on")
    if not manifests.lets_in(target.pod, target.port, namespace=MONITORING):
        faults.append(f"{at} is closed by a policy")
    if manifests.lets_in(target.pod, target.port, namespace="elsewhere"):
        faults.append(f"{at} is open to all")
    if not target.honours_labels:
        faults.append(f"{at} has its labels renamed")
    return faults


def test_every_metric_asked_for_has_an_owner() -> None:
    assert len(ASKED) > 100
    owned = set().union(*OWNERS.values())
    assert ASKED - owned - OF_PROMETHEUS - OF_ALERTMANAGER == set()
    # Every owner is asked for something, or it would be followed for nothing.
    assert [owner for owner, known in OWNERS.items() if not known & ASKED] == []


@pytest.mark.parametrize("way", WAYS)
def test_every_owners_metrics_come_to_prometheus(way: str, tmp_path: Path) -> None:
    assert unreached(manifests_of(way, tmp_path)) == []


def _break(documents: list[Document], kind: str, name: str) -> Document:
    [found] = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def _no_forward(documents: list[Document]) -> None:
    _break(documents, "ConfigMap", "sentinel")["data"].pop("forward.yaml")


def _no_way_out(documents: list[Document]) -> None:
    [_, rule] = _break(documents, "NetworkPolicy", "sentinel-ledger")["spec"]["egress"]
    rule["ports"] = [one for one in rule["ports"] if one["port"] != 9090]


def _no_way_in(documents: list[Document]) -> None:
    _break(documents, "NetworkPolicy", "sentinel-ledger-edge")["spec"]["ingress"].pop()


def _too_wide(documents: list[Document]) -> None:
    _break(documents, "NetworkPolicy", "sentinel-ledger")["spec"]["ingress"][0].pop("from")


def _no_monitor(documents: list[Document]) -> None:
    documents.remove(_break(documents, "PodMonitor", "sentinel-ledger-kong"))


def _another_port(documents: list[Document]) -> None:
    _break(documents, "PodMonitor", "sentinel-sidecars")["spec"]["podMetricsEndpoints"][0]["port"] = "metrics"  # fmt: skip


def _renamed_labels(documents: list[Document]) -> None:
    _break(documents, "ServiceMonitor", "sentinel-scorer")["spec"]["endpoints"][1].pop("honorLabels")  # fmt: skip


def _on_loopback(documents: list[Document]) -> None:
    edge = _break(documents, "Deployment", "sentinel-ledger-edge")
    [kong] = [c for c in edge["spec"]["template"]["spec"]["containers"] if c["name"] == "kong"]
    [listen] = [one for one in kong["env"] if one["name"] == "KONG_STATUS_LISTEN"]
    listen["value"] = "127.0.0.1:8007"


def _other_selector(documents: list[Document]) -> None:
    labels = _break(documents, "Service", "sentinel-admission")["metadata"]["labels"]
    labels["app.kubernetes.io/component"] = "webhook"


def _witness_shut(documents: list[Document]) -> None:
    _break(documents, "NetworkPolicy", "sentinel-ledger-witness")["spec"]["egress"] = []


def _witness_untold(documents: list[Document]) -> None:
    spec = _break(documents, "StatefulSet", "sentinel-ledger-witness")["spec"]["template"]["spec"]
    spec["containers"][0]["env"].pop(0)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (_no_forward, "ledger: Deployment/sentinel-ledger-poster hands its metrics to no Prometheus"),
        (_no_way_out, "ledger: Deployment/sentinel-ledger-edge hands its metrics to no Prometheus"),
        (_no_way_in, "kong: Deployment/sentinel-ledger-edge 8007/metrics is closed by a policy"),
        (_too_wide, "sidecars: Deployment/sentinel-ledger-poster 9641/metrics is open to all"),
        (_no_monitor, "kong: no monitor reads /metrics of edge"),
        (_another_port, "sidecars: no monitor reads /metrics of poster"),
        (_renamed_labels, "verdicts: StatefulSet/sentinel-scorer 9640/metrics/series has its labels renamed"),
        (_on_loopback, "kong: Deployment/sentinel-ledger-edge 8007/metrics is not listened on"),
        (_other_selector, "injector: no monitor reads /metrics of injector"),
        (_witness_shut, "witness: reaches Prometheus not at all, or more than that"),
        (_witness_untold, "witness: sends its metrics to no Prometheus"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)  # fmt: skip
def test_the_look_tells_of_each_break(
    fault: Callable[[list[Document]], None], told: str, tmp_path: Path
) -> None:
    documents = copy.deepcopy(kustomized("ledger-monitored"))
    fault(documents)
    assert told in unreached(Manifests(documents, tmp_path))


def test_labels_of_the_operator_would_hide_ours() -> None:
    """Why pages keep their labels: rules and boards ask by labels that the operator writes as well."""
    asked = {label for _, one in asked_for() for label, _, _ in one.matchers}
    assert {"service", "endpoint"} & OPERATORS_LABELS & {label for labels in OWN.values() for label in labels}  # fmt: skip
    assert "service" in asked
    # And none of ours is one that a target is known by, which a page must never set.
    assert not {"job", "instance"} & {label for labels in OWN.values() for label in labels}


@pytest.mark.parametrize("way", WAYS)
def test_each_job_is_told_by_the_rule_that_is_about_it(way: str, tmp_path: Path) -> None:
    """`up{job=~"..."} == 0` of Kong is Kong's alert and not Sentinel's, and the other way round."""
    patterns = {
        text
        for file, one in asked_for()
        for label, operator, text in one.matchers
        if one.metric == "up" and label == "job" and operator == "=~" and file.endswith(".yaml")
    }
    assert patterns == {".*sentinel.*", ".*kong.*"}
    for target in manifests_of(way, tmp_path).targets():
        name = "kong" if target.container == "kong" else "sentinel"
        told = {pattern for pattern in patterns if re.fullmatch(pattern, target.job)}
        assert told == {f".*{name}.*"}, target.job


@pytest.mark.parametrize("way", WAYS)
def test_series_that_rules_ask_for_by_place_are_always_on_the_page(
    way: str, tmp_path: Path
) -> None:
    manifests = manifests_of(way, tmp_path)
    [scorer] = [pod for pod in manifests.pods if pod.name.endswith("-scorer")]
    [name] = [v["configMap"]["name"] for v in scorer.spec["volumes"] if v["name"] == "config"]
    config = manifests.config(scorer.namespace, name)
    [nats] = config["scrapers"]["nats"]
    # The queue is asked, and may be.
    assert all(manifests.lets_out(scorer, urlsplit(url).port or 80) for url in nats["urls"])
    _shows(config["web"]["series_routes"], nats["service"])
    # Pages get out to what is behind TLS, and so they do to each Alertmanager that is named.
    assert manifests.lets_out(scorer, 443)
    senders = config["senders"]
    webhooks = [one["url"] for one in senders.get("webhooks", [])]
    for url in [*senders["alertmanager"]["urls"], *webhooks]:
        assert manifests.lets_out(scorer, urlsplit(url).port or 443)
    assert not manifests.lets_out(scorer, 22)


def _shows(routes: list[str], queue: str) -> None:
    """Places with a stage or service of their own in a rule or board, each against the patterns."""
    known = {"queue": queue, "database": "postgres"}
    places = set()
    for _, one in asked_for():
        # A variable of a board stands here as 1: what is chosen there is shown or is not.
        matchers = {label: text for label, _, text in one.matchers}
        stage = matchers.get("stage", "1")
        if one.metric in SERIES_METRICS and stage != "1":
            service = matchers.get("service", "1").replace("(edge|poster)", "poster")
            places.add(f"{known.get(stage, 'any') if service == '1' else service} {stage} a/b")
    assert len(places) > 3
    for place in places:
        assert any(fnmatch.fnmatchcase(place, route) for route in routes), place


def test_the_document_says_how_postgresql_comes_in(tmp_path: Path) -> None:
    """Its password is nobody's to guess: the settings of the document, in the chart, mounted and let out."""
    text = (ROOT / "docs/components/deploy.md").read_text()
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "postgres:" in b]
    values = {
        "ledger": {"enabled": True, "edge": ISSUER},
        "monitoring": {"enabled": True},
        **yaml.safe_load(block),
    }
    manifests = Manifests(templated(values), tmp_path)
    [scorer] = [pod for pod in manifests.pods if pod.name.endswith("-scorer")]
    config = manifests.config("sentinel", "sentinel-scorer")
    [target] = config["scrapers"]["postgres"]
    [mount] = [m for m in scorer.spec["containers"][0]["volumeMounts"] if m["name"] == "credentials"]  # fmt: skip
    assert Path(target["password_file"]).parent == Path(mount["mountPath"])
    [volume] = [v["secret"] for v in scorer.spec["volumes"] if v["name"] == "credentials"]
    assert volume["optional"] is True
    assert (
        f"generic {volume['secretName']} --from-file={Path(target['password_file']).name}" in text
    )
    assert manifests.lets_out(scorer, 5432)
    # The list of the document is in the place of the chart's.
    assert len(config["scrapers"]["nats"][0]["urls"]) == 3
    _shows(config["web"]["series_routes"], config["scrapers"]["nats"][0]["service"])
    assert "enableOTLPReceiver" in text
    assert all(name in text for name in OF_ALERTMANAGER)


def test_compose_brings_them_to_its_prometheus() -> None:
    folder = ROOT / "deploy/compose"
    jobs = {
        job["job_name"]: (job.get("metrics_path", "/metrics"), job["static_configs"][0]["targets"])
        for job in yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    }
    services: dict[str, Any] = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    config = yaml.safe_load((folder / "sentinel.yaml").read_text())
    # One process has both pages, on the loopback that they share; there is no injector and no collector.
    assert jobs["sentinel"] == ("/metrics", ["127.0.0.1:9640"])
    assert jobs["sentinel-series"] == ("/metrics/series", ["127.0.0.1:9640"])
    assert services["kong"]["environment"]["KONG_STATUS_LISTEN"] in jobs["kong"][1]
    assert jobs["alertmanager"] == ("/metrics", ["alertmanager:9093"])
    pushed_to = [e["url"] for e in config["forward"]["endpoints"] if e.get("metrics", True)]
    assert pushed_to == [f"http://{jobs['prometheus'][1][0]}/api/v1/otlp"]
    assert "--web.enable-otlp-receiver" in services["prometheus"]["command"]
    for name in ("edge", "poster", *BESIDE):
        assert services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("http://127.0.0.1:")  # fmt: skip
    sharing = {"sentinel", "prometheus", "edge", "poster", *BESIDE}
    assert all(services[name]["network_mode"] == "service:kong" for name in sharing)
    assert config["scrapers"]["postgres"][0]["service"] == "postgres"
    _shows(config["web"]["series_routes"], config["scrapers"]["nats"][0]["service"])
