"""`sentinel baseline export`: what would have been expected of the past, written down for Prometheus."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.app.calendars import CalendarError
from sentinel.app.config import SentinelConfig, load_config
from sentinel.app.deciding import decision_settings
from sentinel.cli.baseline.export_options import add_options, problem_of
from sentinel.cli.baseline.export_target import Target, target_of
from sentinel.cli.baseline.report import instant_told, print_report
from sentinel.cli.instants import SECOND_NS
from sentinel.cli.preview.calendar import calendar_over
from sentinel.cli.progress import ProgressLine, count_told, span_told
from sentinel.cli.wrapping import next_step, tell
from sentinel.core.model import SeriesKey, name_matches
from sentinel.errors import (
    InputTooLargeError,
    RefusedError,
    StoreError,
    UnreachableError,
)
from sentinel.pipeline.past_verdicts import (
    Judging,
    SliceSpool,
    decide_recorded,
    judge_unrecorded,
    recorded_from_ns,
)
from sentinel.pipeline.replay.stored_pages import name_of
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.own_folder import OwnFolder
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import StoreReader

_DONE, _WRONG, _USAGE, _CANNOT_TELL = 0, 1, 2, 3
_HEAD_NS = 3 * 3600 * SECOND_NS
"""What Prometheus may still hold in memory, and would not let a block be laid beside."""

_STEP_NS = {"auto": 300 * SECOND_NS, "5m": 300 * SECOND_NS, "1m": 60 * SECOND_NS}
_CELL_BYTES = 20
_NAMES_MAX = 3


def add_export(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the action and what is its own."""
    parser = actions.add_parser(
        "export",
        help="write expected, band and score of the past for Prometheus",
        description=(
            "Replays the windows of a store through the code that decides live, never looking ahead, and writes what /metrics/series would have shown:"
            " sentinel_value, _expected, _lower, _upper and _score, as OpenMetrics files for `promtool tsdb create-blocks-from openmetrics` or by remote write."
            " Reads the store beside a running sidecar and changes nothing in it. The same store again gives the same samples. Exit codes: 0 done, 1 nothing to write, or samples were"
            " refused, or the configuration is wrong, 2 usage, 3 the store cannot be read or the receiver was not reached."
        ),
    )
    add_options(parser)
    parser.set_defaults(run=run_export)
    return parser


