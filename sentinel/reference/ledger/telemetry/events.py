"""Metrics of what is told to others: the outbox, its relay, and who reads the events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

# (rows that wait, age of the oldest in seconds)
Outbox = tuple[int, float]
_LABEL: Final = "ledger.event.type"


class RelayMetrics:
    """What the relay counts."""

    def __init__(self, meter: Meter, read: Callable[[], Outbox | None]) -> None:
        """Export what `read` last saw of the outbox, and counters that begin at nothing."""
        self._published = meter.create_counter(
            "ledger.events.published", unit="{event}", description="Events stored by the stream."
        )
        self._repeated = meter.create_counter(
            "ledger.events.repeated",
            unit="{event}",
            description="Events that the stream had stored before and recognised.",
        )
        self._dropped = meter.create_counter(
            "ledger.outbox.dropped",
            unit="{event}",
            description="Events dropped because the outbox was full: nobody is told of them.",
        )
        for index, (name, unit) in enumerate(
            (("ledger.outbox.depth", "{event}"), ("ledger.outbox.lag", "s"))
        ):

            def observe(_: CallbackOptions, place: int = index) -> list[Observation]:
                seen = read()
                return [] if seen is None else [Observation(seen[place])]

            meter.create_observable_gauge(name, callbacks=[observe], unit=unit)

    def published(self, kind: str, count: int) -> None:
        """Count events that the stream stored."""
        self._published.add(count, {_LABEL: kind})

    def repeated(self, count: int) -> None:
        """Count events that it had stored before."""
        self._repeated.add(count)

    def dropped(self, count: int) -> None:
        """Count events that nobody will be told of."""
        self._dropped.add(count)


class AnalyticsMetrics:
    """What the analytics consumer counts."""

    def __init__(self, meter: Meter, read: Callable[[], tuple[int, int] | None]) -> None:
        """Export what `read` last saw of the consumer (not delivered, not acknowledged), and counters."""
        self._events = meter.create_counter(
            "ledger.analytics.events",
            unit="{event}",
            description="Events by what became of them: counted, repeated, expired, or why they were unreadable.",
        )
        self._missed = meter.create_counter(
            "ledger.analytics.missed",
            unit="{event}",
            description="Events that the stream let go before they were counted.",
        )

        def observe(_: CallbackOptions) -> list[Observation]:
            seen = read()
            return [] if seen is None else [Observation(sum(seen))]

        meter.create_observable_gauge(
            "ledger.analytics.pending", callbacks=[observe], unit="{event}"
        )

    def counted(self, outcome: str, count: int) -> None:
        """Count events that ended so."""
        if count:
            self._events.add(count, {"ledger.event.outcome": outcome})

    def missed(self, count: int) -> None:
        """Count events that were never delivered."""
        self._missed.add(count)
