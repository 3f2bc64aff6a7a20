"""Goal: on clusters before native sidecars a pod gets a plain container, and one that is to end gets none.

Method: values in, values out; the schemas of old versions decide what is valid.
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest

from sentinel.admission.manifests import inject_document
from sentinel.admission.patch import STATUS, Outcome, has_sidecar, patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarKind
from tests.support.injector import make_pod
from tests.support.json_patch import apply_patch

PLAIN = SidecarConfig(kind=SidecarKind.CONTAINER)
NATIVE = SidecarConfig()


@pytest.mark.parametrize("version", ["1.25", "1.28", "1.37"])
def test_it_is_a_container_behind_the_others_and_valid_on_old_clusters(version: str) -> None:
    pod = make_pod(initContainers=[{"name": "migrate", "image": "app:1"}])
    patched = patch_pod(pod, PLAIN).pod
    kubernetes_validate.validate(patched, version, strict=True)
    assert [one["name"] for one in patched["spec"]["containers"]] == ["app", "sentinel"]
    assert patched["spec"]["initContainers"] == pod["spec"]["initContainers"]
    ours = patched["spec"]["containers"][-1]
    assert "restartPolicy" not in ours
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in {one["name"] for one in ours["env"]}
    assert has_sidecar(patched)


def test_only_what_must_be_is_touched() -> None:
    """A list whose element changed and which got one more was once replaced whole."""
    injection = patch_pod(make_pod(), PLAIN)
    assert {one["path"] for one in injection.operations} == {
        "/metadata/annotations/sentinel.dev~1status",
        "/spec/containers/0/env",
        "/spec/containers/-",
        "/spec/volumes",
    }
    assert apply_patch(make_pod(), list(injection.operations)) == injection.pod


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_pod_that_is_to_end_gets_none(policy: str) -> None:
    pod = make_pod(restartPolicy=policy)
    assert patch_pod(pod, PLAIN).outcome is Outcome.RUNS_TO_END
    assert patch_pod(pod, NATIVE).outcome is Outcome.INJECTED
    template = {"metadata": pod["metadata"], "spec": pod["spec"]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "close"}}
    document = {**job, "spec": {"template": template}}
    injected = inject_document(document, PLAIN)
    assert (injected.document, injected.problems) == (document, ())
    [warning] = injected.warnings
    assert "is to end" in warning


def test_again_changes_nothing_and_each_form_takes_the_others_place() -> None:
    plain = patch_pod(make_pod(), PLAIN)
    assert patch_pod(plain.pod, PLAIN).operations == ()
    native = patch_pod(plain.pod, NATIVE)
    assert native.pod == patch_pod(make_pod(), NATIVE).pod
    assert (
        patch_pod(native.pod, PLAIN).pod["spec"]["containers"] == plain.pod["spec"]["containers"]
    )
    assert has_sidecar(native.pod)


def test_an_applications_container_of_our_name_is_never_taken_away() -> None:
    theirs: list[dict[str, Any]] = [{"name": "sentinel", "image": "theirs"}, {"name": "app"}]
    for marks in ({}, {STATUS: "injected-0123456789abcdef"}, {STATUS: "other"}):
        pod = make_pod(annotations=marks, containers=theirs)
        for config in (PLAIN, NATIVE):
            assert patch_pod(pod, config).outcome is Outcome.NAME_TAKEN
            assert not has_sidecar(pod)
    # Marked as a plain sidecar, but there is nothing that it could be beside.
    alone = make_pod(annotations={STATUS: "container-0"}, containers=theirs[:1])
    assert patch_pod(alone, NATIVE).outcome is Outcome.NAME_TAKEN


@pytest.mark.parametrize("config", [PLAIN, NATIVE], ids=["container", "native"])
def test_what_others_made_of_it_since_stays(config: SidecarConfig) -> None:
    """An API server asks again after later injectors; a mirror's image that was put back could not be pulled."""
    pod = patch_pod(make_pod(), config).pod
    place = "containers" if config.kind is SidecarKind.CONTAINER else "initContainers"
    [ours] = [one for one in pod["spec"][place] if one["name"] == "sentinel"]
    ours["image"] = "mirror.example/sentinel:0.1.0"
    ours["resources"]["limits"]["cpu"] = "2"
    ours["terminationMessagePath"] = "/dev/termination-log"
    pod["spec"]["containers"].append({"name": "proxy", "image": "proxy:1"})
    pod["spec"]["initContainers"] = [
        {"name": "proxy-init", "image": "proxy:1"},
        *pod["spec"].get("initContainers", []),
    ]
    again = patch_pod(pod, config)
    assert {one["path"] for one in again.operations} == {
        f"/spec/containers/{len(pod['spec']['containers']) - 1}/env"
    }
    [still] = [one for one in again.pod["spec"][place] if one["name"] == "sentinel"]
    assert still == ours


def test_what_is_marked_and_was_taken_out_is_put_back() -> None:
    pod = patch_pod(make_pod(), NATIVE).pod
    pod["spec"]["initContainers"] = []
    assert not has_sidecar(pod)
    assert has_sidecar(patch_pod(pod, NATIVE).pod)
    pod = patch_pod(make_pod(), NATIVE).pod
    pod["spec"]["volumes"] = []
    assert patch_pod(pod, NATIVE).pod == patch_pod(make_pod(), NATIVE).pod
