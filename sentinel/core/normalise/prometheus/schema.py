"""`io.prometheus.client.MetricFamily` as far as it is used here; field numbers are those of prometheus/client_model."""

from __future__ import annotations

from sentinel.core.normalise.slim_schema import Messages, message_classes

_MESSAGES: Messages = {
    "LabelPair": (("name", 1, "bytes"), ("value", 2, "bytes")),
    "Timestamp": (("seconds", 1, "int64"), ("nanos", 2, "int32")),
    "Number": (("value", 1, "double"), ("created", 3, "message", "Timestamp")),
    "Quantile": (("quantile", 1, "double"), ("value", 2, "double")),
    "Summary": (
        ("sample_count", 1, "uint64"),
        ("sample_sum", 2, "double"),
        ("quantile", 3, "*message", "Quantile"),
        ("created", 4, "message", "Timestamp"),
    ),
    "Bucket": (
        ("cumulative_count", 1, "uint64"),
        ("upper_bound", 2, "double"),
        ("cumulative_count_float", 4, "double"),
    ),
    "Span": (("offset", 1, "sint32"), ("length", 2, "uint32")),
    "Histogram": (
        ("sample_count", 1, "uint64"),
        ("sample_sum", 2, "double", "_sum"),
        ("bucket", 3, "*message", "Bucket"),
        ("sample_count_float", 4, "double"),
        ("schema", 5, "sint32"),
        ("zero_threshold", 6, "double"),
        ("zero_count", 7, "uint64"),
        ("zero_count_float", 8, "double"),
        ("negative_span", 9, "*message", "Span"),
        ("negative_delta", 10, "*sint64"),
        ("negative_count", 11, "*double"),
        ("positive_span", 12, "*message", "Span"),
        ("positive_delta", 13, "*sint64"),
        ("positive_count", 14, "*double"),
        ("created", 15, "message", "Timestamp"),
    ),
    "Metric": (
        ("label", 1, "*bytes"),
        ("gauge", 2, "message", "Number"),
        ("counter", 3, "message", "Number"),
        ("summary", 4, "message", "Summary"),
        ("untyped", 5, "message", "Number"),
        ("timestamp_ms", 6, "int64"),
        ("histogram", 7, "message", "Histogram"),
    ),
    "MetricFamily": (
        ("name", 1, "bytes"),
        ("type", 3, "int32"),
        ("metric", 4, "*message", "Metric"),
    ),
}

_class_of = message_classes("sentinel.prometheus", _MESSAGES)

LabelPair = _class_of("LabelPair")
MetricFamily = _class_of("MetricFamily")
