"""Everything the ledger says about itself; `signals` and `traces` name it, `exporting` sends it."""

from sentinel.reference.ledger.telemetry.attributes import DESTINATION
from sentinel.reference.ledger.telemetry.exporting import release_version, start_telemetry
from sentinel.reference.ledger.telemetry.signals import (
    ANALYTICS_SERVICE,
    ARCHIVE_SERVICE,
    AUTHORIZE_SERVICE,
    BACKUP_SERVICE,
    DISBURSER_SERVICE,
    EDGE_SERVICE,
    POSTER_SERVICE,
    RECEIVER_SERVICE,
    RECONCILE_SERVICE,
    WEBHOOKS_SERVICE,
    Event,
    Telemetry,
)
from sentinel.reference.ledger.telemetry.webhooks import WebhookSignals

__all__ = [
    "ANALYTICS_SERVICE",
    "ARCHIVE_SERVICE",
    "AUTHORIZE_SERVICE",
    "BACKUP_SERVICE",
    "DESTINATION",
    "DISBURSER_SERVICE",
    "EDGE_SERVICE",
    "POSTER_SERVICE",
    "RECEIVER_SERVICE",
    "RECONCILE_SERVICE",
    "WEBHOOKS_SERVICE",
    "Event",
    "Telemetry",
    "WebhookSignals",
    "release_version",
    "start_telemetry",
]