def run_export(args: argparse.Namespace) -> int:
    """Replay, write and tell."""
    if problem := problem_of(args):
        _say(problem)
        return _USAGE
    config = SentinelConfig() if args.config is None else load_config(args.config).config
    place = args.store or Path(config.store.directory)
    clock = SystemClock()
    with StoreReader(place) as reader:
        try:
            plan = _plan(args, reader, now_ns=clock.now_ns())
            if isinstance(plan, str):
                _say(plan)
                return _WRONG
            with target_of(args, plan.keys, from_ns=plan.from_ns, to_ns=plan.to_ns) as target:
                return _export(args, config, reader, plan, target, clock)
        except (CalendarError, InputTooLargeError, ValueError) as error:
            _say(str(error))
            return _WRONG
        except ModuleNotFoundError as error:
            if error.name != "cramjam":
                raise
            _say(
                "remote write needs cramjam; pip install 'sentinel-sidecar[remote-write]' brings it"
            )
            return _CANNOT_TELL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be written.

    Attributes:
        from_ns, to_ns: the span `[from_ns, to_ns)` of the samples.
        recorded_ns: from when on they are as live decided them; `to_ns` for none.
        begun_ns: start of the first window that the others are judged by.
        step_ns: width of those windows.
        wanted: int64[S], ascending, the series.
        keys: the names of all series by id.
    """

    from_ns: int
    to_ns: int
    recorded_ns: int
    begun_ns: int
    step_ns: int
    wanted: NDArray[np.int64]
    keys: dict[int, SeriesKey]


def _plan(args: argparse.Namespace, reader: StoreReader, *, now_ns: int) -> _Plan | str:
    """What the options come to; a sentence where there is nothing to write."""
    keys = {row.series_id: row.key for row in reader.series()}
    wanted = [one for one, key in keys.items() if _is_named(key, args.series)]
    if not wanted:
        return "no series has such a name" if args.series and keys else "the store has no series"
    stored = {step_ns: (first, last) for step_ns, first, last in reader.history_span()}
    if args.windows in {"1m", "5m"}:
        stored = {one: span for one, span in stored.items() if one == _STEP_NS[args.windows]}
    if not stored:
        return "the store has no such windows"
    # Prometheus keeps milliseconds; one more, for the newest window ends the span.
    newest_ns = max(last for _, last in stored.values())
    to_ns = newest_ns + 1_000_000 if args.end is None else min(args.end, newest_ns + 1_000_000)
    if args.openmetrics is not None and not args.with_head and to_ns > now_ns - _HEAD_NS:
        to_ns = (now_ns - _HEAD_NS) // 1_000_000 * 1_000_000
        _say(
            f"the last 3 hours are left out, from {instant_told(to_ns)} on: Prometheus still holds them in memory; --with-head writes them too"
        )
    from_ns = min(first for first, _ in stored.values()) if args.begin is None else args.begin
    if args.last is not None:
        from_ns = to_ns - args.last * SECOND_NS
    step_ns = _STEP_NS.get(args.windows, _STEP_NS["auto"])
    begun_ns = stored.get(step_ns, (to_ns, 0))[0]
    recorded_ns = to_ns
    if args.windows in {"auto", "decided"}:
        first_ns = recorded_from_ns(reader, from_ns, slice_ns=_slice_ns(args))
        recorded_ns = to_ns if first_ns is None else min(first_ns, to_ns)
    if args.windows == "decided":
        if recorded_ns > from_ns:
            _say(f"what live decided can be decided again from {instant_told(recorded_ns)} on")
        from_ns = recorded_ns
    if from_ns >= to_ns:
        return "there is no window in that span"
    return _Plan(
        from_ns=from_ns,
        to_ns=to_ns,
        recorded_ns=max(recorded_ns, from_ns),
        begun_ns=begun_ns,
        step_ns=step_ns,
        wanted=np.array(sorted(wanted), np.int64),
        keys=keys,
    )


def _slice_ns(args: argparse.Namespace) -> int:
    return (3600 if args.remote_write is not None else 7200) * SECOND_NS


def _is_named(key: SeriesKey, patterns: list[str]) -> bool:
    names = {str(key), name_of(key)}
    return not patterns or any(
        name_matches(name, pattern) for pattern in patterns for name in names
    )


def _export(
    args: argparse.Namespace,
    config: SentinelConfig,
    reader: StoreReader,
    plan: _Plan,
    target: Target,
    clock: SystemClock,
) -> int:
    if not any(name == "instance" for name, _ in args.label):
        _say(
            "no label instance is given, by which the dashboards choose; --label instance=HOST:PORT and --label job=NAME as your scrape has them"
        )
    progress = _Progress(clock, plan, target)
    code = _DONE
    try:
        if plan.from_ns < plan.recorded_ns:
            _write_unrecorded(args, config, reader, plan, target, progress)
        if plan.recorded_ns < plan.to_ns:
            # What was judged before the seam is with the receiver, and is not told once more.
            lead_ns = target.lead_ns if plan.recorded_ns == plan.from_ns else 0
            found = decide_recorded(
                reader,
                target,
                slice_ns=target.slice_ns,
                from_ns=max(plan.recorded_ns - lead_ns, 0),
                to_ns=plan.to_ns,
                wanted=plan.wanted,
                on_piece=progress.written,
            )
            for why in found.doubts:
                _say(f"from {instant_told(found.begun_ns)} on it may differ from live: {why}")
        target.finish()
    except (UnreachableError, RefusedError) as error:
        progress.clear()
        _say(str(error))
        code = _CANNOT_TELL if isinstance(error, UnreachableError) else _WRONG
    except KeyboardInterrupt:
        progress.clear()
        _say("interrupted")
        code = 130
    progress.clear()
    if reader.damaged_count:
        _say(f"{reader.damaged_count} damaged pieces of the store were skipped")
    if code != _DONE and target.done_ns:
        _say(
            f"all before {_option(target.done_ns)} is sent; --from {_option(target.done_ns)} goes on"
        )
    print_report(args.output, {"dry_run": args.dry_run, **target.report()})
    for sentence in target.remarks():
        _say(sentence)
    if args.output == "table":
        tell("Dry run: nothing was written." if args.dry_run else target.closing)
        if code == _DONE and (following := "" if args.dry_run else target.following):
            next_step(following)
    if code == _DONE and (target.is_refused or not target.written.samples):
        return _WRONG
    return code


def _write_unrecorded(
    args: argparse.Namespace,
    config: SentinelConfig,
    reader: StoreReader,
    plan: _Plan,
    target: Target,
    progress: _Progress,
) -> None:
    """Judge group by group into a spool, then write that in order of time."""
    if plan.begun_ns >= plan.recorded_ns:
        return
    from_ns, to_ns = max(plan.from_ns - target.lead_ns, 0), plan.recorded_ns
    minutes = plan.step_ns // (60 * SECOND_NS)
    _say(
        f"up to {instant_told(to_ns)} windows of {minutes} min are judged as a sidecar would have judged them that had begun with the first, "
        "at " + instant_told(plan.begun_ns)
    )
    cells = (to_ns - max(from_ns, plan.begun_ns)) // plan.step_ns * len(plan.wanted)
    _check_room(cells * _CELL_BYTES)
    how = Judging(
        settings=decision_settings(config, now_ns=0, asked_by=""),
        models=config.baseline.settings(),
        calendar=calendar_over(args, first_ns=plan.begun_ns, last_ns=to_ns),
        drift_ratio=config.baseline.drift_ratio,
    )
    folder = OwnFolder("sentinel-export-")
    try:
        spool = SliceSpool(folder.path, slice_ns=target.slice_ns)
        judged = judge_unrecorded(
            reader,
            spool,
            how=how,
            step_ns=plan.step_ns,
            slice_ns=target.slice_ns,
            from_ns=from_ns,
            to_ns=to_ns,
            wanted=plan.wanted,
            begun_ns=plan.begun_ns,
            on_group=progress.judged,
        )
        for part in spool.read():
            target.write(part)
            progress.written(part.end_ns)
    finally:
        folder.remove()
    if judged.uneven:
        some = ", ".join(judged.uneven[:_NAMES_MAX])
        _say(
            f"{len(judged.uneven)} series are left out, for a day is no whole number of their windows: {some}"
        )


def _check_room(size_bytes: int) -> None:
    """Raises StoreError where the folder of temporary files cannot hold what is to be sorted by time."""
    folder = tempfile.gettempdir()
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > 0.9 * free_bytes:
        msg = (
            f"{folder} has {free_bytes / 1e6:.0f} MB free, and {size_bytes / 1e6:.0f} MB are needed for a while; "
            "ask for a part with --from, --to or --series, or set TMPDIR"
        )
        raise StoreError(msg)


class _Progress:
    """Says now and then how far it is, how fast, and how long it will take."""

    def __init__(self, clock: SystemClock, plan: _Plan, target: Target) -> None:
        self._clock = clock
        self._plan = plan
        self._target = target
        self._line = ProgressLine(clock)
        self._began_s = clock.monotonic_s()
        self._writing: tuple[float, int] | None = None
        self._judged_count = 0

    def judged(self, count: int, of_count: int) -> None:
        """A group of series is judged."""
        self._judged_count += count
        spent_s = self._clock.monotonic_s() - self._began_s
        left_s = spent_s / self._judged_count * (of_count - self._judged_count)
        self._line.show(
            f"{self._judged_count} of {of_count} series judged, about {span_told(left_s)} left"
        )

    def written(self, until_ns: int) -> None:
        """Everything up to an instant is written."""
        now_s = self._clock.monotonic_s()
        if self._writing is None:
            self._writing = (now_s, until_ns)
        began_s, began_ns = self._writing
        spent_s, done_ns = now_s - began_s, until_ns - began_ns
        if done_ns > 0 and spent_s > 0:
            left_s = spent_s / done_ns * max(0, self._plan.to_ns - until_ns)
            rate = count_told(self._target.written.windows / spent_s)
            self._line.show(
                f"written to {instant_told(until_ns)}, {rate} windows a second, about {span_told(left_s)} left"
            )

    def clear(self) -> None:
        """Leave the line to others."""
        self._line.clear()


def _option(at_ns: int) -> str:
    """An instant as `--from` takes it."""
    return instant_told(at_ns).removesuffix("+00:00") + "Z"


def _say(sentence: str) -> None:
    tell(f"sentinel baseline export: {printable(sentence)}", file=sys.stderr)
