"""Answers of the ledger's edge held against its contract.

Every answer that a `LedgerSite` of the tests gets passes through `conforming`, so whatever an integration test has the edge answer
is also a test of the document: the operation is in it, the status is told of, body and headers are as they are told, and nothing is
answered that is not told.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any, Final

import aiohttp
from jsonschema import Draft202012Validator, FormatChecker

from sentinel.reference.ledger.edge.contract import document
from sentinel.reference.ledger.edge.contract.problems import OF_NO_OPERATION
from sentinel.reference.ledger.edge.export_routes import FILE_TYPE
from sentinel.reference.ledger.edge.problem import MEDIA_TYPE, PROBLEMS

DOCUMENT: Final = document()

answered: Counter[tuple[str, int]] = Counter()
"""How often each operation has answered with each status, in this process."""


async def conforming(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Let a request pass, and raise AssertionError when its answer is none that the contract tells of."""
    response = await handler(request)
    # A file is not taken out of the hands of whoever fetches it.
    # Told from the header itself: the library's own reading of it is what one test forbids the edge.
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    is_read = response.status in (204, 304) or kind in ("application/json", MEDIA_TYPE)
    check(
        method=request.method,
        path=request.url.path,
        status=response.status,
        headers=response.headers,
        body=await response.read() if is_read else None,
    )
    return response


def check(*, method: str, path: str, status: int, headers: Any, body: bytes | None) -> None:
    """Raise AssertionError when an answer is none that the contract tells of; None is a body that nobody has read."""
    where = f"{method} {path} answered {status}"
    found = operation_of(method, path)
    media_type = headers.get("Content-Type", "").partition(";")[0]
    if found is None or (media_type == MEDIA_TYPE and code_of(body) in OF_NO_OPERATION):
        # No operation has this address, which is a problem that none tells of.
        assert media_type == MEDIA_TYPE, (
            f"{where}, and no operation of the contract has this address"
        )
        told = json.loads(body or b"")
        errors = list(validator("Problem").iter_errors(told))
        assert not errors, f"{where}: {errors}"
        assert told["code"] in PROBLEMS, where
        return
    told_answer = found["responses"].get(str(status))
    assert told_answer is not None, (
        f"{where}, which the contract does not tell of: {(body or b'')[:300]!r}"
    )
    told_answer = resolved(told_answer)
    answered[found["operationId"], status] += 1
    for name, header in told_answer.get("headers", {}).items():
        if name in headers:
            check_header(where, name, headers[name], resolved(header)["schema"])
    if "content" not in told_answer:
        assert not body, where
        return
    [(expected, content)] = told_answer["content"].items()
    assert media_type == expected, f"{where} as {media_type}"
    if status >= 400:
        assert code_of(body) in told_answer["x-problem-codes"], f"{where}: {(body or b'')[:300]!r}"
    if body is None:
        return
    name = content["schema"]["$ref"].rpartition("/")[2]
    # A file's lines are JSON each, and the file is none.
    value = body.decode() if media_type == FILE_TYPE else json.loads(body)
    errors = [error.message for error in validator(name).iter_errors(value)]
    assert not errors, f"{where}: {errors}: {body[:500]!r}"


def check_header(where: str, name: str, value: str, schema: dict[str, Any]) -> None:
    """Hold a header against its schema, whose type says how it is read."""
    read: Any = value
    if schema["type"] == "integer":
        assert re.fullmatch(r"[0-9]+", value), f"{where} with {name}: {value}"
        read = int(value)
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(read)]
    assert not errors, f"{where} with {name}: {errors}"


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation at an address, or None."""
    for pattern, item in _paths():
        if pattern.fullmatch(path):
            operation: dict[str, Any] | None = item.get(method.lower())
            return operation
    return None


def code_of(body: bytes | None) -> str:
    """The code of a problem, empty when it is none."""
    try:
        return str(json.loads(body or b"").get("code", ""))
    except (ValueError, AttributeError):
        return ""


@cache
def validator(name: str) -> Draft202012Validator:
    """What holds a value against a schema of the document, and takes no member of an object that is not told of."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": _closed(DOCUMENT["components"])},
        format_checker=FormatChecker(),
    )


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to; anything else is what it is."""
    if "$ref" not in part:
        return part
    found: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    assert isinstance(found, dict)
    return found


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), item)
        for path, item in DOCUMENT["paths"].items()
    ]


def _closed(part: Any) -> Any:
    """The same, with every object closed that tells its properties."""
    if isinstance(part, list):
        return [_closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    closed = {name: _closed(one) for name, one in part.items()}
    if part.get("type") == "object" and "properties" in part:
        closed["additionalProperties"] = False
    return closed
