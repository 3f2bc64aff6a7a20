"""A pod in, the same pod with Sentinel beside its containers out; pure, and idempotent.

    patch_pod(patch_pod(pod)) == patch_pod(pod)

What is ours in a pod is found by the status annotation and replaced, never added twice; a pod with a container of our
name that we did not put there is refused. Annotations of a pod choose a profile by name: no annotation reaches an image,
a command, an environment, a volume or a security context, because whoever may annotate a pod may not thereby run code.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sentinel.admission import sidecar
from sentinel.admission.json_patch import Operation, difference
from sentinel.admission.sidecar import Profile, SidecarConfig
from sentinel.errors import MalformedInputError

ANNOTATION_PREFIX = "sentinel.dev/"
INJECT = f"{ANNOTATION_PREFIX}inject"
PROFILE = f"{ANNOTATION_PREFIX}profile"
STATUS = f"{ANNOTATION_PREFIX}status"

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_OURS = tuple(
    endpoint.replace("127.0.0.1", host)
    for endpoint in (sidecar.OTLP_GRPC_ENDPOINT, sidecar.OTLP_HTTP_ENDPOINT)
    for host in ("127.0.0.1", "localhost")
)
_SHOWN_CHARS_MAX = 63


class Outcome(StrEnum):
    """What became of a pod, and why; every outcome but the first leaves it as it was."""

    INJECTED = "injected"
    OPTED_OUT = "opted_out"
    HOST_NETWORK = "host_network"
    WINDOWS = "windows"
    NAME_TAKEN = "name_taken"


EXPLANATIONS = {
    Outcome.INJECTED: "injected",
    Outcome.OPTED_OUT: f'left alone, because its annotation {INJECT} is "false"',
    Outcome.HOST_NETWORK: "refused, because with hostNetwork the ports would be those of the node",
    Outcome.WINDOWS: "refused, because the sidecar runs on Linux only",
    Outcome.NAME_TAKEN: "refused, because it has a container or volume of our name that is not ours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """The end of one injection.

    Attributes:
        outcome: what became of the pod.
        pod: the pod as it should be; the one given, untouched, unless `outcome` is INJECTED.
        operations: JSON Patch from the pod given to `pod`; empty when there is nothing to change.
        warnings: sentences for whoever asked, each at most 256 characters.
    """

    outcome: Outcome
    pod: dict[str, Any]
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()


def patch_pod(pod: dict[str, Any], config: SidecarConfig) -> Injection:
    """Put the sidecar into a pod, or into the pod template of a workload.

    Args:
        pod: an object with `metadata` and `spec` of a Pod; it is not changed.
        config: what the operator decided.

    Raises:
        MalformedInputError: it is not shaped like a pod.
    """
    _check_shape(pod)
    annotations: dict[str, str] = (pod.get("metadata") or {}).get("annotations") or {}
    warnings: list[str] = []
    profile = _profile(annotations, config, warnings)
    outcome = _outcome(pod, annotations, config)
    if outcome is not Outcome.INJECTED:
        return Injection(outcome=outcome, pod=pod, warnings=tuple(warnings))
    patched = _injected(pod, config, profile, warnings)
    return Injection(
        outcome=outcome,
        pod=patched,
        operations=tuple(difference(pod, patched)),
        warnings=tuple(warnings),
    )


def _outcome(pod: dict[str, Any], annotations: dict[str, str], config: SidecarConfig) -> Outcome:
    spec = pod["spec"]
    if annotations.get(INJECT) == "false":
        return Outcome.OPTED_OUT
    if spec.get("hostNetwork") is True and not config.allow_host_network:
        return Outcome.HOST_NETWORK
    if (spec.get("os") or {}).get("name") == "windows":
        return Outcome.WINDOWS
    if _name_is_taken(spec, marked=STATUS in annotations):
        return Outcome.NAME_TAKEN
    return Outcome.INJECTED


def _name_is_taken(spec: dict[str, Any], *, marked: bool) -> bool:
    """An application container may never have our name; an init container or volume only when the pod is marked."""
    if any(container["name"] == sidecar.CONTAINER for container in spec["containers"]):
        return True
    return not marked and (
        any(one["name"] == sidecar.CONTAINER for one in spec.get("initContainers") or [])
        or any(_is_our_volume(volume) for volume in spec.get("volumes") or [])
    )


def _injected(
    pod: dict[str, Any], config: SidecarConfig, profile: Profile, warnings: list[str]
) -> dict[str, Any]:
    patched = copy.deepcopy(pod)
    spec = patched["spec"]
    others = [one for one in spec.get("initContainers") or [] if one["name"] != sidecar.CONTAINER]
    ours = sidecar.container(
        config, profile, guaranteed=_is_guaranteed([*others, *spec["containers"]])
    )
    volumes = sidecar.volumes(config, profile)
    # First in the list: what starts after it is heard from its first call.
    spec["initContainers"] = [ours, *others]
    spec["volumes"] = [
        *(volume for volume in spec.get("volumes") or [] if not _is_our_volume(volume)),
        *volumes,
    ]
    for container in spec["containers"]:
        _point_to_sidecar(container, warnings)
    metadata = patched.get("metadata") or {}
    status = {STATUS: f"injected-{_digest([ours, volumes])}"}
    patched["metadata"] = {
        **metadata,
        "annotations": {**(metadata.get("annotations") or {}), **status},
    }
    return patched


def _point_to_sidecar(container: dict[str, Any], warnings: list[str]) -> None:
    """Send the container's telemetry to the sidecar, unless it already says where it goes."""
    environment = container.get("env") or []
    given = {variable["name"]: variable.get("value") for variable in environment}
    elsewhere = [
        name
        for name in (_ENDPOINT, _TRACES_ENDPOINT)
        if name in given and not str(given[name]).startswith(_OURS)
    ]
    if elsewhere:
        # Theirs is left alone: the sidecar does not pass on what it takes, so it would be lost to where it goes now.
        warnings.append(
            f"container {_shown(container['name'])} sets {' and '.join(elsewhere)}, so the sidecar does not hear "
            "it; have what it sends to send a copy to the sidecar"
        )
    if _ENDPOINT in given:
        return
    if container.get("envFrom"):
        # What `env` says wins over `envFrom`, whose content is not known here: it may hold the endpoint.
        warnings.append(
            f"container {_shown(container['name'])} takes variables from elsewhere, so {_ENDPOINT} "
            "was not set; set it there"
        )
        return
    protocol = given.get(_PROTOCOL, "http/protobuf")
    added = [] if _PROTOCOL in given else [{"name": _PROTOCOL, "value": "http/protobuf"}]
    endpoint = sidecar.OTLP_GRPC_ENDPOINT if protocol == "grpc" else sidecar.OTLP_HTTP_ENDPOINT
    container["env"] = [*environment, *added, {"name": _ENDPOINT, "value": endpoint}]


