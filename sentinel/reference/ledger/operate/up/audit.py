"""The audit of a run: its keys, and whether the run can have one.

On one machine the witness's key lies in a folder beside the log's, which proves little; a witness that
counts runs elsewhere (`audit witness`) under another hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session

_LOG_NAME: Final = "sentinel-ledger"
_WITNESS_NAME: Final = "sentinel-ledger-witness"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFolders:
    """Where a run keeps what its audit and its witness need, each in a folder of its own."""

    audit: Path
    witness: Path

    @classmethod
    def below(cls, folder: Path) -> AuditFolders:
        """Return the folders of a run that lives in `folder`."""
        return cls(audit=folder / "audit", witness=folder / "witness")

    @property
    def log_key(self) -> Path:
        """The log's private key; its public one is beside it."""
        return self.audit / "log.key"

    @property
    def log_public_key(self) -> Path:
        """The log's public key."""
        return self.log_key.with_name(f"{self.log_key.name}.pub")

    @property
    def witness_key(self) -> Path:
        """The witness's private key."""
        return self.witness / "witness.key"

    @property
    def witness_public_key(self) -> Path:
        """The witness's public key, where the audit finds it."""
        return self.audit / "witness.key.pub"

    @property
    def memory(self) -> Path:
        """What the witness has signed."""
        return self.witness / "memory"

    @property
    def postgres_url(self) -> Path:
        """The audit's own way into the database."""
        return self.audit / "postgres.url"

    @property
    def witness_url(self) -> Path:
        """Where the witness listens."""
        return self.audit / "witness.url"


async def why_not(admin: PostgresConfig, *, given: bool, lasting: bool) -> str:
    """Return why a run can have no audit; empty when it can.

    Args:
        admin: the database.
        given: whether its server was given, and not started by the run.
        lasting: whether the run's folder outlives it, and the keys in it.
    """
    if not given:
        return ""
    if not lasting:
        return "a server that was given is audited with --dir only: the keys must live as long as the trail"
    from sentinel.reference.ledger.audit.slot import check_server

    try:
        async with session(admin, application_name="ledger-up") as connection:
            await check_server(connection)
    except UnavailableError:
        raise
    except LedgerError as error:
        return str(error)
    return ""


def begin(folders: AuditFolders) -> None:
    """Make what there is not yet of keys, and a new witness's memory; goes on where a run was killed in the middle of it.

    Raises:
        LedgerError: the witness's key is gone and its memory is not: a new key would be one of a witness that has forgotten.
    """
    from sentinel.reference.ledger.audit.keys import kept_key, new_key, write_key
    from sentinel.reference.ledger.audit.witness import Memory
    from sentinel.reference.ledger.domain.audit.note import LOG_KIND, WITNESS_KIND

    for folder in (folders.audit, folders.witness):
        folder.mkdir(mode=0o700, exist_ok=True)
    if kept_key(folders.log_key, kind=LOG_KIND) is None:
        write_key(new_key(_LOG_NAME), folders.log_key)
    witness = kept_key(folders.witness_key, kind=WITNESS_KIND)
    if witness is None:
        Memory.begin(folders.memory)
        key = new_key(_WITNESS_NAME, kind=WITNESS_KIND)
        write_key(key, folders.witness_key)
        witness = key.public
    write_private(folders.witness_public_key, f"{witness}\n".encode())
