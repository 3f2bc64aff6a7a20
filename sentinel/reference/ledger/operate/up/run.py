"""What a run of `up` is asked for, and what it is at a moment: its addresses and its children."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain.tenant import Opening, Tier
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.servers import PostgresServer
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
    nats_monitor_url: str | None = None
    postgres_url: str | None = None
    replica_url: str | None = None
    replica: bool = True
    archive_file: Path | None = None
    tenants: tuple[Opening, ...] = DEMO_TENANTS
    port: int = 0
    edges_count: int = 1
    tokens_only: bool = False
    receiver: bool = False


@dataclass(slots=True)
class Run:
    """Addresses and children of the run."""

    folder: Path
    state_file: Path | None
    nats_url: str = ""
    nats_monitor_url: str = ""
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
            nats_monitor_url=self.nats_monitor_url,
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
