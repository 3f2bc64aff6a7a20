"""Goal: every span that is right becomes a call at the right place, and no other span costs its neighbours.

Method: requests encoded by OpenTelemetry's own messages, decoded, and read back as scopes, durations and reasons.
"""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sentinel.core.model import CallColumns, RejectReason, SampleBatch, Scope
from sentinel.core.normalise import OtlpDecoder
from sentinel.errors import MalformedInputError
from tests.support.otlp_messages import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    NOW_NS,
    PRODUCER,
    SECOND_NS,
    SERVER,
    Value,
    as_json,
    field,
    nested_value,
    span,
    traces,
)


def decode(*spans: object, is_json: bool = False) -> SampleBatch:
    request = traces(*spans)  # type: ignore[arg-type]
    body = as_json(request) if is_json else request.SerializeToString()
    return OtlpDecoder().decode_traces(body, now_ns=NOW_NS, is_json=is_json)


def calls_of(batch: SampleBatch) -> CallColumns:
    assert batch.calls is not None
    return batch.calls


PLACES: list[tuple[int, str, dict[str, Value], tuple[str, str]]] = [
    (
        SERVER,
        "GET",
        {"http__request__method": "GET", "http__route": "/v1/x/{id}"},
        ("edge", "GET /v1/x/{id}"),
    ),
    (SERVER, "GET", {"http__method": "GET", "http__route": "/old"}, ("edge", "GET /old")),
    (SERVER, "GET", {}, ("edge", "GET")),
    (SERVER, "GET /users/8842", {}, ("edge", "other")),
    (
        PRODUCER,
        "publish",
        {
            "messaging__operation__name": "publish",
            "messaging__destination__name": "ledger.transfers",
        },
        ("queue", "publish ledger.transfers"),
    ),
    (
        CONSUMER,
        "process",
        {
            "messaging__operation__name": "process",
            "messaging__destination__name": "ledger.acme-10293",
            "messaging__destination__template": "ledger.{tenant}",
        },
        ("consumer", "process ledger.{tenant}"),
    ),
    (
        CONSUMER,
        "x",
        {"messaging__operation": "process", "messaging__destination": "q"},
        ("consumer", "process q"),
    ),
    (
        CLIENT,
        "receive",
        {
            "messaging__operation__type": "receive",
            "messaging__operation__name": "poll",
            "messaging__destination__name": "q",
        },
        ("consumer", "poll q"),
    ),
    (
        CLIENT,
        "x",
        {"db__system__name": "postgresql", "db__query__summary": "INSERT posting"},
        ("database", "INSERT posting"),
    ),
    (
        CLIENT,
        "x",
        {"db__system": "postgresql", "db__operation": "SELECT", "db__sql__table": "account"},
        ("database", "SELECT account"),
    ),
    (CLIENT, "SELECT ledger", {"db__system__name": "postgresql"}, ("database", "SELECT ledger")),
    (
        CLIENT,
        "GET",
        {"http__request__method": "GET", "server__address": "fraud.internal"},
        ("client", "GET fraud.internal"),
    ),
    (
        CLIENT,
        "POST webhook",
        {
            "http__request__method": "POST",
            "server__address": "hooks.of-one-of-many.example",
            "peer__service": "webhook",
        },
        ("client", "POST webhook"),
    ),
    (CLIENT, "call 123456 now", {}, ("client", "call {id} now")),
]


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize(("kind", "name", "attributes", "place"), PLACES)
def test_place_of_a_span(
    kind: int, name: str, attributes: dict[str, Value], place: tuple[str, str], *, is_json: bool
) -> None:
    batch = decode(span(name, kind=kind, **attributes), is_json=is_json)  # type: ignore[arg-type]
    assert calls_of(batch).scopes == (Scope("ledger", *place),)


def test_json_and_protobuf_say_the_same() -> None:
    spans = [
        span(number=number, duration_s=number / 7, error=number % 3 == 0, http__route="/r")
        for number in range(1, 30)
    ]
    binary, text = calls_of(decode(*spans)), calls_of(decode(*spans, is_json=True))
    assert binary.scopes == text.scopes
    assert binary.exemplars == text.exemplars
    for column in ("scope_index", "end_ns", "duration_s", "error"):
        assert getattr(binary, column).tolist() == getattr(text, column).tolist()


