"""Scrapers: what is asked for, by target."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, HISTOGRAM, metric

METRICS = (
    metric(
        GAUGE,
        "sentinel_scraper_up",
        "1 when the last poll of a target was taken, 0 when it failed.",
        "scraper",
        "target",
    ),
    metric(
        COUNTER,
        "sentinel_scrapes_total",
        "Polls of a target, by result.",
        "scraper",
        "target",
        "result",
    ),
    metric(
        HISTOGRAM,
        "sentinel_scrape_duration_seconds",
        "How long a poll took, from the question to the end of its batch.",
        "scraper",
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    ),
    metric(
        COUNTER,
        "sentinel_scrape_late_total",
        "Polls left out because the one before, or the program, took too long.",
        "scraper",
        "target",
    ),
    metric(
        COUNTER,
        "sentinel_queries_total",
        "Queries of a server of PromQL, by how asking ended for a window: `ok`, or why there is no answer.",
        "server",
        "result",
    ),
    metric(
        COUNTER,
        "sentinel_query_gap_windows_total",
        "Windows of five minutes, over all series, that were missed while a server of PromQL or Sentinel was away, and were kept afterwards.",
        "server",
    ),
    metric(
        GAUGE,
        "sentinel_discovered_targets",
        "Targets that the files of a discovery name, and that are asked.",
        "discovery",
    ),
    metric(
        GAUGE,
        "sentinel_discovery_left_out",
        "Targets that the files of a discovery name beyond its bound.",
        "discovery",
    ),
    metric(
        GAUGE,
        "sentinel_discovery_bad_files",
        "Files of a discovery that are not there or make no sense; what they named last is kept.",
        "discovery",
    ),
)
