"""Prints how far each expectation of the next day is from what is seen, with the truth itself as the yardstick.

Method: synthetic series (see `synthetic.py`), 28 days known, the 29th foretold, with scheduled jobs and without. sMAPE is the mean of
`2 |x - e| / (x + e)` over the day's minutes, those of outages left out, as a percentage; the median over series. The oracle is the true
mean: nobody gets below the noise. Coverage is the share of minutes within three deviations of what was foretold, the deviation being the
median size of the method's own misses at that hour of day in the history's last week, over 0.6745.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.forecast.methods import (
    SPREAD_DAYS,
    Floats,
    Foretold,
    binned,
    followed,
    fourier,
    mstl,
    profile,
)
from benchmarks.forecast.synthetic import MINUTES_A_DAY, Synthetic, synthetic
from benchmarks.machine import describe

_KNOWN_DAYS = 28
_MAD_OF_NORMAL = 0.6745


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument(
        "--mstl-series", type=int, default=20, help="MSTL is slow; 0 leaves it out"
    )
    parser.add_argument("--seed", type=int, default=4)
    args = parser.parse_args(argv)
    print(
        f"{describe()}, numpy {np.__version__}, one thread; {args.series} series of {_KNOWN_DAYS} days"
    )
    print(f"{'':28} {'sMAPE':>6} {'-oracle':>7} {'3-sigma':>8} {'ms/series':>9}")
    for jobs in (False, True):
        made = synthetic(args.series, days=_KNOWN_DAYS + 1, seed=args.seed, jobs=jobs)
        print("with scheduled jobs" if jobs else "without scheduled jobs")
        measure(made, mstl_count=min(args.mstl_series, args.series))


def measure(made: Synthetic, *, mstl_count: int) -> None:
    """Print the rows of one data set."""
    cut = _KNOWN_DAYS * MINUTES_A_DAY
    history, day = made.seen[:cut], made.seen[cut:]
    calm = ~made.disturbed[cut:]
    truth = Foretold(
        before=made.mean[cut - SPREAD_DAYS * MINUTES_A_DAY : cut],
        day=made.mean[cut:],
        ms_per_series=0.0,
    )
    oracle = smape(day, truth.day, calm)
    known = binned(history)
    rows = {"oracle": truth, "profile": profile(known), "fourier": fourier(known)}
    for name in ("profile", "fourier"):
        rows[f"{name} + level (minutes)"] = followed(rows[name], day, history=history)
    for name, foretold in rows.items():
        _print_row(name, foretold, history, day, calm, oracle=oracle)
    if mstl_count:
        few = slice(0, mstl_count)
        foretold = mstl(known[:, few])
        among = smape(day[:, few], truth.day[:, few], calm[:, few])
        _print_row(
            f"statsmodels MSTL ({mstl_count})",
            foretold,
            history[:, few],
            day[:, few],
            calm[:, few],
            oracle=among,
        )


def smape(seen: Floats, said: Floats, counted: np.ndarray) -> float:
    """Percent, the median over series."""
    miss = 200 * np.abs(seen - said) / np.maximum(seen + said, 1e-9)
    each = np.where(counted, miss, 0).sum(axis=0) / counted.sum(axis=0)
    return float(np.median(each))


def coverage(foretold: Foretold, history: Floats, day: Floats, counted: np.ndarray) -> float:
    """Percent of minutes within three deviations; a deviation for each hour of day."""
    series_count = day.shape[1]
    missed = history[-len(foretold.before) :] - foretold.before
    by_hour = np.abs(missed).reshape(SPREAD_DAYS, 24, 60, series_count)
    deviation = (
        np.median(by_hour.transpose(1, 0, 2, 3).reshape(24, -1, series_count), axis=1)
        / _MAD_OF_NORMAL
    )
    within = np.abs(day - foretold.day) <= 3 * np.repeat(deviation, 60, axis=0)
    return float(100 * within[counted].mean())


def _print_row(
    name: str, foretold: Foretold, history: Floats, day: Floats, calm: np.ndarray, *, oracle: float
) -> None:
    found = smape(day, foretold.day, calm)
    print(
        f"  {name:26} {found:6.2f} {found - oracle:+7.2f} {coverage(foretold, history, day, calm):7.1f}%"
        f" {foretold.ms_per_series:9.2f}"
    )


if __name__ == "__main__":
    main()
