"""What is given up under overload, and what it is decided by."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(
        GAUGE,
        "sentinel_overload_rung",
        "1 while this is given up: traces, logs, labels (names not seen before), fits.",
        "rung",
    ),
    metric(
        COUNTER,
        "sentinel_overload_shed_seconds_total",
        "Time for which this was given up.",
        "rung",
    ),
    metric(
        GAUGE,
        "sentinel_overload_pressure_ratio",
        "How full what is bounded is, 1 at its bound: queue, inflight, memory, loop (how late the process gets to its work).",
        "source",
    ),
    metric(
        GAUGE,
        "sentinel_inflight_bytes",
        "Bytes taken in and not reduced yet, of all receivers and scrapers together.",
    ),
    metric(GAUGE, "sentinel_memory_resident_bytes", "Resident memory of the process."),
    metric(
        GAUGE,
        "sentinel_memory_limit_bytes",
        "Resident memory from which on everything that may be given up is; 0 when it is not watched.",
    ),
    metric(
        COUNTER,
        "sentinel_fits_postponed_total",
        "Fits that were due and waited for an overload to end.",
    ),
    metric(
        COUNTER,
        "sentinel_not_taken_again_total",
        "Requests turned away at a bound, and pages not asked for, that did not come again in time: what they told is missing.",
        "component",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_windows_shed_total",
        "Windows in which telemetry was turned away, so that its amounts are not known.",
        "signal",
    ),
)
