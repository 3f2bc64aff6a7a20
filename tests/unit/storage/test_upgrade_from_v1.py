"""A store of the first version, with an incident open and pages waiting, is taken over whole.

Method: the rows of a store are put into a file made by the definitions that version 1 was released with, written out
here: were they taken from the program, an edit of an old migration would go unnoticed.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import StoreError, StoreFullError
from sentinel.ports import Tick
from sentinel.storage.sqlite import SqliteStore, StoreConfig, access, upgrade_copy
from sentinel.storage.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from sentinel.storage.sqlite.session import Session, open_session
from sentinel.storage.sqlite.space import Space
from tests.support.clock import ManualClock
from tests.support.store_blocks import block, incident, keys, page
from tests.support.surroundings import make_surroundings

V1 = """
CREATE TABLE about (version INTEGER NOT NULL);
CREATE TABLE series (
                series_id INTEGER PRIMARY KEY AUTOINCREMENT,
                service TEXT NOT NULL, stage TEXT NOT NULL, route TEXT NOT NULL, signal TEXT NOT NULL,
                kind INTEGER NOT NULL, crc INTEGER NOT NULL,
                first_seen_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL,
                UNIQUE (service, stage, route, signal));
CREATE TABLE layouts (
                layout_id INTEGER PRIMARY KEY AUTOINCREMENT, series_count INTEGER NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE chunks (
                chunk_id INTEGER PRIMARY KEY AUTOINCREMENT, step_ns INTEGER NOT NULL,
                start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, layout_id INTEGER NOT NULL,
                codec INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX chunks_by_time ON chunks (step_ns, start_ns, end_ns, codec);
CREATE TABLE roll_ups (step_ns INTEGER PRIMARY KEY, until_ns INTEGER NOT NULL);
CREATE TABLE histograms (
                start_ns INTEGER PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE snapshots (
                snapshot_id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL,
                at_ns INTEGER NOT NULL, version INTEGER NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE incidents (
                incident_id TEXT PRIMARY KEY, opened_ns INTEGER NOT NULL, state TEXT NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX incidents_by_time ON incidents (opened_ns);
CREATE TABLE pages (
                page_id TEXT PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE outbox (
                entry_id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL,
                page_id TEXT NOT NULL, attempts INTEGER NOT NULL, due_ns INTEGER NOT NULL,
                state TEXT NOT NULL, delivered_ns INTEGER, crc INTEGER NOT NULL,
                UNIQUE (destination, page_id));
CREATE INDEX outbox_open ON outbox (destination, entry_id) WHERE state != 'done';
CREATE TABLE notes (
                note_id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL,
                text TEXT NOT NULL, UNIQUE (at_ns, text));
CREATE TABLE quarantine (
                quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL,
                name TEXT NOT NULL, reason TEXT NOT NULL, found_ns INTEGER NOT NULL,
                payload BLOB);
"""
DAY_NS = 86_400_000_000_000


def opened(directory: Path, *, reserve_bytes: int = 0) -> SqliteStore:
    config = StoreConfig(directory=str(directory), reserve_bytes=reserve_bytes)  # type: ignore[arg-type]
    store = SqliteStore(config, make_surroundings())
    store.open()
    store.set_destinations(["am", "hook"])
    return store


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a store of version 1: an open incident, two pages of it, one tried and one delivered."""
    store = opened(tmp_path / "new")
    ids = store.register(keys(3), now_ns=1)
    pages = (page("inc-1"), page("inc-1", 1))
    store.append_tick(Tick(block=block(ids), incidents=(incident("inc-1"),), pages=pages))
    tried, told = store.entries(destination="am")
    store.update(
        [replace(tried, attempts=3, due_ns=77), replace(told, state="delivered", delivered_ns=5)]
    )
    store.close()
    directory = tmp_path / "old"
    directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(directory / "sentinel.db")) as connection:
        connection.executescript(V1)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO about VALUES (1)")
        connection.execute("ATTACH ? AS new", (str(tmp_path / "new" / "sentinel.db"),))
        rows = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        for (table,) in rows.fetchall():
            if table != "about" and not table.startswith("sqlite_"):
                columns = ", ".join(
                    name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")
                )
                connection.execute(
                    f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"
                )
        connection.commit()
    return directory


def assert_whole(store: SqliteStore) -> None:
    assert store.incidents(limit=9) == [incident("inc-1")]
    tried, told = store.entries(destination="am")
    assert (tried.page, tried.attempts, tried.due_ns, tried.state) == (
        page("inc-1"),
        3,
        77,
        "pending",
    )
    assert (told.page, told.state, told.delivered_ns) == (page("inc-1", 1), "delivered", 5)
    assert [entry.state for entry in store.entries(destination="hook")] == ["pending"] * 2
    assert {
        entry.stored_ns for name in ("am", "hook") for entry in store.entries(destination=name)
    } == {0}
    assert len(store.series()) == 3
    assert len(list(store.windows(step_ns=10_000_000_000, start_ns=0, end_ns=2**62))) == 1


def test_incident_and_pages_are_as_they_were_and_go_on(old: Path) -> None:
    store = opened(old)
    assert_whole(store)
    assert (old / f"sentinel.db.before-v{SCHEMA_VERSION}").exists()
    assert store.trouble == ""
    (waiting, *_) = store.entries(destination="am")
    store.update([replace(waiting, state="delivered", delivered_ns=9)])
    ids = store.register(keys(3), now_ns=2)
    store.append_tick(Tick(block=block(ids, at=1), pages=(page("inc-2"),)))
    store.close()
    again = opened(old)
    assert [entry.state for entry in again.entries(destination="am")] == [
        "delivered",
        "delivered",
        "pending",
    ]
    again.close()


def test_a_disk_without_room_for_the_copy_is_upgraded_without_one(
    old: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy filled the disk, and every start after it failed: the pages that waited never went out."""
    for name in ("sentinel.db.before-v2", "sentinel.db.before-v2-journal"):
        (old / name).write_bytes(b"what an earlier try left")
    monkeypatch.setattr(upgrade_copy, "_free_bytes", lambda _: upgrade_copy.ROOM_LEFT_BYTES)
    store = opened(old)
    assert_whole(store)
    assert not list(old.glob("*.before-v*"))
    assert "Store is upgraded without a copy of it as it was" in caplog.messages
    store.close()


def test_a_copy_that_fails_midway_leaves_nothing_and_does_not_stop_the_upgrade(
    old: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Free room is a promise of the file system's that a quota does not keep."""

    class FullDisk:
        """As much of the module as is used, on a disk that is full after two pages."""

        Error = sqlite3.Error

        @staticmethod
        def connect(target: Path) -> sqlite3.Connection:
            copy = sqlite3.connect(target)
            copy.execute("PRAGMA max_page_count = 2")
            return copy

    monkeypatch.setattr(upgrade_copy, "sqlite3", FullDisk)
    store = opened(old)
    assert_whole(store)
    assert not list(old.glob("*.before-v*"))
    assert "Store is upgraded without a copy of it as it was" in caplog.messages
    store.close()


def test_the_copy_is_counted_and_removed_when_it_was_kept_long_enough(old: Path) -> None:
    """It stayed for ever, as large as the store, and no size told of it."""
    clock = ManualClock()
    store = SqliteStore(
        StoreConfig(directory=str(old), reserve_bytes=0),  # type: ignore[arg-type]
        make_surroundings(clock),
    )
    store.open()
    copy = old / f"sentinel.db.before-v{SCHEMA_VERSION}"
    rest_bytes = sum((old / name).stat().st_size for name in ("sentinel.db", "sentinel.db-wal"))
    assert copy.stat().st_size > 0
    assert store.size_bytes() == rest_bytes + copy.stat().st_size
    ids = store.register(keys(1), now_ns=1)
    for days, is_there in ((13, True), (15, False)):
        made_ns = clock.now_ns() - days * DAY_NS
        os.utime(copy, ns=(made_ns, made_ns))
        for at in range(60):
            store.append_tick(Tick(block=block(ids, at=days * 60 + at)))
        assert copy.exists() == is_there
    store.close()


def test_a_full_disk_takes_the_copy_first(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(old, reserve_bytes=1 << 20)
    ids = store.register(keys(1), now_ns=1)
    assert list(old.glob("*.before-v*"))
    monkeypatch.setattr(store._access.space, "free_bytes", lambda: 0)
    store.append_tick(Tick(block=block(ids, at=5)))
    assert not list(old.glob("*.before-v*"))
    assert (old / "sentinel.ballast").exists()
    store.close()


def test_a_disk_without_any_room_gives_up_copy_and_reserve_to_open(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls it a failing disk, and every start ended there with megabytes held back for pages."""
    left = [old / "sentinel.db.before-v2", old / "sentinel.ballast"]
    for one in left:
        one.write_bytes(b"x" * 1000)
    there: list[list[bool]] = []

    def without_room(*args: Any, **kwargs: Any) -> Session:
        there.append([one.exists() for one in left])
        if any(there[-1]):
            msg = "opening the store failed: disk I/O error"
            raise StoreError(msg)
        return open_session(*args, **kwargs)

    monkeypatch.setattr(access, "open_session", without_room)
    monkeypatch.setattr(Space, "free_bytes", lambda _: 0)
    store = opened(old)
    assert there == [[True, True], [False, True], [False, False]]
    assert_whole(store)
    store.close()


def test_a_full_disk_without_anything_to_give_is_told_as_what_it_is(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Session:
        msg = "opening the store failed: disk I/O error"
        raise StoreError(msg)

    monkeypatch.setattr(access, "open_session", failing)
    monkeypatch.setattr(Space, "free_bytes", lambda _: 0)
    with pytest.raises(StoreFullError, match="is full and no reserve is held"):
        opened(old)


def test_a_failing_disk_with_room_on_it_keeps_copy_and_reserve(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old / "sentinel.ballast").write_bytes(b"x" * 1000)

    def failing(*_: Any, **__: Any) -> Session:
        msg = "opening the store failed: disk I/O error"
        raise StoreError(msg)

    monkeypatch.setattr(access, "open_session", failing)
    with pytest.raises(StoreError, match="I/O"):
        opened(old)
    assert (old / "sentinel.ballast").exists()


def test_a_damaged_store_of_version_1_is_rebuilt_with_its_pages(old: Path) -> None:
    """Rebuilding took only the newest definitions for sound: with no copy of the first page, all was lost."""
    path = old / "sentinel.db"
    assert not (old / "sentinel.db.page1").exists()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    store = opened(old)
    assert "rebuilt" in store.trouble
    assert store.incidents(limit=9) == [incident("inc-1")]
    assert [entry.page for entry in store.entries(destination="hook")] == [
        page("inc-1"),
        page("inc-1", 1),
    ]
    assert len(store.series()) == 3
    store.close()
