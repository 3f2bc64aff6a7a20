"""`sentinel-ledger edge`: where it listens, who may come in, and what it tells of webhooks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.arguments import edges_count, network, port
from sentinel.reference.ledger.operate.cli.servers import (
    Commands,
    add_durability,
    add_replica,
    add_servers,
    durability,
    replica_url,
    required_servers,
)
from sentinel.reference.ledger.operate.cli.webhooks import add_webhook_policy, webhook_policy
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url

if TYPE_CHECKING:
    from sentinel.reference.ledger.edge.auth import AuthConfig
    from sentinel.reference.ledger.operate.single import OpenEndpoints, OpenExports


def add_edge(commands: Commands) -> None:
    """Add the command to the grammar."""
    parser = commands.add_parser("edge", help="run the HTTP edge only")
    parser.add_argument("--port", type=port, default=0, help="port (default: a free one)")
    parser.add_argument("--burst-file", type=Path, help="control file of the error burst")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond loopback with TLS only"
    )
    _add_ways_in(parser)
    add_replica(parser)
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        type=network,
        default=[],
        metavar="CIDR",
        help="believe the X-Forwarded-For of proxies in this network; may be given again",
    )
    parser.add_argument(
        "--edges",
        type=edges_count,
        default=1,
        metavar="N",
        help="edges that share the tenants' limits, each of which gives its part (default: 1)",
    )
    parser.add_argument(
        "--reuse-port",
        action="store_true",
        help="listen on --port beside other edges of this user on this machine",
    )
    parser.add_argument(
        "--limits-file",
        type=Path,
        metavar="FILE",
        help="count what tenants take together with this machine's other edges that name this file",
    )
    parser.add_argument(
        "--webhooks-key-file",
        type=Path,
        help="public key that endpoints' secrets are sealed with; without it there are no webhooks",
    )
    parser.add_argument(
        "--webhooks-postgres-url-file",
        metavar="FILE",
        type=Path,
        help="file with the database's URL of the role ledger_endpoints",
    )
    add_webhook_policy(parser)
    add_durability(parser)
    parser.add_argument(
        "--exports-postgres-url-file",
        metavar="FILE",
        type=Path,
        help="file with the database's URL of the role ledger_exports; without it there are no exports",
    )
    add_servers(parser)
    parser.set_defaults(command=_edge)


def _add_ways_in(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_argument_group("who may come in")
    ways.add_argument("--issuer", metavar="URL", help="OIDC issuer whose bearer tokens count")
    ways.add_argument("--issuer-ca", type=Path, help="authorities of the issuer's own certificate")
    ways.add_argument("--audience", default="ledger", help="who tokens must be meant for")
    ways.add_argument("--tenant-claim", default="tenant", help="the claim that names the tenant")
    ways.add_argument("--tls-cert", type=Path, help="the edge's certificate chain")
    ways.add_argument("--tls-key", type=Path, help="its private key")
    ways.add_argument(
        "--gateway-cert",
        type=Path,
        metavar="FILE",
        help="certificate with which a gateway in front ends TLS: the edge tells when it ends",
    )
    ways.add_argument(
        "--client-ca", type=Path, help="authorities of clients' certificates (mutual TLS)"
    )
    ways.add_argument(
        "--client-crl",
        metavar="FILE",
        type=Path,
        help="revocation lists of those authorities; none of their certificates is believed without one in force",
    )
    ways.add_argument(
        "--insecure-tenant-header",
        action="store_true",
        help="believe X-Tenant; on loopback only, to try things by hand",
    )


def _edge(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.edge import EdgeConfig
    from sentinel.reference.ledger.operate.loops import run
    from sentinel.reference.ledger.operate.single import run_edge

    if options.reuse_port and not options.port:
        message = "--reuse-port needs --port: on a free one there is nobody else"
        raise UsageError(message)
    config = EdgeConfig(
        host=options.host,
        port=options.port,
        burst_file=options.burst_file,
        trusted_proxies=tuple(options.trusted_proxy),
        is_shared=options.reuse_port,
        edges_count=options.edges,
        limits_file=options.limits_file,
        durability=durability(options),
        gateway_cert_file=options.gateway_cert,
    )
    url = replica_url(options)
    replica = PostgresConfig.of_replica(url) if url is not None else None
    servers = required_servers(options)
    run(
        run_edge(
            config,
            *servers,
            auth=_ways_in(options),
            replica=replica,
            open_endpoints=_register(options),
            open_exports=_exports(options),
        )
    )
    return 0


def _ways_in(options: argparse.Namespace) -> AuthConfig:
    from sentinel.reference.ledger.edge.auth import AuthConfig, IssuerConfig, TlsConfig

    if (options.tls_cert is None) != (options.tls_key is None):
        message = "--tls-cert and --tls-key go together"
        raise UsageError(message)
    if options.client_ca is not None and options.tls_cert is None:
        message = "--client-ca needs --tls-cert and --tls-key"
        raise UsageError(message)
    if options.client_crl is not None and options.client_ca is None:
        message = "--client-crl needs --client-ca"
        raise UsageError(message)
    if options.gateway_cert is not None and options.tls_cert is not None:
        message = "--gateway-cert is of a gateway in front of an edge without --tls-cert"
        raise UsageError(message)
    issuer = tls = None
    if options.issuer is not None:
        issuer = IssuerConfig(
            url=options.issuer,
            audience=options.audience,
            tenant_claim=options.tenant_claim,
            ca_file=options.issuer_ca,
        )
    if options.tls_cert is not None:
        tls = TlsConfig(
            cert_file=options.tls_cert,
            key_file=options.tls_key,
            client_ca_file=options.client_ca,
            client_crl_file=options.client_crl,
        )
    return AuthConfig(
        issuer=issuer, tls=tls, insecure_tenant_header=options.insecure_tenant_header
    )


def _register(options: argparse.Namespace) -> OpenEndpoints | None:
    from sentinel.reference.ledger.edge.endpoints import EndpointsConfig
    from sentinel.reference.ledger.operate.webhooks import REGISTER_POOL_SIZE_MAX, endpoints_opener

    if options.webhooks_key_file is None:
        return None
    if options.webhooks_postgres_url_file is None:
        message = "--webhooks-key-file needs --webhooks-postgres-url-file"
        raise UsageError(message)
    url = read_url(options.webhooks_postgres_url_file)
    return endpoints_opener(
        EndpointsConfig(policy=webhook_policy(options)),
        PostgresConfig(url=url, pool_size_max=REGISTER_POOL_SIZE_MAX),
        public_key_file=options.webhooks_key_file,
    )


def _exports(options: argparse.Namespace) -> OpenExports | None:
    if options.exports_postgres_url_file is None:
        return None
    from sentinel.reference.ledger.edge.exports import ExportsConfig
    from sentinel.reference.ledger.operate.exporting import EXPORTS_POOL_SIZE_MAX, exports_opener

    url = read_url(options.exports_postgres_url_file)
    return exports_opener(
        ExportsConfig(), PostgresConfig(url=url, pool_size_max=EXPORTS_POOL_SIZE_MAX)
    )
