"""`sentinel preview`: the pages that would have gone out for series of the past."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sentinel.core.model import Kind
from sentinel.core.scoring import ScoringSettings, Sensitivity
from sentinel.errors import InputError
from sentinel.history.csv import read_series
from sentinel.pipeline.replay import PlainSeries, ReplayedPage, replay, replay_settings

_SUFFIXES = (".csv", ".csv.gz")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and what it takes."""
    parser = subparsers.add_parser(
        "preview",
        help="print the pages that would have gone out for series of the past",
        description=(
            "Replays each CSV file (timestamp,value; Unix seconds) through the code that runs live, never "
            "looking ahead, and prints the pages it would have sent."
        ),
    )
    parser.add_argument(
        "--csv",
        dest="paths",
        metavar="DIR|FILE",
        type=Path,
        nargs="+",
        required=True,
        help="files, or folders of files, named *.csv or *.csv.gz",
    )
    parser.add_argument(
        "--sensitivity",
        choices=[str(level) for level in Sensitivity],
        default=str(Sensitivity.NORMAL),
        help="how strange is strange enough (default: %(default)s)",
    )
    parser.add_argument(
        "--kind",
        choices=[kind.name.lower() for kind in Kind],
        default=Kind.GAUGE.name.lower(),
        help="what the values are (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        dest="output",
        choices=["table", "json", "ndjson"],
        default="table",
        help="for people, or for programs (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay the files and print their pages; 1 when a file could not be used."""
    faults = 0
    found: list[PlainSeries] = []
    names: set[str] = set()
    for path in _files(args.paths):
        try:
            series = _series(path)
        except (InputError, OSError) as error:
            print(error, file=sys.stderr)
            faults += 1
            continue
        if series.name in names:
            print(f"{path}: a series named {series.name} was given already", file=sys.stderr)
            faults += 1
            continue
        names.add(series.name)
        found.append(series)
    if not found and not faults:
        print("No file named *.csv or *.csv.gz was found", file=sys.stderr)
        return 1
    scoring = ScoringSettings(cut_scale=Sensitivity(args.sensitivity).cut_scale)
    pages = replay(found, kind=Kind[args.kind.upper()], settings=replay_settings(scoring))
    _print(pages, output=args.output, series_count=len(found))
    return 1 if faults else 0


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files.extend(sorted(one for one in path.iterdir() if one.name.endswith(_SUFFIXES)))
        else:
            files.append(path)
    return files


def _series(path: Path) -> PlainSeries:
    samples = read_series(path)
    return PlainSeries(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        time_ns=samples.times_ns,
        value=samples.values,
    )


def _print(pages: Sequence[ReplayedPage], *, output: str, series_count: int) -> None:
    if output == "ndjson":
        for page in pages:
            print(json.dumps(_document(page)))
    elif output == "json":
        print(json.dumps([_document(page) for page in pages], indent=1))
    else:
        width = max([len(page.series) for page in pages], default=6)
        print(f"{'series':{width}}  {'start (UTC)':19}  {'minutes':>8}  score  what")
        for page in pages:
            start = datetime.fromtimestamp(page.start_s, tz=UTC)
            minutes = (page.end_s - page.start_s) / 60
            print(
                f"{page.series:{width}}  {start:%Y-%m-%d %H:%M:%S}  {minutes:8.0f}  {page.score:5.2f}  "
                f"{page.value:.6g} is {_direction(page)} from {page.expected:.6g}"
            )
        print(f"{len(pages)} page{'' if len(pages) == 1 else 's'} in {series_count} series")


def _document(page: ReplayedPage) -> dict[str, object]:
    return {
        "series": page.series,
        "start": _seconds(page.start_s),
        "end": _seconds(page.end_s),
        "score": round(page.score, 4),
        "direction": _direction(page),
        "expected": page.expected,
        "value": page.value,
    }


def _direction(page: ReplayedPage) -> str:
    return "up" if page.direction > 0 else "down"


def _seconds(instant_s: float) -> int | float:
    return int(instant_s) if instant_s.is_integer() else instant_s
