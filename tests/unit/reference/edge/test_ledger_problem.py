"""Goal: whatever goes wrong is told as one form, and nobody is told what he should not know.

Method: failures in, problems out; the codes that the domain's sources name are looked for in the table.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from sentinel.reference.ledger import domain
from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    PermanentError,
    UnavailableError,
)
from sentinel.reference.ledger.edge.problem import (
    MEDIA_TYPE,
    PROBLEMS,
    FieldError,
    ProblemError,
    problem_of,
    render,
)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (
            InvalidTransferError(code="invalid_field", field="currency", message="no"),
            400,
            "invalid_field",
        ),
        (InvalidTransferError(code="invalid_json", field="", message="no"), 400, "invalid_json"),
        (UnavailableError("nobody is there", code="55P03"), 503, "unavailable"),
        (PermanentError("secret detail", code="42501"), 500, "internal"),
        (RuntimeError("secret detail"), 500, "internal"),
        (ProblemError(code="overloaded", detail="Full."), 503, "overloaded"),
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "body_too_large"),
        (web.HTTPUnsupportedMediaType(), 415, "unsupported_media_type"),
        (web.HTTPGone(), 400, "bad_request"),
        (web.HTTPBadGateway(), 500, "internal"),
    ],
)
def test_each_failure_has_its_problem(failure: Exception, status: int, code: str) -> None:
    problem = problem_of(failure)
    response = render(problem)
    assert isinstance(response.body, bytes)
    document = orjson.loads(response.body)
    assert (response.status, response.content_type) == (status, MEDIA_TYPE)
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:ledger:problem:{code}"
    assert document["title"] == PROBLEMS[code][1]
    assert "secret" not in response.body.decode()
    assert ("Retry-After" in response.headers) == (status == 503)


def test_a_method_that_is_not_taken_is_told_with_those_that_are() -> None:
    problem = problem_of(web.HTTPMethodNotAllowed("PUT", ["POST", "GET"]))
    assert (problem.status, problem.headers["Allow"]) == (405, "GET,POST")


def test_each_field_is_told_of() -> None:
    problem = ProblemError(
        code="invalid_field",
        detail="Two are wrong.",
        errors=[
            FieldError(field="currency", code="invalid_field", message="three letters"),
            FieldError(field="amount.minor", code="invalid_field", message="a number"),
        ],
    )
    body = render(problem).body
    assert isinstance(body, bytes)
    assert [one["field"] for one in orjson.loads(body)["errors"]] == ["currency", "amount.minor"]


def test_the_domain_knows_no_code_without_a_problem() -> None:
    folder = Path(domain.__file__).parent
    named = {
        code
        for name in ("transfer.py", "steps.py", "batch.py")
        for code in re.findall(r'code="([a-z_]+)"', (folder / name).read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert named <= PROBLEMS.keys()


def test_a_code_that_nobody_declared_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        ProblemError(code="made_up", detail="?")


def test_each_code_is_told_of_in_the_documents() -> None:
    text = (Path(__file__).parents[4] / "docs/components/ledger_edge.md").read_text()
    assert [code for code in PROBLEMS if f"`{code}`" not in text] == []
