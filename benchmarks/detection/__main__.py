"""Sentinel's pages beside its peers' on labelled series: `python -m benchmarks.detection --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.detection.measure import sweep_all, tally_ours
from benchmarks.detection.ours import SENSITIVITIES, PreviewError
from benchmarks.detection.peers import PEERS, Peer
from benchmarks.detection.protocol import OWN_SCALE, Swept, best_within
from benchmarks.detection.score import Tally, figures
from benchmarks.detection.simulated import CALENDAR_CONFIG, SIMULATED, simulate
from benchmarks.detection.sources import GAUGE, KINDS, SeriesFile, datasets_of, series_of
from benchmarks.detection.table import BUDGETS, Row, halves, heading, line, worst
from benchmarks.machine import describe

_OURS = "sentinel"
_One = TypeVar("_One", Tally, Swept)
_SCORED = ("kpi_final", "kpi_prelim", "msft", "nab")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a detector failed."""
    args = _parse(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print(
        f"machine: {describe()}; {args.jobs} jobs, at most {args.limit:g} s a detector and data set"
    )
    began_s = time.perf_counter()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bench_detection_") as folder:
        for name, files in _sets(args, Path(folder)):
            failed += _measure(name, files, args)
    print(f"\ntook {time.perf_counter() - began_s:.0f} s")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of labelled series (default: the simulator alone)"
    )
    parser.add_argument(
        "--dataset", action="append", help="only this one of the folder, or `simulator`"
    )
    parser.add_argument(
        "--peer",
        action="append",
        choices=[_OURS, *(peer.name for peer in PEERS)],
        help="only this one",
    )
    parser.add_argument(
        "--sensitivity",
        action="append",
        choices=SENSITIVITIES,
        help="of ours, only this one",
    )
    parser.add_argument(
        "--kind",
        choices=sorted(KINDS),
        help="replay what the folder calls a gauge as this kind, with all that is asked of it; series with values below 0 are left out",
    )
    parser.add_argument(
        "--calendar",
        action="store_true",
        help="tell ours of the simulator's zone, public holidays and payday, as its owner would",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="a detector's time on a data set; series not reached are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--reminders",
        action="store_true",
        help="count reminders of what stays strange as pages, everybody's",
    )
    parser.add_argument(
        "--worst",
        type=int,
        default=0,
        metavar="COUNT",
        help="also name the series of ours with the most false pages (default: none)",
    )
    parser.add_argument(
        "--halves",
        type=int,
        default=0,
        metavar="COUNT",
        help="also say what so many random halves of the series give (default: none)",
    )
    parser.add_argument(
        "--months", type=float, default=13.0, help="of the simulator (default: %(default)g)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the simulator (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the rows there, one a line"
    )
    args = parser.parse_args(arguments)
    if args.halves < 0:
        parser.error("--halves is not negative")
    if args.jobs < 1 or args.limit <= 0 or args.months <= 0:
        parser.error("--jobs, --limit and --months are positive")
    if args.data is not None and not (args.data / "index.csv").is_file():
        parser.error(f"{args.data}: no index.csv, which lists the series")
    known = [SIMULATED, *(datasets_of(args.data) if args.data else [])]
    unknown = set(args.dataset or []) - set(known)
    if unknown:
        parser.error(f"no data set {', '.join(sorted(unknown))}; there is {', '.join(known)}")
    return args


def _sets(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[SeriesFile]]]:
    """Data sets and their series; those made for a smoke test are measured only when asked for."""
    listed = datasets_of(args.data) if args.data else []
    wanted = args.dataset or [SIMULATED, *([name for name in _SCORED if name in listed] or listed)]
    for name in wanted:
        if name == SIMULATED:
            simulate(folder, months=args.months, seed=args.seed)
        files = series_of(folder if name == SIMULATED else args.data, name)
        if args.kind is not None:
            files = [
                replace(one, kind=args.kind) if one.kind == GAUGE else one
                for one in files
                # What is below zero can be no rate, no share and no duration.
                if one.kind != GAUGE or np.min(one.read().value) >= 0
            ]
        yield name, files


