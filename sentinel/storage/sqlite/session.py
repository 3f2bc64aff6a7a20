"""One open database: the connection and what is held in memory about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sentinel.core.model import WindowBlock
from sentinel.errors import StoreCorruptError
from sentinel.storage.sqlite.chunks import ChunkTable, OnDamage
from sentinel.storage.sqlite.connection import (
    Failure,
    checkpoint,
    connect,
    failure_of,
    store_error,
)
from sentinel.storage.sqlite.migrations import OnCopy, has_known_schema, migrate
from sentinel.storage.sqlite.salvage import keep_first_page, was_emptied
from sentinel.storage.sqlite.series import SeriesNames
from sentinel.storage.sqlite.soundness import CHECK_WAIT_S, SoundnessCheck
from sentinel.storage.windows import roll_up, roll_up_steps

_ROLLED_UP_AT_ONCE_NS = 86_400_000_000_000


class Session:
    """From opening the file to closing it, or to the failure that ends it.

    Attributes:
        connection: the one that writes.
        names, chunks: the tables of which something is held in memory.
        rolled_up_until_ns: by step, how far coarser windows were made.
        check: of the structure, which may still be running.
    """

    def __init__(self, connection: sqlite3.Connection, check: SoundnessCheck) -> None:
        self.connection = connection
        self.check = check
        self.names = SeriesNames(connection)
        self.chunks = ChunkTable(connection, named=self.names.ids())
        self.rolled_up_until_ns: dict[int, int] = dict(
            connection.execute("SELECT step_ns, until_ns FROM roll_ups")
        )

    def forget(self) -> None:
        """Read again what is held in memory, after a transaction that did not end well."""
        self.names.reload()
        self.chunks.forget_layouts()

    def close(self) -> None:
        """End the session."""
        self.check.stop()
        self.connection.close()

    def keep_first_page(self, path: Path) -> None:
        """Renew the copy of the first page of a sound file; on a full disk the older one has to do."""
        try:
            if checkpoint(self.connection, cut=True):
                keep_first_page(path)
        except OSError:
            return
        except sqlite3.Error as error:
            if failure_of(error) is not Failure.FULL:
                raise

    def due_roll_ups(self, block: WindowBlock) -> list[tuple[int, int, int]]:
        """What `block` made complete: (step, since, until) of each coarser resolution.

        It reaches back over gaps and restarts, at most a day. Time that went back (a clock set
        right, then a restart) is rolled up again.
        """
        due = []
        for step_ns in roll_up_steps(block.step_ns):
            since_ns = self.rolled_up_until_ns.get(step_ns)
            if since_ns is None:
                (oldest_ns,) = self.connection.execute(
                    "SELECT min(start_ns) FROM chunks WHERE step_ns = ?", (block.step_ns,)
                ).fetchone()
                since_ns = (oldest_ns or block.start_ns) // step_ns * step_ns
            if since_ns > block.start_ns:
                since_ns = block.start_ns // step_ns * step_ns
            until_ns = block.end_ns // step_ns * step_ns
            since_ns = max(since_ns, until_ns - _ROLLED_UP_AT_ONCE_NS)
            if until_ns > since_ns:
                due.append((step_ns, since_ns, until_ns))
        return due

    def put_roll_ups(
        self, *, fine_ns: int, step_ns: int, since_ns: int, until_ns: int, on_damage: OnDamage
    ) -> None:
        """Make the coarse windows that begin in `[since_ns, until_ns)`; inside a transaction."""
        for start_ns in range(since_ns, until_ns, step_ns):
            end_ns = start_ns + step_ns
            inside = [
                block
                for span_start_ns in self.chunks.spans(
                    step_ns=fine_ns, start_ns=start_ns, end_ns=end_ns
                )
                for block in self.chunks.read_span(
                    step_ns=fine_ns,
                    span_start_ns=span_start_ns,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    series=None,
                    on_damage=on_damage,
                )
            ]
            if inside:
                coarse = roll_up(inside, start_ns=start_ns, step_ns=step_ns)
                self.chunks.put(coarse, on_damage=on_damage)
        self.connection.execute(
            "INSERT OR REPLACE INTO roll_ups (step_ns, until_ns) VALUES (?, ?)",
            (step_ns, until_ns),
        )


def open_session(
    path: Path, *, check_wait_s: float = CHECK_WAIT_S, on_copy: OnCopy | None = None
) -> Session:
    """Open, check and migrate the database; an empty one is made when there is none.

    The check of the whole structure may go on after this returns; see `Session.check`.

    Raises:
        StoreCorruptError: it is damaged and must be rebuilt.
        StoreTooNewError: it was written by a newer program.
        StoreError: it cannot be opened.
    """
    if was_emptied(path):
        msg = f"{path} is empty or gone, and a store was here before"
        raise StoreCorruptError(msg)
    connection: sqlite3.Connection | None = None
    check = SoundnessCheck(path)
    try:
        connection = connect(path)
        check.start(wait_s=check_wait_s)
        migrate(connection, path, on_copy=on_copy)
        _check_definitions(connection, path)
        session = Session(connection, check)
        if not check.is_running:
            session.keep_first_page(path)
    except BaseException as error:
        check.stop()
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise store_error(error, operation="opening the store") from error
        if isinstance(error, UnicodeDecodeError):  # in the text of SQLite's own message
            msg = f"{path} has names that cannot be read"
            raise StoreCorruptError(msg) from error
        raise
    return session


def _check_definitions(connection: sqlite3.Connection, path: Path) -> None:
    if not has_known_schema(connection):
        msg = f"{path} has damaged table definitions"
        raise StoreCorruptError(msg)
    # quick_check does not compare an index with its table; a chunk that its index does not know of
    # would never be found again.
    (unfound,) = connection.execute(
        "SELECT count(*) FROM (SELECT chunk_id, step_ns, start_ns, end_ns, codec"
        " FROM chunks NOT INDEXED EXCEPT SELECT chunk_id, step_ns, start_ns, end_ns, codec"
        " FROM chunks INDEXED BY chunks_by_time)"
    ).fetchone()
    if unfound:
        msg = f"{path} has {unfound} chunks that its index does not know of"
        raise StoreCorruptError(msg)
