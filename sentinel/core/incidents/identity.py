"""Names that are derived, never drawn: the same history gives the same incident, page and alert."""

from __future__ import annotations

import hashlib

from sentinel.core.incidents.text import one_line
from sentinel.core.model import Incident, IncidentKind, Severity

ALERT_NAMES = {
    IncidentKind.ANOMALY: "SentinelAnomaly",
    IncidentKind.GUARD: "SentinelGuard",
    IncidentKind.BLIND: "SentinelBlind",
    IncidentKind.LATE: "SentinelLate",
    IncidentKind.DRIFT: "SentinelDrift",
}
STORM_ALERT_NAME = "SentinelStorm"
STORM_SERVICE = "(several)"
ALL_SOURCES = "(all sources)"
"""Stands where a service is named, on the ticket that nothing is heard of any."""
BEHIND_ANOTHER = "(all behind one source)"
"""The same, on the ticket that who tells of several services cannot be asked."""
_LABEL_CHARACTERS_MAX = 200


def incident_id_of(*, group: str, kind: IncidentKind | str, severity: Severity, at_ns: int) -> str:
    """Sixteen hexadecimal digits from what an incident is about and the end of the window it opened at."""
    text = "\x1f".join((group, str(kind), severity, str(at_ns)))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def page_id_of(incident_id: str, sequence: int) -> str:
    """The receiver's key for removing duplicates."""
    return f"{incident_id}-{sequence}"


def alert_labels(incident: Incident) -> dict[str, str]:
    """Identity only: the same for every page of an incident, and nothing that was measured.

    A measured value in a label makes two alerts, and two pages, out of one incident.
    """
    return labels_of(
        alert_name=ALERT_NAMES[incident.kind], service=incident.group, severity=incident.severity
    )


def labels_of(*, alert_name: str, service: str, severity: str) -> dict[str, str]:
    """The labels of an alert about a service."""
    return {
        "alertname": alert_name,
        "service": one_line(service, characters_max=_LABEL_CHARACTERS_MAX) or "(unnamed)",
        "severity": severity,
        "sentinel_anomaly": "true",
    }
