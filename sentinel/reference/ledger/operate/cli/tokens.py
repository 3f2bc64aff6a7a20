"""`sentinel-ledger authorize` and `sentinel-ledger token`: their arguments."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.arguments import port
from sentinel.reference.ledger.operate.cli.servers import Commands


def add_token_commands(commands: Commands) -> None:
    """Add both to the grammar."""
    parser = commands.add_parser(
        "authorize", help="run the authorization server of the demo, on loopback"
    )
    parser.add_argument(
        "--accounts",
        type=Path,
        required=True,
        help="JSON file of clients and users, readable by its owner only",
    )
    parser.add_argument("--port", type=port, default=0, help="port (default: a free one)")
    parser.add_argument("--audience", default="ledger", help="who its tokens are meant for")
    parser.add_argument(
        "--token-seconds", type=int, default=600, help="how long a token lasts (default: 600)"
    )
    parser.set_defaults(command=_authorize)
    parser = commands.add_parser("token", help="print a token of a running ledger's tenant")
    parser.add_argument("--state", type=Path, required=True, help="state file of `up`")
    parser.add_argument("--tenant", default="demo")
    parser.set_defaults(command=_token)


def _authorize(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.authorize.server import AuthorizeConfig
    from sentinel.reference.ledger.operate.authorizing import run_authorize

    if not 1 <= options.token_seconds <= 86_400:
        message = "--token-seconds is 1 to 86400"
        raise UsageError(message)
    config = AuthorizeConfig(
        port=options.port, audience=options.audience, token_s=options.token_seconds
    )
    asyncio.run(run_authorize(config, options.accounts))
    return 0


def _token(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.state import read_state
    from sentinel.reference.ledger.operate.tokens import tokens_of

    state = read_state(options.state)
    if not state.issuer_url:
        message = "this ledger has no authorization server"
        raise UsageError(message)
    headers = asyncio.run(tokens_of(state, options.tenant).headers())
    sys.stdout.write(headers["Authorization"].removeprefix("Bearer ") + "\n")
    return 0
