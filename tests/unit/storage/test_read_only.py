"""Goal: a store that was copied to, or mounted on, a file system that takes no file can be read.

Method: a store that was closed, read with SQLite's file beside the log forbidden by a folder that nobody may write to;
and the same while a writer is there, whose log must be read too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.ports import Snapshot
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from sentinel.storage.sqlite.connection import wal_bytes
from tests.support.surroundings import make_surroundings


def test_a_store_on_a_read_only_file_system_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
    store.open()
    store.close()
    for leftover in tmp_path.glob("*-shm"):
        leftover.unlink()
    for leftover in tmp_path.glob("*-wal"):
        assert leftover.stat().st_size == 0
        leftover.unlink()
    # Whoever runs the tests may be allowed everything; what a read-only file system answers is given in its place.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = sorted(path.name for path in tmp_path.iterdir())
    with StoreReader(tmp_path) as reader:
        assert reader.series() == []
        assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_log_is_read_too_where_there_is_one(tmp_path: Path) -> None:
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
    store.open()
    try:
        store.save_fit(Snapshot(at_ns=1, version=7, payload=b"made"))
        assert wal_bytes(tmp_path / "sentinel.db") > 0
        with StoreReader(tmp_path) as reader:
            assert [fit.version for fit in reader.fits()] == [7]
    finally:
        store.close()
