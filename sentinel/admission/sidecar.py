"""What is put into a pod: the container and its volumes, as Kubernetes objects.

The container passes the Pod Security Standard "restricted" by itself, so that a namespace which enforces it takes
the pod as before. Its store is an `emptyDir`: it outlives a restart of the container, not the pod.
"""

from __future__ import annotations

from typing import Any

from sentinel.admission.profiles import ProfileConfig, SidecarKind, SidecarRole

CONTAINER = "sentinel"
OTLP_GRPC_ENDPOINT = "http://127.0.0.1:4317"
OTLP_HTTP_ENDPOINT = "http://127.0.0.1:4318"

_STORE, _TMP, _NO_TOKEN, _CONFIG, _SECRET = (
    "sentinel-store",
    "sentinel-tmp",
    "sentinel-no-token",
    "sentinel-config",
    "sentinel-secret",
)
VOLUMES = frozenset({_STORE, _TMP, _NO_TOKEN, _CONFIG, _SECRET})

PROBE_PORT = 9641
PORTS = frozenset({4317, 4318, 9640, PROBE_PORT})
"""Where a sidecar listens on its defaults: OTLP in both its forms, its pages, and probes."""
_PROBE_PORT_NAME = "sntl-metrics"
_CONFIG_DIRECTORY = "/etc/sentinel"
_SECRET_DIRECTORY = "/etc/sentinel-secret"  # noqa: S105  # where it is, not what it is
_STORE_DIRECTORY = "/var/lib/sentinel"
_USER_ID = 65532
_QUEUE_MAX_BYTES = 256 * 2**20
"""What a collector keeps at most by default."""


def container(
    profile: ProfileConfig, kind: SidecarKind, *, guaranteed: bool, is_numbered: bool
) -> dict[str, Any]:
    """The sidecar. A native one starts first, ends last and holds no Job open; for that it is an init container that stays."""
    # A container that does not run makes the whole pod unready, and takes the application out of its Service.
    arguments = ["run", "--or-defaults"]
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
    if profile.config_map:
        arguments += ["--config", _CONFIG_DIRECTORY]
        mounts.append({"name": _CONFIG, "mountPath": _CONFIG_DIRECTORY, "readOnly": True})
    if profile.secret:
        mounts.append({"name": _SECRET, "mountPath": _SECRET_DIRECTORY, "readOnly": True})
    made: dict[str, Any] = {
        "name": CONTAINER,
        "image": profile.image,
        "args": arguments,
        "env": _environment(profile, is_numbered=is_numbered),
        "ports": [{"name": _PROBE_PORT_NAME, "containerPort": PROBE_PORT, "protocol": "TCP"}],
        "resources": _resources(profile, guaranteed=guaranteed),
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
    if kind is SidecarKind.NATIVE:
        made["restartPolicy"] = "Always"
    return made


def volumes(profile: ProfileConfig) -> list[dict[str, Any]]:
    """The volumes the container mounts, each with a bound on its size."""
    made: list[dict[str, Any]] = [
        {
            "name": _STORE,
            "emptyDir": {"sizeLimit": profile.store},
        },
        {"name": _TMP, "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": _NO_TOKEN, "emptyDir": {"sizeLimit": "1Mi"}},
    ]
    # Optional: the kubelet starts no container of a pod before all that must be there is.
    if profile.config_map:
        made.append({"name": _CONFIG, "configMap": {"name": profile.config_map, "optional": True}})
    if profile.secret:
        made.append({"name": _SECRET, "secret": {"secretName": profile.secret, "optional": True}})
    return made


def _environment(profile: ProfileConfig, *, is_numbered: bool) -> list[dict[str, Any]]:
    def field(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    made = [
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("NODE_NAME", "spec.nodeName"),
        field("POD_IP", "status.podIP"),
        # The kubelet and Prometheus come from outside the pod. This listener has health and self-metrics only;
        # everything that carries telemetry stays on loopback.
        {"name": "SENTINEL_WEB__PROBES__ADDRESS", "value": "$(POD_IP)"},
        {"name": "SENTINEL_WEB__PROBES__PORT", "value": str(PROBE_PORT)},
        {"name": "SENTINEL_STORE__DIRECTORY", "value": f"{_STORE_DIRECTORY}/store"},
        {"name": "SENTINEL_STORE__MAX_BYTES", "value": _size(profile.store_max_bytes)},
    ]
    if profile.store_max_bytes < 2 * _QUEUE_MAX_BYTES:
        # A collector's windows wait in that folder for their scorer; what is usual would fill a small volume.
        queue_max_bytes = profile.store_max_bytes // 2
        made.append({"name": "SENTINEL_COLLECT__QUEUE_MAX", "value": _size(queue_max_bytes)})
    made.append({"name": "SENTINEL_ROLE", "value": profile.role.value})
    if profile.each_replica_scores:
        made.append({"name": "SENTINEL_EACH_REPLICA_SCORES", "value": "true"})
    elif profile.role is SidecarRole.BOTH and is_numbered:
        # Scaled later, its second pod has no other way to know that it is not alone.
        made.append({"name": "SENTINEL_REPLICA_NAME", "value": "$(POD_NAME)"})
    return made


def _size(size_bytes: int) -> str:
    """A size as Sentinel's settings are written."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def _resources(profile: ProfileConfig, *, guaranteed: bool) -> dict[str, Any]:
    if guaranteed:
        # One container whose requests are not its limits would take the whole pod out of its class.
        both = {"cpu": profile.cpu_limit or profile.cpu_request, "memory": profile.memory_limit}
        return {"requests": dict(both), "limits": both}
    limits = {"memory": profile.memory_limit}
    if profile.cpu_limit:
        limits["cpu"] = profile.cpu_limit
    return {
        "requests": {"cpu": profile.cpu_request, "memory": profile.memory_request},
        "limits": limits,
    }
