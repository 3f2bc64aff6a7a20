"""Metrics of what is told to others: the outbox, its relay, and who reads the events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

# (rows that wait, age of the oldest in seconds)
Outbox = tuple[int, float]
_LABEL: Final = "ledger.event.type"
_READERS_COUNT_MAX: Final = 16


class RelayMetrics:
    """What the relay counts."""

    def __init__(
        self,
        meter: Meter,
        read: Callable[[], Outbox | None],
        unread: Callable[[], Mapping[str, float]],
    ) -> None:
        """Export counters, and what was last seen.

        Args:
            meter: makes the instruments.
            read: the outbox; None where it is not known.
            unread: what each reader of the events has not read, as a share of what the stream can hold.
        """
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

        def shares(_: CallbackOptions) -> list[Observation]:
            # Whoever may make readers on the stream names them: the fullest, where they are too many.
            fullest = sorted(unread().items(), key=lambda one: -one[1])[:_READERS_COUNT_MAX]
            return [Observation(share, {"ledger.event.reader": name}) for name, share in fullest]

        meter.create_observable_gauge(
            "ledger.events.unread",
            callbacks=[shares],
            unit="1",
            description="What waits for a reader of the events, as a share of what the stream can hold; at 1 it loses the oldest.",
        )

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
            description="Events by what became of them: counted, repeated, expired, undecided, or why they were unreadable.",
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
