"""What the sidecar, Prometheus and Alertmanager are told; everything on loopback.

The sidecar is configured as `deploy/compose` has it: on its defaults (windows of 10 s, sensitivity, gates, limits), and with the one
limit of its own that is there for the ledger, the age of the oldest transfer that waits, read from that file. One thing is made shorter,
because faults here are minutes apart and not days: an incident is over after half a minute of quiet (`incidents.hold`, half an hour
by default), and Alertmanager, whose groups are as quick, is told so at once (`deliver.settle`).
"""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sentinel.app.demo.sidecar_config import SidecarPlace

CADENCE_S: Final = 10
HOLD_S: Final = 30
_GROUP_WAIT_S: Final = 5
_GROUP_INTERVAL_S: Final = 10
ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "deploy/compose/sentinel.yaml"
STATIC_RULES: Final = ROOT / "benchmarks/pages/static_rules.yaml"
# Of those that come with Sentinel all that are about the ledger and its servers, so all but: `gateway.yaml`, about a Kong, which is not
# here; `slo.yaml`, which looks back for an hour and longer, for which faults that are minutes apart are one; `verdicts.yaml`, for who
# lets Prometheus page; `sentinel.yaml` and `injector.yaml`, about the sidecar and who injects it.
_LEFT_OUT: Final = {"gateway", "slo", "verdicts", "sentinel", "injector"}
SHIPPED_RULES: Final = tuple(
    path for path in sorted((ROOT / "alert_rules").glob("*.yaml")) if path.stem not in _LEFT_OUT
)

# What thresholds read and what is there while nothing is broken; without one of these they would lose by default.
READ: Final = (
    'http_server_request_duration_seconds_bucket{job="ledger-edge"}',
    'http_server_request_duration_seconds_count{job="ledger-edge"}',
    "ledger_transfers_posted_total",
    "ledger_transfer_age_seconds_bucket",
    "db_client_operation_duration_seconds_bucket",
    "ledger_webhooks_attempts_total",
    "ledger_webhooks_waiting",
    "ledger_edge_tenants",
    "ledger_audit_entries_total",
    "ledger_audit_lag_seconds",
    "ledger_analytics_pending",
    "ledger_disbursements_overdue_seconds",
    "ledger_drift_count",
    'sentinel_scraper_up{scraper="scrapers.nats"}',
    'sentinel_scraper_up{scraper="scrapers.postgres"}',
    *(
        f'sentinel_value{{stage="{stage}", signal="{signal}", horizon=""}}'
        for stage, signals in (
            (
                "queue",
                (
                    "consumer_backlog_count",
                    "stream_oldest_message_age_s",
                    "stream_limit_ratio",
                    "server_store_memory_ratio",
                ),
            ),
            (
                "database",
                (
                    "connections_used_ratio",
                    "sessions_blocked_count",
                    "replicas_lag_max_s",
                    "replicas_count",
                    "archiver_failing_count",
                ),
            ),
        )
        for signal in signals
    ),
)

_DURATION: Final = "http_server_request_duration_seconds"
# Whether a stretch in which nothing was broken was quiet: on a machine that others use, requests may fail by themselves.
FELT: Final = {
    "failed_ratio": (
        f'(sum(rate({_DURATION}_count{{job="ledger-edge", http_response_status_code=~"5.."}}[30s])) or vector(0))'
        f' / sum(rate({_DURATION}_count{{job="ledger-edge"}}[30s]))'
    ),
    "p99_s": (
        f'histogram_quantile(0.99, sum by (le) (rate({_DURATION}_bucket{{job="ledger-edge"}}[30s])))'
    ),
}

