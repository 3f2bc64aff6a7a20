"""Goal: for any pod, injecting twice is injecting once, the patch makes the pod, the application is untouched.

Method: generated pods with odd names, other init containers, volumes, variables and annotations.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sentinel.admission.json_patch import difference
from sentinel.admission.manifests import read_documents, write_documents
from sentinel.admission.patch import Outcome, patch_pod
from sentinel.admission.profiles import (
    SidecarConfig,
    SidecarKind,
    SidecarRole,
    built_in_profiles,
)
from tests.support.json_patch import apply_patch

_names = st.sampled_from(["app", "sentinel", "migrate", "proxy", "a/b~c", "sentinel-store", "x"])
_env = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(
                ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "A"]
            ),
            "value": st.sampled_from(["grpc", "http/json", ""]),
        }
    ),
    max_size=3,
)
_containers = st.fixed_dictionaries(
    {"name": _names},
    optional={
        "env": st.none() | _env,
        "envFrom": st.just([{"configMapRef": {"name": "x"}}]),
        "resources": st.sampled_from(
            [None, {"limits": {"cpu": "1", "memory": "1Gi"}}, {"requests": {"cpu": "1"}}]
        ),
    },
)
_pods = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(_containers, min_size=1, max_size=3)},
            optional={
                "initContainers": st.none() | st.lists(_containers, max_size=3),
                "volumes": st.none()
                | st.lists(st.fixed_dictionaries({"name": _names}), max_size=3),
                "hostNetwork": st.booleans(),
                "restartPolicy": st.sampled_from(["Always", "Never", "OnFailure"]),
            },
        )
    },
    optional={
        "metadata": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "annotations": st.none()
                | st.dictionaries(
                    st.sampled_from(
                        [f"sentinel.dev/{key}" for key in ("inject", "profile", "status", "image")]
                    )
                    | st.text(max_size=9),
                    st.sampled_from(["true", "false", "small"]) | st.text(max_size=9),
                    max_size=4,
                )
            },
        )
    },
)
_configs = st.builds(
    SidecarConfig,
    profiles=st.sampled_from(
        [
            built_in_profiles(),
            built_in_profiles(config_map="", role=SidecarRole.BOTH),
            built_in_profiles(role=SidecarRole.BOTH, each_replica_scores=True),
        ]
    ),
    kind=st.sampled_from(SidecarKind),
    allow_host_network=st.booleans(),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(pod=_pods, config=_configs)
def test_twice_is_once_and_the_patch_makes_the_pod(
    pod: dict[str, Any], config: SidecarConfig
) -> None:
    before = copy.deepcopy(pod)
    once = patch_pod(pod, config)
    assert pod == before
    assert apply_patch(pod, list(once.operations)) == once.pod
    if once.outcome is not Outcome.INJECTED:
        assert once.pod == before
        return
    again = patch_pod(once.pod, config)
    assert again.operations == ()
    assert again.pod == once.pod


@given(pod=_pods, config=_configs)
def test_the_application_keeps_its_own(pod: dict[str, Any], config: SidecarConfig) -> None:
    injection = patch_pod(pod, config)
    patched = injection.pod["spec"]["containers"]
    if injection.outcome is Outcome.INJECTED and config.kind is SidecarKind.CONTAINER:
        assert patched[-1]["name"] == "sentinel"
        patched = patched[:-1]
    for old, new in zip(pod["spec"]["containers"], patched, strict=True):
        assert {**new, "env": old.get("env")} == {**old, "env": old.get("env")}
        assert (new.get("env") or [])[: len(old.get("env") or [])] == (old.get("env") or [])


@given(before=_json, after=_json)
def test_a_difference_applied_makes_the_other_document(before: Any, after: Any) -> None:
    made = apply_patch(before, difference(before, after))
    # repr tells True from 1, which == does not; order of members is not part of JSON.
    assert _canonical(made) == _canonical(after)


@given(document=_json)
def test_what_is_written_reads_back_the_same(document: Any) -> None:
    whole = {"kind": "ConfigMap", "data": document}
    [(number, again)] = read_documents(write_documents([whole]))
    assert number == 1
    assert _canonical(again) == _canonical(whole)


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        return repr(sorted((key, _canonical(inner)) for key, inner in value.items()))
    if isinstance(value, list):
        return repr([_canonical(inner) for inner in value])
    return repr(value)
