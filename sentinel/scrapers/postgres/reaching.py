"""What `sentinel check ready` is told of a server: who we are there, what we may see, and the SQL that mends the rest.

It looks over a connection of its own, with the limits of any other, and lets go of it. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentinel.errors import SentinelError, UntrustedError
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.scrapers.postgres import sql_database
from sentinel.scrapers.postgres.config import PostgresTargetConfig, TlsMode
from sentinel.scrapers.postgres.queries import (
    VERSION_MIN,
    AskedOf,
    Cost,
    Lack,
    Query,
    queries,
    quoted,
)
from sentinel.scrapers.postgres.session import (
    DeniedError,
    PasswordFileError,
    QueryError,
    Session,
    connect,
)

_SELF = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery, r.rolsuper AS is_superuser,
  r.rolconnlimit::int8 AS connection_limit, pg_has_role('pg_read_all_stats', 'USAGE') AS reads_stats,
  pg_has_role('pg_monitor', 'USAGE') AS is_monitor, current_setting('search_path') AS search_path,
  current_setting('track_io_timing') AS track_io_timing, current_setting('track_activities') AS track_activities
FROM pg_roles r WHERE r.rolname = current_user
"""
_ROLE_FILE = "deploy/postgres/role.sql"
_REMEDY_FOR_TLS = (
    "check ca_file, the dates and the name of the server's certificate, and `ssl = on`"
)
_ASIDE = 1
"""Connections beside those that are kept: the one that looks."""

Row = Mapping[str, object]


async def look(config: PostgresTargetConfig) -> tuple[Reach, ...]:
    """The findings; never raises for what the server says."""
    what = f"scrapers.postgres {config.name}"
    found: list[Reach] = []
    for database in (config.database, *config.databases):
        try:
            session = await connect(config, database)
        except SentinelError as error:
            found.append(
                Reach(
                    what=f"{what} {database}",
                    status=ReachStatus.FAILING,
                    sentence=str(error),
                    remedy=_remedy_of(error, config, database),
                )
            )
            continue
        try:
            found += await _look_inside(session, config, what)
        except (SentinelError, QueryError) as error:
            found.append(
                Reach(what=f"{what} {database}", status=ReachStatus.FAILING, sentence=str(error))
            )
        finally:
            await session.close()
    return tuple(found)


async def _look_inside(session: Session, config: PostgresTargetConfig, what: str) -> list[Reach]:
    database = session.database
    if session.version < VERSION_MIN:
        sentence = f"PostgreSQL {session.version // 10_000} is too old: 15 is the least"
        return [Reach(what=f"{what} {database}", status=ReachStatus.FAILING, sentence=sentence)]
    (row,) = await session.fetch(_SELF)
    sentence = f"PostgreSQL {row['version']}, role {config.user}, database {database}"
    if row["in_recovery"]:
        sentence += ", a standby"
    found = [Reach(what=f"{what} {database}", status=ReachStatus.OK, sentence=sentence)]
    if database == config.database:
        found += [
            Reach(
                what=f"{what} {about}",
                status=ReachStatus.DEGRADED,
                sentence=text,
                remedy=remedy,
            )
            for about, text, remedy in _about_the_role(row, config)
        ]
    found += await _what_cannot_be_asked(
        session, config, what, in_recovery=bool(row["in_recovery"])
    )
    return found


def _about_the_role(row: Row, config: PostgresTargetConfig) -> list[tuple[str, str, str]]:
    role, found = quoted(config.user), []
    if not row["reads_stats"]:
        found.append(
            (
                "rights",
                "the role sees its own sessions only",
                f"GRANT pg_monitor TO {role}",
            )
        )
    elif not row["is_monitor"]:
        found.append(
            ("rights", "the role lacks parts of pg_monitor", f"GRANT pg_monitor TO {role}")
        )
    if row["is_superuser"]:
        found.append(
            (
                "rights",
                "the role is a superuser: far more than watching needs",
                f"make one with {_ROLE_FILE}",
            )
        )
    needed = 1 + len(config.databases) + _ASIDE
    limit = int(str(row["connection_limit"]))
    if 0 <= limit < needed:
        found.append(
            (
                "connections",
                f"the role may have {limit} connections; {needed} are needed, one a database and one for this check",
                f"ALTER ROLE {role} CONNECTION LIMIT {needed}",
            )
        )
    if row["search_path"] != "pg_catalog":
        found.append(
            (
                "pooler",
                "settings of the session are lost on the way, as behind a pooler in transaction mode",
                "connect to the server itself",
            )
        )
    if row["track_activities"] != "on":
        found.append(
            (
                "settings",
                "track_activities is off: states and waits of sessions are not known",
                "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf()",
            )
        )
    if config.tls_mode is TlsMode.DISABLE and config.tls is not TlsMode.AUTO:
        found.append(
            ("tls", "the connection is not encrypted", "set tls: verify-full and a ca_file")
        )
    return found


