"""`sentinel-ledger up`: its arguments."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.arguments import port, processes_count, replicas_count
from sentinel.reference.ledger.operate.cli.servers import (
    Commands,
    add_durability,
    add_replica,
    add_servers,
    add_tenants,
    durability,
    nats_url,
    postgres_url,
    replica_url,
    stream_replicas,
)
from sentinel.reference.ledger.wire.config import split_urls

# Of more than three servers, streams are kept by three unless it is said otherwise.
_STREAM_REPLICAS_MAX: Final = 3


def add_up(commands: Commands) -> None:
    """Add the command to the grammar."""
    parser = commands.add_parser("up", help="run servers, edge and poster until told to stop")
    parser.add_argument(
        "--dir", type=Path, help="keep the servers' data here, not in a temporary folder"
    )
    parser.add_argument("--state", type=Path, help="write addresses and process ids to this file")
    parser.add_argument(
        "--port", type=port, default=0, help="the edge's port (default: a free one)"
    )
    parser.add_argument(
        "--edges",
        type=processes_count,
        default=1,
        metavar="N",
        help="edges on the one port, which share the tenants' limits (default: 1)",
    )
    parser.add_argument(
        "--tokens-only", action="store_true", help="the edge does not believe X-Tenant"
    )
    parser.add_argument(
        "--nats-monitor-url",
        help="monitoring address of the NATS server given; of a cluster several, with commas",
    )
    parser.add_argument(
        "--nats-nodes",
        type=replicas_count,
        default=1,
        metavar="N",
        help="start so many servers of NATS as one cluster (1, 3 or 5; default: 1); streams are then kept by 3",
    )
    add_durability(parser)
    parser.add_argument(
        "--no-replica", action="store_true", help="read from the primary, and start no replica"
    )
    add_replica(parser)
    parser.add_argument(
        "--receiver",
        action="store_true",
        help="start a receiver of webhooks too, for the first tenant; allows http to loopback",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="archive the log where this JSON file says (`sentinel-ledger archive setup` made it ready)",
    )
    add_tenants(parser)
    add_servers(parser)
    parser.set_defaults(command=_up)


def _up(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.up import DEMO_TENANTS, UpConfig, run_up

    if options.archive is not None and postgres_url(options) is not None:
        message = (
            "--archive is of the PostgreSQL that `up` starts; one that is given archives by itself"
        )
        raise UsageError(message)
    if options.no_replica and replica_url(options) is not None:
        message = "--no-replica makes no sense beside a replica that is given"
        raise UsageError(message)
    nats = nats_url(options)
    if options.nats_nodes > 1 and nats is not None:
        message = "--nats-nodes is of the servers that `up` starts; those that are given are as many as they are"
        raise UsageError(message)
    replicas = stream_replicas(options, default=min(options.nats_nodes, _STREAM_REPLICAS_MAX))
    if nats is None and replicas > options.nats_nodes:
        message = f"--stream-replicas {replicas} needs as many servers: --nats-nodes {replicas}"
        raise UsageError(message)
    config = UpConfig(
        folder=options.dir,
        state_file=options.state,
        nats_url=nats,
        nats_monitor_urls=tuple(split_urls(options.nats_monitor_url or "")),
        nats_nodes_count=options.nats_nodes,
        stream_replicas_count=replicas,
        durability=durability(options),
        postgres_url=postgres_url(options),
        replica_url=replica_url(options),
        replica=not options.no_replica,
        archive_file=options.archive,
        tenants=tuple(options.tenant or DEMO_TENANTS),
        port=options.port,
        edges_count=options.edges,
        tokens_only=options.tokens_only,
        receiver=options.receiver,
    )
    return asyncio.run(run_up(config))
