"""Goal: whatever is sent as a review is answered, allowed, with the uid where there is one, and never with half a patch.

Method: raw bytes; JSON of any shape; reviews of the right shape with anything in any place; pods with a part replaced.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.admission.patch import patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarKind
from sentinel.admission.review import ReviewError, ReviewRules, answer_review
from tests.support.injector import make_pod, make_review, patched, response_of

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["sentinel", "true", "CREATE", "Pod", "Never", "sentinel-store"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "metadata", "spec", "containers", "env", "value", "os"])
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
_rules = st.builds(
    ReviewRules,
    sidecar=st.none() | st.builds(SidecarConfig, kind=st.sampled_from(SidecarKind)),
    ignored_namespaces=st.just(frozenset({"kube-system"})),
)
_FULL_POD = patch_pod(
    make_pod(
        initContainers=[{"name": "migrate", "image": "a", "resources": {"limits": {"cpu": "1"}}}],
        volumes=[{"name": "data", "emptyDir": {}}],
        os={"name": "linux"},
        restartPolicy="Always",
        hostNetwork=False,
    ),
    SidecarConfig(),
).pod


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found += _paths(inner, (*here, key))
    return found


@given(data=st.binary(max_size=400), rules=_rules)
def test_bytes(data: bytes, rules: ReviewRules) -> None:
    assert answer_review(data, rules).outcome is ReviewError.MALFORMED


@given(value=_json, rules=_rules)
def test_json(value: Any, rules: ReviewRules) -> None:
    answer = answer_review(json.dumps(value).encode(), rules)
    assert answer.outcome is not ReviewError.FAULT, answer.cause
    response_of(answer.body)


@given(
    uid=st.text(max_size=40),
    part=st.sampled_from(
        ["kind", "resource", "namespace", "operation", "object", "subResource", "userInfo"]
    ),
    value=_json,
    rules=_rules,
)
def test_a_review_with_anything_in_a_place_keeps_its_uid(
    uid: str, part: str, value: Any, rules: ReviewRules
) -> None:
    review = make_review(make_pod(), uid=uid, **{part: value})
    answer = answer_review(json.dumps(review).encode(), rules)
    assert answer.outcome is not ReviewError.FAULT, answer.cause
    response_of(answer.body, uid=uid)


@settings(max_examples=300)
@given(path=st.sampled_from(_paths(_FULL_POD)), value=_json, rules=_rules)
def test_a_pod_with_anything_in_a_place_is_let_through_and_a_patch_of_it_can_be_applied(
    path: tuple[Any, ...], value: Any, rules: ReviewRules
) -> None:
    pod = copy.deepcopy(_FULL_POD)
    holder: Any = pod
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    data = json.dumps(make_review(pod)).encode()
    answer = answer_review(data, rules)
    assert answer.outcome is not ReviewError.FAULT, answer.cause
    made = patched(pod, response_of(answer.body, uid="1a2b"))
    assert made["spec"] is not None or path == ("spec",)


_FULL_REVIEW = make_review(_FULL_POD)


@settings(max_examples=300)
@given(path=st.sampled_from(_paths(_FULL_REVIEW)), rules=_rules)
def test_a_review_without_any_one_of_its_parts(path: tuple[Any, ...], rules: ReviewRules) -> None:
    review = copy.deepcopy(_FULL_REVIEW)
    holder: Any = review
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    answer = answer_review(json.dumps(review).encode(), rules)
    assert answer.outcome is not ReviewError.FAULT, answer.cause
    is_gone = path in (("request",), ("request", "uid"))
    response_of(answer.body, uid="" if is_gone else "1a2b")


_RAW = (
    *(b"1e400", b"-1e-400", b"9" * 400, b"NaN", b"-Infinity", b"0x1", b"00", b"tru", b"'a'", b""),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\x00"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"',
        b"{",
        b"]",
        b"//",
    ),
    *(b'{"a":1,"a":2}', b'{"a"}', b"[1,]", b"[" * 1200, b'[{"name":"' + b"x" * 9000 + b'"}]'),
)


@settings(max_examples=400)
@given(
    path=st.sampled_from(_paths(_FULL_REVIEW)),
    raw=st.sampled_from(_RAW),
    rules=_rules,
    version=st.sampled_from(["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]),
)
def test_a_review_with_what_may_be_no_json_in_a_place(
    path: tuple[Any, ...], raw: bytes, rules: ReviewRules, version: str
) -> None:
    review = {**copy.deepcopy(_FULL_REVIEW), "apiVersion": version}
    holder: Any = review
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "here-it-is"
    data = json.dumps(review).encode().replace(b'"here-it-is"', raw)
    answer = answer_review(data, rules)
    assert answer.outcome is not ReviewError.FAULT, answer.cause
    answered = json.loads(answer.body)
    if path != ("apiVersion",):
        assert answered["apiVersion"] == version
    answered["apiVersion"] = "admission.k8s.io/v1"
    response = response_of(json.dumps(answered).encode())
    if path not in (("request",), ("request", "uid")):
        assert response["uid"] == "1a2b"
