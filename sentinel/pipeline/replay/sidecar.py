"""A sidecar in memory that lives through windows of the past: the live chain, its fits and its priming, at the same instants.

It fits at each full hour, once the window that ends there is decided, by the very code of the fitting child: with the windows,
the incidents and the stored state that a child would find then. The fit takes effect one window later, as live. So a sidecar
in shadow that was given these windows, and began to fit at a full hour, decided the same to the last bit.

What no windows say is not here: evidence on pages, data that came too late, people's words, histograms of latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sentinel.core.baseline import Calendar, SpecialDays
from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.evidence import RecentEvidence
from sentinel.core.model import Incident, Kind, SeriesKey, WindowBlock
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.pipeline.fit_history import Learned, learned_of
from sentinel.pipeline.fit_result import Fit
from sentinel.pipeline.fitting import fitted
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.replay.grid import coarse
from sentinel.pipeline.replay.windows import HOUR_NS, WatchedWindows
from sentinel.pipeline.seasons import stored_special_days
from sentinel.pipeline.slow_fit import HourRow
from sentinel.ports import SeriesRow, Snapshot

STATE_INTERVAL_NS = 300_000_000_000
"""How often a sidecar stores what it has learned (`evaluate.snapshot_interval`); a fit finds the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How series are fitted.

    Attributes:
        models: which of them are expected by another model than the profile.
        calendar: the wall clock that seasons follow, and its special days; None for UTC without any.
        drift_ratio: how many times the level of four weeks ago is a drift; 0 looks for none.
    """

    models: ModelSettings = field(default_factory=ModelSettings)
    calendar: Calendar | None = None
    drift_ratio: float = DRIFT_RATIO


def lived(
    windows: WatchedWindows,
    keys: Mapping[int, SeriesKey],
    *,
    settings: DecisionSettings,
    baseline: Baseline,
) -> Iterator[tuple[WindowBlock, Decision]]:
    """Decide the windows piece by piece, in order, from the first that is watched on.

    Args:
        windows: of a width that divides five minutes; the grid begins at midnight.
        keys: names by series id.
        settings: what is decided by.
        baseline: how series are fitted.
    """
    step_ns = windows.block.step_ns
    sidecar = _Sidecar(windows, keys, settings=settings, baseline=baseline)
    per_hour = HOUR_NS // step_ns
    at = windows.first_window
    while at < windows.count:
        hour = min((at // per_hour + 1) * per_hour, windows.count)
        yield from sidecar.decide(at, hour)
        if hour < windows.count:
            sidecar.fit(hour)
        at = hour


class _Sidecar:
    def __init__(
        self,
        windows: WatchedWindows,
        keys: Mapping[int, SeriesKey],
        *,
        settings: DecisionSettings,
        baseline: Baseline,
    ) -> None:
        self._windows = windows
        self._keys = keys
        self._settings = settings
        self._baseline = baseline
        step_ns = windows.block.step_ns
        self._state: DecisionState = new_decision_state(step_ns=step_ns, settings=settings)
        self._store = _Store(windows, keys)
        # Without traces and lines it still says which series moved first.
        self._evidence = RecentEvidence()
        self._fit: Fit | None = None
        self._next: tuple[int, Fit] | None = None
        self._version = 0
        self._learned: Learned | None = None
        self._special: tuple[tuple[int, bytes], SpecialDays] | None = None
        self._per_save = -(-STATE_INTERVAL_NS // step_ns)
        self._save_at = windows.first_window + 1

    def decide(self, first: int, last: int) -> Iterator[tuple[WindowBlock, Decision]]:
        """The windows `[first, last)`, which end no later than the hour."""
        cuts = {last}
        if self._next is not None and self._next[0] < last:
            # The state is stored with the first window that a new fit judges, and from then on in its interval.
            cuts.add(self._next[0])
            self._save_at = self._next[0] + 1
        saved = self._save_at + max(0, last - self._save_at) // self._per_save * self._per_save
        if first < saved <= last:
            cuts.add(saved)
        at = first
        for cut in sorted(cuts):
            if self._next is not None and self._next[0] == at:
                self._adopt(self._next[1])
                self._next = None
            for piece in self._windows.pieces(at, cut):
                decision = decide(
                    self._state,
                    piece,
                    profile=None if self._fit is None else self._fit.profile,
                    keys=self._keys,
                    settings=self._settings,
                    attach=self._evidence.attach,
                )
                self._state = decision.state
                self._store.note(decision)
                yield piece, decision
            if cut == saved:
                self._learned = learned_of(self._state)
                self._save_at = saved + self._per_save
            at = cut

    def fit(self, window: int) -> None:
        """Fit when the window before `window` is decided, as a child would that is asked then."""
        now_ns = self._ns(window)
        self._store.now = window
        found = fitted(
            self._store,
            now_ns=now_ns,
            version=self._version + 1,
            step_ns=self._windows.block.step_ns,
            learned=self._learned,
            settings=self._settings.scoring,
            models=self._baseline.models,
            calendar=self._baseline.calendar,
            drift_ratio=self._baseline.drift_ratio,
            special=self._special_days(now_ns),
        )
        if found is not None:
            self._version += 1
            fit = found.fit(version=self._version, at_ns=self._ns(window + 1))
            self._next = (window + 1, fit)

    def _special_days(self, now_ns: int) -> SpecialDays | None:
        """What a fit would read of the calendar's days: nothing of a day that runs, so once a day is enough."""
        calendar = self._baseline.calendar
        if calendar is None:
            return None
        ids = np.array([row.series_id for row in self._store.series()], np.int64)
        key = (calendar.local_day(now_ns), ids.tobytes())
        if self._special is None or self._special[0] != key:
            found = stored_special_days(self._store, ids, calendar=calendar, now_ns=now_ns)
            self._special = (key, found)
        return self._special[1]

    def _adopt(self, fit: Fit) -> None:
        self._state = fit.primed_state(self._state, settings=self._settings.scoring)
        self._fit = fit.without_rows()

    def _ns(self, window: int) -> int:
        return self._windows.block.start_ns + window * self._windows.block.step_ns


