"""Noise that looks like a system's own: drifts with a memory, and counts that come in bursts."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Powers of the memory stay within this inside one block, so nothing is lost to rounding.
_POWER_MAX: Final = 1e6
# Standard deviation of one call's log duration; a p95 lies 1.645 of it above the median.
_CALL_SPREAD: Final = 0.5
_P95: Final = NormalDist().inv_cdf(0.95)
# The standard error of the log of a sample's p95, times the root of the number of calls.
P95_LOG_ERROR: Final = _CALL_SPREAD * math.sqrt(0.95 * 0.05) / NormalDist().pdf(_P95)
# Up to this many calls the p95 is the slowest of them, which lies lower.
_SLOWEST_COUNT: Final = 20
_SLOWEST: Final = np.array(
    [0.0, 0.0]
    + [NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) for n in range(2, _SLOWEST_COUNT)]
    + [_P95]
)


class Drift:
    """An AR(1) path of standard deviation `spread`, taken piece by piece.

    The memory is a time and not a number of windows, so fine and coarse windows drift alike. How
    the path is cut into pieces changes the values but not their law.
    """

    def __init__(
        self, rng: np.random.Generator, *, spread: float, memory_s: float, step_s: float
    ) -> None:
        self._rng = rng
        self._keep = math.exp(-step_s / memory_s)
        self._shock = spread * math.sqrt(1 - self._keep**2)
        self._value = float(rng.normal(0.0, spread))
        self._block = max(1, int(math.log(_POWER_MAX) * memory_s / step_s))

    def take(self, count: int) -> NDArray[np.float64]:
        """Return the next `count` values."""
        width = min(self._block, count)
        rows = -(-count // width)
        shocks = np.zeros(rows * width)
        shocks[:count] = self._rng.normal(0.0, self._shock, count)
        powers = self._keep ** np.arange(1, width + 1)
        # x[j] = keep^j (x[0] + sum of shock[i] / keep^i): a running sum a row, then row after row.
        path = np.cumsum(shocks.reshape(rows, width) / powers, axis=1) * powers
        value = self._value
        before = np.empty(rows)
        for row, last in enumerate(path[:, -1].tolist()):
            before[row] = value
            value = last + value * powers[-1]
        path += before[:, None] * powers
        flat: NDArray[np.float64] = path.ravel()[:count]
        self._value = float(flat[-1])
        return flat


def bursty_counts(
    rng: np.random.Generator, expected: NDArray[np.float64], burst: float
) -> NDArray[np.int64]:
    """Return counts around `expected`: Poisson whose rate itself varies by `burst`, a ratio.

    Their variance is `expected + (burst * expected) ** 2`, above Poisson's as real arrivals' is.
    """
    shape = 1.0 / burst**2
    return rng.poisson(expected * rng.gamma(shape, 1.0 / shape, expected.size)).astype(np.int64)


def sampled_p95(
    rng: np.random.Generator, p95_s: NDArray[np.float64], calls: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the p95 that `calls` log-normal durations show when the true one is `p95_s`.

    Of few calls it is the slowest, lower and noisier. A window without calls has none: NaN.
    """
    from_median = _SLOWEST[np.minimum(calls, _SLOWEST_COUNT)] - _P95
    error = np.minimum(_CALL_SPREAD, P95_LOG_ERROR / np.sqrt(np.maximum(calls, 1)))
    log_offset = _CALL_SPREAD * from_median + error * rng.normal(0.0, 1.0, calls.size)
    return np.where(calls > 0, p95_s * np.exp(log_offset), np.nan)
