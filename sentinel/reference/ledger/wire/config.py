"""Where the servers are and how long the ledger waits for them.

A URL with a password never comes from an argument, which every user of the machine can read in the
process list: it comes from a file or from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sentinel.reference.ledger.domain import UnreadableError, UsageError

NATS_URL_VARIABLE: Final = "LEDGER_NATS_URL"
POSTGRES_URL_VARIABLE: Final = "LEDGER_POSTGRES_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsConfig:
    """Stream, consumer and time limits of the queue between edge and poster."""

    url: str
    stream_bytes_max: int = 256 * 1024 * 1024
    duplicate_window_s: float = 120.0
    ack_wait_s: float = 10.0
    connect_timeout_s: float = 2.0
    publish_timeout_s: float = 2.0
    ack_pending_max: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfig:
    """Address and time limits of the database; a read or a lock that takes longer is an error."""

    url: str
    pool_size_max: int = 8
    connect_timeout_s: float = 5.0
    acquire_timeout_s: float = 1.0
    statement_timeout_s: float = 2.0
    # Below the statement's limit, so that a blocked statement's error names the lock.
    lock_timeout_s: float = 1.5

    @property
    def command_timeout_s(self) -> float:
        """The client's own limit, for a server that does not even answer that it timed out."""
        return self.statement_timeout_s + 1.0


def resolve_url(
    *,
    argument: str | None,
    file: Path | None,
    variable: str,
    environ: Mapping[str, str],
) -> str | None:
    """Return the URL from argument, file or environment, in this order; None when not given.

    Raises:
        UsageError: the argument carries a password.
        UnreadableError: the file cannot be read.
    """
    if argument is not None:
        if urlsplit(argument).password:
            message = (
                f"a URL with a password may not be an argument; put it in {variable} or a file"
            )
            raise UsageError(message)
        return argument
    if file is not None:
        return read_url(file)
    return environ.get(variable) or None


def read_url(file: Path) -> str:
    """Return the URL in a file.

    Raises:
        UnreadableError: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise UnreadableError(message) from error
