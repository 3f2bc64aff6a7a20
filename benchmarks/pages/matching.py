"""Whether a page is about a fault: of a service that the fault was to move, or with a series in it that it was to move.

Anything else that begins while a fault is held is told of for nothing, as far as anybody can know: whoever is woken by it looks
in the wrong place. The sidecar's pages are named after a service, and say in words which series are strange; rules have one word
for the whole ledger, `ledger`, so of those it stands here which part each one looks at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import Any, Final

from benchmarks.pages.told import Side, Told

Expected = Mapping[str, Any]

_LEDGER: Final = "ledger"
# Under this name the sidecar pages when many services are strange at once; its text names them.
_SEVERAL: Final = "(several)"

_EDGE, _POSTER, _WEBHOOKS = "ledger-edge", "ledger-poster", "ledger-webhooks"
_RECONCILE, _DISBURSER = "ledger-reconcile", "ledger-disburser"
# What `ledger` means in each alert that has no better name for what it looks at.
PARTS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(services)
    for name, services in {
        # alert_rules/ledger.yaml: what is accepted, and what becomes of it.
        "LedgerPostingStalled": (_POSTER,),
        "LedgerTransfersFail": (_EDGE,),
        "LedgerTransfersLate": (_POSTER,),
        "LedgerDeadLettered": (_POSTER, "nats"),
        "LedgerTransfersUnaccounted": (_POSTER, _RECONCILE),
        "LedgerConflicts": (_POSTER,),
        "LedgerDrift": (_RECONCILE,),
        "LedgerNotReconciled": (_RECONCILE,),
        "LedgerReconcileFailed": (_RECONCILE,),
        "LedgerOutboxDropped": (_POSTER,),
        "LedgerOutboxBehind": (_POSTER,),
        "LedgerReplicaDown": (_EDGE, "postgres"),
        "LedgerArchiveFailing": ("ledger-archive", "postgres"),
        # alert_rules/edge.yaml
        "LedgerLimitsRefuseMany": (_EDGE,),
        "LedgerLimitsRefuse": (_EDGE,),
        "LedgerCertificateEndsSoon": (_EDGE,),
        "LedgerCertificateEnds": (_EDGE,),
        "LedgerRevocationsEndSoon": (_EDGE,),
        "LedgerAuthRefused": (_EDGE,),
        # alert_rules/audit.yaml
        "LedgerAuditRefused": ("ledger-audit",),
        "LedgerAuditSlotLost": ("ledger-audit",),
        "LedgerAuditSlotFills": ("ledger-audit",),
        "LedgerAuditStalled": ("ledger-audit",),
        "LedgerAuditBehind": ("ledger-audit",),
        "LedgerAuditUnwitnessed": ("ledger-audit",),
        "LedgerCheckpointsUnstored": ("ledger-audit",),
        "LedgerExportStuck": ("ledger-exporter",),
        # alert_rules/payouts.yaml
        "LedgerRailAway": (_DISBURSER,),
        "LedgerDisbursementsStalled": (_DISBURSER,),
        "LedgerAnalyticsBehind": ("ledger-analytics",),
        "LedgerAnalyticsMissed": ("ledger-analytics",),
        # alert_rules/backups.yaml
        "LedgerBackupOld": ("ledger-backup",),
        # alert_rules/webhooks.yaml
        "LedgerWebhooksFail": (_WEBHOOKS,),
        "LedgerWebhooksTenantUntold": (_WEBHOOKS,),
        "LedgerWebhooksNearlyLost": (_WEBHOOKS,),
        "LedgerWebhooksMissed": (_WEBHOOKS,),
        "LedgerWebhooksStalled": (_WEBHOOKS,),
        "LedgerWebhooksLate": (_WEBHOOKS,),
        "LedgerWebhooksGivenUp": (_WEBHOOKS,),
        "LedgerWebhooksEndpointDisabled": (_WEBHOOKS,),
        "LedgerWebhooksSecretLost": (_WEBHOOKS,),
        # Whichever process has lost telemetry, it says nothing of what a fault was to move.
        "LedgerTelemetryLost": (),
        # benchmarks/pages/static_rules.yaml
        "EdgeErrors": (_EDGE,),
        "EdgeSlow": (_EDGE,),
        "EdgeNoTraffic": (_EDGE,),
        "TenantRefused": (_EDGE,),
        "PostingStopped": (_POSTER,),
        "CommitsLate": (_POSTER,),
        "DatabaseSlow": (_EDGE, _POSTER),
        "QueueBacklog": (_POSTER, "nats"),
        "OldestWaits": (_POSTER, "nats"),
        "MessagesGivenUp": (_POSTER, "nats"),
        "ExporterDown": ("nats", "postgres"),
        "Drift": (_RECONCILE,),
        "WebhooksFail": (_WEBHOOKS,),
        "KeysReused": (_POSTER,),
    }.items()
}


def services_of(told: Told) -> frozenset[str]:
    """Which services an alert is about, as far as its name and labels say."""
    if told.side is not Side.SENTINEL and told.service == _LEDGER:
        return PARTS.get(told.name, frozenset())
    return frozenset({told.service})


def concerns(told: Told, expected: Iterable[Expected]) -> bool:
    """Whether an alert is about what a fault was to move: of an expected service, or naming an expected series."""
    expected = list(expected)
    if services_of(told) & {one["service"] for one in expected}:
        return True
    if told.side is not Side.SENTINEL:
        return False
    if told.service == _SEVERAL:
        return any(_word(one["service"]).search(told.text) for one in expected)
    # A page of another service can have an expected series in it: as what moved first, say.
    return any(_series(one).search(told.text) for one in expected)


def _series(one: Expected) -> re.Pattern[str]:
    route = translate(str(one["route"])).removeprefix("(?s:").removesuffix(")\\Z")
    # A star stands for a piece of the route, and no route has blanks where a star is.
    route = route.replace(".*", r"[^\s]*")
    place = f"{re.escape(str(one['service']))} {re.escape(str(one['stage']))} {route}"
    return re.compile(rf"(?<![\w-]){place}(?![\w-])")


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")
