"""Goal: a review is answered by what is asked, never refused, and the API server can use every answer.

Method: requests as API servers send them; the patch is applied by an independent reading of RFC 6902.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sentinel.admission import review as reviews
from sentinel.admission.patch import Outcome, has_sidecar, patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarKind
from sentinel.admission.review import (
    ReviewError,
    ReviewOutcome,
    ReviewRules,
    answer_review,
    give_up,
)
from tests.support.injector import make_pod, make_review, patched, response_of

RULES = ReviewRules(sidecar=SidecarConfig(), ignored_namespaces=frozenset({"kube-system"}))


def answered(
    pod: object, rules: ReviewRules = RULES, **request: Any
) -> tuple[str, dict[str, Any]]:
    answer = answer_review(json.dumps(make_review(pod, **request)).encode(), rules)
    return answer.outcome.value, response_of(answer.body, uid="1a2b")


def test_who_asks_gets_a_sidecar_and_who_asks_again_nothing_more() -> None:
    outcome, response = answered(make_pod())
    assert outcome == Outcome.INJECTED
    pod = patched(make_pod(), response)
    assert has_sidecar(pod)
    assert response["auditAnnotations"] == {"outcome": "injected", "profile": "standard"}
    outcome, response = answered(pod)
    assert outcome == ReviewOutcome.UNCHANGED
    assert "patch" not in response
    assert "warnings" not in response


@pytest.mark.parametrize(
    ("annotations", "outcome", "told"),
    [
        ({}, "not_asked", ""),
        ({"sentinel.dev/inject": "false"}, "not_asked", ""),
        ({"sentinel.dev/inject": "yes"}, "not_asked", 'must be "true" or "false"'),
        ({"sentinel.dev/profile": "small"}, "not_asked", "alone does nothing"),
        (
            {"sentinel.dev/inject": "true", "kubernetes.io/config.mirror": "x"},
            "mirror_pod",
            "static pod",
        ),
        ({"sentinel.dev/inject": "true", "sentinel.dev/image": "x"}, "injected", "not known"),
    ],
)
def test_annotations_decide(annotations: dict[str, str], outcome: str, told: str) -> None:
    found, response = answered(make_pod(annotations=annotations))
    assert found == outcome
    assert told in " ".join(response.get("warnings", [])) if told else "warnings" not in response


@pytest.mark.parametrize(
    ("request_more", "outcome"),
    [
        ({"operation": "UPDATE"}, "not_a_creation"),
        ({"operation": "DELETE", "object": None}, "not_a_creation"),
        ({"subResource": "ephemeralcontainers"}, "not_a_pod"),
        ({"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}}, "not_a_pod"),
        ({"kind": None}, "not_a_pod"),
        ({"namespace": "kube-system"}, "ignored_namespace"),
        ({"dryRun": True}, "injected"),
    ],
)
def test_what_is_no_pod_of_ours_is_let_through(request_more: dict[str, Any], outcome: str) -> None:
    found, response = answered(make_pod(), **request_more)
    assert found == outcome
    assert ("patch" in response) == (outcome == "injected")


def test_a_pod_that_cannot_have_one_is_told_why() -> None:
    outcome, response = answered(make_pod(hostNetwork=True))
    assert outcome == Outcome.HOST_NETWORK
    assert "hostNetwork" in response["warnings"][0]
    plain = ReviewRules(sidecar=SidecarConfig(kind=SidecarKind.CONTAINER))
    outcome, response = answered(make_pod(restartPolicy="Never"), plain)
    assert outcome == Outcome.RUNS_TO_END
    assert "is to end" in response["warnings"][0]


def test_while_the_form_is_not_known_nothing_is_put_in() -> None:
    """On a cluster without native sidecars an init container that stays would hold the pod for ever."""
    outcome, response = answered(make_pod(), ReviewRules(sidecar=None))
    assert outcome == ReviewError.UNDECIDED
    assert "native sidecars" in response["warnings"][0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"request":{}}',
        b'{"request":{"uid":7}}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_what_is_no_review_is_answered_all_the_same(data: bytes) -> None:
    answer = answer_review(data, RULES)
    assert answer.outcome is ReviewError.MALFORMED
    assert answer.cause is not None
    assert response_of(answer.body)["uid"] == ""


def test_a_pod_that_is_none_is_let_through_with_its_uid() -> None:
    for pod in ("x", None, {"metadata": 7}, {"metadata": {"annotations": [1]}}):
        outcome, _ = answered(pod)
        assert outcome == ReviewError.MALFORMED
    outcome, _ = answered(make_pod(containers="app"))
    assert outcome == ReviewError.MALFORMED


def test_a_fault_of_ours_lets_the_pod_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        msg = "a fault"
        raise RuntimeError(msg)

    monkeypatch.setattr(reviews, "patch_pod", broken)
    answer = answer_review(json.dumps(make_review(make_pod())).encode(), RULES)
    assert answer.outcome is ReviewError.FAULT
    assert isinstance(answer.cause, RuntimeError)
    response = response_of(answer.body, uid="1a2b")
    assert "a fault" in response["warnings"][0]
    assert "patch" not in response


def test_nesting_deeper_than_python_goes_lets_the_pod_through() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"a": deep}
    data = json.dumps(make_review({**make_pod(), "status": deep})).encode()
    answer = answer_review(data, RULES)
    assert answer.outcome in (ReviewError.FAULT, ReviewError.MALFORMED, Outcome.INJECTED)
    response_of(answer.body, uid="1a2b")


@pytest.mark.parametrize("depth", [300, 700, 1000, 1100, 100_000])
@pytest.mark.parametrize(
    "at", ["status", "env", "env value", "volume", "container", "annotation", "uid"]
)
def test_nesting_is_a_malformed_review_and_no_fault_of_ours(depth: int, at: str) -> None:
    """A fault is an error with a traceback in the log and a reason of its own, and means that a bug is to be looked for."""
    mark = "here-it-is-deep"
    container: dict[str, Any] = {"name": "app", "image": "a", "env": [{"name": "A", "value": "b"}]}
    pod: dict[str, Any] = make_pod(containers=[container], volumes=[{"name": "data"}])
    review = make_review(pod)
    if at == "status":
        pod["status"] = mark
    elif at == "env":
        container["env"] = mark
    elif at == "env value":
        container["env"] = [{"name": "A", "valueFrom": mark}]
    elif at == "volume":
        pod["spec"]["volumes"][0]["emptyDir"] = mark
    elif at == "container":
        container["resources"] = {"limits": {"cpu": mark}}
    elif at == "annotation":
        pod["metadata"]["annotations"]["a"] = mark
    else:
        review["request"]["uid"] = mark
    deep = b'{"a":[' * (depth // 2) + b"1" + b"]}" * (depth // 2)
    data = json.dumps(review).encode().replace(f'"{mark}"'.encode(), deep)
    answer = answer_review(data, RULES)
    assert answer.outcome in (ReviewError.MALFORMED, Outcome.INJECTED)
    made = response_of(answer.body, uid="" if at == "uid" else "1a2b")
    assert ("patch" in made) == (answer.outcome is Outcome.INJECTED)


def test_a_patch_that_is_nested_too_deep_to_be_written_is_a_malformed_review() -> None:
    """Where another form takes the sidecar's place the list of containers goes back whole, with all that is in it."""
    pod = patch_pod(make_pod(), SidecarConfig(kind=SidecarKind.CONTAINER)).pod
    pod["spec"]["containers"][0]["lifecycle"] = "here-it-is-deep"
    deep = b'{"a":[' * 200 + b"1" + b"]}" * 200
    data = json.dumps(make_review(pod)).encode().replace(b'"here-it-is-deep"', deep)
    answer = answer_review(data, RULES)
    assert answer.outcome is ReviewError.MALFORMED
    response_of(answer.body, uid="1a2b")


