"""Where the servers are and how long the ledger waits for them.

A URL with a password never comes from an argument, which every user of the machine can read in the
process list: it comes from a file or from the environment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sentinel.reference.ledger.domain import UnreadableError, UsageError

NATS_URL_VARIABLE: Final = "LEDGER_NATS_URL"
POSTGRES_URL_VARIABLE: Final = "LEDGER_POSTGRES_URL"
REPLICA_URL_VARIABLE: Final = "LEDGER_REPLICA_URL"
STREAM_REPLICAS_VARIABLE: Final = "LEDGER_STREAM_REPLICAS"
DURABILITY_VARIABLE: Final = "LEDGER_DURABILITY"
# Only of NATS a list of servers may be given; a password in a database's address may hold a comma.
_MAY_BE_SEVERAL: Final = "nats"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsConfig:
    """Streams, consumers and time limits of the queue between edge and poster.

    The limits are each stream's, of which there is one a cohort.

    Attributes:
        url: its address; of a cluster several, with commas between them.
        stream_replicas_count: on how many servers of a cluster each stream is kept.
    """

    url: str
    stream_replicas_count: int = 1
    stream_bytes_max: int = 64 * 1024 * 1024
    duplicate_window_s: float = 120.0
    ack_wait_s: float = 10.0
    connect_timeout_s: float = 2.0
    publish_timeout_s: float = 2.0
    ack_pending_max: int = 1000
    # Of one fetch: decoded, a large batch takes seven times what it takes on the wire.
    fetch_bytes_max: int = 2 * 1024 * 1024

    @property
    def servers(self) -> list[str]:
        """The address of each server that was named."""
        return split_urls(self.url)


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
    # What the client waits longer, for a server that does not even answer that it timed out.
    grace_s: float = 1.0

    @property
    def command_timeout_s(self) -> float:
        """The client's own limit."""
        return self.statement_timeout_s + self.grace_s

    @classmethod
    def of_replica(cls, url: str) -> PostgresConfig:
        """A replica's address, with limits that leave time to ask the primary in its place."""
        return cls(
            url=url,
            connect_timeout_s=0.5,
            acquire_timeout_s=0.25,
            statement_timeout_s=0.4,
            lock_timeout_s=0.3,
            grace_s=0.2,
        )


def resolve_url(
    *,
    argument: str | None,
    file: Path | None,
    variable: str,
    environ: Mapping[str, str],
    what: str,
    schemes: Sequence[str],
) -> str | None:
    """Return the URL from argument, file or environment, in this order; None when not given.

    Raises:
        UsageError: the argument carries a password, or what is given is no URL of these schemes.
        UnreadableError: the file cannot be read.
    """
    url = _given_url(argument=argument, file=file, variable=variable, environ=environ)
    if url is not None:
        # Never shown: it may hold a password.
        check_url(url, what=what, schemes=schemes, shown=False)
    return url


def check_url(url: str, *, what: str, schemes: Sequence[str], shown: bool = True) -> None:
    """Refuse what a client library would only stumble over later.

    Raises:
        UsageError: it has another scheme, no host, or a port that is none.
    """
    several = split_urls(url) if _MAY_BE_SEVERAL in schemes else [url]
    good = bool(several) and all(_is_url(one, schemes) for one in several)
    if not good:
        told = f"{what} is {url!r}" if shown else what
        message = f"{told}: not a URL such as {schemes[0]}://127.0.0.1:1234"
        raise UsageError(message)


def split_urls(text: str) -> list[str]:
    """Return the addresses in a list with commas.

    >>> split_urls("nats://a:4222, nats://b:4222")
    ['nats://a:4222', 'nats://b:4222']
    """
    return [one.strip() for one in text.split(",") if one.strip()]


def _is_url(url: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    # PostgreSQL's socket, which is a folder, is named in the query.
    has_host = bool(parts.hostname) or "host=" in parts.query
    return parts.scheme in schemes and has_host and port != 0


def _given_url(
    *, argument: str | None, file: Path | None, variable: str, environ: Mapping[str, str]
) -> str | None:
    if argument is not None:
        if any(urlsplit(one).password for one in (argument, *split_urls(argument))):
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


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_private_way(url: str) -> bool:
    """Say whether what comes from `url` comes from there: https, or loopback."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
