"""The program for a configuration: which one there is depends on the role."""

from __future__ import annotations

import logging

from sentinel.app.build import build
from sentinel.app.collector import Collector
from sentinel.app.config import SentinelConfig
from sentinel.app.program import Program
from sentinel.app.role import Role
from sentinel.ports import Clock
from sentinel.runtime.catalogue import SIDECAR
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics


def make_program(
    config: SentinelConfig, *, clock: Clock, logger: logging.Logger, metrics: Metrics | None = None
) -> Program:
    """The program: one that collects, or one that scores and may collect as well."""
    if config.role is not Role.COLLECT:
        return build(config, clock=clock, logger=logger, metrics=metrics)
    surroundings = Surroundings(clock=clock, metrics=metrics or Metrics(SIDECAR), logger=logger)
    return Collector(config, surroundings)
