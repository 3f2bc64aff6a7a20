"""The fields Kubernetes knows of what is injected: of a pod, its metadata, its containers and what they hold.

Kubernetes drops a field it does not know, or refuses the object, depending on who applies it. Either way a mistyped
one is not what was meant, so it is found here. The names are those of versions 1.29 to 1.37 together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sentinel.runtime.nearest import hint_for

_SHOWN_CHARS_MAX = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFields:
    """What one kind of object may hold.

    Attributes:
        names: every field.
        inner: the fields whose value is an object, or a list of objects, that is looked into too.
    """

    names: frozenset[str]
    inner: dict[str, ObjectFields]


def _fields(names: str, **inner: ObjectFields) -> ObjectFields:
    return ObjectFields(names=frozenset(names.split()).union(inner), inner=inner)


METADATA = _fields(
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation"
    " labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
)
PROBE = _fields(
    "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket"
    " terminationGracePeriodSeconds timeoutSeconds"
)
SECURITY_CONTEXT = _fields(
    "allowPrivilegeEscalation appArmorProfile capabilities privileged procMount readOnlyRootFilesystem runAsGroup"
    " runAsNonRoot runAsUser seLinuxOptions seccompProfile windowsOptions"
)
VARIABLE = _fields("name value valueFrom")
PORT = _fields("containerPort hostIP hostPort name protocol")
MOUNT = _fields(
    "bindMountOptions mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr"
)
RESOURCES = _fields("claims limits requests")
CONTAINER = _fields(
    "args command envFrom image imagePullPolicy lifecycle name resizePolicy restartPolicy restartPolicyRules stdin"
    " stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices workingDir",
    env=VARIABLE,
    livenessProbe=PROBE,
    ports=PORT,
    readinessProbe=PROBE,
    resources=RESOURCES,
    securityContext=SECURITY_CONTEXT,
    startupProbe=PROBE,
    volumeMounts=MOUNT,
)
VOLUME = _fields(
    "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI emptyDir ephemeral fc flexVolume"
    " flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi name nfs persistentVolumeClaim"
    " photonPersistentDisk portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume"
)
POD_SECURITY_CONTEXT = _fields(
    "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seLinuxChangePolicy seLinuxOptions"
    " seccompProfile supplementalGroups supplementalGroupsPolicy sysctls windowsOptions"
)
POD_SPEC = _fields(
    "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks"
    " ephemeralContainers evictionResponders hostAliases hostIPC hostNetwork hostPID hostUsers hostname"
    " hostnameOverride imagePullSecrets nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName"
    " readinessGates resourceClaims restartPolicy runtimeClassName schedulerName schedulingGates schedulingGroup"
    " serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain"
    " terminationGracePeriodSeconds tolerations topologySpreadConstraints workloadRef",
    containers=CONTAINER,
    initContainers=CONTAINER,
    resources=RESOURCES,
    securityContext=POD_SECURITY_CONTEXT,
    volumes=VOLUME,
)
POD = _fields("apiVersion kind status", metadata=METADATA, spec=POD_SPEC)
"""A Pod; the template in a workload is one without `apiVersion`, `kind` and `status`."""


def unknown_fields(pod: dict[str, Any]) -> list[str]:
    """A sentence for each field that Kubernetes does not know, with the nearest that it does.

    >>> unknown_fields({"spec": {"containers": [{"name": "app", "imgae": "app:1"}]}})
    ['spec.containers[0] has the unknown field "imgae": did you mean image?']
    """
    return list(_unknown(pod, POD, ""))


def _unknown(value: object, known: ObjectFields, path: str) -> Iterator[str]:
    """What is not shaped as expected is passed over: the patch refuses it where it matters."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, known, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name not in known.names:
            shown = json.dumps(str(name)[:_SHOWN_CHARS_MAX])
            hint = hint_for(str(name), sorted(known.names))
            yield f"{path or 'the pod'} has the unknown field {shown}{hint}"
        elif name in known.inner:
            yield from _unknown(inner, known.inner[name], f"{path}.{name}" if path else name)
