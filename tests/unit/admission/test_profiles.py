"""Goal: an operator's profiles say what they mean, and what Kubernetes would refuse is refused before.

Method: the config class, the loader, and the container that comes of it.
"""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest

from sentinel.admission.config import AdmissionConfig, AuthorityConfig
from sentinel.admission.patch import patch_pod
from sentinel.admission.profiles import ProfileConfig, SidecarConfig, SidecarKind, SidecarRole
from sentinel.app.admission.config import load_admission
from sentinel.errors import ConfigError
from tests.support.injector import make_pod


def load(tmp_path: Path, text: str) -> AdmissionConfig:
    file = tmp_path / "admission.yaml"
    file.write_text(f"authority: {{}}\n{text}")
    return load_admission(file, environment={}).config


def test_a_profile_says_everything_and_a_pod_only_its_name(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "default_profile: payments\nprofiles:\n  payments:\n    image: registry.example/sentinel@sha256:ab\n"
        "    config_map: sentinel-collect\n    secret: scorer-token\n    role: collect\n    cpu_request: '1'\n    cpu_limit: 1500m\n"
        "    memory_request: 200Mi\n    memory_limit: 1Gi\n    store: 512Mi\n  tiny: {memory_request: 64Mi, memory_limit: 96Mi}\n",
    )
    sidecar = config.sidecar_config(SidecarKind.NATIVE)
    pod = patch_pod(make_pod(), sidecar).pod
    kubernetes_validate.validate(pod, "1.33", strict=True)
    [ours] = pod["spec"]["initContainers"]
    assert ours["image"] == "registry.example/sentinel@sha256:ab"
    assert ours["resources"] == {
        "requests": {"cpu": "1", "memory": "200Mi"},
        "limits": {"cpu": "1500m", "memory": "1Gi"},
    }
    values = {one["name"]: one.get("value") for one in ours["env"]}
    assert values["SENTINEL_ROLE"] == "collect"
    assert values["SENTINEL_STORE__MAX_BYTES"] == "384MiB"
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert volumes["sentinel-config"]["configMap"]["name"] == "sentinel-collect"
    assert volumes["sentinel-secret"]["secret"]["secretName"] == "scorer-token"
    mounts = {one["name"]: one for one in ours["volumeMounts"]}
    assert mounts["sentinel-secret"] == {
        "name": "sentinel-secret", "mountPath": "/etc/sentinel-secret", "readOnly": True,
    }  # fmt: skip
    asked = {"sentinel.dev/inject": "true", "sentinel.dev/profile": "tiny"}
    [tiny] = patch_pod(make_pod(annotations=asked), sidecar).pod["spec"]["initContainers"]
    assert tiny["resources"]["limits"] == {"memory": "96Mi"}
    # Nothing was said of a role: it collects, and a ConfigMap cannot make it another.
    assert {"name": "SENTINEL_ROLE", "value": "collect"} in tiny["env"]
    assert "sentinel-config" in {one["name"] for one in tiny["volumeMounts"]}


