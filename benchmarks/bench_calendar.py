"""What a calendar is worth: pages on special and on other days of 13 simulated months, with it and without.

Method: the simulator's payment system in Berlin with the holidays of Germany and payday on the 25th. Each series is replayed by
`sentinel preview` twice, as it comes and with a configuration that names zone, country and payday. Special days are those of the
calendar that the product makes. A page is false when it starts outside every incident of the simulator's truth. The first two months, in
which nothing can be known of a kind of day, do not count. It is a simulation: its month-ends are as regular as its maker made them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.detection.ours import PreviewError, preview
from benchmarks.detection.score import incidents_of
from benchmarks.detection.simulated import CALENDAR_CONFIG, SIMULATED, simulate
from benchmarks.detection.sources import Floats, SeriesFile, series_of
from benchmarks.machine import describe
from sentinel.app.calendar_section import CalendarConfig, PaydayConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.baseline import Calendar
from sentinel.runtime.settings import Zone

_SECTION = CalendarConfig(
    zone=Zone("Europe/Berlin"), country="DE", paydays=(PaydayConfig(day=25),)
)
_MONTH_S = 30.4375 * 86_400
_BLIND_MONTHS = 2
_TURN = ("month-end", "month-start")


@dataclass(slots=True)
class Counts:
    """What pages came to; by "month" for the turn of the month, "special" for other special days, and "other".

    Attributes:
        false: pages outside incidents.
        found, incidents: incidents that a page started in, and all.
    """

    false: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    incidents: Counter[str] = field(default_factory=Counter)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a preview failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_calendar", description=__doc__
    )
    parser.add_argument("--every", type=int, default=3, help="one series in so many (default: 3)")
    parser.add_argument("--kind", action="append", help="only these: traffic, errors, latency")
    parser.add_argument("--months", type=float, default=13.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for a preview")
    args = parser.parse_args(arguments)
    if args.every < 1 or args.months <= _BLIND_MONTHS:
        parser.error(f"--every is at least 1, and --months more than {_BLIND_MONTHS}")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench_calendar_") as name:
        folder = Path(name)
        simulate(folder / "series", months=args.months, seed=args.seed)
        config = folder / "sentinel.yaml"
        config.write_text(CALENDAR_CONFIG)
        kinds = args.kind or ["traffic", "latency", "errors"]
        files = [file for file in series_of(folder / "series", SIMULATED) if file.kind in kinds]
        by_kind = {kind: [f for f in files if f.kind == kind][:: args.every] for kind in kinds}
        print(
            f"{describe()}; {args.months:g} simulated months, seed {args.seed}, from the third on"
        )
        print(f"{'':<38}{'false pages':>24}{'':4}{'incidents found':>24}")
        print(
            f"{'series, days':<38}{'without':>9}{'with':>7}{'':>8}{'':4}{'of':>8}{'without':>9}{'with':>7}"
        )
        for kind, chosen in by_kind.items():
            try:
                pages = [
                    preview(
                        chosen,
                        sensitivity="normal",
                        with_reminders=False,
                        limit_s=args.limit,
                        options=options,
                    ).page_s
                    for options in ((), ("--config", str(config)))
                ]
            except PreviewError as error:
                print(f"{kind}: {error}")
                return 1
            _print(f"{len(chosen)} of {kind}", *(_counted(chosen, one) for one in pages))
    print(f"took {time.perf_counter() - began_s:.0f} s")
    return 0


def _counted(files: Sequence[SeriesFile], page_s: Mapping[str, Floats]) -> Counts:
    counts = Counts()
    for file in files:
        series = file.read()
        incidents = incidents_of(series)
        since_s = float(series.time_s[0]) + _BLIND_MONTHS * _MONTH_S
        calendar = make_calendar(
            _SECTION.to_plain(Zone("UTC")),
            now_ns=int(series.time_s[-1]) * 10**9,
            first_ns=int(series.time_s[0]) * 10**9,
        )
        starts = page_s.get(file.name, np.zeros(0))
        first_s, last_s = (
            incidents.first_s - incidents.early_s,
            incidents.last_s + incidents.late_s,
        )
        is_true = np.zeros(len(starts), np.bool_)
        for begin_s, first, last in zip(incidents.first_s, first_s, last_s, strict=True):
            inside = (starts >= first) & (starts <= last)
            is_true |= inside
            if begin_s >= since_s:
                where = _where(calendar, float(begin_s))
                counts.incidents[where] += 1
                counts.found[where] += int(inside.any())
        for at in starts[~is_true & (starts >= since_s)].tolist():
            counts.false[_where(calendar, at)] += 1
    return counts


def _where(calendar: Calendar, at_s: float) -> str:
    day = calendar.local_day(int(at_s) * 10**9)
    member = calendar.membership(np.array([day]))[0]
    names = [calendar.class_names[at] for at in np.flatnonzero(member)]
    if any(name.startswith(_TURN) for name in names):
        return "month"
    return "special" if names else "other"


def _print(said: str, without: Counts, with_it: Counts) -> None:
    for where, words in (
        ("month", "turn of the month"),
        ("special", "paydays, holidays"),
        ("other", "other days"),
    ):
        before, after = without.false[where], with_it.false[where]
        change = f"{(after - before) / before:+.0%}" if before else ""
        print(
            f"{said + ', ' + words:<38}{before:>9}{after:>7}{change:>8}{'':4}"
            f"{without.incidents[where]:>8}{without.found[where]:>9}{with_it.found[where]:>7}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
