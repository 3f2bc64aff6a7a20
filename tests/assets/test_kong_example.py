"""Goal: the two sides of deploy/kong agree, and the page about Kong shows what they hold. Method: both are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sentinel.app.config import load_config
from sentinel.receivers.http_log.component import PATH
from sentinel.scrapers.kong import KongSwitch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kong"


def _plugins() -> dict[str, Any]:
    declared = yaml.safe_load((FOLDER / "kong.yml").read_text())
    assert declared["_format_version"] == "3.0"
    return {plugin["name"]: plugin["config"] for plugin in declared["plugins"]}


def test_kong_sends_where_sentinel_listens() -> None:
    config = load_config(FOLDER / "sentinel.yaml", environment={}).config
    plugins = _plugins()
    log = urlsplit(plugins["http-log"]["http_endpoint"])
    assert config.receivers.http_log.enabled
    assert (log.port, log.path) == (config.receivers.http_log.listen.port, PATH)
    traces = urlsplit(plugins["opentelemetry"]["traces_endpoint"])
    assert (traces.port, traces.path) == (config.receivers.otlp_http.listen.port, "/v1/traces")


def test_the_gateway_has_one_name() -> None:
    config = load_config(FOLDER / "sentinel.yaml", environment={}).config
    names = {
        config.receivers.http_log.service,
        *(target.service for target in config.scrapers.kong),
        _plugins()["opentelemetry"]["resource_attributes"]["service.name"],
    }
    assert names == {"kong"}


def test_a_record_comes_before_its_window_closes() -> None:
    config = load_config(FOLDER / "sentinel.yaml", environment={}).config
    assert _plugins()["http-log"]["queue"]["max_coalescing_delay"] < config.series.lateness


def test_every_switch_is_told_of() -> None:
    switched = _plugins()["prometheus"]
    text = (ROOT / "docs" / "components" / "kong.md").read_text()
    for switch in KongSwitch:
        assert f"`{switch.value}`" in text
        if switch is not KongSwitch.PER_CONSUMER:
            assert switched[switch.value] is True
