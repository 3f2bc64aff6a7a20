"""OTLP's messages as far as they are used here, described at import time.

Only the fields a rule reads are declared; a decoder skips the rest at full speed. Three choices make the hot path fast:

- a resource is `bytes`: it is the same for every batch of a process, so its text is a cache key;
- attributes are `repeated bytes`: twelve typed key-values a span cost five times as much as the span itself,
  and most of them decide nothing;
- text is `bytes`: one string with bad UTF-8 must not cost the batch it came in.

Field numbers are those of opentelemetry-proto 1.x, which never change.
"""

from __future__ import annotations

from google.protobuf.internal import api_implementation

from sentinel.core.normalise.slim_schema import Messages, message_classes
from sentinel.errors import UnsupportedInputError

_PACKAGE = "sentinel.otlp"

_MESSAGES: Messages = {
    "AnyValue": (
        ("string_value", 1, "bytes", "value"),
        ("bool_value", 2, "bool", "value"),
        ("int_value", 3, "int64", "value"),
        ("double_value", 4, "double", "value"),
        ("array_value", 5, "bytes", "value"),
        ("kvlist_value", 6, "bytes", "value"),
        ("bytes_value", 7, "bytes", "value"),
    ),
    "KeyValue": (("key", 1, "bytes"), ("value", 2, "bytes")),
    "ArrayValue": (("values", 1, "*bytes"),),
    "KeyValueList": (("values", 1, "*message", "KeyValue"),),
    "Resource": (("attributes", 1, "*message", "KeyValue"),),
    "Status": (("code", 3, "int32"),),
    # traces
    "TracesRequest": (("resource_spans", 1, "*message", "ResourceSpans"),),
    "ResourceSpans": (("resource", 1, "bytes"), ("scope_spans", 2, "*message", "ScopeSpans")),
    "ScopeSpans": (("spans", 2, "*message", "Span"),),
    "Span": (
        ("trace_id", 1, "bytes"),
        ("span_id", 2, "bytes"),
        ("name", 5, "bytes"),
        ("kind", 6, "int32"),
        ("start_ns", 7, "fixed64"),
        ("end_ns", 8, "fixed64"),
        ("attributes", 9, "*bytes"),
        ("status", 15, "bytes"),
    ),
    # metrics
    "MetricsRequest": (("resource_metrics", 1, "*message", "ResourceMetrics"),),
    "ResourceMetrics": (
        ("resource", 1, "bytes"),
        ("scope_metrics", 2, "*message", "ScopeMetrics"),
    ),
    "ScopeMetrics": (("scope", 1, "bytes"), ("metrics", 2, "*message", "Metric")),
    "Metric": (
        ("name", 1, "bytes"),
        ("unit", 3, "bytes"),
        ("gauge", 5, "message", "Numbers"),
        ("sum", 7, "message", "Numbers"),
        ("histogram", 9, "message", "Histograms"),
        ("exponential_histogram", 10, "message", "ExponentialHistograms"),
        ("summary", 11, "message", "Summaries"),
    ),
    "Numbers": (
        ("data_points", 1, "*message", "NumberPoint"),
        ("temporality", 2, "int32"),
        ("monotonic", 3, "bool"),
    ),
    "NumberPoint": (
        ("start_ns", 2, "fixed64"),
        ("time_ns", 3, "fixed64"),
        ("as_double", 4, "double", "value"),
        ("as_int", 6, "sfixed64", "value"),
        ("attributes", 7, "*bytes"),
        ("flags", 8, "uint32"),
    ),
    "Histograms": (
        ("data_points", 1, "*message", "HistogramPoint"),
        ("temporality", 2, "int32"),
    ),
    "HistogramPoint": (
        ("start_ns", 2, "fixed64"),
        ("time_ns", 3, "fixed64"),
        ("count", 4, "fixed64"),
        ("sum", 5, "double", "_sum"),
        ("bucket_counts", 6, "*fixed64"),
        ("explicit_bounds", 7, "*double"),
        ("attributes", 9, "*bytes"),
        ("flags", 10, "uint32"),
    ),
    "ExponentialHistograms": (
        ("data_points", 1, "*message", "ExponentialPoint"),
        ("temporality", 2, "int32"),
    ),
    "ExponentialPoint": (
        ("attributes", 1, "*bytes"),
        ("start_ns", 2, "fixed64"),
        ("time_ns", 3, "fixed64"),
        ("count", 4, "fixed64"),
        ("sum", 5, "double", "_sum"),
        ("scale", 6, "sint32"),
        ("zero_count", 7, "fixed64"),
        ("positive", 8, "message", "ExponentialBuckets"),
        ("negative", 9, "message", "ExponentialBuckets"),
        ("flags", 10, "uint32"),
    ),
    "ExponentialBuckets": (("offset", 1, "sint32"), ("bucket_counts", 2, "*uint64")),
    "Summaries": (("data_points", 1, "*message", "SummaryPoint"),),
    "SummaryPoint": (("time_ns", 3, "fixed64"),),
    # logs
    "LogsRequest": (("resource_logs", 1, "*message", "ResourceLogs"),),
    "ResourceLogs": (("resource", 1, "bytes"), ("scope_logs", 2, "*message", "ScopeLogs")),
    "ScopeLogs": (("log_records", 2, "*message", "LogRecord"),),
    "LogRecord": (
        ("time_ns", 1, "fixed64"),
        ("severity", 2, "int32"),
        ("severity_text", 3, "bytes"),
        ("body", 5, "bytes"),
        ("attributes", 6, "*bytes"),
        ("trace_id", 9, "bytes"),
        ("observed_ns", 11, "fixed64"),
        ("event_name", 12, "bytes"),
    ),
}


_class_of = message_classes(_PACKAGE, _MESSAGES)

AnyValue = _class_of("AnyValue")
ArrayValue = _class_of("ArrayValue")
KeyValue = _class_of("KeyValue")
KeyValueList = _class_of("KeyValueList")
LogsRequest = _class_of("LogsRequest")
MetricsRequest = _class_of("MetricsRequest")
Resource = _class_of("Resource")
Status = _class_of("Status")
TracesRequest = _class_of("TracesRequest")


def require_fast_protobuf() -> None:
    """Refuse to work on the pure-Python protobuf, at start-up.

    It is fifty times slower, and its decoder recurses without a limit of its own.

    Raises:
        UnsupportedInputError: the implementation in use is the pure-Python one.
    """
    kind = api_implementation.Type()
    if kind == "python":
        msg = (
            "protobuf runs in pure Python here, which is too slow and can be made to overflow its stack; "
            "install a binary wheel of protobuf and unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
        )
        raise UnsupportedInputError(msg)
