"""An AdmissionReview in, an answer out that always allows; pure.

A monitor may never keep a pod from starting. So whatever comes, and whatever goes wrong here, the answer is `allowed`, at
most without a patch and with a warning that `kubectl` shows. The uid is copied even from what cannot be read whole: an
answer without it counts as none.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from sentinel.admission.patch import (
    EXPLANATIONS,
    INJECT,
    PROFILE,
    Injection,
    Outcome,
    annotations_of,
    patch_pod,
)
from sentinel.admission.profiles import SidecarConfig
from sentinel.errors import MalformedInputError

__all__ = [
    "MIRROR",
    "ReviewAnswer",
    "ReviewError",
    "ReviewOutcome",
    "ReviewRules",
    "answer_review",
    "asks",
    "give_up",
]

MIRROR = "kubernetes.io/config.mirror"
_API_VERSION = "admission.k8s.io/v1"
_WARNING_CHARS_MAX = 256
_WARNINGS_MAX = 8
_UID_BYTES_LOOKED_AT = 1024
# As API servers write it: the request is the first member but two, and the uid is its first.
_UID = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,128})"')


class ReviewOutcome(StrEnum):
    """What a review came to when nothing went wrong here, besides the outcomes of `patch_pod`."""

    UNCHANGED = "unchanged"
    NOT_ASKED = "not_asked"
    IGNORED_NAMESPACE = "ignored_namespace"
    MIRROR_POD = "mirror_pod"
    NOT_A_POD = "not_a_pod"
    NOT_A_CREATION = "not_a_creation"


class ReviewError(StrEnum):
    """Why a review was answered without having been decided; each is counted, and the pod is let through."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    LATE = "late"
    UNDECIDED = "undecided"
    FAULT = "fault"