def test_a_name_that_is_no_profile_means_the_default_and_is_told() -> None:
    asked = {"sentinel.dev/inject": "true", "sentinel.dev/profile": "\n" * 63}
    many = SidecarConfig(
        profiles={f"{'x' * 60}-{number}": ProfileConfig() for number in range(9)},
        default_profile=f"{'x' * 60}-0",
    )
    injection = patch_pod(make_pod(annotations=asked), many)
    assert injection.profile == many.default_profile
    [warning] = injection.warnings
    assert "names no profile" in warning
    assert len(warning) <= 240
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("profiles: {small: {image: 'a b'}}", "image must be a reference"),
        ("profiles: {small: {config_map: Not_A_Name}}", "config_map must be the name"),
        ("profiles: {small: {cpu_request: 50mm}}", "cpu_request must be a quantity"),
        ("profiles: {small: {cpu_request: '0'}}", "cpu_request must be above 0"),
        ("profiles: {small: {cpu_limit: 10m}}", "cpu_limit must not be below"),
        ("profiles: {small: {memory_limit: 64Mi}}", "memory_limit must be at least 96Mi"),
        ("profiles: {small: {memory_request: 1Gi}}", "not below memory_request"),
        ("profiles: {small: {memory_request: 128MiB}}", "memory_request must be a quantity"),
        ("profiles: {small: {store: 1Mi}}", "store must be at least 64Mi"),
        ("profiles: {small: {role: score}}", "is not one of collect, both"),
        ("profiles: {small: {config_map: ''}}", "role collect needs config_map"),
        (
            "default_profile: small\nprofiles: {small: {role: both}}",
            "profile small: how many pods a workload will have is not known",
        ),
        (
            "profiles: {standard: {}, alone: {config_map: '', role: both}}",
            "profile alone: how many pods",
        ),
        ("profiles: {small: {each_replica_scores: true}}", "goes with role both"),
        ("profiles: {small: {secret: A}}", "secret must be the name of an object"),
        ("default_profile: small\nprofiles: {small: {imgae: a}}", "did you mean image"),
        ("profiles: {Small: {}}", "profiles must have names"),
        ("profiles: {small: {}}", "default_profile must be one of profiles (small)"),
        ("tls: {cert_file: a, key_file: b}", "exactly one of tls and authority"),
        ("ignored_namespaces: [Kube]", "ignored_namespaces must be names"),
        ("reviews: {time_limit: 30s}", "time_limit must be at most 25s"),
        ("reviews: {body_max: 64MiB}", "in_flight_bytes_max must not be below"),
        ("reconcile: {interval: 1s}", "interval must be between"),
        ("listen: {address: example.com}", "address must be an IP address"),
        ("probes: {port: 70000}", "port must be between"),
    ],
)
def test_what_cannot_be_meant_is_a_fault_with_its_line(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    [problem] = caught.value.problems
    assert fault in problem.message
    assert problem.line in (1, 2, 3)


@pytest.mark.parametrize("name", ["service: X", "secret: a/b", "certificate_lifetime: 1s"])
def test_an_authority_is_checked_as_well(tmp_path: Path, name: str) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(f"authority: {{{name}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_admission(file, environment={})
    assert name.split(":")[0] in caught.value.problems[0].message


def test_the_roles_are_those_an_injected_sidecar_can_have() -> None:
    assert {one.value for one in SidecarRole} == {"collect", "both"}


def test_the_built_in_profiles_collect() -> None:
    for profile in AdmissionConfig(authority=AuthorityConfig()).profiles.values():
        assert profile.role is SidecarRole.COLLECT
        assert profile.config_map == "sentinel"
    assert ProfileConfig().role is SidecarRole.COLLECT


def test_a_webhook_lets_pods_decide_alone_only_when_told(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "profiles:\n  standard: {}\n  alone: {config_map: '', role: both, each_replica_scores: true}\n",
    )
    asked = {"sentinel.dev/inject": "true", "sentinel.dev/profile": "alone"}
    pod = patch_pod(make_pod(annotations=asked), config.sidecar_config(SidecarKind.NATIVE)).pod
    values = {one["name"]: one.get("value") for one in pod["spec"]["initContainers"][0]["env"]}
    assert values["SENTINEL_ROLE"] == "both"
    assert values["SENTINEL_EACH_REPLICA_SCORES"] == "true"


def test_nothing_of_a_sidecar_has_to_be_there_for_the_pod_to_start() -> None:
    """A ConfigMap that somebody deleted kept every new pod of a namespace from starting."""
    profile = ProfileConfig(config_map="sentinel", secret="scorer-token")
    config = SidecarConfig(profiles={"standard": profile})
    pod = patch_pod(make_pod(), config).pod
    for volume in pod["spec"]["volumes"]:
        source = volume.get("configMap") or volume.get("secret")
        assert "emptyDir" in volume or source["optional"] is True
    assert "--or-defaults" in pod["spec"]["initContainers"][0]["args"]
