"""Scraping metrics pages of any application or exporter; the component itself is imported when it is configured."""

from sentinel.scrapers.prometheus.config import (
    CallsConfig,
    FileDiscoveryConfig,
    PageConfig,
    PrometheusTargetConfig,
)

__all__ = [
    "CallsConfig",
    "FileDiscoveryConfig",
    "PageConfig",
    "PrometheusTargetConfig",
]
