"""`sentinel-ledger dead`: messages that the poster has given up, listed, sent again, or dropped.

Exit codes: 0 all that was named was done, 1 some of it was not, which the output names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.arguments import count
from sentinel.reference.ledger.operate.cli.servers import Commands, add_nats, nats_url
from sentinel.reference.ledger.wire.config import NatsConfig

if TYPE_CHECKING:
    from sentinel.reference.ledger.operate.dead import Told

_NOT_ALL: Final = 1
_LISTED_COUNT_MAX: Final = 1000


def add_dead(commands: Commands) -> None:
    """Add the command to the grammar."""
    group = commands.add_parser("dead", help="messages that the poster has given up")
    kinds = group.add_subparsers(required=True, metavar="what")

    listing = kinds.add_parser("list", help="which there are, whose, why, and for how long")
    listing.add_argument(
        "--limit",
        type=count,
        default=_LISTED_COUNT_MAX,
        metavar="N",
        help=f"the oldest N (default: {_LISTED_COUNT_MAX})",
    )
    listing.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of the list"
    )
    listing.set_defaults(command=_list)

    retry = kinds.add_parser("retry", help="send them again, once what was wrong is mended")
    retry.set_defaults(command=_retry)

    drop = kinds.add_parser("drop", help="take them away for good")
    drop.add_argument("--yes", action="store_true", help="with --all: all of them are meant")
    drop.set_defaults(command=_drop)

    for parser in (retry, drop):
        parser.add_argument("ids", metavar="ID", nargs="*", help="id of a transaction or batch")
        parser.add_argument("--all", action="store_true", dest="is_all", help="all that are there")
    for parser in (listing, retry, drop):
        parser.add_argument(
            "--state", type=Path, help="state file of `up`, in place of an address"
        )
        add_nats(parser)


def _list(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.dead import list_dead

    found, total_count = asyncio.run(list_dead(_server(options), count_max=options.limit))
    if options.form == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.writelines(_line(one) for one in found)
    if total_count > len(found):
        sys.stderr.write(f"sentinel-ledger: the oldest {len(found)} of {total_count}\n")
    return 0


def _retry(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.dead import retry_dead

    return _do(options, retry_dead)


def _drop(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.dead import drop_dead

    if options.is_all and not options.yes:
        message = "dead drop --all takes away every message for good: add --yes"
        raise UsageError(message)
    return _do(options, drop_dead)


def _do(
    options: argparse.Namespace,
    act: Callable[[NatsConfig, Collection[str]], AsyncIterator[Told]],
) -> int:
    if options.is_all == bool(options.ids):
        message = "name the ids of messages, or --all"
        raise UsageError(message)
    config = _server(options)

    async def run() -> bool:
        is_all_done = True
        async for told in act(config, options.ids):
            # Line by line: should the server go away half way, it is known how far it came.
            sys.stdout.write(json.dumps(told.document()) + "\n")
            sys.stdout.flush()
            is_all_done = is_all_done and told.is_done
        return is_all_done

    return 0 if asyncio.run(run()) else _NOT_ALL


def _line(one: dict[str, object]) -> str:
    age_s = cast("float", one["age_s"])
    more = "" if one["is_whole"] else ", not whole"
    if one["retries_count"]:
        more += f", sent again {one['retries_count']} times"
    tenant = one["tenant"] or "(unknown)"
    return f"{one['id']:<38}{one['reason']:<20}{tenant:<24}{_age(age_s):>6}{more}\n"


def _age(age_s: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if age_s >= 2 * length_s:
            return f"{age_s / length_s:.0f}{unit}"
    return f"{age_s:.0f}s"


def _server(options: argparse.Namespace) -> NatsConfig:
    from sentinel.reference.ledger.operate.state import read_state

    url: Any = nats_url(options)
    if url is None and options.state is not None:
        url = read_state(options.state).nats_url
    if url is None:
        message = "give the address of NATS or --state; see --help"
        raise UsageError(message)
    return NatsConfig(url=url)
