"""The document, put together."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

import orjson

from sentinel.reference.ledger.domain.position import HEADER as POSITION
from sentinel.reference.ledger.edge.contract.answers import answer_schemas
from sentinel.reference.ledger.edge.contract.bodies import body_schemas
from sentinel.reference.ledger.edge.contract.operations import OPERATIONS, Operation
from sentinel.reference.ledger.edge.contract.parameters import PARAMETERS
from sentinel.reference.ledger.edge.contract.problems import (
    ANY,
    KNOWN,
    PROBLEM_SCHEMAS,
    problem_answers,
    shared_answers,
)
from sentinel.reference.ledger.edge.contract.security import SECURITY_SCHEMES, security_of
from sentinel.reference.ledger.edge.contract.shapes import ref
from sentinel.reference.ledger.edge.contract.webhooks import webhook_schemas, webhooks

# Its first number is the newest version's of the forms; what is added raises the second.
VERSION: Final = "2.0.0"

_INFO: Final = {
    "title": "Ledger",
    "version": VERSION,
    "summary": "Double-entry transfers, in one phase or two, with balances, payments out, batches and webhooks.",
    "description": "A write is answered 202 once it is safe and before it is decided: ask its `Location`, or be told by a webhook. Repeat a write that "
    "was not answered with the same `Idempotency-Key`; it is done once. Every error is a problem (RFC 9457) with a `code` for programs.",
    "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
}
_TAGS: Final = {
    "Transfers": "Movements of money, and steps on them.",
    "Batches": "Many transfers under one key, decided one by one.",
    "Disbursements": "Payments out over a bank's rail.",
    "Transactions": "What became of a request.",
    "Accounts": "Balances.",
    "Webhook endpoints": "Where a tenant wants to be told of what happens.",
    "Exports": "A tenant's own part of the audit trail, with a proof for each entry.",
    "Version 1": "The form before: flat bodies. It goes on working; ids are the same in both.",
    "Service": "The edge itself.",
    "Webhooks": "What the ledger asks of its clients.",
}
_HEADERS: Final[dict[str, Any]] = {
    "ETag": {
        "description": "Stands for what was answered: another value, another answer.",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]+"$'},
    },
    "Location": {
        "schema": {"type": "string", "format": "uri-reference"},
        "description": "Where to ask what became of it.",
    },
    "Idempotent-Replay": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "The key is known: this answers a request that was accepted before.",
    },
    POSITION: {
        "schema": {"type": "string"},
        "description": "How far the books had been written. Handed back with the next question, it is answered by nothing older.",
    },
    "RateLimit-Limit": {
        "schema": {"type": "integer"},
        "description": "Requests a second that the tenant may make.",
    },
    "RateLimit-Remaining": {
        "schema": {"type": "integer"},
        "description": "How many more may be made at once.",
    },
    "RateLimit-Reset": {
        "schema": {"type": "integer"},
        "description": "Seconds until the whole burst is there again.",
    },
    "Content-Disposition": {
        "schema": {"type": "string"},
        "description": "A name for the file.",
    },
    "Repr-Digest": {
        "schema": {"type": "string"},
        "description": "The file's SHA-256, as RFC 9530 has it.",
    },
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
    "WWW-Authenticate": {
        "schema": {"type": "string"},
        "description": "As RFC 6750 has it, where the refusal is about a token.",
    },
}
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    schemas = {**body_schemas(), **answer_schemas(), **PROBLEM_SCHEMAS, **webhook_schemas()}
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/", "description": "The edge that serves this document."}],
        "tags": [{"name": name, "description": told} for name, told in _TAGS.items()],
        "paths": paths,
        "webhooks": webhooks(),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "parameters": dict(PARAMETERS),
            "responses": shared_answers(),
            "headers": _HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


@cache
def rendered() -> bytes:
    """Return the document as it is served and kept: the same bytes each time."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2) + b"\n"


@cache
def rendered_mark() -> str:
    """Return what stands for those bytes: another mark, another document."""
    return hashlib.sha256(rendered()).hexdigest()[:32]


def _operation(one: Operation) -> dict[str, Any]:
    is_known = one.scope is not None
    told: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        **({"description": one.description} if one.description else {}),
        "tags": [one.tag],
        "security": security_of(one.scope),
    }
    if one.parameters:
        told["parameters"] = [
            {"$ref": f"#/components/parameters/{name}"} for name in one.parameters
        ]
    if one.body is not None:
        told["requestBody"] = {
            "required": one.body.required,
            "content": {
                "application/json": {
                    "schema": ref(one.body.schema),
                    "examples": {
                        name: {"value": value} for name, value in one.body.examples.items()
                    },
                }
            },
        }
    headers = (*one.answer.headers, *(_LIMITS if is_known else ()))
    answer: dict[str, Any] = {"description": one.answer.told}
    if headers:
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    if one.answer.schema is not None:
        answer["content"] = {one.answer.media_type: {"schema": ref(one.answer.schema)}}
    codes = (*ANY, *(KNOWN if is_known else ()), *one.codes)
    told["responses"] = {
        str(one.answer.status): answer,
        **({"304": {"description": one.unchanged}} if one.unchanged else {}),
        **problem_answers(codes, limited=is_known),
    }
    return told
