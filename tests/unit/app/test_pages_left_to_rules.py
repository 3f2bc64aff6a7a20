"""Goal: the program says that pages are left to rules in Prometheus exactly where nobody else tells of them.

Method: the wired program for each kind of configuration, not started; its status read.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.build import build
from sentinel.app.config import Mode, SentinelConfig
from sentinel.runtime.clock import SystemClock
from sentinel.senders.alertmanager import AlertmanagerConfig


@pytest.mark.parametrize(
    ("mode", "urls", "left"),
    [
        (Mode.LIVE, (), True),
        (Mode.LIVE, ("http://127.0.0.1:9093",), False),
        (Mode.SHADOW, (), False),
        (Mode.SHADOW, ("http://127.0.0.1:9093",), False),
    ],
)
def test_it_is_said_of_each_configuration(
    mode: Mode, urls: tuple[str, ...], *, left: bool, tmp_path: Path
) -> None:
    config = SentinelConfig()
    config = replace(
        config,
        mode=mode,
        store=replace(config.store, directory=str(tmp_path)),
        senders=replace(config.senders, alertmanager=AlertmanagerConfig(urls=urls)),
    )
    application = build(config, clock=SystemClock(), logger=logging.getLogger("test"))
    assert application.status().pages_left_to_rules is left
