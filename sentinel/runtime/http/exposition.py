"""The page of self-metrics, in the form that is asked for."""

from __future__ import annotations

from aiohttp import hdrs, web

from sentinel.runtime.metrics import Metrics

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def own_metrics(metrics: Metrics, request: web.BaseRequest) -> web.Response:
    """All self-metrics, as text 0.0.4 or OpenMetrics 1.0."""
    openmetrics = wants_openmetrics(request.headers.get(hdrs.ACCEPT, ""))
    body = metrics.exposition(openmetrics=openmetrics)
    return web.Response(body=body, headers=content_type(openmetrics=openmetrics))


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics 1.0 to text.

    >>> wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3")
    True
    >>> wants_openmetrics("*/*")
    False
    """
    openmetrics = text = 0.0
    for entry in accept.split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        named = dict(part.partition("=")[::2] for part in parameters)
        weight = _weight(named.get("q", "1"))
        if media == "application/openmetrics-text" and named.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif media in {"text/plain", "text/*", "*/*"}:
            text = max(text, weight)
    return openmetrics > 0.0 and openmetrics >= text


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def content_type(*, openmetrics: bool) -> dict[str, str]:
    """The header of a page in one form or the other."""
    return {hdrs.CONTENT_TYPE: _OPENMETRICS if openmetrics else _TEXT}
