"""A PostgreSQL: whether it can be logged into, as whom, and what that role may see.

Only questions to the catalogue are asked, within a short statement and lock timeout; no table of a user is read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from sentinel.app.discover.findings import Entry, Finding, Outcome, told

SECTION = ("scrapers", "postgres")
_NAMES_SHOWN = 8
_LEAST_VERSION = 150000
_ROLE = "deploy/postgres/role.sql makes the role that is enough"
_QUERY = """
select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_number,
       current_user::text as role,
       pg_has_role(current_user, 'pg_monitor', 'usage') as is_monitor,
       exists (select from pg_extension where extname = 'pg_stat_statements') as has_statements,
       exists (select from pg_settings where name = 'pg_stat_statements.max') as is_preloaded,
       pg_is_in_recovery() as is_standby,
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_tls,
       (select rolsuper from pg_roles where rolname = current_user) as is_super,
       array(select datname::text from pg_database
             where datallowconn and not datistemplate order by 1 limit 100) as databases
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where and as whom.

    Attributes:
        host, port, user, database: as in the DSN; the user is "" where none was given.
        password: or "".
        password_file: where it was read from, or "".
    """

    host: str
    port: int
    user: str = ""
    database: str = "postgres"
    password: str = ""
    password_file: str = ""

    @property
    def where(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def login_of(dsn: str, *, password: str = "", password_file: str = "") -> Login:
    """A DSN of the form `postgresql://user@host:5432/database`.

    Raises:
        ValueError: it is none, or carries a password, which anybody on the machine could read in the list of processes.
    """
    parts = urlsplit(dsn if "://" in dsn else f"postgresql://{dsn}")
    if parts.scheme not in {"postgresql", "postgres"}:
        msg = "a DSN starts with postgresql://"
        raise ValueError(msg)
    if parts.password is not None or "password" in parts.query:
        msg = (
            "a password on the command line can be read by everybody on this machine:"
            " give --postgres-password-file, or set PGPASSWORD"
        )
        raise ValueError(msg)
    if not parts.hostname:
        msg = "a DSN needs a host: postgresql://user@host:5432/database"
        raise ValueError(msg)
    return Login(
        host=parts.hostname,
        port=parts.port or 5432,
        user=unquote(parts.username or ""),
        database=unquote(parts.path.strip("/")) or "postgres",
        password=password,
        password_file=password_file,
    )


async def look_at_postgres(login: Login, *, timeout_s: float, asked: bool = True) -> Finding:
    """A PostgreSQL, logged into once."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _logged_in(login, timeout_s=timeout_s, asked=asked)
    except TimeoutError:
        return _absent(login, "does not answer in time", asked=asked)
    except (OSError, EOFError) as error:
        sentence = told(error.strerror or "") if isinstance(error, OSError) else ""
        return _absent(login, sentence.lower() or "cannot be connected to", asked=asked)


async def _logged_in(login: Login, *, timeout_s: float, asked: bool) -> Finding:
    # Imported here: whoever looks for something else needs nothing of it.
    import asyncpg  # type: ignore[import-untyped]  # it has no annotations

    try:
        connection = await asyncpg.connect(
            host=login.host,
            port=login.port,
            user=login.user or "sentinel",
            database=login.database,
            password=login.password or None,
            timeout=timeout_s,
            command_timeout=timeout_s,
            server_settings={
                "application_name": "sentinel discover",
                "default_transaction_read_only": "on",
                "statement_timeout": str(round(timeout_s * 1000)),
                "lock_timeout": "200",
            },
        )
    except asyncpg.PostgresError as error:
        why, advice = _why_not_in(login, str(error.sqlstate or ""), told(str(error)))
        return _no_login(login, why, advice, asked=asked)
    except (asyncpg.InterfaceError, ValueError):
        return Finding(
            kind="postgres",
            where=login.where,
            outcome=Outcome.OTHER,
            sentence="does not speak as PostgreSQL does",
            asked=asked,
        )
    try:
        row = await connection.fetchrow(_QUERY)
    except asyncpg.PostgresError as error:
        why = f"it refuses a question: {told(str(error))}"
        return _no_login(login, why, f"{_ROLE}.", asked=asked)
    finally:
        connection.terminate()
    return _found(login, dict(row or {}), asked=asked)


