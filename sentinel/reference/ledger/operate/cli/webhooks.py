"""`sentinel-ledger webhooks`, `webhook-keys` and `receiver`: events for tenants, on both sides of the wire."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.reference.ledger.operate.cli.arguments import port
from sentinel.reference.ledger.operate.cli.servers import Commands, add_servers, required_servers

if TYPE_CHECKING:
    from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy


def add_webhooks(commands: Commands) -> None:
    """Add all three to the grammar."""
    _add_sender(commands)
    _add_webhook_keys(commands)
    _add_receiver(commands)


def _add_sender(commands: Commands) -> None:
    parser = commands.add_parser("webhooks", help="send webhooks to tenants until told to stop")
    parser.add_argument(
        "--key-file", type=Path, required=True, help="private keys that open endpoints' secrets"
    )
    add_webhook_policy(parser)
    add_servers(parser)
    parser.set_defaults(command=_webhooks)


def _add_webhook_keys(commands: Commands) -> None:
    parser = commands.add_parser(
        "webhook-keys", help="make the keys that endpoints' secrets are sealed with"
    )
    parser.add_argument(
        "--private", type=Path, required=True, help="file for `webhooks`; kept when it is there"
    )
    parser.add_argument("--public", type=Path, required=True, help="file for `edge`")
    parser.set_defaults(command=_webhook_keys)


def _add_receiver(commands: Commands) -> None:
    parser = commands.add_parser(
        "receiver", help="receive a tenant's webhooks on loopback, for demonstrations"
    )
    parser.add_argument("--url", required=True, help="the edge's address")
    parser.add_argument("--tenant", default="demo")
    parser.add_argument(
        "--port", type=port, default=0, help="where to listen (default: a free one)"
    )
    parser.add_argument("--control-file", type=Path, help="file that tells it to fail")
    parser.add_argument("--issuer", metavar="URL", help="issuer of the token to register with")
    parser.add_argument("--accounts-file", type=Path, help="that issuer's accounts")
    parser.set_defaults(command=_receiver)


def add_webhook_policy(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where webhooks may go beside port 443."""
    parser.add_argument(
        "--webhooks-port",
        action="append",
        type=port,
        default=[],
        metavar="PORT",
        help="allow webhooks to this port beside 443; may be given again",
    )
    parser.add_argument(
        "--webhooks-loopback-http",
        action="store_true",
        help="allow webhooks over http to this machine, for demonstrations",
    )


def webhook_policy(options: argparse.Namespace) -> AddressPolicy:
    """Return what those options say."""
    from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy

    ports = AddressPolicy().ports | set(options.webhooks_port)
    return AddressPolicy(ports=ports, loopback_http=options.webhooks_loopback_http)


def _webhooks(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.webhooks import SENDER_POOL_SIZE_MAX, run_webhooks
    from sentinel.reference.ledger.webhooks import WebhooksConfig

    nats, postgres = required_servers(options)
    postgres = replace(postgres, pool_size_max=SENDER_POOL_SIZE_MAX)
    config = WebhooksConfig(policy=webhook_policy(options))
    asyncio.run(run_webhooks(config, nats, postgres, key_file=options.key_file))
    return 0


def _webhook_keys(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.wire.webhook_secrets import make_key_files

    make_key_files(private=options.private, public=options.public)
    return 0


def _receiver(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.receiver import ReceiverConfig, run_receiver

    config = ReceiverConfig(
        edge_url=options.url,
        tenant=options.tenant,
        port=options.port,
        control_file=options.control_file,
        issuer_url=options.issuer,
        accounts_file=options.accounts_file,
    )
    asyncio.run(run_receiver(config))
    return 0
