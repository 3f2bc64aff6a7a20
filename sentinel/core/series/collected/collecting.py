"""Batches in, what each window got to know out: the reduction of a sidecar that collects and does not score.

Nothing is concluded here: not which of several sources of a stage's calls counts, not what a counter gained, not which lines
are alike. All that follows from what the other sidecars of the service hear as well, so the scorer does it, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from sentinel.core.model import LogLine, Missing, SampleBatch
from sentinel.core.series.collected.content import (
    LogName,
    PlaceOutcome,
    WindowContent,
    distributions_in_order,
    lines_in_order,
    measured_in_order,
    numbers_in_order,
    pages_in_order,
    plain_call,
)
from sentinel.core.series.collected.counted import counted_by_slot, counted_each
from sentinel.core.series.collected.gists import Gists, gist_of
from sentinel.core.series.collected.pages import page_of, plain_stream
from sentinel.core.series.collected.wire import CollectedWindow, PartKind
from sentinel.core.series.exemplars import NamedCalls
from sentinel.core.series.logs import ROUTE_OTHER
from sentinel.core.series.open_window import Held, OpenWindow
from sentinel.core.series.reduction import Reduction
from sentinel.core.series.settings import SeriesSettings
from sentinel.core.series.windows import Closed

_VERSIONS_MAX = 1000


class Collecting(Reduction[CollectedWindow]):
    """Reduces batches to parts of windows; one thread at a time."""

    def __init__(
        self,
        settings: SeriesSettings,
        *,
        collector: str,
        incarnation: int,
        start_ns: int | None = None,
        qualify: bool = True,
    ) -> None:
        """Make one that has seen nothing.

        Args:
            settings: as of the scorer.
            collector: its name; another one of the service has another.
            incarnation: when this process began (Unix nanoseconds).
            start_ns: as of `Reduction`; by default the window that is running now is the first, because what we see
                of it is a part that others add to.
            qualify: whether targets of metrics pages are this collector's own; else a target of the same name is the
                same for all.
        """
        self._gists = Gists()
        super().__init__(
            settings,
            start_ns=start_ns,
            takes_running=start_ns is None,
            takes_calls_of_logs=True,
            templates=self._gists,
        )
        self._collector = collector
        self._incarnation = incarnation
        self._owner = collector if qualify else ""
        self._sequence = 0
        self._versions: dict[tuple[str, str], int] = {}

    def add(self, batch: SampleBatch, now_ns: int) -> None:
        """Take in a batch that was received at `now_ns`, and which versions its services name."""
        for names in batch.versions:
            if names in self._versions or len(self._versions) < _VERSIONS_MAX:
                self._versions[names] = now_ns
        super().add(batch, now_ns)

    def hello(self, now_ns: int) -> CollectedWindow:
        """What is said at the start: from which window on the scorer is to wait for us."""
        start_ns = self._open.begin(now_ns) * self._settings.window_ns
        return self._part(PartKind.HELLO, start_ns, now_ns, WindowContent())

    def finish(self, now_ns: int) -> Closed[CollectedWindow]:
        """Close all windows that are open, also those that have not ended, and say that nothing follows."""
        self._now_ns = now_ns
        due = self._open.begin(now_ns)
        last = max(self._open.last() or due, now_ns // self._settings.window_ns, due)
        self._open.close_before(last + 1)
        indices: Iterable[int] = range(due, last)
        if last - due > self._settings.burst_window_count:
            indices = self._open.filled_before(last)
        width_ns = self._settings.window_ns
        parts = [
            self._close_window(index, index * width_ns, silence_known=True) for index in indices
        ]
        parts.append(self._close_window(last, last * width_ns, silence_known=True))
        parts[-1] = replace(parts[-1], kind=PartKind.LAST)
        return Closed(windows=tuple(parts), watermark_ns=self.watermark_ns)

    def _close_window(self, index: int, start_ns: int, *, silence_known: bool) -> CollectedWindow:
        window = self._open.take_out(index)
        content = self._content(window, start_ns, self.unknown_of(start_ns))
        self._gists.begin()
        self._versions.clear()
        return self._part(
            PartKind.WINDOW,
            start_ns,
            self._now_ns,
            content,
            silence_known=silence_known,
        )

    def _part(
        self,
        kind: PartKind,
        start_ns: int,
        now_ns: int,
        content: WindowContent,
        *,
        silence_known: bool = True,
    ) -> CollectedWindow:
        part = CollectedWindow(
            collector=self._collector,
            incarnation=self._incarnation,
            sequence=self._sequence,
            kind=kind,
            start_ns=start_ns,
            step_ns=self._settings.window_ns,
            closed_ns=now_ns,
            silence_known=silence_known,
            content=content,
        )
        self._sequence += 1
        return part

    def unknown_of(self, start_ns: int) -> tuple[frozenset[str], frozenset[Missing]]:
        """What was given up of a window, and what of it has not come again."""
        shed, missing = self._unknown.shed_of(start_ns)
        if shed or missing:
            self._counts.shed_windows.update(shed | {one.signal for one in missing})
        return shed, missing

    def _content(
        self,
        window: OpenWindow,
        start_ns: int,
        unknown: tuple[frozenset[str], frozenset[Missing]],
    ) -> WindowContent:
        scopes, gauges = self._live.scopes, self._live.gauges
        calls = counted_by_slot(*window.calls.totals(), lambda slot: scopes.names[slot])
        complete = counted_by_slot(*window.complete.totals(), lambda slot: scopes.names[slot])
        found = [scopes.find(name) for name in {*calls.names, *complete.names}]
        scopes.mark(np.array([slot for slot in found if slot is not None], np.intp), start_ns)
        looked_at = [
            name for slot in window.events.named if (name := gauges.names[slot]) is not None
        ]
        gauges.mark(np.array(sorted(window.events.named), np.intp), start_ns)
        late, late_places = self._live.late_since(start_ns)
        shed, missing = unknown
        return WindowContent(
            calls=calls,
            complete=complete,
            logged=counted_each(
                (call.scope, call.bucket, call.error, count)
                for call, count in window.logs.calls.items()
            ),
            events=counted_by_slot(
                *window.events.counts.totals(),
                lambda slot: gauges.names[slot],
                looked_at=looked_at,
            ),
            rated=frozenset(name for name in looked_at if self._events.is_rated(name)),
            exemplars=self._named_calls(window),
            numbers=numbers_in_order(
                replace(point, stream=plain_stream(point.stream)) for point in window.numbers
            ),
            distributions=distributions_in_order(
                replace(point, stream=plain_stream(point.stream)) for point in window.distributions
            ),
            pages=pages_in_order(
                page_of(columns, collector=self._owner) for columns in window.scraped
            ),
            measured=measured_in_order(window.measured),
            logs=_logs(window),
            lines=lines_in_order(_line(line) for line in window.logs.evidence()),
            heard=dict(sorted(self._live.heard_since(start_ns).items())),
            late=dict(sorted(late.items())),
            late_places=dict(sorted(late_places.items())),
            versions=dict(sorted(self._versions.items())),
            pushed=self._unknown.told_of_since(start_ns - self._settings.idle_ns),
            shed=shed,
            missing=missing,
        )

    def _named_calls(self, window: OpenWindow) -> Mapping[PlaceOutcome, NamedCalls]:
        found: dict[PlaceOutcome, NamedCalls] = {}
        for (slot, failed), named in window.exemplars.items():
            scope = self._live.scopes.names[slot]
            if scope is not None:
                found[PlaceOutcome(scope, failed)] = NamedCalls(
                    first=plain_call(named.first), slowest=plain_call(named.slowest)
                )
        return dict(sorted(found.items()))

    # Nothing is remembered of metrics from one window to the next.

    def _metrics_begin(self) -> None:
        pass

    def _metrics_set_back(self, now_ns: int) -> None:
        pass

    def _metrics_forget(self, start_ns: int, before_ns: int, held: Held) -> None:
        pass


def _logs(window: OpenWindow) -> dict[LogName, int]:
    found: dict[LogName, int] = {}
    for key, count in window.logs.counts.items():
        gist = gist_of(key.route)
        text = gist if gist is not None else "" if key.route == ROUTE_OTHER else key.route
        name = LogName(key.service, text, key.signal, gist is not None)
        found[name] = found.get(name, 0) + count
    return dict(sorted(found.items()))


def _line(line: LogLine) -> LogLine:
    gist = gist_of(line.template)
    return line if gist is None else replace(line, template=gist)
