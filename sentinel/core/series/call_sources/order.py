"""Who tells of a stage's calls: its spans, or the histograms of their durations.

Instrumentations may send both, and each call would be counted twice. So of each service and stage one source counts.

| who counts now | what comes | then |
|---|---|---|
| nobody yet | spans, or a histogram without them | that one counts |
| spans | histograms | they are left out |
| spans, gone much longer than usual | a histogram that gained calls over a time without any span | histograms count |
| histograms | spans in a few windows of an hour, or any while no histogram is due | spans count |
| anybody | histograms that say they count every call (`DistributionPoint.complete`), and no complete log | they count while they come |

Calls that a complete log tells of (`complete_calls`) are spans here: they come one by one.

A histogram is taken only for a time in which no span was counted, and spans begin to count at a window's start, so no
call is counted by both. "Much longer than usual" is ten times as long as the share of windows with spans lets expect,
or an hour: a stage whose traces are sampled keeps its spans, and is not read now low, now high.

What is not known has no value, rather than 0:

- Histograms come once a minute or so. Between two of them, and until the next is overdue, their places have no value.
  A sender that does not know when the next comes says so meanwhile (`DistributionPoint.pending`).
- When a page of metrics is overdue and no span tells of the stage, nobody knows of its calls, though its service may be
  heard: there is no value until the page is back. One that is pushed is overdue, too, when its process is gone: that is 0.
- What a page gained over a time in which it was overdue is calls, and no rate of any window: traffic has no value there.
- When spans that came in nearly every window stop while histograms still come, either calls stopped or tracing did.
  The next histogram tells: with no more calls than spans were seen, the windows are 0 from then on; with more, they
  have no value until the histograms count, for `HELD_WINDOWS` windows at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from sentinel.core.model import DistributionPoint, Scope
from sentinel.core.series.call_sources.stage_calls import Gain, Sender, StageCalls
from sentinel.core.series.settings import HOUR_NS, CallsFromMetrics

_SENDERS_MAX = 4096


class Stage(NamedTuple):
    """A stage of a service."""

    service: str
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the calls of one window are made of.

    Attributes:
        gains: the histograms that count.
        left_out: stages whose spans do not.
        twice_from_metrics, twice_from_spans: calls left out, because the other source tells of them.
        given_up: calls of histograms given up, because too many processes send them.
    """

    gains: tuple[Gain, ...] = ()
    left_out: frozenset[Stage] = frozenset()
    twice_from_metrics: int = 0
    twice_from_spans: int = 0
    given_up: int = 0


