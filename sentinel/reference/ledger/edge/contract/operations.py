"""Every operation of the edge, by method and path.

To add one, add its route to the edge and an entry to `_OWN` here: id, method, path, the schema of its body and of its answer (in
`bodies.py` and `answers.py`), its parameters (by their names in `parameters.py`), and the codes of problems that are its own beside
those which every request may be answered with (`problems.ANY`, and `problems.KNOWN` where somebody must be known). Then `make deploy`
writes `docs/openapi.json`. Operations of the tables of versions and of webhook endpoints are made of these tables: they need their
texts alone, in `_WRITES`, `_READS` and `_ENDPOINTS`. Tests fail while route and entry do not match, or an answer is none that is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sentinel.reference.ledger.domain.position import HEADER as POSITION
from sentinel.reference.ledger.edge.auth.caller import Scope
from sentinel.reference.ledger.edge.contract.answers import answer_name
from sentinel.reference.ledger.edge.contract.bodies import body_name
from sentinel.reference.ledger.edge.contract.examples import EXAMPLES
from sentinel.reference.ledger.edge.contract.problems import BODY, READ, WRITE
from sentinel.reference.ledger.edge.endpoint_routes import ENDPOINT_ROUTES
from sentinel.reference.ledger.edge.export_routes import EXPORT_ROUTES, FILE_TYPE
from sentinel.reference.ledger.edge.versions.table import READS, WRITES

CONTRACT_PATH: Final = "/openapi.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request carries."""

    schema: str
    required: bool = True
    examples: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The one answer that is no problem; headers beside those of the tenant's limit, no content where it has no schema."""

    status: int = 200
    schema: str | None
    told: str
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        id: its name in clients.
        scope: what a token must allow; None where nobody needs to be known.
        parameters: names of `parameters.PARAMETERS`.
        codes: problems of its own, beside those of every request.
        unchanged: what 304 says, where who has the answer already may say so with If-None-Match.
    """

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    scope: Scope | None
    parameters: tuple[str, ...] = ()
    body: Body | None = None
    answer: Answer
    codes: tuple[str, ...] = ()
    unchanged: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the tables do not say of an operation."""

    id: str
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


