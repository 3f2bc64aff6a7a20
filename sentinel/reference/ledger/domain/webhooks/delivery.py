"""What becomes of one delivery: an event on its way to one endpoint.

    pending ──2xx──────────────────────────────► delivered
       │ ▲ anything else, attempts left: waits
       │ └──────────┘
       ├──anything else, no attempt left───────► failed
       ├──410──────────────────────────────────► failed
       └──waited beyond its time of keeping────► failed

A redirect is no success and is not followed: it would lead past the judgement of addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """What an attempt says of the endpoint."""

    DELIVERED = "delivered"
    FAILED = "failed"
    THROTTLED = "throttled"
    GONE = "gone"


class Reason(StrEnum):
    """Why an attempt went as it did, for metrics and for the owner of the endpoint."""

    OK = "ok"
    REDIRECT = "redirect"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    THROTTLED = "throttled"
    GONE = "gone"
    BAD_ANSWER = "bad_answer"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    DNS = "dns"
    ADDRESS_REFUSED = "address_refused"
    SECRET_LOST = "secret_lost"  # noqa: S105 - the name of a reason


class Step(StrEnum):
    """What happens to a delivery."""

    SUCCEEDED = "succeeded"
    TO_BE_REPEATED = "to_be_repeated"
    USED_UP = "used_up"
    EXPIRED = "expired"


TABLE: Final[dict[tuple[DeliveryState, Step], DeliveryState]] = {
    (DeliveryState.PENDING, Step.SUCCEEDED): DeliveryState.DELIVERED,
    (DeliveryState.PENDING, Step.TO_BE_REPEATED): DeliveryState.PENDING,
    (DeliveryState.PENDING, Step.USED_UP): DeliveryState.FAILED,
    (DeliveryState.PENDING, Step.EXPIRED): DeliveryState.FAILED,
    # What has ended stays so: an answer that comes after its attempt was given up changes nothing.
    **{
        (state, step): state
        for state in (DeliveryState.DELIVERED, DeliveryState.FAILED)
        for step in Step
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """An attempt's outcome with its reason."""

    outcome: Outcome
    reason: Reason


# 502 and 504 come from what stands before an overloaded receiver.
_THROTTLING: Final = frozenset({429, 502, 504})
_GONE: Final = 410


def judge_status(status: int) -> Judgement:
    """Say what an HTTP status means for the attempt.

    >>> judge_status(204).outcome is Outcome.DELIVERED
    True
    >>> judge_status(301)
    Judgement(outcome=<Outcome.FAILED: 'failed'>, reason=<Reason.REDIRECT: 'redirect'>)
    """
    if 200 <= status < 300:
        return Judgement(outcome=Outcome.DELIVERED, reason=Reason.OK)
    if status == _GONE:
        return Judgement(outcome=Outcome.GONE, reason=Reason.GONE)
    if status in _THROTTLING:
        return Judgement(outcome=Outcome.THROTTLED, reason=Reason.THROTTLED)
    reasons = {3: Reason.REDIRECT, 4: Reason.CLIENT_ERROR, 5: Reason.SERVER_ERROR}
    reason = reasons.get(status // 100, Reason.BAD_ANSWER)
    return Judgement(outcome=Outcome.FAILED, reason=reason)


def step_of(outcome: Outcome, wait_s: float | None) -> Step:
    """Return what an attempt means for its delivery; `wait_s` is None when no attempt is left."""
    if outcome is Outcome.DELIVERED:
        return Step.SUCCEEDED
    if outcome is Outcome.GONE or wait_s is None:
        return Step.USED_UP
    return Step.TO_BE_REPEATED
