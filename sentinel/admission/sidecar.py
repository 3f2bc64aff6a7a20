"""What is put into a pod: the container and its volumes, as Kubernetes objects.

The container passes the Pod Security Standard "restricted" by itself, so that a namespace which enforces it takes
the pod as before. Its store is an `emptyDir`: it outlives a restart of the container, not the pod.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sentinel import __version__

CONTAINER = "sentinel"
OTLP_GRPC_ENDPOINT = "http://127.0.0.1:4317"
OTLP_HTTP_ENDPOINT = "http://127.0.0.1:4318"

_STORE, _TMP, _NO_TOKEN, _CONFIG = (
    "sentinel-store",
    "sentinel-tmp",
    "sentinel-no-token",
    "sentinel-config",
)
VOLUMES = frozenset({_STORE, _TMP, _NO_TOKEN, _CONFIG})

_PROBE_PORT = 9641
_PROBE_PORT_NAME = "sntl-metrics"
_CONFIG_DIRECTORY = "/etc/sentinel"
_STORE_DIRECTORY = "/var/lib/sentinel"
_USER_ID = 65532
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_IMAGE = re.compile(r"[\w][\w.:/@-]{0,511}", re.ASCII)


class Profile(StrEnum):
    """Sizes a pod may choose from by name; nothing else of the container is open to it."""

    SMALL = "small"
    STANDARD = "standard"
    LARGE = "large"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    cpu_request: str
    memory_request: str
    memory_limit: str
    store_max: str
    store_limit: str


_SIZES = {
    Profile.SMALL: _Sizes(
        cpu_request="25m",
        memory_request="96Mi",
        memory_limit="192Mi",
        store_max="384MiB",
        store_limit="512Mi",
    ),
    Profile.STANDARD: _Sizes(
        cpu_request="50m",
        memory_request="128Mi",
        memory_limit="256Mi",
        store_max="1536MiB",
        store_limit="2Gi",
    ),
    Profile.LARGE: _Sizes(
        cpu_request="250m",
        memory_request="256Mi",
        memory_limit="512Mi",
        store_max="6GiB",
        store_limit="8Gi",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """What the operator of the cluster decides; a pod can pick a profile and no more.

    Attributes:
        image: image of the container.
        config_map: ConfigMap of the pod's namespace with the configuration, or None for the built-in defaults.
        profile: size of a pod that names none.
        allow_host_network: inject also where the ports are those of the node.
    """

    image: str = f"sentinel:{__version__}"
    config_map: str | None = None
    profile: Profile = Profile.STANDARD
    allow_host_network: bool = False

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            msg = f"image must be a reference such as sentinel:{__version__}, not {self.image!r}"
            raise ValueError(msg)
        if self.config_map is not None and not _NAME.fullmatch(self.config_map):
            msg = f"config map must be the name of an object, not {self.config_map!r}"
            raise ValueError(msg)


def container(config: SidecarConfig, profile: Profile, *, guaranteed: bool) -> dict[str, Any]:
    """The native sidecar: an init container that stays, so that it starts first, ends last and holds no Job open."""
    arguments = ["run"]
    mounts = [
        {"name": _STORE, "mountPath": _STORE_DIRECTORY},
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108  # of the container
        # Something mounted here is the one way a single container declines the pod's API token.
        {
            "name": _NO_TOKEN,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": True,
        },
    ]
    if config.config_map is not None:
        arguments += ["--config", _CONFIG_DIRECTORY]
        mounts.append(
            {
                "name": _CONFIG,
                "mountPath": _CONFIG_DIRECTORY,
                "readOnly": True,
            }
        )
    return {
        "name": CONTAINER,
        "image": config.image,
        "restartPolicy": "Always",
        "args": arguments,
        "env": _environment(_SIZES[profile]),
        "ports": [{"name": _PROBE_PORT_NAME, "containerPort": _PROBE_PORT, "protocol": "TCP"}],
        "resources": _resources(_SIZES[profile], guaranteed=guaranteed),
        # No startup or readiness probe: either would let the monitor keep the application from its traffic.
        "livenessProbe": {
            "httpGet": {"path": "/-/healthy", "port": _PROBE_PORT_NAME},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsGroup": _USER_ID,
            "runAsNonRoot": True,
            "runAsUser": _USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }


def volumes(config: SidecarConfig, profile: Profile) -> list[dict[str, Any]]:
    """The volumes the container mounts, each with a bound on its size."""
    made: list[dict[str, Any]] = [
        {
            "name": _STORE,
            "emptyDir": {"sizeLimit": _SIZES[profile].store_limit},
        },
        {"name": _TMP, "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": _NO_TOKEN, "emptyDir": {"sizeLimit": "1Mi"}},
    ]
    if config.config_map is not None:
        made.append(
            {"name": _CONFIG, "configMap": {"name": config.config_map}},
        )
    return made


def _environment(sizes: _Sizes) -> list[dict[str, Any]]:
    def field(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    return [
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("NODE_NAME", "spec.nodeName"),
        field("POD_IP", "status.podIP"),
        # The kubelet and Prometheus come from outside the pod. This listener has health and self-metrics only;
        # everything that carries telemetry stays on loopback.
        {"name": "SENTINEL_WEB__PROBES__ADDRESS", "value": "$(POD_IP)"},
        {"name": "SENTINEL_WEB__PROBES__PORT", "value": str(_PROBE_PORT)},
        {"name": "SENTINEL_STORE__DIRECTORY", "value": f"{_STORE_DIRECTORY}/store"},
        # Below the volume's limit, with room for the write-ahead log: over that limit the whole pod is evicted.
        {"name": "SENTINEL_STORE__MAX_BYTES", "value": sizes.store_max},
    ]


def _resources(sizes: _Sizes, *, guaranteed: bool) -> dict[str, Any]:
    if guaranteed:
        # One container whose requests are not its limits would take the whole pod out of its class.
        both = {"cpu": sizes.cpu_request, "memory": sizes.memory_limit}
        return {"requests": dict(both), "limits": both}
    # No limit on CPU: throttled, it would decide late exactly when there is most to decide.
    return {
        "requests": {"cpu": sizes.cpu_request, "memory": sizes.memory_request},
        "limits": {"memory": sizes.memory_limit},
    }
