"""Fits and learned state as bytes with a checksum; two generations of each."""

from __future__ import annotations

import sqlite3
import zlib
from enum import StrEnum

from sentinel.errors import StoreCorruptError
from sentinel.ports import Snapshot

_GENERATION_COUNT = 2
_PIECE_BYTES = 1 << 20


class SnapshotKind(StrEnum):
    """What a snapshot is of."""

    FIT = "fit"
    STATE = "state"


def write_snapshot(connection: sqlite3.Connection, what: SnapshotKind, snapshot: Snapshot) -> None:
    """Store a snapshot and forget all but the two newest; inside a transaction.

    Newest is the one stored last, not the one with the latest time: a clock that once ran ahead
    must not keep an old snapshot on top.
    """
    connection.execute(
        "DELETE FROM snapshots WHERE what = ? AND at_ns = ? AND version = ?",
        (what, snapshot.at_ns, snapshot.version),
    )
    # Written through a blob handle: a fit of 10,000 series is 25 MB, and a bound value is copied twice more.
    cursor = connection.execute(
        "INSERT INTO snapshots (what, at_ns, version, crc, payload) VALUES (?, ?, ?, ?, zeroblob(?))",
        (
            what,
            snapshot.at_ns,
            snapshot.version,
            snapshot_crc(what, snapshot),
            len(snapshot.payload),
        ),
    )
    if snapshot.payload and cursor.lastrowid is not None:
        payload = memoryview(snapshot.payload)
        with connection.blobopen("snapshots", "payload", cursor.lastrowid) as blob:
            for first in range(0, len(payload), _PIECE_BYTES):
                blob.write(payload[first : first + _PIECE_BYTES])
    connection.execute(
        "DELETE FROM snapshots WHERE what = ? AND snapshot_id NOT IN"
        " (SELECT snapshot_id FROM snapshots WHERE what = ? ORDER BY snapshot_id DESC LIMIT ?)",
        (what, what, _GENERATION_COUNT),
    )


def snapshot_ids(connection: sqlite3.Connection, what: SnapshotKind) -> list[int]:
    """Ids of the stored snapshots, newest first."""
    rows = connection.execute(
        "SELECT snapshot_id FROM snapshots WHERE what = ? ORDER BY snapshot_id DESC", (what,)
    )
    return [snapshot_id for (snapshot_id,) in rows]


def read_snapshot(
    connection: sqlite3.Connection, what: SnapshotKind, snapshot_id: int
) -> Snapshot:
    """One snapshot.

    Raises:
        StoreCorruptError: it does not match its checksum.
    """
    row = connection.execute(
        "SELECT at_ns, version, crc, typeof(payload) FROM snapshots WHERE snapshot_id = ?",
        (snapshot_id,),
    ).fetchone()
    if isinstance(row[0], int) and isinstance(row[1], int) and row[3] == "blob":
        with connection.blobopen("snapshots", "payload", snapshot_id, readonly=True) as blob:
            snapshot = Snapshot(at_ns=row[0], version=row[1], payload=blob.read())
        if snapshot_crc(what, snapshot) == row[2]:
            return snapshot
    msg = f"{what} {snapshot_id} does not match its checksum"
    raise StoreCorruptError(msg)


def snapshot_crc(what: str, snapshot: Snapshot) -> int:
    """Checksum over a snapshot and what it says about itself."""
    header = f"{what}:{snapshot.at_ns}:{snapshot.version}:".encode()
    return zlib.crc32(snapshot.payload, zlib.crc32(header))
