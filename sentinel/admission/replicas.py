"""How many pods a workload may have at once, as far as manifests say.

A workload says it by its own fields, and what scales it by others, in another object. What is scaled by hand, or by an
object that is not among the manifests, nobody can read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KEDA_COUNT_MAX = 100
"""What a ScaledObject goes to that names no bound."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "replicas"),
    "StatefulSet": ("spec", "replicas"),
    "ReplicaSet": ("spec", "replicas"),
    "Job": ("spec", "parallelism"),
    "CronJob": ("spec", "jobTemplate", "spec", "parallelism"),
}
"""Where each kind says how many of its pods run at once; 1 where it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """An autoscaler that may bring a workload to several pods.

    Attributes:
        namespace: of both; "" where the manifest leaves it to whoever applies it.
        kind: of the workload.
        name: of the workload.
        sentence: object, field and number, for a person.
    """

    namespace: str
    kind: str
    name: str
    sentence: str

    def scales(self, item: Mapping[str, Any]) -> bool:
        """Whether it means this object. Where one of them has no namespace, both may end in the same."""
        metadata = _mapping(item.get("metadata"))
        namespace = metadata.get("namespace") or ""
        return (self.kind, self.name) == (item.get("kind"), metadata.get("name")) and (
            not self.namespace or not namespace or self.namespace == namespace
        )


def scalers_of(items: Iterable[Mapping[str, Any]]) -> list[Scaler]:
    """The HorizontalPodAutoscalers and KEDA's ScaledObjects among objects that may go beyond one pod."""
    found = []
    for item in items:
        spec = _mapping(item.get("spec"))
        if item.get("kind") == "HorizontalPodAutoscaler":
            field, unsaid = "maxReplicas", None
        elif item.get("kind") == "ScaledObject":
            field, unsaid = "maxReplicaCount", _KEDA_COUNT_MAX
        else:
            continue
        told = _told(f"spec.{field}", spec.get(field), unsaid)
        target = _mapping(spec.get("scaleTargetRef"))
        if told:
            metadata = _mapping(item.get("metadata"))
            found.append(
                Scaler(
                    namespace=str(metadata.get("namespace") or ""),
                    kind=str(target.get("kind") or "Deployment"),
                    name=str(target.get("name")),
                    sentence=f"{told} in {item['kind']} {metadata.get('name') or '(no name)'}",
                )
            )
    return found


def several_pods(item: Mapping[str, Any], scalers: Sequence[Scaler]) -> str:
    """Which field lets a workload have several pods at once, and how many; "" when none does."""
    kind = str(item.get("kind"))
    if kind == "DaemonSet":
        return "kind DaemonSet has a pod on every node"
    path = _FIELDS.get(kind)
    if path is None:
        return ""
    value: object = item
    for name in path:
        value = _mapping(value).get(name)
    if told := _told(".".join(path), value, 1):
        return told
    return next((scaler.sentence for scaler in scalers if scaler.scales(item)), "")


def counts_from_zero(item: Mapping[str, Any]) -> bool:
    """Whether the names of its pods end in a number, that of the first one in 0."""
    spec = _mapping(item.get("spec"))
    return item.get("kind") == "StatefulSet" and not _mapping(spec.get("ordinals")).get("start")


def _told(field: str, value: object, unsaid: int | None) -> str:
    """A number above one as a sentence; what is no number may be anything, and is told as well."""
    count = unsaid if value is None else value
    if not isinstance(count, int) or isinstance(count, bool):
        return f"{field} is no whole number"
    if count < 2:
        return ""
    return (
        f"{field} is {count}"
        if value is not None
        else f"{field} is not given, which means {count}"
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


__all__ = ["Scaler", "counts_from_zero", "scalers_of", "several_pods"]
