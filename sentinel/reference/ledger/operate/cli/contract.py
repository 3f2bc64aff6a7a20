"""`sentinel-ledger contract`: what the edge takes and answers, as OpenAPI 3.1."""

from __future__ import annotations

import argparse
import sys

from sentinel.reference.ledger.operate.cli.servers import Commands


def add_contract(commands: Commands) -> None:
    """Add the command to the grammar."""
    parser = commands.add_parser(
        "contract", help="print what the edge takes and answers, as OpenAPI 3.1"
    )
    parser.add_argument(
        "--for-generators",
        action="store_true",
        help="leave out what generators of clients fail on; the edge serves the whole",
    )
    parser.set_defaults(command=_contract)


def _contract(options: argparse.Namespace) -> int:
    import orjson

    from sentinel.reference.ledger.edge.contract import document, for_generators, rendered

    if options.for_generators:
        told = orjson.dumps(for_generators(document()), option=orjson.OPT_INDENT_2) + b"\n"
    else:
        told = rendered()
    sys.stdout.write(told.decode())
    return 0