def test_internal_spans_make_no_series_but_are_heard() -> None:
    batch = decode(span(kind=INTERNAL), span(kind=0, number=2))
    assert batch.calls is None
    assert batch.rejected == {}
    assert batch.services == {"ledger"}


def test_a_call_fails_by_its_status_or_by_answering_5xx() -> None:
    batch = decode(
        span(number=1, http__route="/r", http__response__status_code=200),
        span(number=2, http__route="/r", http__response__status_code=404),
        span(number=3, http__route="/r", http__response__status_code=503),
        span(number=4, http__route="/r", http__status_code="500"),
        span(number=5, http__route="/r", error=True),
    )
    assert calls_of(batch).error.tolist() == [False, False, True, True, True]


def test_bad_spans_are_rejected_alone_and_by_reason() -> None:
    good = span(number=1)
    zero_id, short_id = span(number=2), span(number=3)
    zero_id.trace_id = bytes(16)
    short_id.span_id = b"abc"
    no_time, backwards = span(number=4), span(number=5)
    no_time.end_time_unix_nano = 0
    backwards.start_time_unix_nano = backwards.end_time_unix_nano + 1
    ahead = span(number=6, end_ns=NOW_NS + 301 * SECOND_NS)
    huge = span(number=7)
    huge.end_time_unix_nano = 2**64 - 1
    batch = decode(good, zero_id, short_id, no_time, backwards, ahead, huge)
    assert len(calls_of(batch).end_ns) == 1
    assert batch.rejected == {
        RejectReason.BAD_ID: 2,
        RejectReason.NO_TIME: 1,
        RejectReason.NEGATIVE: 1,
        RejectReason.FUTURE: 2,
    }


def test_a_call_of_56_years_is_refused() -> None:
    """A process whose clock was not set when the call began said 1970, and the place was slow for a day."""
    since_1970, of_a_day, too_long = span(number=1), span(number=2), span(number=3)
    since_1970.start_time_unix_nano = 1
    of_a_day.start_time_unix_nano = of_a_day.end_time_unix_nano - 86_400 * SECOND_NS
    too_long.start_time_unix_nano = too_long.end_time_unix_nano - 86_400 * SECOND_NS - 1
    batch = decode(since_1970, of_a_day, too_long)
    assert calls_of(batch).duration_s.tolist() == [86_400.0]
    assert batch.rejected == {RejectReason.TOO_LONG: 2}


def test_the_first_and_the_slowest_of_each_outcome_of_a_place_are_named() -> None:
    """The first failure tells when failing began, the slowest how bad it was."""

    def ending(number: int, after_s: float, duration_s: float, *, error: bool = False) -> Span:
        end_ns = NOW_NS - SECOND_NS + round(after_s * SECOND_NS)
        return span(number=number, end_ns=end_ns, duration_s=duration_s, error=error)

    batch = decode(
        ending(1, 0.1, 0.1),
        ending(2, 0.3, 0.3),
        ending(3, 0.2, 0.2),
        ending(4, 0.3, 0.2, error=True),
        ending(5, 0.2, 0.1, error=True),
        ending(6, 0.25, 0.05, error=True),
    )
    named = {(each.trace_id[-1], each.error) for each in calls_of(batch).exemplars}
    assert named == {("1", False), ("2", False), ("4", True), ("5", True)}


def test_an_ordinary_call_is_not_named_again_until_some_seconds_later() -> None:
    decoder = OtlpDecoder()

    def named(number: int, duration_s: float, now_s: int) -> int:
        body = traces(span(number=number, duration_s=duration_s)).SerializeToString()
        batch = decoder.decode_traces(body, now_ns=NOW_NS + now_s * SECOND_NS)
        return len(calls_of(batch).exemplars)

    assert named(1, 0.5, 0) == 1
    assert named(2, 0.4, 1) == 0
    assert named(3, 0.6, 2) == 1
    assert named(4, 0.4, 11) == 1
    # The clock was a day ahead and came back.
    assert named(5, 0.4, 86_400) == 1
    assert named(6, 0.3, 12) == 1


