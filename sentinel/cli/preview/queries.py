"""What a preview reads of servers with Prometheus' query API: what `scrapers.prometheus_queries` of a configuration asks them live."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sentinel.cli.instants import SECOND_NS, span_s
from sentinel.cli.preview.files import UNREADABLE, WRONG, PastData
from sentinel.cli.progress import ProgressLine, count_told
from sentinel.errors import InputError, RefusedError, RetryableError, SentinelError
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.loop import run_to_end

if TYPE_CHECKING:
    from sentinel.pipeline.beside import Firing
    from sentinel.runtime.promql import QueryServerConfig

_BIN_S = 300
_LAST_S = 28 * 86_400
_ANY = ""
_FIRING = 'ALERTS{alertstate="firing",severity="page"}'


def add_query_options(
    parser: argparse.ArgumentParser, source: argparse._MutuallyExclusiveGroup
) -> None:
    """Add the options of a preview over servers."""
    source.add_argument(
        "--prometheus",
        metavar="NAME|URL",
        nargs="?",
        const=_ANY,
        help="what the queries of --config give for the past, of all their servers or of one; nothing is stored",
    )
    group = parser.add_argument_group("over the queries of a configuration")
    group.add_argument(
        "--step",
        metavar="TIME",
        type=_step_s,
        help="width of the windows, which divides five minutes (default: the interval of the queries, as live)",
    )
    group.add_argument(
        "--beside",
        metavar="SELECTOR",
        nargs="?",
        const=_FIRING,
        help="lay the pages beside firings of the servers' rules, as their ALERTS has kept them "
        f"(default: {_FIRING})",
    )


def read_servers(args: argparse.Namespace) -> PastData:
    """The series of all servers that are asked; a fault of one leaves the others as they are.

    Raises:
        ConfigError: the configuration is wrong.
    """
    from sentinel.app.config import load_config

    past = PastData()
    servers = _servers(load_config(args.config).config.scrapers.prometheus_queries, args, past)
    for server in servers:
        span = _span(args, server)
        if span[0] >= span[1]:
            past.fault("no whole window of five minutes lies between the start and the end", WRONG)
            break
        _read(server, span, args, past)
    return past


def read_firings(args: argparse.Namespace, past: PastData) -> list[Firing] | None:
    """When the rules of those servers fired in the time of the preview; None when that is not asked for or not known.

    Why it is not known is a fault of `past`.
    """
    from sentinel.app.config import load_config
    from sentinel.app.past_alerts import firings_of_server

    if args.beside is None:
        return None
    found: list[Firing] = []
    for server in _servers(
        load_config(args.config).config.scrapers.prometheus_queries, args, past
    ):
        try:
            firings = firings_of_server(server, args.beside, span=_span(args, server))
            found += run_to_end(firings)
        except (InputError, RefusedError) as error:
            _fault(past, server, error, WRONG)
            return None
        except RetryableError as error:
            _fault(past, server, error, UNREADABLE)
            return None
    return found


def _read(
    server: QueryServerConfig, span: tuple[int, int], args: argparse.Namespace, past: PastData
) -> None:
    from sentinel.app.past_queries import past_of_server

    clock = SystemClock()
    line = ProgressLine(clock)

    def advance(done_ratio: float, row_count: int) -> None:
        line.show(
            f"{server.name}: {done_ratio:.0%} read, {count_told(row_count)} values",
            is_last=done_ratio >= 1,
        )

    try:
        found = run_to_end(
            past_of_server(
                server,
                span=span,
                step_ns=(args.step or round(server.interval)) * SECOND_NS,
                clock=clock,
                on_advance=advance,
                on_wait=line.say,
            )
        )
    except (InputError, RefusedError) as error:
        _fault(past, server, error, WRONG)
        return
    except RetryableError as error:
        _fault(past, server, error, UNREADABLE)
        return
    finally:
        line.clear()
    past.said += [f"{server.name}: {one}" for one in found.remarks]
    if not found.series:
        past.fault(f"{server.name}: its queries gave nothing in that time", WRONG)
    for one in found.series:
        if one.name in past.series:
            past.fault(f"{server.name}: a series named {one.name} was given already", WRONG)
        else:
            past.series[one.name] = one


def _fault(past: PastData, server: QueryServerConfig, error: SentinelError, code: int) -> None:
    for sentence in str(error).splitlines():
        past.fault(f"{server.name}: {sentence}", code)


def _servers(
    known: tuple[QueryServerConfig, ...], args: argparse.Namespace, past: PastData
) -> list[QueryServerConfig]:
    chosen = [one for one in known if args.prometheus in (_ANY, one.name, one.url)]
    chosen = [one for one in chosen if one.queries]
    if not chosen:
        names = ", ".join(one.name for one in known) or "none"
        past.fault(
            f"no server with queries is called {args.prometheus}; the configuration has {names}"
            if args.prometheus
            else "the configuration has no scrapers.prometheus_queries to ask",
            WRONG,
        )
    return chosen


def _span(args: argparse.Namespace, server: QueryServerConfig) -> tuple[int, int]:
    """Whole windows of five minutes: the last weeks, or what was asked for."""
    bin_ns = _BIN_S * SECOND_NS
    newest_ns = SystemClock().now_ns() - round(server.lag * SECOND_NS)
    end_ns = min(newest_ns, newest_ns if args.end is None else args.end) // bin_ns * bin_ns
    start_ns = args.begin
    if start_ns is None:
        start_ns = end_ns - (args.last or _LAST_S) * SECOND_NS
    return -(-start_ns // bin_ns) * bin_ns, end_ns


def _step_s(text: str) -> int:
    found = span_s(text, units="sm", example="30s, 1m or 5m")
    if _BIN_S % found:
        msg = "must divide five minutes, such as 15s, 30s, 1m or 5m"
        raise argparse.ArgumentTypeError(msg)
    return found
