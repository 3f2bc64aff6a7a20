"""The Pod Security Standard "restricted", as Kubernetes documents it, over a pod's specification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> list[str]:
    """What keeps a pod out of a namespace that enforces `restricted`; empty for none.

    Every container counts, init and ephemeral ones too. A field that the pod sets holds for containers that leave it unset.
    """
    return [
        *(f"{name} is on" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)),
        *_of_volumes(spec),
        *(found for container in _containers(spec) for found in _of_container(container, spec)),
    ]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind) or []]


def _of_volumes(spec: dict[str, Any]) -> Iterator[str]:
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds - VOLUMES))}"


def _of_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    own, of_pod = container.get("securityContext") or {}, spec.get("securityContext") or {}
    name = container["name"]
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield f"{name}: privileged"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name}: does not drop ALL"
    if not set(capabilities.get("add") or []) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: adds capabilities"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if own.get("runAsUser", of_pod.get("runAsUser")) == 0:
        yield f"{name}: runs as root"
    profile = own.get("seccompProfile") or of_pod.get("seccompProfile") or {}
    if profile.get("type") not in _SECCOMP:
        yield f"{name}: no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"{name}: hostPort"
    if (own.get("procMount") or "Default") != "Default":
        yield f"{name}: procMount"
