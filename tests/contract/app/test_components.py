"""Goal: every component that a program is wired of keeps the contract of `runtime.component`.

Method: a whole program in a temporary folder, with every receiver and sender that the registry knows; each component
is taken by its name, those that need the store find it open.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.build import Application, build, components_of
from sentinel.app.config import ReceiversConfig, ScrapersConfig, SendersConfig, SentinelConfig
from sentinel.app.registry import RECEIVERS, SCRAPERS, SENDERS, make_destinations
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.promql import QueryConfig, QueryServerConfig
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.postgres import PostgresTargetConfig
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.senders.alertmanager import AlertmanagerConfig
from sentinel.senders.otlp_forward import EndpointConfig, ForwardConfig
from sentinel.senders.self_telemetry import SelfTelemetryConfig
from sentinel.senders.webhook import WebhookConfig
from tests.support.clock import ManualClock
from tests.support.whole_app import config_of

_NAMES = (
    "pipeline.deliver",
    "pipeline.evaluate",
    "pipeline.fit",
    "pipeline.ingest",
    "pipeline.log_templates",
    "pipeline.overload",
    "receivers.http_log",
    "receivers.log_files",
    "receivers.otlp_grpc",
    "receivers.otlp_http",
    "scrapers.kong",
    "scrapers.nats",
    "scrapers.postgres",
    "scrapers.prometheus",
    "scrapers.prometheus_queries",
    "senders.otlp_forward",
    "senders.self_telemetry",
    "storage.sqlite",
    "web",
)


def whole_config(folder: Path) -> SentinelConfig:
    return replace(
        config_of(folder),
        receivers=ReceiversConfig(
            otlp_http=OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            otlp_grpc=OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
            http_log=HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0)),
            log_files=LogFilesConfig(
                sources=(LogSourceConfig(name="app", paths=(f"{folder}/*.log",)),)
            ),
        ),
        scrapers=ScrapersConfig(
            kong=(KongTargetConfig(url="http://127.0.0.1:1/metrics"),),
            postgres=(PostgresTargetConfig(port=1),),
            nats=(NatsConfig(urls=("http://127.0.0.1:1",)),),
            prometheus=(PrometheusTargetConfig(name="shop", url="http://127.0.0.1:1/metrics"),),
            prometheus_queries=(
                QueryServerConfig(
                    name="main",
                    url="http://127.0.0.1:1",
                    queries=(QueryConfig(signal="traffic", query="up"),),
                ),
            ),
        ),
        senders=SendersConfig(
            alertmanager=AlertmanagerConfig(urls=("http://127.0.0.1:1",)),
            webhooks=(WebhookConfig(name="hook", url="http://127.0.0.1:1/pages"),),
        ),
        self_telemetry=SelfTelemetryConfig(endpoint="http://127.0.0.1:1"),
        forward=ForwardConfig(endpoints=(EndpointConfig(url="http://127.0.0.1:1"),)),
    )


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """Wired and not started."""
    logger = logging.getLogger("sentinel.tests.contract")
    return build(whole_config(tmp_path), clock=ManualClock(), logger=logger)


def test_all_components_are_looked_at(application: Application) -> None:
    assert tuple(sorted(components_of(application))) == _NAMES
    assert {entry.name for entry in RECEIVERS} == set(application.receivers)
    assert {entry.name for entry in SCRAPERS} == set(application.scrapers)
    destinations = make_destinations(application.config.senders)
    assert len({one.name for one in destinations}) == len(destinations) == len(SENDERS)


@pytest.mark.parametrize("name", _NAMES)
async def test_stop_works_without_start(application: Application, name: str) -> None:
    component = components_of(application)[name]
    await component.stop()
    await component.stop()
    assert component.health().status is not HealthStatus.OK


@pytest.mark.parametrize("name", _NAMES)
async def test_it_starts_says_so_and_stops_twice(application: Application, name: str) -> None:
    component = components_of(application)[name]
    before = component.health()
    assert before.status is HealthStatus.FAILING
    assert before.sentence[0].isupper()
    await application.store.start()
    try:
        await component.start()
        running = component.health()
        assert running.status is HealthStatus.OK
        assert running.sentence
        await component.stop()
        await component.stop()
        assert component.health().status is HealthStatus.FAILING
        assert component.health().sentence
    finally:
        await application.store.stop()
