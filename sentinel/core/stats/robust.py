"""Robust linear regression of many series on one design: Huber's M-estimator, a few matrix products for all of them.

The estimate solves `sum_t w_t a_t psi(r_t / s) = 0` with `psi(u) = clip(u, -k, k)`, `r = y - A b` and s the median of |r| over
0.6745 (Huber and Ronchetti, Robust Statistics, 2nd ed., 7.8). It is reached by clipped residuals: what lies beyond k s is
pulled in, the rest is regressed again, `b += P clip(r, -k s, k s)` with `P = (A' W A)^-1 A' W`. P is the same for all series, which makes
a step two matrix products for a thousand of them; weighing each row anew, as is done for one series, would need a
solution for each series and step. Both end at the same estimate. A value that is missing has the residual 0: it pulls nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

HUBER_K = 1.345
"""Of normal noise the estimate is 95 % as sharp as least squares."""
_MAD_OF_NORMAL = 0.6744897501960817


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustFit:
    """Coefficients of S series on K columns.

    Attributes:
        coefficients: float[K, S].
        scale: float[S], the spread of the residuals as that of normal noise; 0 where at least half of them are.
        residual: float[T, S]; NaN where the value is missing.
        step_count: how often was clipped and regressed, of the series that took longest.
    """

    coefficients: NDArray[np.floating]
    scale: NDArray[np.floating]
    residual: NDArray[np.floating]
    step_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A design that series are regressed on, and least squares on it as a matrix.

    Attributes:
        columns: float[T, K].
        projection: float[K, T], `(A' W A)^-1 A' W`.
    """

    columns: NDArray[np.floating]
    projection: NDArray[np.floating]


def regression(
    design: NDArray[np.floating],
    *,
    weight: NDArray[np.floating] | None = None,
    dtype: DTypeLike = np.float64,
) -> Regression:
    """Least squares on a design of full rank.

    Args:
        design: float[T, K].
        weight: float[T], above 0, what each row counts; 1 when absent.
        dtype: in which series are regressed; the matrix itself is found in double precision.
    """
    exact = design.astype(np.float64)
    weighed = exact if weight is None else exact * weight[:, None]
    projection = np.linalg.solve(weighed.T @ exact, weighed.T)
    return Regression(columns=exact.astype(dtype), projection=projection.astype(dtype))


def huber_fit(
    on: Regression,
    value: NDArray[np.floating],
    *,
    scale: NDArray[np.floating] | None = None,
    scale_stride: int = 1,
    step_count_max: int | NDArray[np.integer] = 50,
    tolerance: float = 1e-9,
) -> RobustFit:
    """Fit each column of `value`, outliers pulled in. Each goes as many steps as it needs, whatever the others do.

    Args:
        on: the design, of the same type as the values.
        value: float[T, S]; NaN where missing.
        scale: float[S] to clip by; measured anew at each step when absent.
        scale_stride: every so many rows are looked at for the scale; it should share no factor with a season.
        step_count_max: most steps; of all series, or int[S] of each.
        tolerance: a series is done when no coefficient of it moves by more than this share of what it is clipped at; 0
            goes all steps.

    >>> design = np.stack([np.ones(8), np.arange(8.0)], axis=1)
    >>> value = (design @ [3.0, 2.0] + [0, 0, 0, 0, 0, 0, 0, 90])[:, None]
    >>> huber_fit(regression(design), value).coefficients.round(3).tolist()
    [[3.0], [2.0]]
    """
    there = np.isfinite(value)
    complete = bool(there.all())
    coefficients = on.projection @ (value if complete else _filled(value, there))
    residual = value - on.columns @ coefficients
    most = np.broadcast_to(np.asarray(step_count_max), value.shape[1:])
    steps, moving = 0, np.ones(value.shape[1], np.bool_)
    while (moving := moving & (steps < most)).any():
        measured = _scale(residual[::scale_stride]) if scale is None else scale
        # Where most residuals are 0 nothing would be left to learn from.
        limit = np.where(measured > 0, HUBER_K * measured, np.inf).astype(value.dtype)
        clipped = np.clip(residual, -limit, limit)
        if not complete:
            clipped[~there] = 0
        change = on.projection @ clipped
        if not moving.all():
            change[:, ~moving] = 0
        coefficients += change
        np.matmul(on.columns, coefficients, out=clipped)
        np.subtract(value, clipped, out=residual)
        steps += 1
        moving &= ~(np.abs(change) <= tolerance * limit).all(axis=0)
    found = _scale(residual[::scale_stride]) if scale is None else scale
    return RobustFit(coefficients=coefficients, scale=found, residual=residual, step_count=steps)


def _filled(value: NDArray[np.floating], there: NDArray[np.bool_]) -> NDArray[np.floating]:
    """What is missing as the mean of what is there: the first step begins there, and the end does not depend on it."""
    known = np.where(there, value, 0)
    mean = known.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return np.where(there, value, mean.astype(value.dtype))


def _scale(residual: NDArray[np.floating]) -> NDArray[np.floating]:
    """The median of |r| over 0.6745, down axis 0, NaN left out; 0 of no numbers."""
    size = np.abs(residual).T.copy()
    height = size.shape[1]
    middle = sorted({(height - 1) // 2, height // 2})
    # NaN sorts to the end and spoils a median only where there is some: those columns are counted for themselves.
    count = height - np.count_nonzero(np.isnan(size), axis=1)
    size.partition(middle, axis=1)
    median = (size[:, middle[0]] + size[:, middle[-1]]) / 2
    gappy = np.flatnonzero(count < height)
    if len(gappy):
        rows = np.sort(size[gappy], axis=1)
        found, place = count[gappy], np.arange(len(gappy))
        low = rows[place, np.maximum(found - 1, 0) // 2]
        high = rows[place, np.minimum(found // 2, height - 1)]
        median[gappy] = np.where(found > 0, (low + high) / 2, 0)
    return np.asarray(median / residual.dtype.type(_MAD_OF_NORMAL))
