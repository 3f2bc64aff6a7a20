"""What a running ledger tells the other commands: a small file only its owner can read."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.durability import Durability


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Addresses, files and process ids of one `sentinel-ledger up`."""

    edge_url: str
    nats_url: str
    nats_monitor_url: str
    postgres_url_file: str
    burst_file: str
    pids: dict[str, int]
    # Where the audit's public keys and its way into the database are; empty where nothing is recorded.
    audit_folder: str = ""
    replica_url_file: str = ""
    # The authorization server, and who it gives tokens to.
    issuer_url: str = ""
    accounts_file: str = ""
    # What an answer of 202 survives, and on how many servers of NATS streams are kept.
    durability: str = Durability.PROCESS
    stream_replicas: int = 1
    # Of each server of NATS; `nats_monitor_url` is the first one's.
    nats_monitor_urls: list[str] = field(default_factory=list)


def write_state(path: Path, state: RunState) -> None:
    """Write the file in one step, readable by its owner only."""
    write_private(path, orjson.dumps(asdict(state)))


def read_state(path: Path) -> RunState:
    """Return the state of a running ledger.

    Raises:
        UnreadableError: the file cannot be read.
        LedgerError: it is not a ledger's state.
    """
    try:
        return RunState(**orjson.loads(path.read_bytes()))
    except OSError as error:
        message = f"cannot read the ledger's state in {path}: {error.strerror}"
        raise UnreadableError(message) from error
    except (orjson.JSONDecodeError, TypeError) as error:
        message = f"{path} does not hold the state of a running ledger"
        raise LedgerError(message) from error


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` in one step by a file that only its owner can read."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        # Or a loss of power could leave an empty file where a key or a password was.
        os.fsync(descriptor)
    draft.replace(path)