def _measure(dataset: str, files: list[SeriesFile], args: argparse.Namespace) -> int:
    failed = 0
    wanted = args.peer or [_OURS, *(peer.name for peer in PEERS)]
    print(f"\n{dataset}: {len(files)} series")
    print(heading(), flush=True)
    ours: dict[str, tuple[dict[str, Tally], float]] = {}
    sensitivities = (args.sensitivity or SENSITIVITIES) if _OURS in wanted else ()
    for sensitivity, seen in zip(sensitivities, _ours(sensitivities, files, args), strict=True):
        if isinstance(seen, PreviewError):
            print(f"{_OURS} {sensitivity}: {seen}", flush=True)
            failed = 1
            continue
        ours[sensitivity] = seen
        _print(dataset, _row_of_ours(f"{_OURS} {sensitivity}", *ours[sensitivity]), args)
        _print_halves(list(ours[sensitivity][0].values()), args)
        for said in worst(ours[sensitivity][0], count=args.worst):
            print(said, flush=True)
    full: dict[str, dict[str, Swept]] = {}
    partial: dict[str, dict[str, Swept]] = {}
    for peer in PEERS:
        if peer.name not in wanted:
            continue
        swept = sweep_all(
            peer,
            files[:: peer.every],
            jobs=args.jobs,
            limit_s=args.limit,
            with_reminders=args.reminders,
        )
        if not swept:
            print(f"{peer.name}: no series within {args.limit:g} s", flush=True)
            continue
        (full if len(swept) == len(files) else partial)[peer.name] = swept
        _print(dataset, _row_of_peer(_said(peer, swept, files), swept), args)
        _print_halves([one.tallies[OWN_SCALE] for one in swept.values()], args)
    for name, swept in partial.items():
        # Few series are another data set: only rows on the same ones compare.
        print(f"on the {len(swept)} series of {name}:")
        for sensitivity, (tallies, cost_s) in ours.items():
            _print(
                dataset,
                _row_of_ours(f"  {_OURS} {sensitivity}", _only(tallies, swept), cost_s),
                args,
            )
        for other, all_swept in full.items():
            _print(dataset, _row_of_peer(f"  {other}", _only(all_swept, swept)), args)
    return failed


def _ours(
    sensitivities: Sequence[str], files: Sequence[SeriesFile], args: argparse.Namespace
) -> Iterator[tuple[dict[str, Tally], float] | PreviewError]:
    """What each sensitivity comes to, in order; the previews are processes, so threads wait for them."""
    with tempfile.TemporaryDirectory(prefix="bench_detection_") as name:
        options: tuple[str, ...] = ()
        if args.calendar and files and files[0].dataset == SIMULATED:
            config = Path(name) / "sentinel.yaml"
            config.write_text(CALENDAR_CONFIG)
            options = ("--config", str(config))

        def one(sensitivity: str) -> tuple[dict[str, Tally], float] | PreviewError:
            try:
                return tally_ours(
                    files,
                    sensitivity=sensitivity,
                    limit_s=args.limit,
                    with_reminders=args.reminders,
                    options=options,
                )
            except PreviewError as error:
                return error

        with ThreadPoolExecutor(args.jobs) as pool:
            yield from pool.map(one, sensitivities)


def _said(peer: Peer, swept: Mapping[str, Swept], files: Sequence[SeriesFile]) -> str:
    if len(swept) < len(files[:: peer.every]):
        return f"{peer.name} (out of time)"
    return peer.name if peer.every == 1 else f"{peer.name} (1 series in {peer.every})"


def _only(all_of: Mapping[str, _One], these: Mapping[str, object]) -> dict[str, _One]:
    return {name: one for name, one in all_of.items() if name in these}


def _row_of_ours(said: str, tallies: Mapping[str, Tally], cost_s: float) -> Row:
    now = figures(tallies.values())
    return Row(
        detector=said,
        series_count=len(tallies),
        figures=now,
        best=tuple(now.recall_ratio if now.false_per_week <= most else None for most in BUDGETS),
        us_per_point=cost_s * 1e6,
    )


def _row_of_peer(said: str, swept: Mapping[str, Swept]) -> Row:
    series = list(swept.values())
    best = [best_within(series, false_per_week_max=most) for most in BUDGETS]
    return Row(
        detector=said,
        series_count=len(series),
        figures=figures(one.tallies[OWN_SCALE] for one in series),
        best=tuple(None if one is None else one.recall_ratio for one in best),
        us_per_point=float(np.median([one.cpu_s / one.row_count for one in series])) * 1e6,
    )


def _print_halves(tallies: Sequence[Tally], args: argparse.Namespace) -> None:
    if args.halves and len(tallies) > 1:
        print(halves(tallies, count=args.halves), flush=True)


def _print(dataset: str, row: Row, args: argparse.Namespace) -> None:
    print(line(row), flush=True)
    if args.json is not None:
        with args.json.open("a") as handle:
            handle.write(json.dumps({"dataset": dataset, **row.document()}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
