"""Stored windows of which nobody recorded how they were judged, such as those of a backfill, judged as a sidecar would have.

They go through the replay that previews files: a sidecar in memory that begins with nothing, learns as it goes, and never looks
ahead. So an expectation is what would have been expected then, and not today's baseline painted over the past; the first days have none.

Services are taken in groups, so that memory is bounded by the group and not by the fleet: nothing that is decided about a
series depends on other services, but for what special days of a calendar differ by, which is pooled over those that are replayed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar
from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.past_verdicts.slices import SliceCutter, SliceSink
from sentinel.pipeline.replay import PlainSeries, replay
from sentinel.pipeline.replay.grid import DAY_NS, GAP_MAX_DAYS, by_width
from sentinel.pipeline.replay.stored import StoreView
from sentinel.pipeline.replay.stored_pages import coarse_series
from sentinel.ports import SeriesRow

_CELLS_A_GROUP = 4_000_000
_GAP_NS = (GAP_MAX_DAYS + 7) * DAY_NS
"""A replay shortens gaps of this length and longer, after which it no longer says what time it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How windows are judged of which nobody recorded it.

    Attributes:
        settings: what is decided by.
        models: which series are expected by another model than the profile.
        calendar: the wall clock that seasons follow, and its special days; None for UTC without any.
        drift_ratio: how many times the level of four weeks ago is a drift; 0 looks for none.
    """

    settings: DecisionSettings = field(default_factory=DecisionSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    calendar: Calendar | None = None
    drift_ratio: float = DRIFT_RATIO


@dataclass(slots=True)
class Judged:
    """What a replay came to.

    Attributes:
        series_count: series that were replayed.
        window_count: windows that were decided, over all series.
        uneven: series left out because a day is no whole number of their windows.
    """

    series_count: int = 0
    window_count: int = 0
    uneven: list[str] = field(default_factory=list)


def judge_unrecorded(
    view: StoreView,
    sink: SliceSink,
    *,
    how: Judging,
    step_ns: int,
    slice_ns: int,
    from_ns: int,
    to_ns: int,
    wanted: NDArray[np.int64],
    begun_ns: int,
    on_group: Callable[[int, int], None],
    cells_a_group: int = _CELLS_A_GROUP,
) -> Judged:
    """Replay the stored windows of one width, and hand on the verdicts of `[from_ns, to_ns)` group by group.

    Args:
        view: the store.
        sink: where slices go; those of one group in order of time, then those of the next.
        how: what is decided by.
        step_ns: width of the stored windows.
        slice_ns: length of a slice.
        from_ns: no sample before it is handed on; what was before it is learned from.
        to_ns: every sample is before it.
        wanted: int64[S], ascending, the series that are handed on; whole services are replayed.
        begun_ns: start of the first stored window.
        on_group: told how many series are done, of how many.
        cells_a_group: how many windows, of all its series, a group may have, unless it is one service.

    Raises:
        InputTooLargeError: a single service has too many windows.
    """
    found = Judged()
    window_count = max(1, (to_ns - begun_ns) // step_ns)
    rows = _whole_services(view.series(), wanted)
    for group in _groups(rows, max(1, cells_a_group // window_count)):
        ids = {row.key: row.series_id for row in group}
        series = coarse_series(
            view, step_ns=step_ns, start_ns=0, end_ns=to_ns, series=set(ids.values())
        )
        for width_ns, even in _replayable(series):
            if DAY_NS % width_ns:
                found.uneven += [one.name for one in even]
                continue
            cutter = SliceCutter(
                sink,
                slice_ns=slice_ns,
                from_ns=from_ns,
                to_ns=to_ns,
                series=wanted,
                # A replay numbers series from 1 on.
                ids={at: ids[one.key] for at, one in enumerate(even, start=1) if one.key},
            )
            replay(
                even,
                kind=Kind.GAUGE,
                settings=how.settings,
                models=how.models,
                calendar=how.calendar,
                drift_ratio=how.drift_ratio,
                on_decided=cutter.note,
            )
            cutter.finish()
            found.window_count += sum(one.time_ns.size for one in even)
        found.series_count += len(series)
        on_group(len(group), len(rows))
    return found


def _whole_services(rows: Sequence[SeriesRow], wanted: NDArray[np.int64]) -> list[SeriesRow]:
    """Every series of the services that have a wanted one: whether a source was heard is seen by all of them."""
    services = {row.key.service for row in rows if np.isin(row.series_id, wanted)}
    return sorted(
        (row for row in rows if row.key.service in services),
        key=lambda row: (row.key.service, row.series_id),
    )


def _groups(rows: Sequence[SeriesRow], series_max: int) -> Iterator[list[SeriesRow]]:
    """The rows, sorted by service, in groups of whole services."""
    group: list[SeriesRow] = []
    services: dict[str, list[SeriesRow]] = {}
    for row in rows:
        services.setdefault(row.key.service, []).append(row)
    for own in services.values():
        if group and len(group) + len(own) > series_max:
            yield group
            group = []
        group = [*group, *own]
    if group:
        yield group


def _replayable(series: Sequence[PlainSeries]) -> Iterator[tuple[int, list[PlainSeries]]]:
    """The series by the width of their windows, in stretches of time without a gap that a replay would shorten.

    Nothing a replay looks at reaches over such a gap.
    """
    for width_ns, even in by_width(series).items():
        stretches = list(_stretches(even))
        if len(stretches) == 1:
            yield width_ns, stretches[0]
        else:
            # A stretch may have another width than the whole.
            for one in stretches:
                yield from _replayable(one)


def _stretches(series: Sequence[PlainSeries]) -> Iterator[list[PlainSeries]]:
    """The series between their common gaps."""
    times = np.unique(np.concatenate([one.time_ns for one in series]))
    cuts = times[1:][np.diff(times) >= _GAP_NS].tolist()
    for first_ns, last_ns in zip([-(2**63), *cuts], [*cuts, 2**63 - 1], strict=True):
        inside = []
        for one in series:
            part = slice(*np.searchsorted(one.time_ns, [first_ns, last_ns]).tolist())
            if one.time_ns[part].size >= 2:
                inside.append(_part(one, part))
        if inside:
            yield inside


def _part(series: PlainSeries, part: slice) -> PlainSeries:
    weight = series.weight
    return PlainSeries(
        name=series.name,
        time_ns=series.time_ns[part],
        value=series.value[part],
        weight=None if weight is None else weight[part],
        key=series.key,
    )
