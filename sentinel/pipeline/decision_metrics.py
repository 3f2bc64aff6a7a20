"""What a decision shows of itself in Sentinel's own metrics."""

from __future__ import annotations

import numpy as np

from sentinel.core.decide import Decision
from sentinel.core.model import (
    Gate,
    IncidentKind,
    PageReason,
    Reason,
    Severity,
    TransitionKind,
)
from sentinel.runtime.metrics import Metrics


def begin_counts(metrics: Metrics) -> None:
    """Show what is counted by a closed list of labels from the start, as 0.

    A counter that is born with its first event looks to Prometheus as if that one had never happened, and the first page of
    a week is not one to leave out of the week's.
    """
    for kind in IncidentKind:
        for severity in Severity:
            metrics.count("sentinel_incidents_total", 0, kind=kind, severity=severity)
    for reason in PageReason:
        metrics.count("sentinel_pages_total", 0, reason=reason)


def count_decision(metrics: Metrics, decision: Decision) -> None:
    """Count the verdicts of one window, what stopped those that stood out, and the incidents that opened."""
    metrics.count("sentinel_ticks_total")
    counts = np.bincount(decision.verdicts.reason[0], minlength=len(Reason))
    for reason in Reason:
        metrics.set("sentinel_series_state", int(counts[reason]), state=reason.name.lower())
    if (gate := decision.verdicts.gate) is not None:
        stopped = np.bincount(gate[0], minlength=len(Gate))
        for member in Gate:
            if member is not Gate.NONE and stopped[member]:
                metrics.count(
                    "sentinel_stopped_windows_total",
                    int(stopped[member]),
                    gate=member.name.lower(),
                )
    for transition in decision.transitions:
        incident = transition.incident
        if transition.kind is TransitionKind.OPENED:
            metrics.count(
                "sentinel_incidents_total", kind=incident.kind, severity=incident.severity
            )
