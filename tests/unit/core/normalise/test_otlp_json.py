"""Goal: OTLP's JSON is read by OTLP's rules, and JSON that breaks later code is refused at the door.

Method: small bodies, written out; each refusal by the clause it gives.
"""

from __future__ import annotations

import json

import pytest

from sentinel.core.model import RejectReason, SampleBatch
from sentinel.core.normalise import OtlpDecoder
from sentinel.errors import InputTooLargeError, MalformedInputError
from tests.support.otlp_messages import NOW_NS, as_json, span, traces


def decode(text: str | bytes) -> SampleBatch:
    body = text if isinstance(text, bytes) else text.encode()
    return OtlpDecoder().decode_traces(body, now_ns=NOW_NS, is_json=True)


def with_span(**changes: object) -> str:
    given: dict[str, object] = {
        "traceId": "0AF7651916CD43DD8448EB211C80319C",
        "spanId": "b7ad6b7169203331",
        "name": "GET",
        "kind": 2,
        "startTimeUnixNano": str(NOW_NS - 10**9),
        "endTimeUnixNano": NOW_NS,
    }
    given.update(changes)
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [given]}]}]})


def test_ids_are_hexadecimal_in_either_case_and_integers_text_or_number() -> None:
    calls = decode(with_span()).calls
    assert calls is not None
    assert calls.duration_s.tolist() == [1.0]
    assert calls.exemplars[0].trace_id == "0af7651916cd43dd8448eb211c80319c"


def test_unknown_and_snake_case_keys_are_passed_over_and_null_is_absent() -> None:
    batch = decode(with_span(end_time_unix_nano="7", links=[{"x": 1}], status=None, later=[]))
    assert batch.sample_count == 1


def test_a_bad_id_costs_its_span_alone() -> None:
    assert decode(with_span(traceId="not hex")).rejected == {RejectReason.BAD_ID: 1}


@pytest.mark.parametrize(
    ("body", "clause"),
    [
        ("{", "not JSON"),
        ("[]", "an object was expected"),
        ('{"resourceSpans": {}}', "a list was expected"),
        ('{"resourceSpans": [1]}', "an object was expected"),
        (with_span(kind="SPAN_KIND_SERVER"), "a whole number was expected"),
        (with_span(kind=True), "a whole number was expected"),
        (with_span(kind=2.5), "a whole number was expected"),
        (with_span(kind=2**40), "not OTLP"),
        (with_span(name=7), "text was expected"),
        (with_span(endTimeUnixNano="1_000"), "a whole number was expected"),
        (with_span(endTimeUnixNano="\u0661\u0662"), "a whole number was expected"),
        (with_span(endTimeUnixNano=-1), "not OTLP"),
        ('{"x": NaN}', "not JSON"),
        ('{"x": Infinity}', "not JSON"),
        ('{"x": 1e999}', "not JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": {"b": 1, "c": {}, "b": 2}}', "twice"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": "\\udc00\\ud800"}', "surrogate"),
        ("[" * 33 + "]" * 33, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ('{"a": "]]]]]]]]]]]]]]]]]]]]", "b": ' + "[" * 32 + "]" * 32 + "}", "nested deeper"),
        ('{"a": "\\"]]]]]]]]]]]]\\\\", "b": ' + "[" * 32 + "]" * 32 + "}", "nested deeper"),
    ],
)
def test_what_is_refused(body: str, clause: str) -> None:
    with pytest.raises(MalformedInputError, match=clause):
        decode(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "\\\\u0000 \\\\ud800"}',
        '{"a": "\\ud83d\\ude00"}',
        '{"a:": ":", "b": "{[\\"a\\":", "a": ":1"}',
        "[" * 32 + "]" * 32,
        '{"a": "' + "[" * 100 + '"}',
    ],
)
def test_what_only_looks_like_it_is_not(body: str) -> None:
    try:
        decode(body)
    except MalformedInputError as error:
        assert "an object was expected" in str(error)  # noqa: PT017 - a bare list is no request


def test_not_utf8_is_malformed() -> None:
    with pytest.raises(MalformedInputError):
        decode(b'{"a": "\xff"}')


def test_a_body_of_brackets_is_too_large_for_what_it_says() -> None:
    with pytest.raises(InputTooLargeError):
        decode('{"resourceSpans": [' + "{}," * 500_000 + "{}]}")


@pytest.mark.parametrize(
    "body",
    [
        '{"x":[' + '"ab",' * 300_000 + '""]}',
        '{"x":[' + ",".join('{"a":"b","c":"","d":"","e":"","f":""}' for _ in range(40_000)) + "]}",
    ],
    ids=["texts", "keys"],
)
def test_a_body_of_short_texts_is_too_large_for_what_it_says(body: str) -> None:
    """Only brackets were counted: 3 MB of gzip with short texts inside took the receiver to 370 MiB."""
    with pytest.raises(InputTooLargeError, match="texts"):
        decode(body)


def test_a_large_body_of_logged_json_passes() -> None:
    """Quotes inside a text, as of a line that is JSON itself, begin no text."""
    line = json.dumps({"a": "", "b": ""}, separators=(",", ":")) * 40
    record = {"timeUnixNano": str(NOW_NS), "body": {"stringValue": line}}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record] * 1500}]}]}
    body = json.dumps(logs, separators=(",", ":")).encode()
    assert body.count(b'"') // 2 * 6 > len(body) > 1 << 20
    assert OtlpDecoder().decode_logs(body, now_ns=NOW_NS, is_json=True).sample_count == 1500


def test_a_large_honest_body_passes() -> None:
    spans = [span(number=number, http__route="/r", a="1", b="2") for number in range(1, 4000)]
    body = as_json(traces(*spans))
    assert len(body) > 1 << 20
    assert decode(body).sample_count == 3999


def test_special_doubles_are_text() -> None:
    body = json.dumps(
        {
            "resourceMetrics": [
                {
                    "scopeMetrics": [
                        {
                            "metrics": [
                                {
                                    "name": "g",
                                    "gauge": {
                                        "dataPoints": [
                                            {"timeUnixNano": str(NOW_NS), "asDouble": value}
                                            for value in ("NaN", "-Infinity", "1.5e0", 2)
                                        ]
                                    },
                                }
                            ]
                        }
                    ]
                }
            ]
        }
    )
    batch = OtlpDecoder().decode_metrics(body.encode(), now_ns=NOW_NS, is_json=True)
    assert [point.value for point in batch.numbers] == [1.5, 2.0]
    assert batch.rejected == {RejectReason.NOT_FINITE: 2}


def test_bytes_are_base64_and_anything_else_is_refused() -> None:
    def log(value: str) -> bytes:
        record = {"timeUnixNano": str(NOW_NS), "severityNumber": 17, "body": {"bytesValue": value}}
        return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()

    batch = OtlpDecoder().decode_logs(log("aGVsbG8="), now_ns=NOW_NS, is_json=True)
    assert batch.logs[0].body == "(5 bytes)"
    with pytest.raises(MalformedInputError):
        OtlpDecoder().decode_logs(log("not base64!"), now_ns=NOW_NS, is_json=True)
