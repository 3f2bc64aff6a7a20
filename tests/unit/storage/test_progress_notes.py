"""What a rebuild and a flipped bit do to the notes of backfills: better none than one that says more than is there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.connection import DATABASE_NAME
from sentinel.storage.sqlite.salvage import rebuild
from tests.support.store_blocks import block, keys
from tests.support.surroundings import make_surroundings


def opened(folder: Path) -> SqliteStore:
    store = SqliteStore(StoreConfig(directory=str(folder)), make_surroundings())
    store.open()
    return store


def filled(folder: Path, *, notes: int = 1) -> None:
    store = opened(folder)
    ids = store.register(keys(3), now_ns=1)
    for number in range(notes):
        store.append_past(
            [block(ids, count=3)], source=f"s{number}", progress=b"note", now_ns=number
        )
    store.close()


def test_a_rebuilt_store_has_its_windows_and_no_notes(tmp_path: Path) -> None:
    filled(tmp_path)
    rebuild(tmp_path / DATABASE_NAME)
    store = opened(tmp_path)
    try:
        assert len(store.series()) == 3
        assert store.past_progress("s0") == b""
    finally:
        store.close()


def test_a_note_with_a_flipped_bit_is_none(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / DATABASE_NAME) as connection:
        connection.execute("UPDATE snapshots SET payload = X'6E6F7466'")
    connection.close()
    store = opened(tmp_path)
    try:
        assert store.past_progress("s0") == b""
    finally:
        store.close()


def test_notes_of_backfills_that_were_given_up_are_few(tmp_path: Path) -> None:
    filled(tmp_path, notes=70)
    store = opened(tmp_path)
    try:
        kept = [number for number in range(70) if store.past_progress(f"s{number}")]
    finally:
        store.close()
    assert kept == list(range(6, 70))
