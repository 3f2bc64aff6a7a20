"""What of a Prometheus' metrics is worth a query: recognised by the names that instrumentations and exporters give them."""

from sentinel.app.discover.queries.look import look_at_metrics_of

__all__ = ["look_at_metrics_of"]
