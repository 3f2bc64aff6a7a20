"""How long what was turned away may still come: the same for a program that decides and for one that only collects."""

from __future__ import annotations

from sentinel.app.config import SentinelConfig
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.owed import Owed


def owed_of(config: SentinelConfig, surroundings: Surroundings) -> Owed:
    """What was turned away and may come again."""
    windows = config.series.series_settings()
    return Owed(
        surroundings.clock,
        surroundings.metrics,
        # Every window that may have been told of is closed by then, and senders have caught up.
        hold_s=(windows.window_ns + windows.lateness_ns) / 1e9 + config.overload.settle,
    )
