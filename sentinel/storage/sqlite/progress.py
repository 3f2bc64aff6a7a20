"""How far backfills got, in the same transactions as the windows they are about; one note for each source of them."""

from __future__ import annotations

import sqlite3

from sentinel.ports import Snapshot
from sentinel.storage.sqlite.baselines import snapshot_crc

_KIND = "backfill "
_NOTES_MAX = 64
"""The newest: of sources that were given up, and of what was there before the start of a sidecar, so of 32 servers; each is some kilobytes at most."""


def write_progress(
    connection: sqlite3.Connection, source: str, payload: bytes, *, now_ns: int
) -> None:
    """Replace what is known of a source by this, or by nothing when it is empty; inside a transaction."""
    what = f"{_KIND}{source}"
    connection.execute("DELETE FROM snapshots WHERE what = ?", (what,))
    if payload:
        snapshot = Snapshot(at_ns=now_ns, version=1, payload=payload)
        connection.execute(
            "INSERT INTO snapshots (what, at_ns, version, crc, payload) VALUES (?, ?, ?, ?, ?)",
            (what, now_ns, 1, snapshot_crc(what, snapshot), payload),
        )
        connection.execute(
            "DELETE FROM snapshots WHERE substr(what, 1, ?) = ? AND snapshot_id NOT IN"
            " (SELECT snapshot_id FROM snapshots WHERE substr(what, 1, ?) = ?"
            " ORDER BY snapshot_id DESC LIMIT ?)",
            (len(_KIND), _KIND, len(_KIND), _KIND, _NOTES_MAX),
        )


def read_progress(connection: sqlite3.Connection, source: str) -> bytes:
    """What was written last; empty when there is none, or when it is damaged: then all is done again."""
    what = f"{_KIND}{source}"
    row = connection.execute(
        "SELECT at_ns, version, crc, payload FROM snapshots WHERE what = ?", (what,)
    ).fetchone()
    if row is None or not isinstance(row[3], bytes):
        return b""
    at_ns, version, crc, payload = row
    snapshot = Snapshot(at_ns=at_ns, version=version, payload=payload)
    return payload if snapshot_crc(what, snapshot) == crc else b""


def forget_progress(connection: sqlite3.Connection) -> None:
    """All begin anew: windows may be lost that the notes say are there. Inside a transaction."""
    connection.execute("DELETE FROM snapshots WHERE substr(what, 1, ?) = ?", (len(_KIND), _KIND))
