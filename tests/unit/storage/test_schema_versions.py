"""Older stores are brought up to date with a copy kept, newer ones and strangers are refused untouched.

Method: a store file of version 1 is made from the statements as they were released, then opened with a
later list of migrations.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sentinel.errors import StoreCorruptError, StoreError, StoreTooNewError
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from sentinel.storage.sqlite.connection import connect
from sentinel.storage.sqlite.migrations import migrate, version_of
from sentinel.storage.sqlite.schema import MIGRATIONS, SCHEMA_VERSION, Migration
from tests.support.store_blocks import block, keys
from tests.support.surroundings import make_surroundings

LATER = (
    *MIGRATIONS,
    Migration(
        version=SCHEMA_VERSION + 1,
        statements=(
            "ALTER TABLE incidents ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX incidents_seen ON incidents (seen)",
        ),
    ),
)
BROKEN = (
    *MIGRATIONS,
    Migration(
        version=SCHEMA_VERSION + 1,
        statements=("CREATE TABLE half (x)", "CREATE TABLE half (x)"),
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a series and a window in it."""
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
    store.open()
    store.append_history(block(store.register(keys(2), now_ns=1), count=3))
    store.close()
    return tmp_path / "sentinel.db"


def test_an_older_store_is_brought_up_to_date_and_copied_first(path: Path) -> None:
    (path.parent / "sentinel.db.before-v1").write_bytes(b"an older copy")
    with closing(connect(path)) as connection:
        assert migrate(connection, path, migrations=LATER) == SCHEMA_VERSION
        assert version_of(connection, path) == SCHEMA_VERSION + 1
        assert connection.execute("SELECT count(seen) FROM incidents").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (2,)
        assert migrate(connection, path, migrations=LATER) == SCHEMA_VERSION + 1
    (copy,) = path.parent.glob("*.before-v*")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (1,)


def test_a_step_that_fails_leaves_the_version_before(path: Path) -> None:
    with closing(connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, migrations=BROKEN)
        assert version_of(connection, path) == SCHEMA_VERSION
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert "half" not in names


def test_a_newer_store_is_refused_and_not_touched(path: Path) -> None:
    with closing(connect(path)) as connection:
        migrate(connection, path, migrations=LATER)
    before = path.read_bytes()
    store = SqliteStore(StoreConfig(directory=str(path.parent)), make_surroundings())
    with pytest.raises(
        StoreTooNewError, match=f"version {SCHEMA_VERSION + 1} .* {SCHEMA_VERSION}"
    ):
        store.open()
    with pytest.raises(StoreError, match="schema version"):
        StoreReader(path.parent)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.corrupt-*"))


def test_another_programs_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (name)")
        connection.commit()
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
    with pytest.raises(StoreError, match="not a store of Sentinel"):
        store.open()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    assert tables == [("accounts",)]


def test_a_version_that_contradicts_itself_is_damage_not_news(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA user_version = 257")
        with pytest.raises(StoreCorruptError):
            version_of(connection, path)
    store = SqliteStore(StoreConfig(directory=str(path.parent)), make_surroundings())
    store.open()
    assert len(store.series()) == 2
    assert "rebuilt" in store.trouble
    store.close()


def test_a_reader_says_that_damaged_definitions_cannot_be_read(path: Path) -> None:
    """SQLite's message quotes the damaged byte, which is no text: the commands that read a store ended with a traceback."""
    whole = path.read_bytes()
    assert whole.count(b"CREATE TABLE incidents") == 1
    path.write_bytes(whole.replace(b"CREATE TABLE incidents", b"CREATE \x82ABLE incidents"))
    with pytest.raises(StoreCorruptError, match="names that cannot be read"):
        StoreReader(path.parent)
