"""Goal: pods that should have a sidecar and do not are counted, and no others. Method: pods as an API server lists them."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.admission.patch import patch_pod
from sentinel.admission.profiles import SidecarConfig, built_in_profiles
from sentinel.admission.review import ReviewRules
from sentinel.admission.tally import OTHER_NAMESPACES, PodState, Tally, state_of
from tests.support.injector import make_pod

RULES = ReviewRules(sidecar=SidecarConfig(), ignored_namespaces=frozenset({"kube-system"}))


def having(config: SidecarConfig | None = None, **spec: Any) -> dict[str, Any]:
    """A pod with its sidecar, as the API server has filled it in."""
    pod = patch_pod(make_pod(**spec), config or SidecarConfig()).pod
    for one in pod["spec"]["initContainers"]:
        one["terminationMessagePath"] = "/dev/termination-log"
        one["volumeMounts"] = [*one["volumeMounts"], {"name": "x", "mountPath": "/x"}]
    return {**pod, "status": {"phase": "Running"}}


def within(pod: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**pod, "metadata": {**pod["metadata"], **metadata}}


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        (having(), PodState.PRESENT),
        (
            having(SidecarConfig(profiles=built_in_profiles(image="sentinel:0"))),
            PodState.OUTDATED,
        ),
        (make_pod(), PodState.MISSED),
        ({**make_pod(), "status": {"phase": "Pending"}}, PodState.MISSED),
        (make_pod(hostNetwork=True), PodState.REFUSED),
        (make_pod(containers=[]), PodState.REFUSED),
        (make_pod(annotations={}), None),
        (make_pod(annotations={"sentinel.dev/inject": "false"}), None),
        ({**make_pod(), "status": {"phase": "Succeeded"}}, None),
        (within(make_pod(), deletionTimestamp="2026-01-01T00:00:00Z"), None),
        (within(make_pod(), namespace="kube-system"), None),
        ({}, None),
        ({"metadata": 7}, None),
    ],
)
def test_a_pod_stands_as_it_is(pod: dict[str, Any], state: PodState | None) -> None:
    assert state_of(pod, RULES) is state


def test_a_mark_alone_is_no_sidecar() -> None:
    pod = having()
    del pod["spec"]["initContainers"]
    assert state_of(pod, RULES) is PodState.MISSED


def test_without_a_known_form_present_and_missing_are_still_told_apart() -> None:
    unknown = ReviewRules(sidecar=None)
    assert state_of(having(), unknown) is PodState.PRESENT
    assert state_of(make_pod(), unknown) is PodState.MISSED


def test_the_worst_namespaces_are_named_and_the_rest_is_summed_up() -> None:
    tally = Tally()
    for number in range(5):
        pods = [within(make_pod(), namespace=f"n{number}") for _ in range(number + 1)]
        tally.add([*pods, "not a pod", within(having(), namespace="n9")], RULES)
    assert tally.seen_count == 15 + 5 + 5
    assert tally.states == {PodState.MISSED: 15, PodState.PRESENT: 5}
    assert tally.by_namespace(2) == {
        ("n4", PodState.MISSED): 5,
        ("n3", PodState.MISSED): 4,
        (OTHER_NAMESPACES, PodState.MISSED): 6,
    }
    assert len(tally.named) == 10
    assert tally.named[0] == "n0/payments (missed)"
