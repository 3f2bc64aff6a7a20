"""A damaged database: put aside, and what can still be read brought into a new one.

The order matters, because a process can die between any two steps. The new file is complete and closed
before the damaged one is renamed, and a start that finds no database but a complete new one ends the
work. Pages come first, windows last. A series whose name is lost loses its windows, because its id names
nothing any more; ids are then given from above the highest one ever seen, so that none gets a second
meaning.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.errors import StoreCorruptError, StoreFullError
from sentinel.storage.sqlite.codec import decode_layout
from sentinel.storage.sqlite.connection import connect
from sentinel.storage.sqlite.migrations import (
    has_schema_of_any_version,
    known_definitions,
    migrate,
)
from sentinel.storage.sqlite.outbox import entry_crc
from sentinel.storage.sqlite.progress import forget_progress
from sentinel.storage.sqlite.series import is_sound_row

# The module decodes names in SQLite's own messages, too, and numbers that are beyond 64 bits.
_UNREADABLE = (sqlite3.Error, OverflowError, UnicodeDecodeError)
_COPIES_KEPT = 2
_PAGE_BYTES = 4096
_CHANGE_COUNTER = 27  # last bytes of two big-endian numbers in the header
_VALID_FOR = 95
_LOOK_UPS_MAX = 200_000
_BATCH = 256

# Tables in the order they are brought over, with their key and columns.
_OUTBOX = (
    "entry_id",
    "destination",
    "page_id",
    "attempts",
    "due_ns",
    "state",
    "delivered_ns",
    "crc",
    "stored_ns",
)
_MUST_FIT: dict[str, tuple[str, ...]] = {
    "pages": ("page_id", "crc", "payload"),
    "outbox": _OUTBOX,
    "incidents": ("incident_id", "opened_ns", "state", "crc", "payload"),
    "notes": ("note_id", "at_ns", "text"),
    "series": (
        *("series_id", "service", "stage", "route", "signal", "kind", "crc"),
        *("first_seen_ns", "last_seen_ns"),
    ),
}
_MAY_FIT: dict[str, tuple[str, ...]] = {
    "snapshots": ("snapshot_id", "what", "at_ns", "version", "crc", "payload"),
    "layouts": ("layout_id", "series_count", "crc", "payload"),
    "roll_ups": ("step_ns", "until_ns"),
    "chunks": (
        *("chunk_id", "step_ns", "start_ns", "end_ns", "layout_id", "codec", "crc", "payload"),
    ),
    "histograms": ("start_ns", "crc", "payload"),
}


@dataclass(slots=True)
class Salvage:
    """What came of it.

    Attributes:
        damaged_name: name of the file that the damaged database now has.
        saved: rows brought over, by table.
        dropped: rows that could be seen to be missing or damaged, by table.
    """

    damaged_name: str = ""
    saved: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        saved = ", ".join(f"{count} {table}" for table, count in self.saved.items() if count)
        dropped = ", ".join(f"{count} {table}" for table, count in self.dropped.items() if count)
        return (
            f"The store was damaged and rebuilt; saved {saved or 'nothing'}; "
            f"dropped {dropped or 'nothing that could be seen'}; damaged file kept as {self.damaged_name}"
        )


def finish_interrupted(path: Path) -> None:
    """End a rebuilding that was interrupted between its last two steps, or clear away one before."""
    fresh = _fresh_path(path)
    if not fresh.exists():
        return
    if path.exists():
        _remove_with_log(fresh)
        return
    _move_aside_log(path, _next_damaged_path(path))
    fresh.rename(path)


def was_emptied(path: Path) -> bool:
    """Whether the database is missing or has no bytes although there was one: its first page was kept.

    SQLite takes such a file for a new one, and what was lost would be lost without a word.
    """
    is_empty = not path.exists() or path.stat().st_size == 0
    return is_empty and _kept_page_path(path).exists()


def rebuild(path: Path) -> Salvage:
    """Put the database at `path` aside and leave a new one there with what could be read."""
    salvage = Salvage()
    path.touch(mode=0o600)  # it may be gone, which is damage of a kind
    fresh = _fresh_path(path)
    _remove_with_log(fresh)
    with closing(connect(fresh)) as target:
        migrate(target, fresh)
        if not _read_from(path, target, salvage):
            # Not even the first page can be read, and all others are found from it. A copy of the
            # damaged file with the first page of earlier is tried; it names the same tables.
            trial = path.with_name(path.name + ".trial")
            _remove_with_log(trial)
            if not (_with_kept_page(path, trial) and _read_from(trial, target, salvage)):
                salvage.dropped["database"] = 1
            _remove_with_log(trial)
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        target.execute("PRAGMA journal_mode = DELETE")  # closed, it is one file and complete
    damaged = _next_damaged_path(path)
    path.rename(damaged)
    _move_aside_log(path, damaged)
    fresh.rename(path)
    salvage.damaged_name = damaged.name
    for old in _damaged_paths(path)[:-_COPIES_KEPT]:
        _remove_with_log(old)
    return salvage


def keep_first_page(path: Path) -> None:
    """Keep a copy of the database's first page beside it, for `rebuild`; call when it is sound."""
    with path.open("rb") as file:
        page = file.read(_PAGE_BYTES)
    kept = _kept_page_path(path)
    if len(page) == _PAGE_BYTES and not (kept.exists() and kept.read_bytes() == page):
        fresh = kept.with_name(kept.name + ".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(page)
        fresh.replace(kept)


def _with_kept_page(path: Path, trial: Path) -> bool:
    """Copy the database and its log to `trial`, with the first page that was kept."""
    page = bytearray(_kept_page_path(path).read_bytes() if _kept_page_path(path).exists() else b"")
    if len(page) != _PAGE_BYTES:
        return False
    # The page count in an older first page is too small. When these two numbers differ, SQLite takes
    # the count from the file's length instead (file format, 1.3.8).
    page[_VALID_FOR] = page[_CHANGE_COUNTER] ^ 0xFF
    shutil.copyfile(path, trial)
    log = path.with_name(path.name + "-wal")
    if log.exists():
        shutil.copyfile(log, trial.with_name(trial.name + "-wal"))
    with trial.open("r+b") as file:
        file.write(page)
    try:
        with closing(sqlite3.connect(trial, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.executemany(
                "UPDATE sqlite_schema SET sql = ? WHERE name = ?",
                [(sql, name) for name, sql in known_definitions().items()],
            )
    except _UNREADABLE:
        return False
    return True


def _read_from(path: Path, target: sqlite3.Connection, salvage: Salvage) -> bool:
    """Bring over what the database at `path` holds; False when SQLite cannot open it at all."""
    if path.stat().st_size == 0:
        return False  # opened, it would become a new database and its log be thrown away
    try:
        with closing(connect(path)) as source:
            # Text that is no longer UTF-8 must not hide the rest of its row.
            source.text_factory = _lenient_text
            if not has_schema_of_any_version(source):
                return False
            _bring_over(source, target, salvage)
    except _UNREADABLE:
        return False
    return bool(salvage.saved.get("series") or salvage.saved.get("pages"))


def _bring_over(source: sqlite3.Connection, target: sqlite3.Connection, salvage: Salvage) -> None:
    for table, columns in _MUST_FIT.items():
        _copy_table(source, target, table, columns, salvage)
    for table, columns in _MAY_FIT.items():
        try:
            _copy_table(source, target, table, columns, salvage)
        except StoreFullError:
            salvage.dropped[table] = salvage.dropped.get(table, 0) + 1  # pages are safe already
    _raise_sequence(target)
    # It says that windows are there, of which some may just have been lost.
    forget_progress(target)


def _copy_table(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    salvage: Salvage,
) -> None:
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    repair = _REPAIRS.get(table, _as_it_is)
    salvage.saved[table] = salvage.dropped[table] = 0
    batch: list[tuple[object, ...]] = []
    for row in _rows(source, table, columns):
        kept = None if row is None else repair(row)
        if kept is None:
            salvage.dropped[table] += 1
            continue
        batch.append(kept)
        if len(batch) >= _BATCH:
            salvage.saved[table] += _write(target, insert, batch)
    salvage.saved[table] += _write(target, insert, batch)


def _write(target: sqlite3.Connection, insert: str, batch: list[tuple[object, ...]]) -> int:
    """Insert the rows and empty the batch; how many were new.

    Raises:
        StoreFullError: there is no room, or the disk does not take it. It is not an error of
            SQLite's on purpose: one that came from the damaged file means something else.
    """
    try:
        target.execute("BEGIN IMMEDIATE")
        try:
            count = target.executemany(insert, batch).rowcount if batch else 0
            target.execute("COMMIT")
        except BaseException:
            target.execute("ROLLBACK")
            raise
    except sqlite3.IntegrityError:
        count = 0  # a damaged row that passed as sound breaks a rule of the table
    except sqlite3.Error as error:
        msg = f"the rebuilt store cannot be written: {error}"
        raise StoreFullError(msg) from error
    batch.clear()
    return count


def _rows(
    source: sqlite3.Connection, table: str, columns: tuple[str, ...]
) -> Iterator[tuple[object, ...] | None]:
    """Rows of a table that may be damaged in places; None for each that is known to be lost."""
    numbers, lost_count = _row_numbers(source, table)
    yield from [None] * lost_count
    there = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    # Columns that a later version added, every one with 0 for what was there before it.
    wanted = ", ".join(name if name in there else "0" for name in columns)
    select = f"SELECT {wanted} FROM {table} WHERE rowid = ?"  # noqa: S608  # our names
    for number in numbers:
        try:
            row = source.execute(select, (number,)).fetchone()
        except _UNREADABLE:
            yield None
            continue
        if row is not None:
            yield row


def _row_numbers(source: sqlite3.Connection, table: str) -> tuple[list[int], int]:
    """Numbers of the rows to try, and how many stretches of rows are certainly lost.

    Found from the front until the table breaks, then from the back until it breaks; in between every
    number is tried, so that only rows on the damaged pages themselves are lost.
    """
    front, broken = _scan(source, f"SELECT rowid FROM {table} NOT INDEXED ORDER BY rowid", None)  # noqa: S608
    if not broken:
        return front, 0
    last = front[-1] if front else 0
    backwards = f"SELECT rowid FROM {table} NOT INDEXED ORDER BY rowid DESC"  # noqa: S608
    back, _ = _scan(source, backwards, last)
    if not back:
        return front, 1
    between = range(last + 1, back[-1])
    # Instants as numbers (a table keyed by time) are too far apart to try each one between.
    tried = list(between) if len(between) <= _LOOK_UPS_MAX else []
    return [*front, *tried, *reversed(back)], 0 if tried or not between else 1


def _scan(source: sqlite3.Connection, query: str, until: int | None) -> tuple[list[int], bool]:
    numbers: list[int] = []
    try:
        for (number,) in source.execute(query):
            if until is not None and number <= until:
                return numbers, False
            numbers.append(number)
    except _UNREADABLE:
        return numbers, True
    return numbers, False


def _raise_sequence(target: sqlite3.Connection) -> None:
    """Let new series get ids above every id that a stored window refers to."""
    (highest,) = target.execute("SELECT coalesce(max(series_id), 0) FROM series").fetchone()
    for row in target.execute("SELECT layout_id, series_count, crc, payload FROM layouts"):
        try:
            layout = decode_layout(
                layout_id=row[0], series_count=row[1], crc=row[2], payload=row[3]
            )
        except StoreCorruptError:
            continue
        highest = max(highest, int(layout.series.max(initial=0)))
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'series'")
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('series', ?)", (highest,))


def _lenient_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _as_it_is(row: tuple[object, ...]) -> tuple[object, ...] | None:
    return row


def _sound_series(row: tuple[object, ...]) -> tuple[object, ...] | None:
    return row if is_sound_row(row[1:5], row[5], row[6]) else None


def _repaired_entry(row: tuple[object, ...]) -> tuple[object, ...] | None:
    """An outbox entry whose fields are damaged, as one that was never tried; see `outbox`."""
    entry_id, destination, page_id, attempts, due_ns, state, delivered_ns, crc, stored_ns = row
    if not isinstance(destination, str) or not isinstance(page_id, str):
        return None
    fields = (destination, page_id, attempts, due_ns, state, delivered_ns)
    if entry_crc(*fields) == crc:  # type: ignore[arg-type]  # damaged fields can have any type
        return row
    fresh = entry_crc(destination, page_id, 0, 0, "pending", None)
    known_ns = stored_ns if isinstance(stored_ns, int) else 0
    return (entry_id, destination, page_id, 0, 0, "pending", None, fresh, known_ns)


_REPAIRS: dict[str, Callable[[tuple[object, ...]], tuple[object, ...] | None]] = {
    "series": _sound_series,
    "outbox": _repaired_entry,
}


def _fresh_path(path: Path) -> Path:
    return path.with_name(path.name + ".rebuilt")


def _kept_page_path(path: Path) -> Path:
    return path.with_name(path.name + ".page1")


def _damaged_paths(path: Path) -> list[Path]:
    """Copies of damaged databases that are kept, oldest first."""
    found = []
    for candidate in path.parent.glob(f"{path.name}.corrupt-*"):
        number = candidate.name.rpartition("-")[2]
        if number.isdigit():
            found.append((int(number), candidate))
    return [candidate for _, candidate in sorted(found)]


def _next_damaged_path(path: Path) -> Path:
    known = _damaged_paths(path)
    number = int(known[-1].name.rpartition("-")[2]) + 1 if known else 1
    return path.with_name(f"{path.name}.corrupt-{number}")


def _move_aside_log(path: Path, damaged: Path) -> None:
    """Take the old write-ahead log away: SQLite would apply it to the new database."""
    log = path.with_name(path.name + "-wal")
    if log.exists():
        log.rename(damaged.with_name(damaged.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)


def _remove_with_log(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
