"""Goal: the injected pod is valid, restricted, and lets no annotation reach what runs.

Method: values in, values out; Kubernetes' own schemas decide what is valid; the patch is applied by an independent
reading of RFC 6902.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest

from sentinel.admission.patch import PROFILE, STATUS, Outcome, patch_pod
from sentinel.admission.profiles import (
    ProfileConfig,
    SidecarConfig,
    SidecarRole,
    built_in_profiles,
)
from sentinel.app.config import load_config
from sentinel.cli.main import build_parser
from sentinel.errors import MalformedInputError
from tests.support.json_patch import apply_patch

CONFIG = SidecarConfig(profiles=built_in_profiles(image="sentinel:1.2.3", config_map="sentinel"))
PROFILES = tuple(CONFIG.profiles)


def alone(**more: Any) -> SidecarConfig:
    """Sidecars that decide by themselves, on their defaults."""
    return SidecarConfig(profiles=built_in_profiles(config_map="", role=SidecarRole.BOTH, **more))


def make_pod(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "payments"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], **spec},
    }


def annotated(**annotations: str) -> dict[str, Any]:
    pod = make_pod()
    pod["metadata"]["annotations"] = {
        f"sentinel.dev/{key}": value for key, value in annotations.items()
    }
    return pod


def sidecar_of(pod: dict[str, Any]) -> dict[str, Any]:
    first = pod["spec"]["initContainers"][0]
    assert isinstance(first, dict)
    assert first["name"] == "sentinel"
    return first


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_the_injected_pod_passes_kubernetes_own_schema(version: str) -> None:
    for config in (CONFIG, alone()):
        pod = patch_pod(make_pod(), config).pod
        kubernetes_validate.validate(pod, version, strict=True)
        # Strict is strict: what is no field of a sidecar's is refused.
        sidecar_of(pod)["restartpolicy"] = "Always"
        with pytest.raises(kubernetes_validate.ValidationError, match="restartpolicy"):
            kubernetes_validate.validate(pod, version, strict=True)


def test_it_is_a_native_sidecar_and_first() -> None:
    pod = make_pod(initContainers=[{"name": "migrate", "image": "app:1"}])
    spec = patch_pod(pod, CONFIG).pod["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["sentinel", "migrate"]
    assert spec["initContainers"][0]["restartPolicy"] == "Always"


def test_it_meets_the_restricted_pod_security_standard_by_itself() -> None:
    pod = patch_pod(make_pod(), CONFIG).pod
    context = sidecar_of(pod)["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = {key for volume in pod["spec"]["volumes"] for key in volume} - {"name"}
    assert kinds == {"emptyDir", "configMap"}
    assert all(
        "sizeLimit" in volume["emptyDir"]
        for volume in pod["spec"]["volumes"]
        if "emptyDir" in volume
    )


def test_it_never_keeps_the_application_from_starting_or_from_its_traffic() -> None:
    ours = sidecar_of(patch_pod(make_pod(), CONFIG).pod)
    assert "livenessProbe" in ours
    assert "startupProbe" not in ours
    assert "readinessProbe" not in ours
    assert "cpu" not in ours["resources"]["limits"]
    assert "memory" in ours["resources"]["limits"]


def test_it_declines_the_pods_api_token() -> None:
    ours = sidecar_of(patch_pod(make_pod(), CONFIG).pod)
    paths = [mount["mountPath"] for mount in ours["volumeMounts"]]
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in paths


def test_ports_are_named_within_kubernetes_bound() -> None:
    ports = sidecar_of(patch_pod(make_pod(), CONFIG).pod)["ports"]
    assert len({port["name"] for port in ports}) == len(ports) > 0
    for port in ports:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,14}", port["name"])


def test_the_patch_makes_the_pod_and_touches_only_what_it_must() -> None:
    pod = make_pod(volumes=[{"name": "data", "emptyDir": {}}])
    pod["metadata"]["annotations"] = {"team/owner~x": "payments"}
    before = copy.deepcopy(pod)
    injection = patch_pod(pod, CONFIG)
    assert pod == before
    assert apply_patch(pod, list(injection.operations)) == injection.pod
    assert {operation["op"] for operation in injection.operations} == {"add"}
    assert {operation["path"] for operation in injection.operations} == {
        "/spec/initContainers",
        "/spec/volumes/-",
        "/spec/containers/0/env",
        "/metadata/annotations/sentinel.dev~1status",
    }


def test_again_changes_nothing_and_a_new_image_replaces() -> None:
    once = patch_pod(make_pod(), CONFIG)
    again = patch_pod(once.pod, CONFIG)
    assert again.outcome is Outcome.INJECTED
    assert again.operations == ()
    assert again.pod == once.pod
    newer = patch_pod(once.pod, alone(image="sentinel:2.0.0"))
    assert sidecar_of(newer.pod)["image"] == "sentinel:2.0.0"
    assert len(newer.pod["spec"]["initContainers"]) == 1
    assert not [one for one in newer.pod["spec"]["volumes"] if one["name"] == "sentinel-config"]
    statuses = {one.pod["metadata"]["annotations"][STATUS] for one in (once, newer)}
    assert len(statuses) == 2


@pytest.mark.parametrize(
    ("env", "endpoint", "protocol"),
    [
        ([], "http://127.0.0.1:4318", "http/protobuf"),
        (
            [{"name": "OTEL_EXPORTER_OTLP_PROTOCOL", "value": "grpc"}],
            "http://127.0.0.1:4317",
            "grpc",
        ),
        (
            [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
            "http://collector:4318",
            None,
        ),
    ],
)
def test_the_endpoint_is_set_only_where_it_is_unset(
    env: list[dict[str, str]], endpoint: str, protocol: str | None
) -> None:
    pod = make_pod(containers=[{"name": "app", "image": "app:1", "env": env}])
    patched = patch_pod(pod, CONFIG).pod["spec"]["containers"][0]["env"]
    values = {variable["name"]: variable["value"] for variable in patched}
    assert values["OTEL_EXPORTER_OTLP_ENDPOINT"] == endpoint
    assert values.get("OTEL_EXPORTER_OTLP_PROTOCOL") == protocol


def test_variables_from_elsewhere_are_not_overridden_unseen() -> None:
    """`env` wins over `envFrom`: setting the endpoint there would have silently redirected the telemetry."""
    container = {"name": "app", "image": "app:1", "envFrom": [{"configMapRef": {"name": "x"}}]}
    injection = patch_pod(make_pod(containers=[container]), CONFIG)
    assert "env" not in injection.pod["spec"]["containers"][0]
    assert len(injection.warnings) == 1
    assert "envFrom" not in injection.warnings[0]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT was not set" in injection.warnings[0]


@pytest.mark.parametrize(
    ("pod", "outcome"),
    [
        (make_pod(hostNetwork=True), Outcome.HOST_NETWORK),
        (make_pod(os={"name": "windows"}), Outcome.WINDOWS),
        (make_pod(nodeSelector={"kubernetes.io/os": "windows"}), Outcome.WINDOWS),
        (
            make_pod(containers=[{"name": "a", "ports": [{"containerPort": 9641}]}]),
            Outcome.PORT_TAKEN,
        ),
        (annotated(inject="false"), Outcome.OPTED_OUT),
        (make_pod(containers=[{"name": "sentinel", "image": "x"}]), Outcome.NAME_TAKEN),
        (make_pod(initContainers=[{"name": "sentinel", "image": "x"}]), Outcome.NAME_TAKEN),
        (make_pod(volumes=[{"name": "sentinel-store", "emptyDir": {}}]), Outcome.NAME_TAKEN),
    ],
)
def test_a_pod_that_is_not_injected_stays_as_it_was(pod: dict[str, Any], outcome: Outcome) -> None:
    injection = patch_pod(pod, CONFIG)
    assert injection.outcome is outcome
    assert injection.pod == pod
    assert injection.operations == ()


def test_host_network_can_be_allowed() -> None:
    config = SidecarConfig(allow_host_network=True)
    assert patch_pod(make_pod(hostNetwork=True), config).outcome is Outcome.INJECTED


@pytest.mark.parametrize("profile", PROFILES)
def test_the_sidecars_variables_are_settings_that_the_program_takes(profile: str) -> None:
    """An unknown override stops the start; a store as large as its volume would have the pod evicted."""
    pod = patch_pod(annotated(profile=profile), CONFIG).pod
    values = {
        variable["name"]: variable["value"].replace("$(POD_IP)", "10.1.2.3")
        for variable in sidecar_of(pod)["env"]
        if variable["name"].startswith("SENTINEL_")
    }
    config = load_config(
        None, environment={**values, "SENTINEL_COLLECT__URL": "http://127.0.0.1:4319"}
    ).config
    assert config.role.value == "collect"
    assert config.web.probes is not None
    assert config.web.probes.address == "10.1.2.3"
    assert config.web.probes.port == sidecar_of(pod)["ports"][0]["containerPort"]
    assert config.web.listen.is_loopback
    [store] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "sentinel-store"]
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", store["emptyDir"]["sizeLimit"]).groups()  # type: ignore[union-attr]
    limit_bytes = int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]
    assert config.store.max_bytes <= 0.8 * limit_bytes
    assert str(config.store.directory).startswith("/var/lib/sentinel/")


def test_a_volume_of_the_application_that_only_sounds_like_ours_stays() -> None:
    volume = {"name": "sentinel-reports", "emptyDir": {}}
    once = patch_pod(make_pod(volumes=[volume]), CONFIG)
    assert patch_pod(once.pod, CONFIG).pod["spec"]["volumes"][0] == volume


def test_a_profile_is_chosen_by_name() -> None:
    sizes = {
        profile: sidecar_of(patch_pod(annotated(profile=profile), CONFIG).pod)["resources"]
        for profile in PROFILES
    }
    assert len({json.dumps(size) for size in sizes.values()}) == len(PROFILES)


@pytest.mark.parametrize(
    "annotations",
    [
        {"profile": "huge\n\x1b[31m" + "x" * 1000},
        {"image": "evil:1"},
        {"command": '["sh"]'},
        {"env": "LD_PRELOAD=/x"},
        {"securityContext": "privileged"},
        {"volume/host~path": "/"},
    ],
)
def test_no_annotation_reaches_what_runs(annotations: dict[str, str]) -> None:
    hostile = patch_pod(annotated(**annotations), CONFIG)
    plain = patch_pod(make_pod(), CONFIG)
    assert hostile.pod["spec"] == plain.pod["spec"]
    [warning] = hostile.warnings
    assert len(warning) <= 256
    assert warning.isprintable()


def test_a_guaranteed_pod_stays_guaranteed() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    container = {
        "name": "app",
        "image": "app:1",
        "resources": {"limits": both, "requests": dict(both)},
    }
    ours = sidecar_of(patch_pod(make_pod(containers=[container]), CONFIG).pod)["resources"]
    assert ours["limits"] == ours["requests"]
    assert set(ours["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ({}, "spec is missing"),
        ({"spec": {}}, "spec.containers is missing"),
        ({"spec": {"containers": []}}, "spec.containers is missing"),
        ({"spec": {"containers": "app"}}, "spec.containers is not a list"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers is not a list"),
        (make_pod(volumes={"a": 1}), "spec.volumes is not a list"),
        (make_pod(initContainers=[1]), "spec.initContainers is not a list"),
        (make_pod(os="linux"), "spec.os is not an object"),
        (make_pod(nodeSelector=[1]), "spec.nodeSelector is not an object"),
        (make_pod(containers=[{"name": "a", "ports": [1]}]), "ports is not a list of objects"),
        (
            make_pod(containers=[{"name": "a", "ports": [{"containerPort": [1]}]}]),
            "ports is not a list of objects",
        ),
        (make_pod(containers=[{"name": "a", "env": {"A": "b"}}]), "containers.0..env is not"),
        (make_pod(containers=[{"name": "a", "resources": [1]}]), "resources is not an object"),
        (
            make_pod(containers=[{"name": "a", "resources": {"limits": [1]}}]),
            "resources.limits is not",
        ),
        ({**make_pod(), "metadata": ["x"]}, "metadata is not an object"),
        ({**make_pod(), "metadata": {"annotations": {"a": 1}}}, "not an object of texts"),
    ],
)
def test_what_is_not_a_pod_is_told_so(pod: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedInputError, match=message):
        patch_pod(pod, CONFIG)


def test_nulls_are_as_if_they_were_not_there() -> None:
    pod = {"metadata": None, "spec": {"containers": [{"name": "a", "env": None}], "volumes": None}}
    assert patch_pod(pod, CONFIG).pod["metadata"]["annotations"].keys() == {STATUS}


@pytest.mark.parametrize(
    "settings", [{"image": "a b"}, {"image": ""}, {"config_map": "Not_A_Name"}]
)
def test_the_operators_mistakes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ProfileConfig(**settings)


def test_the_profile_annotation_is_where_the_documents_say() -> None:
    assert PROFILE == "sentinel.dev/profile"


def test_the_sidecars_arguments_are_those_of_the_program() -> None:
    for config in (CONFIG, alone()):
        arguments = sidecar_of(patch_pod(make_pod(), config).pod)["args"]
        parsed = build_parser([arguments[0]]).parse_args(arguments)
        assert parsed.command == "run"
        # Whatever is refused at its start, the pod is not to pay for it.
        assert parsed.or_defaults is True
        assert (parsed.config is not None) is (config is CONFIG)


def test_a_collecting_sidecars_variables_are_settings_too() -> None:
    """Its windows wait in the store's folder: more of them than the volume holds would have the pod evicted."""
    profile = ProfileConfig(config_map="c", role=SidecarRole.COLLECT, store="512Mi")
    pod = patch_pod(make_pod(), SidecarConfig(profiles={"standard": profile})).pod
    values = {
        variable["name"]: variable["value"].replace("$(POD_IP)", "10.1.2.3")
        for variable in sidecar_of(pod)["env"]
        if variable["name"].startswith("SENTINEL_")
    }
    given = {**values, "SENTINEL_COLLECT__URL": "http://127.0.0.1:4319"}
    config = load_config(None, environment=given).config
    assert config.role.value == "collect"
    assert config.collect.queue_max <= 192 * 2**20


