"""Excursions of a replay that stood out and of which nobody would have been told, and what stopped each.

Windows that follow one another, with no more than the hold of quiet between them, are one excursion. Its gate is the last
that any of its windows came to, for each window names the first that stopped it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from sentinel.core.model import Gate, VerdictBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRun:
    """An excursion of one series that led to no message.

    Attributes:
        series_id: of the series.
        first_window, last_window: numbers of its first and its last window that stood out.
        gate: what stopped it.
        score, value, expected, edge, direction: of its strangest window that came to that gate; the edge is that of the band
            on its side, NaN where none is known.
    """

    series_id: int
    first_window: int
    last_window: int
    gate: Gate
    score: float
    value: float
    expected: float
    edge: float
    direction: int


@dataclass(slots=True, kw_only=True)
class StopLog:
    """Collects them while verdicts come in order; at most `runs_max` are kept, all are counted."""

    hold_windows: int
    runs_max: int
    window_counts: Counter[Gate] = field(default_factory=Counter)
    run_counts: Counter[Gate] = field(default_factory=Counter)
    runs: list[StoppedRun] = field(default_factory=list)
    _open: dict[int, StoppedRun] = field(default_factory=dict)
    dropped_count: int = 0

    def note(self, verdicts: VerdictBlock) -> None:
        """Take the verdicts of the next windows."""
        if verdicts.gate is None:
            return
        first = verdicts.start_ns // verdicts.step_ns
        column, row = np.nonzero(verdicts.gate.T)
        gates = verdicts.gate[row, column]
        for number in np.unique(gates):
            self.window_counts[Gate(int(number))] += int(np.count_nonzero(gates == number))
        high = verdicts.direction[row, column] >= 0
        edge = np.where(high, verdicts.upper[row, column], verdicts.lower[row, column])
        cells = zip(
            verdicts.series[column].tolist(),
            (first + row).tolist(),
            gates.tolist(),
            verdicts.score[row, column].tolist(),
            verdicts.value[row, column].tolist(),
            verdicts.expected[row, column].tolist(),
            edge.tolist(),
            verdicts.direction[row, column].tolist(),
            strict=True,
        )
        for series_id, window, gate, score, value, expected, border, direction in cells:
            self._add(
                StoppedRun(
                    series_id=series_id,
                    first_window=window,
                    last_window=window,
                    gate=Gate(gate),
                    score=score,
                    value=value,
                    expected=expected,
                    edge=border,
                    direction=direction,
                )
            )

    def close(self) -> list[StoppedRun]:
        """All of them, by series and time."""
        for run in self._open.values():
            self._keep(run)
        self._open.clear()
        return sorted(self.runs, key=lambda run: (run.series_id, run.first_window))

    def _add(self, new: StoppedRun) -> None:
        run = self._open.get(new.series_id)
        if run is not None and new.first_window - run.last_window > self.hold_windows:
            self._keep(run)
            run = None
        if run is None:
            self._open[new.series_id] = new
            return
        told = max(run, new, key=lambda one: (one.gate, one.score))
        self._open[new.series_id] = StoppedRun(
            series_id=run.series_id,
            first_window=run.first_window,
            last_window=new.last_window,
            gate=told.gate,
            score=told.score,
            value=told.value,
            expected=told.expected,
            edge=told.edge,
            direction=told.direction,
        )

    def _keep(self, run: StoppedRun) -> None:
        self.run_counts[run.gate] += 1
        if len(self.runs) < self.runs_max:
            self.runs.append(run)
        else:
            self.dropped_count += 1
