"""What the reduction of samples gave up or noticed, in metrics."""

from __future__ import annotations

from sentinel.core.series import SeriesCounts
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason


def count_noticed(counts: SeriesCounts, *, flow: Flow, surroundings: Surroundings) -> None:
    """Count it, here or where parts are merged; a clock that was put back is told of in the log too."""
    metrics = surroundings.metrics
    for signal, count in counts.late.items():
        metrics.count("sentinel_samples_late_total", count, signal=signal)
        flow.dropped(FlowReason.STALE, count)
    for signal, count in counts.told_twice.items():
        if count:
            metrics.count("sentinel_calls_told_twice_total", count, signal=signal)
    for (signal, reason), count in counts.dropped.items():
        metrics.count("sentinel_samples_dropped_total", count, signal=signal, reason=reason.value)
        flow.rejected({reason: count})
    flow.dropped(FlowReason.DUPLICATE, counts.duplicates + counts.duplicate_batches)
    for name, count in (
        ("sentinel_series_overflow_total", counts.overflow),
        ("sentinel_series_expired_total", counts.expired),
        ("sentinel_stream_resets_total", counts.resets),
        ("sentinel_duplicate_points_total", counts.duplicates),
        ("sentinel_duplicate_batches_total", counts.duplicate_batches),
    ):
        if count:
            metrics.count(name, count)
    for reason_dropped, count in counts.dropped_windows.items():
        if count:
            metrics.count("sentinel_windows_dropped_total", count, reason=reason_dropped)
            flow.dropped(FlowReason.STALE, count)
    for signal, count in counts.shed_windows.items():
        metrics.count("sentinel_windows_shed_total", count, signal=signal)
    if counts.set_back_ns:
        metrics.count("sentinel_clock_set_back_total")
        surroundings.logger.warning(
            "The clock was ahead and was put back; windows go on from the present",
            extra={"ahead_s": round(counts.set_back_ns / 1e9)},
        )
