"""NATS and PostgreSQL from wheels, on loopback ports of the moment: queue, primary, replica."""

from sentinel.reference.ledger.operate.servers.nats import NatsServer, start_nats
from sentinel.reference.ledger.operate.servers.nats_cluster import (
    NatsNode,
    start_cluster,
    start_node,
)
from sentinel.reference.ledger.operate.servers.postgres import PostgresServer, start_postgres
from sentinel.reference.ledger.operate.servers.replica import ReplicaServer, start_replica
from sentinel.reference.ledger.operate.servers.spool import SPOOL

__all__ = [
    "SPOOL",
    "NatsNode",
    "NatsServer",
    "PostgresServer",
    "ReplicaServer",
    "start_cluster",
    "start_nats",
    "start_node",
    "start_postgres",
    "start_replica",
]
