"""Which pods have their sidecar, which lack it, and why; pure.

A pod that asks and has none was made while the webhook did not answer (missed), or cannot have one (refused). What a pod
has may also be other than what it would get now (outdated): it gets that when it is made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sentinel.admission.patch import STATUS, Outcome, annotations_of, has_sidecar, patch_pod
from sentinel.admission.review import MIRROR, ReviewRules, asks
from sentinel.errors import MalformedInputError

OTHER_NAMESPACES = "_other"
"""No namespace can have this name."""
_NAMED_MAX = 10
_ENDED = frozenset({"Succeeded", "Failed"})


class PodState(StrEnum):
    """How a pod that asks for a sidecar stands."""

    PRESENT = "present"
    OUTDATED = "outdated"
    MISSED = "missed"
    REFUSED = "refused"


LACKING = (PodState.MISSED, PodState.REFUSED)


def state_of(pod: dict[str, Any], rules: ReviewRules) -> PodState | None:
    """How a running pod stands; None for one that does not ask, has ended, is ending, or is none of ours to inject."""
    try:
        metadata = pod["metadata"]
        annotations = annotations_of(pod)
        if not asks(annotations) or MIRROR in annotations:
            return None
        if metadata.get("namespace") in rules.ignored_namespaces:
            return None
        phase = (pod.get("status") or {}).get("phase")
        if phase in _ENDED or metadata.get("deletionTimestamp") is not None:
            return None
    except (KeyError, TypeError, AttributeError):
        return None  # not shaped like a pod: nothing of it can be said
    try:
        present = has_sidecar(pod)
        if rules.sidecar is None:
            return PodState.PRESENT if present else PodState.MISSED
        injection = patch_pod(pod, rules.sidecar)
    except (MalformedInputError, KeyError, TypeError, AttributeError):
        return PodState.REFUSED
    if not present:
        is_possible = injection.outcome is Outcome.INJECTED
        return PodState.MISSED if is_possible else PodState.REFUSED
    is_current = injection.status in ("", annotations.get(STATUS))
    return PodState.PRESENT if is_current else PodState.OUTDATED


@dataclass(slots=True, kw_only=True)
class Tally:
    """The pods of a whole look, counted page by page; bounded by the number of namespaces.

    Attributes:
        seen_count: pods looked at, asking or not.
        states: how many stand how.
        lacking: how many lack it, by namespace and state.
        named: a few of those, for the log.
    """

    seen_count: int = 0
    states: Counter[PodState] = field(default_factory=Counter)
    lacking: Counter[tuple[str, PodState]] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def add(self, pods: Iterable[object], rules: ReviewRules) -> None:
        """Count the pods of one page."""
        for pod in pods:
            self.seen_count += 1
            state = state_of(pod, rules) if isinstance(pod, dict) else None
            if state is None:
                continue
            self.states[state] += 1
            if state in LACKING:
                assert isinstance(pod, dict)
                namespace = str(pod["metadata"].get("namespace", ""))[:63]
                self.lacking[namespace, state] += 1
                if len(self.named) < _NAMED_MAX:
                    name = str(pod["metadata"].get("name", ""))[:253]
                    self.named.append(f"{namespace}/{name} ({state})")

    def by_namespace(self, count_max: int) -> dict[tuple[str, PodState], int]:
        """How many lack it, by namespace and state: those of the worst namespaces, and the others' together."""
        totals: Counter[str] = Counter()
        for (namespace, _), count in self.lacking.items():
            totals[namespace] += count
        ranked = sorted(totals, key=lambda one: (-totals[one], one))
        shown = set(ranked[:count_max])
        found: Counter[tuple[str, PodState]] = Counter()
        for (namespace, state), count in self.lacking.items():
            found[namespace if namespace in shown else OTHER_NAMESPACES, state] += count
        return dict(found)
