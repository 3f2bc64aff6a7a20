"""What common loggers call the fields of a line.

The names of structlog, python-json-logger, pino, bunyan, zap, logrus, zerolog, logback, log4j, Serilog, PostgreSQL's jsonlog,
nginx's JSON access logs, ECS (dotted and nested), Google's, GELF and OpenTelemetry's are known. A configured name comes before a
known one.
"""

from __future__ import annotations

from sentinel.core.normalise.logs.settings import LogKeys

Path = tuple[str, ...]


def paths_of(*names: str) -> tuple[Path, ...]:
    """`a>b` is `b` inside `a`."""
    return tuple(tuple(name.split(">")) for name in names)


KNOWN: dict[str, tuple[Path, ...]] = {
    "time": paths_of(
        "@timestamp", "timestamp", "time", "ts", "@t", "asctime", "datetime", "timeMillis", "instant", "time_iso8601",
        "time_local", "msec", "started_at", "timestampSeconds", "date", "t",
    ),
    "severity": paths_of(
        "severity", "level", "levelname", "log.level", "log>level", "loglevel", "log_level", "lvl", "error_severity",
        "severity_text", "severityText", "severity_number", "severityNumber", "levelno", "level_name", "@l", "priority",
        "PRIORITY", "level_value",
    ),
    "event": paths_of("event.name", "event_name", "eventName", "event>name", "event.action", "event>action"),
    "message": paths_of(
        "message", "msg", "@mt", "@m", "short_message", "textPayload", "text", "log", "body", "event",
        "error.message", "error>message",
    ),
    "trace": paths_of(
        "trace_id", "traceId", "trace.id", "trace>id", "traceID", "otelTraceID", "trace_id>w3c", "@tr",
        "logging.googleapis.com/trace", "dd.trace_id", "traceparent",
    ),
    "span": paths_of("span_id", "spanId", "span.id", "span>id", "spanID", "otelSpanID", "@sp", "logging.googleapis.com/spanId"),
    "service": paths_of(
        "service.name", "service_name", "serviceName", "service>name", "otelServiceName", "serviceContext>service", "service",
    ),
    "method": paths_of(
        "http.request.method", "http.method", "http>request>method", "request_method", "req>method", "request>method",
        "httpRequest>requestMethod", "http>method", "method",
    ),
    "status": paths_of(
        "http.response.status_code", "http.status_code", "http>response>status_code", "status", "status_code", "statusCode",
        "res>statusCode", "response>status", "httpRequest>status", "http>status_code", "response_status",
    ),
    "route": paths_of("http.route", "http>route", "route", "route>name"),
    "client": paths_of("url.full", "url>full"),
}  # fmt: skip
DURATIONS: dict[Path, float] = {
    ("http.server.request.duration",): 1.0,
    ("duration_s",): 1.0,
    ("request_time",): 1.0,
    ("http.server.duration",): 1e-3,
    ("duration_ms",): 1e-3,
    ("latency_ms",): 1e-3,
    ("elapsed_ms",): 1e-3,
    ("responseTime",): 1e-3,
    ("response_time_ms",): 1e-3,
    ("latencies", "request"): 1e-3,
    ("event.duration",): 1e-9,
    ("event", "duration"): 1e-9,
    ("httpRequest", "latency"): 1.0,
    ("duration",): 1.0,
    ("latency",): 1.0,
}


def with_configured(keys: LogKeys) -> tuple[dict[str, tuple[Path, ...]], dict[Path, float]]:
    """The paths of each role, best first, and those of durations with the seconds of their units."""
    paths = {role: (*paths_of(*getattr(keys, role, ())), *known) for role, known in KNOWN.items()}
    durations = dict.fromkeys(paths_of(*keys.duration_s), 1.0)
    durations.update(dict.fromkeys(paths_of(*keys.duration_ms), 1e-3))
    for path, scale in DURATIONS.items():
        durations.setdefault(path, scale)
    return paths, durations