def _found(login: Login, row: dict[str, object], *, asked: bool) -> Finding:
    names = row.get("databases")
    databases = [told(str(one)) for one in names] if isinstance(names, list) else []
    advice: list[str] = []
    if not row.get("is_monitor"):
        advice.append(
            f"This role does not have pg_monitor: it sees little of other sessions. {_ROLE}."
        )
    if row.get("is_super"):
        advice.append(f"This role may do everything, which is more than is needed: {_ROLE}.")
    advice += _about_statements(login, row)
    if not (row.get("is_tls") or _is_local(login.host)):
        advice.append(
            "It does not speak TLS, and Sentinel asks for that of another machine: switch it on there, or set tls: disable."
        )
    number = row.get("version_number")
    if isinstance(number, int) and number < _LEAST_VERSION:
        advice.append("Versions before 15 are not tried.")
    standby = ", a standby" if row.get("is_standby") else ""
    sentence = (
        f"PostgreSQL {told(str(row.get('version')))}{standby} with"
        f" {len(databases)} database{'' if len(databases) == 1 else 's'}, as {told(str(row.get('role')))}"
    )
    more = len(databases) - _NAMES_SHOWN
    shown = ", ".join(databases[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return Finding(
        kind="postgres",
        where=login.where,
        outcome=Outcome.FOUND if row.get("is_monitor") else Outcome.LACKING,
        sentence=sentence,
        asked=asked,
        advice=tuple(advice),
        entries=(
            _entry(login, comments=(f"{sentence}.", f"Databases: {shown}."), is_active=True),
        ),
    )


def _about_statements(login: Login, row: dict[str, object]) -> list[str]:
    """What is missing for series of single statements: the library in the server, the extension in the database, or both."""
    database = told(login.database)
    preload = "add pg_stat_statements to shared_preload_libraries and restart the server"
    create = f"CREATE EXTENSION pg_stat_statements in the database {database}, as a superuser"
    if row.get("has_statements"):
        if row.get("is_preloaded"):
            return []
        lack = f"The extension pg_stat_statements is in the database {database}, and the server was started without its library"
        mend = preload
    elif row.get("is_preloaded"):
        lack = f"The library pg_stat_statements is loaded, and its extension is not in the database {database}"
        mend = create
    else:
        lack = f"pg_stat_statements is neither loaded by the server nor in the database {database}"
        mend = f"{preload}, then {create}"
    return [f"{lack}: there is nothing of statements. To have it, {mend}."]


def _why_not_in(login: Login, sqlstate: str, said: str) -> tuple[str, str]:
    """Why there is no login, and what to do about it."""
    again = "then look again with --postgres and --postgres-password-file"
    role = told(login.user or "sentinel")
    if sqlstate == "28P01" and not login.password:
        return f"it wants the password of {role}", f"{_ROLE}; {again}."
    if sqlstate == "28P01":
        source = told(login.password_file) or "PGPASSWORD"
        # The server does not tell the two apart, so that nobody learns which roles there are.
        return (
            f"it refuses the password in {source} for {role}",
            f"Either that is not its password, or there is no such role. {_ROLE}, and sets the password again; {again}.",
        )
    if sqlstate == "3D000":
        return (
            f"it refuses: {said}",
            "Name a database that is there: postgresql://user@host/database.",
        )
    if sqlstate == "28000":
        return (
            f"it refuses: {said}",
            f"{_ROLE}, and pg_hba.conf lets it in; {again}.",
        )
    return f"it refuses: {said}", f"{_ROLE}; {again}."


def _no_login(login: Login, why: str, advice: str, *, asked: bool) -> Finding:
    return Finding(
        kind="postgres",
        where=login.where,
        outcome=Outcome.LACKING,
        sentence=f"PostgreSQL; {why}",
        asked=asked,
        advice=(advice,),
        entries=(
            _entry(
                login, comments=("PostgreSQL that could not be logged into.",), is_active=False
            ),
        ),
    )


def _is_local(host: str) -> bool:
    """Whether it is this machine, or a folder with a socket."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost") or host.startswith("/")


def _absent(login: Login, why: str, *, asked: bool) -> Finding:
    return Finding(
        kind="postgres", where=login.where, outcome=Outcome.ABSENT, sentence=why, asked=asked
    )


def _entry(login: Login, *, comments: tuple[str, ...], is_active: bool) -> Entry:
    values: dict[str, object] = {
        "name": "main",
        "host": login.host,
        "port": login.port,
        "user": login.user or "sentinel",
        "database": login.database,
        "service": "postgres",
    }
    remarks: tuple[str, ...] = ()
    if login.password_file:
        values["password_file"] = login.password_file
    elif login.password or not is_active:
        # A placeholder: the file does not exist, and a configuration that names it would not be taken.
        remarks = ("password_file: /etc/sentinel/postgres-password",)
        is_active = is_active and not login.password
    return Entry(
        section=SECTION, values=values, comments=comments, remarks=remarks, is_active=is_active
    )
