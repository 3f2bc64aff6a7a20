"""Where the links of an alert must lead: said once by the file it comes from and by its own labels, and put into every golden.

They are the same for all alerts of a file, so hundreds of goldens would say nothing more; what is said here is compared with what the
rule's template made of the labels, like every other annotation of a golden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

_BOARDS: Final = {
    "gateway": "d/sentinel-fleet",
    "injector": "d/sentinel-health",
    "ledger": "d/sentinel-ledger",
    **dict.fromkeys(("audit", "backups", "edge", "payouts", "webhooks"), "d/sentinel-ledger"),
    "nats": "d/sentinel-nats?var-nats={service}",
    "postgres": "d/sentinel-postgres?var-postgres={service}",
    "sentinel": "d/sentinel-health",
    "slo": "d/sentinel-fleet?var-service={service}",
    "verdicts": "d/sentinel-fleet?var-service={service}",
}
_BOARDS_OF: Final = {
    **dict.fromkeys(
        ("SentinelHeartbeatLate", "SentinelDeliveryFailing", "SentinelPagesParked"),
        "d/sentinel-pages",
    ),
    "SentinelSeriesStrange": "d/sentinel-series?var-instance={instance}&var-service={service}&var-stage={stage}"
    "&var-route={route}&var-signal={signal}",
}
_INCIDENTS: Final = "d/sentinel-incident"
_INCIDENTS_OF: Final = "d/sentinel-incident?var-of={service}"
"""Of the service that the alert is about; what a shared part does shows in the incidents of those who use it."""
_ABOUT_A_SERVICE: Final = ("slo", "verdicts", "SentinelSeriesStrange")


def links_of(subject: str, alert: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Both links of an alert of this file with these labels."""
    board = _BOARDS_OF.get(alert, _BOARDS[subject])
    about = {subject, alert} & set(_ABOUT_A_SERVICE)
    parts = {name: quote_plus(value) for name, value in labels.items()}
    # A label that an alert does not have is empty in a template.
    parts = {**dict.fromkeys(("instance", "service", "stage", "route", "signal"), ""), **parts}
    return {
        "dashboard_url": board.format(**parts),
        "incident_url": (_INCIDENTS_OF if about else _INCIDENTS).format(**parts),
    }


def with_links(subject: str, case: Mapping[str, Any]) -> dict[str, Any]:
    """A case whose goldens have them."""
    checks = [
        {
            **check,
            "exp_alerts": [
                {
                    **alert,
                    "exp_annotations": {
                        **links_of(subject, check["alertname"], alert["exp_labels"]),
                        **alert["exp_annotations"],
                    },
                }
                for alert in check.get("exp_alerts", ())
            ],
        }
        for check in case.get("alert_rule_test", ())
    ]
    return {**case, "alert_rule_test": checks} if checks else dict(case)
