"""Any exporter's series: what of them is taken, where it is, and which of its histograms are of calls.

A series that measures no calls is at stage `metrics`, and its labels make its route, as those of OTLP's metrics do. Histograms
of the durations of calls get the place those calls have, under the names that instrumentations give them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from sentinel.core.model import Placed, Reading, Scope
from sentinel.core.normalise.call_metrics import CALL_METRICS, CallMetric
from sentinel.core.normalise.labels import (
    OTHER,
    label_of,
    list_label_of,
    looks_like_raw_path,
    without_ids,
)
from sentinel.core.normalise.otlp_metrics import ROUTE_ALL, STAGE_METRICS
from sentinel.core.normalise.page_settings import CLIENT_FAILED, CallRule, PlacingRules
from sentinel.core.normalise.prometheus.placing import MetricType, SeriesName
from sentinel.core.normalise.span_rules import ATTRIBUTES, STAGE_CLIENT

_METHOD = ("method", "http_method", "http_request_method", "verb")
_ROUTE = ("route", "handler", "path", "uri", "endpoint", "http_route", "view", "path_template")
_GRPC = ("grpc_service", "grpc_method")
_RUNNING_SUFFIXES = ("_total", "_count", "_sum", "_bucket")
_UNITS: Mapping[str, float] = {
    "_seconds": 1.0,
    "_milliseconds": 1e-3,
    "_ms": 1e-3,
    "_microseconds": 1e-6,
    "_us": 1e-6,
    "_nanoseconds": 1e-9,
    "_ns": 1e-9,
}
_OTEL_UNITS: Mapping[bytes, str] = {b"s": "_seconds", b"ms": "_milliseconds"}
_TAKEN_AS: Mapping[MetricType, Reading] = {
    MetricType.COUNTER: Reading.RATE,
    MetricType.SUMMARY: Reading.RATE,
    MetricType.HISTOGRAM: Reading.DISTRIBUTION,
    MetricType.GAUGE_HISTOGRAM: Reading.DISTRIBUTION,
    MetricType.GAUGE: Reading.LEVEL,
    MetricType.STATESET: Reading.LEVEL,
    MetricType.UNKNOWN: Reading.LEVEL,
}


KNOWN_CALLS: tuple[CallRule, ...] = (
    CallRule(metric="grpc_server_handling_seconds", route=_GRPC),
    CallRule(metric="grpc_server_handled_latency_seconds", route=_GRPC),
    CallRule(
        metric="grpc_client_handling_seconds",
        stage=STAGE_CLIENT,
        route=_GRPC,
        failed=CLIENT_FAILED,
    ),
    CallRule(
        metric="*http_client_request*duration_*",
        stage=STAGE_CLIENT,
        route=(*_METHOD, "host", *_ROUTE),
        failed=CLIENT_FAILED,
    ),
    CallRule(
        metric="http_client_requests_seconds",
        stage=STAGE_CLIENT,
        route=(*_METHOD, "client_name", *_ROUTE),
        failed=CLIENT_FAILED,
    ),
    CallRule(metric="*http_request_duration_*", route=(*_METHOD, *_ROUTE)),
    CallRule(metric="*http_requests_duration_*", route=(*_METHOD, *_ROUTE)),
    CallRule(metric="*http_request_latency_*", route=(*_METHOD, *_ROUTE)),
    CallRule(metric="*http_requests_latency_*", route=(*_METHOD, *_ROUTE)),
    CallRule(metric="*http_server_request*_seconds", route=(*_METHOD, *_ROUTE)),
    CallRule(metric="request_duration_seconds", route=(*_METHOD, *_ROUTE)),
)
"""How instrumentations in use name durations of calls; OpenTelemetry's names come before them."""

_NOT_CALLS = re.compile(r".*_(size|bytes|length)(_.*)?|.*_(created|count|sum)")


