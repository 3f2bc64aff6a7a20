"""What a replay of stored windows begins from and judges by: states a day apart, and the fits that were in effect.

They lie in the table of snapshots, compressed, and go with the finest windows: what cannot be replayed needs no record.
"""

from __future__ import annotations

import sqlite3
import zlib
from enum import StrEnum

import zstandard

from sentinel.errors import StoreCorruptError
from sentinel.ports import Snapshot
from sentinel.storage.sqlite.baselines import snapshot_crc

RECORDS_KEPT = 4096
"""Of each kind; a week of hourly fits, in parts of two hours, is 250."""

_LEVEL = 1
_INFLATED_BYTES_MAX = 1 << 30


class RecordKind(StrEnum):
    """What a record is of."""

    STATE = "state_record"
    FIT = "fit_record"


def write_record(connection: sqlite3.Connection, what: RecordKind, record: Snapshot) -> None:
    """Store a record; the same instant and version again replaces it. Inside a transaction."""
    packed = Snapshot(
        at_ns=record.at_ns,
        version=record.version,
        payload=zstandard.ZstdCompressor(level=_LEVEL).compress(record.payload),
    )
    connection.execute(
        "DELETE FROM snapshots WHERE what = ? AND at_ns = ? AND version = ?",
        (what, packed.at_ns, packed.version),
    )
    connection.execute(
        "INSERT INTO snapshots (what, at_ns, version, crc, payload) VALUES (?, ?, ?, ?, ?)",
        (what, packed.at_ns, packed.version, snapshot_crc(what, packed), packed.payload),
    )


def record_times(connection: sqlite3.Connection, what: RecordKind) -> list[tuple[int, int]]:
    """Id and instant of each record, in the order in which they were stored."""
    return connection.execute(
        "SELECT snapshot_id, at_ns FROM snapshots WHERE what = ? ORDER BY snapshot_id", (what,)
    ).fetchall()


def read_record(connection: sqlite3.Connection, what: RecordKind, record_id: int) -> Snapshot:
    """One record, as it was given to `write_record`.

    Raises:
        StoreCorruptError: it does not match its checksum.
    """
    row = connection.execute(
        "SELECT at_ns, version, crc, payload FROM snapshots WHERE snapshot_id = ? AND what = ?",
        (record_id, what),
    ).fetchone()
    if row is None:
        msg = f"{what} {record_id} is gone"
        raise StoreCorruptError(msg)
    at_ns, version, crc, payload = row
    packed = Snapshot(at_ns=at_ns, version=version, payload=payload)
    if not isinstance(payload, bytes) or snapshot_crc(what, packed) != crc:
        msg = f"{what} {record_id} does not match its checksum"
        raise StoreCorruptError(msg)
    try:
        inflated = zstandard.ZstdDecompressor().decompress(
            payload, max_output_size=_INFLATED_BYTES_MAX
        )
    except (zstandard.ZstdError, zlib.error, MemoryError) as error:
        msg = f"{what} {record_id} cannot be unpacked: {error}"
        raise StoreCorruptError(msg) from error
    return Snapshot(at_ns=at_ns, version=version, payload=inflated)


def remove_old_records(connection: sqlite3.Connection, *, before_ns: int) -> int:
    """Remove what windows from `before_ns` on do not need, and more than are kept; how many. Inside a transaction.

    The newest state before that instant stays, and what is younger than it: the windows after it begin from there.
    """
    (first_ns,) = connection.execute(
        "SELECT max(at_ns) FROM snapshots WHERE what = ? AND at_ns <= ?",
        (RecordKind.STATE, before_ns),
    ).fetchone()
    removed = 0
    if first_ns is not None:
        # The fit in effect at that state is of an earlier instant; a part of it is never longer than a day.
        removed += connection.execute(
            "DELETE FROM snapshots WHERE (what = ? AND at_ns < ?) OR (what = ? AND at_ns < ?)",
            (RecordKind.STATE, first_ns, RecordKind.FIT, first_ns - 86_400_000_000_000),
        ).rowcount
        # Events are for replays alone, and hold what was put on pages.
        connection.execute("DELETE FROM notes WHERE at_ns <= ?", (first_ns,))
    for what in RecordKind:
        removed += connection.execute(
            "DELETE FROM snapshots WHERE what = ? AND snapshot_id NOT IN"
            " (SELECT snapshot_id FROM snapshots WHERE what = ? ORDER BY snapshot_id DESC LIMIT ?)",
            (what, what, RECORDS_KEPT),
        ).rowcount
    return removed


def remove_oldest_records(connection: sqlite3.Connection) -> int:
    """Remove the older half of the states and what lies before the rest; how many. Inside a transaction.

    For a store that is over its ceiling: a preview then begins later.
    """
    instants = [at_ns for _, at_ns in record_times(connection, RecordKind.STATE)]
    if len(instants) < 2:
        return 0
    return remove_old_records(connection, before_ns=sorted(instants)[len(instants) // 2])
