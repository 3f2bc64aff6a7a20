"""What may be set about a PostgreSQL server that is watched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from sentinel.runtime.settings import Duration, FilePath, Ratio, setting

SUBJECTS = (
    "activity",
    "connections",
    "databases",
    "blocking",
    "replication",
    "standby",
    "wal",
    "slots",
    "locks",
    "archiver",
    "checkpoints",
    "vacuums",
    "freeze",
    "io",
    "statements",
    "tables",
    "index_use",
    "wal_files",
    "indexes",
    "sizes",
    "bloat",
    "bloat_measured",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}\Z")
_DATABASES_MAX = 20
_PORT_MAX = 65_535


class TlsMode(StrEnum):
    """How a server proves who it is. AUTO asks for proof, save of a socket or loopback."""

    AUTO = "auto"
    DISABLE = "disable"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class Rollbacks(StrEnum):
    """What a transaction that was rolled back is."""

    AUTO = "auto"
    ERRORS = "errors"
    ORDINARY = "ordinary"

    @property
    def are_errors(self) -> bool | None:
        """None leaves it to what the database's clients usually do."""
        return {Rollbacks.AUTO: None, Rollbacks.ERRORS: True, Rollbacks.ORDINARY: False}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTargetConfig:
    """One server, asked by a role that may read its statistics and nothing else."""

    name: str = setting("main", help="Name of the target in metrics and logs.", restart=True)
    service: str = setting(
        "postgres",
        help="Service that its series belong to; each server needs one of its own.",
        restart=True,
    )
    host: str = setting(
        "127.0.0.1",
        help="Name, address, or the folder of its socket. Connect to the server itself, not through a pooler.",
        restart=True,
    )
    port: int = setting(5432, help="Its port; of a socket, the number in its name.", restart=True)
    user: str = setting("sentinel", help="The role.", restart=True)
    password_file: FilePath = setting(
        FilePath(""),
        help="File with its password, read again at each connection; empty where none is asked for.",
        restart=True,
    )
    database: str = setting(
        "postgres",
        help="The database that is connected to from the start; pg_stat_statements is looked for in it.",
        restart=True,
    )
    databases: tuple[str, ...] = setting(
        (),
        help="More databases whose tables and indexes are looked at, over one connection each.",
        restart=True,
    )
    tls: TlsMode = setting(
        TlsMode.AUTO,
        help="`verify-full` for a certificate of this host, `verify-ca` for one of the authority, `disable` for none; `auto` is "
        "`disable` on a socket or loopback and `verify-full` elsewhere. It never falls back to less.",
        restart=True,
    )
    ca_file: FilePath = setting(
        FilePath(""),
        help="PEM file of the authority to trust; empty for the system's own.",
        restart=True,
    )
    cert_file: FilePath = setting(
        FilePath(""), help="PEM file of our own certificate, where one is asked for.", restart=True
    )
    key_file: FilePath = setting(FilePath(""), help="PEM file of its key.", restart=True)
    interval: Duration = setting(Duration(10.0), help="How often it is asked.", restart=True)
    timeout: Duration = setting(
        Duration(8.0), help="Longest time of one poll, at most the interval.", restart=True
    )
    connect_timeout: Duration = setting(
        Duration(3.0), help="Longest time to connect.", restart=True
    )
    statement_timeout: Duration = setting(
        Duration(2.0), help="Longest time of one question; the server ends it.", restart=True
    )
    lock_timeout: Duration = setting(
        Duration(0.2), help="Longest time a question may wait for a lock.", restart=True
    )
    cost_ratio_max: Ratio = setting(
        Ratio(0.005),
        help="Most seconds a second that all questions together may take of the server; those that take long are asked less often.",
        restart=True,
    )
    statement_count: int = setting(
        20,
        help="Of so many statements, those that took most of the time, there are series; also of those of the last hour, up to twice as many.",
        restart=True,
    )
    table_count: int = setting(
        10,
        help="The same of the tables with the most dead rows, of those that are used most, and of indexes.",
        restart=True,
    )
    rollbacks: Rollbacks = setting(
        Rollbacks.AUTO,
        help="Whether transactions that are rolled back are errors of the database. `auto`: not where a fifth of all are, for "
        "then its clients end reads so; their share is the gauge `rollback_ratio`.",
        restart=True,
    )
    leave_out: tuple[str, ...] = setting(
        (), help="Subjects that are not asked about, such as `statements`.", restart=True
    )

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a target's name has lower-case letters, digits, `.`, - and _, at most 63"
            raise ValueError(msg)
        if not (self.service and self.host and self.user and self.database):
            msg = "service, host, user and database must not be empty"
            raise ValueError(msg)
        if not 0 < self.port <= _PORT_MAX:
            msg = "port must be between 1 and 65535"
            raise ValueError(msg)
        watched = (self.database, *self.databases)
        if not all(watched) or len(set(watched)) != len(watched):
            msg = "databases must have different names, and database is one of them already"
            raise ValueError(msg)
        if len(watched) > _DATABASES_MAX:
            msg = f"at most {_DATABASES_MAX} databases of a server can be watched: each has a connection"
            raise ValueError(msg)
        if not 1.0 <= self.interval <= 300.0:
            msg = "interval must be between 1s and 5m"
            raise ValueError(msg)
        if not 0 < self.connect_timeout <= self.timeout <= self.interval:
            msg = "connect_timeout must be above 0 and not above timeout, nor that above interval"
            raise ValueError(msg)
        if not 0.001 <= self.lock_timeout <= self.statement_timeout <= self.timeout:
            msg = "lock_timeout must be above 0 and not above statement_timeout, nor that above timeout"
            raise ValueError(msg)
        if not 0 < self.cost_ratio_max <= 0.1:
            msg = "cost_ratio_max must be above 0 and at most 0.1"
            raise ValueError(msg)
        if not (0 < self.statement_count <= 200 and 0 < self.table_count <= 200):
            msg = "statement_count and table_count must be between 1 and 200"
            raise ValueError(msg)
        if bool(self.cert_file) != bool(self.key_file):
            msg = "cert_file and key_file belong together"
            raise ValueError(msg)
        if (self.ca_file or self.cert_file) and self.tls_mode is TlsMode.DISABLE:
            msg = "ca_file and cert_file need tls: verify-full or verify-ca"
            raise ValueError(msg)
        for subject in self.leave_out:
            if subject not in SUBJECTS:
                msg = f"leave_out knows no {subject!r}; there are {', '.join(SUBJECTS)}"
                raise ValueError(msg)

    @property
    def is_socket(self) -> bool:
        """Whether the host is the folder of a socket."""
        return self.host.startswith(("/", "@"))

    @property
    def tls_mode(self) -> TlsMode:
        """The mode that holds."""
        if self.tls is not TlsMode.AUTO:
            return self.tls
        return (
            TlsMode.DISABLE if self.is_socket or _is_loopback(self.host) else TlsMode.VERIFY_FULL
        )

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
