"""How fast a value may go somewhere without being told of: ramps of a size and a length, by kind, and when they page.

Method: 16 days of made series at windows of a minute, a day's shape of a fifth and noise of a hundredth, replayed by the code that
decides live; on the last day a ramp that stays where it ends. Found is a page from the ramp's first minute to an hour after its last.

    python -m benchmarks.bench_ramps [--series 6]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe
from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, PageReason
from sentinel.pipeline.replay import PlainSeries, replay

Floats = npt.NDArray[np.float64]

_STEP_S = 60
_PER_DAY = 1440
_DAYS = 17
_START_S = 1_759_968_000
_RAMP_AT = 15 * _PER_DAY + 600
_MINUTES = (5, 30, 120, 480, 1440)
_SIZES = (0.1, 0.3, 0.6)
_UNIT = {Kind.GAUGE: 1.0, Kind.TRAFFIC: 50.0, Kind.LATENCY: 0.001}
"""What a value of about 100 is multiplied by, so that no static limit and no noise of counting decides."""


def ramped(time_s: Floats, *, size: float, minutes: int, seed: int) -> Floats:
    """A series of about 100 whose ramp adds `size` of that over so many minutes."""
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    value = 100 + 20 * np.sin(2 * np.pi * time_s / 86_400) + noise
    risen = np.clip((np.arange(len(time_s)) - _RAMP_AT) / minutes, 0, 1)
    return np.asarray(value + 100 * size * risen)


def told(kind: Kind, *, size: float, minutes: int, series_count: int) -> tuple[int, float, int]:
    """How many ramps were paged, after how many minutes in the median (NaN for none), and pages before any ramp."""
    time_s = _START_S + np.arange(_DAYS * _PER_DAY, dtype=np.int64) * _STEP_S
    series = [
        PlainSeries(
            name=f"{number}",
            time_ns=time_s * 10**9,
            value=_UNIT[kind]
            * ramped(time_s.astype(np.float64), size=size, minutes=minutes, seed=number),
        )
        for number in range(series_count)
    ]
    pages = replay(series, kind=kind, settings=DecisionSettings()).pages
    began_s = float(time_s[_RAMP_AT])
    first: dict[str, float] = {}
    for page in pages:
        inside = began_s <= page.start_s <= began_s + 60 * minutes + 3600
        if inside and page.reason == PageReason.OPENED:
            first.setdefault(page.series, (page.start_s - began_s) / 60)
    after = float(np.median(list(first.values()))) if first else float("nan")
    return len(first), after, sum(page.start_s < began_s for page in pages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_ramps", description=__doc__)
    parser.add_argument("--series", type=int, default=6, help="of each ramp (default: 6)")
    args = parser.parse_args(arguments)
    if args.series < 1:
        parser.error("--series is at least 1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print(f"{describe()}; {args.series} series each: found, after how many minutes")
    print(f"{'ramp of a value':<26}" + "".join(f"{f'{one} min':>14}" for one in _MINUTES))
    for kind in _UNIT:
        for size in _SIZES:
            cells, before = [], 0
            for minutes in _MINUTES:
                found, after, early = told(
                    kind, size=size, minutes=minutes, series_count=args.series
                )
                before += early
                cells.append(f"{found}, {after:.0f}" if found else "0")
            said = f"{kind.name.lower()}, by {size:.0%}"
            print(
                f"{said:<26}"
                + "".join(f"{one:>14}" for one in cells)
                + (f"   {before} pages before" if before else ""),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
