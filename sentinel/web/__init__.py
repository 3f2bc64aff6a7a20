"""For people and probes: the API, health, metrics of Sentinel and of the series it watches."""

from sentinel.web.server import WebConfig, WebListenConfig, WebServer
from sentinel.web.sources import (
    IncidentSource,
    LatestVerdicts,
    Status,
    StatusSource,
    ToldSource,
    VerdictSource,
)
from sentinel.web.told import Told

__all__ = [
    "IncidentSource",
    "LatestVerdicts",
    "Status",
    "StatusSource",
    "Told",
    "ToldSource",
    "VerdictSource",
    "WebConfig",
    "WebListenConfig",
    "WebServer",
]
