"""Asking a server that speaks Prometheus' query API: what a user may set of it, and the client."""

from sentinel.runtime.promql.config import QueryConfig, QueryServerConfig

__all__ = ["QueryConfig", "QueryServerConfig"]
