"""Goal: a body cannot take far more memory decoded than it has bytes.

Method: the bodies that did it (millions of empty messages, at each level), and honest ones of the same size.
"""

from __future__ import annotations

import pytest
from google.protobuf.internal import api_implementation

from sentinel.core.normalise import OtlpDecoder, require_fast_protobuf
from sentinel.errors import InputTooLargeError, MalformedInputError, UnsupportedInputError
from tests.support.otlp_messages import NOW_NS, field, span, traces

MANY = 600_000


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * MANY,
        field(1, b"\x12\x00" * MANY),
        field(1, field(2, b"\x12\x00" * MANY)),
        field(1, field(2, field(2, b"\x4a\x00" * MANY))),
    ],
)
def test_a_body_of_empty_messages_is_refused(body: bytes) -> None:
    """20 MiB of empty ResourceSpans took 689 MiB and half a second with the interpreter's lock held."""
    with pytest.raises(InputTooLargeError):
        OtlpDecoder().decode_traces(body, now_ns=NOW_NS)


def test_metrics_and_logs_are_counted_to_their_points() -> None:
    points = field(1, field(2, field(2, field(5, b"\x0a\x00" * MANY))))
    with pytest.raises(InputTooLargeError):
        OtlpDecoder().decode_metrics(points, now_ns=NOW_NS)
    records = field(1, field(2, b"\x12\x00" * MANY))
    with pytest.raises(InputTooLargeError):
        OtlpDecoder().decode_logs(records, now_ns=NOW_NS)


def test_a_large_honest_body_passes() -> None:
    spans = [span(number=number, text="x" * 100) for number in range(1, 8193)]
    body = traces(*spans).SerializeToString()
    assert len(body) > 1 << 20
    assert OtlpDecoder().decode_traces(body, now_ns=NOW_NS).sample_count == 8192


@pytest.mark.parametrize("end", [b"\x0a\xff\xff\xff\x7f", b"\x0b", b"\xff" * 11, b"\x0d\x00"])
def test_a_large_broken_body_is_malformed(end: bytes) -> None:
    with pytest.raises(MalformedInputError):
        OtlpDecoder().decode_traces(field(9, bytes(1 << 20)) + end, now_ns=NOW_NS)


def test_pure_python_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_fast_protobuf()
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    with pytest.raises(UnsupportedInputError, match="pure Python"):
        OtlpDecoder()
