"""How a self-metric is declared."""

from __future__ import annotations

from sentinel.runtime.metrics import MetricSpec, MetricType

COUNTER, GAUGE, HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM
FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Buckets for what takes parts of a second."""


def metric(
    kind: MetricType,
    name: str,
    text: str,
    *labels: str,
    buckets: tuple[float, ...] = (),
) -> MetricSpec:
    """One self-metric: its type, its full exposed name, its help, its labels."""
    return MetricSpec(name=name, type=kind, help=text, labels=labels, buckets=buckets)
