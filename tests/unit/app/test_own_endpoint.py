"""Goal: what is sent on to an own receiver is refused by the configuration, in every spelling of the address."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.errors import ConfigError

OWN = [
    "http://127.0.0.1:4318",
    "http://localhost:4318/",
    "http://127.1:4318",
    "http://0x7f000001:4318",
    "http://[::ffff:127.0.0.1]:4318",
    "http://0.0.0.0:4318",
    "http://LOCALHOST.:4317",
]


def loaded(folder: Path, endpoint: str, more: str = "") -> str:
    path = folder / "sentinel.yaml"
    path.write_text(f'self_telemetry: {{endpoint: "{endpoint}"}}\n{more}')
    return load_config(path, environment={}).config.self_telemetry.endpoint


@pytest.mark.parametrize("endpoint", OWN)
def test_an_own_receiver_is_refused(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(
        ConfigError, match=r"yaml:1: self_telemetry\.endpoint: is receivers\.otlp_(http|grpc)"
    ):
        loaded(tmp_path, endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:14318", "https://collector.example.com:4318", "http://192.0.2.1:4318"],
)
def test_another_is_not(tmp_path: Path, endpoint: str) -> None:
    assert loaded(tmp_path, endpoint) == endpoint


def test_a_receiver_that_is_switched_off_is_nobodys(tmp_path: Path) -> None:
    off = "receivers: {otlp_http: {enabled: false}}\n"
    assert loaded(tmp_path, OWN[0], off) == OWN[0]


@pytest.mark.parametrize(
    "wrong",
    ["http://me:word@h:1", "ftp://h", "http://h/?a=b"],
)
def test_what_is_no_endpoint_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError):
        loaded(tmp_path, wrong)


def test_what_is_forwarded_to_an_own_receiver_would_go_round_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text(
        'forward: {endpoints: [{name: a, url: "http://192.0.2.1:4318"}, {name: b, url: "http://localhost:4317", protocol: grpc}]}\n'
    )
    with pytest.raises(
        ConfigError, match=r"forward\.endpoints\[1\]\.url: is receivers\.otlp_grpc"
    ):
        load_config(path, environment={})


def test_the_own_page_of_verdicts_would_grow_by_being_scraped(tmp_path: Path) -> None:
    """Every series on it became a series with verdicts of its own, on the same page, up to the cap of series."""
    path = tmp_path / "sentinel.yaml"
    target = "scrapers: {prometheus: [{name: own, url: 'http://%s'}]}\n"
    path.write_text(target % "localhost:9640/metrics/series")
    with pytest.raises(ConfigError, match=r"yaml:1: scrapers\.prometheus\[0\]\.url: is this"):
        load_config(path, environment={})
    for other in ("localhost:9640/metrics", "192.0.2.1:9640/metrics/series"):
        path.write_text(target % other)
        load_config(path, environment={})