async def _what_cannot_be_asked(
    session: Session, config: PostgresTargetConfig, what: str, *, in_recovery: bool
) -> list[Reach]:
    extensions = {
        str(row["extname"]): str(row["schema"])
        for row in await session.fetch(sql_database.EXTENSIONS)
    }
    is_main = session.database == config.database
    found = []
    for query in queries(statement_count=config.statement_count, table_count=config.table_count):
        text = query.text_for(session.version)
        is_elsewhere = not (is_main or query.per_database)
        if is_elsewhere or not text or query.subject in config.leave_out:
            continue
        if query.asked_of is AskedOf.STANDBY and not in_recovery:
            continue
        lack = Lack.RIGHTS
        if query.extension and query.extension not in extensions:
            if query.optional:
                continue
            lack = Lack.EXTENSION
            problem = (
                f"the extension {query.extension} is not installed in database {session.database}"
            )
        elif query.unless_extension in extensions or (
            query.cost is Cost.HIGH and not query.optional
        ):
            continue
        else:
            problem, lack = await _problem(
                session,
                query,
                text.replace("{schema}", extensions.get(query.extension, "")),
                *([query.limit] if query.limit else []),
            )
        if problem:
            found.append(
                Reach(
                    what=f"{what} {query.subject}",
                    status=ReachStatus.DEGRADED,
                    sentence=problem
                    + (
                        f"; it needs {query.rights}"
                        if query.rights and lack is Lack.RIGHTS
                        else ""
                    ),
                    remedy=query.remedy_for(role=config.user, lack=lack),
                )
            )
    return found


async def _problem(
    session: Session, query: Query, text: str, *arguments: object
) -> tuple[str, Lack]:
    """What is wrong with its answer, "" for nothing, and what is missing then."""
    try:
        rows: Sequence[Row] = await session.fetch(text, *arguments)
    except QueryError as error:
        return str(error), query.lack_of(error.sqlstate)
    if query.subject == "bloat" and rows and all(row["bloat_ratio"] is None for row in rows):
        return "the widths of the tables' columns are not to be seen", Lack.RIGHTS
    return "", Lack.RIGHTS


def _remedy_of(error: SentinelError, config: PostgresTargetConfig, database: str) -> str:
    if isinstance(error, UntrustedError):
        return _REMEDY_FOR_TLS
    if isinstance(error, PasswordFileError):
        return f"write the password of {quoted(config.user)} into it, where the user that Sentinel runs as may read it, or correct password_file"
    if not isinstance(error, DeniedError):
        return "is the server running, and are host, port and network as they should be?"
    role = quoted(config.user)
    if error.server_is_full:
        return "close connections or raise max_connections"
    return {
        "28P01": f"the password in {config.password_file or 'password_file (not set)'} is not that of the role: ALTER ROLE {role} PASSWORD ...",
        "28000": f"make the role with {_ROLE_FILE}, and let it in by pg_hba.conf: hostssl {quoted(database)} {role} <address> scram-sha-256",
        "3D000": f"no such database: CREATE DATABASE {quoted(database)}, or correct `database`",
        "42501": f"GRANT CONNECT ON DATABASE {quoted(database)} TO {role}",
        "53300": f"ALTER ROLE {role} CONNECTION LIMIT {2 + len(config.databases)}",
        "08001": _REMEDY_FOR_TLS,
    }.get(error.sqlstate, "")
