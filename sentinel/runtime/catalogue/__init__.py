"""The catalogue of self-metrics: every name Sentinel exposes about itself, with its labels and help.

Dashboards, rules and docs/metrics.md are checked against it. Labels are bounded: component names, closed
enumerations, configured destinations and targets; never a route, a service or free text. One file a subject. The injector,
which is a program of its own, shows some of them and a few that no sidecar has.
"""

from __future__ import annotations

from sentinel.runtime.catalogue import (
    admission,
    delivery,
    evaluation,
    fit,
    flow,
    forward,
    log_files,
    nats,
    overload,
    postgres,
    process,
    receivers,
    roles,
    scrapers,
    series,
    store,
    web,
)
from sentinel.runtime.metrics import MetricSpec

__all__ = ["CATALOGUE", "COLLECTOR", "INJECTOR", "SIDECAR"]

SIDECAR: tuple[MetricSpec, ...] = tuple(
    one
    for part in (
        process,
        flow,
        overload,
        receivers,
        log_files,
        scrapers,
        postgres,
        nats,
        series,
        evaluation,
        fit,
        store,
        delivery,
        forward,
        roles,
        web,
    )
    for one in part.METRICS
)
"""What a sidecar shows. A gauge of something else would be shown as 0, and an alert would take that for a value."""

_OF_A_SCORER = frozenset(
    one.name
    for part in (evaluation, fit, store, delivery)
    for one in part.METRICS
    if one.name != "sentinel_service_versions_dropped_total"
)

COLLECTOR: tuple[MetricSpec, ...] = tuple(one for one in SIDECAR if one.name not in _OF_A_SCORER)
"""What a collecting sidecar shows: it decides nothing, and "no window decided" must not look like a fault of its own."""

_OF_A_SIDECAR = frozenset({"sentinel_build_info", "sentinel_start_time_seconds"})
"""What says that there is a sidecar: rules ask of each whether it hears anything, and whether there is one at all."""

INJECTOR: tuple[MetricSpec, ...] = (
    *(one for one in process.METRICS if one.name not in _OF_A_SIDECAR),
    *web.METRICS,
    *admission.METRICS,
)
"""What the injector shows."""

CATALOGUE: tuple[MetricSpec, ...] = (*SIDECAR, *admission.METRICS)
"""All there are."""
