"""Metrics of reconciliation: drift must be zero, and it must be known to be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

_CHECK: Final = "ledger.drift.check"


class DriftMetrics:
    """What the last pass found, and how long ago it was."""

    def __init__(self, meter: Meter) -> None:
        """Export nothing of a check that never ended: not known is not zero."""
        self._drift: Mapping[str, tuple[int, int]] = {}
        self._totals: Mapping[str, int] = {}
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._failed = meter.create_counter(
            "ledger.reconcile.failed",
            unit="{pass}",
            description="Passes that could not be made to their end.",
        )
        for place, (name, unit) in enumerate(
            (("ledger.drift.count", "{difference}"), ("ledger.drift.value_minor", "{minor_unit}"))
        ):

            def observe(_: CallbackOptions, at: int = place) -> list[Observation]:
                return [
                    Observation(pair[at], {_CHECK: check}) for check, pair in self._drift.items()
                ]

            meter.create_observable_gauge(name, callbacks=[observe], unit=unit)
        meter.create_observable_gauge("ledger.reconcile.age", callbacks=[self._age], unit="s")
        meter.create_observable_gauge(
            "ledger.reconcile.messages", callbacks=[self._messages], unit="{message}"
        )

    def passed(self, drift: Mapping[str, tuple[int, int]], totals: Mapping[str, int]) -> None:
        """Note what a pass found: (count, value in minor units) by check, and messages by state."""
        self._drift = dict(drift)
        self._totals = dict(totals)
        self._ended_s = time.monotonic()

    def failed(self) -> None:
        """Count a pass that ended early."""
        self._failed.add(1)

    def _age(self, _: CallbackOptions) -> list[Observation]:
        since_s = self._began_s if self._ended_s is None else self._ended_s
        return [Observation(time.monotonic() - since_s)]

    def _messages(self, _: CallbackOptions) -> list[Observation]:
        return [
            Observation(count, {"ledger.message.state": state})
            for state, count in self._totals.items()
        ]
