"""Goal: the contract is a good OpenAPI 3.1 document that tells what the edge goes by, and what is kept of it is what is served.

Method: the document is held against the specification's own schema, and against the tables and the reader of requests that the edge has.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import AMOUNT_MINOR_MAX, EXPIRES_IN_S_MAX
from sentinel.reference.ledger.domain.webhooks.asked import OVERLAP_MAX_S, parse_rotation
from sentinel.reference.ledger.domain.webhooks.message import EventType
from sentinel.reference.ledger.edge.contract import (
    OPERATIONS,
    document,
    for_generators,
    rendered,
)
from sentinel.reference.ledger.edge.contract.bodies import body_name
from sentinel.reference.ledger.edge.contract.problems import OF_NO_OPERATION
from sentinel.reference.ledger.edge.problem import PROBLEMS
from sentinel.reference.ledger.edge.versions import WRITES, Write, read_write
from tests.support.contract import resolved, validator

ROOT = Path(__file__).parents[4]
DOCUMENT = json.loads(rendered())
ID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
WRITTEN = [(write, version) for write in WRITES for version in (1, 2)]


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    for whole in (DOCUMENT, json.loads(json.dumps(for_generators(document())))):
        errors = [error.message for error in OpenAPIV31SpecValidator(whole).iter_errors()]
        assert errors == []


def test_what_is_kept_is_what_is_served() -> None:
    assert (ROOT / "docs/openapi.json").read_bytes() == rendered(), "run `make deploy`"


def test_every_operation_has_a_name_of_its_own_and_every_way_in() -> None:
    ids = [one.id for one in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
    ways = list(DOCUMENT["components"]["securitySchemes"])
    assert ways == ["oauth2", "bearerToken", "clientCertificate", "tenantHeader"]
    for one in OPERATIONS:
        security = DOCUMENT["paths"][one.path][one.method.lower()]["security"]
        assert [name for way in security for name in way] == ([] if one.scope is None else ways)


def test_every_problem_is_told_by_an_operation_or_by_none() -> None:
    told = {
        code
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for answer in operation["responses"].values()
        for code in resolved(answer).get("x-problem-codes", ())
    }
    assert told | OF_NO_OPERATION == set(PROBLEMS)
    assert not told & OF_NO_OPERATION


def test_no_schema_lies_there_unused() -> None:
    text = json.dumps(DOCUMENT)
    unused = [
        name
        for kind in ("schemas", "parameters", "headers", "responses")
        for name in DOCUMENT["components"][kind]
        if f'"#/components/{kind}/{name}"' not in text
    ]
    # For who takes any event at one address.
    assert unused == ["WebhookEvent"]


def test_requests_are_closed_and_answers_may_say_more() -> None:
    """Clients that were made before an answer had a member must read it all the same."""
    bodies, answers = set[str](), set[str]()
    for item in [*DOCUMENT["paths"].values(), *DOCUMENT["webhooks"].values()]:
        is_webhook = item in DOCUMENT["webhooks"].values()
        for operation in item.values():
            content = operation.get("requestBody", {}).get("content", {})
            # What comes by a webhook is an answer to who hears it.
            (answers if is_webhook else bodies).update(_schemas_in(content))
            answers.update(_schemas_in([resolved(one) for one in operation["responses"].values()]))
    schemas = DOCUMENT["components"]["schemas"]
    assert not bodies & answers
    assert [
        name for name in bodies if schemas[name].get("additionalProperties") is not False
    ] == []
    assert [name for name in answers if "additionalProperties" in schemas[name]] == []


def _schemas_in(part: Any) -> set[str]:
    """Names of the schemas that a part of the document leads to."""
    if isinstance(part, list):
        return set().union(*(_schemas_in(one) for one in part))
    if not isinstance(part, dict):
        return set()
    found = set().union(*(_schemas_in(one) for one in part.values()))
    target = part.get("$ref", "")
    if target.startswith("#/components/schemas/"):
        name = target.rpartition("/")[2]
        found |= {name} | _schemas_in(DOCUMENT["components"]["schemas"][name])
    return found


def test_every_type_of_event_is_a_webhook() -> None:
    assert set(DOCUMENT["webhooks"]) == {kind.value for kind in EventType}
    mapping = DOCUMENT["components"]["schemas"]["WebhookEvent"]["discriminator"]["mapping"]
    for kind, item in DOCUMENT["webhooks"].items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["$ref"] == mapping[kind]


def accepts(write: Write, version: int, body: object) -> bool:
    """Whether the edge would read this body."""
    try:
        read_write(write, version, tenant="shop", idempotency_key="k", target=ID, body=body)
    except InvalidTransferError as error:
        # What is between two fields no schema tells.
        return error.code == "same_account" and not error.others
    return True


@pytest.mark.parametrize(("write", "version"), WRITTEN, ids=lambda one: getattr(one, "name", one))
def test_examples_are_taken_by_schema_and_edge(write: Write, version: int) -> None:
    path = write.v1 if version == 1 else write.v2
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert content["examples"]
    for example in content["examples"].values():
        assert list(validator(body_name(write, version)).iter_errors(example["value"])) == []
        assert accepts(write, version, example["value"])


# At and beyond every bound that a field has, and of every type.
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1.5, AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX + 1, EXPIRES_IN_S_MAX, EXPIRES_IN_S_MAX + 1, "", "a", "a b", ":a",
    "a:b_c.d-e", "a" * 64, "a" * 65, "ä", "EUR", "eur", "EURO", "DE02", "DE0", "A" * 34, "A" * 35, "x" * 70, "x" * 71, [], {}, {"more": 1},
)  # fmt: skip


def altered(body: Any) -> Iterator[Any]:
    """The body with one member that is another value, gone, or too much, each in turn."""
    for path in _members(body):
        for value in (*VALUES, "GONE"):
            made = copy.deepcopy(body)
            place = made
            for step in path[:-1]:
                place = place[step]
            if value == "GONE":
                place.pop(path[-1], None)
            else:
                place[path[-1]] = copy.deepcopy(value)
            yield made


def _members(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(body, dict):
        yield (*path, "more")
        for name, value in body.items():
            yield (*path, name)
            yield from _members(value, (*path, name))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from _members(value, (*path, number))


@pytest.mark.parametrize(("write", "version"), WRITTEN, ids=lambda one: getattr(one, "name", one))
def test_the_schema_takes_what_the_edge_takes(write: Write, version: int) -> None:
    path = write.v1 if version == 1 else write.v2
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = validator(body_name(write, version))
    tried = 0
    for example in content["examples"].values():
        for body in (*altered(example["value"]), [], "text", 5):
            tried += 1
            assert schema.is_valid(body) == accepts(write, version, body), body
    assert tried > 30


@pytest.mark.parametrize(
    "overlap_s", [-1, 0, 1, OVERLAP_MAX_S, OVERLAP_MAX_S + 1, "text", None, True]
)
def test_a_rotation_is_told_as_it_is_read(overlap_s: object) -> None:
    body = {"overlap_s": overlap_s}
    told = not list(validator("RotationRequest").iter_errors(body))
    try:
        parse_rotation(body)
    except InvalidTransferError:
        assert not told
    else:
        assert told


def test_generators_get_all_but_what_they_fail_on() -> None:
    left = for_generators(document())
    assert "webhooks" not in left
    assert left["components"]["schemas"] == document()["components"]["schemas"]
    assert list(left["components"]["securitySchemes"]) == ["bearerToken", "tenantHeader"]
    assert left["paths"].keys() == document()["paths"].keys()
    assert "webhooks" in document()
