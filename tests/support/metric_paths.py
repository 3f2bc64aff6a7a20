"""The way of every metric that rules and boards ask for, through rendered manifests, to a Prometheus in the namespace `monitoring`.

A page counts as read when a monitor selects the Service or pod that has it, the port it names leads to a container that
listens there for others than itself, and every NetworkPolicy over the pod lets the monitoring namespace in. What is pushed
counts when the sidecar's own configuration hands it on and the pod's policies let it out. Sidecars are put in by the injector's
own code, with the profiles of the rendered injector.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sentinel.admission.manifests import inject_document
from sentinel.admission.profiles import SidecarKind
from sentinel.app.admission.config import load_admission
from sentinel.app.rules.promql import Selector, selectors, words
from tests.support.cluster_manifests import ROOT, Document, pods
from tests.support.dashboards import BOARDS, BUILT_IN


def asked_for() -> Iterator[tuple[str, Selector]]:
    """File and selector of everything that the shipped rules and boards ask Prometheus for."""
    for path in sorted((ROOT / "alert_rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield from ((path.name, one) for one in selectors(words(rule["expr"])))
    for board in BOARDS:
        for expression in board.expressions():
            values = re.fullmatch(r"label_values\((.*), \w+\)", expression)
            text = re.sub(r"\$\{?(\w+)\}?", _filled, values[1] if values else expression)
            yield from ((board.path.name, one) for one in selectors(words(text)))


def _filled(variable: re.Match[str]) -> str:
    return "5m" if variable[1] in BUILT_IN else "1"


def recorded() -> set[str]:
    """Names that the rules make themselves."""
    return {
        rule["record"]
        for path in (ROOT / "alert_rules").glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPod:
    """A pod as a cluster would run it: of which workload and namespace, its sidecar put in."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Document

    def containers(self) -> list[Document]:
        """All that run beside one another, native sidecars too."""
        first = [c for c in self.spec.get("initContainers", []) if c.get("restartPolicy")]
        return [*first, *self.spec["containers"]]

    def port(self, name: str) -> tuple[str, int] | None:
        """Container and number of a named port."""
        for container in self.containers():
            for port in container.get("ports", []):
                if port.get("name") == name:
                    return container["name"], port["containerPort"]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A page that a monitor has Prometheus read."""

    pod: PlacedPod
    container: str
    port: int
    path: str
    job: str
    honours_labels: bool


class Manifests:
    """Rendered objects, looked at as the cluster and the Prometheus operator would."""

    def __init__(
        self, documents: Sequence[Document], folder: Path, *, namespace: str = "sentinel"
    ) -> None:
        self._documents = documents
        self._folder = folder
        self._default_namespace = namespace
        self.pods = list(self._placed())

    def config(self, namespace: str, name: str) -> Document:
        """The merged files of a ConfigMap with a configuration of Sentinel; empty where there is none."""
        whole: Document = {}
        for document in self._of("ConfigMap"):
            if (self._namespace(document), document["metadata"]["name"]) == (namespace, name):
                for text in document["data"].values():
                    for key, value in yaml.safe_load(text).items():
                        known = whole.setdefault(key, value)
                        if isinstance(known, dict):
                            known |= value
        return whole

    def sidecars_config(self, pod: PlacedPod) -> Document:
        """What the sidecar of a pod is configured with; empty where it has none."""
        for volume in pod.spec.get("volumes", []):
            if volume["name"].startswith("sentinel-") and "configMap" in volume:
                return self.config(pod.namespace, volume["configMap"]["name"])
        return {}

    def targets(self) -> Iterator[Target]:
        """Every page that some monitor selects."""
        for monitor in self._of("ServiceMonitor", "PodMonitor"):
            spec, own = monitor["spec"], self._namespace(monitor)
            everywhere = spec.get("namespaceSelector", {}).get("any", False)
            if monitor["kind"] == "PodMonitor":
                for pod in self.pods:
                    if (everywhere or pod.namespace == own) and _selects(
                        spec["selector"], pod.labels
                    ):
                        job = f"{own}/{monitor['metadata']['name']}"
                        for endpoint in spec["podMetricsEndpoints"]:
                            yield from _target(pod, endpoint, endpoint["port"], job)
                continue
            for service in self._of("Service"):
                labels = service["metadata"].get("labels", {})
                if self._namespace(service) != own or not _selects(spec["selector"], labels):
                    continue
                job = labels.get(spec.get("jobLabel", ""), service["metadata"]["name"])
                behind = {one["name"]: one["targetPort"] for one in service["spec"]["ports"]}
                for pod in self.pods:
                    if pod.namespace == own and _has(pod.labels, service["spec"]["selector"]):
                        for endpoint in spec["endpoints"]:
                            if endpoint["port"] in behind:
                                yield from _target(pod, endpoint, behind[endpoint["port"]], job)

    def lets_in(self, pod: PlacedPod, port: int, *, namespace: str) -> bool:
        """Whether the policies over a pod let a namespace in at a port: any that selects it closes what none opens."""
        rules, closed = self._rules(pod, "Ingress", "ingress")
        there = {"kubernetes.io/metadata.name": namespace}
        return not closed or any(
            _at_port(rule, pod, port)
            and (
                "from" not in rule
                or any(_selects(one.get("namespaceSelector"), there) for one in rule["from"])
            )
            for rule in rules
        )

    def lets_out(self, pod: PlacedPod, port: int) -> bool:
        """Whether the policies over a pod let it reach a port wherever that is."""
        rules, closed = self._rules(pod, "Egress", "egress")
        return not closed or any("to" not in rule and _at_port(rule, pod, port) for rule in rules)

    def reaches(self, pod: PlacedPod) -> set[tuple[str, int]]:
        """Namespaces and ports that the policies over a pod let it reach; `*` is anywhere."""
        rules, closed = self._rules(pod, "Egress", "egress")
        assert closed
        return {
            (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] if peer else "*", port["port"])
            for rule in rules
            for peer in rule.get("to", [None])
            for port in rule["ports"]
        }  # fmt: skip

    def _rules(self, pod: PlacedPod, kind: str, key: str) -> tuple[list[Document], bool]:
        over = [
            policy["spec"]
            for policy in self._of("NetworkPolicy")
            if self._namespace(policy) == pod.namespace
            and kind in policy["spec"]["policyTypes"]
            and _selects(policy["spec"]["podSelector"], pod.labels)
        ]
        return [rule for spec in over for rule in spec.get(key, [])], bool(over)

    def _placed(self) -> Iterator[PlacedPod]:
        [text] = [d["data"]["admission.yaml"] for d in self._of("ConfigMap") if "admission.yaml" in d["data"]]  # fmt: skip
        file = self._folder / "admission.yaml"
        file.write_text(text)
        sidecar = load_admission(file, environment={}).config.sidecar_config(SidecarKind.NATIVE)
        for document in self._documents:
            asks = "sentinel.dev/inject" in json.dumps(document)
            made = inject_document(document, sidecar).document if asks else document
            for name, pod in pods([made]):
                yield PlacedPod(
                    name=name,
                    namespace=self._namespace(document),
                    labels=pod["metadata"]["labels"],
                    annotations=pod["metadata"].get("annotations", {}),
                    spec=pod["spec"],
                )

    def _of(self, *kinds: str) -> list[Document]:
        return [document for document in self._documents if document["kind"] in kinds]

    def _namespace(self, document: Document) -> str:
        # What a chart writes without one is in the release's.
        return str(document["metadata"].get("namespace", self._default_namespace))


def listens_for_others(manifests: Manifests, target: Target) -> bool:
    """Whether the container of a target listens at its port, and not on its loopback only."""
    [container] = [c for c in target.pod.containers() if c["name"] == target.container]
    environment = {one["name"]: one.get("value", "") for one in container.get("env", [])}
    if container["name"] == "kong":
        return bool(environment["KONG_STATUS_LISTEN"] == f"0.0.0.0:{target.port}")
    probes = ("SENTINEL_WEB__PROBES__ADDRESS", "SENTINEL_PROBES__ADDRESS")
    if any(environment.get(name) == "$(POD_IP)" for name in probes):
        return target.port == int(environment.get("SENTINEL_WEB__PROBES__PORT", "9641"))
    [name] = [v["configMap"]["name"] for v in target.pod.spec["volumes"] if v["name"] == "config"]
    web = manifests.config(target.pod.namespace, name)["web"]
    listener = web["listen"] if target.path == "/metrics/series" else web["probes"]
    return bool(listener["address"] == "0.0.0.0" and listener["port"] == target.port)


def hands_metrics_on(manifests: Manifests, pod: PlacedPod) -> list[str]:
    """The addresses to which a pod's sidecar hands on metrics that its containers send, and which the pod may reach."""
    told = [
        one["value"]
        for container in pod.spec["containers"]
        for one in container.get("env", [])
        if one["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    ]
    if not all(urlsplit(url).hostname in ("127.0.0.1", "localhost") for url in told) or not told:
        return []
    endpoints = manifests.sidecars_config(pod).get("forward", {}).get("endpoints", [])
    return [
        one["url"]
        for one in endpoints
        if one.get("metrics", True) and manifests.lets_out(pod, urlsplit(one["url"]).port or 443)
    ]


def _target(pod: PlacedPod, endpoint: Document, port: str, job: str) -> Iterator[Target]:
    found = pod.port(port)
    if found is None:
        return
    for one in endpoint.get("relabelings", []):
        if one["targetLabel"] == "job" and "sourceLabels" not in one:
            job = one["replacement"]
    yield Target(
        pod=pod,
        container=found[0],
        port=found[1],
        path=endpoint.get("path", "/metrics"),
        job=job,
        honours_labels=endpoint.get("honorLabels", False),
    )


def _at_port(rule: Document, pod: PlacedPod, number: int) -> bool:
    for one in rule.get("ports", [{"port": number}]):
        port: Any = one["port"]
        named = pod.port(port) if isinstance(port, str) else ("", port)
        if one.get("protocol", "TCP") == "TCP" and named is not None and named[1] == number:
            return True
    return False


def _selects(selector: Document | None, labels: Mapping[str, str]) -> bool:
    if selector is None or not _has(labels, selector.get("matchLabels", {})):
        return False
    for one in selector.get("matchExpressions", []):
        value, given = labels.get(one["key"]), one.get("values", [])
        fits = {
            "In": value in given,
            "NotIn": value not in given,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits[one["operator"]]:
            return False
    return True


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()