class _Store:
    """What a fitting child would read: of windows before `now` alone."""

    def __init__(self, windows: WatchedWindows, keys: Mapping[int, SeriesKey]) -> None:
        self._windows = windows
        self._keys = keys
        self._history = coarse(windows.block)
        self._incidents: dict[str, Incident] = {}
        self.now = 0

    def note(self, decision: Decision) -> None:
        """Keep incidents as they were last told of."""
        for change in decision.transitions:
            self._incidents[change.incident.incident_id] = change.incident

    def series(self) -> list[SeriesRow]:
        """Every series that was watched by now, by id."""
        block = self._windows.block
        known = self._windows.known_by(self.now)
        now_ns = block.start_ns + self.now * block.step_ns
        return [
            SeriesRow(
                series_id=series_id,
                key=self._keys[series_id],
                kind=Kind(int(block.kind[at])),
                first_seen_ns=0,
                last_seen_ns=now_ns,
            )
            for at, series_id in enumerate(block.series.tolist())
            if known[at]
        ]

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Windows of five minutes that ended by now."""
        history, block = self._history, self._windows.block
        if step_ns != history.step_ns:
            return
        began_ns = block.start_ns + self._windows.history_window * block.step_ns
        now_ns = block.start_ns + self.now * block.step_ns
        first_ns = max(start_ns, began_ns - (began_ns - history.start_ns) % step_ns)
        last_ns = min(end_ns, now_ns)
        first = (first_ns - history.start_ns) // step_ns
        last = min((last_ns - history.start_ns) // step_ns, history.window_count)
        if first >= last:
            return
        there = history.windows(first, last)
        wanted = np.ones(there.series_count, np.bool_)
        if series is not None:
            wanted = np.isin(there.series, np.asarray(series, np.int64))
        yield there if wanted.all() else there.select(wanted)

    def incidents(self, *, limit: int) -> list[Incident]:
        """Newest first."""
        newest = sorted(self._incidents.values(), key=lambda one: -one.opened_ns)
        return newest[:limit]

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """None: what is learned is handed on as it is."""
        del limit
        return []

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """None: of those before only histograms and MSTL say something, and there are none."""
        del limit
        return []

    def histogram_hours(self, *, start_ns: int, end_ns: int) -> list[int]:
        """None: windows hold no histograms."""
        del start_ns, end_ns
        return []

    def histogram_hour(self, start_ns: int) -> HourRow | None:
        """None, as there are none."""
        del start_ns
        return None
