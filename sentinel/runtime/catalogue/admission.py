"""The injector: reviews, its certificate, and pods that lack their sidecar."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, FAST_S, GAUGE, HISTOGRAM, metric

METRICS = (
    metric(
        GAUGE,
        "sentinel_admission_build_info",
        "Version of the running injector; always 1.",
        "version",
    ),
    metric(GAUGE, "sentinel_admission_start_time_seconds", "When the injector started (Unix)."),
    metric(
        COUNTER,
        "sentinel_admission_reviews_total",
        "Reviews answered, by what each came to; every one was allowed.",
        "outcome",
    ),
    metric(
        COUNTER,
        "sentinel_admission_errors_total",
        "Reviews allowed without having been decided, because of the injector or its load: those pods have no sidecar.",
        "reason",
    ),
    metric(
        HISTOGRAM,
        "sentinel_admission_review_seconds",
        "How long a review took, from its head to the answer.",
        buckets=FAST_S,
    ),
    metric(
        GAUGE,
        "sentinel_admission_form",
        "1 for the form that sidecars take in this cluster: native, or container.",
        "form",
    ),
    metric(
        GAUGE,
        "sentinel_admission_pods_missing",
        "Pods that ask for a sidecar and run without: missed (made while the webhook did not answer) or refused (it cannot be put in). Each replica tells the same; namespaces beyond the bound are `_other`.",
        "namespace",
        "reason",
    ),
    metric(
        GAUGE,
        "sentinel_admission_pods",
        "Pods that ask for a sidecar: present, outdated (what they have is not what they would get now), missed, refused.",
        "state",
    ),
    metric(
        COUNTER,
        "sentinel_admission_reconciles_total",
        "Looks for pods without their sidecar, and how they ended.",
        "result",
    ),
    metric(
        GAUGE,
        "sentinel_admission_reconcile_timestamp_seconds",
        "When all pods were last seen, before the first time when the injector started (Unix); 0 where no look is taken.",
    ),
    metric(
        GAUGE,
        "sentinel_admission_reconcile_seconds",
        "How long the last whole look took.",
    ),
    metric(
        GAUGE,
        "sentinel_admission_certificate_expiry_timestamp_seconds",
        "When the serving certificate, or its authority, ends (Unix).",
        "certificate",
    ),
    metric(
        COUNTER,
        "sentinel_admission_certificates_issued_total",
        "Serving certificates issued by the injector's own authority.",
    ),
    metric(
        COUNTER,
        "sentinel_admission_authority_looks_total",
        "Looks at the authority: done, not_kept (its Secret or folder), not_trusted (the webhook configuration), not_served (the files of the certificate).",
        "result",
    ),
    metric(
        GAUGE,
        "sentinel_admission_clock_offset_seconds",
        "How far the injector's clock is ahead of the API server's, by which certificates are made; negative behind it.",
    ),
    metric(
        GAUGE,
        "sentinel_admission_ca_bundle_current",
        "1 when the webhook configuration trusts the injector's own authority, 0 when that could not be made sure of.",
        "configuration",
    ),
)