def test_a_place_is_found_wherever_its_attributes_stand() -> None:
    """The decoder remembers where a service's route was; a span that has it elsewhere must not be misread."""
    decoder = OtlpDecoder()
    first = span(http__request__method="GET", http__route="/a", http__response__status_code=200)
    moved = span(
        number=2, url__scheme="http", http__route="/b", http__response__status_code=500,
        http__request__method="PUT",
    )  # fmt: skip
    fewer = span(number=3, http__route="/c")
    again = span(
        number=4, http__request__method="GET", http__route="/a", http__response__status_code=200
    )
    request = traces(first, moved, fewer, again)
    calls = calls_of(decoder.decode_traces(request.SerializeToString(), now_ns=NOW_NS))
    routes = [calls.scopes[index].route for index in calls.scope_index]
    assert routes == ["GET /a", "PUT /b", "/c", "GET /a"]
    assert calls.error.tolist() == [False, True, False, False]


def test_an_empty_attribute_costs_nothing_but_itself() -> None:
    bad = span(http__route="/a")
    bad.attributes.add()
    assert calls_of(decode(bad)).scopes == (Scope("ledger", "edge", "/a"),)


def test_one_bad_string_does_not_cost_the_batch() -> None:
    """Protobuf refuses a whole message for one string that is not UTF-8; a sender would lose 512 spans for it."""
    body = traces(
        span("bad", kind=CLIENT), span("good", kind=CLIENT, number=2)
    ).SerializeToString()
    batch = OtlpDecoder().decode_traces(body.replace(b"bad", b"\xff\xfe\xfd"), now_ns=NOW_NS)
    assert {scope.route for scope in calls_of(batch).scopes} == {"\ufffd\ufffd\ufffd", "good"}


def test_values_nested_without_end_are_passed_over() -> None:
    bombs = b"".join(
        field(9, field(1, key) + field(2, nested_value(5000)))
        for key in (b"bomb", b"http.request.method")
    )
    spans = field(2, span(http__route="/a").SerializeToString() + bombs)
    resource = traces().resource_spans[0].resource.SerializeToString()
    body = field(1, field(1, resource) + field(2, spans))
    batch = OtlpDecoder().decode_traces(body, now_ns=NOW_NS)
    assert calls_of(batch).scopes == (Scope("ledger", "edge", "/a"),)


def test_labels_are_bounded_and_hold_no_secret() -> None:
    batch = decode(span("pay 4111111111111111 " + "x" * 5000, kind=CLIENT))
    (scope,) = calls_of(batch).scopes
    assert len(scope.route) <= 160
    assert "4111" not in scope.route


def test_caches_are_bounded() -> None:
    """An attacker's names must cost neither memory nor, for long, anybody's speed."""
    decoder = OtlpDecoder()
    for start in range(1, 40_001, 4000):
        spans = [
            span(
                "".join(chr(97 + int(digit)) for digit in str(number)), kind=CLIENT, number=number
            )
            for number in range(start, start + 4000)
        ]
        batch = decoder.decode_traces(traces(*spans).SerializeToString(), now_ns=NOW_NS)
        assert len(calls_of(batch).scopes) == 4000
    assert len(decoder._traces._table) < 13_000


def test_a_resent_batch_has_the_same_fingerprint() -> None:
    assert decode(span()).fingerprint == decode(span()).fingerprint
    assert decode(span()).fingerprint != decode(span(number=2)).fingerprint


@pytest.mark.parametrize("body", [b"\x0a", b"\xff" * 10, b"\x0a\x05\x12\x03\x12\x01"])
def test_what_is_not_protobuf_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedInputError):
        OtlpDecoder().decode_traces(body, now_ns=NOW_NS)


def test_an_empty_request_is_fine() -> None:
    assert OtlpDecoder().decode_traces(b"", now_ns=NOW_NS).sample_count == 0
