"""`sentinel baseline backfill`: past data into a store, from files or from a server of the past."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel.cli.baseline_report import instant_told, print_report
from sentinel.cli.instants import SECOND_NS, instant_ns, span_s
from sentinel.cli.options import unreadable
from sentinel.cli.progress import ProgressLine, count_told, span_told
from sentinel.errors import (
    InputError,
    MalformedInputError,
    RefusedError,
    RetryableError,
    StoreError,
    StoreLockedError,
    UnsupportedInputError,
)
from sentinel.history import HistoryRows, Mark, OpenMetricsFile, SeriesNumbers, read_long
from sentinel.pipeline.backfill import STEP_NS, Backfill, BackfillSummary
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.loop import run_to_end
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import SqliteStore, StoreConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentinel.app.backfill.promql import Advance
    from sentinel.app.config import SentinelConfig
    from sentinel.history.parquet import ParquetFile
    from sentinel.runtime.promql.config import QueryServerConfig

_DONE, _WRONG, _USAGE, _CANNOT_TELL = 0, 1, 2, 3
_HEAD_BYTES = 4096
_WEEK_NS = 7 * 86_400 * SECOND_NS
_WEEKS = 4
_WEEKS_MAX = 260
_PARALLEL_MAX = 16
_AFTER = "Stored. Start the sidecar; it fits at once."
_AFTER_DRY_RUN = "Dry run: all of it can be stored, and nothing was."
_HOW_TO_INSTALL = "pip install 'sentinel-sidecar[parquet]'"
_QUIET_S = 2.0
_GO_ON = "what is stored stays; the same command goes on from there"


def add_backfill(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the action and what is its own."""
    parser = actions.add_parser(
        "backfill",
        help="store past data as windows of five minutes",
        description=(
            "Reads CSV (timestamp,service,stage,route,signal,value,weight; sorted by time; .gz too), Parquet with these columns, or"
            " OpenMetrics with timestamps, or asks servers with Prometheus' query API what `scrapers.prometheus_queries` of a configuration asks"
            " while the sidecar runs; and stores windows of five minutes. Nothing is stored when a file has a fault. Ended in the"
            " middle, the same command goes on; the same data again leaves the same store. Never pages."
            " Exit codes: 0 stored, 1 the data, a query or the configuration is wrong, 2 usage, 3 a file, the server or the store cannot be used."
        ),
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="files of past data, each sorted by time",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "csv", "openmetrics", "parquet"),
        default="auto",
        help="what the files hold; auto goes by the name, then by the first line (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read and check everything, store nothing"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration: its queries where no file is given, and its store",
    )
    server = parser.add_argument_group("from a server with Prometheus' query API")
    server.add_argument(
        "--prometheus",
        metavar="URL",
        help="ask this server the configuration's queries; a name picks one of its servers (default: each of them)",
    )
    server.add_argument(
        "--weeks",
        type=_weeks,
        metavar="N",
        help=f"how far back, from --end (default: {_WEEKS})",
    )
    server.add_argument(
        "--start", type=instant_ns, metavar="TIME", help="from when on, such as 2026-11-01T08:00Z"
    )
    server.add_argument("--end", type=instant_ns, metavar="TIME", help="until when (default: now)")
    server.add_argument(
        "--step",
        type=_step_s,
        metavar="TIME",
        help="between two values, such as 15s or 5m; divides five minutes (default: the server's interval, as while the sidecar runs)",
    )
    server.add_argument(
        "--parallel",
        type=_parallel,
        metavar="N",
        help=f"most requests at once, at most {_PARALLEL_MAX} (default: as configured, 4)",
    )
    parser.set_defaults(run=run_backfill)
    return parser


def run_backfill(args: argparse.Namespace) -> int:
    """Read what was named, and store it."""
    over_servers = {
        "--prometheus": args.prometheus,
        "--weeks": args.weeks,
        "--start": args.start,
        "--end": args.end,
        "--step": args.step,
        "--parallel": args.parallel,
    }
    if args.files:
        given = [name for name, value in over_servers.items() if value is not None]
        if given:
            _say(f"{', '.join(given)}: only without files")
            return _USAGE
    elif args.config is None:
        _say("give files of past data, or --config with the queries to ask a server")
        return _USAGE
    if args.weeks is not None and args.start is not None:
        _say("give --weeks or --start, not both")
        return _USAGE
    config: SentinelConfig | None = None
    if args.config is not None:
        from sentinel.app.config import load_config

        config = load_config(args.config).config
    store = StoreConfig() if config is None else config.store
    if args.store is not None:
        store = replace(store, directory=str(args.store))
    if config is not None and not args.files:
        return _run_servers(args, config, store)
    return _run_files(args, store)


def _run_files(args: argparse.Namespace, config: StoreConfig) -> int:
    """Read the files, then store what they hold."""
    try:
        # A dry run keeps nothing, and so does one whose files cannot even be looked at.
        source = "" if args.dry_run else _source(args.files, args.format)
        backfill = Backfill(
            now_ns=SystemClock().now_ns(),
            keep_ns=config.keep_ns(STEP_NS),
            folder=Path(config.directory) if source else None,
            source=source,
        )
    except StoreLockedError as error:
        _say(str(error))
        return _CANNOT_TELL
    with backfill:
        return _read_and_store(args, config, backfill)


