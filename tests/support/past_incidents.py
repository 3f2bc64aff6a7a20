"""An incident that is over, as a store keeps it: one fall of one series."""

from __future__ import annotations

from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    SeriesKey,
    Severity,
)

HOUR_NS = 3_600_000_000_000


def past_fall(
    series_id: int,
    key: SeriesKey,
    *,
    first_ns: int,
    last_ns: int,
    incident_id: str = "inc-1",
    resolved_after_ns: int = HOUR_NS,
) -> Incident:
    """From 100 to nothing, strange in the windows that begin from `first_ns` to `last_ns`."""
    member = Member(
        series_id=series_id,
        key=key,
        direction=-1,
        first_ns=first_ns,
        last_ns=last_ns,
        peak_score=3.0,
        value=0.0,
        expected=100.0,
        lower=50.0,
        upper=150.0,
    )
    return Incident(
        incident_id=incident_id,
        group=key.service,
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=first_ns,
        paged_ns=first_ns,
        resolved_ns=last_ns + resolved_after_ns,
        members=(member,),
    )
