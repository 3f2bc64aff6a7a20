"""What is known of one stage's calls, and who tells of them in the next window: the table of `call_sources`, applied to one stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sentinel.core.model import DistributionPoint, Scope
from sentinel.core.series.settings import HOUR_NS
from sentinel.core.series.streams import Increase

_PRESENCE_WINDOWS = 60
_STEADY_RATIO = 0.9
_MISSED_WINDOWS = 10
HELD_WINDOWS = 15
RETURNED_WINDOWS = 3
_INTERVAL_S = 60.0
"""How often histograms come, until it is known; the SDKs' default."""
_INTERVAL_S_MAX = 300.0
_OVERDUE_INTERVALS = 1.5

Gain = Increase[DistributionPoint]
Family = tuple[object, ...]


@dataclass(slots=True)
class Sender:
    """A process that sends the histograms of a metric; `patience_ns` is how long it was waited for, if that was not enough."""

    last_ns: int
    due_ns: int = 0
    interval_s: float = _INTERVAL_S
    is_timed: bool = False
    patience_ns: int | None = None


@dataclass(slots=True)
class StageCalls:
    """What is known of a stage. Spans that are seen may be left out; `counted_ns` is of those, and of logged calls, that were not."""

    window_ns: int
    by_metrics: bool
    complete: bool = False
    of_page: bool = False
    span_seen_ns: int | None = None
    counted_ns: int | None = None
    presence_ratio: float = 1.0
    presence_windows: int = 1
    returned_windows: int = 0
    report_ns: int = 0
    spans_since_report: float = 0.0
    silence_is_true: bool = False
    held: bool = False
    reported: bool = False
    senders: dict[Family, Sender] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    told_of: set[Scope] = field(default_factory=set)
    gained: set[Scope] = field(default_factory=set)
    rates: dict[Scope, dict[Family, tuple[int, float]]] = field(default_factory=dict)

    def due_ns(self) -> int:
        """Until when the next histogram is not overdue."""
        return max((sender.due_ns for sender in self.senders.values()), default=0)

    def expect(self, sender: Sender) -> None:
        """Know by when its next histogram is overdue."""
        sender.due_ns = sender.last_ns + self.patience_ns(sender)

    def patience_ns(self, sender: Sender) -> int:
        """How long after a histogram of it the next is waited for."""
        return round(_OVERDUE_INTERVALS * sender.interval_s * 1e9) + self.window_ns

    def turn(
        self,
        start_ns: int,
        *,
        span_count: int,
        gains: list[Gain],
        always: bool,
    ) -> list[Gain]:
        """Settle a window; the histograms that count, `always` while they come or by the table of `call_sources`."""
        if always:
            self.by_metrics = self.due_ns() >= start_ns
        if span_count:
            self._see_spans(start_ns, always=always)
        elif (
            not self.by_metrics
            and self._have_gone(start_ns)
            and any(gain.value > 0 and self._is_clear(gain) for gain in gains)
        ):
            self.by_metrics = True
            self.returned_windows = 0
        self._judge_silence(start_ns, span_count=span_count, gains=gains)
        if not self.by_metrics:
            return []
        taken = [gain for gain in gains if self._is_clear(gain)]
        self._note_rates(taken)
        return taken

    def _see_spans(self, start_ns: int, *, always: bool) -> None:
        seen_ns = self.span_seen_ns
        if self.by_metrics and not always:
            recent = seen_ns is not None and start_ns - seen_ns <= HOUR_NS
            self.returned_windows = self.returned_windows + 1 if recent else 1
            if self.returned_windows >= RETURNED_WINDOWS or self.due_ns() < start_ns:
                self.by_metrics = False
                self.rates.clear()
        if seen_ns is not None:
            missed = max((start_ns - seen_ns) // self.window_ns - 1, 0)
            windows = min(self.presence_windows + missed, _PRESENCE_WINDOWS)
            present = self.presence_ratio * max(1 - missed / windows, 0.0)
            self.presence_windows = min(windows + 1, _PRESENCE_WINDOWS)
            self.presence_ratio = present + (1 - present) / self.presence_windows
        self.span_seen_ns = start_ns
        if not self.by_metrics:
            self.counted_ns = start_ns

    def _have_gone(self, start_ns: int) -> bool:
        """Whether spans are gone for much longer than usual."""
        if self.span_seen_ns is None:
            return True
        gone_ns = start_ns - self.span_seen_ns
        missed = gone_ns / self.window_ns * self.presence_ratio
        return missed >= _MISSED_WINDOWS or gone_ns >= HOUR_NS

    def _is_clear(self, gain: Gain) -> bool:
        """Whether no span and no logged call was counted in the time a histogram is about."""
        if self.counted_ns is None:
            return True
        began_ns = gain.point.time_ns - round(gain.interval_s * 1e9)
        return began_ns >= self.counted_ns + self.window_ns

    def _judge_silence(self, start_ns: int, *, span_count: int, gains: list[Gain]) -> None:
        seen_ns = self.span_seen_ns
        self.spans_since_report += span_count
        if span_count:
            self.silence_is_true = False
        if self.reported:
            report_ns = max(sender.last_ns for sender in self.senders.values())
            interval_ns = report_ns - self.report_ns
            silent_ns = 0 if seen_ns is None else report_ns - seen_ns - self.window_ns
            # A report that came just after the last span has nothing to say about the silence.
            if not span_count and silent_ns >= min(self.window_ns, interval_ns) > 0:
                gained = sum(gain.value for gain in gains)
                unseen = gained * min(silent_ns / interval_ns, 1.0)
                self.silence_is_true = gained - self.spans_since_report <= unseen / 2
            self.report_ns = report_ns
            # Spans of the window that are later than the report are part of the next; where in it is not known.
            after_ratio = max(start_ns + self.window_ns - report_ns, 0) / self.window_ns
            self.spans_since_report = span_count * after_ratio
        self.held = (
            not self.by_metrics
            and not span_count
            and not self.silence_is_true
            and self.presence_ratio >= _STEADY_RATIO
            and self.due_ns() >= start_ns
            and seen_ns is not None
            and start_ns - seen_ns <= HELD_WINDOWS * self.window_ns
        )

    def _note_rates(self, gains: list[Gain]) -> None:
        interval_s: dict[Family, float] = {}
        for gain in gains:
            family = gain.point.stream.family
            interval_s[family] = max(interval_s.get(family, 0.0), gain.interval_s)
        for family, seconds in interval_s.items():
            if seconds > 0:
                self.senders[family].interval_s = min(seconds, _INTERVAL_S_MAX)
                self.senders[family].is_timed = True
                self.expect(self.senders[family])
        rates: dict[tuple[Scope, Family], list[float]] = {}
        for gain in gains:
            # A stream that began inside an interval was silent in the rest of it.
            family = gain.point.stream.family
            seconds = max(interval_s[family], self.window_ns / 1e9)
            patience_ns = self.senders[family].patience_ns
            was_away = (
                patience_ns is not None
                and gain.point.of_page
                and gain.interval_s * 1e9 > patience_ns
            )
            rates.setdefault((gain.point.scope, family), []).append(
                math.nan if was_away else gain.value / seconds
            )
        for (scope, family), parts in rates.items():
            self.gained.add(scope)
            known = self.rates.setdefault(scope, {})
            known[family] = (self.senders[family].last_ns, math.fsum(parts))