def _read_and_store(args: argparse.Namespace, config: StoreConfig, backfill: Backfill) -> int:
    begun = backfill.resumed
    numbers = SeriesNumbers(() if begun is None else begun.keys)
    if begun is not None:
        _say(
            f"goes on where an earlier run was, in file {begun.file + 1} of {len(args.files)}"
            if begun.file < len(args.files)
            else "goes on where an earlier run was: all is read"
        )
    code = _DONE
    for at, path in enumerate(args.files):
        mark = None
        if begun is not None:
            if at < begun.file:
                continue
            mark = begun.mark if at == begun.file else None
        try:
            _read(path, args.format, numbers, backfill, file=at, mark=mark)
            if code == _DONE:
                backfill.file_read(numbers, file=at, is_last=at == len(args.files) - 1)
        except InputError as error:
            for line in str(error).splitlines():
                _say(line)
            code = max(code, _WRONG)
        except OSError as error:
            if str(error.filename) != str(path):
                raise  # not the file: the room for what was read of it
            _say(unreadable(path, error))
            code = _CANNOT_TELL
    if code != _DONE:
        backfill.forget()
        _say("nothing is stored")
        return code
    if args.dry_run:
        summary = backfill.store(None, numbers.keys)
    else:
        with _opened(config) as store:
            if store is None:
                return _CANNOT_TELL
            summary = backfill.store(store, numbers.keys)
    print_report(args.output, _told(summary, dry_run=args.dry_run))
    if args.output == "table":
        print(_AFTER_DRY_RUN if args.dry_run else _AFTER)
    return _DONE


def _source(files: list[Path], form: str) -> str:
    """What is read, and how: the same files, unchanged, in the same order; "" where one cannot be looked at."""
    try:
        stats = [(str(path.resolve()), path.stat()) for path in files]
    except OSError:
        return ""
    what = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    return hashlib.blake2b(json.dumps([form, what]).encode(), digest_size=16).hexdigest()


def _run_servers(args: argparse.Namespace, config: SentinelConfig, stored: StoreConfig) -> int:
    """Ask each server what it knows of the past."""
    servers = _servers(args, config)
    if not servers:
        return _USAGE
    clock = SystemClock()
    now_ns = clock.now_ns()
    span = _span(args, now_ns=now_ns, lag_s=max(server.lag for server in servers))
    if span is None:
        return _USAGE
    span, too_old = _kept(span, now_ns - stored.keep_ns(STEP_NS))
    if too_old:
        _say(
            f"what is before {instant_told(span[0])} is left out: the store keeps no longer (store.keep_5m)"
        )
    if span[0] >= span[1]:
        _say("no whole window of five minutes lies between the start and the end")
        return _USAGE
    if args.dry_run:
        return _ask_servers(args, servers, None, span=span, now_ns=now_ns)
    with _opened(stored) as store:
        if store is None:
            return _CANNOT_TELL
        return _ask_servers(args, servers, store, span=span, now_ns=now_ns)


def _ask_servers(
    args: argparse.Namespace,
    servers: list[QueryServerConfig],
    store: SqliteStore | None,
    *,
    span: tuple[int, int],
    now_ns: int,
) -> int:
    from sentinel.app.backfill.promql import backfill_from_server, finished, short_of_ns

    clock = SystemClock()
    for server in servers:
        line = ProgressLine(clock)

        def advance(one: Advance, line: ProgressLine = line, name: str = server.name) -> None:
            line.show(_sentence(name, one), is_last=one.run_ratio >= 1)

        try:
            report = run_to_end(
                backfill_from_server(
                    server,
                    store,
                    span=span,
                    step_ns=_step_ns(args, server),
                    now_ns=now_ns,
                    clock=clock,
                    on_advance=advance,
                    on_wait=line.say,
                )
            )
        except (InputError, RefusedError) as error:
            line.clear()
            return _ended(server, error, _WRONG, is_dry=store is None)
        except (RetryableError, StoreError) as error:
            line.clear()
            return _ended(server, error, _CANNOT_TELL, is_dry=store is None)
        except KeyboardInterrupt:
            line.clear()
            _say(f"ended by hand; {_GO_ON}")
            raise
        line.clear()
        told: dict[str, Any] = {"source": f"{server.name}: {server.url}"}
        told |= _told(report.summary, dry_run=args.dry_run)
        told |= {
            "resumed": report.resumed,
            "value_count": report.value_count,
            "request_count": report.request_count,
            "read_s": round(report.read_s, 1),
            "store_s": round(report.store_s, 1),
        }
        remarks = list(report.remarks)
        missing_ns = short_of_ns(span, report.summary)
        if missing_ns is not None:
            remarks.insert(
                0,
                f"asked for from {instant_told(span[0])} on, there is nothing before {instant_told(report.summary.start_ns)}:"
                f" {span_told(missing_ns / 1e9)} less; does the server keep no more?",
            )
        elif not report.summary.window_count:
            remarks.insert(0, "there is nothing at all: are the queries right, and the time?")
        told["remarks"] = remarks if args.output == "json" else [{"-": one} for one in remarks]
        print_report(args.output, told)
    if store is not None:
        for server in servers:
            finished(store, server, step_ns=_step_ns(args, server), now_ns=now_ns)
    if args.output == "table":
        print(_AFTER_DRY_RUN if args.dry_run else _AFTER)
    return _DONE


