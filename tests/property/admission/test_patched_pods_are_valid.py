"""Goal: a valid pod stays valid, on every version of Kubernetes that knows the form it is given, and stays restricted.

Method: generated pods of many shapes and a corpus of real ones, each of which Kubernetes' own strict schema takes as it
is; the patch is applied by an independent reading of RFC 6902, and the schemas of all versions decide.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from sentinel.admission.patch import Outcome
from sentinel.admission.profiles import (
    ProfileConfig,
    SidecarConfig,
    SidecarKind,
    SidecarRole,
    built_in_profiles,
)
from sentinel.admission.review import ReviewRules, answer_review
from tests.support.injector import make_review, patched, response_of

CORPUS = sorted((Path(__file__).parents[2] / "data/pods").glob("*.yaml"))
NATIVE_VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
PLAIN_VERSIONS = [f"1.{minor}" for minor in range(25, 38)]
_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
_validators: dict[str, Any] = {}


def check(pod: dict[str, Any], version: str) -> None:
    """As `kubernetes_validate.validate(..., strict=True)`, which reads three megabytes of schema for each pod."""
    if version not in _validators:
        folder = _SCHEMAS / f"v{version}.0-local-strict"
        schema = json.loads((folder / "pod-v1.json").read_text())
        definitions = json.loads((folder / "_definitions.json").read_text())
        registry: Any = Resource.from_contents(definitions) @ (
            Resource.from_contents(schema) @ Registry()
        )
        _validators[version] = jsonschema.Draft202012Validator(schema, registry=registry)
    _validators[version].validate(pod)


_env = st.lists(
    st.sampled_from(
        [
            {"name": "A", "value": "1"},
            {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4317"},
            {"name": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "value": "http://collector:4317"},
            {"name": "OTEL_EXPORTER_OTLP_PROTOCOL", "value": "grpc"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ]
    ),
    max_size=3,
)
_resources = st.sampled_from(
    [
        {},
        {"requests": {"cpu": "100m", "memory": "64Mi"}},
        {"limits": {"cpu": "1", "memory": "1Gi"}},
        {
            "limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "1", "memory": "1Gi"},
        },
    ]
)
_probe = st.sampled_from(
    [
        {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
        {"exec": {"command": ["true"]}},
        {"tcpSocket": {"port": 80}},
    ]
)
_context = st.sampled_from(
    [
        {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
        {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "runAsUser": 1000},
        {"privileged": True},
    ]
)


def _container(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"name": st.just(name), "image": st.just(f"{name}:1")},
        optional={
            "args": st.lists(st.text(max_size=5), max_size=3),
            "env": _env,
            "envFrom": st.just([{"configMapRef": {"name": "more"}}]),
            "ports": st.just([{"name": "http", "containerPort": 8080}]),
            "resources": _resources,
            "livenessProbe": _probe,
            "readinessProbe": _probe,
            "securityContext": _context,
            "volumeMounts": st.just([{"name": "data", "mountPath": "/data", "readOnly": True}]),
            "lifecycle": st.just({"preStop": {"exec": {"command": ["sleep", "5"]}}}),
        },
    )


_volumes = st.lists(
    st.sampled_from(
        [
            {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "conf", "configMap": {"name": "conf", "optional": True}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "csi", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}},
        ]
    ),
    max_size=3,
    unique_by=lambda one: str(one["name"]),
)
_pods = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries(
            {
                "annotations": st.fixed_dictionaries(
                    {"sentinel.dev/inject": st.just("true")},
                    optional={
                        "sentinel.dev/profile": st.sampled_from(["small", "large", "lean", "?"]),
                        "a/b~c": st.just("x"),
                    },
                )
            },
            optional={
                "name": st.just("payments"),
                "generateName": st.just("payments-"),
                "labels": st.just({"app.kubernetes.io/name": "payments"}),
                "ownerReferences": st.just(
                    [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "p", "uid": "1"}]
                ),
            },
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.tuples(_container("app"), _container("worker")).map(list)},
            optional={
                "initContainers": st.tuples(_container("migrate")).map(list),
                "volumes": _volumes,
                "restartPolicy": st.sampled_from(["Always", "Never", "OnFailure"]),
                "serviceAccountName": st.just("payments"),
                "nodeSelector": st.just({"kubernetes.io/os": "linux"}),
                "tolerations": st.just([{"operator": "Exists"}]),
                "terminationGracePeriodSeconds": st.integers(0, 600),
                "hostNetwork": st.booleans(),
                "dnsPolicy": st.just("ClusterFirst"),
                "imagePullSecrets": st.just([{"name": "registry"}]),
                "securityContext": st.just(
                    {"fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}}
                ),
                "topologySpreadConstraints": st.just(
                    [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                        }
                    ]
                ),
            },
        ),
    }
)
_configs = st.builds(
    SidecarConfig,
    profiles=st.just(
        {
            **built_in_profiles(config_map="sentinel"),
            "lean": ProfileConfig(
                role=SidecarRole.COLLECT,
                config_map="c",
                secret="s",
                cpu_limit="1.5",
                memory_limit="96Mi",
                memory_request="96M",
            ),
        }
    ),
    default_profile=st.sampled_from(["standard", "lean"]),
    kind=st.sampled_from(SidecarKind),
    allow_host_network=st.booleans(),
)


def injected(pod: dict[str, Any], config: SidecarConfig) -> dict[str, Any] | None:
    """The pod as an API server makes it; None where it was left alone."""
    answer = answer_review(json.dumps(make_review(pod)).encode(), ReviewRules(sidecar=config))
    made = patched(pod, response_of(answer.body, uid="1a2b"))
    if answer.outcome is not Outcome.INJECTED:
        assert made == pod
        return None
    again = answer_review(json.dumps(make_review(made)).encode(), ReviewRules(sidecar=config))
    assert "patch" not in response_of(again.body)
    return made


def assert_restricted(pod: dict[str, Any]) -> None:
    """What the Pod Security Standard "restricted" asks of a container and of volumes, for ours."""
    [ours] = [
        one
        for one in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        if one["name"] == "sentinel"
    ]
    context = ours["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in context
    assert not any("hostPort" in port for port in ours["ports"])
    assert {"requests", "limits"} <= set(ours["resources"])
    assert "livenessProbe" in ours
    allowed = {"configMap", "emptyDir", "secret"}
    for volume in pod["spec"]["volumes"]:
        if volume["name"].startswith("sentinel-"):
            assert set(volume) - {"name"} <= allowed


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(pod=_pods, config=_configs, pick=st.integers(0, 12))
def test_generated_pods(pod: dict[str, Any], config: SidecarConfig, pick: int) -> None:
    versions = NATIVE_VERSIONS if config.kind is SidecarKind.NATIVE else PLAIN_VERSIONS
    version = versions[pick % len(versions)]
    check(pod, version)
    made = injected(pod, config)
    if made is not None:
        check(made, version)
        assert_restricted(made)


@pytest.mark.parametrize("kind", list(SidecarKind))
@pytest.mark.parametrize("file", CORPUS, ids=[file.stem for file in CORPUS])
def test_the_corpus_on_every_version(file: Path, kind: SidecarKind) -> None:
    versions = NATIVE_VERSIONS if kind is SidecarKind.NATIVE else PLAIN_VERSIONS
    pod = yaml.safe_load(file.read_text())
    pod["metadata"].setdefault("annotations", {})["sentinel.dev/inject"] = "true"
    config = SidecarConfig(profiles=built_in_profiles(config_map="sentinel"), kind=kind)
    made = injected(pod, config)
    if pod["spec"].get("restartPolicy", "Always") != "Always" and kind is SidecarKind.CONTAINER:
        assert made is None
        return
    assert made is not None
    for version in versions:
        # A pod that uses what this version did not have yet was not valid before either.
        try:
            check(pod, version)
        except jsonschema.ValidationError:
            assert version < "1.30"
            continue
        check(made, version)
    kubernetes_validate.validate(made, "1.37", strict=True)
    assert_restricted(made)