_WRITES: Final[Mapping[str, _Told]] = {
    "transfers": _Told(
        id="createTransfer",
        tag="Transfers",
        summary="Move money, or reserve it",
        codes=("same_account",),
    ),
    "post": _Told(
        id="postTransfer",
        tag="Transfers",
        summary="Move what a pending transfer has reserved, or part of it",
        description="The rest is free again. Without an amount, all of it is moved.",
        parameters=("TransactionId",),
        codes=("invalid_id",),
    ),
    "void": _Told(
        id="voidTransfer",
        tag="Transfers",
        summary="Free what a pending transfer has reserved",
        parameters=("TransactionId",),
        codes=("invalid_id",),
    ),
    "reverse": _Told(
        id="reverseTransfer",
        tag="Transfers",
        summary="Move back what a transfer, or a post, has moved",
        parameters=("TransactionId",),
        codes=("invalid_id",),
    ),
    "batches": _Told(
        id="createBatch",
        tag="Batches",
        summary="Ask for many transfers at once",
        description="It is accepted whole or not at all; then each item is decided for itself.",
        codes=("same_account",),
    ),
    "disbursements": _Told(
        id="createDisbursement",
        tag="Disbursements",
        summary="Pay somebody over a bank's rail",
        description="The amount is reserved until the rail says what became of it.",
        codes=("same_account",),
    ),
}
_READS: Final[Mapping[str, _Told]] = {
    "transaction": _Told(
        id="getTransaction",
        tag="Transactions",
        summary="What became of a request",
        parameters=("TransactionId", "RequestMark"),
        codes=("unknown_transaction",),
    ),
    "batch": _Told(
        id="getBatch",
        tag="Batches",
        summary="What became of a batch, with a page of its items",
        parameters=("BatchId", "RequestMark", "FirstItem"),
        codes=("unknown_batch", "invalid_field"),
    ),
    "balance": _Told(
        id="getBalance",
        tag="Accounts",
        summary="An account's balance",
        parameters=("AccountId",),
        codes=("unknown_account",),
    ),
}
_ONE_ENDPOINT: Final = ("EndpointId",)
_ENDPOINTS: Final[Mapping[str, tuple[str, str, Answer, tuple[str, ...], tuple[str, ...]]]] = {
    # By what is done: id, summary, answer, parameters, codes.
    "register": (
        "createWebhookEndpoint",
        "Register an endpoint",
        Answer(
            status=201,
            schema="WebhookEndpointWithSecret",
            told="It is registered; its secret is shown once.",
            headers=("Location",),
        ),
        (),
        (*BODY, "refused_url", "endpoint_exists", "too_many_endpoints"),
    ),
    "list": (
        "listWebhookEndpoints",
        "All endpoints of the tenant",
        Answer(schema="WebhookEndpoints", told="They are."),
        (),
        (),
    ),
    "show": (
        "getWebhookEndpoint",
        "How an endpoint fares",
        Answer(schema="WebhookEndpoint", told="The endpoint."),
        _ONE_ENDPOINT,
        ("invalid_id", "unknown_endpoint"),
    ),
    "delete": (
        "deleteWebhookEndpoint",
        "Delete an endpoint, with what waits for it",
        Answer(status=204, schema=None, told="It is gone."),
        _ONE_ENDPOINT,
        ("invalid_id", "unknown_endpoint"),
    ),
    "rotate": (
        "rotateWebhookSecret",
        "Give an endpoint another secret",
        Answer(schema="WebhookEndpointWithSecret", told="The new secret, shown once."),
        _ONE_ENDPOINT,
        (*BODY, "invalid_id", "unknown_endpoint", "rotation_under_way"),
    ),
    "enable": (
        "enableWebhookEndpoint",
        "Have an endpoint take events again",
        Answer(schema="WebhookEndpoint", told="It is enabled; what waits for it is tried now."),
        _ONE_ENDPOINT,
        ("invalid_id", "unknown_endpoint"),
    ),
    "test": (
        "testWebhookEndpoint",
        "Send a test to an endpoint",
        Answer(
            status=202,
            schema="WebhookTest",
            told="It is on its way.",
            headers=("Location",),
        ),
        _ONE_ENDPOINT,
        ("invalid_id", "unknown_endpoint", "endpoint_disabled", "too_many_tests"),
    ),
    "deliveries": (
        "listWebhookDeliveries",
        "What became of an endpoint's webhooks",
        Answer(schema="WebhookDeliveries", told="The newest first."),
        (*_ONE_ENDPOINT, "DeliveryState", "DeliveriesLimit"),
        ("invalid_id", "unknown_endpoint", "invalid_field"),
    ),
}
_ENDPOINT_BODIES: Final = {
    "register": Body(schema="WebhookEndpointRequest", examples=EXAMPLES["WebhookEndpointRequest"]),
    "rotate": Body(schema="RotationRequest", required=False, examples=EXAMPLES["RotationRequest"]),
}
_EXPORTS: Final[Mapping[str, tuple[str, str, Answer, tuple[str, ...], tuple[str, ...]]]] = {
    # By what is done: id, summary, answer, parameters, codes.
    "ask": (
        "createExport",
        "Ask for a period of the audit trail",
        Answer(
            status=202,
            schema="ExportAccepted",
            told="It will be made.",
            headers=("Location", "Idempotent-Replay", "Retry-After"),
        ),
        ("IdempotencyKey",),
        (*BODY, "invalid_idempotency_key", "idempotency_key_reused", "too_many_exports"),
    ),
    "list": (
        "listExports",
        "The tenant's last exports",
        Answer(schema="Exports", told="The newest first."),
        (),
        (),
    ),
    "show": (
        "getExport",
        "How an export stands",
        Answer(schema="Export", told="The export.", headers=("Retry-After",)),
        ("ExportId",),
        ("invalid_id", "unknown_export"),
    ),
    "fetch": (
        "getExportFile",
        "The file of an export, or of one of its parts",
        Answer(
            schema="ExportFile",
            told="The file, to be verified with the public keys of log and witness.",
            headers=("Content-Disposition", "Repr-Digest"),
            media_type=FILE_TYPE,
        ),
        ("ExportId", "Part"),
        (
            *("invalid_id", "unknown_export", "export_not_done", "export_failed"),
            *("export_expired", "invalid_field", "unknown_part"),
        ),
    ),
}
# What stands in no other table.
_OWN: Final[tuple[Operation, ...]] = (
    Operation(
        id="getHealth",
        method="GET",
        path="/healthz",
        tag="Service",
        summary="Whether the edge can accept anything",
        scope=None,
        answer=Answer(schema="Health", told="It can."),
        codes=("unavailable",),
    ),
    Operation(
        id="getContract",
        method="GET",
        path=CONTRACT_PATH,
        tag="Service",
        summary="This document",
        scope=None,
        answer=Answer(
            schema="Contract",
            told="It is the same until the edge is of another version.",
            headers=("ETag",),
        ),
        unchanged="It is still the one whose ETag was sent as If-None-Match.",
    ),
)