class CallSources:
    """The stages that send histograms of calls; one that sends none takes no room here."""

    def __init__(self, mode: CallsFromMetrics, *, window_ns: int) -> None:
        self._mode = mode
        self._window_ns = window_ns
        self._sources: dict[Stage, StageCalls] = {}
        self._sender_count = 0

    def __bool__(self) -> bool:
        return bool(self._sources)

    def settle(
        self,
        start_ns: int,
        *,
        points: Sequence[DistributionPoint],
        gains: Sequence[Gain],
        spans: Mapping[Stage, int],
        span_seen_ns: Mapping[Stage, int],
        logged_ns: Mapping[Stage, int],
        told_wholly: Set[Stage] = frozenset(),
    ) -> Settled:
        """Decide what counts in the window at `start_ns`.

        Args:
            start_ns: its start; windows come in order.
            points: its histograms of calls.
            gains: what they gained.
            spans: how many of its calls spans tell of, by stage.
            span_seen_ns: the last window with spans before it, by stage.
            logged_ns: the last window before it whose logged calls counted, by stage.
            told_wholly: stages whose spans are in truth the calls of a complete log.
        """
        for source in self._sources.values():
            source.reported = False
            source.told_of.clear()
            source.gained.clear()
            for sender in source.senders.values():
                sender.patience_ns = None
        for point in points:
            if point.pending:
                self._await(point)
                continue
            self._hear(point, spans=spans, span_seen_ns=span_seen_ns, start_ns=start_ns)
        for stage, counted_ns in logged_ns.items():
            if (told_by_logs := self._sources.get(stage)) is not None:
                told_by_logs.counted_ns = max(counted_ns, told_by_logs.counted_ns or 0)
        by_stage: dict[Stage, list[Gain]] = {stage: [] for stage in self._sources}
        twice = given_up = 0
        for gain in gains:
            stage = stage_of(gain.point.scope)
            known = self._sources.get(stage)
            if known is None or gain.point.stream.family not in known.senders:
                given_up += round(gain.value)
            elif known.signals.get(gain.point.newer_signal, 0) >= start_ns:
                twice += round(gain.value)
            else:
                by_stage[stage].append(gain)
        counted: list[Gain] = []
        left_out: set[Stage] = set()
        for stage, source in self._sources.items():
            span_count = spans.get(stage, 0)
            own = by_stage[stage]
            taken = source.turn(
                start_ns,
                span_count=span_count,
                gains=own,
                always=self._mode is CallsFromMetrics.ALWAYS
                or (source.complete and stage not in told_wholly),
            )
            counted += taken
            twice += round(sum(gain.value for gain in own) - sum(gain.value for gain in taken))
            if span_count and source.by_metrics:
                left_out.add(stage)
        return Settled(
            gains=tuple(counted),
            left_out=frozenset(left_out),
            twice_from_metrics=twice,
            twice_from_spans=sum(spans[stage] for stage in left_out),
            given_up=given_up,
        )

    def reported(self) -> frozenset[Stage]:
        """The stages of which histograms came in the window just settled."""
        return frozenset(stage for stage, source in self._sources.items() if source.reported)

    def told_ns(self) -> dict[Stage, int]:
        """When the last histogram of each stage came."""
        return {
            stage: max(sender.last_ns for sender in source.senders.values())
            for stage, source in self._sources.items()
        }

    def reading(self, scope: Scope, start_ns: int) -> tuple[float, bool] | None:
        """Traffic of a place in the window just settled and whether it was heard; None: as its calls say."""
        source = self._sources.get(stage_of(scope))
        if source is None or not (source.by_metrics or source.held):
            return None
        if source.held:
            return math.nan, True
        # Of each process the last interval counts, until its next: their histograms do not come at the same time.
        rate = math.fsum(
            rate
            for family, (time_ns, rate) in source.rates.get(scope, {}).items()
            if (sender := source.senders.get(family)) is not None
            and sender.last_ns == time_ns
            and sender.due_ns >= start_ns
        )
        if scope in source.gained:
            return rate, True
        # Its process reported and left it out, so there was nothing; a report of it without a gain is another matter.
        if source.reported and rate == 0.0 and scope not in source.told_of:
            return 0.0, True
        return (math.nan, True) if source.due_ns() >= start_ns else None

    def is_lost(self, scope: Scope, start_ns: int) -> bool:
        """Whether nobody tells of a place's calls: the page that told of them is overdue, and no spans came beside it."""
        source = self._sources.get(stage_of(scope))
        if source is None or not source.of_page or source.due_ns() >= start_ns:
            return False
        return source.span_seen_ns is None or start_ns - source.span_seen_ns > HOUR_NS

    def tell_of(self, scope: Scope) -> bool:
        """Whether histograms count at this place."""
        source = self._sources.get(stage_of(scope))
        return source is not None and source.by_metrics

    def set_back(self) -> None:
        """Begin anew, because the clock by which all was noted was wrong."""
        self._sources.clear()
        self._sender_count = 0

    def forget_idle(self, before_ns: int, *, pages_before_ns: int) -> None:
        """Forget processes that sent no histogram since, and stages that have none left.

        A stage that pages alone told of is known as long as its places are, by the last that came: they have no value meanwhile.
        """
        for stage, source in list(self._sources.items()):
            idle = [key for key, each in source.senders.items() if each.due_ns < before_ns]
            seen_ns = source.span_seen_ns
            if (
                len(idle) == len(source.senders)
                and source.of_page
                and source.due_ns() >= pages_before_ns
                and (seen_ns is None or seen_ns < before_ns)
            ):
                idle.remove(max(idle, key=lambda key: source.senders[key].due_ns))
            for family in idle:
                del source.senders[family]
                self._sender_count -= 1
            source.rates = {
                scope: kept
                for scope, rates in source.rates.items()
                if (kept := {key: rate for key, rate in rates.items() if key in source.senders})
            }
            if not source.senders:
                del self._sources[stage]

    def _hear(
        self,
        point: DistributionPoint,
        *,
        spans: Mapping[Stage, int],
        span_seen_ns: Mapping[Stage, int],
        start_ns: int,
    ) -> None:
        stage = stage_of(point.scope)
        source = self._sources.get(stage)
        family = point.stream.family
        sender = source.senders.get(family) if source is not None else None
        if sender is None:
            if self._sender_count >= _SENDERS_MAX:
                return
            self._sender_count += 1
            sender = Sender(last_ns=point.time_ns)
        if source is None:
            seen_ns = span_seen_ns.get(stage)
            if seen_ns is not None and seen_ns < start_ns - HOUR_NS:
                seen_ns = None
            source = self._sources[stage] = StageCalls(
                window_ns=self._window_ns,
                by_metrics=seen_ns is None and not spans.get(stage),
                span_seen_ns=seen_ns,
                counted_ns=seen_ns,
            )
        source.senders[family] = sender
        source.reported = True
        source.complete = point.complete
        source.of_page = point.of_page
        source.told_of.add(point.scope)
        if sender.is_timed and sender.due_ns < start_ns:
            sender.patience_ns = source.patience_ns(sender)
        sender.last_ns = max(sender.last_ns, point.time_ns)
        source.expect(sender)
        source.signals[point.signal] = max(source.signals.get(point.signal, 0), sender.due_ns)

    def _await(self, point: DistributionPoint) -> None:
        """Its next histogram is not overdue, for it was just said that it is still to come."""
        source = self._sources.get(stage_of(point.scope))
        sender = source.senders.get(point.stream.family) if source is not None else None
        if source is not None and sender is not None:
            sender.due_ns = max(sender.due_ns, point.time_ns + source.patience_ns(sender))
            source.signals[point.signal] = max(source.signals.get(point.signal, 0), sender.due_ns)


def stage_of(scope: Scope) -> Stage:
    """The stage a place belongs to."""
    return Stage(scope.service, scope.stage)
