"""The answers that are problems: by operation and status, with the codes that each may have.

A code is a text to programs that read the contract, not one of a closed list: a new one breaks nobody. Which there are
is told in `x-problem-codes`, of the register that the edge renders its problems by.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

from sentinel.reference.ledger.edge.contract.shapes import Schema, known, record, ref
from sentinel.reference.ledger.edge.problem import MEDIA_TYPE, PROBLEMS, TYPE_PREFIX

# Of requests that are no requests of this HTTP server's, or that it cannot serve now.
ANY: Final = ("bad_request", "expectation_failed", "internal", "overloaded")
# Of every request that somebody must be known for.
KNOWN: Final = (
    *(code for code, (status, _) in PROBLEMS.items() if status == 401),
    "invalid_tenant",
    "address_not_allowed",
    "unknown_tenant",
    "tenant_suspended",
    "tenant_mismatch",
    "insufficient_scope",
    "rate_limited",
    "issuer_unavailable",
    "unavailable",
)
BODY: Final = (
    "invalid_json",
    "invalid_body",
    "invalid_field",
    "unknown_field",
    "unsupported_media_type",
    "request_timeout",
    "body_too_large",
)
WRITE: Final = (
    *BODY,
    "invalid_idempotency_key",
    "invalid_position",
    "idempotency_key_reused",
)
READ: Final = ("invalid_id", "invalid_position")
# Of addresses and methods that are none, and so of no operation; the last has no address to come in by.
OF_NO_OPERATION: Final = frozenset({"not_found", "method_not_allowed", "invalid_step"})

_CHALLENGED: Final = frozenset({401, 403})
# Those that are answered with when to come again, beside all of 503.
_WAITING: Final = frozenset({"rate_limited", "too_many_exports", "export_not_done"})
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")

PROBLEM_SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": record(
        {
            "type": {
                "type": "string",
                "format": "uri",
                "description": f"`{TYPE_PREFIX}` and the code.",
            },
            "title": {"type": "string", "description": "The same for each occurrence."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {
                "type": "string",
                "description": "What is wrong with this request, for a person.",
            },
            "code": {
                **known(tuple(PROBLEMS), "What programs go by; it stays."),
                "x-titles": {code: title for code, (_, title) in PROBLEMS.items()},
            },
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": ref("FieldError"),
                "description": "What to correct; left out where it is no field.",
            },
            "retry_after_s": {
                "type": "number",
                "format": "double",
                "minimum": 0,
                "description": "Of `rate_limited`: when a request passes, exactly; `Retry-After` is this in whole seconds, rounded up.",
            },
        },
        required={"type", "title", "status", "detail", "code"},
        description="Problem details for HTTP (RFC 9457).",
    ),
    "FieldError": record(
        {
            "field": {
                "type": "string",
                "description": "A header, `id` of the path, a parameter, or a field of the body: `items[3].amount.currency`.",
            },
            "code": known(tuple(PROBLEMS), "What programs go by."),
            "message": {"type": "string"},
        }
    ),
}


def problem_answers(codes: Iterable[str], *, limited: bool) -> dict[str, Any]:
    """Return the responses that are problems, by status.

    Args:
        codes: those that the operation may answer with.
        limited: whether its answers tell of the tenant's limit.
    """
    return {
        str(status): {"$ref": f"#/components/responses/{_SHARED_NAMES[status]}"}
        if limited and told == _SHARED_CODES.get(status)
        else _answer(status, told, limited=limited)
        for status, told in _by_status(codes).items()
    }


def shared_answers() -> dict[str, Any]:
    """Return the responses that most operations have in common, by name."""
    return {
        _SHARED_NAMES[status]: _answer(status, codes, limited=True)
        for status, codes in _SHARED_CODES.items()
    }


def _by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    ordered = sorted((PROBLEMS[code][0], code) for code in set(codes))
    return {
        status: [code for _, code in group]
        for status, group in groupby(ordered, lambda one: one[0])
    }


def _answer(status: int, codes: list[str], *, limited: bool) -> dict[str, Any]:
    # Who is not known has no limit to be told of.
    names = (
        *(("WWW-Authenticate",) if status in _CHALLENGED else ()),
        *(("Retry-After",) if status == 503 or _WAITING & set(codes) else ()),
        *(_LIMITS if limited and status != 401 else ()),
    )
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {
        "description": f"A problem: {', '.join(f'`{code}`' for code in codes)}.",
        **({"headers": headers} if headers else {}),
        "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        "x-problem-codes": codes,
    }


_SHARED_CODES: Final = _by_status((*ANY, *KNOWN))
_SHARED_NAMES: Final = {
    status: HTTPStatus(status).phrase.title().replace(" ", "") for status in _SHARED_CODES
}
