"""An AdmissionReview in, an answer out that always allows; pure.

A monitor may never keep a pod from starting. So whatever comes, and whatever goes wrong here, the answer is `allowed`, at
most without a patch and with a warning that `kubectl` shows. The uid and the version are copied even from what cannot be read
whole: an answer without the one, or in another than the version that was asked in, counts as none.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
_API_VERSIONS = re.compile(r"admission\.k8s\.io/v[0-9][a-z0-9]{0,20}")
_WARNING_CHARS_MAX = 256
_WARNINGS_MAX = 8
_BYTES_LOOKED_AT = 1024
# As API servers write it: the request is the first member but two, and the uid is its first.
_UID = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,128})"')
_ASKED_IN = re.compile(rb'"apiVersion"\s*:\s*"(admission\.k8s\.io/v[0-9][a-z0-9]{0,20})"')


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
class _Asked:
    """What of a review its answer has to repeat."""

    uid: str
    api_version: str = _API_VERSION


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
    asked: _Asked | None = None
    try:
        review = orjson.loads(data)
        asked, request = _request_of(review)
        return _answer(request, asked, rules)
    except (MalformedInputError, orjson.JSONDecodeError, RecursionError) as error:
        # Deeper than can be gone through, which no API server sends.
        return _give_up(ReviewError.MALFORMED, asked or _asked_of(data), cause=error)
    except Exception as error:  # noqa: BLE001  # the pod is let through, and the fault is counted and logged
        return _give_up(ReviewError.FAULT, asked or _asked_of(data), cause=error)


def give_up(error: ReviewError, data: bytes, *, cause: Exception | None = None) -> ReviewAnswer:
    """The answer where nothing is decided; of `data`, what was read of the body, the beginning is enough."""
    return _give_up(error, _asked_of(data), cause=cause)


def _give_up(error: ReviewError, asked: _Asked, *, cause: Exception | None = None) -> ReviewAnswer:
    warning = f"sentinel: no sidecar was put in: {_ERROR_WARNINGS[error]}"
    body = _review(asked, error, warnings=(warning,))
    return ReviewAnswer(body=body, outcome=error, warnings=(warning,), cause=cause)


def asks(annotations: dict[str, str]) -> bool:
    """Whether a pod asks for a sidecar."""
    return annotations.get(INJECT) == "true"


def _asked_of(data: bytes) -> _Asked:
    """What to repeat of a review that cannot be read, as far as that can be found in its beginning."""
    beginning = data[:_BYTES_LOOKED_AT]
    uid, version = _UID.search(beginning), _ASKED_IN.search(beginning)
    return _Asked(
        uid=uid[1].decode("ascii") if uid else "",
        api_version=version[1].decode("ascii") if version else _API_VERSION,
    )


def _request_of(review: object) -> tuple[_Asked, dict[str, Any]]:
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        msg = "not an AdmissionReview with a request and its uid"
        raise MalformedInputError(msg)
    assert isinstance(review, dict)
    asked = _Asked(uid=request["uid"])
    version = review.get("apiVersion")
    if isinstance(version, str) and _API_VERSIONS.fullmatch(version):
        asked = replace(asked, api_version=version)
    return asked, request


def _answer(request: dict[str, Any], asked: _Asked, rules: ReviewRules) -> ReviewAnswer:
    kind = request.get("kind")
    if request.get("subResource") or not isinstance(kind, dict) or not _is_pod(kind):
        return _allow(asked, ReviewOutcome.NOT_A_POD)
    if request.get("operation") != "CREATE":
        return _allow(asked, ReviewOutcome.NOT_A_CREATION)
    pod = request.get("object")
    annotations = _annotations(pod)
    if not asks(annotations):
        return _allow(asked, ReviewOutcome.NOT_ASKED, warnings=_half_asked(annotations))
    # Of a pod that a controller makes, the object itself need not say its namespace.
    namespace = request.get("namespace")
    if not isinstance(namespace, str):
        msg = "the request has no namespace"
        raise MalformedInputError(msg)
    if namespace in rules.ignored_namespaces:
        warning = "sentinel: no sidecar is put into pods of this namespace"
        return _allow(asked, ReviewOutcome.IGNORED_NAMESPACE, warnings=(warning,))
    if MIRROR in annotations:
        # The kubelet's own pod: a copy that differs from its file is taken back.
        warning = (
            "sentinel: a static pod gets no sidecar; put it into its file with sentinel inject"
        )
        return _allow(asked, ReviewOutcome.MIRROR_POD, warnings=(warning,))
    if rules.sidecar is None:
        return _give_up(ReviewError.UNDECIDED, asked)
    assert isinstance(pod, dict)
    return _of_injection(asked, patch_pod(pod, rules.sidecar))


def _of_injection(asked: _Asked, injection: Injection) -> ReviewAnswer:
    warnings = [f"sentinel: {one}" for one in injection.warnings]
    if injection.outcome is not Outcome.INJECTED:
        warnings.insert(0, f"sentinel: {EXPLANATIONS[injection.outcome]}")
        return _allow(asked, injection.outcome, warnings=warnings)
    if not injection.operations:
        # Asked again after others changed the pod; it was told the first time.
        return _allow(asked, ReviewOutcome.UNCHANGED)
    return _allow(
        asked,
        Outcome.INJECTED,
        warnings=warnings,
        patch=_patch_of(injection),
        profile=injection.profile,
    )


def _patch_of(injection: Injection) -> bytes:
    try:
        return orjson.dumps(injection.operations)
    except TypeError:
        # All of it came out of JSON; what cannot go back is nested deeper than is written.
        msg = "the pod is nested too deep"
        raise MalformedInputError(msg) from None


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
    asked: _Asked,
    outcome: Outcome | ReviewOutcome,
    *,
    warnings: Sequence[str] = (),
    patch: bytes | None = None,
    profile: str = "",
) -> ReviewAnswer:
    body = _review(asked, outcome, warnings=warnings, patch=patch, profile=profile)
    return ReviewAnswer(body=body, outcome=outcome, warnings=tuple(warnings))


def _review(
    asked: _Asked,
    outcome: StrEnum,
    *,
    warnings: Sequence[str] = (),
    patch: bytes | None = None,
    profile: str = "",
) -> bytes:
    response: dict[str, Any] = {"uid": asked.uid, "allowed": True}
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
        {"apiVersion": asked.api_version, "kind": "AdmissionReview", "response": response}
    )
