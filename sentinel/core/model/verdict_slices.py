"""Verdicts of a stretch of the past as samples, each at the end of its window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERDICT_COLUMNS = ("value", "expected", "lower", "upper", "score")
"""What of a `VerdictBlock` is a metric, in the order of the metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSlice:
    """T consecutive windows of S series.

    Attributes:
        start_ns: start of the first window (Unix).
        step_ns: width of a window.
        series: int64[S], ids of the series, distinct, ascending.
        columns: float32[5, T, S], `VERDICT_COLUMNS`; NaN where nothing is known.
    """

    start_ns: int
    step_ns: int
    series: NDArray[np.int64]
    columns: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.columns.shape
        if len(shape) != 3 or (shape[0], shape[2]) != (len(VERDICT_COLUMNS), len(self.series)):
            msg = f"columns have shape {shape} for {len(self.series)} series"
            raise ValueError(msg)

    @property
    def window_count(self) -> int:
        """T, the number of windows."""
        return int(self.columns.shape[1])

    @property
    def end_ns(self) -> int:
        """End of the last window."""
        return self.start_ns + self.window_count * self.step_ns

    @property
    def times_ns(self) -> NDArray[np.int64]:
        """int64[T], when each window's samples are: at its end, as a scrape sees it first."""
        return self.start_ns + self.step_ns * np.arange(1, self.window_count + 1, dtype=np.int64)
