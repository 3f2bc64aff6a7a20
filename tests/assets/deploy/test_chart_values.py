"""Goal: values that cannot work are refused before anything is in a cluster, in words; and Kustomize's objects are held to the same.

Method: Helm itself, with values that are each wrong in one place. What the schema refuses and what the templates refuse comes in one
answer each, so that one call tries many.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.cluster_manifests import (
    ISSUER,
    ROOT,
    Document,
    helm,
    kustomized,
    pods,
    templated,
    tool,
)

DIGEST = f"sha256:{'a' * 64}"
REFUSED_BY_SCHEMA: list[tuple[str, Any]] = [
    ("/scorre", {"enabled": True}),
    ("/scorer/replica", 3),
    ("/scorer/storage/size", "much"),
    ("/scorer/alertmanagers", ["alertmanager:9093"]),
    ("/scorer/egressPorts", [0]),
    ("/injector/profiles/standard/cpu", "1"),
    ("/injector/profiles/small/image", "sentinel"),
    ("/injector/profiles/large/role", "score"),
    ("/ledger/poster/autoscaling/kind", "cron"),
    ("/ledger/poster/autoscaling/minReplicas", 0),
    ("/ledger/poster/autoscaling/natsMonitoring", "http://nats:8222"),
    ("/ledger/kong/image", "kong:3.9.1"),
    ("/ledger/image/repository", "sentinel-ledger:0.1.0"),
    ("/ledger/namespace", "a.b"),
    ("/ledger/durability", "for ever"),
    ("/ledger/streamReplicas", 2),
    ("/ledger/edge/issuer", "http://issuer.example"),
    ("/ledger/edge/insecureTenantHeader", "yes"),
    ("/ledger/webhooks/ports", []),
    ("/ledger/webhooks/deniedNetworks", ["fd00::/8"]),
    ("/ledger/audit/witnessUrl", "witness:8090"),
    ("/ledger/witness/name", "two words"),
    ("/ledger/reconcile/everySeconds", 0),
    ("/ledger/disburse/railUrl", "rail.example"),
    ("/image/digest", "sha256:short"),
    ("/image/repository", "sentinel:0.1.0"),
    ("/monitoring/interval", "often"),
    ("/monitoring/sidecarInterval", "0s"),
    ("/monitoring/otlpReceivers", ["prometheus:9090"]),
]
REFUSED_BY_TEMPLATES: list[tuple[str, Any, str]] = [
    ("/scorer/tlsSecret", "own", "scorer.generateSecrets makes them"),
    ("/scorer/storage/size", "100Mi", "scorer.storage.size 100Mi is less than 1Gi"),
    ("/scorer/resources/requests/memory", "2Gi", "scorer.resources: memory 2Gi is asked for, above the limit of 1Gi"),
    ("/image/tag", "latest", "image.tag is `latest`"),
    ("/injector/defaultProfile", "huge", 'injector.defaultProfile "huge" is none of injector.profiles (gateway, large, small, standard)'),
    ("/injector/profiles/large/image", "sentinel:latest", "injector.profiles.large.image is `latest`"),
    ("/injector/profiles/small/memory_request", "1Gi", "injector.profiles.small: memory_request 1Gi is above memory_limit 192Mi"),
    ("/injector/profiles/standard/role", "both", "injector.profiles.standard: role both needs each_replica_scores: true"),
    ("/injector/profiles/gateway/config_map", "", "injector.profiles.gateway: role collect needs config_map"),
    ("/injector/profiles/gateway/each_replica_scores", True, "injector.profiles.gateway: each_replica_scores goes with role both"),
    ("/injector/certManager", True, "injector.certManager has a certificate made"),
    ("/injector/certificateSecret", "there", "one way or the other"),
    ("/injector/ignoredNamespaces", ["payments"], 'ledger.namespace "payments" is one of injector.ignoredNamespaces'),
    ("/ledger/enabled", True, "fit together"),
    ("/ledger/namespace", "payments", "its pods would get no sidecar"),
    ("/ledger/edge/autoscaling/cpuUtilization", 70, "ledger.edge.issuer is empty: name the OIDC issuer whose tokens count"),
    ("/ledger/webhooks/profile", "wide", 'ledger.webhooks.profile "wide" is none of injector.profiles'),
    ("/ledger/witness/namespace", "payments", "ledger.witness.namespace is the ledger's own, \"payments\""),
    ("/ledger/egressPorts", [4222, 443], "ledger.egressPorts has 443, which webhooks go to"),
    ("/ledger/disburse/resources/requests/memory", "1Gi", "ledger.disburse.resources: memory 1Gi is asked for, above the limit of 256Mi"),
    ("/ledger/edge/profile", "wide", 'ledger.edge.profile "wide" is none of injector.profiles'),
    ("/ledger/edge/autoscaling/minReplicas", 11, "ledger.edge.autoscaling: minReplicas 11 is above maxReplicas 10"),
    ("/ledger/poster/autoscaling/maxReplicas", 1, "ledger.poster.autoscaling: minReplicas 2 is above maxReplicas 1"),
    ("/monitoring/enabled", True, "fit together"),
    ("/monitoring/rulesLeftOut", ["slos"], 'monitoring.rulesLeftOut: "slos" is no file of alert_rules'),
]  # fmt: skip


def together(*wrong: tuple[str, Any]) -> dict[str, Any]:
    """The values with each of these in its place."""
    values: dict[str, Any] = {}
    for path, value in wrong:
        *folders, name = path.strip("/").split("/")
        at = values
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = value
    return values


def test_the_schema_refuses_each_wrong_value_by_its_place() -> None:
    unique = dict(REFUSED_BY_SCHEMA)
    assert len(unique) == len(REFUSED_BY_SCHEMA)
    done = helm(values=together(*REFUSED_BY_SCHEMA))
    assert done.returncode != 0
    assert "schema" in done.stderr
    for path, _ in REFUSED_BY_SCHEMA:
        folder, _, name = path.rpartition("/")
        # A key that is not known is told of at what it is in.
        unknown = rf"at '{folder}': additional properties .*'{name}'.* not allowed"
        assert re.search(rf"at '{path}(?:/\d+)?'|{unknown}", done.stderr), f"{path}\n{done.stderr}"


def test_values_that_do_not_fit_together_are_refused_in_words() -> None:
    done = helm(values=together(*((path, value) for path, value, _ in REFUSED_BY_TEMPLATES)))
    assert done.returncode != 0
    for _, _, told in REFUSED_BY_TEMPLATES:
        assert told in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"injector": {"certificate": "alone"}},
            "injector.certificateSecret and injector.certificate belong together",
        ),
        (
            {"ledger": {"enabled": True, "namespace": "sentinel"}},
            'ledger.namespace is the release\'s own, "sentinel"',
        ),
        ({"ledger": {"enabled": True}}, "ledger.edge.issuer is empty"),
        (
            {"ledger": {"enabled": True, "edge": {**ISSUER, "insecureTenantHeader": True}}},
            "one way or the other",
        ),
        (
            {"ledger": {"enabled": True, "edge": ISSUER, "witness": {"enabled": False}}},
            "ledger.audit has no witness",
        ),
        (
            {"ledger": {"enabled": True, "edge": ISSUER, "audit": {"enabled": False}}},
            "ledger.exports are of the trail that ledger.audit keeps",
        ),
    ],
    ids=[
        "half a certificate",
        "ledger beside the injector",
        "nobody",
        "two ways",
        "no witness",
        "no trail",
    ],
)
def test_what_shuts_the_others_out_is_refused_alone(values: dict[str, Any], told: str) -> None:
    done = helm(values=values)
    assert done.returncode != 0
    assert told in done.stderr


def test_images_are_taken_by_tag_by_digest_and_from_a_registry_with_a_port() -> None:
    values = {
        "image": {"repository": "registry.example:5000/watch/sentinel", "digest": DIGEST},
        "injector": {"profiles": {"small": {"image": f"registry.example:5000/s@{DIGEST}"}}},
        "ledger": {"image": {"repository": "registry.example/ledger", "tag": "0.1.0"}},
    }
    documents = templated(values)
    images = {c["image"] for _, pod in pods(documents) for c in pod["spec"]["containers"]}
    assert images == {f"registry.example:5000/watch/sentinel@{DIGEST}"}


def test_a_part_that_was_taken_away_whole_is_missed_by_name() -> None:
    done = helm(values={"scorer": None})
    assert done.returncode != 0
    assert "missing property 'scorer'" in done.stderr, done.stderr


def test_monitors_need_no_label_and_boards_no_folder() -> None:
    """Where Prometheus and Grafana take whatever there is."""
    none = {"labels": {"release": None}, "boardAnnotations": {"grafana_folder": None}}
    documents = templated({"monitoring": {"enabled": True, **none}})
    for document in documents:
        assert "release" not in document["metadata"].get("labels", {})
        assert document["metadata"].get("annotations", {}) is not None
    assert {"ServiceMonitor", "PrometheusRule"} <= {document["kind"] for document in documents}


def test_the_store_has_three_quarters_of_its_volume() -> None:
    for size, expected in (("16Gi", "12GiB"), ("1Gi", "768MiB"), ("100G", "71525MiB")):
        documents = templated({"scorer": {"storage": {"size": size}}})
        [text] = [d["data"]["sentinel.yaml"] for d in documents if d["kind"] == "ConfigMap" and d["metadata"]["name"] == "sentinel-scorer"]  # fmt: skip
        assert yaml.safe_load(text)["store"]["max_bytes"] == expected
    assert "max_bytes: 12GiB" in (ROOT / "deploy/kustomize/base/scorer/sentinel.yaml").read_text()


def nonsense(documents: list[Document]) -> Iterator[str]:
    """What the chart would have refused, looked for in objects: whoever changes Kustomize's has no values."""
    for document in documents:
        name, spec = document["metadata"]["name"], document.get("spec", {})
        least = spec.get("minReplicas", spec.get("minReplicaCount"))
        most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
        if least is not None and least > most:
            yield f"{name}: least {least} above most {most}"
    for name, pod in pods(documents):
        for container in pod["spec"]["containers"]:
            image, sizes = container["image"], container["resources"]
            last = image.rpartition("/")[2]
            if "@sha256:" not in last and (":" not in last or last.endswith(":latest")):
                yield f"{name}: {image} has no tag"
            if not last.startswith("sentinel") and "@sha256:" not in last:
                yield f"{name}: {image} is not ours and has no digest"
            if _bytes(sizes["requests"]["memory"]) > _bytes(sizes["limits"]["memory"]):
                yield f"{name}: asks for more than its limit"


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]  # or the test fails
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


