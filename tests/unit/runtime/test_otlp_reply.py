"""Goal: what is answered is what the official messages read.

Method: hand-made bytes parsed by opentelemetry-proto and googleapis, over random values.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal, encode_status, encode_success

RESPONSES: dict[OtlpSignal, tuple[Any, str]] = {
    OtlpSignal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    OtlpSignal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
    OtlpSignal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.sampled_from(list(OtlpSignal)), st.integers(0, 2**40), TEXT)
def test_success_in_both_encodings_reads_the_same(
    signal: OtlpSignal, rejected: int, message: str
) -> None:
    response, field = RESPONSES[signal]
    binary = response.FromString(
        encode_success(signal, OtlpEncoding.PROTOBUF, rejected_count=rejected, message=message)
    )
    text = json_format.Parse(
        encode_success(signal, OtlpEncoding.JSON, rejected_count=rejected, message=message),
        response(),
    )
    assert getattr(binary.partial_success, field) == rejected
    assert binary.partial_success.error_message == message
    assert binary.HasField("partial_success") == bool(rejected or message)
    assert binary == text


@given(st.integers(0, 16), TEXT, st.none() | st.floats(0.001, 1e6))
def test_status_reads_back(code: int, message: str, retry_after_s: float | None) -> None:
    binary = Status.FromString(
        encode_status(
            OtlpEncoding.PROTOBUF, code=code, message=message, retry_after_s=retry_after_s
        )
    )
    assert (binary.code, binary.message) == (code, message)
    if retry_after_s is None:
        assert not binary.details
        return
    info = RetryInfo()
    assert binary.details[0].Unpack(info)
    assert info.retry_delay.ToNanoseconds() == pytest.approx(retry_after_s * 1e9)


@given(st.integers(0, 16), TEXT, st.none() | st.integers(1, 100_000))
def test_json_status_is_the_binary_one(code: int, message: str, retry_after_s: int | None) -> None:
    # Any's JSON form needs the type to be known, which importing RetryInfo has made so.
    encoded = encode_status(
        OtlpEncoding.JSON, code=code, message=message, retry_after_s=retry_after_s
    )
    binary = encode_status(
        OtlpEncoding.PROTOBUF, code=code, message=message, retry_after_s=retry_after_s
    )
    assert json_format.Parse(encoded, Status()) == Status.FromString(binary)
