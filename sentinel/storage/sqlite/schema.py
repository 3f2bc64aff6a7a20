"""The tables of the store, as they are at the newest version.

A change is a new entry in `MIGRATIONS`, never an edit of an old one: old files exist. Every payload has a
checksum beside it, because SQLite does not notice a flipped bit inside a value.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x53454E54  # "SENT", so that `file` and we can tell whose database this is


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Statements that take a database to `version` from the version before."""

    version: int
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        version=1,
        statements=(
            # The version once more: a bit that flips in the file's header must not read as "newer".
            "CREATE TABLE about (version INTEGER NOT NULL)",
            # AUTOINCREMENT, because the id of a forgotten series must never name another one.
            """CREATE TABLE series (
                series_id INTEGER PRIMARY KEY AUTOINCREMENT,
                service TEXT NOT NULL, stage TEXT NOT NULL, route TEXT NOT NULL, signal TEXT NOT NULL,
                kind INTEGER NOT NULL, crc INTEGER NOT NULL,
                first_seen_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL,
                UNIQUE (service, stage, route, signal))""",
            # A layout is the series ids and kinds of a block's columns, written once for many chunks.
            """CREATE TABLE layouts (
                layout_id INTEGER PRIMARY KEY AUTOINCREMENT, series_count INTEGER NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            """CREATE TABLE chunks (
                chunk_id INTEGER PRIMARY KEY AUTOINCREMENT, step_ns INTEGER NOT NULL,
                start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, layout_id INTEGER NOT NULL,
                codec INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            "CREATE UNIQUE INDEX chunks_by_time ON chunks (step_ns, start_ns, end_ns, codec)",
            # How far each coarser resolution has been made from the finest one.
            "CREATE TABLE roll_ups (step_ns INTEGER PRIMARY KEY, until_ns INTEGER NOT NULL)",
            """CREATE TABLE histograms (
                start_ns INTEGER PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            """CREATE TABLE snapshots (
                snapshot_id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL,
                at_ns INTEGER NOT NULL, version INTEGER NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            """CREATE TABLE incidents (
                incident_id TEXT PRIMARY KEY, opened_ns INTEGER NOT NULL, state TEXT NOT NULL,
                crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            "CREATE INDEX incidents_by_time ON incidents (opened_ns)",
            """CREATE TABLE pages (
                page_id TEXT PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL)""",
            """CREATE TABLE outbox (
                entry_id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL,
                page_id TEXT NOT NULL, attempts INTEGER NOT NULL, due_ns INTEGER NOT NULL,
                state TEXT NOT NULL, delivered_ns INTEGER, crc INTEGER NOT NULL,
                UNIQUE (destination, page_id))""",
            "CREATE INDEX outbox_open ON outbox (destination, entry_id) WHERE state != 'done'",
            """CREATE TABLE notes (
                note_id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL,
                text TEXT NOT NULL, UNIQUE (at_ns, text))""",
            # What was found damaged, kept for a person to look at; bounded by the retention pass.
            """CREATE TABLE quarantine (
                quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL,
                name TEXT NOT NULL, reason TEXT NOT NULL, found_ns INTEGER NOT NULL,
                payload BLOB)""",
        ),
    ),
    Migration(
        version=2,
        # 0: stored before this was written down.
        statements=("ALTER TABLE outbox ADD COLUMN stored_ns INTEGER NOT NULL DEFAULT 0",),
    ),
)

SCHEMA_VERSION = MIGRATIONS[-1].version
