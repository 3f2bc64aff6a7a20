"""The verdicts of series as metrics for Prometheus: names, labels and numbers, the same live and written back for the past."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey

SERIES_METRICS = {
    "sentinel_value": "Measured value of the last evaluated window.",
    "sentinel_expected": "Value that was expected for that window.",
    "sentinel_lower": "Lower end of the band of ordinary values.",
    "sentinel_upper": "Upper end of the band of ordinary values.",
    "sentinel_score": "Strangeness; 1 is the edge of the band.",
}
"""Name and help of the verdict metrics, in the order of the page."""

SERIES_LABELS = ("service", "route", "stage", "signal")
"""What tells series apart, in the order of the page."""

_BOUNDS = frozenset({"sentinel_lower", "sentinel_upper"})
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def label_values(key: SeriesKey) -> tuple[str, str, str, str]:
    """The values of `SERIES_LABELS`, as text that can be sent."""
    return (
        _sendable(key.service),
        _sendable(key.route),
        _sendable(key.stage),
        _sendable(key.signal),
    )


def quoted(value: str) -> str:
    """A label's value as it stands on a page, with its quotes."""
    return f'"{value.translate(_ESCAPES)}"'


def has_sample(name: str, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the values of a metric are shown.

    What is unknown has no sample, and neither has a bound that does not exist: a side that nothing is strange on.
    An infinity would be drawn as one, and turn every sum and mean over it into another.
    """
    return np.isfinite(values) if name in _BOUNDS else ~np.isnan(values)


def number_text(value: float) -> str:
    """A number as it stands on a page; nine digits give a float32 back exactly.

    >>> number_text(float(np.float32(0.1))), number_text(float("inf"))
    ('0.100000001', '+Inf')
    """
    if value in {float("inf"), float("-inf")}:
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.9g}"


def _sendable(value: str) -> str:
    # A lone surrogate cannot be sent; it stands for a byte that was not text to begin with.
    return value.encode("utf-8", "replace").decode()
