"""What an endpoint's answer means for what was sent: OTLP's own rules, in one table a protocol.

HTTP 200, gRPC OK                                       taken, less what partial_success rejects
HTTP 429, 502, 503, 504; no answer                      again, not before Retry-After
gRPC CANCELLED, DEADLINE_EXCEEDED, ABORTED,             again, not before RetryInfo
OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
gRPC RESOURCE_EXHAUSTED with RetryInfo                  again; without it, and of size: in halves
HTTP 413                                                in halves
everything else                                         refused: the same would be refused again
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import orjson

from sentinel.runtime.flow import FlowReason
from sentinel.runtime.otlp_reply import OtlpEncoding


class Verdict(Enum):
    """What becomes of a request."""

    TAKEN = auto()
    RETRY = auto()
    SPLIT = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        verdict: what becomes of the request.
        reason: why, when it was not taken.
        rejected_count: items of it that were taken and rejected, by partial success.
        retry_after_s: the endpoint's wish, or None.
        detail: one line for a person, without secrets.
    """

    verdict: Verdict
    reason: FlowReason = FlowReason.FAULT
    rejected_count: int = 0
    retry_after_s: float | None = None
    detail: str = ""


_RETRYABLE_HTTP = frozenset((429, 502, 503, 504))
_DENIED_HTTP = frozenset((401, 403, 407))
_RETRYABLE_GRPC = frozenset((1, 4, 10, 11, 14, 15))
_RESOURCE_EXHAUSTED = 8
_DENIED_GRPC = frozenset((7, 16))
_SIZE_WORDS = ("larger than max", "too large", "message size", "exceeds")


def of_http(
    status: int, body: bytes, encoding: OtlpEncoding, *, retry_after_s: float | None, detail: str
) -> Outcome:
    """By the status of an answer, 0 for none; `body` is what it said, bounded."""
    if status == 200:
        return Outcome(verdict=Verdict.TAKEN, rejected_count=rejected_of(body, encoding))
    if status == 0:
        return Outcome(verdict=Verdict.RETRY, reason=FlowReason.UNREACHABLE, detail=detail)
    if status in _RETRYABLE_HTTP:
        return Outcome(
            verdict=Verdict.RETRY,
            reason=FlowReason.OVERLOADED,
            retry_after_s=retry_after_s,
            detail=detail,
        )
    if status == 413:
        return Outcome(verdict=Verdict.SPLIT, reason=FlowReason.TOO_LARGE, detail=detail)
    reason = FlowReason.DENIED if status in _DENIED_HTTP else FlowReason.REFUSED
    return Outcome(verdict=Verdict.REFUSED, reason=reason, detail=detail)


def of_grpc(code: int, *, retry_after_s: float | None, said: str, detail: str) -> Outcome:
    """By the code of a call that failed; `retry_after_s` is what RetryInfo says, None without it."""
    if code in _RETRYABLE_GRPC or (code == _RESOURCE_EXHAUSTED and retry_after_s is not None):
        reason = FlowReason.TIMEOUT if code == 4 else FlowReason.UNREACHABLE
        if retry_after_s is not None:
            reason = FlowReason.OVERLOADED
        return Outcome(
            verdict=Verdict.RETRY, reason=reason, retry_after_s=retry_after_s, detail=detail
        )
    if code == _RESOURCE_EXHAUSTED and any(word in said.lower() for word in _SIZE_WORDS):
        return Outcome(verdict=Verdict.SPLIT, reason=FlowReason.TOO_LARGE, detail=detail)
    reason = FlowReason.DENIED if code in _DENIED_GRPC else FlowReason.REFUSED
    return Outcome(verdict=Verdict.REFUSED, reason=reason, detail=detail)


def rejected_of(body: bytes, encoding: OtlpEncoding) -> int:
    """How many items a partial success rejects; 0 when the answer does not say so, or cannot be read."""
    if not body:
        return 0
    if encoding is OtlpEncoding.JSON:
        try:
            partial = orjson.loads(body).get("partialSuccess") or {}
            counts = [value for name, value in partial.items() if name.startswith("rejected")]
            return max(0, int(counts[0])) if counts else 0
        except (ValueError, TypeError, AttributeError):
            return 0
    # partial_success is field 1, its count field 1 in turn, for every signal.
    inside = _fields(body).get(1)
    count = _fields(inside).get(1) if isinstance(inside, bytes) else None
    return count if isinstance(count, int) and count < 1 << 63 else 0


def _fields(raw: bytes) -> dict[int, int | bytes]:
    """The numbers and bytes of a message, by field; what cannot be read ends it."""
    found: dict[int, int | bytes] = {}
    at = 0
    try:
        while at < len(raw):
            tag, at = _varint(raw, at)
            if tag & 7 == 0:
                found[tag >> 3], at = _varint(raw, at)
            elif tag & 7 == 2:
                size, at = _varint(raw, at)
                found[tag >> 3] = raw[at : at + size]
                at += size
            else:
                break
    except IndexError:
        pass
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return number, at
