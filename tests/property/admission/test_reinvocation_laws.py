"""Goal: asked again after others changed the pod, the webhook changes nothing of its own, and the third time nothing at all.

Method: a pod is patched, then changed as other webhooks and people do it: containers, init containers and volumes put anywhere, the sidecar's
image, resources, mounts and variables set by hand. An API server asks again after each (`reinvocationPolicy: IfNeeded`).
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.admission.patch import Outcome, has_sidecar, patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarKind
from tests.support.injector import make_pod
from tests.support.json_patch import apply_patch

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

_others = st.fixed_dictionaries(
    {"name": st.sampled_from(["istio-proxy", "vault-agent", "linkerd-init", "logs"])},
    optional={
        "env": st.just([{"name": "A", "value": "b"}]),
        "restartPolicy": st.just("Always"),
        "ports": st.just([{"containerPort": 15090}]),
    },
)
_additions = st.lists(
    st.tuples(
        st.sampled_from(["containers", "initContainers", "volumes"]), st.integers(0, 5), _others
    ),
    max_size=4,
)
_by_hand = st.fixed_dictionaries(
    {},
    optional={
        "image": st.just("mirror.example/sentinel@sha256:0"),
        "resources": st.just({"limits": {"memory": "1Gi"}}),
        "imagePullPolicy": st.just("Always"),
        "volumeMounts": st.just([{"name": "token", "mountPath": "/token"}]),
        "env": st.just([{"name": ENDPOINT, "value": "http://elsewhere:4318"}]),
        "securityContext": st.none(),
    },
)


def sidecar_of(pod: dict[str, Any]) -> dict[str, Any]:
    spec = pod["spec"]
    both = [*(spec.get("initContainers") or []), *spec["containers"]]
    [found] = [one for one in both if one["name"] == "sentinel"]
    assert isinstance(found, dict)
    return found


def changed(
    pod: dict[str, Any], additions: list[tuple[str, int, Any]], by_hand: dict[str, Any]
) -> dict[str, Any]:
    """What others make of a pod, each name once in a list."""
    made = copy.deepcopy(pod)
    for place, at, one in additions:
        items = made["spec"].setdefault(place, [])
        if all(item["name"] != one["name"] for item in items):
            added = {"name": one["name"], "emptyDir": {}} if place == "volumes" else one
            items.insert(at % (len(items) + 1), copy.deepcopy(added))
    sidecar_of(made).update(by_hand)
    return made


@settings(max_examples=200)
@pytest.mark.parametrize("kind", SidecarKind)
@given(additions=_additions, later=_additions, by_hand=_by_hand)
def test_what_others_add_is_pointed_to_the_sidecar_and_nothing_else_changes(
    kind: SidecarKind,
    additions: list[tuple[str, int, Any]],
    later: list[tuple[str, int, Any]],
    by_hand: dict[str, Any],
) -> None:
    config = SidecarConfig(kind=kind)
    pod = patch_pod(make_pod(), config).pod
    for step in (additions, later):
        pod = changed(pod, step, by_hand)
        again = patch_pod(pod, config)
        assert again.outcome is Outcome.INJECTED
        assert apply_patch(pod, list(again.operations)) == again.pod
        # Only variables of containers, and only of such as had no endpoint.
        for operation in again.operations:
            assert "/env" in operation["path"], operation
        assert has_sidecar(again.pod)
        assert sidecar_of(again.pod) == sidecar_of(pod)
        for old, new in zip(
            pod["spec"]["containers"], again.pod["spec"]["containers"], strict=True
        ):
            assert {**old, "env": None} == {**new, "env": None}
            if new["name"] != "sentinel":
                assert ENDPOINT in {one["name"] for one in new["env"]}
        assert patch_pod(again.pod, config).operations == ()
        pod = again.pod


@pytest.mark.parametrize("kind", SidecarKind)
@pytest.mark.parametrize("lost", ["volume", "status", "container", "status and container"])
def test_what_somebody_took_away_is_mended_once_or_refused_and_then_stays(
    kind: SidecarKind, lost: str
) -> None:
    config = SidecarConfig(kind=kind)
    whole = patch_pod(make_pod(), config).pod
    pod = copy.deepcopy(whole)
    place = "initContainers" if kind is SidecarKind.NATIVE else "containers"
    if lost == "volume":
        pod["spec"]["volumes"].pop()
    if "status" in lost:
        del pod["metadata"]["annotations"]["sentinel.dev/status"]
    if "container" in lost:
        pod["spec"][place] = [one for one in pod["spec"][place] if one["name"] != "sentinel"]
    again = patch_pod(pod, config)
    if "status" in lost:
        # Without the mark nothing tells ours from theirs: neither doubled nor replaced.
        assert again.outcome is Outcome.NAME_TAKEN
        assert again.pod == pod
    else:
        assert again.pod["spec"] == whole["spec"]
    assert patch_pod(again.pod, config).operations == ()


def test_a_later_container_that_ends_the_class_guaranteed_ends_it_for_the_sidecar_too() -> None:
    """What is reserved for it has to be of the pod's class; this once, and with the pod's own left alone."""
    fixed = {"limits": {"cpu": "1", "memory": "1Gi"}}
    config = SidecarConfig()
    pod = patch_pod(
        make_pod(containers=[{"name": "app", "image": "a", "resources": fixed}]), config
    ).pod
    assert sidecar_of(pod)["resources"]["limits"].keys() == {"cpu", "memory"}
    pod["spec"]["containers"].append({"name": "istio-proxy", "image": "b"})
    again = patch_pod(pod, config)
    assert apply_patch(pod, list(again.operations)) == again.pod
    assert sidecar_of(again.pod)["resources"]["limits"].keys() == {"memory"}
    assert [one["name"] for one in again.pod["spec"]["containers"]] == ["app", "istio-proxy"]
    assert patch_pod(again.pod, config).operations == ()
