"""Analytics: counts what the ledger tells, once, however often it is told."""

from sentinel.reference.ledger.analytics.consumer import Analytics, AnalyticsConfig

__all__ = ["Analytics", "AnalyticsConfig"]
