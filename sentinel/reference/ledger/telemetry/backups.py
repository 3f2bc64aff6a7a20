"""What base backups say about themselves: how old the newest is that a server can come back from, and what failed."""

from __future__ import annotations

import time

from opentelemetry.metrics import CallbackOptions, Observation

from sentinel.reference.ledger.telemetry.signals import Telemetry


class BackupSignals:
    """Metrics of whoever takes base backups."""

    def __init__(self, telemetry: Telemetry, *, every_s: float) -> None:
        """Export no age and no number before the archive was looked at: not known is not none."""
        meter = telemetry.meter
        self._every_s = every_s
        self._count: int | None = None
        self._newest_s: float | None = None
        self._taken = meter.create_counter(
            "ledger.backup.taken", unit="{backup}", description="Base backups that were stored."
        )
        self._failed = meter.create_counter(
            "ledger.backup.failed",
            unit="{attempt}",
            description="Attempts to look at the archive, to take a base backup or to remove old ones that failed, by why.",
        )
        self._removed = meter.create_counter(
            "ledger.backup.removed",
            unit="{object}",
            description="Objects of backups and log that no point needs any more and that were removed.",
        )
        meter.create_observable_gauge("ledger.backup.age", callbacks=[self._age], unit="s")
        meter.create_observable_gauge("ledger.backup.every", callbacks=[self._every], unit="s")
        meter.create_observable_gauge(
            "ledger.backup.kept", callbacks=[self._kept], unit="{backup}"
        )

    def took(self) -> None:
        """Count a backup."""
        self._taken.add(1)

    def failed(self, reason: str) -> None:
        """Count an attempt that failed."""
        self._failed.add(1, {"error.type": reason})

    def removed(self, count: int) -> None:
        """Count objects that are gone."""
        self._removed.add(count)

    def found(self, *, count: int, newest_s: float | None) -> None:
        """Note how many backups there are from which a server can come back, and when the newest had ended."""
        self._count = count
        self._newest_s = newest_s

    def _age(self, _: CallbackOptions) -> list[Observation]:
        if self._newest_s is None:
            return []
        return [Observation(max(time.time() - self._newest_s, 0.0))]

    def _every(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(self._every_s)]

    def _kept(self, _: CallbackOptions) -> list[Observation]:
        return [] if self._count is None else [Observation(self._count)]
