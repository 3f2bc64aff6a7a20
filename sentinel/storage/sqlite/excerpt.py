"""A part of a store as one file that can be carried elsewhere: what a preview of a span needs, and nothing else.

It is a database of the same schema, so that everything that reads a store reads it, checks it and refuses a newer one.
Pages, the outbox and histograms stay behind.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sentinel.errors import StoreCorruptError, StoreError, StoreFullError, StoreTooNewError
from sentinel.storage.sqlite.connection import (
    DATABASE_NAME,
    Failure,
    connect_read_only,
    failure_of,
    store_error,
)
from sentinel.storage.sqlite.migrations import has_known_schema, migrate, version_of
from sentinel.storage.sqlite.records import RecordKind
from sentinel.storage.sqlite.schema import SCHEMA_VERSION

EXCERPT_BYTES_MAX = 4 << 30
_DAY_NS = 86_400_000_000_000
_PIECE_ROWS = 64
_SPAN = "span"
_OF_A_TIME = """text LIKE '{"event": "set_back"%' OR text LIKE '{"event": "unstored"%'"""
"""Events that tell of another time than that of the window they are stored with."""
_DATABASE_HEAD = b"SQLite format 3\0"


def write_excerpt(
    directory: str | Path,
    path: Path,
    *,
    step_ns: int,
    start_ns: int,
    end_ns: int,
    from_ns: int | None = None,
) -> int:
    """Copy what a preview of windows of `step_ns` within `[start_ns, end_ns)` reads; the size in bytes.

    The store may be in use. `start_ns` is that of the recorded state that the preview begins from, `from_ns` where it tells
    from; a copy knows that span, because it holds more: pieces are copied whole.

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
            # Beside the events of before the first window, which no replay reads.
            writer.execute(
                "INSERT INTO notes (at_ns, text) VALUES (?, ?)",
                (start_ns, json.dumps({"event": _SPAN, "from_ns": from_ns, "to_ns": end_ns})),
            )
            reader.execute("COMMIT")
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise store_error(error, operation="writing the copy") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def excerpt_span(notes: Iterable[tuple[int, str]]) -> tuple[int | None, int] | None:
    """From when to when a copy was made for, by its events: the start may be None; None where it is no copy but a store."""
    for _, text in notes:
        if not text.startswith(f'{{"event": "{_SPAN}"'):
            continue
        try:
            told = json.loads(text)
            from_ns, to_ns = told["from_ns"], int(told["to_ns"])
            return None if from_ns is None else int(from_ns), to_ns
        except (ValueError, KeyError, TypeError):
            return None
    return None


def check_excerpt(path: Path) -> None:
    """See that a file is a snapshot that this program can read, and is whole; it is read once for that.

    Such files are carried about: sent by mail, cut off on the way, kept over an upgrade. Each has its own sentence.

    Raises:
        StoreTooNewError: it is of a newer version.
        StoreCorruptError: it is damaged.
        StoreError: it is of an older version, no snapshot at all, or cannot be read.
    """
    if path.is_dir():
        msg = f"{path} is a folder; --store reads the folder of a store"
        raise StoreError(msg)
    try:
        with path.open("rb") as file:
            head = file.read(len(_DATABASE_HEAD))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise StoreError(msg) from error
    if head != _DATABASE_HEAD:
        msg = f"{path} is no snapshot, which is a file that --save-snapshot wrote"
        raise StoreError(msg)
    try:
        with closing(connect_read_only(path)) as reader:
            _check_excerpt(reader, path)
    except UnicodeDecodeError as error:  # in the text of a damaged definition
        raise _damaged(path) from error
    except sqlite3.Error as error:
        if failure_of(error) is Failure.CORRUPT:
            raise _damaged(path) from error
        raise store_error(error, operation=f"reading {path}") from error


def _check_excerpt(reader: sqlite3.Connection, path: Path) -> None:
    found = version_of(reader, path)
    if found > SCHEMA_VERSION:
        msg = (
            f"{path} is a snapshot of a newer version of this program: it has schema version {found}, "
            f"and {SCHEMA_VERSION} is the newest that is known here"
        )
        raise StoreTooNewError(msg)
    if found == 0:
        msg = f"{path} is no snapshot, there is nothing in it"
        raise StoreError(msg)
    if found < SCHEMA_VERSION:
        msg = (
            f"{path} is a snapshot of an older version of this program: it has schema version {found}, "
            f"and this one reads {SCHEMA_VERSION}; write it anew from the store"
        )
        raise StoreError(msg)
    # Content with a flipped bit has its own checksums, and costs one piece; here it is about the file's structure.
    whole = reader.execute("PRAGMA quick_check(1)").fetchone()
    if whole is None or whole[0] != "ok" or not has_known_schema(reader):
        raise _damaged(path)


def _damaged(path: Path) -> StoreCorruptError:
    return StoreCorruptError(f"{path} is damaged, or was cut short on its way; copy it again")


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
        ("notes", f"at_ns > ? AND at_ns < ? OR {_OF_A_TIME}", (start_ns, end_ns + step_ns)),
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
