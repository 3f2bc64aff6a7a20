"""Past series through the very code that runs live, strictly causally.

Series that say what they are go through one sidecar, with its incidents, its ceiling on pages and its silent sources; each
other one has a service of its own, nothing is known of its source, and no ceiling counts. See `sidecar` for when it
is fitted, and `midnight` for windows that no sidecar has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sentinel.core.baseline import Calendar
from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, Page, Reason, SeriesKey, Transition
from sentinel.pipeline.blind_spots import BlindSpot, BlindSpots
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.replay.grid import (
    DAY_NS,
    Line,
    PlainSeries,
    Service,
    batches,
    block_of,
    by_width,
    in_sidecars,
    kind_of,
    lives_through,
    on_grid,
)
from sentinel.pipeline.replay.midnight import by_midnights
from sentinel.pipeline.replay.rows import (
    ReplayedPage,
    ReplayedStop,
    page_rows,
    stop_rows,
    summary_count,
)
from sentinel.pipeline.replay.sidecar import Baseline, lived
from sentinel.pipeline.replay.stops import StopLog
from sentinel.pipeline.replay.stored import OnDecided
from sentinel.pipeline.replay.windows import watched, watched_always

_STOPS_MAX = 100_000
"""More are counted and not kept."""

_NO_CEILING = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay gives.

    Attributes:
        pages: by series in the order given, then by time; those of sources last.
        scored_count: windows of each series that had a score; one without any was not judged at all.
        stops: what stood out and was not told, by series and time.
        stops_dropped_count: how many of those there were more than are kept.
        blind_spots: by series, what could not be seen at its end.
        sidecar_count: among how many the series that say what they are had to be divided; their ceilings on pages are apart.
        summary_count: pages that stand for others, which a ceiling held back; they are none of `pages`.
    """

    pages: list[ReplayedPage]
    scored_count: dict[str, int]
    stops: list[ReplayedStop]
    stops_dropped_count: int = 0
    blind_spots: dict[str, BlindSpot] = field(default_factory=dict)
    sidecar_count: int = 1
    summary_count: int = 0


