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
        GAUGE,
        "sentinel_postgres_connections_count",
        "Connections that Sentinel holds to a server, one a database.",
        "target",
    ),
)
