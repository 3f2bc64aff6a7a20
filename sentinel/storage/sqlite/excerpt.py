"""A part of a store as one file that can be carried elsewhere: what a preview of a span needs, and nothing else.

It is a database of the same schema, so that everything that reads a store reads it, checks it and refuses a newer one.
Pages, the outbox and histograms stay behind.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sentinel.errors import StoreError, StoreFullError
from sentinel.storage.sqlite.connection import DATABASE_NAME, connect_read_only, store_error
from sentinel.storage.sqlite.migrations import migrate, version_of
from sentinel.storage.sqlite.records import RecordKind
from sentinel.storage.sqlite.schema import SCHEMA_VERSION

EXCERPT_BYTES_MAX = 4 << 30
_DAY_NS = 86_400_000_000_000
_PIECE_ROWS = 64


def write_excerpt(
    directory: str | Path, path: Path, *, step_ns: int, start_ns: int, end_ns: int
) -> int:
    """Copy what a preview of windows of `step_ns` within `[start_ns, end_ns)` reads; the size in bytes.

    The store may be in use. `start_ns` is that of the recorded state that the preview begins from.

    Raises:
        StoreError: the file is there already, cannot be written, or would be larger than `EXCERPT_BYTES_MAX`.
    """
    source = Path(directory) / DATABASE_NAME
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise StoreError(msg) from error
    try:
        with (
            closing(connect_read_only(source)) as reader,
            closing(sqlite3.connect(path, isolation_level=None)) as writer,
        ):
            _check_version(reader, source)
            # One file: no log beside it, and what breaks off is removed.
            writer.execute("PRAGMA journal_mode = OFF")
            writer.execute("PRAGMA synchronous = OFF")
            migrate(writer, path)
            reader.execute("BEGIN")
            for table, where, values in _wanted(step_ns, start_ns, end_ns):
                _copy(reader, writer, path, table, where, values)
            reader.execute("COMMIT")
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise store_error(error, operation="writing the copy") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def _check_version(reader: sqlite3.Connection, source: Path) -> None:
    if version_of(reader, source) != SCHEMA_VERSION:
        msg = f"{source} is of another schema version than this program"
        raise StoreError(msg)


def _wanted(
    step_ns: int, start_ns: int, end_ns: int
) -> list[tuple[str, str, tuple[int | str, ...]]]:
    span = (step_ns, start_ns, end_ns)
    return [
        ("series", "1", ()),
        ("chunks", "step_ns = ? AND end_ns > ? AND start_ns < ?", span),
        (
            "layouts",
            "layout_id IN (SELECT layout_id FROM chunks"
            " WHERE step_ns = ? AND end_ns > ? AND start_ns < ?)",
            span,
        ),
        (
            "snapshots",
            "(what = ? AND at_ns = ?) OR (what = ? AND at_ns >= ? AND at_ns < ?)",
            (RecordKind.STATE, start_ns, RecordKind.FIT, start_ns - _DAY_NS, end_ns),
        ),
        ("notes", "at_ns > ? AND at_ns <= ?", (start_ns, end_ns)),
        ("incidents", "1", ()),
    ]


def _copy(
    reader: sqlite3.Connection,
    writer: sqlite3.Connection,
    path: Path,
    table: str,
    where: str,
    values: tuple[int | str, ...],
) -> None:
    rows = reader.execute(f"SELECT * FROM {table} WHERE {where}", values)  # noqa: S608  # names of our own
    marks = ", ".join("?" * len(rows.description))
    writer.execute("BEGIN")
    while piece := rows.fetchmany(_PIECE_ROWS):
        writer.executemany(f"INSERT INTO {table} VALUES ({marks})", piece)  # noqa: S608
        if path.stat().st_size > EXCERPT_BYTES_MAX:
            msg = f"the copy would be larger than {EXCERPT_BYTES_MAX >> 30} GiB; ask for a shorter span"
            raise StoreFullError(msg)
    writer.execute("COMMIT")