def _operations() -> Iterator[Operation]:
    for version in (2, 1):
        yield from _writes(version)
        yield from _reads(version)
    for path, names in ENDPOINT_ROUTES:
        for method, name in names.items():
            operation_id, summary, answer, parameters, codes = _ENDPOINTS[name]
            yield Operation(
                id=operation_id,
                method=method,
                path=path,
                tag="Webhook endpoints",
                summary=summary,
                scope=Scope.READ if method == "GET" else Scope.WRITE,
                parameters=parameters,
                body=_ENDPOINT_BODIES.get(name),
                answer=answer,
                codes=codes,
            )
    for path, names in EXPORT_ROUTES:
        for method, name in names.items():
            operation_id, summary, answer, parameters, codes = _EXPORTS[name]
            schema = "ExportRequest"
            yield Operation(
                id=operation_id,
                method=method,
                path=path,
                tag="Exports",
                summary=summary,
                # Whoever asks for an export changes nothing of the books.
                scope=Scope.READ,
                parameters=parameters,
                body=Body(schema=schema, examples=EXAMPLES[schema]) if name == "ask" else None,
                answer=answer,
                codes=codes,
            )
    yield from _OWN


def _writes(version: int) -> Iterator[Operation]:
    for write in WRITES:
        told = _WRITES[write.name]
        schema = body_name(write, version)
        is_batch = bool(write.form.each)
        yield Operation(
            id=_id(told, version),
            method="POST",
            path=write.v1 if version == 1 else write.v2,
            tag="Version 1" if version == 1 else told.tag,
            summary=told.summary,
            description=told.description,
            scope=Scope.WRITE,
            parameters=(*told.parameters, "IdempotencyKey", "Position"),
            # The body of a step may be left out, for it may say nothing.
            body=Body(schema=schema, required="{id}" not in write.v2, examples=EXAMPLES[schema]),
            answer=Answer(
                status=202,
                schema="BatchAccepted" if is_batch else "TransactionAccepted",
                told="It is safe, and will be decided.",
                headers=("Location", "Idempotent-Replay", POSITION),
            ),
            codes=(*WRITE, *told.codes),
        )


def _reads(version: int) -> Iterator[Operation]:
    for read in READS:
        told = _READS[read.name]
        yield Operation(
            id=_id(told, version),
            method="GET",
            path=read.v1 if version == 1 else read.v2,
            tag="Version 1" if version == 1 else told.tag,
            summary=told.summary,
            description=told.description,
            scope=Scope.READ,
            parameters=(*told.parameters, "Position"),
            answer=Answer(
                schema=answer_name(read, version), told="What is known.", headers=(POSITION,)
            ),
            codes=(*READ, *told.codes),
        )


def _id(told: _Told, version: int) -> str:
    return f"{told.id}V1" if version == 1 else told.id


OPERATIONS: Final = tuple(_operations())
