"""What is kept how long, and how much: age first, then the ceiling on size.

Every pass removes a few per cent at most. Ages count from the older of two times, the clock's and the
newest stored window's, so neither a clock that jumps nor a burst of windows from the future empties
the store before somebody notices. Pages that are not done are never touched here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.histograms import HOUR_NS
from sentinel.storage.sqlite.records import remove_old_records, remove_oldest_records

DONE_PAGES_KEPT = 10_000
INCIDENTS_KEPT = 10_000
NOTES_KEPT = 100_000
QUARANTINE_KEPT = 64
_SHARE_A_PASS = 0.02
_SHARE_OVER_CEILING = 0.05

OnRetired = Callable[[str, int], None]
"""Told what was removed (a step such as `10s`, `histograms` or `records`) and how many of it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The chunks of one resolution, or the histograms, as the thing that is thinned out."""

    label: str
    keep_ns: int
    table: str
    span_ns: int
    condition: str


def remove_expired(
    connection: sqlite3.Connection, config: StoreConfig, *, now_ns: int, on_retired: OnRetired
) -> None:
    """Remove what is older than it is kept, a few per cent at most; inside a transaction."""
    for part in _parts(connection, config):
        newest_ns, count = connection.execute(
            f"SELECT max(start_ns), count(*) FROM {part.table} {part.condition}"  # noqa: S608
        ).fetchone()
        if newest_ns is None:
            continue
        cutoff_ns = min(newest_ns, now_ns) - part.keep_ns - part.span_ns
        limit = _capped(count, _SHARE_A_PASS)
        _remove_oldest(connection, part, limit, on_retired, before_ns=cutoff_ns)
    finest = next(_parts(connection, config), None)
    if finest is not None and finest.table == "chunks":
        (oldest_ns,) = connection.execute(
            "SELECT min(start_ns) FROM chunks WHERE step_ns = ?", (finest.span_ns,)
        ).fetchone()
        if removed := remove_old_records(connection, before_ns=oldest_ns):
            on_retired("records", removed)
    _remove_surplus(connection)


def remove_over_ceiling(
    connection: sqlite3.Connection, config: StoreConfig, *, on_retired: OnRetired
) -> bool:
    """Remove the older half of a replay's records, or some of the oldest chunks of the finest resolution; in a transaction.

    The newest chunk of a resolution and the newest record stay. Returns whether anything could be removed.
    """
    if removed := remove_oldest_records(connection):
        on_retired("records", removed)
        return True
    for part in _parts(connection, config):
        (count,) = connection.execute(
            f"SELECT count(*) FROM {part.table} {part.condition}"  # noqa: S608
        ).fetchone()
        if count > 1:
            limit = min(_capped(count, _SHARE_OVER_CEILING), count - 1)
            _remove_oldest(connection, part, limit, on_retired, before_ns=None)
            return True
    return False


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the database file that hold something."""
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (page_count,) = connection.execute("PRAGMA page_count").fetchone()
    (free_count,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(page_size) * (int(page_count) - int(free_count))


def give_back_pages(connection: sqlite3.Connection, *, page_count_max: int) -> None:
    """Return some unused pages to the file system; outside a transaction."""
    connection.execute(f"PRAGMA incremental_vacuum({page_count_max})").fetchall()


def step_label(step_ns: int) -> str:
    """A resolution for people and metric labels.

    >>> step_label(10_000_000_000), step_label(300_000_000_000)
    ('10s', '5m')
    """
    step_s = step_ns / 1e9
    return f"{step_s / 60:g}m" if step_s >= 60 else f"{step_s:g}s"


def _parts(connection: sqlite3.Connection, config: StoreConfig) -> Iterator[_Part]:
    """What can be thinned out, finest first; histograms count as one hour."""
    steps = [
        step_ns
        for (step_ns,) in connection.execute("SELECT DISTINCT step_ns FROM chunks ORDER BY 1")
    ]
    histograms = _Part(
        "histograms", round(config.keep_histograms * 1e9), "histograms", HOUR_NS, ""
    )
    chunks = [
        _Part(
            step_label(step_ns),
            config.keep_ns(step_ns),
            "chunks",
            step_ns,
            f"WHERE step_ns = {int(step_ns)}",
        )
        for step_ns in steps
    ]
    # The five-minute history is what a baseline is learned from, so it goes last of all.
    fine = [part for part in chunks if part.span_ns < 300_000_000_000]
    coarse = [part for part in chunks if part.span_ns >= 300_000_000_000]
    yield from (*fine, histograms, *coarse)


def _remove_oldest(
    connection: sqlite3.Connection,
    part: _Part,
    limit: int,
    on_retired: OnRetired,
    *,
    before_ns: int | None,
) -> None:
    end = "end_ns" if part.table == "chunks" else "start_ns"
    condition = part.condition or "WHERE 1"
    if before_ns is not None:
        condition += f" AND {end} <= {int(before_ns)}"
    removed = connection.execute(
        f"DELETE FROM {part.table} WHERE rowid IN"  # noqa: S608  # names and integers of our own
        f" (SELECT rowid FROM {part.table} {condition} ORDER BY start_ns LIMIT {int(limit)})"
    ).rowcount
    if removed > 0:
        on_retired(part.label, removed)


def _remove_surplus(connection: sqlite3.Connection) -> None:
    """Keep bounded what grows with incidents, and not with time."""
    connection.execute(
        "DELETE FROM outbox WHERE state = 'done' AND entry_id NOT IN"
        " (SELECT entry_id FROM outbox WHERE state = 'done' ORDER BY entry_id DESC LIMIT ?)",
        (DONE_PAGES_KEPT,),
    )
    connection.execute(
        "DELETE FROM pages WHERE page_id NOT IN (SELECT page_id FROM outbox) AND rowid NOT IN"
        " (SELECT rowid FROM pages ORDER BY rowid DESC LIMIT ?)",
        (DONE_PAGES_KEPT,),
    )
    connection.execute(
        "DELETE FROM incidents WHERE state != 'open' AND rowid NOT IN"
        " (SELECT rowid FROM incidents ORDER BY opened_ns DESC LIMIT ?)",
        (INCIDENTS_KEPT,),
    )
    connection.execute(
        "DELETE FROM notes WHERE note_id NOT IN"
        " (SELECT note_id FROM notes ORDER BY note_id DESC LIMIT ?)",
        (NOTES_KEPT,),
    )
    connection.execute(
        "DELETE FROM quarantine WHERE quarantine_id NOT IN"
        " (SELECT quarantine_id FROM quarantine ORDER BY quarantine_id DESC LIMIT ?)",
        (QUARANTINE_KEPT,),
    )


def _capped(count: int, share: float) -> int:
    # Two, because a little more than one chunk of the finest windows is packed between two passes.
    return max(2, int(count * share))
