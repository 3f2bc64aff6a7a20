"""What a run of `up` is asked for, and what it is at a moment: its addresses and its children."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.domain.tenant import Opening, Tier
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.servers import NatsNode, PostgresServer
from sentinel.reference.ledger.operate.state import RunState, write_state
from sentinel.reference.ledger.operate.up.audit import AuditFolders

# Not of the standard tier: whoever tries the ledger tries more than a hundred requests a second.
DEMO_TENANTS: Final = (Opening(name="demo", tier=Tier.ENTERPRISE),)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpConfig:
    """What to start and where; a server whose URL is given is used, not started."""

    folder: Path | None = None
    state_file: Path | None = None
    nats_url: str | None = None
    nats_monitor_urls: tuple[str, ...] = ()
    postgres_url: str | None = None
    replica_url: str | None = None
    replica: bool = True
    archive_file: Path | None = None
    tenants: tuple[Opening, ...] = DEMO_TENANTS
    port: int = 0
    edges_count: int = 1
    tokens_only: bool = False
    receiver: bool = False
    nats_nodes_count: int = 1
    stream_replicas_count: int = 1
    durability: Durability = Durability.PROCESS


@dataclass(slots=True)
class Run:
    """Addresses and children of the run."""

    folder: Path
    state_file: Path | None
    nats_url: str = ""
    nats_monitor_urls: list[str] = field(default_factory=list)
    # Of a cluster that was started here, by their names.
    nats_nodes: dict[str, NatsNode] = field(default_factory=dict)
    stream_replicas_count: int = 1
    durability: Durability = Durability.PROCESS
    postgres_url_file: Path = Path()
    postgres: PostgresServer | None = None
    replica_url_file: Path | None = None
    replica_port: int | None = None
    archive_file: Path | None = None
    role_url_files: dict[str, Path] = field(default_factory=dict)
    edge_url: str = ""
    edge_port: int = 0
    edges_count: int = 1
    tokens_only: bool = False
    issuer_url: str = ""
    issuer_port: int = 0
    # Of a receiver of webhooks, when there is one: whose it is, and its port once it has one.
    receiver_tenant: str | None = None
    receiver_port: int = 0
    witness_port: int = 0
    # Why nothing is recorded; empty where it is.
    audit_off: str = ""
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def accounts_file(self) -> Path:
        """Clients and users of the authorization server."""
        return self.folder / "accounts.json"

    @property
    def burst_file(self) -> Path:
        """What tells the edge to fail."""
        return self.folder / "burst.json"

    @property
    def limits_file(self) -> Path:
        """What tenants have taken, of several edges."""
        return self.folder / "limits"

    @property
    def audit(self) -> AuditFolders:
        """Where the audit and its witness keep what they need."""
        return AuditFolders.below(self.folder)

    @property
    def state(self) -> RunState:
        """What others may know of the run as it is now."""
        return RunState(
            edge_url=self.edge_url,
            nats_url=self.nats_url,
            nats_monitor_url=next(iter(self.nats_monitor_urls), ""),
            nats_monitor_urls=self.nats_monitor_urls,
            stream_replicas=self.stream_replicas_count,
            durability=self.durability,
            postgres_url_file=str(self.postgres_url_file),
            replica_url_file=str(self.replica_url_file or ""),
            burst_file=str(self.burst_file),
            pids={name: child.pid for name, child in self.children.items()},
            issuer_url=self.issuer_url,
            accounts_file=str(self.accounts_file),
            audit_folder="" if self.audit_off else str(self.audit.audit),
        )

    def publish_state(self) -> None:
        """Write it for them, where a file was asked for."""
        if self.state_file is not None:
            write_state(self.state_file, self.state)
