"""Goal: a mistyped field of a pod is refused by name, and no field that Kubernetes knows is.

Method: the tables against the field names of Kubernetes' own schemas, for every version that is supported; then
manifests with one slip.
"""

from __future__ import annotations

import json
from importlib import resources

import pytest

from sentinel.admission import fields
from sentinel.admission.fields import ObjectFields, unknown_fields
from sentinel.admission.manifests import inject_document
from sentinel.admission.profiles import SidecarConfig

VERSIONS = [f"v1.{minor}.0-local" for minor in range(29, 38)]


def schema_fields(schema: str) -> set[str]:
    """The fields of an object in any of the versions."""
    found: set[str] = set()
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    for version in VERSIONS:
        found |= set(json.loads((folder / version / f"{schema}.json").read_text())["properties"])
    return found


@pytest.mark.parametrize(
    ("schema", "known"),
    [
        ("pod-v1", fields.POD),
        ("objectmeta-meta-v1", fields.METADATA),
        ("podspec-v1", fields.POD_SPEC),
        ("container-v1", fields.CONTAINER),
        ("probe-v1", fields.PROBE),
        ("securitycontext-v1", fields.SECURITY_CONTEXT),
        ("podsecuritycontext-v1", fields.POD_SECURITY_CONTEXT),
        ("envvar-v1", fields.VARIABLE),
        ("containerport-v1", fields.PORT),
        ("volumemount-v1", fields.MOUNT),
        ("resourcerequirements-v1", fields.RESOURCES),
        ("volume-v1", fields.VOLUME),
    ],
)
def test_the_tables_are_kubernetes_own(schema: str, known: ObjectFields) -> None:
    assert known.names == schema_fields(schema)


def test_every_slip_is_named_with_what_was_meant() -> None:
    """`bogus: 1` in a container was once injected without a word."""
    container = {"name": "app", "image": "app:1", "bogus": 1, "livenesProbe": {}}
    spec = {"containers": [container], "restartpolicy": "Always", "volumes": [{"emptydir": {}}]}
    assert unknown_fields({"metadata": {"label": {}}, "spec": spec, "sepc": {}}) == [
        'metadata has the unknown field "label": did you mean labels?',
        'spec.containers[0] has the unknown field "bogus"',
        'spec.containers[0] has the unknown field "livenesProbe": did you mean livenessProbe?',
        'spec has the unknown field "restartpolicy": did you mean restartPolicy?',
        'spec.volumes[0] has the unknown field "emptydir": did you mean emptyDir?',
        'the pod has the unknown field "sepc": did you mean spec?',
    ]


@pytest.mark.parametrize("where", ["metadata", "spec"])
def test_a_document_with_an_unknown_field_is_not_injected(where: str) -> None:
    template: dict[str, dict[str, object]] = {
        "metadata": {},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    template[where]["bogus"] = 1
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ledger"},
        "spec": {"selector": {}, "template": template},
    }
    result = inject_document(document, SidecarConfig())
    assert result.problems == (f'Deployment ledger: {where} has the unknown field "bogus"',)
    assert result.operations == ()


def test_kinds_that_hold_no_pod_are_not_looked_into() -> None:
    document = {"apiVersion": "example.com/v1", "kind": "Ledger", "spec": {"bogus": 1}}
    result = inject_document(document, SidecarConfig())
    assert result.problems == ()
    assert result.document == document