def test_an_answer_is_in_the_version_that_was_asked_in() -> None:
    """An answer in another counts as a failure of the webhook, and with failurePolicy Fail the pod does not start."""
    for version in ("admission.k8s.io/v1", "admission.k8s.io/v1beta1", "admission.k8s.io/v2"):
        review = {**make_review(make_pod()), "apiVersion": version}
        answer = answer_review(json.dumps(review).encode(), RULES)
        assert answer.outcome is Outcome.INJECTED
        assert json.loads(answer.body)["apiVersion"] == version
        late = give_up(ReviewError.LATE, json.dumps(review).encode()[:300])
        assert json.loads(late.body)["apiVersion"] == version
    for odd in (7, None, "v1", "admission.k8s.io/v1/../x", "admission.k8s.io/v" + "1" * 90):
        answer = answer_review(
            json.dumps({**make_review(make_pod()), "apiVersion": odd}).encode(), RULES
        )
        assert json.loads(answer.body)["apiVersion"] == "admission.k8s.io/v1"


def test_the_uid_is_found_in_the_beginning_of_what_could_not_be_read() -> None:
    data = json.dumps(make_review(make_pod(), uid="705ab4f5-6393")).encode()
    for error in ReviewError:
        assert response_of(give_up(error, data[:200]).body)["uid"] == "705ab4f5-6393"
    assert response_of(give_up(ReviewError.LATE, b"").body)["uid"] == ""
