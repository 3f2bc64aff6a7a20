"""The table of the ledger's processes: what each logs in as, is told, and tells when it is ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from sentinel.reference.ledger.operate.leak import leak_file
from sentinel.reference.ledger.operate.receiver import CONTROL_FILE
from sentinel.reference.ledger.operate.release import read_release, release_file
from sentinel.reference.ledger.operate.servers import SPOOL
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.operate.up.run import Run
from sentinel.reference.ledger.wire.config import read_url
from sentinel.reference.ledger.wire.roles import Role

ARCHIVE: Final = "archive"
BACKUP: Final = "backup"
EDGE: Final = "edge"
POSTER: Final = "poster"
# After all others, when it is asked for: it registers with the edge.
RECEIVER: Final = "receiver"
# By which every process's telemetry can be told more of what it is.
_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
# What the edge keeps endpoints of webhooks as, beside what it reads as.
REGISTER: Final = "edge-endpoints"
# What it takes exports on as.
EXPORTS: Final = "edge-exports"
# Who makes them, of what is recorded.
EXPORTER: Final = "exports"
# In the order in which they end, after all others: what those have done is recorded, and signed.
RECORDING: Final = ("audit", "witness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One of the ledger's processes: its command, with its own way into the database.

    Attributes:
        role: what it logs in as; None for one that does not use the database.
        command: its words; empty for the one of its name.
        queued: whether it is told where NATS is.
        arguments: what it is told besides where the servers are.
        login: whose way into the database it shares; empty for its own.
        on_ready: what is noted of its ready line.
    """

    role: Role | None
    command: tuple[str, ...] = ()
    queued: bool = True
    login: str = ""
    arguments: Callable[[Run], list[str | Path]] = lambda _: []
    on_ready: Callable[[Run, dict[str, Any]], None] = lambda _run, _ready: None


def processes_of(run: Run) -> dict[str, Process]:
    """Return those of the table that this run has, and the edges beside the first."""
    left_out = {
        *((*RECORDING, EXPORTER) if run.audit_off else ()),
        *(() if run.receiver_tenant else (RECEIVER,)),
        *(() if run.archive_file else (ARCHIVE, BACKUP)),
    }
    table = {name: one for name, one in PROCESSES.items() if name not in left_out}
    beside = replace(PROCESSES[EDGE], command=(EDGE,), login=EDGE)
    return table | {f"{EDGE}-{number}": beside for number in range(2, run.edges_count + 1)}


def released_as(run: Run, name: str) -> tuple[list[str | Path], dict[str, str]]:
    """Return the arguments and variables of a process's bad release; both empty where it has none that holds."""
    file = release_file(run.folder, name)
    release = read_release(file)
    if release is None:
        return [], {}
    # Of an edge it is a burst of its own, in the place of the one that all edges have.
    option = (
        "--burst-file"
        if PROCESSES.get(name, PROCESSES[EDGE]) is PROCESSES[EDGE]
        else "--release-file"
    )
    attributes = [os.environ.get(_ATTRIBUTES, ""), f"service.version={release.version}"]
    return [option, file], {_ATTRIBUTES: ",".join(filter(None, attributes))}


def _poster_arguments(run: Run) -> list[str | Path]:
    return ["--durability", run.durability, "--leak-file", leak_file(run.folder, POSTER)]


def _edge_arguments(run: Run) -> list[str | Path]:
    told: list[str | Path] = [
        *("--port", str(run.edge_port)),
        *("--burst-file", run.burst_file),
        *("--issuer", run.issuer_url),
        *(() if run.tokens_only else ("--insecure-tenant-header",)),
        *("--webhooks-key-file", run.folder / "webhooks.pub"),
        *("--webhooks-postgres-url-file", run.role_url_files[REGISTER]),
        *_loopback(run),
    ]
    told += ["--durability", run.durability]
    if run.edges_count > 1:
        told += ["--reuse-port", "--limits-file", run.limits_file]
    if not run.audit_off:
        told += ["--exports-postgres-url-file", run.role_url_files[EXPORTS]]
    if run.replica_url_file is not None:
        told += ["--replica-url-file", _own_replica(run, EDGE, run.replica_url_file)]
    return told


def _own_replica(run: Run, name: str, given: Path) -> Path:
    """Write the replica's address with the process's own role, which came to it with everything else.

    Beside a primary that was given, the URL that was given is used, as there.
    """
    replica = urlsplit(read_url(given))
    if run.postgres is not None:
        who = urlsplit(read_url(run.role_url_files[name])).netloc.rpartition("@")[0]
        where = replica.netloc.rpartition("@")[2]
        replica = replica._replace(netloc=f"{who}@{where}")
    file = run.folder / f"{name}.replica.url"
    write_private(file, urlunsplit(replica).encode())
    return file


