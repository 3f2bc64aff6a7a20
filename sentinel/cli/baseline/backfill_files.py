"""`sentinel baseline backfill FILE...`: past data from files."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.cli.baseline.backfill_told import (
    CANNOT_TELL,
    DONE,
    WRONG,
    close,
    is_used,
    opened_store,
    say,
    told_of,
)
from sentinel.cli.baseline.report import print_report
from sentinel.cli.options import unreadable
from sentinel.cli.progress import ProgressLine, count_told, span_told
from sentinel.errors import (
    InputError,
    MalformedInputError,
    StoreLockedError,
    UnsupportedInputError,
)
from sentinel.history import HistoryRows, Mark, OpenMetricsFile, SeriesNumbers, read_long
from sentinel.pipeline.backfill import STEP_NS, Backfill
from sentinel.runtime.clock import SystemClock
from sentinel.storage.sqlite import StoreConfig

if TYPE_CHECKING:
    from sentinel.history.parquet import ParquetFile

_HEAD_BYTES = 4096
_HOW_TO_INSTALL = "pip install 'sentinel-sidecar[parquet]'"
_QUIET_S = 2.0


def run_files(args: argparse.Namespace, config: StoreConfig) -> int:
    """Read the files, then store what they hold."""
    if not args.dry_run and is_used(config):
        return CANNOT_TELL
    try:
        # A dry run keeps nothing, and so does one whose files cannot even be looked at.
        source = "" if args.dry_run else _source(args.files, args.format)
        backfill = Backfill(
            now_ns=SystemClock().now_ns(),
            keep_ns=config.keep_ns(STEP_NS),
            folder=Path(config.directory) if source else None,
            source=source,
        )
        with backfill:
            return _read_and_store(args, config, backfill)
    except StoreLockedError as error:  # also of one that began at the same moment
        say(str(error))
        return CANNOT_TELL


def _read_and_store(args: argparse.Namespace, config: StoreConfig, backfill: Backfill) -> int:
    begun = backfill.resumed
    numbers = SeriesNumbers(() if begun is None else begun.keys)
    if begun is not None:
        say(
            f"goes on where an earlier run was, in file {begun.file + 1} of {len(args.files)}"
            if begun.file < len(args.files)
            else "goes on where an earlier run was: all is read"
        )
    code = DONE
    for at, path in enumerate(args.files):
        mark = None
        if begun is not None:
            if at < begun.file:
                continue
            mark = begun.mark if at == begun.file else None
        try:
            _read(path, args.format, numbers, backfill, file=at, mark=mark)
            if code == DONE:
                backfill.file_read(numbers, file=at, is_last=at == len(args.files) - 1)
        except InputError as error:
            for line in str(error).splitlines():
                say(line)
            code = max(code, WRONG)
        except OSError as error:
            if str(error.filename) != str(path):
                raise  # not the file: the room for what was read of it
            say(unreadable(path, error))
            code = CANNOT_TELL
    if code != DONE:
        backfill.forget()
        say("nothing is stored")
        return code
    if args.dry_run:
        summary = backfill.store(None, numbers.keys)
    else:
        with opened_store(config) as store:
            if store is None:
                return CANNOT_TELL
            summary = backfill.store(store, numbers.keys)
    print_report(args.output, told_of(summary, dry_run=args.dry_run))
    if not summary.series_count:
        say("nothing is stored: no row is of a series and of the time that the store keeps")
        return WRONG
    close(args, config)
    return DONE


def _source(files: list[Path], form: str) -> str:
    """What is read, and how: the same files, unchanged, in the same order; "" where one cannot be looked at."""
    try:
        stats = [(str(path.resolve()), path.stat()) for path in files]
    except OSError:
        return ""
    what = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    return hashlib.blake2b(json.dumps([form, what]).encode(), digest_size=16).hexdigest()


def _read(
    path: Path,
    form: str,
    numbers: SeriesNumbers,
    backfill: Backfill,
    *,
    file: int,
    mark: Mark | None,
) -> None:
    now_ns = backfill.now_ns
    if form == "auto":
        form = _format_of(path)
    if form == "parquet":
        rows = _parquet(path).rows(numbers, not_after_ns=now_ns, mark=mark)
        backfill.add(_watched(path, rows), numbers=numbers, file=file)
        return
    if form == "csv":
        rows = read_long(path, numbers, not_after_ns=now_ns, mark=mark)
        backfill.add(_watched(path, rows), numbers=numbers, file=file)
        return
    source = OpenMetricsFile(path)
    rows = source.rows(numbers, not_after_ns=now_ns, mark=mark)
    backfill.add(_watched(path, rows), numbers=numbers, file=file)
    backfill.skip("not a gauge of a series", source.skipped_count)


def _watched(path: Path, batches: Iterator[HistoryRows]) -> Iterator[HistoryRows]:
    """The same, with how far it is on standard error; a file that is read in a moment says nothing."""
    clock = SystemClock()
    began_s = clock.monotonic_s()
    line = ProgressLine(clock)
    size, first, count = path.stat().st_size, None, 0
    for rows in batches:
        count += rows.time_ns.size
        mark = rows.mark or {}
        # Of what is compressed only the rows are known.
        at = mark.get("of") or (mark.get("offset", 0) / size if path.suffix != ".gz" else 0.0)
        first = at if first is None else first
        elapsed_s = clock.monotonic_s() - began_s
        if elapsed_s > _QUIET_S and rows.mark is not None:
            told = f"{path.name}: {count_told(count)} rows, {count_told(count / elapsed_s)}/s"
            if 0 < first < at <= 1:
                left_s = elapsed_s * (1 - at) / (at - first)
                told += f", {at:.0%}, {span_told(left_s)} left"
            line.show(told)
        yield rows
    line.clear()


def _parquet(path: Path) -> ParquetFile:
    try:
        # 60 MB, and not everybody's.
        from sentinel.history.parquet import ParquetFile
    except ImportError as error:
        msg = f"{path} is Parquet, which needs pyarrow: {_HOW_TO_INSTALL} brings it"
        raise UnsupportedInputError(msg) from error
    return ParquetFile(path)


def _format_of(path: Path) -> str:
    """What a file holds, by its name and, where that says nothing, by its first bytes."""
    names = {
        ".csv": "csv",
        ".parquet": "parquet",
        ".om": "openmetrics",
        ".prom": "openmetrics",
        ".txt": "openmetrics",
    }
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in names:
        return names[suffix]
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"timestamp,"):
        return "csv"
    if head.startswith(b"#"):
        return "openmetrics"
    msg = (
        f"{path}: neither CSV with its header nor OpenMetrics nor Parquet; say which with --format"
    )
    raise MalformedInputError(msg)