class DefaultPlacing:
    """Places the series of any exporter."""

    def __init__(self, rules: PlacingRules, *, labels: Mapping[str, str] | None = None) -> None:
        """Make it; `labels` are those of the target, which a series has unless it says otherwise."""
        self._rules = rules
        self._labels = dict(labels or {})
        self._allow = _matcher(rules.allow)
        self._deny = _matcher(rules.deny)
        self._own_calls = [(_matcher((rule.metric,)), rule) for rule in rules.calls]
        self._calls = [(_matcher((rule.metric,)), rule) for rule in KNOWN_CALLS]
        self._place_of_calls = {
            name: metric for name, metric in _otel_names().items() if self._is_taken(name)
        }

    def place(self, series: SeriesName) -> Placed | None:
        """What a series is; None when it is not taken."""
        if series.type is MetricType.INFO or not self._is_taken(series.name):
            return None
        if self._labels:
            series = series._replace(labels={**self._labels, **series.labels})
        return self._calls_of(series) or self._metric_of(series)

    def _is_taken(self, name: str) -> bool:
        return bool(self._allow.fullmatch(name)) and not self._deny.fullmatch(name)

    def _calls_of(self, series: SeriesName) -> Placed | None:
        name = series.name.removesuffix("_total")
        for pattern, rule in self._own_calls:
            if pattern.fullmatch(name) or pattern.fullmatch(series.name):
                return self._by_rule(series, rule)
        if series.type not in (MetricType.HISTOGRAM, MetricType.SUMMARY):
            return None
        if (metric := self._place_of_calls.get(series.name)) is not None:
            return self._by_convention(series, *metric)
        if _NOT_CALLS.fullmatch(name) or _scale_of(name) is None:
            return None
        for pattern, rule in self._calls:
            if pattern.fullmatch(name):
                return self._by_rule(series, rule)
        return None

    def _by_rule(self, series: SeriesName, rule: CallRule) -> Placed:
        status = _first(series.labels, rule.status)
        names = [name for name in rule.route if series.labels.get(name)]
        route = " ".join(series.labels[name] for name in names)
        if looks_like_raw_path(route):
            # Whether a path is a template or what was asked for is not known; ids in it would make it endless.
            route = without_ids(route)
        return Placed(
            scope=Scope(self._service(series.labels), rule.stage, label_of(route) or OTHER),
            signal=label_of(series.name),
            reading=Reading.CALLS,
            scale=rule.scale or _scale_of(series.name) or 1.0,
            error=bool(re.fullmatch(rule.failed, status)) if status else False,
        )

    def _by_convention(
        self, series: SeriesName, metric: CallMetric, scale: float, newer_name: str
    ) -> Placed:
        attributes = {
            _ATTRIBUTE_OF.get(name, name): value for name, value in series.labels.items()
        }
        return Placed(
            scope=metric.scope_of(self._service(series.labels), attributes),
            signal=label_of(series.name),
            reading=Reading.CALLS,
            scale=scale,
            error=metric.has_failed(attributes),
            newer_signal=newer_name,
        )

    def _metric_of(self, series: SeriesName) -> Placed | None:
        reading = _TAKEN_AS[series.type]
        signal = series.name
        if series.type is MetricType.SUMMARY:
            signal += "_count"
        elif series.type is MetricType.UNKNOWN and series.name.endswith(_RUNNING_SUFFIXES):
            # A page without types; as levels these would climb for ever.
            reading = Reading.RATE
        rules = self._rules
        stage = label_of(_first(series.labels, rules.stage_labels)) or STAGE_METRICS
        given = [series.labels[name] for name in rules.route_labels if series.labels.get(name)]
        used = {*rules.route_labels, *rules.without_labels}
        used.update(_used(series.labels, rules.service_labels))
        used.update(_used(series.labels, rules.stage_labels))
        rest = [
            f"{name}={value}" for name, value in sorted(series.labels.items()) if name not in used
        ]
        route = list_label_of(",".join([*given, *rest])) or ROUTE_ALL
        return Placed(
            scope=Scope(self._service(series.labels), stage, route),
            signal=label_of(signal),
            reading=reading,
        )

    def _service(self, labels: Mapping[str, str]) -> str:
        return label_of(_first(labels, self._rules.service_labels)) or self._rules.service


def _first(labels: Mapping[str, str], names: Sequence[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _used(labels: Mapping[str, str], names: Sequence[str]) -> list[str]:
    return [next((name for name in names if labels.get(name)), "")]


def _scale_of(name: str) -> float | None:
    """Seconds a unit of what a name ends with; None when it names no unit of time."""
    return next((scale for unit, scale in _UNITS.items() if name.endswith(unit)), None)


@lru_cache(maxsize=64)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(
        "|".join(
            re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns
        )
        or r"(?!)"
    )


_ATTRIBUTE_OF: Mapping[str, str] = {
    name.replace(".", "_"): name
    for name in (
        *ATTRIBUTES,
        "error.type",
        "rpc.response.status_code",
        "rpc.grpc.status_code",
        "rpc.connect_rpc.error_code",
        "rpc.jsonrpc.error_code",
    )
}


def _otel_names() -> dict[str, tuple[CallMetric, float, str]]:
    """OpenTelemetry's metrics of calls by the names they have on a page: with their unit, and as they are."""
    found: dict[str, tuple[CallMetric, float, str]] = {}
    for raw, metric in CALL_METRICS.items():
        name, suffix = raw.decode(), _OTEL_UNITS[metric.unit]
        scale = _UNITS[suffix]
        newer = metric.newer_name
        under = name.replace(".", "_")
        newer_under = f"{newer.replace('.', '_')}_seconds" if newer else ""
        found[under + suffix] = (metric, scale, newer_under)
        found[name] = (metric, scale, newer)
    return found
