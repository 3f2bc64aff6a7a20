"""Values of series that another system has worked out for a window: taken as they are, and never added up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model.series import SeriesKey


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredColumns:
    """What one source says of one window, one row a series.

    A source that answered and leaves a series out says that there is no value, not that it is 0.

    Attributes:
        source: who was asked; the same from window to window.
        start_ns: start of the window (Unix, a multiple of step_ns).
        step_ns: its width.
        keys: the series, distinct; of traffic, errors, latency and slow calls the signal says what is meant.
        value: float64[n], finite.
        weight: float64[n], >= 0; calls behind each value, 1 for a gauge.
    """

    source: str
    start_ns: int
    step_ns: int
    keys: tuple[SeriesKey, ...]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def end_ns(self) -> int:
        """Its end."""
        return self.start_ns + self.step_ns
