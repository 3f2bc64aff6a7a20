"""Webhooks to tenants: what happened to their transfers, signed, at least once, and to addresses of the outside alone."""

from sentinel.reference.ledger.webhooks.process import Webhooks, WebhooksConfig

__all__ = ["Webhooks", "WebhooksConfig"]
