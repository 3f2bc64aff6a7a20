"""A pod in, the same pod with Sentinel beside its containers out; pure, and idempotent.

    patch_pod(patch_pod(pod)) == patch_pod(pod)

What is ours in a pod is found by the status annotation, never added twice; a pod with a container of our name that we
did not put there is refused. The annotation holds a digest of what was put in. Where that is what would be put in now, it
is left as it stands: what others have changed since (a mirror of the image, resources, a mount of theirs) is theirs, and
an API server asks again after they did. Where it is not, ours is replaced.

Annotations of a pod choose a profile by name: no annotation reaches an image, a command, an environment, a volume or a
security context, because whoever may annotate a pod may not thereby run code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from sentinel.admission import sidecar
from sentinel.admission.json_patch import Operation, difference
from sentinel.admission.profiles import (
    PROFILE_COUNT_MAX,
    ProfileConfig,
    SidecarConfig,
    SidecarKind,
)
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
_NAMES_LISTED_MAX = 5
_MARKS = {SidecarKind.NATIVE: "injected-", SidecarKind.CONTAINER: "container-"}
"""How the status of a pod begins: where its sidecar is found again."""


class Outcome(StrEnum):
    """What became of a pod, and why; every outcome but the first leaves it as it was."""

    INJECTED = "injected"
    OPTED_OUT = "opted_out"
    HOST_NETWORK = "host_network"
    WINDOWS = "windows"
    NAME_TAKEN = "name_taken"
    RUNS_TO_END = "runs_to_end"
    PORT_TAKEN = "port_taken"


EXPLANATIONS = {
    Outcome.INJECTED: "injected",
    Outcome.OPTED_OUT: f'left alone, because its annotation {INJECT} is "false"',
    Outcome.HOST_NETWORK: "refused, because with hostNetwork the ports would be those of the node",
    Outcome.WINDOWS: "refused, because the sidecar runs on Linux only",
    Outcome.NAME_TAKEN: "refused, because it has a container or volume of our name that is not ours",
    Outcome.PORT_TAKEN: "refused, because a container of it listens where the sidecar would"
    f" ({', '.join(map(str, sorted(sidecar.PORTS)))})",
    Outcome.RUNS_TO_END: "left alone, because it is to end, and a sidecar that is not native would keep it from that",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """The end of one injection.

    Attributes:
        outcome: what became of the pod.
        pod: the pod as it should be; the one given, untouched, unless `outcome` is INJECTED.
        operations: JSON Patch from the pod given to `pod`; empty when there is nothing to change.
        warnings: sentences for whoever asked, each at most 256 characters.
        profile: name of the profile that it has, or would have.
        status: what the pod is marked with when it is as it should be; "" unless `outcome` is INJECTED.
    """

    outcome: Outcome
    pod: dict[str, Any]
    profile: str
    status: str = ""
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()


def patch_pod(
    pod: dict[str, Any], config: SidecarConfig, *, is_numbered: bool = False
) -> Injection:
    """Put the sidecar into a pod, or into the pod template of a workload.

    Args:
        pod: an object with `metadata` and `spec` of a Pod; it is not changed.
        config: what the operator decided.
        is_numbered: whether it is the template of a StatefulSet, whose pods are named by number from 0.

    Raises:
        MalformedInputError: it is not shaped like a pod.
    """
    _check_shape(pod)
    annotations = annotations_of(pod)
    warnings: list[str] = []
    name = _profile(annotations, config, warnings)
    outcome = _outcome(pod, annotations, config, config.profiles[name], warnings)
    if outcome is not Outcome.INJECTED:
        return Injection(outcome=outcome, pod=pod, profile=name, warnings=tuple(warnings))
    patched, status = _injected(
        pod, config, config.profiles[name], warnings, is_numbered=is_numbered
    )
    return Injection(
        outcome=outcome,
        pod=patched,
        profile=name,
        status=status,
        operations=tuple(difference(pod, patched)),
        warnings=tuple(warnings),
    )


def annotations_of(pod: dict[str, Any]) -> dict[str, str]:
    """The annotations of an object that is shaped like a pod."""
    return (pod.get("metadata") or {}).get("annotations") or {}


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether a pod, as patched or as running, has a sidecar of ours: its mark, and the container where the mark says."""
    status = annotations_of(pod).get(STATUS, "")
    spec = pod["spec"]
    lists = {SidecarKind.NATIVE: "initContainers", SidecarKind.CONTAINER: "containers"}
    return any(
        status.startswith(mark)
        and any(one["name"] == sidecar.CONTAINER for one in spec.get(lists[kind]) or [])
        for kind, mark in _MARKS.items()
    )


