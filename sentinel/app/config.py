"""The whole configuration: every section in one tree, whose defaults run without a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from sentinel.app.audit_child import model_problems
from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import calendar_problems
from sentinel.app.named_files import file_warnings
from sentinel.app.own_endpoint import own_endpoint_problems, own_page_problems
from sentinel.app.query_warnings import query_warnings
from sentinel.app.query_windows import with_query_windows
from sentinel.app.role import Role, role_problems, role_warnings
from sentinel.app.sections import IncidentsConfig, ScoringConfig
from sentinel.app.tls_files import tls_problems
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.core.scoring.settings import Sensitivity
from sentinel.errors import ConfigError, ConfigProblem
from sentinel.pipeline.deliver import DeliverConfig
from sentinel.pipeline.evaluate import EvaluateConfig
from sentinel.pipeline.fit import FitConfig
from sentinel.pipeline.ingest import IngestConfig
from sentinel.pipeline.merge.config import MergeConfig
from sentinel.pipeline.models import BaselineConfig
from sentinel.pipeline.overload import OverloadConfig
from sentinel.receivers.http_log import HttpLogConfig
from sentinel.receivers.log_files import LogFilesConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig
from sentinel.receivers.windows.http import WindowsHttpConfig
from sentinel.runtime.config.loader import Loaded, load
from sentinel.runtime.logging import LoggingConfig
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.redaction import RedactConfig
from sentinel.runtime.settings import Zone, setting
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.prometheus import FileDiscoveryConfig, PrometheusTargetConfig
from sentinel.senders.alertmanager import AlertmanagerConfig
from sentinel.senders.otlp_forward import ForwardConfig
from sentinel.senders.self_telemetry import SelfTelemetryConfig
from sentinel.senders.webhook import WebhookConfig
from sentinel.senders.windows.config import CollectConfig
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.web.server import WebConfig


class Mode(StrEnum):
    """Live sends pages; shadow decides and records the same, and sends nothing."""

    LIVE = "live"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiversConfig:
    """What telemetry is given to Sentinel through."""

    otlp_http: OtlpHttpConfig = setting(OtlpHttpConfig(), help="OTLP over HTTP.")
    otlp_grpc: OtlpGrpcConfig = setting(OtlpGrpcConfig(), help="OTLP over gRPC.")
    http_log: HttpLogConfig = setting(HttpLogConfig(), help="Records of Kong's http-log plugin.")
    log_files: LogFilesConfig = setting(
        LogFilesConfig(), help="Log files and container logs.", restart=True
    )
    windows_http: WindowsHttpConfig = setting(
        WindowsHttpConfig(), help="Windows of collecting sidecars over HTTP, in the role `score`."
    )
    windows_nats: NatsStreamConfig = setting(
        NatsStreamConfig(),
        help="A JetStream stream that collecting sidecars publish windows to, in the role `score`.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if not (self.http_log.enabled and self.http_log.every_route):
            return
        for source in self.log_files.sources:
            if source.format is LogFormat.KONG and source.service in ("", self.http_log.service):
                msg = (
                    f"http_log and the log source {source.name} would both tell of every call of the same gateway, and each"
                    " would count twice: leave one out, or give the source the service of another gateway"
                )
                raise ValueError(msg)


def _refuse_same_names(kind: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        msg = f"targets of {kind} must have different names"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapersConfig:
    """What telemetry is asked for."""

    prometheus: tuple[PrometheusTargetConfig, ...] = setting(
        (), help="Metrics pages of applications and exporters, at known addresses.", restart=True
    )
    prometheus_files: tuple[FileDiscoveryConfig, ...] = setting(
        (),
        help="Files that name such pages, in the form of Prometheus' `file_sd_configs`; read again when they change.",
        restart=True,
    )
    prometheus_queries: tuple[QueryServerConfig, ...] = setting(
        (),
        help="Servers with Prometheus' query API, and the queries whose answers are series.",
        restart=True,
    )
    kong: tuple[KongTargetConfig, ...] = setting(
        (), help="Nodes of Kong, asked for the metrics of its prometheus plugin.", restart=True
    )
    postgres: tuple[PostgresTargetConfig, ...] = setting(
        (), help="PostgreSQL servers, each with a name and a service of its own.", restart=True
    )
    nats: tuple[NatsConfig, ...] = setting(
        (), help="NATS clusters, each with a name of its own.", restart=True
    )

    def __post_init__(self) -> None:
        _refuse_same_names(
            "prometheus and prometheus_files",
            [target.name for target in self.prometheus]
            + [one.name for one in self.prometheus_files],
        )
        _refuse_same_names("prometheus_queries", [one.name for one in self.prometheus_queries])
        _refuse_same_names("kong", [target.name for target in self.kong])
        _refuse_same_names("postgres", [target.name for target in self.postgres])
        services = [target.service for target in self.postgres]
        if len(set(services)) != len(services):
            msg = "targets of postgres must have different services: of one service each gauge is the mean of both"
            raise ValueError(msg)
        _refuse_same_names("nats", [one.name for one in self.nats])
        if not all(one.urls for one in self.nats):
            msg = "targets of nats must each have urls"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendersConfig:
    """Where pages go."""

    alertmanager: AlertmanagerConfig = setting(
        AlertmanagerConfig(), help="The instances of an Alertmanager cluster."
    )
    webhooks: tuple[WebhookConfig, ...] = setting(
        (), help="Receivers of pages in Alertmanager's payload, each with a name of its own."
    )

    def __post_init__(self) -> None:
        names = [webhook.name for webhook in self.webhooks]
        if len(set(names)) != len(names):
            msg = "webhooks must have different names"
            raise ValueError(msg)
        if not all(webhook.url for webhook in self.webhooks):
            msg = "webhooks must each have a url"
            raise ValueError(msg)

    @property
    def is_empty(self) -> bool:
        """Whether pages have nowhere to go."""
        return not self.alertmanager.urls and not self.webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelConfig:
    """Everything a user may set."""

    role: Role = setting(
        Role.BOTH,
        help="`both` collects and scores in one process; of a service with several sidecars each is `collect`, and one more is `score`.",
        restart=True,
    )
    replicas: int = setting(
        1,
        help="How many replicas of this sidecar its service has, as whoever deploys it knows; `both` refuses more than one.",
        restart=True,
    )
    replica_name: str = setting(
        "",
        help="Name of this replica, where a StatefulSet gives it and counts from 0, such as `$(POD_NAME)` of its pod: a `score` or `both` whose name ends in `-1` or more is not the only one, and is refused; empty where names say nothing.",
        restart=True,
    )
    each_replica_scores: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Lets `both` run in several replicas: each learns, decides and pages by what it hears alone.",
        restart=True,
    )
    mode: Mode = setting(
        Mode.LIVE,
        help="`live` sends pages; `shadow` decides and records the same, and sends none.",
    )
    sensitivity: Sensitivity = setting(
        Sensitivity.NORMAL,
        help="How strange a window must be: `quiet` pages least, `high` most.",
    )
    zone: Zone = setting(
        Zone("UTC"),
        help="Times on pages are shown in this zone, beside UTC; seasons follow it too, unless `calendar.zone` says another.",
    )
    receivers: ReceiversConfig = setting(
        ReceiversConfig(), help="What telemetry comes in by.", restart=True
    )
    scrapers: ScrapersConfig = setting(
        ScrapersConfig(), help="What telemetry is asked for.", restart=True
    )
    redact: RedactConfig = setting(
        RedactConfig(),
        help="What is taken out of text before it is kept, shown or handed on, beyond what always is.",
    )
    series: IngestConfig = setting(
        IngestConfig(), help="How telemetry becomes series of windows.", restart=True
    )
    overload: OverloadConfig = setting(
        OverloadConfig(),
        help="What is given up when more comes than can be worked on.",
        restart=True,
    )
    store: StoreConfig = setting(StoreConfig(), help="Where everything is kept.", restart=True)
    fit: FitConfig = setting(FitConfig(), help="When the baseline is fitted anew.", restart=True)
    baseline: BaselineConfig = setting(BaselineConfig(), help="What series are expected by.")
    calendar: CalendarConfig = setting(
        CalendarConfig(),
        help="Whose wall clock seasons follow, and which days are not like others.",
    )
    evaluate: EvaluateConfig = setting(
        EvaluateConfig(), help="How decisions survive a restart.", restart=True
    )
    scoring: ScoringConfig = setting(ScoringConfig(), help="What must be seen before a page.")
    incidents: IncidentsConfig = setting(IncidentsConfig(), help="How pages follow on anomalies.")
    deliver: DeliverConfig = setting(DeliverConfig(), help="How pages get where they must be.")
    senders: SendersConfig = setting(SendersConfig(), help="Where pages go.")
    collect: CollectConfig = setting(
        CollectConfig(), help="Where closed windows are sent, in the role `collect`.", restart=True
    )
    merge: MergeConfig = setting(
        MergeConfig(),
        help="How windows of collectors are merged, in the role `score`.",
        restart=True,
    )
    forward: ForwardConfig = setting(
        ForwardConfig(), help="Where telemetry is handed on to.", restart=True
    )
    web: WebConfig = setting(WebConfig(), help="Pages for people, tools and probes.", restart=True)
    logging: LoggingConfig = setting(LoggingConfig(), help="Logs on standard error.")
    self_telemetry: SelfTelemetryConfig = setting(
        SelfTelemetryConfig(), help="Sentinel's own traces and logs.", restart=True
    )


def load_config(
    path: Path | None, *, environment: Mapping[str, str] | None = None
) -> Loaded[SentinelConfig]:
    """The configuration of a file or folder with its overrides, or the defaults when there is no path.

    Raises:
        ConfigUnreadableError: a file cannot be read.
        ConfigError: anything else is wrong; every fault is in it.
    """
    loaded = load(SentinelConfig, path, environment=environment)
    problems = tls_problems(loaded.config, loaded.origins)
    problems += own_endpoint_problems(
        loaded.config.self_telemetry,
        loaded.config.forward,
        receivers_of(loaded.config),
        loaded.origins,
    )
    problems += own_page_problems(
        loaded.config.scrapers.prometheus, loaded.config.web, loaded.origins
    )
    series, clashes = with_query_windows(
        loaded.config.series, loaded.config.scrapers.prometheus_queries, loaded.origins
    )
    problems += clashes
    problems += model_problems(loaded.config.baseline, loaded.origins)
    problems += calendar_problems(loaded.config.calendar, loaded.origins)
    problems += _role_problems(loaded)
    if problems:
        raise ConfigError(problems)
    if series is not loaded.config.series:
        loaded = dataclasses.replace(
            loaded, config=dataclasses.replace(loaded.config, series=series)
        )
    if odd := query_warnings(
        loaded.config.scrapers.prometheus_queries, loaded.origins, window_s=series.window
    ):
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, *odd))
    if unread := file_warnings(loaded.config, loaded.origins):
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, *unread))
    if strange := _role_warnings(loaded.config):
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, *strange))
    if (
        loaded.config.role is not Role.COLLECT
        and loaded.config.mode is Mode.LIVE
        and loaded.config.senders.is_empty
    ):
        message = "no destination is given: incidents are recorded and shown, and nobody is paged"
        warning = ConfigProblem(path="senders", message=message)
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, warning))
    return loaded


def receivers_of(config: SentinelConfig) -> ReceiversConfig:
    """The ways in that the role has: windows are taken in by a scorer alone."""
    if config.role is Role.SCORE:
        return config.receivers
    closed = dataclasses.replace(config.receivers.windows_http, enabled=False)
    return dataclasses.replace(config.receivers, windows_http=closed)


def _role_problems(loaded: Loaded[SentinelConfig]) -> list[ConfigProblem]:
    config = loaded.config
    return role_problems(
        config.role,
        replicas=config.replicas,
        replica_name=config.replica_name,
        each_replica_scores=config.each_replica_scores,
        collect=config.collect,
        is_listened=config.receivers.windows_http.enabled
        or bool(config.receivers.windows_nats.urls),
        origins=loaded.origins,
    )


def _is_on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _role_warnings(config: SentinelConfig) -> list[ConfigProblem]:
    shared: dict[str, tuple[object, ...]] = {
        # A gateway on loopback is the pod's own: nobody else can ask it, and each has calls of its own.
        "kong": tuple(one for one in config.scrapers.kong if not _is_on_loopback(one.url)),
        "nats": config.scrapers.nats,
        "postgres": config.scrapers.postgres,
        "prometheus_queries": config.scrapers.prometheus_queries,
    }
    return role_warnings(
        config.role,
        shared_scrapers=[f"scrapers.{name}" for name, targets in shared.items() if targets],
        has_destinations=not config.senders.is_empty,
    )
