"""Goal: what Kustomize and the chart make is taken by every Kubernetes from 1.29 to 1.37, restricted, and does what it says.

Method: both are rendered by their own programs; objects are held against Kubernetes' schemas strictly, custom resources against
strict schemas of our own, pods against the Pod Security Standard, configurations against the loaders that start-up uses.
"""

from __future__ import annotations

import base64
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from sentinel.app.config import load_config
from sentinel.errors import ConfigError
from tests.support.cluster_manifests import (
    ISSUER,
    KUBERNETES,
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    Document,
    by_identity,
    kustomized,
    pods,
    read_all,
    templated,
    tool,
)
from tests.support.pod_security import violations

LEDGER: dict[str, Any] = {"enabled": True, "edge": ISSUER}
EVERYTHING: dict[str, Any] = {"ledger": LEDGER, "monitoring": {"enabled": True}}
CUSTOM = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/data/crds").glob("*.json")}  # fmt: skip
# The others are in these, and what the chart makes by default is the overlays: a test below.
WAYS = ("ledger-monitored", "ledger-keda", "ledger-trial", "chart-other")


@functools.cache
def rendered(way: str) -> list[Document]:
    if way == "chart":
        return templated(EVERYTHING)
    if way == "chart-other":
        return templated(OTHER, release="second")
    return kustomized(way)


WITNESS = "http://sentinel-ledger-witness.ledger-witness.svc:8090"
OTHER: dict[str, Any] = {
    "image": {"repository": "registry.example/sentinel", "digest": f"sha256:{'a' * 64}"},
    "imagePullSecrets": [{"name": "pull"}],
    "scorer": {
        "alertmanagers": ["https://alertmanager.example"],
        "config": {"mode": "shadow", "incidents": {"hold": "1h"}},
        "generateSecrets": False,
        "tlsSecret": "own-tls",
        "tokensSecret": "own-tokens",
        "storage": {"size": "64Gi", "className": "fast"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "only", "operator": "Exists"}],
        "priorityClassName": "important",
    },
    "injector": {
        "replicas": 3,
        "certificateSecret": "from-cert-manager",
        "certificate": "second-admission",
        "profiles": {
            "tiny": {
                "config_map": "",
                "role": "both",
                "each_replica_scores": True,
                "store": "256Mi",
            }
        },
        "defaultProfile": "tiny",
        "config": {"sidecar": "native"},
    },
    "ledger": {
        "enabled": True,
        "namespace": "payments",
        "edge": {"issuer": "https://issuer.example:8443/realms/pay", "audience": "books"},
        "webhooks": {
            "replicas": 1,
            "keysSecret": "own-keys",
            "ports": [443, 8443],
            "deniedNetworks": ["198.51.0.0/16", "2a00:1450::/32"],
        },
        "audit": {"witnessUrl": "https://witness.example:9443/of-ours", "profile": "large"},
        "witness": {
            "namespace": "notary",
            "name": "notary.example",
            "storage": {"size": "2Gi", "className": "safe"},
        },
        "reconcile": {"everySeconds": 60},
        "disburse": {"railUrl": "https://rail.example:10443"},
        "archive": {
            "enabled": True,
            "keysSecret": "own-archive",
            "endpointPort": 9443,
            "every": "12h",
            "prune": False,
            "scratch": "64Gi",
            "spool": {"claim": "own-spool", "user": 26},
        },
        "sidecar": {
            "forward": {
                "endpoints": [
                    {
                        "name": "prometheus",
                        "url": "http://prometheus:9090/api/v1/otlp",
                        "traces": False,
                        "logs": False,
                    }
                ]
            }
        },
        "poster": {
            "autoscaling": {
                "kind": "keda",
                "backlogPerReplica": 50,
                "natsMonitoring": "nats.q.svc:8222",
            }
        },
    },
    "monitoring": {
        "enabled": True,
        "namespace": "observability",
        "labels": {"prometheus": "main"},
        "rulesLeftOut": ["sentinel"],
    },
}
"""Every branch of the templates the defaults do not take."""