_ERROR_WARNINGS = {
    ReviewError.MALFORMED: "what the API server sent could not be read",
    ReviewError.TOO_LARGE: "the pod is larger than is looked at",
    ReviewError.OVERLOADED: "too many pods are made at once",
    ReviewError.LATE: "there was not time enough",
    ReviewError.UNDECIDED: "it is not known yet whether this cluster has native sidecars",
    ReviewError.FAULT: "the injector has a fault, which its log tells",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRules:
    """What reviews are answered by.

    Attributes:
        sidecar: what is injected; None while it is not known which form this cluster takes.
        ignored_namespaces: where nothing is ever injected.
    """

    sidecar: SidecarConfig | None
    ignored_namespaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAnswer:
    """What is sent back, and what is counted.

    Attributes:
        body: the AdmissionReview, as JSON.
        outcome: what it came to.
        warnings: what whoever made the pod is told.
        cause: what went wrong here, for the log; None when nothing did.
    """

    body: bytes
    outcome: Outcome | ReviewOutcome | ReviewError
    warnings: tuple[str, ...] = ()
    cause: Exception | None = None


def answer_review(data: bytes, rules: ReviewRules) -> ReviewAnswer:
    """The answer to a request's body; never raises."""
    uid = ""
    try:
        request = _request_of(data)
        uid = str(request["uid"])
        return _answer(request, uid, rules)
    except (MalformedInputError, orjson.JSONDecodeError) as error:
        return give_up(ReviewError.MALFORMED, data, uid=uid, cause=error)
    except Exception as error:  # noqa: BLE001  # the pod is let through, and the fault is counted and logged
        return give_up(ReviewError.FAULT, data, uid=uid, cause=error)


def give_up(
    error: ReviewError, data: bytes, *, uid: str = "", cause: Exception | None = None
) -> ReviewAnswer:
    """The answer where nothing is decided; of `data`, what was read of the body, the beginning is enough."""
    if not uid and (found := _UID.search(data[:_UID_BYTES_LOOKED_AT])):
        uid = found[1].decode("ascii")
    warning = f"sentinel: no sidecar was put in: {_ERROR_WARNINGS[error]}"
    body = _review(uid, error, warnings=(warning,))
    return ReviewAnswer(body=body, outcome=error, warnings=(warning,), cause=cause)


def asks(annotations: dict[str, str]) -> bool:
    """Whether a pod asks for a sidecar."""
    return annotations.get(INJECT) == "true"


def _request_of(data: bytes) -> dict[str, Any]:
    review = orjson.loads(data)
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        msg = "not an AdmissionReview with a request and its uid"
        raise MalformedInputError(msg)
    return request


def _answer(request: dict[str, Any], uid: str, rules: ReviewRules) -> ReviewAnswer:
    kind = request.get("kind")
    if request.get("subResource") or not isinstance(kind, dict) or not _is_pod(kind):
        return _allow(uid, ReviewOutcome.NOT_A_POD)
    if request.get("operation") != "CREATE":
        return _allow(uid, ReviewOutcome.NOT_A_CREATION)
    pod = request.get("object")
    annotations = _annotations(pod)
    if not asks(annotations):
        return _allow(uid, ReviewOutcome.NOT_ASKED, warnings=_half_asked(annotations))
    # Of a pod that a controller makes, the object itself need not say its namespace.
    namespace = request.get("namespace")
    if not isinstance(namespace, str):
        msg = "the request has no namespace"
        raise MalformedInputError(msg)
    if namespace in rules.ignored_namespaces:
        warning = "sentinel: no sidecar is put into pods of this namespace"
        return _allow(uid, ReviewOutcome.IGNORED_NAMESPACE, warnings=(warning,))
    if MIRROR in annotations:
        # The kubelet's own pod: a copy that differs from its file is taken back.
        warning = (
            "sentinel: a static pod gets no sidecar; put it into its file with sentinel inject"
        )
        return _allow(uid, ReviewOutcome.MIRROR_POD, warnings=(warning,))
    if rules.sidecar is None:
        return give_up(ReviewError.UNDECIDED, b"", uid=uid)
    assert isinstance(pod, dict)
    return _of_injection(uid, patch_pod(pod, rules.sidecar))


def _of_injection(uid: str, injection: Injection) -> ReviewAnswer:
    warnings = [f"sentinel: {one}" for one in injection.warnings]
    if injection.outcome is not Outcome.INJECTED:
        warnings.insert(0, f"sentinel: {EXPLANATIONS[injection.outcome]}")
        return _allow(uid, injection.outcome, warnings=warnings)
    if not injection.operations:
        # Asked again after others changed the pod; it was told the first time.
        return _allow(uid, ReviewOutcome.UNCHANGED)
    return _allow(
        uid,
        Outcome.INJECTED,
        warnings=warnings,
        patch=orjson.dumps(injection.operations),
        profile=injection.profile,
    )


def _is_pod(kind: dict[str, Any]) -> bool:
    return (kind.get("group"), kind.get("version"), kind.get("kind")) == ("", "v1", "Pod")


def _annotations(pod: object) -> dict[str, str]:
    """The annotations of what may be a pod; MalformedInputError when it cannot be asked for any."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    if not isinstance(pod, dict) or not isinstance(metadata or {}, dict):
        msg = "the object is not a pod"
        raise MalformedInputError(msg)
    annotations: object = annotations_of(pod)
    if not isinstance(annotations, dict):
        msg = "metadata.annotations is not an object"
        raise MalformedInputError(msg)
    return annotations


def _half_asked(annotations: dict[str, str]) -> tuple[str, ...]:
    """What to tell whoever probably meant to ask."""
    said = annotations.get(INJECT)
    if said is None and PROFILE in annotations:
        return (f'sentinel: {PROFILE} alone does nothing: set {INJECT} to "true" as well',)
    if said is not None and said != "false":
        return (f'sentinel: {INJECT} must be "true" or "false"; no sidecar was put in',)
    return ()


def _allow(
    uid: str,
    outcome: Outcome | ReviewOutcome,
    *,
    warnings: Sequence[str] = (),
    patch: bytes | None = None,
    profile: str = "",
) -> ReviewAnswer:
    body = _review(uid, outcome, warnings=warnings, patch=patch, profile=profile)
    return ReviewAnswer(body=body, outcome=outcome, warnings=tuple(warnings))


def _review(
    uid: str,
    outcome: StrEnum,
    *,
    warnings: Sequence[str] = (),
    patch: bytes | None = None,
    profile: str = "",
) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch is not None:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(patch).decode("ascii")
    if warnings:
        response["warnings"] = [one[:_WARNING_CHARS_MAX] for one in warnings[:_WARNINGS_MAX]]
    # Kept by the API server's audit log, where it keeps one.
    response["auditAnnotations"] = {"outcome": outcome.value}
    if profile:
        response["auditAnnotations"]["profile"] = profile
    return orjson.dumps(
        {"apiVersion": _API_VERSION, "kind": "AdmissionReview", "response": response}
    )
