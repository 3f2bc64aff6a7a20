"""For people and probes: the API, health, metrics of Sentinel and of the series it watches."""

from sentinel.web.server import WebConfig, WebListenConfig, WebServer
from sentinel.web.sources import (
    IncidentSource,
    LatestVerdicts,
    Status,
    StatusSource,
    VerdictSource,
)

__all__ = [
    "IncidentSource",
    "LatestVerdicts",
    "Status",
    "StatusSource",
    "VerdictSource",
    "WebConfig",
    "WebListenConfig",
    "WebServer",
]
