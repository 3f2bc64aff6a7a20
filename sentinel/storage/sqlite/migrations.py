"""Taking an older database to the newest schema, and refusing a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from sentinel.errors import StoreCorruptError, StoreError, StoreTooNewError
from sentinel.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, Migration
from sentinel.storage.sqlite.upgrade_copy import copy_path, copy_store

OnCopy = Callable[[str, str], None]
"""Told, before an upgrade, the name of the copy that was made and ""; or "" and why there is none."""

_TOO_NEW = (
    "the store {path} has schema version {found} and this program knows {known} at most; "
    "use the newer program, or another folder"
)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    *,
    migrations: Sequence[Migration] = MIGRATIONS,
    on_copy: OnCopy | None = None,
) -> int:
    """Bring the database to the newest version and return the version it had (0 for a new file).

    A database with something in it is copied first, where there is room for that; see `upgrade_copy`.
    Each step is one transaction with its version number, so an interruption leaves the database at one
    version or the next.

    Raises:
        StoreTooNewError: it was written by a newer program; nothing is changed.
        StoreError: it is a database, but not a store of ours; nothing is changed.
    """
    found = version_of(connection, path)
    newest = migrations[-1].version
    if found > newest:
        raise StoreTooNewError(_TOO_NEW.format(path=path, found=found, known=newest))
    if found == newest:
        return found
    if found > 0:
        reason = copy_store(connection, path, version=newest)
        if on_copy is not None:
            on_copy("" if reason else copy_path(path, version=newest).name, reason)
    for migration in migrations:
        if migration.version > found:
            _apply(connection, migration)
    return found


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version, 0 for an empty file.

    Raises:
        StoreError: it is a database, but not a store of ours.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if not tables:
        return 0
    recorded = _recorded_version(connection) if "about" in tables else None
    if recorded is None and application_id != APPLICATION_ID:
        msg = f"{path} is a database, but not a store of Sentinel"
        raise StoreError(msg)
    if application_id != APPLICATION_ID or version != recorded:
        msg = f"{path} contradicts itself about its version"
        raise StoreCorruptError(msg)
    return int(version)


def _recorded_version(connection: sqlite3.Connection) -> int | None:
    row = connection.execute("SELECT version FROM about").fetchone()
    return int(row[0]) if row is not None and isinstance(row[0], int) else None


def has_known_schema(connection: sqlite3.Connection) -> bool:
    """Whether the tables are written down as this program writes them.

    A bit that flips in the text of a definition renames a column, and SQLite's own check is content.
    """
    return _definitions(connection) == known_definitions()


def has_schema_of_any_version(connection: sqlite3.Connection) -> bool:
    """Whether the tables are written down as some version of this program wrote them."""
    found = _definitions(connection)
    return any(found == known_definitions(one.version) for one in MIGRATIONS)


def known_definitions(version: int = MIGRATIONS[-1].version) -> dict[str, str]:
    """The text of every table and index of a version, by name."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in MIGRATIONS:
            if migration.version <= version:
                _apply(connection, migration)
        return _definitions(connection)


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {name: sql for name, sql in rows if not str(name).startswith("sqlite_")}


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {migration.version}")
        connection.execute("DELETE FROM about")
        connection.execute("INSERT INTO about VALUES (?)", (migration.version,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
