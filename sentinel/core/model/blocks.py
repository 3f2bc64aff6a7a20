"""Columns on the hot path: T consecutive windows of S series, and what was thought of them.

Every core stage takes blocks: live has T = 1, replay up to a day. Any split of a history into blocks
gives the same result to the last bit, so live, preview and replay are one code path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Reason(IntEnum):
    """Why a verdict is what it is; a column, because "unknown" is an answer of its own, not a zero.

    SCORED is the only reason with a score. All others are "unknown", and why.
    """

    SCORED = 0
    NO_HISTORY = 1
    """The baseline has not seen enough of this series yet."""
    MISSING = 2
    """The window has no value, though the source is heard."""
    BLIND = 3
    """The source is not heard at all: neither zero nor late."""
    TOO_FEW = 4
    """Too few calls in the window for a ratio or a quantile to mean something."""
    NO_SCALE = 5
    """There is an expectation, but not yet a spread to judge by."""
    LATE = 6
    """Data of the source came after its window was closed: neither zero nor blind."""
    YIELDED = 7
    """A quantile of latency whose place is judged by its share of slow calls."""
    SHED = 8
    """Telemetry was turned away under overload, so that how much there was is not known."""
    PARTIAL = 9
    """A collecting sidecar did not tell of its part of the window, so that how much there was is not known."""


LATE_WEIGHT = -1.0
"""The weight of a cell whose data came too late to be counted: how much that was is not known."""
SHED_WEIGHT = -2.0
"""The weight of a cell of which some was turned away under overload: how much that was is not known."""
UNREACHED_WEIGHT = -3.0
"""The weight of a cell of which another system would have told that could not be asked: nothing is known of its source."""
PARTIAL_WEIGHT = -4.0
"""The weight of a cell of which a collecting sidecar did not tell: how much that was is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBlock:
    """Sparse log-linear histograms of the cells of a block, in compressed rows.

    Attributes:
        row: int32[R], cell number t * S + s, ascending.
        offset: int32[R + 1], where each row's buckets begin in `bucket` and `count`.
        bucket: int16[K], bucket numbers, ascending within a row.
        count: int64[K].
    """

    row: NDArray[np.int32]
    offset: NDArray[np.int32]
    bucket: NDArray[np.int16]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBlock:
    """T closed windows of S series; windows are half-open `[start_ns + t * step_ns, + step_ns)`.

    Values are float32 because that is what is stored: what was decided on live can be decided again
    from the store.

    Attributes:
        start_ns: start of the first window (Unix, a multiple of step_ns).
        step_ns: width of a window.
        series: int64[S], ids of the series, distinct, ascending.
        kind: int8[S], `Kind` of each.
        value: float32[T, S]; NaN where the window has none.
        weight: float32[T, S]; calls behind the value, or points behind a gauge's; 0 where none, `LATE_WEIGHT` where
            they came too late, `SHED_WEIGHT` where some were turned away, `UNREACHED_WEIGHT` where who tells of it was not
            reached, `PARTIAL_WEIGHT` where a collector was silent.
        heard: bool[T, S]; whether the series' source was heard in or after the window.
        histograms: of the latency series' cells, where they were kept.
    """

    start_ns: int
    step_ns: int
    series: NDArray[np.int64]
    kind: NDArray[np.int8]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    heard: NDArray[np.bool_]
    histograms: HistogramBlock | None = None

    def __post_init__(self) -> None:
        shape = self.value.shape
        if len(shape) != 2 or shape[1] != len(self.series) or self.kind.shape != self.series.shape:
            msg = f"value has shape {shape} for {len(self.series)} series"
            raise ValueError(msg)
        if self.weight.shape != shape or self.heard.shape != shape:
            msg = f"weight {self.weight.shape} and heard {self.heard.shape} do not match {shape}"
            raise ValueError(msg)
        if self.step_ns <= 0 or self.start_ns % self.step_ns:
            msg = f"start {self.start_ns} is not a multiple of the step {self.step_ns}"
            raise ValueError(msg)

    @property
    def window_count(self) -> int:
        """T, the number of windows."""
        return int(self.value.shape[0])

    @property
    def series_count(self) -> int:
        """S, the number of series."""
        return int(self.value.shape[1])

    @property
    def end_ns(self) -> int:
        """End of the last window."""
        return self.start_ns + self.window_count * self.step_ns

    @property
    def late(self) -> NDArray[np.bool_]:
        """bool[T, S]; whether data came too late to be counted."""
        return np.asarray(self.weight == LATE_WEIGHT)

    def windows(self, first: int, last: int) -> WindowBlock:
        """The windows `[first, last)` as a block of their own; arrays are views, not copies."""
        if first == 0 and last >= len(self.value):
            return self
        return WindowBlock(
            start_ns=self.start_ns + first * self.step_ns,
            step_ns=self.step_ns,
            series=self.series,
            kind=self.kind,
            value=self.value[first:last],
            weight=self.weight[first:last],
            heard=self.heard[first:last],
        )

    def columns(self, first: int, last: int) -> WindowBlock:
        """The series `[first, last)` alone, without histograms; arrays are views, not copies."""
        return WindowBlock(
            start_ns=self.start_ns,
            step_ns=self.step_ns,
            series=self.series[first:last],
            kind=self.kind[first:last],
            value=self.value[:, first:last],
            weight=self.weight[:, first:last],
            heard=self.heard[:, first:last],
        )

    def select(self, wanted: NDArray[np.bool_]) -> WindowBlock:
        """The windows of the wanted series alone, bool[S]; without histograms."""
        return WindowBlock(
            start_ns=self.start_ns,
            step_ns=self.step_ns,
            series=self.series[wanted],
            kind=self.kind[wanted],
            value=self.value[:, wanted],
            weight=self.weight[:, wanted],
            heard=self.heard[:, wanted],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationBlock:
    """What the baseline expects for the windows of a block, before anything of them is seen.

    Attributes:
        start_ns, step_ns, series: as in the `WindowBlock` it belongs to.
        expected: float64[T, S]; the profile, NaN where there is not enough history.
        version: the fit it came from.
        ease: float32[T, S], how many times as far as on an ordinary day values may be from it, at least 1. None
            for 1 everywhere.
    """

    start_ns: int
    step_ns: int
    series: NDArray[np.int64]
    expected: NDArray[np.float64]
    version: int
    ease: NDArray[np.float32] | None = None

    def windows(self, first: int, last: int) -> ExpectationBlock:
        """The windows `[first, last)` as a block of their own; the arrays are views, not copies."""
        if first == 0 and last >= len(self.expected):
            return self
        return ExpectationBlock(
            start_ns=self.start_ns + first * self.step_ns,
            step_ns=self.step_ns,
            series=self.series,
            expected=self.expected[first:last],
            version=self.version,
            ease=None if self.ease is None else self.ease[first:last],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictBlock:
    """What was thought of each window; `score >= 1` exactly when the value is outside the band.

    Attributes:
        start_ns, step_ns, series: as in the `WindowBlock` it belongs to.
        value, weight: float32[T, S]; what was judged, and the calls behind it. A share of few calls is judged
            together with the calls before it; everywhere else these are the windows' own.
        score: float32[T, S]; higher is stranger, 1 is the cut, NaN where unknown.
        expected, lower, upper: float32[T, S]; NaN where unknown.
        direction: int8[T, S]; +1 above what was expected, -1 below, 0 unknown.
        reason: int8[T, S]; a `Reason`.
        horizon_s: int16[T, S], length of the longer horizon whose mean the other columns tell of, 0 for the window
            itself; None where no horizon stands in a window's place.
        lasting: float32[3, T, S], scores of the means of 1, 5 and 30 minutes that are strange and go on, which the values have
            not left again; NaN elsewhere. None where no horizon is strange.
        views: uint8[T, S], `View` bits of what agrees that a window is strange; None where none is.
        gate: uint8[T, S], the `Gate` that stopped a window which stood out; None where none did.
    """

    start_ns: int
    step_ns: int
    series: NDArray[np.int64]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    score: NDArray[np.float32]
    expected: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    direction: NDArray[np.int8]
    reason: NDArray[np.int8]
    horizon_s: NDArray[np.int16] | None = None
    lasting: NDArray[np.float32] | None = None
    views: NDArray[np.uint8] | None = None
    gate: NDArray[np.uint8] | None = None

    @property
    def views_or_none(self) -> NDArray[np.uint8]:
        """`views`, `View.NONE` everywhere where it is left out."""
        return np.zeros(self.score.shape, np.uint8) if self.views is None else self.views

    @property
    def gates_or_none(self) -> NDArray[np.uint8]:
        """`gate`, `Gate.NONE` everywhere where it is left out."""
        return np.zeros(self.score.shape, np.uint8) if self.gate is None else self.gate

    def windows(self, first: int, last: int) -> VerdictBlock:
        """The windows `[first, last)` as a block of their own; arrays are views, not copies."""
        if first == 0 and last >= len(self.score):
            return self
        return VerdictBlock(
            start_ns=self.start_ns + first * self.step_ns,
            step_ns=self.step_ns,
            series=self.series,
            value=self.value[first:last],
            weight=self.weight[first:last],
            score=self.score[first:last],
            expected=self.expected[first:last],
            lower=self.lower[first:last],
            upper=self.upper[first:last],
            direction=self.direction[first:last],
            reason=self.reason[first:last],
            horizon_s=None if self.horizon_s is None else self.horizon_s[first:last],
            lasting=None if self.lasting is None else self.lasting[:, first:last],
            views=None if self.views is None else self.views[first:last],
            gate=None if self.gate is None else self.gate[first:last],
        )