_SIDECAR: Final = """\
web:
  listen: {{port: {web_port}}}
  series_routes: ["*"]
receivers:
  otlp_http: {{listen: {{port: {otlp_port}}}}}
  otlp_grpc: {{enabled: false}}
store: {{directory: {store}}}
scrapers:
  nats:
    - {{name: nats, service: nats, urls: ["{nats}"], advisories: {{urls: ["{nats_client}"]}}}}
  postgres:
    - {{name: postgres, service: postgres, host: "{host}", port: {port}, user: "{user}", password_file: "{password}", database: "{database}"}}
forward:
  endpoints: [{{name: prometheus, url: "{page}", traces: false, logs: false}}]
incidents:
  hold: {hold_s}s
  gauge_severity: {gauge_severity}
  guards: {guards}
deliver: {{settle: {settle_s}s}}
senders:
  alertmanager:
    urls: ["{alertmanager}"]
"""

_PROMETHEUS: Final = """\
global: {{scrape_interval: {cadence_s}s, evaluation_interval: {cadence_s}s}}
rule_files: {rules}
alerting:
  alertmanagers:
    - path_prefix: /prometheus
      static_configs: [{{targets: ["{recorder}"]}}]
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: ["{sidecar}"]}}]
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{sidecar}"]}}]
  - job_name: otlp
    honor_labels: true
    static_configs: [{{targets: ["{page}"]}}]
"""

# Grouped as on-call teams group, so that a storm of thresholds is few notifications; and quick, for a person is waited for.
_ALERTMANAGER: Final = """\
route:
  receiver: sentinel
  group_by: [service]
  group_wait: {wait_s}s
  group_interval: {interval_s}s
  repeat_interval: 4h
  routes:
    - {{receiver: nobody, matchers: ['severity != "page"']}}
    - {{receiver: thresholds, matchers: ['by = "static"']}}
receivers:
  - name: nobody
  - name: sentinel
    webhook_configs: [{{url: "{receiver}", http_config: {{follow_redirects: false}}}}]
  - name: thresholds
    webhook_configs: [{{url: "{receiver}", http_config: {{follow_redirects: false}}}}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything answers.

    Attributes:
        ledger: what `sentinel-ledger up` said of itself.
        place: the sidecar's ports.
        recorder_url: the proxy in front of Alertmanager, which is its receiver, too.
        page_url: the ledger's own metrics as Prometheus scrapes them.
    """

    ledger: dict[str, Any]
    place: SidecarPlace
    recorder_url: str
    page_url: str


def sidecar(where: Addresses, folder: Path, *, gauge_severity: str) -> str:
    """The sidecar's configuration; the database's password goes into a file."""
    parts = urllib.parse.urlsplit(Path(where.ledger["postgres_url_file"]).read_text().strip())
    password = folder / "postgres.password"
    password.touch(mode=0o600)
    password.write_text(urllib.parse.unquote(parts.password or ""))
    return _SIDECAR.format(
        web_port=where.place.web_port,
        otlp_port=where.place.otlp_port,
        store=folder / "store",
        nats=where.ledger["nats_monitor_url"],
        nats_client=where.ledger["nats_url"],
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=password,
        database=parts.path.strip("/"),
        page=where.page_url,
        hold_s=HOLD_S,
        settle_s=_GROUP_WAIT_S + _GROUP_INTERVAL_S + 1,
        gauge_severity=gauge_severity,
        guards=json.dumps(yaml.safe_load(COMPOSE.read_text())["incidents"]["guards"]),
        alertmanager=f"{where.recorder_url}/sentinel",
    )


def prometheus(where: Addresses) -> str:
    """Prometheus' configuration: both sets of rules, and what they read."""
    return _PROMETHEUS.format(
        cadence_s=CADENCE_S,
        rules=json.dumps([str(file) for file in (STATIC_RULES, *SHIPPED_RULES)]),
        recorder=_netloc(where.recorder_url),
        sidecar=_netloc(where.place.web_url),
        page=_netloc(where.page_url),
    )


def alertmanager(recorder_url: str) -> str:
    """Alertmanager's configuration."""
    return _ALERTMANAGER.format(
        receiver=f"{recorder_url}/notified", wait_s=_GROUP_WAIT_S, interval_s=_GROUP_INTERVAL_S
    )


def _netloc(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc
