"""What the disburser says about itself: whether the rail answers, and whether anything is due that nobody hands in."""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.metrics import CallbackOptions, Meter, Observation


class DisburseMetrics:
    """Questions to the rail, and how late the latest of what is due is."""

    def __init__(self, meter: Meter, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Export nothing of what is due before the first look: not known is not zero."""
        self._clock = clock
        self._looked_s: float | None = None
        self._overdue_s = 0.0
        self._asked = meter.create_counter(
            "ledger.disbursements.asked",
            unit="{question}",
            description="Questions to the rail, by whether it answered.",
        )
        self._unbooked = meter.create_counter(
            "ledger.disbursements.unbooked",
            unit="{disbursement}",
            description="Disbursements of which the books do not have what the rail has said, by why not.",
        )
        meter.create_observable_gauge(
            "ledger.disbursements.overdue", callbacks=[self._overdue], unit="s"
        )

    def asked(self, *, answered: bool) -> None:
        """Count a question to the rail."""
        self._asked.add(
            1, {"ledger.disbursement.outcome": "answered" if answered else "unanswered"}
        )

    def unbooked(self, reason: str) -> None:
        """Count a disbursement whose step the ledger rejected, or that was not handed in."""
        self._unbooked.add(1, {"ledger.reject.reason": reason})

    def looked(self, overdue_s: float) -> None:
        """Note a look at what is due, and since when the first of it was."""
        self._overdue_s, self._looked_s = max(overdue_s, 0.0), self._clock()

    def _overdue(self, _: CallbackOptions) -> list[Observation]:
        if self._looked_s is None:
            return []
        # While nobody looks, what is due gets later.
        return [Observation(self._overdue_s + self._clock() - self._looked_s)]