def _webhooks_arguments(run: Run) -> list[str | Path]:
    return ["--key-file", run.folder / "webhooks.key", *_loopback(run)]


def _loopback(run: Run) -> list[str | Path]:
    return [] if run.receiver_tenant is None else ["--webhooks-loopback-http"]


def _receiver_arguments(run: Run) -> list[str | Path]:
    return [
        *("--url", run.edge_url, "--tenant", run.receiver_tenant or ""),
        *("--port", str(run.receiver_port), "--control-file", run.folder / CONTROL_FILE),
        *("--issuer", run.issuer_url, "--accounts-file", run.accounts_file),
    ]


def _receiver_is_ready(run: Run, ready: dict[str, Any]) -> None:
    run.receiver_port = int(str(ready["url"]).rstrip("/").rpartition(":")[2])


def _edge_is_ready(run: Run, ready: dict[str, Any]) -> None:
    run.edge_url = str(ready["url"])
    run.edge_port = int(run.edge_url.rpartition(":")[2])


def _reconcile_arguments(run: Run) -> list[str | Path]:
    told: list[str | Path] = ["--every", "15"]
    if run.replica_url_file is not None:
        told += ["--replica-url-file", _own_replica(run, "reconcile", run.replica_url_file)]
    return told


def _authorize_arguments(run: Run) -> list[str | Path]:
    return ["--accounts", run.accounts_file, "--port", str(run.issuer_port)]


def _authorize_is_ready(run: Run, ready: dict[str, Any]) -> None:
    run.issuer_url = str(ready["url"])
    # The same again when it is started anew: tokens name it.
    run.issuer_port = int(run.issuer_url.rpartition(":")[2])


def _audit_arguments(run: Run) -> list[str | Path]:
    audit = run.audit
    return [
        *("--key", audit.log_key, "--witness-url-file", audit.witness_url),
        *("--witness-key", audit.witness_public_key),
        *(() if run.archive_file is None else ("--archive", run.archive_file)),
    ]


def _archive_arguments(run: Run) -> list[str | Path]:
    assert run.archive_file is not None
    return ["--archive", run.archive_file, "--spool", run.folder / "archive" / SPOOL]


def _backup_arguments(run: Run) -> list[str | Path]:
    assert run.archive_file is not None
    return [
        *("--archive", run.archive_file, "--postgres-url-file", run.postgres_url_file),
        *("--every", "24h", "--prune"),
    ]


def _witness_arguments(run: Run) -> list[str | Path]:
    audit = run.audit
    return [
        *("--key", audit.witness_key, "--memory", audit.memory),
        *("--log-key", audit.log_public_key, "--port", str(run.witness_port)),
    ]


def _witness_is_ready(run: Run, ready: dict[str, Any]) -> None:
    url = str(ready["url"])
    run.witness_port = int(url.rpartition(":")[2])
    write_private(run.audit.witness_url, url.encode())


PROCESSES: Final = {
    "authorize": Process(
        role=None,
        queued=False,
        arguments=_authorize_arguments,
        on_ready=_authorize_is_ready,
    ),
    POSTER: Process(role=Role.POSTER, arguments=_poster_arguments),
    EDGE: Process(role=Role.READER, arguments=_edge_arguments, on_ready=_edge_is_ready),
    "webhooks": Process(role=Role.WEBHOOKS, arguments=_webhooks_arguments),
    "disburse": Process(role=Role.DISBURSER, arguments=lambda _: ["--simulated-rail"]),
    "audit": Process(
        role=Role.AUDIT, command=("audit", "run"), queued=False, arguments=_audit_arguments
    ),
    "witness": Process(
        role=None,
        command=("audit", "witness"),
        queued=False,
        arguments=_witness_arguments,
        on_ready=_witness_is_ready,
    ),
    EXPORTER: Process(role=Role.EXPORTER, command=("audit", "exports"), queued=False),
    "analytics": Process(role=Role.ANALYTICS),
    "reconcile": Process(role=Role.RECONCILE, arguments=_reconcile_arguments),
    "receiver": Process(
        role=None, queued=False, arguments=_receiver_arguments, on_ready=_receiver_is_ready
    ),
    ARCHIVE: Process(
        role=None, command=("archive", "run"), queued=False, arguments=_archive_arguments
    ),
    # As the server's owner: a copy of everything is taken by who may read everything.
    BACKUP: Process(
        role=None, command=("archive", "base"), queued=False, arguments=_backup_arguments
    ),
}
