"""How many spans, points or records a request holds, without looking at them.

What a decoder keeps is another number: spans that are no call are no samples, and still are handed on.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from sentinel.core.normalise.slim_schema import Messages, message_classes

_PACKAGE = "sentinel.otlp.count"

# Traces and logs hold their items at the same place: groups 1, groups by scope 2, items 2. So do metrics, whose points
# are one level further down.
_MESSAGES: Messages = {
    "Request": (("groups", 1, "*message", "Group"),),
    "Group": (("scopes", 2, "*message", "Scope"),),
    "Scope": (("items", 2, "*bytes"),),
    "Metrics": (("groups", 1, "*message", "MetricGroup"),),
    "MetricGroup": (("scopes", 2, "*message", "MetricScope"),),
    "MetricScope": (("items", 2, "*message", "Metric"),),
    "Metric": (
        ("gauge", 5, "message", "Points"),
        ("sum", 7, "message", "Points"),
        ("histogram", 9, "message", "Points"),
        ("exponential_histogram", 10, "message", "Points"),
        ("summary", 11, "message", "Points"),
    ),
    "Points": (("data_points", 1, "*bytes"),),
}
_class_of = message_classes(_PACKAGE, _MESSAGES)
_REQUEST, _METRICS = _class_of("Request"), _class_of("Metrics")
_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_ONCE_A_SPAN = b'"startTimeUnixNano"'


def item_count_of(signal: str, body: bytes, *, is_json: bool) -> int:
    """The number of items; 0 where it is not known. `signal` is traces, metrics or logs.

    In JSON, which is too slow to read for it, only spans are counted: by the name of a field that each has once.

    >>> item_count_of("logs", bytes.fromhex("0a06120412001200"), is_json=False)
    2
    """
    if is_json:
        return body.count(_ONCE_A_SPAN) if signal == "traces" else 0
    try:
        if signal != "metrics":
            groups = _REQUEST.FromString(body).groups
            return sum(len(scope.items) for group in groups for scope in group.scopes)
        groups = _METRICS.FromString(body).groups
    except DecodeError:
        return 0
    return sum(
        len(getattr(metric, kind).data_points)
        for group in groups
        for scope in group.scopes
        for metric in scope.items
        for kind in _KINDS
    )
