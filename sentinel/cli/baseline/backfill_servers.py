"""`sentinel baseline backfill --config PATH`: past data from servers with Prometheus' query API."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sentinel.cli.baseline.backfill_first import FirstOf
from sentinel.cli.baseline.backfill_told import (
    CANNOT_TELL,
    DONE,
    USAGE,
    WRONG,
    close,
    opened_store,
    say,
    told_of,
)
from sentinel.cli.baseline.report import instant_told, minute_told, print_report
from sentinel.cli.instants import SECOND_NS
from sentinel.cli.progress import ProgressLine, count_told, span_told
from sentinel.errors import (
    InputError,
    RefusedError,
    RetryableError,
    SentinelError,
    StoreError,
    UnreachableError,
)
from sentinel.pipeline.backfill import STEP_NS
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.loop import run_to_end
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import SqliteStore, StoreConfig

if TYPE_CHECKING:
    from sentinel.app.backfill.promql import Advance, PromqlReport
    from sentinel.app.config import SentinelConfig
    from sentinel.runtime.promql.config import QueryServerConfig

WEEKS = 4
"""So many are asked for when nothing is said."""
_WEEK_NS = 7 * 86_400 * SECOND_NS
_GO_ON = "what is stored stays; the same command goes on from there"


def run_servers(args: argparse.Namespace, config: SentinelConfig, stored: StoreConfig) -> int:
    """Ask each server what it knows of the past."""
    servers = _servers(args, config)
    if not servers:
        return USAGE
    clock = SystemClock()
    now_ns = clock.now_ns()
    span = _span(args, now_ns=now_ns, lag_s=max(server.lag for server in servers))
    if span is None:
        return USAGE
    span, too_old = _kept(span, now_ns - stored.keep_ns(STEP_NS))
    if too_old:
        say(
            f"what is before {instant_told(span[0])} is left out: the store keeps no longer (store.keep_5m)"
        )
    if span[0] >= span[1]:
        say("no whole window of five minutes lies between the start and the end")
        return USAGE
    window_ns = config.series.series_settings().window_ns
    if args.dry_run:
        return _ask_servers(
            args, servers, None, stored, span=span, now_ns=now_ns, window_ns=window_ns
        )
    with opened_store(stored) as store:
        if store is None:
            return CANNOT_TELL
        return _ask_servers(
            args, servers, store, stored, span=span, now_ns=now_ns, window_ns=window_ns
        )


def _ask_servers(
    args: argparse.Namespace,
    servers: list[QueryServerConfig],
    store: SqliteStore | None,
    stored: StoreConfig,
    *,
    span: tuple[int, int],
    now_ns: int,
    window_ns: int,
) -> int:
    from sentinel.app.backfill.promql import finished

    clock = SystemClock()
    deadline_s = None if args.within is None else clock.monotonic_s() + args.within
    read: list[tuple[QueryServerConfig, FirstOf | None]] = []
    code = DONE
    for server in servers:
        first = None
        asked = span
        if args.before_run and store is not None:
            first = FirstOf(store, server, step_ns=_step_ns(args, server), now_ns=now_ns)
            planned = first.begin(span)
            if planned is None:
                # Given up is not done; the others may be read all the same.
                code = code if first.is_whole else CANNOT_TELL
                continue
            asked = planned
        try:
            ended = _ask_server(
                args, server, store, span=asked, now_ns=now_ns, deadline_s=deadline_s
            )
        except BaseException:
            if first is not None:
                first.end(is_whole=False)
            raise
        if ended == DONE:
            read.append((server, first))
            continue
        if first is None:
            return ended
        first.end(is_whole=False)
        code = ended
    if store is not None:
        for server, first in read:
            if first is not None:
                first.end(is_whole=True)
            finished(store, server, step_ns=_step_ns(args, server), now_ns=now_ns)
    if read and code == DONE:
        kept = store is not None and args.end is None and _keep_latest(servers, store, window_ns)
        close(args, stored, judges_at_once=kept)
    return code


def _keep_latest(servers: list[QueryServerConfig], store: SqliteStore, window_ns: int) -> bool:
    """Keep the last windows as the sidecar will see them; without them it waits for some of its own, so a failure is told and no more."""
    from sentinel.app.backfill.latest import keep_latest

    try:
        is_kept = run_to_end(keep_latest(servers, store, window_ns=window_ns, clock=SystemClock()))
    except (SentinelError, TimeoutError) as error:
        why = str(error).partition("\n")[0] or "no answer in time"
        say(
            f"the last windows could not be asked for, so the sidecar waits for six before it judges: {why}"
        )
        return False
    if not is_kept:
        say("of the last windows nothing is known, so the sidecar waits for six before it judges")
    return is_kept


def _ask_server(
    args: argparse.Namespace,
    server: QueryServerConfig,
    store: SqliteStore | None,
    *,
    span: tuple[int, int],
    now_ns: int,
    deadline_s: float | None,
) -> int:
    """Ask one of them, and print what came of it."""
    from sentinel.app.backfill.promql import backfill_from_server, short_of_ns

    clock = SystemClock()
    line = ProgressLine(clock)

    def advance(one: Advance) -> None:
        line.show(_sentence(server.name, one), is_last=one.run_ratio >= 1)

    async def within() -> PromqlReport:
        left_s = None if deadline_s is None else max(0.0, deadline_s - clock.monotonic_s())
        async with asyncio.timeout(left_s):
            return await backfill_from_server(
                server,
                store,
                span=span,
                step_ns=_step_ns(args, server),
                now_ns=now_ns,
                clock=clock,
                on_advance=advance,
                on_wait=line.say,
            )

    try:
        report = run_to_end(within())
    except (InputError, RefusedError) as error:
        line.clear()
        return _ended(server, error, WRONG, is_dry=store is None)
    except (RetryableError, StoreError) as error:
        line.clear()
        return _ended(server, error, CANNOT_TELL, is_dry=store is None)
    except TimeoutError:
        line.clear()
        late = UnreachableError(f"not read to the end within {span_told(float(args.within or 0))}")
        return _ended(server, late, CANNOT_TELL, is_dry=store is None)
    except KeyboardInterrupt:
        line.clear()
        say(f"ended by hand; {_GO_ON}")
        raise
    line.clear()
    told: dict[str, Any] = {"source": f"{server.name}: {server.url}"}
    told |= told_of(report.summary, dry_run=args.dry_run)
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
    return DONE


def _ended(server: QueryServerConfig, error: Exception, code: int, *, is_dry: bool) -> int:
    for sentence in str(error).splitlines():
        say(f"{server.name}: {sentence}")
    if code == CANNOT_TELL and not is_dry:
        say(_GO_ON)
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
                say(f"--prometheus: {error}")
                return []
        if not chosen:
            names = ", ".join(server.name for server in known) or "none"
            say(f"no server of the configuration is called {printable(named)}; there is {names}")
            return []
        known = chosen
    if not known:
        say("the configuration has no scrapers.prometheus_queries to ask")
        return []
    without = [server.name for server in known if not server.queries]
    if without:
        say(f"server {without[0]} of the configuration has no queries")
        return []
    if args.parallel is not None:
        known = [replace(server, parallel=args.parallel) for server in known]
    return known


def _span(args: argparse.Namespace, *, now_ns: int, lag_s: float) -> tuple[int, int] | None:
    """Whole windows between start and end; None, with a sentence said, where that makes no sense."""
    newest_ns = now_ns - round(lag_s * SECOND_NS)
    end_ns = newest_ns if args.end is None else args.end
    if end_ns > now_ns:
        say(
            f"--end {instant_told(end_ns)} lies in the future: only what has been can be learnt from"
        )
        return None
    end_ns = min(end_ns, newest_ns) // STEP_NS * STEP_NS
    start_ns = args.start
    if start_ns is None:
        start_ns = end_ns - (args.weeks or WEEKS) * _WEEK_NS
    if start_ns >= end_ns:
        say(f"--start {instant_told(start_ns)} is not before the end, {instant_told(end_ns)}")
        return None
    return -(-start_ns // STEP_NS) * STEP_NS, end_ns


def _kept(span: tuple[int, int], oldest_ns: int) -> tuple[tuple[int, int], bool]:
    first_ns = -(-oldest_ns // STEP_NS) * STEP_NS
    return (max(span[0], first_ns), span[1]), span[0] < first_ns


def _sentence(name: str, one: Advance) -> str:
    """How far it got; what matters least stands last, where a narrow terminal cuts."""
    left = "" if one.left_s is None else f", {span_told(one.left_s)} left"
    return (
        f"{name}: {one.done_ratio:.0%}{left}, {count_told(one.value_count)} values,"
        f" {count_told(one.rate)}/s, read until {minute_told(one.at_ns)}"
    )


def _step_ns(args: argparse.Namespace, server: QueryServerConfig) -> int:
    """Between two values: what is asked for, else the server's interval, or a window where that does not divide it."""
    step_ns = args.step * SECOND_NS if args.step is not None else round(server.interval * 1e9)
    return step_ns if STEP_NS % step_ns == 0 else STEP_NS