def replay(
    series: Iterable[PlainSeries],
    *,
    kind: Kind,
    settings: DecisionSettings,
    models: ModelSettings | None = None,
    calendar: Calendar | None = None,
    drift_ratio: float = DRIFT_RATIO,
    on_decided: OnDecided | None = None,
) -> Replayed:
    """Replay series, each with a name of its own.

    With a calendar, series without a key are replayed together that begin on the same day, and each keeps its true dates; what
    special days differ by is pooled over those.

    Args:
        series: of the past.
        kind: of series without a key.
        settings: what is decided by.
        models: which series are expected by another model than the profile.
        calendar: the wall clock that seasons follow, and its special days; None for UTC without any.
        drift_ratio: how many times the level of four weeks ago is a drift; 0 looks for none.
        on_decided: told of each piece that was decided.

    Raises:
        InputTooLargeError: the time line of a series has too many windows.
    """
    given = list(series)
    found = _Found(given)
    how = _How(
        kind=kind,
        settings=settings,
        baseline=Baseline(
            models=models or ModelSettings(), calendar=calendar, drift_ratio=drift_ratio
        ),
        on_decided=on_decided,
    )
    for step_ns, group in by_width(given).items():
        keeps_dates = calendar is not None
        plain = [on_grid([one], step_ns, keeps_dates=keeps_dates) for one in group if not one.key]
        for batch in batches(plain):
            _replay_batch(batch, step_ns, how, found)
        named = [one for one in group if one.key]
        parts = in_sidecars(named, step_ns, keeps_dates=keeps_dates)
        for part in parts:
            _replay_batch([part], step_ns, how, found)
        found.sidecar_count = max(found.sidecar_count, len(parts))
    return found.replayed()


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How series are replayed; see `replay`."""

    kind: Kind
    settings: DecisionSettings
    baseline: Baseline
    on_decided: OnDecided | None


class _Found:
    """Collects what batches give."""

    def __init__(self, given: Sequence[PlainSeries]) -> None:
        self._order = {one.name: at for at, one in enumerate(given)}
        self._pages: list[ReplayedPage] = []
        self._stops: list[ReplayedStop] = []
        self._dropped_count = 0
        self._scored = Counter({one.name: 0 for one in given})
        self._spots: dict[str, BlindSpot] = {}
        self.sidecar_count = 1
        self.summary_count = 0

    @property
    def room(self) -> int:
        """How many more stops are kept."""
        return _STOPS_MAX - len(self._stops)

    def take(
        self,
        pages: Iterable[ReplayedPage],
        stops: Iterable[ReplayedStop],
        *,
        dropped_count: int,
        scored: Mapping[str, int],
        spots: Mapping[str, BlindSpot],
    ) -> None:
        """Take what a batch gave."""
        self._pages += pages
        self._stops += stops
        self._dropped_count += dropped_count
        self._scored.update(scored)
        self._spots.update(spots)

    def replayed(self) -> Replayed:
        """All of it."""
        last = len(self._order)
        return Replayed(
            pages=sorted(
                self._pages, key=lambda one: (self._order.get(one.series, last), one.start_s)
            ),
            scored_count=dict(self._scored),
            stops=sorted(self._stops, key=lambda one: (self._order[one.series], one.start_s)),
            stops_dropped_count=self._dropped_count,
            blind_spots=self._spots,
            sidecar_count=self.sidecar_count,
            summary_count=self.summary_count,
        )


def _replay_batch(batch: Sequence[Service], step_ns: int, how: _How, found: _Found) -> None:
    """Replay services on one grid."""
    owned = [(str(at), line) for at, service in enumerate(batch) for line in service.lines]
    lines = [line for _, line in owned]
    keys = {
        number: _key(line, service=at, kind=how.kind)
        for number, (at, line) in enumerate(owned, start=1)
    }
    first_day = batch[0].first_day
    settings = how.settings if batch[0].is_named else _of_plain(how.settings, lines, how.kind)
    if lives_through(step_ns):
        start_ns = first_day * DAY_NS
        block = block_of(lines, step_ns, how.kind, start_ns=start_ns)
        windows = (
            watched(block, lines, list(keys.values()))
            if batch[0].is_named
            else watched_always(block, lines)
        )
        decided = lived(windows, keys, settings=settings, baseline=how.baseline)
    else:
        # A day may be no whole number of windows; then dates are counted from the grid's begin.
        start_ns = first_day * DAY_NS if DAY_NS % step_ns == 0 else 0
        calendar = how.baseline.calendar
        if calendar is not None and not start_ns:
            calendar = calendar.moved(first_day)
        decided = by_midnights(
            block_of(lines, step_ns, how.kind, start_ns=start_ns),
            keys,
            settings=settings,
            models=how.baseline.models,
            calendar=calendar,
        )
    log = StopLog(hold_windows=settings.incidents.hold_of(step_ns) // step_ns, runs_max=found.room)
    spots = BlindSpots()
    scored: Counter[int] = Counter()
    transitions: list[Transition] = []
    pages: list[Page] = []
    for piece, decision in decided:
        if how.on_decided is not None:
            how.on_decided(piece, decision)
        transitions += decision.transitions
        pages += decision.pages
        log.note(decision.verdicts)
        spots.note(decision.verdicts)
        counts = np.count_nonzero(decision.verdicts.reason == int(Reason.SCORED), axis=0)
        scored.update(dict(zip(piece.series.tolist(), counts.tolist(), strict=True)))
    found.summary_count += summary_count(pages, transitions)
    names = _Names(keys, lines, start_ns=start_ns, step_ns=step_ns, is_one=batch[0].is_named)
    rows = page_rows(pages, transitions, step_ns=step_ns, settings=settings.incidents, names=names)
    stops = stop_rows(log, step_ns=step_ns, keys=keys, names=names)
    found.take(
        rows,
        stops,
        dropped_count=log.dropped_count,
        scored={names.series(one): count for one, count in scored.items()},
        spots={
            names.series(spot.series_id): spot.moved(first_day - start_ns // DAY_NS)
            for spot in spots.spots()
        },
    )


class _Names:
    """Series by the names they were given, and instants by their samples: dates of a grid may be shifted."""

    def __init__(
        self,
        keys: Mapping[int, SeriesKey],
        lines: Sequence[Line],
        *,
        start_ns: int,
        step_ns: int,
        is_one: bool,
    ) -> None:
        """For the lines of a batch; `is_one` says that they are of one sidecar, which lives until the last of them ends."""
        self._line_of = dict(enumerate(lines, start=1))
        self._start_ns, self._step_ns = start_ns, step_ns
        self._is_one = is_one
        self._of_source: dict[str, list[Line]] = {}
        for series_id, line in self._line_of.items():
            self._of_source.setdefault(keys[series_id].service, []).append(line)

    def series(self, series_id: int) -> str:
        return self._line_of[series_id].series.name

    def source(self, group: str) -> str:
        return group

    def instant_s(self, at_ns: int, series_id: int | None, group: str) -> float:
        # Nothing may be heard of any source; that is told of all of them, and none has that name.
        line = self._of(group)[0] if series_id is None else self._line_of[series_id]
        return line.instant_s((at_ns - self._start_ns) // self._step_ns, self._step_ns)

    def last_s(self, group: str) -> float:
        return max(int(line.series.time_ns[-1]) for line in self._of(group)) / 1e9

    def _of(self, group: str) -> list[Line]:
        every = list(self._line_of.values())
        return every if self._is_one else self._of_source.get(group, every)


def _key(line: Line, *, service: str, kind: Kind) -> SeriesKey:
    """What a series is; one that does not say it has a service of its own."""
    if line.series.key is not None:
        return line.series.key
    signal = kind_of(line.series, kind).name.lower()
    return SeriesKey(service=service, stage="", route=line.series.name, signal=signal)


def _of_plain(settings: DecisionSettings, lines: Sequence[Line], kind: Kind) -> DecisionSettings:
    """Services that have nothing to do with one another have no common ceiling on pages.

    No guard looks at gauges, and without guards a quiet stretch is followed at once.
    """
    incidents = replace(settings.incidents, page_count_max_per_minute=_NO_CEILING)
    if all(kind_of(line.series, kind) is Kind.GAUGE for line in lines):
        incidents = replace(incidents, guards=replace(incidents.guards, enabled=False))
    return replace(settings, incidents=incidents)