def _profile(annotations: dict[str, str], config: SidecarConfig, warnings: list[str]) -> Profile:
    warnings.extend(
        f"annotation {_shown(key)} is not known and does nothing"
        for key in sorted(annotations)
        if key.startswith(ANNOTATION_PREFIX) and key not in (INJECT, PROFILE, STATUS)
    )
    wanted = annotations.get(PROFILE)
    if wanted is None:
        return config.profile
    if wanted not in tuple(Profile):
        warnings.append(
            f"annotation {PROFILE} names no profile: {_shown(wanted)}; known are "
            f"{', '.join(Profile)}; {config.profile} is used"
        )
        return config.profile
    return Profile(wanted)


def _is_guaranteed(containers: list[dict[str, Any]]) -> bool:
    """Whether every container's requests are its limits, for CPU and memory: the class Guaranteed."""

    def fixed(container: dict[str, Any]) -> bool:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        return all(
            kind in limits and requests.get(kind, limits[kind]) == limits[kind]
            for kind in ("cpu", "memory")
        )

    return all(map(fixed, containers))


def _is_our_volume(volume: dict[str, Any]) -> bool:
    return volume["name"] in sidecar.VOLUMES


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _shown(text: object) -> str:
    """Text of others, fit for a message: cut, and with its control characters escaped."""
    return json.dumps(str(text)[:_SHOWN_CHARS_MAX])


def _check_shape(pod: dict[str, Any]) -> None:
    """Raise MalformedInputError for the first thing the code below could stumble over."""
    metadata = pod.get("metadata") or {}
    _expect(isinstance(metadata, dict), "metadata is not an object")
    annotations = metadata.get("annotations") or {}
    _expect(
        isinstance(annotations, dict)
        and all(isinstance(text, str) for pair in annotations.items() for text in pair),
        "metadata.annotations is not an object of texts",
    )
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        msg = "spec is missing or is not an object"
        raise MalformedInputError(msg)
    _expect(isinstance(spec.get("os") or {}, dict), "spec.os is not an object")
    _expect(bool(spec.get("containers")), "spec.containers is missing or empty")
    for name in ("containers", "initContainers", "volumes"):
        _expect_named(spec.get(name) or [], f"spec.{name}")
    for name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(name) or []):
            where = f"spec.{name}[{index}]"
            _expect_named(container.get("env") or [], f"{where}.env")
            resources = container.get("resources") or {}
            _expect(isinstance(resources, dict), f"{where}.resources is not an object")
            for kind in ("limits", "requests"):
                _expect(
                    isinstance(resources.get(kind) or {}, dict),
                    f"{where}.resources.{kind} is not an object",
                )


def _expect_named(items: object, where: str) -> None:
    _expect(
        isinstance(items, list)
        and all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items),
        f"{where} is not a list of objects with a name",
    )


def _expect(true: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not true:
        raise MalformedInputError(otherwise)
