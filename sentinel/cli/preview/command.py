"""`sentinel preview`: the pages that would have gone out for series of the past."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sentinel.app.calendars import CalendarError
from sentinel.app.config import SentinelConfig, load_config
from sentinel.app.deciding import decision_settings
from sentinel.cli.options import add_output, terminal_columns, unreadable
from sentinel.cli.preview.beside import beside_document, beside_table
from sentinel.cli.preview.blind import blind_document, blind_table
from sentinel.cli.preview.calendar import add_calendar_options, calendar_of
from sentinel.cli.preview.clock import ShownClock, clock_of_calendar
from sentinel.cli.preview.files import UNREADABLE, WRONG, read_past
from sentinel.cli.preview.queries import add_query_options, read_firings, read_servers
from sentinel.cli.preview.source import add_store_options, ignored_options
from sentinel.cli.preview.stops import stops_table
from sentinel.cli.preview.store import replay_of_store
from sentinel.cli.preview.table import closing, direction_of, summary, table
from sentinel.cli.wrapping import next_step, tell
from sentinel.core.baseline import Model, ModelRule
from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, Reason
from sentinel.core.scoring import Sensitivity
from sentinel.errors import ConfigError, InputTooLargeError, StoreError
from sentinel.pipeline.beside import Beside, beside
from sentinel.pipeline.blind_spots import BlindSpot
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.replay import (
    PlainSeries,
    Replayed,
    ReplayedPage,
    ReplayedStop,
    replay,
)
from sentinel.runtime.printable import printable

_MODELS = (Model.PROFILE, Model.FOURIER)
"""MSTL is not among them: half a second a series and day."""
_USAGE = 2
_HOUR_NS = 3_600_000_000_000
_WEEK_S = 7 * 86_400
_ENOUGH_HOURS = 30.0
"""A day for the expectation, and a quarter of one for its scale."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Replays the past through the code that runs live, never looking ahead, and prints the messages that "
        "would have gone out: that an incident opened, and that it got worse. Over a store or a snapshot it is what live decided, to the bit, or says why it may not be. A file is one series (timestamp,value; Unix seconds) or many, as `sentinel baseline "
        "backfill` reads them. Exit codes: 0 done, 1 a file is wrong, 2 usage, 3 a file cannot be read; the "
        "other files are replayed all the same."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--csv",
        dest="paths",
        metavar="DIR|FILE",
        type=Path,
        nargs="+",
        help="files, or folders of files named *.csv or *.csv.gz",
    )
    add_query_options(parser, source)
    add_store_options(parser, source)
    parser.add_argument(
        "--sensitivity",
        choices=[str(level) for level in Sensitivity],
        help="how strange is strange enough (default: normal; over a store what live had)",
    )
    parser.add_argument(
        "--kind",
        choices=[kind.name.lower() for kind in Kind],
        help="what the values of a file with one series are (default: gauge)",
    )
    parser.add_argument(
        "--reminders",
        action="store_true",
        help="also print the reminders of incidents that stay open",
    )
    parser.add_argument(
        "--gates",
        action="store_true",
        help="also print what stood out and was not told, and the first gate that stopped it",
    )
    parser.add_argument(
        "--blind-spots",
        action="store_true",
        help="print also for programs what would not have been seen; the table has it anyway",
    )
    parser.add_argument(
        "--model",
        choices=[str(model) for model in _MODELS],
        help="what the series of files are expected by, as `baseline.models` says live (default: profile)",
    )
    add_calendar_options(parser)
    add_output(parser, "table", "json", "ndjson")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay the past and print its pages; 1 when something is wrong with it, 3 when it cannot be read."""
    pointless = ignored_options(args)
    if pointless:
        _say(pointless)
        return _USAGE
    if args.prometheus is not None and args.config is None:
        _say(
            "--prometheus: give --config with the queries; `sentinel discover --prometheus URL` writes it"
        )
        return _USAGE
    if args.paths is None and args.prometheus is None:
        return _run_store(args)
    kind = Kind.GAUGE if args.kind is None else Kind[args.kind.upper()]
    try:
        past = read_servers(args) if args.paths is None else read_past(args.paths, kind)
        calendar = calendar_of(args, past.series.values())
        past.leave_out_endless(keeps_dates=calendar is not None)
        firings = None if args.paths is not None else read_firings(args, past)
        for sentence in past.said:
            _say(sentence)
        how = _decided_by(args)
    except (CalendarError, ConfigError) as error:
        for line in str(error).splitlines():
            _say(line)
        return WRONG
    except OSError as error:
        _say(unreadable(args.closing_dates, error))
        return UNREADABLE
    replayed = replay(
        past.series.values(),
        kind=kind,
        settings=how.settings,
        models=how.models,
        calendar=calendar,
        drift_ratio=how.drift_ratio,
    )
    if replayed.sidecar_count > 1:
        _say(
            f"too many windows for one: services are divided among {replayed.sidecar_count} sidecars, each with a ceiling on "
            "pages of its own"
        )
    for name, scored_count in replayed.scored_count.items():
        spot = replayed.blind_spots.get(name)
        yields = spot is not None and spot.why_not is Reason.YIELDED
        if not scored_count and not yields:
            _say(f"{name}: not judged: {_why_not_judged(past.series[name], spot)}")
    if past.series or args.output != "table":
        days = {name: _hours_of(one) / 24 for name, one in past.series.items()}
        until_ns = max((int(one.time_ns[-1]) for one in past.series.values()), default=0)
        laid = None if firings is None else beside(replayed.pages, firings)
        _print(replayed, days, args, clock_of_calendar(calendar, until_ns=until_ns), laid)
    if args.output == "table" and past.code == 0 and (command := _following(args)):
        next_step(command)
    return past.code


def _following(args: argparse.Namespace) -> str:
    """What is typed after a preview: the past that was looked at is given to a sidecar, or what live did is looked into; "" for nothing."""
    if args.prometheus is not None:
        weeks = "" if args.last is None else f" --weeks {math.ceil(args.last / _WEEK_S)}"
        return f"sentinel baseline backfill --config {shlex.quote(str(args.config))}{weeks}"
    if args.paths is not None:
        if args.config is not None:
            return f"sentinel run --config {shlex.quote(str(args.config))}"
        return "sentinel discover --write sentinel.yaml"
    if args.gates:
        return ""
    place = f"--store {args.store}" if args.store is not None else f"--snapshot {args.snapshot}"
    name, _, value = place.partition(" ")
    return f"sentinel preview {name} {shlex.quote(value)} --gates"


def _run_store(args: argparse.Namespace) -> int:
    try:
        shown = replay_of_store(args)
    except (CalendarError, ConfigError) as error:
        for line in str(error).splitlines():
            _say(line)
        return WRONG
    except (StoreError, OSError, InputTooLargeError) as error:
        _say(str(error))
        return UNREADABLE
    for sentence in shown.said:
        _say(sentence)
    _print(shown.replayed, shown.days, args, shown.clock)
    if args.output == "table" and (command := _following(args)):
        next_step(command)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecidedBy:
    """What series of files are decided and fitted by."""

    settings: DecisionSettings
    models: ModelSettings
    drift_ratio: float


def _decided_by(args: argparse.Namespace) -> _DecidedBy:
    """What the configuration says, or what a sidecar does as it comes."""
    config = SentinelConfig() if args.config is None else load_config(args.config).config
    models = config.baseline.settings()
    if args.model is not None:
        models = replace(models, rules=(ModelRule(model=Model(args.model)),))
    elif models.has(Model.MSTL):
        _say("MSTL is not replayed over files: its series are expected by the profile")
    # Clocks of a zone are looked up for the words of pages, which are not printed here.
    settings = decision_settings(config, now_ns=0, asked_by="")
    if args.sensitivity is not None:
        cut_scale = Sensitivity(args.sensitivity).cut_scale
        settings = replace(settings, scoring=replace(settings.scoring, cut_scale=cut_scale))
    return _DecidedBy(settings=settings, models=models, drift_ratio=config.baseline.drift_ratio)


def _why_not_judged(series: PlainSeries, spot: BlindSpot | None) -> str:
    hours = _hours_of(series)
    if hours < _ENOUGH_HOURS:
        return f"needs about {_ENOUGH_HOURS:g} hours of data, has {hours:.3g}"
    if spot is not None and spot.why_not is Reason.TOO_FEW:
        return "there were too few calls to mean something"
    there = int(np.count_nonzero(np.isfinite(series.value)))
    return f"too few values to learn from, {there} in {hours:.0f} hours"


def _hours_of(series: PlainSeries) -> float:
    return (int(series.time_ns[-1]) - int(series.time_ns[0])) / _HOUR_NS


def _say(sentence: str) -> None:
    tell(f"sentinel preview: {printable(sentence)}", file=sys.stderr)


def _print(
    replayed: Replayed,
    days: Mapping[str, float],
    args: argparse.Namespace,
    clock: ShownClock,
    laid: Sequence[Beside] | None = None,
) -> None:
    output, with_gates = args.output, args.gates
    pages = [page for page in replayed.pages if args.reminders or not page.is_reminder]
    stops = replayed.stops if with_gates else []
    documents = [*map(_document, pages), *map(_document_of_stop, stops)]
    if args.blind_spots:
        documents += [blind_document(*entry) for entry in replayed.blind_spots.items()]
    documents += [beside_document(one) for one in laid or ()]
    if output == "ndjson":
        for document in documents:
            print(json.dumps(document, allow_nan=False))
    elif output == "json":
        print(json.dumps(documents, indent=1, allow_nan=False))
    else:
        columns = terminal_columns()
        for note in clock.notes:
            tell(note)
        for line in table(pages, columns=columns, clock=clock):
            print(line)
        scored = sum(replayed.scored_count.values())
        tell(
            f"{closing(replayed.pages, shows_all=args.reminders)} "
            f"in {len(replayed.scored_count)} series, {scored} windows scored"
        )
        for line in summary(replayed.pages, days=days, columns=columns):
            print(line)
        if with_gates:
            for line in stops_table(stops, columns=columns, clock=clock):
                print(line)
        for line in blind_table(replayed.blind_spots, columns=columns, clock=clock):
            print(line)
        if laid is not None:
            for line in beside_table(laid, columns=columns, clock=clock):
                print(line)
    if replayed.summary_count:
        _say(
            f"a ceiling on pages was reached: {replayed.summary_count} summaries of incidents that it held went out, which are "
            "not listed; --gates names those incidents (page cap)"
        )
    if replayed.stops_dropped_count and with_gates:
        _say(
            f"{replayed.stops_dropped_count} more stood out and were not told; they are not listed"
        )


def _document(page: ReplayedPage) -> dict[str, object]:
    return {
        "series": page.series,
        "start": _seconds(page.start_s),
        "end": _seconds(page.end_s),
        "score": _finite(round(page.score, 4)),
        "direction": direction_of(page),
        "expected": _finite(page.expected),
        "value": _finite(page.value),
        "severity": page.severity.value,
        "reason": page.reason.value,
        "kind": page.kind.value,
        "horizon_s": page.horizon_s,
        "factors": page.factors,
    }


def _document_of_stop(stop: ReplayedStop) -> dict[str, object]:
    return {
        "series": stop.series,
        "start": _seconds(stop.start_s),
        "end": _seconds(stop.end_s),
        "gate": stop.gate.name.lower(),
        "words": stop.words,
        "score": _finite(round(stop.score, 4)),
        "direction": direction_of(stop),
        "expected": _finite(stop.expected),
        "value": _finite(stop.value),
        "would_pass": _finite(stop.edge),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _seconds(instant_s: float) -> int | float:
    return int(instant_s) if instant_s.is_integer() else instant_s
