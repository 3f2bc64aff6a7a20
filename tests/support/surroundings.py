"""What a component is handed, for tests."""

from __future__ import annotations

import logging

from sentinel.ports import Clock
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from tests.support.clock import ManualClock


def make_surroundings(clock: Clock | None = None) -> Surroundings:
    """A manual clock unless another is given, fresh metrics of the whole catalogue, and a plain logger."""
    return Surroundings(
        clock=clock or ManualClock(),
        metrics=Metrics(CATALOGUE),
        logger=logging.getLogger("sentinel.tests"),
    )
