"""The scraper of PostgreSQL: what it asks, and what that costs the server."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(
        GAUGE,
        "sentinel_postgres_cost_ratio",
        "Seconds a second that a server spent on Sentinel's questions: by its own count where pg_stat_statements is there, "
        "else by how long answers took.",
        "target",
    ),
    metric(
        COUNTER,
        "sentinel_postgres_queries_total",
        "Questions asked, by subject and result.",
        "target",
        "subject",
        "result",
    ),
    metric(
        COUNTER,
        "sentinel_postgres_unasked_total",
        "Questions that belong to each poll and were not asked in one, by subject and reason: `cost`, because answers take more "
        "than `cost_ratio_max` lets; `time`, because the poll's time was over. Their gauges hold, their counts come later.",
        "target",
        "subject",
        "reason",
    ),
    metric(
        GAUGE,
        "sentinel_postgres_connections_count",
        "Connections that Sentinel holds to a server, one a database.",
        "target",
    ),
)
