"""The catalogue of self-metrics: every name Sentinel exposes about itself, with its labels and help.

Dashboards, rules and docs/metrics.md are checked against it. Labels are bounded: component names, closed
enumerations, configured destinations; never a route, a service or free text.
"""

from __future__ import annotations

from sentinel.runtime.metrics import MetricSpec, MetricType

_C, _G, _H = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM
_FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


def _metric(
    kind: MetricType,
    name: str,
    text: str,
    *labels: str,
    buckets: tuple[float, ...] = (),
) -> MetricSpec:
    return MetricSpec(name=name, type=kind, help=text, labels=labels, buckets=buckets)


CATALOGUE: tuple[MetricSpec, ...] = (
    # process
    _metric(_G, "sentinel_build_info", "Version of the running process; always 1.", "version"),
    _metric(_G, "sentinel_start_time_seconds", "When the process started (Unix)."),
    _metric(_G, "sentinel_component_health", "0 ok, 1 degraded, 2 failing.", "component"),
    _metric(
        _C,
        "sentinel_task_crashes_total",
        "Supervised tasks that crashed and were restarted.",
        "component",
        "task",
    ),
    _metric(
        _G,
        "sentinel_config_last_reload_success",
        "1 when the last reload took effect, 0 when the last good configuration was kept.",
    ),
    _metric(
        _G,
        "sentinel_config_last_reload_success_timestamp_seconds",
        "When a configuration last took effect (Unix).",
    ),
    _metric(
        _C,
        "sentinel_config_reloads_total",
        "Changes of the configuration that were taken, or refused with the last good one kept.",
        "result",
    ),
    _metric(
        _C,
        "sentinel_log_lines_withheld_total",
        "Lines of the log that were not written, because their like had been written often in the last minute.",
        "level",
    ),
    # receivers: received, errors by reason, dropped by intent
    _metric(
        _C,
        "sentinel_receiver_requests_total",
        "Requests answered, by outcome.",
        "receiver",
        "signal",
        "outcome",
    ),
    _metric(_C, "sentinel_receiver_samples_total", "Samples taken.", "receiver", "signal"),
    _metric(
        _C,
        "sentinel_receiver_rejected_samples_total",
        "Samples refused inside an otherwise good request.",
        "receiver",
        "signal",
        "reason",
    ),
    _metric(
        _C,
        "sentinel_receiver_bytes_total",
        "Bytes read from senders, before decompression.",
        "receiver",
        "signal",
    ),
    _metric(
        _G, "sentinel_receiver_inflight_bytes", "Bytes of requests being worked on.", "receiver"
    ),
    # ingest and series
    _metric(_G, "sentinel_ingest_queue_ratio", "Fill of the ingest queue, 0-1."),
    _metric(
        _C,
        "sentinel_ingest_refused_batches_total",
        "Batches turned away because the queue was full; senders were told to retry.",
    ),
    _metric(_C, "sentinel_ingest_batches_total", "Batches reduced to windows."),
    _metric(
        _C,
        "sentinel_ingest_faulty_batches_total",
        "Batches given up because reducing them failed; a fault of Sentinel.",
    ),
    _metric(
        _C,
        "sentinel_windows_dropped_total",
        "Windows not decided on: reducing or deciding failed, the clock jumped over them, or it was put back before"
        " their time.",
        "reason",
    ),
    _metric(
        _C,
        "sentinel_clock_set_back_total",
        "Times the clock had been ahead, was put back, and windows went on from the present.",
    ),
    _metric(
        _C,
        "sentinel_windows_ahead_total",
        "Stored windows that lay ahead when the clock was put back; kept until their time comes and they are replaced.",
    ),
    _metric(
        _H,
        "sentinel_ingest_reduce_seconds",
        "Time to reduce one round of batches.",
        buckets=_FAST_S,
    ),
    _metric(_G, "sentinel_series", "Series now known, by kind.", "kind"),
    _metric(
        _C,
        "sentinel_series_overflow_total",
        "Samples that went to the overflow series because of the cap on series.",
    ),
    _metric(
        _C,
        "sentinel_series_unnamed_total",
        "New series left out of a window because the store took no names; tried again with the next.",
    ),
    _metric(_C, "sentinel_series_expired_total", "Series forgotten because they were idle."),
    _metric(
        _C,
        "sentinel_samples_late_total",
        "Samples that came after their window had closed.",
        "signal",
    ),
    _metric(
        _C,
        "sentinel_calls_told_twice_total",
        "Calls not counted, because two of spans, metrics and logs tell of them; the signal is the one left out.",
        "signal",
    ),
    _metric(
        _C,
        "sentinel_samples_dropped_total",
        "Samples given up, by reason; `before_start` are those of the window that was running when Sentinel began.",
        "signal",
        "reason",
    ),
    _metric(_C, "sentinel_stream_resets_total", "Resets seen in cumulative streams."),
    _metric(_C, "sentinel_duplicate_points_total", "Metric points that had been seen before."),
    _metric(
        _C,
        "sentinel_duplicate_batches_total",
        "Whole batches that had been seen before, sent again because an answer was lost.",
    ),
    _metric(_G, "sentinel_watermark_timestamp_seconds", "Windows up to here are closed (Unix)."),
    # evaluation
    _metric(_C, "sentinel_ticks_total", "Windows evaluated."),
    _metric(
        _H,
        "sentinel_decide_seconds",
        "Time to decide one window over all series.",
        buckets=_FAST_S,
    ),
    _metric(
        _G, "sentinel_evaluation_lag_seconds", "Now minus the end of the last evaluated window."
    ),
    _metric(_G, "sentinel_series_state", "Series by state of their verdict.", "state"),
    _metric(
        _C,
        "sentinel_stopped_windows_total",
        "Windows that stood out and of which nobody was told, by the first gate that stopped them.",
        "gate",
    ),
    _metric(_G, "sentinel_incidents_open", "Incidents now open.", "severity"),
    _metric(_C, "sentinel_incidents_total", "Incidents opened.", "kind", "severity"),
    _metric(_C, "sentinel_pages_total", "Pages decided, by reason.", "reason"),
    _metric(
        _C,
        "sentinel_pages_withheld_total",
        "Pages decided but not sent because the mode is shadow.",
        "reason",
    ),
    # fit
    _metric(_C, "sentinel_fits_total", "Fits, by result.", "result"),
    _metric(_G, "sentinel_fit_duration_seconds", "How long the last fit took."),
    _metric(
        _G, "sentinel_fit_series", "Series of the last fit, by what they are expected by.", "model"
    ),
    _metric(
        _C,
        "sentinel_fit_fallbacks_total",
        "Series that kept the profile at a fit because their model said nothing, by reason.",
        "reason",
    ),
    _metric(
        _G, "sentinel_fit_drifts", "Series of the last fit whose level has moved over four weeks."
    ),
    _metric(
        _C,
        "sentinel_fit_drifts_dropped_total",
        "Series that had drifted and were not told, because a fit found too many.",
    ),
    _metric(_G, "sentinel_fit_version", "Version of the baseline in effect."),
    _metric(
        _G,
        "sentinel_fit_effective_timestamp_seconds",
        "Window boundary at which the baseline took effect (Unix).",
    ),
    _metric(
        _C,
        "sentinel_evidence_dropped_total",
        "Places and services whose traces and log lines were forgotten for want of room.",
    ),
    # store
    _metric(_G, "sentinel_store_bytes", "Size of the store on disk."),
    _metric(_C, "sentinel_store_writes_total", "Transactions committed."),
    _metric(
        _C, "sentinel_store_errors_total", "Store operations that failed.", "operation", "reason"
    ),
    _metric(
        _C,
        "sentinel_replay_records_dropped_total",
        "States and fits that a preview would have replayed from, not kept for want of room.",
    ),
    _metric(_C, "sentinel_store_dropped_windows_total", "Windows not kept, by reason.", "reason"),
    _metric(
        _C,
        "sentinel_store_dropped_pages_total",
        "Pages given up because the store took none for too long.",
    ),
    _metric(
        _C,
        "sentinel_store_corrupt_chunks_total",
        "Chunks set aside because they were damaged.",
        "what",
    ),
    _metric(
        _C,
        "sentinel_store_retired_chunks_total",
        "Chunks removed by retention or the ceiling on size.",
        "step",
    ),
    # delivery
    _metric(_G, "sentinel_outbox_entries", "Pages not yet delivered.", "destination"),
    _metric(
        _G,
        "sentinel_outbox_oldest_seconds",
        "Age of the oldest page not yet delivered.",
        "destination",
    ),
    _metric(_C, "sentinel_sends_total", "Attempts to send, by result.", "destination", "result"),
    _metric(_C, "sentinel_pages_delivered_total", "Pages a destination took.", "destination"),
    _metric(
        _C, "sentinel_pages_parked_total", "Pages a destination refused for good.", "destination"
    ),
    _metric(
        _C,
        "sentinel_incidents_told_along_total",
        "Incidents that were over before a destination could be told for long enough, told on the page of a later one.",
        "destination",
    ),
    _metric(
        _C,
        "sentinel_pages_unrecorded_total",
        "Pages a destination took while the store could not record them; a restart may send them again.",
        "destination",
    ),
    _metric(
        _C,
        "sentinel_outbox_dropped_total",
        "Pages given up: their destination was removed a day ago, or the store took none for too long.",
        "destination",
        "reason",
    ),
    _metric(
        _G,
        "sentinel_heartbeat_timestamp_seconds",
        "When the dead man's heartbeat was last sent (Unix).",
        "destination",
    ),
    # web
    _metric(_C, "sentinel_http_requests_total", "HTTP requests answered.", "route", "code"),
    _metric(_G, "sentinel_http_connections", "Connections now open.", "listener"),
    _metric(
        _C,
        "sentinel_http_connections_closed_total",
        "Connections closed by Sentinel: too many, a head too slow, an answer not read.",
        "listener",
        "reason",
    ),
    _metric(
        _C,
        "sentinel_access_refused_total",
        "Requests refused for want of a token, a known one, or one for the right scope.",
        "listener",
        "reason",
    ),
    # tls
    _metric(
        _G,
        "sentinel_tls_certificate_expiry_timestamp_seconds",
        "When the certificate in use ends (Unix).",
        "listener",
    ),
    _metric(
        _C,
        "sentinel_tls_reloads_total",
        "Changes of the certificate files, taken or refused.",
        "listener",
        "result",
    ),
)
