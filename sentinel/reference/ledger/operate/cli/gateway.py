"""`sentinel-ledger gateway`: the edge's policies as a configuration of Kong 3, of the tenants as they are now.

Kong reads it at its start, or when it is told to; run it again when terms change, and when an elevation
begins and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.domain.tenant import Tier
from sentinel.reference.ledger.operate.cli.servers import Commands, add_postgres, postgres_url
from sentinel.reference.ledger.wire.config import PostgresConfig, check_url, read_url

_EDGE_URL: Final = "http://127.0.0.1:8080"
_HEADER: Final = """\
# Kong Gateway 3.x, DB-less, in front of the ledger's edge. Written by `sentinel-ledger gateway` of the tenants as they were
# then, elevations that were running included. Check with `kong config parse`.
"""


def add_gateway(commands: Commands) -> None:
    """Add the command to the grammar."""
    parser = commands.add_parser(
        "gateway", help="write the edge's policies as a configuration of Kong"
    )
    parser.add_argument(
        "--edge-url", default=_EDGE_URL, help=f"the edge, as Kong finds it (default: {_EDGE_URL})"
    )
    parser.add_argument("-o", "--output", type=Path, help="file (default: stdout)")
    parser.add_argument("--state", type=Path, help="state file of `up`, in place of an address")
    add_postgres(parser)
    parser.set_defaults(command=_gateway)


def _gateway(options: argparse.Namespace) -> int:
    import yaml

    from sentinel.reference.ledger.edge.gateway import gateway_document
    from sentinel.reference.ledger.operate.state import read_state
    from sentinel.reference.ledger.wire.register import listed, tier_limits

    check_url(options.edge_url, what="--edge-url", schemes=("http", "https"))
    url = postgres_url(options)
    if url is None and options.state is not None:
        url = read_url(Path(read_state(options.state).postgres_url_file))
    if url is None:
        message = "give the address of PostgreSQL or --state; see --help"
        raise UsageError(message)
    config = PostgresConfig(url=url)

    async def read() -> tuple[list[dict[str, Any]], Limit]:
        return await listed(config), (await tier_limits(config))[Tier.STANDARD]

    tenants, standard = asyncio.run(read())
    terms = [one for one in (_terms(tenant, standard) for tenant in tenants) if one is not None]
    document = gateway_document(terms, edge_url=options.edge_url, standard=standard)
    text = _HEADER + yaml.safe_dump(document, sort_keys=False, width=120)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def _terms(tenant: dict[str, Any], standard: Limit) -> Any:
    """Return a tenant's terms, or None when they are everybody's."""
    from sentinel.reference.ledger.edge.gateway import Terms

    now = datetime.now(UTC)
    limit = Limit(rps=tenant["rps"], burst=tenant["burst"])
    for one in tenant["elevations"]:
        if datetime.fromisoformat(one["starts_at"]) <= now:
            limit = limit.raised_to(Limit(rps=one["rps"], burst=one["burst"]))
    networks = tuple(ip_network(text) for text in tenant["allow_cidrs"])
    if limit == standard and not networks:
        return None
    return Terms(tenant=tenant["tenant"], limit=limit, networks=networks)
