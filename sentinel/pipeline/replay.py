"""Past series through the very code that runs live, strictly causally.

A series is put on the grid of its own median step. Series of one step share blocks, each on its own time
line: dates are shifted by whole days so that they begin together, the time of day stays true. The profile
is fitted at the beginning of each day from medians of what came before, as the fitting child would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, fit_profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import (
    Kind,
    Reason,
    SeriesKey,
    Transition,
    TransitionKind,
    WindowBlock,
)
from sentinel.core.scoring import ScoringSettings
from sentinel.core.stats.ordering import median_of_rows
from sentinel.errors import InputTooLargeError

DAY_NS = 86_400_000_000_000
_GROUP_SERIES = 64
_CELLS_MAX = 100_000_000
_UNKNOWN_CALLS = 1e6
"""A plain series does not say how many calls stand behind a value; it is taken to be enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSeries:
    """One series of the past, by itself.

    Attributes:
        name: what its pages are told apart by.
        time_ns: int64[n], ascending.
        value: float64[n]; NaN where missing.
    """

    name: str
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]

    @property
    def step_ns(self) -> int:
        """The median step, at least a second."""
        return max(1_000_000_000, int(np.median(np.diff(self.time_ns))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedPage:
    """A page that would have gone out.

    Attributes:
        series: name of the series.
        start_s: instant of the sample that tripped (Unix seconds).
        end_s: when it resolved, or the last sample.
        score, direction, expected, value: of the strangest window so far; direction is +1 or -1.
    """

    series: str
    start_s: float
    end_s: float
    score: float
    direction: int
    expected: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay gives.

    Attributes:
        pages: by series in the order given, then by time.
        scored_count: windows of each series that had a score; one without any was not judged at all.
    """

    pages: list[ReplayedPage]
    scored_count: dict[str, int]


def replay_settings(scoring: ScoringSettings) -> DecisionSettings:
    """Settings for a replay of plain series: no guards, no cap, and no page but openings and reminders."""
    return DecisionSettings(
        scoring=scoring,
        incidents=IncidentSettings(
            worsen_score_ratio=0.0,
            worsen_stages=False,
            page_count_max_per_minute=10**9,
            guards=GuardSettings(enabled=False),
        ),
    )


def replay(series: Iterable[PlainSeries], *, kind: Kind, settings: DecisionSettings) -> Replayed:
    """Replay plain series, each with a name of its own."""
    given = list(series)
    pages: dict[str, list[ReplayedPage]] = {one.name: [] for one in given}
    scored_count = dict.fromkeys(pages, 0)
    by_step: dict[int, list[PlainSeries]] = {}
    for one in given:
        if len(one.time_ns) >= 2:
            by_step.setdefault(one.step_ns, []).append(one)
    for step_ns, group in by_step.items():
        # Long series together, so that short ones are not padded to their length.
        ordered = sorted(group, key=lambda one: len(one.time_ns))
        for first in range(0, len(ordered), _GROUP_SERIES):
            some = ordered[first : first + _GROUP_SERIES]
            for line, own, scored in _replay_group(some, step_ns, kind, settings):
                pages[line.series.name].extend(_pages_of(line, own, step_ns))
                scored_count[line.series.name] = scored
    return Replayed(
        pages=[
            page for found in pages.values() for page in sorted(found, key=lambda p: p.start_s)
        ],
        scored_count=scored_count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A series and where its samples lie on the shared time line."""

    series: PlainSeries
    window: NDArray[np.int64]

    @classmethod
    def of(cls, series: PlainSeries, step_ns: int) -> _Line:
        from_midnight = series.time_ns[0] % DAY_NS // step_ns
        window = from_midnight + (series.time_ns - series.time_ns[0]) // step_ns
        return cls(series=series, window=window)

    def instant_s(self, window: int, step_ns: int) -> float:
        """Instant of the sample in a window; where there is none, of the window's start."""
        at = int(np.searchsorted(self.window, window, side="right")) - 1
        here = max(at, 0)
        missing = (window - int(self.window[here])) * step_ns
        return (int(self.series.time_ns[here]) + missing) / 1e9


def _replay_group(
    group: Sequence[PlainSeries], step_ns: int, kind: Kind, settings: DecisionSettings
) -> Iterator[tuple[_Line, list[Transition], int]]:
    """Each series with what happened to it, and how many of its windows had a score."""
    lines = [_Line.of(one, step_ns) for one in group]
    whole = _block(lines, step_ns, kind)
    history = _coarse(whole)
    signal = kind.name.lower()
    keys = {
        at + 1: SeriesKey(service=str(at), stage="", route=line.series.name, signal=signal)
        for at, line in enumerate(lines)
    }
    state = new_decision_state(step_ns=step_ns, settings=settings)
    transitions: list[Transition] = []
    scored = np.zeros(len(lines), np.int64)
    for day in range(-(-whole.end_ns // DAY_NS)):
        start_ns, end_ns = day * DAY_NS, (day + 1) * DAY_NS
        windows = whole.windows(
            -(-start_ns // step_ns), min(-(-end_ns // step_ns), whole.window_count)
        )
        if windows.window_count == 0:
            continue
        profile = fit_profile(history, at_ns=start_ns, version=day)
        decision = decide(state, windows, profile=profile, keys=keys, settings=settings)
        state = decision.state
        transitions.extend(decision.transitions)
        scored += np.count_nonzero(decision.verdicts.reason == int(Reason.SCORED), axis=0)
    for at, line in enumerate(lines):
        own = [change for change in transitions if change.incident.group == str(at)]
        yield line, own, int(scored[at])


def _block(lines: Sequence[_Line], step_ns: int, kind: Kind) -> WindowBlock:
    """All series of a group on one grid; where two samples share a window the later one counts."""
    window_count = max(int(line.window[-1]) for line in lines) + 1
    if window_count * len(lines) > _CELLS_MAX:
        msg = f"{window_count} windows are too many: is the time line of a series broken?"
        raise InputTooLargeError(
            msg, size_bytes=4 * window_count * len(lines), limit_bytes=4 * _CELLS_MAX
        )
    value = np.full((window_count, len(lines)), np.nan, np.float32)
    with np.errstate(over="ignore"):
        for column, line in zip(value.T, lines, strict=True):
            column[line.window] = line.series.value
    # What float32 cannot hold is missing, as it would be when live.
    value[~np.isfinite(value)] = np.nan
    return WindowBlock(
        start_ns=0,
        step_ns=step_ns,
        series=np.arange(1, len(lines) + 1),
        kind=np.full(len(lines), int(kind), np.int8),
        value=value,
        weight=np.full(value.shape, _UNKNOWN_CALLS, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def _coarse(block: WindowBlock) -> WindowBlock:
    """The block's windows in bins of about 5 minutes, each the median of its windows, as history is stored."""
    count = max(1, -(-BIN_NS // block.step_ns))
    if count == 1:
        return block
    bins = block.window_count // count
    shape = (bins, count, block.series_count)
    rows = block.value[: bins * count].reshape(shape).transpose(1, 0, 2)
    value = np.asarray(median_of_rows(rows.copy())[0], dtype=np.float32)
    return WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns * count,
        series=block.series,
        kind=block.kind,
        value=value,
        weight=np.full(value.shape, _UNKNOWN_CALLS * count, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def _pages_of(
    line: _Line, transitions: Sequence[Transition], step_ns: int
) -> Iterator[ReplayedPage]:
    last_s = int(line.series.time_ns[-1]) / 1e9
    ends = {
        change.incident.incident_id: line.instant_s(change.at_ns // step_ns, step_ns)
        for change in transitions
        if change.kind is TransitionKind.RESOLVED
    }
    for change in transitions:
        if change.kind not in {TransitionKind.OPENED, TransitionKind.REMINDED}:
            continue
        member = change.incident.members[0]
        opened = change.kind is TransitionKind.OPENED
        window = (member.first_ns if opened else change.at_ns - step_ns) // step_ns
        yield ReplayedPage(
            series=line.series.name,
            start_s=line.instant_s(window, step_ns),
            end_s=min(ends.get(change.incident.incident_id, last_s), last_s),
            score=member.peak_score,
            direction=member.direction,
            expected=member.expected,
            value=member.value,
        )
