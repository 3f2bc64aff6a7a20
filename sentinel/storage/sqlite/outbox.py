"""Pages on their way to destinations; never thinned out before they are done."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

from sentinel.core.model import Page
from sentinel.errors import StoreCorruptError
from sentinel.ports import HandedOver, OutboxEntry
from sentinel.storage.sqlite.incidents import decode_page, write_page

_STATES = frozenset({"pending", "delivered", "along", "parked", "done"})
_FIELDS = (
    "outbox.entry_id, destination, page_id, attempts, due_ns, state, delivered_ns, outbox.crc,"
    " stored_ns"
)


def write_pages(
    connection: sqlite3.Connection,
    pages: Iterable[Page],
    destinations: Sequence[str],
    *,
    now_ns: int,
) -> None:
    """Store pages with an entry for every destination; inside a transaction.

    A page that is already there keeps its entries as they are, so that a window that is decided
    again does not page again.
    """
    for page in pages:
        write_page(connection, page)
        for destination in destinations:
            _add_entry(connection, destination, page.page_id, stored_ns=now_ns)


def hand_over(
    connection: sqlite3.Connection, destinations: Sequence[str], *, oldest_ns: int
) -> dict[str, HandedOver]:
    """See `Outbox.hand_over`; inside a transaction. An entry whose time is not known is news."""
    marks = ", ".join("?" * len(destinations))
    left = connection.execute(
        "SELECT entry_id, destination, page_id, state, delivered_ns, stored_ns FROM outbox"  # noqa: S608
        f" WHERE state != 'done' AND destination NOT IN ({marks}) ORDER BY entry_id",
        tuple(destinations),
    ).fetchall()
    moved: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for _, name, page_id, state, delivered_ns, stored_ns in left:
        if state != "pending" or delivered_ns is not None:
            continue
        if 0 < stored_ns < oldest_ns:
            dropped[name] += 1
            continue
        moved[name] += 1
        for destination in destinations:
            _add_entry(connection, destination, page_id, stored_ns=stored_ns)
    connection.executemany(
        "UPDATE outbox SET attempts = 0, due_ns = 0, state = 'done', crc = ? WHERE entry_id = ?",
        [
            (entry_crc(name, page_id, 0, 0, "done", delivered_ns), entry_id)
            for entry_id, name, page_id, _, delivered_ns, _ in left
        ],
    )
    return {
        name: HandedOver(moved_count=moved[name], dropped_count=dropped[name])
        for name in dict.fromkeys(row[1] for row in left)
    }


def _add_entry(
    connection: sqlite3.Connection, destination: str, page_id: str, *, stored_ns: int
) -> None:
    connection.execute(
        "INSERT INTO outbox"
        " (destination, page_id, attempts, due_ns, state, delivered_ns, crc, stored_ns)"
        " VALUES (?, ?, 0, 0, 'pending', NULL, ?, ?) ON CONFLICT DO NOTHING",
        (
            destination,
            page_id,
            entry_crc(destination, page_id, 0, 0, "pending", None),
            stored_ns,
        ),
    )


def read_entries(
    connection: sqlite3.Connection, *, destination: str, limit: int
) -> tuple[list[OutboxEntry], list[tuple[int, str]]]:
    """Entries that are not done, oldest first; and the damaged ones, each with what is wrong.

    An entry whose own fields are damaged while its page is sound is returned as one never tried:
    the destination recognises a page it has seen, but nobody recognises one that was not sent.
    """
    rows = connection.execute(
        f"SELECT {_FIELDS}, pages.crc, pages.payload FROM outbox"  # noqa: S608  # constant
        " LEFT JOIN pages USING (page_id)"
        " WHERE destination = ? AND state != 'done' ORDER BY outbox.entry_id LIMIT ?",
        (destination, limit),
    ).fetchall()
    entries = []
    damaged = []
    for (
        entry_id,
        name,
        page_id,
        attempts,
        due_ns,
        state,
        delivered_ns,
        crc,
        stored_ns,
        page_crc,
        blob,
    ) in rows:
        try:
            page = decode_page(page_id, page_crc, blob)
        except StoreCorruptError as error:
            damaged.append((entry_id, str(error)))
            continue
        if entry_crc(name, page_id, attempts, due_ns, state, delivered_ns) != crc:
            attempts, due_ns, state, delivered_ns = 0, 0, "pending", None
        entries.append(
            OutboxEntry(
                entry_id=entry_id,
                destination=name,
                page=page,
                attempts=attempts,
                due_ns=due_ns,
                state=state,
                delivered_ns=delivered_ns,
                stored_ns=stored_ns,
            )
        )
    return entries, damaged


def update_entries(connection: sqlite3.Connection, entries: Iterable[OutboxEntry]) -> None:
    """Store what became of entries; inside a transaction."""
    for entry in entries:
        if entry.state not in _STATES:
            msg = f"an outbox entry cannot be in state {entry.state!r}"
            raise ValueError(msg)
        crc = entry_crc(
            entry.destination,
            entry.page.page_id,
            entry.attempts,
            entry.due_ns,
            entry.state,
            entry.delivered_ns,
        )
        connection.execute(
            "UPDATE outbox SET attempts = ?, due_ns = ?, state = ?, delivered_ns = ?, crc = ?"
            " WHERE entry_id = ?",
            (entry.attempts, entry.due_ns, entry.state, entry.delivered_ns, crc, entry.entry_id),
        )


def set_aside_entry(
    connection: sqlite3.Connection, entry_id: int, *, reason: str, now_ns: int
) -> None:
    """Move an entry whose page is damaged to the quarantine; inside a transaction."""
    row = connection.execute(
        "SELECT destination, page_id, payload FROM outbox LEFT JOIN pages USING (page_id)"
        " WHERE outbox.entry_id = ?",
        (entry_id,),
    ).fetchone()
    if row is None:
        return
    connection.execute(
        "INSERT INTO quarantine (what, name, reason, found_ns, payload) VALUES (?, ?, ?, ?, ?)",
        ("page", f"page {row[1]} for {row[0]}", reason, now_ns, row[2]),
    )
    connection.execute("DELETE FROM outbox WHERE entry_id = ?", (entry_id,))


def entry_crc(
    destination: str,
    page_id: str,
    attempts: int,
    due_ns: int,
    state: str,
    delivered_ns: int | None,
) -> int:
    """Checksum over all fields of an entry but its number and its age, by which nothing is sent."""
    fields = (destination, page_id, attempts, due_ns, state, delivered_ns)
    return zlib.crc32(repr(fields).encode("utf-8"))