@pytest.mark.parametrize("way", WAYS)
def test_every_kubernetes_takes_it(way: str) -> None:
    documents = rendered(way)
    assert documents
    for document in documents:
        if document["kind"] in CUSTOM:
            jsonschema.Draft7Validator(CUSTOM[document["kind"]]).validate(document)
            continue
        for version in KUBERNETES if way in OVERLAYS else KUBERNETES[::4]:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("way", WAYS)
def test_every_pod_is_restricted_sized_and_read_only(way: str) -> None:
    found = dict(pods(rendered(way)))
    assert found
    for name, pod in found.items():
        spec = pod["spec"]
        assert violations(spec) == [], name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            at = f"{name} {container['name']}"
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, at
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, at
            assert set(container["resources"]["limits"]) == {"memory"}, at
        for volume in spec["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], name
        assert spec["enableServiceLinks"] is False, name
        assert spec["automountServiceAccountToken"] is name.endswith("-admission"), name


def test_the_check_of_pod_security_finds_each_violation() -> None:
    """The own check, held against one pod that breaks every rule."""
    bad: Document = {
        "hostNetwork": True,
        "hostPID": True,
        "hostIPC": True,
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "initContainers": [
            {
                "name": "c",
                "ports": [{"containerPort": 1, "hostPort": 1}],
                "securityContext": {
                    "privileged": True,
                    "runAsUser": 0,
                    "procMount": "Unmasked",
                    "capabilities": {"add": ["SYS_ADMIN"]},
                },
            }
        ],
    }
    assert violations(bad) == [
        "hostNetwork is on",
        "hostPID is on",
        "hostIPC is on",
        "volume v is a hostPath",
        "c: allowPrivilegeEscalation is not false",
        "c: privileged",
        "c: does not drop ALL",
        "c: adds capabilities",
        "c: runAsNonRoot is not true",
        "c: runs as root",
        "c: no seccomp profile",
        "c: hostPort",
        "c: procMount",
    ]


@pytest.mark.parametrize(
    ("overlays", "values"),
    [
        (["cluster"], {}),
        (["monitored"], {"monitoring": {"enabled": True}}),
        (["cluster", "ledger", "ledger-witness"], {"ledger": LEDGER}),
        (["ledger-monitored"], EVERYTHING),
        (["cluster", "ledger-keda", "ledger-witness"], {"ledger": {**LEDGER, "poster": {"autoscaling": {"kind": "keda"}}}}),
        (["cluster", "ledger-trial"], {"ledger": {"enabled": True, "edge": {"insecureTenantHeader": True}, "witness": {"enabled": False}, "audit": {"witnessUrl": WITNESS}}}),
    ],
    ids=lambda given: "+".join(given) if isinstance(given, list) else "",
)  # fmt: skip
def test_the_chart_makes_what_kustomize_makes(overlays: list[str], values: dict[str, Any]) -> None:
    """Each overlay is the chart with the same parts on, object for object; only the Secrets it makes itself are more."""
    ours = by_identity(
        [document for overlay in overlays for document in kustomized(overlay)],
        namespace="sentinel",
    )
    theirs = by_identity(templated(values), namespace="sentinel")
    namespaces = {identity for identity in ours if identity.startswith("Namespace ")}
    made = {f"Secret sentinel/sentinel-scorer-{kind}" for kind in ("tls", "tokens")}
    if "ledger" in values:
        made.add("Secret ledger/sentinel")
        if "issuer" in values["ledger"]["edge"]:
            made.add("ConfigMap ledger/sentinel-ledger-issuer")
    # Kong's ConfigMap has a name that changes with its content, in Kustomize alone; in the chart a checksum does the same.
    ours, theirs = _with_plain_names(ours), _with_plain_names(theirs)
    assert set(ours) - namespaces == set(theirs) - made
    for identity in sorted(set(ours) - namespaces):
        assert theirs[identity] == ours[identity], identity


def _with_plain_names(objects: dict[str, Document]) -> dict[str, Document]:
    names = [name for name in objects if name.startswith("ConfigMap ledger/sentinel-ledger-kong")]
    if not names:
        return objects
    [kong] = names
    text = json.dumps(objects).replace(kong.rpartition("/")[2], "sentinel-ledger-kong")
    plain: dict[str, Document] = json.loads(text)
    annotations = plain["Deployment ledger/sentinel-ledger-edge"]["spec"]["template"]["metadata"][
        "annotations"
    ]
    for read_at_start in ("checksum/kong", "checksum/issuer"):
        annotations.pop(read_at_start, None)
    return plain


def test_cert_manager_makes_the_injectors_certificate_where_it_is_asked_to() -> None:
    """Names, Secret and annotation fit, and the injector has no right left that only its own authority needs."""
    documents = templated({"injector": {"certManager": True}})
    objects = by_identity(documents, namespace="sentinel")
    for kind in ("Issuer", "Certificate"):
        document = objects[f"{kind} sentinel/sentinel-admission"]
        jsonschema.Draft7Validator(CUSTOM[kind]).validate(document)
    certificate = objects["Certificate sentinel/sentinel-admission"]["spec"]
    assert "sentinel-admission.sentinel.svc" in certificate["dnsNames"]
    [(_, pod)] = [each for each in pods(documents) if each[0].endswith("-admission")]
    [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == "tls"]
    assert volume["secret"]["secretName"] == certificate["secretName"]
    webhook = objects["MutatingWebhookConfiguration -/sentinel-admission"]
    assert webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "sentinel/sentinel-admission"  # fmt: skip
    config = objects["ConfigMap sentinel/sentinel-admission"]["data"]["admission.yaml"]
    assert "authority" not in config
    assert config["tls"]["cert_file"].startswith("/etc/sentinel-tls/")
    assert not [identity for identity in objects if identity.startswith(("Role ", "RoleBinding "))]
    [rule] = objects["ClusterRole -/sentinel-admission"]["rules"]
    assert rule["resources"] == ["pods"]


def test_another_namespace_is_one_line(tmp_path: Path) -> None:
    """A copy of the overlay with another namespace leaves no word of the old one."""
    shutil.copytree(KUSTOMIZE, tmp_path / "kustomize")
    overlay = tmp_path / "kustomize/overlays/cluster"
    file = overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: sentinel\n", "namespace: watch\n", 1))
    command = [tool("kubectl"), "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    documents = by_identity(list(yaml.safe_load_all(done.stdout)), namespace="?")
    assert "Namespace -/watch" in documents
    for identity, document in documents.items():
        assert "/sentinel" not in identity.replace("/sentinel-", "/"), identity
        for subject in document.get("subjects", []):
            assert subject["namespace"] == "watch"
    [webhook] = documents["MutatingWebhookConfiguration -/sentinel-admission"]["webhooks"]
    assert webhook["clientConfig"]["service"]["namespace"] == "watch"
    [expression] = webhook["namespaceSelector"]["matchExpressions"]
    assert "watch" in expression["values"]
    assert "sentinel" not in expression["values"]


def test_an_overlay_of_ones_own_takes_keda_and_adds_settings(tmp_path: Path) -> None:
    """As the documents say: another base for the ledger, and one more file in the scorer's folder."""
    for folder in ("deploy/kustomize", "deploy/kong", "dashboards"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("source"))
    own = tmp_path / "deploy/kustomize/overlays/own"
    own.mkdir()
    (own / "postgres.yaml").write_text("scrapers: {postgres: [{name: postgres, host: db}]}\n")
    text = (own.parent / "ledger-monitored/kustomization.yaml").read_text()
    text = text.replace("  - ../ledger\n", "  - ../ledger-keda\n")
    text += (
        "configMapGenerator:\n"
        "  - {name: sentinel-scorer, namespace: sentinel, behavior: merge, files: [postgres.yaml]}\n"
    )
    (own / "kustomization.yaml").write_text(text)
    command = [tool("kubectl"), "kustomize", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    documents = by_identity(read_all(done.stdout), namespace="?")
    assert "ScaledObject ledger/sentinel-ledger-poster" in documents
    assert "HorizontalPodAutoscaler ledger/sentinel-ledger-poster" not in documents
    config = documents["ConfigMap sentinel/sentinel-scorer"]["data"]["sentinel.yaml"]
    assert set(config["scrapers"]) == {"nats", "postgres"}
    assert config["web"]["series_routes"]
    assert "forward" in documents["ConfigMap ledger/sentinel-gateway"]["data"]["sentinel.yaml"]


@pytest.mark.parametrize("way", WAYS)
def test_every_object_can_be_applied(way: str) -> None:
    """`kubectl apply` keeps the object in an annotation of at most 256 KiB; a board may outgrow it."""
    documents = rendered(way)
    assert len(documents) > 3
    for document in documents:
        assert len(json.dumps(document)) < 256 * 1024, document["metadata"]["name"]


@pytest.mark.parametrize("way", ["ledger", "chart"])
def test_kong_is_rolled_when_its_configuration_changes(way: str) -> None:
    """It reads the file at its start only; Sentinel follows its own, and is not restarted."""
    [(_, edge)] = [each for each in pods(rendered(way)) if each[0].endswith("-edge")]
    [name] = [v["configMap"]["name"] for v in edge["spec"]["volumes"] if v["name"] == "kong"]
    assert name != "sentinel-ledger-kong" or "checksum/kong" in edge["metadata"]["annotations"]


@pytest.mark.parametrize("way", WAYS)
def test_what_refers_to_another_object_finds_it(way: str) -> None:
    """Selectors select a pod, ports have the name the pod gives them, ConfigMaps and accounts are there."""
    documents = rendered(way)
    made = list(pods(documents))
    names = {(each["kind"], each["metadata"]["name"]) for each in documents}
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        where = f"{kind} {document['metadata']['name']}"
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selected = _selected(document, made)
            assert selected, where
            if kind == "Service":
                ports = {
                    port["name"]
                    for pod in selected
                    for container in pod["spec"]["containers"]
                    for port in container.get("ports", [])
                }
                assert {port["targetPort"] for port in spec["ports"]} <= ports, where
        if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            assert ("Deployment", spec["scaleTargetRef"]["name"]) in names, where
    for name, pod in made:
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in names, name
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, name
        run = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        mounted = {m["name"] for c in run for m in c["volumeMounts"]}
        assert mounted >= {volume["name"] for volume in pod["spec"]["volumes"]}, name
    for name, pod in made:
        over = {
            kind: [d for d in documents if d["kind"] == kind and _selected(d, [(name, pod)])]
            for kind in ("PodDisruptionBudget", "NetworkPolicy")
        }
        assert len(over["PodDisruptionBudget"]) == 1, name
        directions = {way for each in over["NetworkPolicy"] for way in each["spec"]["policyTypes"]}
        assert directions == {"Ingress", "Egress"}, name


def _selected(document: Document, among: Sequence[tuple[str, Document]]) -> list[Document]:
    selector = _selector(document).items()
    return [pod for _, pod in among if selector <= pod["metadata"]["labels"].items()]


def _selector(document: Document) -> dict[str, str]:
    spec = document["spec"]
    if document["kind"] == "Service":
        return dict(spec["selector"])
    key = "podSelector" if document["kind"] == "NetworkPolicy" else "selector"
    return dict(spec[key]["matchLabels"])


@pytest.mark.parametrize(
    ("way", "count"),
    [("cluster", 1), ("ledger", 2), ("ledger-monitored", 3), ("chart", 3), ("chart-other", 3)],
)
def test_every_configuration_of_sentinel_loads(way: str, count: int, tmp_path: Path) -> None:
    """With the certificate and the token that the chart makes, for the loader reads them."""
    secrets = [d["data"] for d in rendered("chart") if d["kind"] == "Secret" and "data" in d]
    for name, encoded in {key: value for data in secrets for key, value in data.items()}.items():
        (tmp_path / name).write_bytes(base64.b64decode(encoded))
    configs = [
        document
        for document in rendered(way)
        if document["kind"] == "ConfigMap" and "sentinel.yaml" in document["data"]
    ]
    for document in configs:
        mounted = tmp_path / f"of-{document['metadata']['name']}"
        mounted.mkdir()
        for name, text in document["data"].items():
            for folder in ("/etc/sentinel-tls", "/etc/sentinel-tokens", "/etc/sentinel-secret"):
                text = text.replace(folder, str(tmp_path))
            (mounted / name).write_text(text)
        load_config(mounted, environment={})
    assert len(configs) == count


@pytest.mark.parametrize("way", ["cluster", "chart", "chart-other"])
def test_a_second_scorer_refuses_to_start(way: str, tmp_path: Path) -> None:
    """Scaled to two, each merged a part of the windows and paged for a fall of traffic that was none."""
    [scorer] = [
        document
        for document in rendered(way)
        if document["kind"] == "StatefulSet" and document["metadata"]["name"].endswith("-scorer")
    ]
    assert scorer["spec"]["replicas"] == 1
    assert "ordinals" not in scorer["spec"]
    [container] = scorer["spec"]["template"]["spec"]["containers"]
    [given] = [one for one in container["env"] if one["name"] == "SENTINEL_REPLICA_NAME"]
    assert given["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    file = tmp_path / "sentinel.yaml"
    file.write_text("role: score\n")
    name = scorer["metadata"]["name"]
    load_config(file, environment={given["name"]: f"{name}-0"})
    with pytest.raises(ConfigError, match=f"{name}-1 is one more: scale back to one"):
        load_config(file, environment={given["name"]: f"{name}-1"})


@pytest.mark.parametrize("way", ["monitored", "chart", "chart-other"])
def test_the_injector_takes_its_configuration(way: str, tmp_path: Path) -> None:
    [document] = [
        d for d in rendered(way) if d["kind"] == "ConfigMap" and "admission.yaml" in d["data"]
    ]
    (tmp_path / "admission.yaml").write_text(document["data"]["admission.yaml"])
    command = [sys.executable, "-m", "sentinel", "admission", "--config", str(tmp_path), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_chart_makes_once_is_what_scorer_and_sidecars_need() -> None:
    secrets = {
        d["metadata"]["name"]: d["data"]
        for d in rendered("chart")
        if d["kind"] == "Secret" and "data" in d
    }
    scorer, tokens, sidecar = (
        secrets[name] for name in ("sentinel-scorer-tls", "sentinel-scorer-tokens", "sentinel")
    )
    assert set(scorer) == {"ca.crt", "tls.crt", "tls.key"}
    assert set(tokens) == {"read", "ingest"}
    assert tokens["read"] != tokens["ingest"]
    assert sidecar == {"ca.crt": scorer["ca.crt"], "token": tokens["ingest"]}


@pytest.mark.parametrize(("way", "release"), [("chart", "sentinel"), ("chart-other", "second")])
def test_sidecars_send_their_windows_to_where_the_scorer_takes_them(
    way: str, release: str
) -> None:
    documents = rendered(way)
    read = {
        d["metadata"]["name"]: yaml.safe_load(d["data"]["sentinel.yaml"])
        for d in documents
        if d["kind"] == "ConfigMap" and "sentinel.yaml" in d["data"]
    }
    scorer = read.pop(f"{release}-scorer")
    assert scorer["role"] == "score"
    port = scorer["receivers"]["windows_http"]["listen"]["port"]
    assert set(read) == {"sentinel", "sentinel-gateway"}
    for config in read.values():
        assert config["role"] == "collect"
        url = urlsplit(config["collect"]["url"])
        assert (url.scheme, url.hostname, url.port) == ("https", f"{release}-scorer.sentinel.svc", port)  # fmt: skip
    [service] = [d for d in documents if d["kind"] == "Service" and d["metadata"]["name"] == f"{release}-scorer"]  # fmt: skip
    assert port in [one["port"] for one in service["spec"]["ports"]]
    policies = {
        d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"
    }
    out = [
        one["port"] for rule in policies[f"{release}-ledger"]["egress"] for one in rule["ports"]
    ]
    assert port in out
    assert {"namespaceSelector": {}} in [
        peer for rule in policies[f"{release}-scorer"]["ingress"] for peer in rule.get("from", [])
    ]


@pytest.mark.parametrize("way", ["chart", "chart-other", "monitored"])
def test_the_profiles_of_the_ledgers_pods_are_ones_the_injector_has(way: str) -> None:
    documents = rendered(way) + (rendered("ledger") if way == "monitored" else [])
    [text] = [d["data"]["admission.yaml"] for d in documents if d["kind"] == "ConfigMap" and "admission.yaml" in d["data"]]  # fmt: skip
    profiles = yaml.safe_load(text)["profiles"]
    annotations = [pod["metadata"].get("annotations", {}) for _, pod in pods(documents)]
    asked = {a["sentinel.dev/profile"] for a in annotations if "sentinel.dev/profile" in a}
    assert len(asked) == (4 if way == "chart-other" else 3)
    assert asked <= set(profiles)
