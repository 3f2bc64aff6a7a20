"""The program for a configuration: which one there is depends on the role."""

from __future__ import annotations

import logging

from sentinel.app.build import build
from sentinel.app.collector import Collector
from sentinel.app.config import SentinelConfig
from sentinel.app.program import Program
from sentinel.app.role import Role
from sentinel.ports import Clock
from sentinel.runtime.catalogue import COLLECTOR, SIDECAR
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics


def metrics_of(config: SentinelConfig) -> Metrics:
    """The self-metrics of the role."""
    return Metrics(COLLECTOR if config.role is Role.COLLECT else SIDECAR)


def make_program(
    config: SentinelConfig,
    *,
    clock: Clock,
    logger: logging.Logger,
    metrics: Metrics | None = None,
    config_path: str = "",
) -> Program:
    """The program: one that collects, or one that scores and may collect as well."""
    metrics = metrics or metrics_of(config)
    if config.role is not Role.COLLECT:
        return build(config, clock=clock, logger=logger, metrics=metrics, config_path=config_path)
    return Collector(config, Surroundings(clock=clock, metrics=metrics, logger=logger))
