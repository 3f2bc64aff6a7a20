"""`sentinel preview`: the pages that would have gone out for series of the past."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sentinel.cli.options import add_output, unreadable
from sentinel.core.model import Kind
from sentinel.core.scoring import ScoringSettings, Sensitivity
from sentinel.errors import InputError
from sentinel.history.csv import read_series
from sentinel.pipeline.replay import (
    PlainSeries,
    Replayed,
    ReplayedPage,
    replay,
    replay_settings,
)
from sentinel.runtime.config_text import printable

_SUFFIXES = (".csv", ".csv.gz")
_DONE, _WRONG, _UNREADABLE = 0, 1, 3
_HOUR_NS = 3_600_000_000_000
_ENOUGH_HOURS = 30.0
"""A day for the expectation, and a quarter of one for its scale."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and what it takes."""
    parser = subparsers.add_parser(
        "preview",
        help="print the pages that would have gone out for series of the past",
        description=(
            "Replays each CSV file (timestamp,value; Unix seconds) through the code that runs live, never "
            "looking ahead, and prints the pages it would have sent. Exit codes: 0 done, 1 a file is wrong, 2 usage, "
            "3 a file cannot be read; the other files are replayed all the same."
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
    add_output(parser, "table", "json", "ndjson")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay the files and print their pages; 1 when a file is wrong, 3 when one cannot be read."""
    found: dict[str, PlainSeries] = {}
    files, code = _files(args.paths)
    for path in files:
        try:
            series = _series(path)
        except OSError as error:
            _say(unreadable(path, error))
            code = _UNREADABLE
            continue
        except InputError as error:
            _say(str(error))
            code = code or _WRONG
            continue
        if series.name in found:
            _say(f"{path}: a series named {series.name} was given already")
            code = code or _WRONG
            continue
        found[series.name] = series
    if not files and code == _DONE:
        _say("no file named *.csv or *.csv.gz was found")
        return _WRONG
    scoring = ScoringSettings(cut_scale=Sensitivity(args.sensitivity).cut_scale)
    kind = Kind[args.kind.upper()]
    replayed = replay(found.values(), kind=kind, settings=replay_settings(scoring))
    for name, scored_count in replayed.scored_count.items():
        if not scored_count:
            _say(f"{name}: not judged: {_why_not_judged(found[name])}")
    if found or args.output != "table":
        _print(replayed, output=args.output)
    return code


def _files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """The files that were named or lie in a folder that was, and the exit code so far."""
    files: list[Path] = []
    code = _DONE
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        try:
            inside = sorted(path.iterdir())
        except OSError as error:
            _say(unreadable(path, error))
            code = _UNREADABLE
            continue
        folder_count = sum(one.is_dir() for one in inside)
        if folder_count:
            folders = "1 folder" if folder_count == 1 else f"{folder_count} folders"
            _say(f"{path}: {folders} inside left out; name what is to be read")
        files.extend(one for one in inside if one.name.endswith(_SUFFIXES) and not one.is_dir())
    return files, code


def _series(path: Path) -> PlainSeries:
    samples = read_series(path)
    return PlainSeries(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        time_ns=samples.times_ns,
        value=samples.values,
    )


def _why_not_judged(series: PlainSeries) -> str:
    hours = (int(series.time_ns[-1]) - int(series.time_ns[0])) / _HOUR_NS
    if hours < _ENOUGH_HOURS:
        return f"needs about {_ENOUGH_HOURS:g} hours of data, has {hours:.3g}"
    there = int(np.count_nonzero(np.isfinite(series.value)))
    return f"too few values to learn from, {there} in {hours:.0f} hours"


def _say(sentence: str) -> None:
    print(f"sentinel preview: {printable(sentence)}", file=sys.stderr)


def _print(replayed: Replayed, *, output: str) -> None:
    pages = replayed.pages
    if output == "ndjson":
        for page in pages:
            print(json.dumps(_document(page)))
    elif output == "json":
        print(json.dumps([_document(page) for page in pages], indent=1))
    else:
        width = max([len(page.series) for page in pages], default=6)
        if pages:
            print(f"{'series':{width}}  {'start (UTC)':19}  {'minutes':>8}  score  what")
        for page in pages:
            start = datetime.fromtimestamp(page.start_s, tz=UTC)
            minutes = (page.end_s - page.start_s) / 60
            print(
                f"{page.series:{width}}  {start:%Y-%m-%d %H:%M:%S}  {minutes:8.0f}  {page.score:5.2f}  "
                f"{page.value:.6g} is {_direction(page)} from {page.expected:.6g}"
            )
        page_count = f"{len(pages)} page{'' if len(pages) == 1 else 's'}"
        scored = sum(replayed.scored_count.values())
        print(f"{page_count} in {len(replayed.scored_count)} series, {scored} windows scored")


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
