"""Where each file was read to, kept so that it survives the process: one small SQLite file.

Of each file two positions are kept: up to where lines were handed on, and up to where the next batch reaches. The second
is durable before the batch is handed on. A reader that finds it after a crash makes the same batch again, with the same
fingerprint and the same ids of its records; so nothing is lost, and what is handed on twice can be told as such.

While an endpoint has no room, lines are handed on to detection and the others alone; where the endpoint goes on is kept too
(`Unshipped`).

No text of a log is kept here: the beginning of a file, and what is before a position, are known by their hashes.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

HEAD_BYTES_MAX = 1024
TAIL_BYTES_MAX = 64
_VERSION = 3
"""2: a position says how many records were read up to it; those of 1 have none, and are read all the same.

3: a file says what of it which endpoint has not got; files of 1 and 2 are read as if every endpoint had all.
"""
_ROWS_MAX = 4096
_FORGET_EVERY = 4096
_SCHEMA = (
    "CREATE TABLE store (store_id TEXT NOT NULL)",
    "CREATE TABLE sources (source TEXT PRIMARY KEY, paths TEXT NOT NULL)",
    """
CREATE TABLE files (
    file_id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    path TEXT NOT NULL,
    device TEXT NOT NULL,
    inode TEXT NOT NULL,
    head_bytes INTEGER NOT NULL,
    head BLOB NOT NULL,
    handed TEXT NOT NULL,
    next TEXT,
    next_read_ns INTEGER,
    seen_ns INTEGER NOT NULL,
    unshipped TEXT NOT NULL DEFAULT '{}'
)
""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a file was read.

    Attributes:
        offset: bytes of whole lines that were taken.
        starts: where the record of each stream begins that is not finished.
        tail_bytes, tail: how many bytes before `offset` are known, and their hash.
        record_count: records of the file that were read since it was followed.
    """

    offset: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    tail_bytes: int = 0
    tail: bytes = b""
    record_count: int = 0

    @property
    def low(self) -> int:
        """Where reading begins again: at the first record that is not finished."""
        return min(self.starts.values(), default=self.offset)

    def places(self) -> dict[str, int]:
        """From where on the lines of each stream were not handed on; `*` for streams that are not named."""
        return {**self.starts, "*": self.offset}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unshipped:
    """What of a file an endpoint has not got, though it was counted.

    Attributes:
        start: it has all before this place.
        skip_count: and so many of the records behind it.
        until: up to here, at first; what was counted since comes after that. Records end here, whatever follows in the file,
            so that what is read again after a kill is the same.
        since_ns: since when it has not got all.
    """

    start: Position
    skip_count: int
    until: Position
    since_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is kept of one file; `next` is the batch under way, if there is one, and when it was read."""

    file_id: int
    source: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head: bytes
    handed: Position
    next: Position | None
    next_read_ns: int
    seen_ns: int
    unshipped: Mapping[str, Unshipped] = field(default_factory=dict)


def hash_of(data: bytes) -> bytes:
    """What bytes of a file are known by."""
    return blake2b(data, digest_size=16).digest()