def _outcome(
    pod: dict[str, Any],
    annotations: dict[str, str],
    config: SidecarConfig,
    profile: ProfileConfig,
    warnings: list[str],
) -> Outcome:
    spec = pod["spec"]
    if annotations.get(INJECT) == "false":
        return Outcome.OPTED_OUT
    if spec.get("hostNetwork") is True and not config.allow_host_network:
        return Outcome.HOST_NETWORK
    if "windows" in (
        (spec.get("os") or {}).get("name"),
        (spec.get("nodeSelector") or {}).get("kubernetes.io/os"),
    ):
        return Outcome.WINDOWS
    # Always is the default; a pod of a Job may not have it.
    if (
        config.kind is SidecarKind.CONTAINER
        and (spec.get("restartPolicy") or "Always") != "Always"
    ):
        return Outcome.RUNS_TO_END
    if _name_is_taken(spec, annotations.get(STATUS)):
        return Outcome.NAME_TAKEN
    if _port_is_taken(spec, profile, warnings):
        return Outcome.PORT_TAKEN
    return Outcome.INJECTED


def _port_is_taken(spec: dict[str, Any], profile: ProfileConfig, warnings: list[str]) -> bool:
    """Whether a container says that it listens where the sidecar does: of two only one starts, and the pod is never ready.

    Where a ConfigMap may have moved the sidecar elsewhere, that is its to say; the port of probes is given by us.
    """
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        taken = {
            port.get("containerPort")
            for port in container.get("ports") or []
            if port.get("protocol", "TCP") == "TCP"
        } & sidecar.PORTS
        if not taken or container["name"] == sidecar.CONTAINER:
            continue
        if sidecar.PROBE_PORT in taken or not profile.config_map:
            return True
        warnings.append(
            f"container {_shown(container['name'])} has port {min(taken)}, where the sidecar listens unless its"
            " configuration says otherwise: only one of them can start"
        )
    return False


def _name_is_taken(spec: dict[str, Any], status: str | None) -> bool:
    """Whether something has our name that we did not put there.

    Among the application's containers only one that the mark speaks of is ours, and never the only one; an init
    container or a volume is ours when the pod is marked at all.
    """
    named = [one for one in spec["containers"] if one["name"] == sidecar.CONTAINER]
    is_ours = (status or "").startswith(_MARKS[SidecarKind.CONTAINER])
    if named and (not is_ours or len(named) == len(spec["containers"])):
        return True
    return status is None and (
        any(one["name"] == sidecar.CONTAINER for one in spec.get("initContainers") or [])
        or any(_is_our_volume(volume) for volume in spec.get("volumes") or [])
    )


def _injected(
    pod: dict[str, Any],
    config: SidecarConfig,
    profile: ProfileConfig,
    warnings: list[str],
    *,
    is_numbered: bool,
) -> tuple[dict[str, Any], str]:
    """The pod as it should be, and its mark; what is not changed of the pod given is shared with it, not copied."""
    spec = {**pod["spec"]}
    patched = {**pod, "spec": spec}
    first = [one for one in spec.get("initContainers") or [] if one["name"] != sidecar.CONTAINER]
    others = [one for one in spec["containers"] if one["name"] != sidecar.CONTAINER]
    rendered, status = _rendered(
        profile, config.kind, _is_guaranteed([*first, *others]), is_numbered
    )
    ours, volumes = orjson.loads(rendered)
    if not _is_as_marked(patched, status, volumes):
        if config.kind is SidecarKind.NATIVE:
            # First in the list: what starts after it is heard from its first call.
            spec["initContainers"], spec["containers"] = [ours, *first], others
        else:
            # Last in the list: the first one is who `kubectl logs` and `kubectl exec` mean.
            spec["containers"] = [*others, ours]
            if len(first) != len(spec.get("initContainers") or []):
                spec["initContainers"] = first
        spec["volumes"] = [
            *(volume for volume in spec.get("volumes") or [] if not _is_our_volume(volume)),
            *volumes,
        ]
    spec["containers"] = [
        one if one["name"] == sidecar.CONTAINER else _pointed_to_sidecar(one, warnings)
        for one in spec["containers"]
    ]
    metadata = patched.get("metadata") or {}
    patched["metadata"] = {
        **metadata,
        "annotations": {**(metadata.get("annotations") or {}), STATUS: status},
    }
    return patched, status


