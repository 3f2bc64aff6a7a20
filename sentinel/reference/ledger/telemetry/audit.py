"""What the audit says about itself: how far it is, how far behind, and who vouches for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation

from sentinel.reference.ledger.telemetry.signals import Telemetry

AUDIT_SERVICE: Final = "ledger-audit"
WITNESS_SERVICE: Final = "ledger-witness"


@dataclass(slots=True)
class AuditState:
    """What gauges show, as the audit last saw it.

    Attributes:
        lag_s: how long ago the oldest change was committed that is not recorded; 0 when all are.
        unwitnessed_count: entries behind the last checkpoint that the witness signed.
        witnessed_s: Unix time at which the witness had last signed all there was, or of the start; None without a witness.
        slot_lag_bytes: of the write-ahead log, not yet recorded.
        slot_retained_bytes: of the write-ahead log, which the server keeps for the slot.
        slot_safe_bytes: how much more may be written before the slot is lost; None without a limit.
        slot_lost: whether the slot has lost what it needs, or is gone.
    """

    lag_s: float | None = None
    unwitnessed_count: int | None = None
    witnessed_s: float | None = None
    slot_lag_bytes: int | None = None
    slot_retained_bytes: int | None = None
    slot_safe_bytes: int | None = None
    slot_lost: bool | None = None


class AuditSignals:
    """Metrics of the audit's process."""

    def __init__(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        self.state = AuditState()
        self._entries = meter.create_counter(
            "ledger.audit.entries", unit="{entry}", description="Changes signed and recorded."
        )
        self._checkpoints = meter.create_counter(
            "ledger.audit.checkpoints",
            unit="{checkpoint}",
            description="Checkpoints signed; by whether a witness signed as well.",
        )
        self._refused = meter.create_counter(
            "ledger.audit.refused",
            unit="{refusal}",
            description="What the audit or its witness would not go on from, by reason.",
        )
        state = self.state
        for name, unit, read in (
            ("ledger.audit.lag", "s", lambda: state.lag_s),
            ("ledger.audit.unwitnessed", "{entry}", lambda: state.unwitnessed_count),
            ("ledger.audit.unwitnessed.age", "s", lambda: _age_s(state)),
            ("ledger.audit.slot.lag", "By", lambda: state.slot_lag_bytes),
            ("ledger.audit.slot.retained", "By", lambda: state.slot_retained_bytes),
            ("ledger.audit.slot.safe", "By", lambda: state.slot_safe_bytes),
            ("ledger.audit.slot.lost", "{slot}", lambda: _flag(state.slot_lost)),
        ):
            meter.create_observable_gauge(name, callbacks=[_observed(read)], unit=unit)

    def recorded(self, count: int) -> None:
        """Count entries that are in the database for good."""
        self._entries.add(count)

    def checkpoint(self, *, witnessed: bool) -> None:
        """Count a checkpoint."""
        self._checkpoints.add(1, {"ledger.audit.witnessed": witnessed})

    def refused(self, reason: str) -> None:
        """Count a refusal: `slot_lost`, `malformed`, `broken`, or what the witness said."""
        self._refused.add(1, {"ledger.audit.reason": reason})


class ShelfSignals:
    """Metrics of checkpoints on their way into the archive."""

    def __init__(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        self._newest_size = self._stored_size = 0
        self._stored_s: float | None = None
        self._stored = meter.create_counter(
            "ledger.audit.checkpoints.stored",
            unit="{checkpoint}",
            description="Checkpoints that the archive has, by whether it had them already.",
        )
        self._failed = meter.create_counter(
            "ledger.audit.checkpoints.failed",
            unit="{attempt}",
            description="Attempts to store a checkpoint in the archive that failed, by why.",
        )
        meter.create_observable_gauge(
            "ledger.audit.unstored", callbacks=[_observed(self._behind_count)], unit="{entry}"
        )
        meter.create_observable_gauge(
            "ledger.audit.unstored.age", callbacks=[_observed(self._behind_s)], unit="s"
        )

    def newest(self, size: int) -> None:
        """Note of how many entries the newest checkpoint is."""
        if self._stored_s is None:
            self._stored_s = time.time()  # from now on it is waited for
        self._newest_size = size

    def covered(self, size: int) -> None:
        """Note of how many entries the newest one in the archive is."""
        self._stored_size = size
        if size >= self._newest_size:
            self._stored_s = time.time()

    def stored(self, *, fresh: bool) -> None:
        """Count a checkpoint that the archive has now."""
        self._stored.add(1, {"ledger.archive.known": not fresh})

    def failed(self, reason: str) -> None:
        """Count an attempt that failed."""
        self._failed.add(1, {"error.type": reason})

    def _behind_count(self) -> int | None:
        return None if self._stored_s is None else max(self._newest_size - self._stored_size, 0)

    def _behind_s(self) -> float | None:
        if self._stored_s is None:
            return None
        return max(time.time() - self._stored_s, 0.0) if self._behind_count() else 0.0


class WitnessSignals:
    """Metrics of the witness's process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._answers = telemetry.meter.create_counter(
            "ledger.witness.answers",
            unit="{request}",
            description="Checkpoints that were asked to be signed, by what was answered.",
        )

    def answered(self, outcome: str) -> None:
        """Count an answer."""
        self._answers.add(1, {"ledger.witness.outcome": outcome})


def _age_s(state: AuditState) -> float | None:
    if state.witnessed_s is None:
        return None
    return max(time.time() - state.witnessed_s, 0.0) if state.unwitnessed_count else 0.0


def _flag(value: bool | None) -> int | None:  # noqa: FBT001 - it is the value, not a switch
    return None if value is None else int(value)


def _observed(
    read: Callable[[], float | None],
) -> Callable[[CallbackOptions], list[Observation]]:
    def callback(_: CallbackOptions) -> list[Observation]:
        value = read()
        return [] if value is None else [Observation(value)]

    return callback