def test_a_port_of_the_sidecars_that_the_application_has_is_not_fought_over() -> None:
    """Beside a collector in the pod the sidecar could not bind 4317, and the pod was never ready."""
    collector = {"name": "collector", "ports": [{"name": "otlp", "containerPort": 4317}]}
    for place in ("containers", "initContainers"):
        spec: dict[str, Any] = {"containers": [{"name": "app"}]}
        spec[place] = [*spec.get(place, []), collector]
        assert patch_pod(make_pod(**spec), alone()).outcome is Outcome.PORT_TAKEN
        # A ConfigMap may have moved it.
        injection = patch_pod(make_pod(**spec), CONFIG)
        assert injection.outcome is Outcome.INJECTED
        assert any("port 4317" in one for one in injection.warnings)
    udp = {"name": "dns", "ports": [{"containerPort": 4318, "protocol": "UDP"}]}
    assert patch_pod(make_pod(containers=[udp]), alone()).outcome is Outcome.INJECTED
    # Its own ports are no reason, when it is asked again.
    again = patch_pod(patch_pod(make_pod(), alone()).pod, alone())
    assert again.outcome is Outcome.INJECTED


@pytest.mark.parametrize("each_replica_scores", [False, True])
@pytest.mark.parametrize("is_numbered", [False, True])
def test_who_decides_alone_is_told_its_number_or_that_each_may(
    *, is_numbered: bool, each_replica_scores: bool
) -> None:
    """Scaled by hand, the second pod of a StatefulSet had no way to know that it was not alone."""
    config = alone(each_replica_scores=each_replica_scores)
    pod = patch_pod(make_pod(), config, is_numbered=is_numbered).pod
    values = {one["name"]: one.get("value") for one in sidecar_of(pod)["env"]}
    assert values["SENTINEL_ROLE"] == "both"
    assert values.get("SENTINEL_EACH_REPLICA_SCORES") == ("true" if each_replica_scores else None)
    numbered = is_numbered and not each_replica_scores
    assert values.get("SENTINEL_REPLICA_NAME") == ("$(POD_NAME)" if numbered else None)
    # Kubernetes puts in only what was said before.
    names = [one["name"] for one in sidecar_of(pod)["env"]]
    assert not numbered or names.index("POD_NAME") < names.index("SENTINEL_REPLICA_NAME")
    assert patch_pod(pod, config, is_numbered=is_numbered).operations == ()
