"""Which panel leads to which runbooks: what a person opens who sees something wrong on it.

Names are those of alerts. A test holds that each panel exists, that each runbook does, and that of every alert the board which its
`dashboard_url` names has a way to its runbook.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RUNBOOKS: Final = "${runbooks}"

SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Sentinel's pages": "sent-by-sentinel",
        "Sentinel itself": "about-sentinel-from-alert_rulessentinelyaml",
        "the injector": "the-injector-from-alert_rulesinjectoryaml",
        "service levels": "service-levels-from-alert_rulessloyaml",
        "the gateway": "gateway-from-alert_rulesgatewayyaml",
        "NATS": "nats-from-alert_rulesnatsyaml",
        "PostgreSQL": "postgresql-from-alert_rulespostgresyaml",
        "the ledger": "the-reference-ledger-from-alert_rulesledgeryaml",
        "its edge": "the-ledgers-edge-from-alert_rulesedgeyaml",
        "its payouts": "the-ledgers-payouts-and-analytics-from-alert_rulespayoutsyaml",
        "its webhooks": "the-ledgers-webhooks-from-alert_ruleswebhooksyaml",
        "its audit": "the-ledgers-audit-trail-from-alert_rulesaudityaml",
    }
)
"""Headings of the list of runbooks, as a page of it calls them in its address."""

_LEVELS = ("ServiceLevelBurnsFast", "ServiceLevelBurns")

OF_PANELS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "sentinel-fleet": {
            "Incidents open": ("SentinelAnomaly", "SentinelGuard", "SentinelStorm"),
            "Series outside their band": ("SentinelSeriesStrange",),
            "What is open, and since when": (
                *("SentinelAnomaly", "SentinelGuard", "SentinelBlind"),
                *("SentinelLate", "SentinelDrift"),
            ),
        },
        "sentinel-series": {"Score": ("SentinelSeriesStrange", "SentinelAnomaly")},
        "sentinel-ledger": {
            "Error budget left, 30 days": ("ServiceLevelMissed",),
            "Burn rate, 1 h": _LEVELS,
            "Burn rates of accepting": (
                *_LEVELS,
                *("ServiceLevelBurnsSlowly", "ServiceLevelBurnsForDays"),
                "ServiceLevelFewRequestsFail",
            ),
            "Burn rates of posting": (*_LEVELS, "LedgerTransfersLate"),
            "Failed requests": ("LedgerTransfersFail",),
            "95th percentile of answers": ("LedgerTransfersLate",),
            "Requests": ("LedgerTransfersUnaccounted", "LedgerConflicts"),
            "Waiting": ("LedgerPostingStalled", "NatsConsumerBehind"),
            "Oldest not acknowledged": ("LedgerTransfersLate", "NatsDeliveryStopped"),
            "Attempts": ("LedgerPostingStalled", "LedgerTransfersUnaccounted"),
            "Failed attempts": ("LedgerDeadLettered",),
            "Sessions that wait for others": ("PostgresBlocked",),
            "Longest wait, longest transaction": (
                "PostgresLongTransaction",
                "PostgresIdleInTransaction",
            ),
            "Pools": ("PostgresConnectionsUsedUp",),
            "Tenants that ask, and that are refused": ("LedgerLimitsRefuseMany",),
            "Refused for asking too often": ("LedgerLimitsRefuse",),
            "The edge's certificate ends in": (
                *("LedgerCertificateEndsSoon", "LedgerCertificateEnds"),
                "LedgerRevocationsEndSoon",
            ),
            "Reads by database": ("LedgerReplicaDown",),
            "The replica": ("LedgerReplicaDown",),
            "Credentials refused": ("LedgerAuthRefused",),
            "Outbox": ("LedgerOutboxBehind", "LedgerOutboxDropped"),
            "Events not read": ("LedgerWebhooksNearlyLost", "LedgerAnalyticsBehind"),
            "Events that nobody hears of": (
                *("LedgerOutboxDropped", "LedgerWebhooksMissed", "LedgerAnalyticsMissed"),
            ),
            "Files of the log in the archive": ("LedgerArchiveFailing",),
            "Passes that failed": ("LedgerReconcileFailed",),
            "Telemetry lost": ("LedgerTelemetryLost",),
            "Endpoints": ("LedgerWebhooksFail", "LedgerWebhooksTenantUntold"),
            "Attempts at endpoints": ("LedgerWebhooksFail", "LedgerWebhooksSecretLost"),
            "On the way": ("LedgerWebhooksStalled",),
            "Oldest delivery that waits": ("LedgerWebhooksLate",),
            "Deliveries given up, endpoints disabled": (
                *("LedgerWebhooksGivenUp", "LedgerWebhooksEndpointDisabled"),
            ),
            "Questions to the rail": ("LedgerRailAway",),
            "Latest payment that is due": ("LedgerDisbursementsStalled",),
            "Events not counted": ("LedgerAnalyticsBehind",),
            "Differences": ("LedgerDrift",),
            "Drift by check": ("LedgerDrift",),
            "Last compared": ("LedgerNotReconciled",),
            "Age of the last comparison": ("LedgerNotReconciled",),
            "How far recording is behind": ("LedgerAuditBehind", "LedgerAuditStalled"),
            "Without the witness's word": ("LedgerAuditUnwitnessed", "LedgerAuditRefused"),
            "Not in the archive": ("LedgerCheckpointsUnstored",),
            "Newest base backup": ("LedgerBackupOld",),
            "Exports asked for": ("LedgerExportStuck",),
            "Oldest export that has not ended": ("LedgerExportStuck",),
            "Room of the audit's slot": ("LedgerAuditSlotFills", "LedgerAuditSlotLost"),
        },
        "sentinel-nats": {
            "Backlog of all": ("NatsConsumerBehind",),
            "Oldest not acknowledged": ("NatsDeliveryStopped",),
            "Fullest stream": ("NatsStreamFull",),
            "Fullest storage": ("NatsStoreFull",),
            "Servers that do not answer": ("NatsServerUnwell", "NatsLeaderless"),
            "Lost messages": ("NatsMessagesLost",),
            "Delivered, and again": ("NatsMessagesGivenUp",),
            "Share of its limit": ("NatsStreamFull",),
            "Advisories": ("NatsMessagesGivenUp", "NatsLeaderless", "NatsReplicaBehind"),
            "Clients that cannot follow": ("NatsSlowConsumers",),
        },
        "sentinel-postgres": {
            "Connections used": ("PostgresConnectionsUsedUp",),
            "Blocked sessions": ("PostgresBlocked",),
            "Oldest transaction": ("PostgresLongTransaction",),
            "Transaction ids used": ("PostgresWraparound",),
            "Slots at risk, archive failing": ("PostgresSlotRetains", "PostgresArchiveFails"),
            "Deadlocks, conflicts, lost sessions": ("PostgresDeadlocks",),
            "Longest of each": ("PostgresIdleInTransaction", "PostgresLongTransaction"),
            "Connections against limits": ("PostgresConnectionsUsedUp",),
            "Found in memory": ("PostgresChecksumFailures",),
            "Until freezing must run": ("PostgresWraparound",),
            "Lag of the worst replica": ("PostgresReplicaBehind",),
        },
        "sentinel-health": {
            "Sidecars": ("SentinelDown", "SentinelAbsent"),
            "Components failing": ("SentinelComponentFailing",),
            "Evaluation lag": ("SentinelNotScoring",),
            "Series without a verdict": ("SentinelSeriesBlind",),
            "Given up now": ("SentinelOverloaded",),
            "Configuration refused": ("SentinelConfigReloadFailed",),
            "Dropped": ("SentinelTelemetryDropped",),
            "Samples taken": ("SentinelHearsNothing",),
            "Samples not taken": ("SentinelSourceRefused",),
            "Series known": ("SentinelSeriesOverflow",),
            "Targets": ("SentinelScraperDown",),
            "Fill": ("SentinelForwardQueueFilling",),
            "What is given up": ("SentinelOverloaded",),
            "Age of the baseline": ("SentinelFitStale",),
            "Store trouble": ("SentinelStoreFailing",),
            "Collectors": ("SentinelCollectorsSilent", "SentinelCollectorDown"),
            "Windows that lack a collector": ("SentinelWindowsPartial",),
            "Parts of windows": ("SentinelCollectorHearsNothing", "SentinelWindowsPartial"),
            "Waiting for the scorer": ("SentinelScorerUnreachable",),
            "Windows given up": ("SentinelCollectorDropsWindows",),
            "Replicas": ("SentinelInjectorDown",),
            "Reviews": ("SentinelInjectionErrors",),
            "Pods without their sidecar": ("SentinelInjectionMissing", "SentinelInjectionUnseen"),
            "Certificates end in": ("SentinelInjectionCertificateEnds",),
            "Trusted by API servers": ("SentinelInjectionUntrusted",),
        },
        "sentinel-pages": {
            "Oldest page not yet delivered": ("SentinelDeliveryFailing",),
            "Parked": ("SentinelPagesParked",),
            "Heartbeat": ("SentinelHeartbeatLate", "SentinelHeartbeat"),
            "Incidents opened": ("SentinelStorm",),
        },
    }
)
"""Runbooks by board and the panel's title."""
