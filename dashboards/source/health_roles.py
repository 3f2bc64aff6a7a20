"""Panels of sidecars that share one service's work, and of the injector that puts them there: a part of Sentinel's own health."""

from __future__ import annotations

from dashboards.source.kit import (
    ANY_IS_BAD,
    BELIEVED,
    Ask,
    Panel,
    number,
    rows,
    states,
    timeline,
)
from dashboards.source.queries import gained, injectors, own, p99, per_second, quiet

_COLLECTS = f"and on (job, instance) {own('sentinel_collect_window_bytes_count')} > 0"
"""Of sidecars that have closed a window for a scorer: every other has these gauges, too, at 0."""
_DAY_S = 86_400.0


def collectors() -> list[Panel]:
    """What collecting sidecars send, what waits and is lost, and what the scorer makes of it."""
    return [
        timeline(
            "Collectors",
            "Of each scorer: how many were to tell of the last window, and how many did not, or only in part: blind 1/3 is one of three.",
            "none",
            Ask(f"{own('sentinel_collectors')} > 0", "{{instance}} collectors"),
            Ask(quiet(f"{own('sentinel_collectors_silent')} > 0"), "{{instance}} silent"),
            width=8,
        ),
        timeline(
            "Windows that lack a collector",
            "Share of the last hour's windows of which some collector did not tell: how much traffic its services had is unknown in"
            " them. From a tenth on it alerts.",
            "percentunit",
            Ask(
                f"increase({own('sentinel_windows_partial_total')}[1h])"
                f" / (increase({own('sentinel_ticks_total')}[1h]) > 0)",
                "{{instance}}",
            ),
            limit=0.1,
            width=8,
        ),
        timeline(
            "Parts of windows",
            "What came to scorers a second: fresh, again (a repeat), late (decided already), ahead (a clock is wrong) or full (there was no"
            " room).",
            "cps",
            Ask(per_second("sentinel_collected_parts_total", "outcome"), "{{outcome}}"),
            width=8,
        ),
        timeline(
            "Waiting for the scorer",
            "Closed windows that each collector has not got rid of; one or two are usual, a line that rises is a scorer that is not reached.",
            "none",
            Ask(f"{own('sentinel_collect_queue_windows')} {_COLLECTS}", "{{instance}}"),
            width=8,
        ),
        timeline(
            "Size of what waits",
            "Bytes of windows on the collectors' disks, and of parts on the scorers'; at collect.queue_max the oldest are dropped.",
            "bytes",
            Ask(
                f"{own('sentinel_collect_queue_bytes')} {_COLLECTS}", "{{instance}} for the scorer"
            ),
            Ask(f"{own('sentinel_collected_parts_bytes')} > 0", "{{instance}} parts kept"),
            width=8,
        ),
        timeline(
            "Windows given up",
            "Windows of the last hour that collectors gave up, by reason, and those that went without what made them too large: both are"
            " unknown for good.",
            "none",
            Ask(
                quiet(gained("sentinel_collect_dropped_windows_total", "instance", "reason")),
                "{{instance}}: {{reason}}",
            ),
            Ask(
                quiet(gained("sentinel_collect_left_out_total", "instance", "signal")),
                "{{instance}}: without {{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Attempts to send a window",
            "A second, by what became of them; retry is tried again, refused is given up.",
            "cps",
            Ask(per_second("sentinel_collect_requests_total", "result"), "{{result}}"),
            width=12,
        ),
        timeline(
            "Size of a window",
            "As it is sent, the 99th percentile; at 8 MiB lines, then metrics, then logs are left out of it.",
            "bytes",
            Ask(p99("sentinel_collect_window_bytes", "instance"), "{{instance}}"),
            width=12,
        ),
    ]


def injector() -> list[Panel]:
    """Reviews, pods that run without their sidecar, and whether API servers believe it."""
    seen = injectors("sentinel_admission_reconcile_timestamp_seconds")
    return [
        number(
            "Pods without their sidecar",
            "Pods that ask for a sidecar and run without: nobody watches them. Each replica of the injector tells the same.",
            "none",
            Ask(quiet(f"sum(max by (namespace, reason) ({_missing()}))")),
            steps=ANY_IS_BAD,
            width=6,
        ),
        number(
            "All pods seen",
            "How long ago the injector last saw all pods; what was made since then and lacks its sidecar is not known yet.",
            "s",
            Ask(f"time() - max({seen} > 0)"),
            steps=((None, "green"), (1800.0, "red")),
            width=6,
        ),
        number(
            "Certificates end in",
            "Of the serving certificate and its authority the one that ends first; it is renewed long before, so a week is an alarm.",
            "s",
            Ask(
                f"min({injectors('sentinel_admission_certificate_expiry_timestamp_seconds')}) - time()"
            ),
            steps=((None, "red"), (7 * _DAY_S, "green")),
            width=6,
        ),
        number(
            "Replicas",
            "Injectors that Prometheus reaches now.",
            "none",
            Ask(f"count({injectors('sentinel_admission_build_info')})"),
            width=6,
        ),
        timeline(
            "Reviews",
            "Pods that API servers asked about, a second, by what each review came to; every one is let through. Below them those that"
            " were let through undecided, because of the injector or its load.",
            "reqps",
            Ask(
                f"sum by (outcome) (rate({injectors('sentinel_admission_reviews_total')}[$__rate_interval]))",
                "{{outcome}}",
            ),
            Ask(
                quiet(
                    f"sum by (reason) (rate({injectors('sentinel_admission_errors_total')}[$__rate_interval]))"
                ),
                "undecided: {{reason}}",
            ),
            width=8,
        ),
        timeline(
            "Time of a review",
            "From its head to the answer. A pod is made that much later; API servers wait for the webhook's timeoutSeconds at most.",
            "s",
            *(
                Ask(
                    f"histogram_quantile({quantile}, sum by (le) (rate("
                    f"{injectors('sentinel_admission_review_seconds_bucket')}[$__rate_interval])))",
                    f"{name} percentile",
                )
                for quantile, name in ((0.5, "50th"), (0.99, "99th"))
            ),
            limit=0.1,
            width=8,
        ),
        timeline(
            "Pods that ask for a sidecar",
            "By what they have: present, outdated (what they would get now differs), missed (made while the webhook did not answer) or"
            " refused (it cannot be put in).",
            "none",
            Ask(f"max by (state) ({injectors('sentinel_admission_pods')})", "{{state}}"),
            width=8,
            stacked=True,
        ),
        rows(
            "Who runs without",
            "Pods without their sidecar by namespace; the injector's log names up to ten of them.",
            "none",
            Ask(quiet(f"max by (namespace, reason) ({_missing()}) > 0")),
            columns=["namespace", "reason"],
            value="pods",
            width=8,
            height=8,
        ),
        states(
            "Trusted by API servers",
            "Whether the webhook configuration trusts the injector's own authority; where it does not, pods start without a sidecar. Where"
            " another issues its certificate there is nothing here.",
            Ask(
                injectors("sentinel_admission_ca_bundle_current"), "{{instance}} {{configuration}}"
            ),
            BELIEVED,
            width=8,
        ),
        timeline(
            "Looks at pods and at the authority",
            "In an hour, by how they ended; and certificates that the injector's own authority issued.",
            "none",
            Ask(
                f"sum by (result) (increase({injectors('sentinel_admission_reconciles_total')}[1h]))",
                "pods: {{result}}",
            ),
            Ask(
                quiet(
                    f"sum by (result) (increase({injectors('sentinel_admission_authority_looks_total')}[1h]))"
                ),
                "authority: {{result}}",
            ),
            Ask(
                f"sum(increase({injectors('sentinel_admission_certificates_issued_total')}[1h]))",
                "certificates issued",
            ),
            width=8,
        ),
    ]


def _missing() -> str:
    return injectors("sentinel_admission_pods_missing")
