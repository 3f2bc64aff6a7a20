"""Every answer that is an error, as problem details for HTTP (RFC 9457).

A problem has a code, which is stable and is for programs; its type, `urn:ledger:problem:<code>`, and its
title and status follow from the code alone. What is wrong with the request at hand is told by `detail`,
and by `errors`, one for each field to correct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import orjson
from aiohttp import web

from sentinel.reference.ledger.domain import InvalidTransferError, LedgerError, UnavailableError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:ledger:problem:"
_RETRY_AFTER_S: Final = 1

# By code: the status that it is answered with, and the title, which is the same for each occurrence.
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "bad_request": (400, "The request cannot be read"),
    "invalid_json": (400, "The body is not JSON"),
    "invalid_body": (400, "The body is not a JSON object"),
    "invalid_field": (400, "A field is missing or wrong"),
    "unknown_field": (400, "A field is not known"),
    "same_account": (400, "Debit and credit account are the same"),
    "invalid_idempotency_key": (400, "The idempotency key is missing or wrong"),
    "invalid_tenant": (400, "The tenant's name is missing or wrong"),
    "invalid_position": (400, "The position is none that was given out"),
    "invalid_id": (400, "The id in the path is wrong"),
    "invalid_step": (400, "There is no such step"),
    "refused_url": (400, "Webhooks are not sent to this URL"),
    "no_credentials": (401, "It is not known who asks"),
    "unknown_scheme": (401, "The credentials are of a scheme that is not known here"),
    "malformed_token": (401, "The token cannot be read"),
    "forbidden_algorithm": (401, "The token's algorithm is not allowed"),
    "unknown_key": (401, "The token's key is not known"),
    "bad_signature": (401, "The token's signature is wrong"),
    "token_expired": (401, "The token has expired"),
    "token_not_yet_valid": (401, "The token is not valid yet"),
    "wrong_issuer": (401, "The token is another issuer's"),
    "wrong_audience": (401, "The token is for another audience"),
    "invalid_claim": (401, "A claim of the token is missing or wrong"),
    "no_tenant_claim": (401, "The token names no tenant"),
    "certificate_expired": (401, "The client certificate has expired"),
    "certificate_without_tenant": (401, "The client certificate does not name one tenant"),
    "address_not_allowed": (403, "The tenant may not ask from this address"),
    "unknown_tenant": (403, "Nobody has opened this tenant"),
    "tenant_suspended": (403, "The tenant is suspended"),
    "tenant_mismatch": (403, "The request speaks for more than one tenant"),
    "insufficient_scope": (403, "The token does not allow this"),
    "not_found": (404, "There is nothing at this address"),
    "unknown_transaction": (404, "There is no such transaction"),
    "unknown_batch": (404, "There is no such batch"),
    "unknown_account": (404, "There is no such account"),
    "unknown_endpoint": (404, "There is no such webhook endpoint"),
    "unknown_export": (404, "There is no such export"),
    "unknown_part": (404, "The export has no such part"),
    "method_not_allowed": (405, "The address does not take this method"),
    "request_timeout": (408, "The body did not arrive in time"),
    "idempotency_key_reused": (409, "The idempotency key was used for another request"),
    "endpoint_exists": (409, "There is a webhook endpoint of this URL"),
    "too_many_endpoints": (409, "The tenant has as many webhook endpoints as it may have"),
    "rotation_under_way": (409, "Two secrets sign already"),
    "endpoint_disabled": (409, "The webhook endpoint is disabled"),
    "too_many_tests": (409, "Tests wait for this webhook endpoint already"),
    "too_many_exports": (409, "The tenant has as many exports under way as it may have"),
    "export_not_done": (409, "The export has no file yet"),
    "export_failed": (409, "The export has failed"),
    "export_expired": (410, "The export's file is no longer kept"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body is of a type that is not read"),
    "expectation_failed": (417, "What the request expects is not given"),
    "rate_limited": (429, "The tenant asks more often than it may"),
    "internal": (500, "The request failed"),
    "overloaded": (503, "Too many requests are in flight"),
    "unavailable": (503, "A part of the ledger is away or full"),
    "issuer_unavailable": (503, "The issuer of tokens is away"),
}
_CODES: Final[Mapping[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing to correct: a header, a field of the body (`items[3].currency`), of path or query."""

    field: str
    code: str
    message: str


class ProblemError(LedgerError):
    """An answer that is an error, raised by whatever finds that it must be given.

    Attributes:
        code: a key of PROBLEMS.
        detail: a sentence for whoever reads the answer; nothing secret.
        errors: what to correct, field by field.
        headers: to be sent with the answer; a 503 has a Retry-After without being told.
        members: what else the document says, by names that are not the form's own.
    """

    def __init__(
        self,
        *,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = PROBLEMS[code]
        self.detail = detail
        self.errors = tuple(errors)
        retry = {"Retry-After": str(_RETRY_AFTER_S)} if self.status == 503 else {}
        self.headers: Mapping[str, str] = {**retry, **(headers or {})}
        self.members: Mapping[str, object] = dict(members or {})

    @classmethod
    def of_field(cls, *, code: str, field: str, message: str) -> ProblemError:
        """Return the problem of one field, which is told in detail and errors alike."""
        return cls(
            code=code, detail=message, errors=[FieldError(field=field, code=code, message=message)]
        )


def problem_of(failure: BaseException) -> ProblemError:
    """Return what a client is told of a failure: of one that nobody expected, no more than that."""
    if isinstance(failure, ProblemError):
        return failure
    if isinstance(failure, InvalidTransferError):
        if not failure.field:
            return ProblemError(code=failure.code, detail=failure.message)
        return ProblemError(
            code=failure.code,
            detail=failure.message,
            errors=[
                FieldError(field=one.field, code=one.code, message=one.message)
                for one in (failure, *failure.others)
            ],
        )
    if isinstance(failure, UnavailableError):
        return ProblemError(
            code="unavailable", detail="A part of the ledger is away or full; try again."
        )
    if isinstance(failure, web.HTTPException) and 400 <= failure.status < 500:
        code = _CODES.get(failure.status, "bad_request")
        allow = failure.headers.get("Allow")
        return ProblemError(
            code=code, detail=f"{PROBLEMS[code][1]}.", headers={"Allow": allow} if allow else None
        )
    return ProblemError(code="internal", detail="The request failed.")


def render(problem: ProblemError) -> web.Response:
    """Return the answer."""
    document: dict[str, object] = {
        "type": TYPE_PREFIX + problem.code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.members,
    }
    if problem.errors:
        document["errors"] = [asdict(error) for error in problem.errors]
    return web.Response(
        status=problem.status,
        body=orjson.dumps(document),
        content_type=MEDIA_TYPE,
        headers=problem.headers,
    )