@pytest.mark.parametrize("overlay", ["ledger-monitored", "ledger-keda"])
def test_what_kustomize_makes_is_no_nonsense(overlay: str) -> None:
    documents = kustomized(overlay)
    assert list(nonsense(documents)) == []
    broken = copy.deepcopy(documents)
    for document in broken:
        if document["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            document["spec"]["minReplicas"], document["spec"]["maxReplicas"] = 11, 10
    for _, pod in pods(broken):
        for container in pod["spec"]["containers"]:
            container["image"] = container["image"].partition(":")[0]
            container["resources"]["requests"]["memory"] = "4Gi"
    told = list(nonsense(broken))
    assert "sentinel-ledger-edge: least 11 above most 10" in told
    for words in (
        "kong has no tag",
        "kong is not ours and has no digest",
        "sentinel-ledger has no tag",
        "asks for more than its limit",
    ):
        assert any(one.endswith(words) for one in told), told


def test_the_schema_knows_every_value_and_is_closed() -> None:
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())
    schema = json.loads((ROOT / "deploy/chart/values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(values)
    open_ended = {"scorer.config", "injector.config", "ledger.sidecar", "global"}
    for path, part in _objects(schema, "", schema["definitions"]):
        key = path.rpartition(".")[2]
        if path in open_ended or key == "affinity":
            continue
        assert "additionalProperties" in part, path


def _objects(part: Any, path: str, known: Any) -> Any:
    if "$ref" in part:
        part = known[part["$ref"].rpartition("/")[2]]
    if part.get("type") == "object":
        yield path, part
        for name, inner in part.get("properties", {}).items():
            yield from _objects(inner, f"{path}.{name}".lstrip("."), known)


def test_helm_finds_nothing_to_complain_of() -> None:
    command = [tool("helm"), "lint", "--strict", str(ROOT / "deploy/chart")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
