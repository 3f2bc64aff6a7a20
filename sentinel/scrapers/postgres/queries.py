"""What is asked, as data: how often, of which servers, with which rights, and how it is mended when that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from sentinel.scrapers.postgres import sql_database, sql_server

VERSION_MIN = 150_000
RIGHTS = "pg_monitor"
MONITOR = "GRANT pg_monitor TO {role}"
ABSENT_EVERY_S = 600.0
"""How often something that is absent is looked for again."""


_INSTALL = {
    "pg_stat_statements": "CREATE EXTENSION pg_stat_statements, and before it a start with "
    "shared_preload_libraries = 'pg_stat_statements'",
    "pgstattuple": "CREATE EXTENSION pgstattuple",
}
_LOAD = {
    "pg_stat_statements": "add pg_stat_statements to shared_preload_libraries and restart the server"
}


class Lack(Enum):
    """What keeps a question from being answered."""

    RIGHTS = auto()
    EXTENSION = auto()
    """It is not installed in the database."""
    LIBRARY = auto()
    """It is installed, and the server was started without its library."""


class Cost(StrEnum):
    """What a question costs the server.

    LOW is below a millisecond whatever the database; MEDIUM grows with sessions, statements or tables; HIGH reads files
    or pages.
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AskedOf(StrEnum):
    """Which servers are asked."""

    ANY = "any"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question.

    Attributes:
        subject: its name, and that of what its rows come to.
        sql: its text by the least version it is for; a version below the first is not asked.
        every_s: how often; 0 for each poll. Dearer ones are asked less often by themselves.
        cost: of one answer.
        asked_of: which servers.
        per_database: whether it is asked in each database that is watched, or once.
        extension: what must be installed in the database; `{schema}` in the text is where it is.
        unless_extension: asked only where this is not installed.
        rights: what the role needs, in words, "" for nothing.
        remedy: the SQL that gives them; `{role}` is filled in.
        limit: how many rows are asked for at most (`$1`), 0 where the text says it.
        optional: whether its absence is told by `check ready` only.
    """

    subject: str
    sql: Mapping[int, str]
    every_s: float = 0.0
    cost: Cost = Cost.LOW
    asked_of: AskedOf = AskedOf.ANY
    per_database: bool = False
    extension: str = ""
    unless_extension: str = ""
    rights: str = ""
    remedy: str = ""
    limit: int = 0
    optional: bool = False

    def text_for(self, version: int) -> str:
        """Its text for a server (`server_version_num`), "" where that has nothing to ask."""
        fitting = [least for least in self.sql if least <= version]
        return self.sql[max(fitting)] if fitting else ""

    def lack_of(self, sqlstate: str) -> Lack:
        """What the server's refusal of it says is missing."""
        return Lack.LIBRARY if sqlstate == "55000" and self.extension in _LOAD else Lack.RIGHTS

    def remedy_for(self, *, role: str, lack: Lack = Lack.RIGHTS) -> str:
        """What to type, as a superuser, in the database."""
        match lack:
            case Lack.EXTENSION:
                return _INSTALL[self.extension]
            case Lack.LIBRARY:
                return _LOAD[self.extension]
            case Lack.RIGHTS:
                return self.remedy.format(role=quoted(role))


def quoted(name: str) -> str:
    """A name as SQL has it.

    >>> quoted('app"s')
    '"app""s"'
    """
    return '"' + name.replace('"', '""') + '"'


def _same(text: str) -> Mapping[int, str]:
    return {VERSION_MIN: text}


def queries(*, statement_count: int, table_count: int) -> tuple[Query, ...]:
    """Every question, the most important first: when time runs out, the last wait for the next poll."""
    return (
        # First, because then none of our own transactions of this poll is among those it counts.
        Query(subject="databases", sql=sql_server.DATABASES),
        Query(
            subject="activity",
            sql=_same(sql_server.ACTIVITY),
            cost=Cost.MEDIUM,
            rights=RIGHTS,
            remedy=MONITOR,
        ),
        Query(subject="connections", sql=_same(sql_server.CONNECTIONS), cost=Cost.MEDIUM),
        Query(
            subject="blocking",
            sql=_same(sql_server.BLOCKING),
            cost=Cost.MEDIUM,
            rights=RIGHTS,
            remedy=MONITOR,
        ),
        Query(
            subject="replication", sql=_same(sql_server.REPLICATION), rights=RIGHTS, remedy=MONITOR
        ),
        Query(subject="standby", sql=_same(sql_server.STANDBY), asked_of=AskedOf.STANDBY),
        Query(subject="wal", sql=_same(sql_server.WAL)),
        Query(subject="slots", sql=sql_server.SLOTS, every_s=30),
        Query(subject="locks", sql=_same(sql_server.LOCKS), every_s=30, cost=Cost.MEDIUM),
        Query(subject="archiver", sql=_same(sql_server.ARCHIVER), every_s=30),
        Query(subject="checkpoints", sql=sql_server.CHECKPOINTS, every_s=30),
        Query(subject="vacuums", sql=_same(sql_server.VACUUMS), every_s=30),
        Query(subject="freeze", sql=_same(sql_server.FREEZE), every_s=60),
        Query(subject="io", sql=sql_server.IO, every_s=60),
        Query(
            subject="statements",
            sql=sql_server.STATEMENTS,
            every_s=60,
            cost=Cost.MEDIUM,
            extension="pg_stat_statements",
            rights=RIGHTS,
            remedy=MONITOR,
            limit=10 * statement_count,
        ),
        Query(
            subject="tables",
            sql=sql_database.TABLES,
            every_s=60,
            cost=Cost.MEDIUM,
            per_database=True,
            limit=table_count,
        ),
        Query(
            subject="index_use",
            sql=_same(sql_database.INDEX_USE),
            every_s=60,
            cost=Cost.MEDIUM,
            per_database=True,
            limit=table_count,
        ),
        Query(
            subject="wal_files",
            sql=_same(sql_server.WAL_FILES),
            every_s=120,
            cost=Cost.HIGH,
            rights=RIGHTS,
            remedy=MONITOR,
        ),
        Query(
            subject="indexes",
            sql=_same(sql_database.INDEXES),
            every_s=300,
            cost=Cost.MEDIUM,
            per_database=True,
        ),
        Query(subject="sizes", sql=_same(sql_server.SIZES), every_s=600, cost=Cost.HIGH),
        Query(
            subject="bloat",
            sql=_same(sql_database.BLOAT),
            every_s=3600,
            cost=Cost.HIGH,
            per_database=True,
            unless_extension="pgstattuple",
            rights="SELECT on the tables, which shows their pg_stats, or the extension pgstattuple",
            remedy=_INSTALL["pgstattuple"],
            limit=table_count,
            optional=True,
        ),
        Query(
            subject="bloat_measured",
            sql=_same(sql_database.BLOAT_MEASURED),
            every_s=3600,
            cost=Cost.HIGH,
            per_database=True,
            extension="pgstattuple",
            rights="pg_stat_scan_tables",
            remedy=MONITOR,
            optional=True,
        ),
    )