@lru_cache(maxsize=8 * PROFILE_COUNT_MAX)
def _rendered(
    profile: ProfileConfig,
    kind: SidecarKind,
    guaranteed: bool,  # noqa: FBT001  # a key
    is_numbered: bool,  # noqa: FBT001  # a key
) -> tuple[bytes, str]:
    """Container and volumes as JSON, and the mark of a pod that has them; the same for all pods of a profile.

    As JSON, and not as objects: whoever is given them may change them, and YAML would write one that is there twice as a reference.
    """
    ours = sidecar.container(profile, kind, guaranteed=guaranteed, is_numbered=is_numbered)
    both = [ours, sidecar.volumes(profile)]
    return orjson.dumps(both), f"{_MARKS[kind]}{_digest(both)}"


def _is_as_marked(pod: dict[str, Any], status: str, volumes: list[dict[str, Any]]) -> bool:
    """Whether what would be put in is there already, whatever others made of it since."""
    names = {volume["name"] for volume in pod["spec"].get("volumes") or []}
    return (
        annotations_of(pod).get(STATUS) == status
        and has_sidecar(pod)
        and all(volume["name"] in names for volume in volumes)
    )


def _pointed_to_sidecar(container: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The container with its telemetry sent to the sidecar, unless it already says where it goes."""
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
        return container
    if container.get("envFrom"):
        # What `env` says wins over `envFrom`, whose content is not known here: it may hold the endpoint.
        warnings.append(
            f"container {_shown(container['name'])} takes variables from elsewhere, so {_ENDPOINT} "
            "was not set; set it there"
        )
        return container
    protocol = given.get(_PROTOCOL, "http/protobuf")
    added = [] if _PROTOCOL in given else [{"name": _PROTOCOL, "value": "http/protobuf"}]
    endpoint = sidecar.OTLP_GRPC_ENDPOINT if protocol == "grpc" else sidecar.OTLP_HTTP_ENDPOINT
    return {
        **container,
        "env": [*environment, *added, {"name": _ENDPOINT, "value": endpoint}],
    }


def _profile(annotations: dict[str, str], config: SidecarConfig, warnings: list[str]) -> str:
    """The name of the pod's profile; one that is not known is told of, and the default is meant."""
    warnings.extend(
        f"annotation {_shown(key)} is not known and does nothing"
        for key in sorted(annotations)
        if key.startswith(ANNOTATION_PREFIX) and key not in (INJECT, PROFILE, STATUS)
    )
    wanted = annotations.get(PROFILE)
    if wanted is None or wanted in config.profiles:
        return config.default_profile if wanted is None else wanted
    names = [_cut(name, 16) for name in config.profiles]
    more = ", ..." if len(names) > _NAMES_LISTED_MAX else ""
    warnings.append(
        f"annotation {PROFILE} names no profile: {_cut(_shown(wanted), 40)}; known are "
        f"{', '.join(names[:_NAMES_LISTED_MAX])}{more}; {_cut(config.default_profile, 16)} is used"
    )
    return config.default_profile


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
    """Text of others, fit for a message: with its control characters escaped, and cut, for an escape takes twelve."""
    return _cut(json.dumps(str(text)[:_SHOWN_CHARS_MAX]), _SHOWN_CHARS_MAX + 2)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


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
    for name in ("os", "nodeSelector"):
        _expect(isinstance(spec.get(name) or {}, dict), f"spec.{name} is not an object")
    _expect(bool(spec.get("containers")), "spec.containers is missing or empty")
    for name in ("containers", "initContainers", "volumes"):
        _expect_named(spec.get(name) or [], f"spec.{name}")
    for name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(name) or []):
            where = f"spec.{name}[{index}]"
            _expect_named(container.get("env") or [], f"{where}.env")
            _expect_ports(container.get("ports") or [], f"{where}.ports")
            resources = container.get("resources") or {}
            _expect(isinstance(resources, dict), f"{where}.resources is not an object")
            for kind in ("limits", "requests"):
                _expect(
                    isinstance(resources.get(kind) or {}, dict),
                    f"{where}.resources.{kind} is not an object",
                )


def _expect_named(items: object, where: str) -> None:
    # Plain loops: of a pod of many variables most of the time went here.
    if isinstance(items, list):
        for item in items:
            if not (isinstance(item, dict) and isinstance(item.get("name"), str)):
                break
        else:
            return
    msg = f"{where} is not a list of objects with a name"
    raise MalformedInputError(msg)


def _expect_ports(items: object, where: str) -> None:
    _expect(
        isinstance(items, list)
        and all(
            isinstance(item, dict) and isinstance(item.get("containerPort"), int | None)
            for item in items
        ),
        f"{where} is not a list of objects with a number",
    )


def _expect(true: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not true:
        raise MalformedInputError(otherwise)