def _ended(server: QueryServerConfig, error: Exception, code: int, *, is_dry: bool) -> int:
    for sentence in str(error).splitlines():
        _say(f"{server.name}: {sentence}")
    if code == _CANNOT_TELL and not is_dry:
        _say(_GO_ON)
    return code


def _servers(args: argparse.Namespace, config: SentinelConfig) -> list[QueryServerConfig]:
    """Whom to ask; none, with a sentence said, where that makes no sense."""
    known = list(config.scrapers.prometheus_queries)
    named = args.prometheus
    if named is not None:
        chosen = [server for server in known if named in (server.name, server.url)]
        if not chosen and "://" in named and len(known) == 1:
            try:
                chosen = [replace(known[0], url=named)]
            except ValueError as error:
                _say(f"--prometheus: {error}")
                return []
        if not chosen:
            names = ", ".join(server.name for server in known) or "none"
            _say(f"no server of the configuration is called {printable(named)}; there is {names}")
            return []
        known = chosen
    if not known:
        _say("the configuration has no scrapers.prometheus_queries to ask")
        return []
    without = [server.name for server in known if not server.queries]
    if without:
        _say(f"server {without[0]} of the configuration has no queries")
        return []
    if args.parallel is not None:
        known = [replace(server, parallel=args.parallel) for server in known]
    return known


def _span(args: argparse.Namespace, *, now_ns: int, lag_s: float) -> tuple[int, int] | None:
    """Whole windows between start and end; None, with a sentence said, where that makes no sense."""
    newest_ns = now_ns - round(lag_s * SECOND_NS)
    end_ns = newest_ns if args.end is None else args.end
    if end_ns > now_ns:
        _say(
            f"--end {instant_told(end_ns)} lies in the future: only what has been can be learnt from"
        )
        return None
    end_ns = min(end_ns, newest_ns) // STEP_NS * STEP_NS
    start_ns = args.start
    if start_ns is None:
        start_ns = end_ns - (args.weeks or _WEEKS) * _WEEK_NS
    if start_ns >= end_ns:
        _say(f"--start {instant_told(start_ns)} is not before the end, {instant_told(end_ns)}")
        return None
    return -(-start_ns // STEP_NS) * STEP_NS, end_ns


def _kept(span: tuple[int, int], oldest_ns: int) -> tuple[tuple[int, int], bool]:
    first_ns = -(-oldest_ns // STEP_NS) * STEP_NS
    return (max(span[0], first_ns), span[1]), span[0] < first_ns


@contextmanager
def _opened(config: StoreConfig) -> Iterator[SqliteStore | None]:
    """The store, or None with a sentence said when a sidecar uses it."""
    logger = logging.getLogger("sentinel.baseline")
    surroundings = Surroundings(clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logger)
    store = SqliteStore(config, surroundings)
    try:
        store.open()
    except StoreLockedError as error:
        _say(f"{error}; stop the sidecar, backfill, and start it again")
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def _sentence(name: str, one: Advance) -> str:
    left = "" if one.left_s is None else f", {span_told(one.left_s)} left"
    return (
        f"{name}: {one.done_ratio:.0%}, read until {instant_told(one.at_ns)},"
        f" {count_told(one.value_count)} values, {count_told(one.rate)}/s{left}"
    )


def _step_ns(args: argparse.Namespace, server: QueryServerConfig) -> int:
    """Between two values: what is asked for, else the server's interval, or a window where that does not divide it."""
    step_ns = args.step * SECOND_NS if args.step is not None else round(server.interval * 1e9)
    return step_ns if STEP_NS % step_ns == 0 else STEP_NS


def _weeks(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= _WEEKS_MAX):
        msg = f"must be a number between 1 and {_WEEKS_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _step_s(text: str) -> int:
    found = span_s(text, units="sm", example="15s, 1m or 5m")
    if (STEP_NS // SECOND_NS) % found:
        msg = "must divide five minutes, such as 15s, 30s, 1m or 5m"
        raise argparse.ArgumentTypeError(msg)
    return found


def _parallel(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:3]) <= _PARALLEL_MAX):
        msg = f"must be a number between 1 and {_PARALLEL_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _say(sentence: str) -> None:
    print(f"sentinel baseline: {printable(sentence)}", file=sys.stderr)


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


def _told(summary: BackfillSummary, *, dry_run: bool) -> dict[str, Any]:
    told = asdict(summary)
    start_ns, end_ns = told.pop("start_ns"), told.pop("end_ns")
    return {
        "dry_run": dry_run,
        **told,
        "start": instant_told(start_ns) if end_ns else None,
        "end": instant_told(end_ns) if end_ns else None,
    }