class Positions:
    """The file of positions; calls block, and come from one thread at a time."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / "log_files.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._save_count = 0
        self.store_id = ""
        """Tells these positions from those of any other process; the same for as long as they are kept."""

    def open(self) -> str:
        """Open or make the file; a sentence when a damaged one had to be set aside, else "".

        Raises:
            OSError, sqlite3.Error: it can neither be opened nor made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError:
            aside = self._path.with_suffix(".damaged")
            for ending in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + ending)
                if part.exists():
                    part.replace(aside.with_name(aside.name + ending))
            self._connection = self._opened()
            return f"The positions of log files were damaged and set aside as {aside.name}; files begin anew"
        return ""

    def _opened(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            _refuse_newer(version)
            if version in (1, 2):
                _widen(connection)
            elif version == 0:
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO store VALUES (?)", (os.urandom(6).hex(),))
                connection.execute(f"PRAGMA user_version={_VERSION}")
                connection.execute("COMMIT")
            (self.store_id,) = connection.execute("SELECT store_id FROM store").fetchone()
            connection.execute("SELECT count(*) FROM files").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the file; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def rows(self) -> list[Row]:
        """Every file that is known."""
        found = self._connected().execute(
            "SELECT file_id, source, path, device, inode, head_bytes, head, handed, next, next_read_ns, seen_ns,"
            " unshipped FROM files"
            " ORDER BY file_id"
        )
        return [
            Row(
                file_id=row[0],
                source=row[1],
                path=row[2],
                device=int(row[3]),
                inode=int(row[4]),
                head_bytes=row[5],
                head=row[6],
                handed=_position(row[7]),
                next=None if row[8] is None else _position(row[8]),
                next_read_ns=row[9] or 0,
                seen_ns=row[10],
                unshipped=_unshipped(row[11]),
            )
            for row in found
        ]

    def sources(self) -> dict[str, str]:
        """The patterns that each source had when rows were last saved."""
        return dict(self._connected().execute("SELECT source, paths FROM sources"))

    def save(
        self, rows: Sequence[Row], *, forget_before_ns: int, sources: Mapping[str, str]
    ) -> None:
        """Make these rows durable together or not at all; now and then forget files that were not read since.

        Args:
            rows: what is known now.
            forget_before_ns: when files must have been seen.
            sources: the patterns of each source.
        """
        if not rows:
            return
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (file_id) DO UPDATE SET"
                " path=excluded.path, device=excluded.device, inode=excluded.inode, head_bytes=excluded.head_bytes,"
                " head=excluded.head, handed=excluded.handed, next=excluded.next, next_read_ns=excluded.next_read_ns,"
                " seen_ns=excluded.seen_ns, unshipped=excluded.unshipped",
                [
                    (
                        row.file_id,
                        row.source,
                        row.path,
                        str(row.device),
                        str(row.inode),
                        row.head_bytes,
                        row.head,
                        _written(row.handed),
                        None if row.next is None else _written(row.next),
                        row.next_read_ns,
                        row.seen_ns,
                        _written_unshipped(row.unshipped),
                    )
                    for row in rows
                ],
            )
            self._save_count += 1
            if self._save_count == 1:
                connection.execute("DELETE FROM sources")
                connection.executemany("INSERT INTO sources VALUES (?, ?)", list(sources.items()))
            if self._save_count % _FORGET_EVERY == 1:
                # Never the last id that was given: what is known by it would be taken for another file's.
                connection.execute(
                    "DELETE FROM files WHERE file_id < (SELECT max(file_id) FROM files) AND (seen_ns < ?"
                    " OR file_id NOT IN (SELECT file_id FROM files ORDER BY seen_ns DESC LIMIT ?))",
                    (forget_before_ns, _ROWS_MAX),
                )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            msg = "the positions of log files are not open"
            raise sqlite3.OperationalError(msg)
        return self._connection


def _widen(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ALTER TABLE files ADD COLUMN unshipped TEXT NOT NULL DEFAULT '{}'")
        connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        # A full disk is no damage: what is known of files must not be set aside for it.
        msg = f"positions of log files cannot be brought to format {_VERSION}: {error}"
        raise OSError(msg) from error


def _written(position: Position) -> str:
    return json.dumps(_fields_of(position))


def _fields_of(position: Position) -> list[Any]:
    return [
        position.offset,
        position.starts,
        position.tail_bytes,
        position.tail.hex(),
        position.record_count,
    ]


def _written_unshipped(unshipped: Mapping[str, Unshipped]) -> str:
    return json.dumps(
        {
            endpoint: [
                _fields_of(one.start),
                one.skip_count,
                _fields_of(one.until),
                one.since_ns,
            ]
            for endpoint, one in unshipped.items()
        }
    )


def _unshipped(text: str) -> dict[str, Unshipped]:
    return {
        endpoint: Unshipped(
            start=_position_of(start),
            skip_count=skip_count,
            until=_position_of(until),
            since_ns=since_ns,
        )
        for endpoint, (start, skip_count, until, since_ns) in json.loads(text).items()
    }


def _position(text: str) -> Position:
    return _position_of(json.loads(text))


def _position_of(fields: list[Any]) -> Position:
    offset, starts, tail_bytes, tail, *more = fields
    return Position(
        offset=offset,
        starts=starts,
        tail_bytes=tail_bytes,
        tail=bytes.fromhex(tail),
        record_count=more[0] if more else 0,
    )


def _refuse_newer(version: int) -> None:
    if version > _VERSION:
        msg = f"positions of log files have format {version}, which this version does not know"
        raise OSError(msg)
