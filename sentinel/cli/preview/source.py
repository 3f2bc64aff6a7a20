"""Where a preview reads from when it is a store or a copy of a part of one, and over which span."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sentinel.cli.instants import SECOND_NS, instant_ns, span_s
from sentinel.storage.sqlite.excerpt import excerpt_span
from sentinel.storage.sqlite.reader import StoreReader

END_NS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when; None for from the beginning on."""

    from_ns: int | None
    to_ns: int


def add_store_options(
    parser: argparse.ArgumentParser, source: argparse._MutuallyExclusiveGroup
) -> None:
    """Add the options of a preview over a store."""
    source.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        help="the folder of a sidecar's store, which may be in use; it is only read",
    )
    source.add_argument(
        "--snapshot", metavar="FILE", type=Path, help="a file that --save-snapshot wrote"
    )
    group = parser.add_argument_group(
        "over a store, a snapshot or, but for --coarse and --save-snapshot, queries"
    )
    group.add_argument(
        "--from", dest="begin", metavar="TIME", type=instant_ns, help="such as 2026-11-01T08:00Z"
    )
    group.add_argument("--to", dest="end", metavar="TIME", type=instant_ns, help="until then")
    group.add_argument(
        "--last", metavar="SPAN", type=span_s, help="the last 12h, 7d or 4w of what is stored"
    )
    group.add_argument(
        "--coarse",
        action="store_true",
        help="replay the windows of a minute, which are kept for longer, as files are, from nothing learned on: close to live, not equal",
    )
    group.add_argument(
        "--save-snapshot",
        metavar="FILE",
        type=Path,
        help="also copy what this preview reads into one file, for --snapshot elsewhere",
    )


def ignored_options(args: argparse.Namespace) -> str | None:
    """A sentence on options that the source given does not look at; taken in silence, a span of files was all of them."""
    over_files = {
        "--from": args.begin is not None,
        "--to": args.end is not None,
        "--last": args.last is not None,
        "--coarse": args.coarse,
        "--save-snapshot": args.save_snapshot is not None,
    }
    over_stores = {"--kind": args.kind is not None, "--model": args.model is not None}
    # Coarsely fits are made anew, so their calendar can be another; else it is that of the fits that live made.
    over_stores |= {
        "--zone": args.zone is not None and not args.coarse,
        "--country": args.country is not None and not args.coarse,
        "--closing-dates": args.closing_dates is not None and not args.coarse,
    }
    over_queries = {"--kind": args.kind is not None, "--coarse": args.coarse}
    over_queries["--save-snapshot"] = args.save_snapshot is not None
    if args.step is not None and args.prometheus is None:
        return "--step: only for --prometheus"
    if args.beside is not None and args.prometheus is None:
        return "--beside: only for --prometheus, whose rules have fired"
    if args.prometheus is not None:
        given, where = over_queries, "--csv" if args.kind is not None else "--store"
    elif args.paths is not None:
        given, where = over_files, "--store and --snapshot"
    else:
        given, where = over_stores, "--csv"
    names = [name for name, is_given in given.items() if is_given]
    if not names:
        return None
    coarse = (
        ", or for --coarse"
        if given is over_stores and names[0] not in {"--kind", "--model"}
        else ""
    )
    return f"{', '.join(names)}: only for {where}{coarse}"


def span_of(args: argparse.Namespace, reader: StoreReader, *, step_ns: int) -> Span:
    """The span that is asked for, of windows of this width; of a snapshot by itself the one that it was made for."""
    to_ns = END_NS if args.end is None else args.end
    from_ns: int | None = args.begin
    if args.snapshot is not None:
        made_for = excerpt_span(reader.notes(start_ns=0, end_ns=END_NS))
        made_from_ns, made_to_ns = (None, END_NS) if made_for is None else made_for
        from_ns = made_from_ns if from_ns is None else from_ns
        to_ns = min(to_ns, made_to_ns)
    if args.last is not None:
        newest_ns = max(
            (end for step, _, end in reader.history_span() if step == step_ns), default=0
        )
        from_ns = min(newest_ns, to_ns) - args.last * SECOND_NS
    return Span(from_ns=from_ns, to_ns=to_ns)
