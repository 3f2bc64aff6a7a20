"""The names of series, and ids that are for life."""

from __future__ import annotations

import sqlite3
import sys
import zlib
from collections.abc import Iterable, Sequence

from sentinel.core.model import Kind, SeriesKey
from sentinel.errors import StoreCorruptError
from sentinel.ports import SeriesRow

_SEEN_RESOLUTION_NS = 3_600_000_000_000  # a row is not written again for less than an hour


class SeriesNames:
    """The table of series with its ids in memory, because every window asks for them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._id_of: dict[SeriesKey, int] = {}
        self._seen_ns: dict[int, int] = {}
        self.reload()

    def reload(self) -> None:
        """Read the table again, after a transaction that did not end well."""
        self._id_of = {}
        self._seen_ns = {}
        for row in read_series(self._connection):
            self._id_of[row.key] = row.series_id
            self._seen_ns[row.series_id] = row.last_seen_ns

    def ids(self) -> list[int]:
        """Ids of all registered series."""
        return list(self._seen_ns)

    def is_known(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> bool:
        """Whether `register` would have nothing to write."""
        limit_ns = now_ns - _SEEN_RESOLUTION_NS
        return all(
            key in self._id_of and self._seen_ns[self._id_of[key]] >= limit_ns for key, _ in keys
        )

    def register(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> list[int]:
        """Ids of the keys; new ones get rows, in order. Call inside a transaction."""
        ids = []
        for key, kind in keys:
            series_id = self._id_of.get(key)
            if series_id is None:
                cursor = self._connection.execute(
                    "INSERT INTO series (service, stage, route, signal, kind, crc,"
                    " first_seen_ns, last_seen_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*key, int(kind), series_crc(key, int(kind)), now_ns, now_ns),
                )
                series_id = int(cursor.lastrowid or 0)
                self._id_of[key] = series_id
                self._seen_ns[series_id] = now_ns
            ids.append(series_id)
        self.mark_seen(ids, now_ns=now_ns)
        return ids

    def mark_seen(self, ids: Iterable[int], *, now_ns: int) -> None:
        """Record that these series are alive; at most once an hour each. Inside a transaction."""
        stale = [
            series_id
            for series_id in ids
            if self._seen_ns.get(series_id, now_ns) < now_ns - _SEEN_RESOLUTION_NS
        ]
        self._connection.executemany(
            "UPDATE series SET last_seen_ns = ? WHERE series_id = ?",
            [(now_ns, series_id) for series_id in stale],
        )
        self._seen_ns.update(dict.fromkeys(stale, now_ns))

    def forget(self, *, seen_before_ns: int, limit: int) -> int:
        """Remove series that have not been seen for so long; inside a transaction."""
        gone = [
            series_id for series_id, seen_ns in self._seen_ns.items() if seen_ns < seen_before_ns
        ][:limit]
        self._connection.executemany(
            "DELETE FROM series WHERE series_id = ?", [(series_id,) for series_id in gone]
        )
        dead = set(gone)
        self._id_of = {key: value for key, value in self._id_of.items() if value not in dead}
        for series_id in gone:
            del self._seen_ns[series_id]
        return len(gone)


def read_series(connection: sqlite3.Connection) -> list[SeriesRow]:
    """Every series by id.

    Raises:
        StoreCorruptError: a row does not match its checksum.
    """
    rows = []
    for (
        series_id,
        service,
        stage,
        route,
        signal,
        kind,
        crc,
        first_ns,
        last_ns,
    ) in connection.execute(
        "SELECT series_id, service, stage, route, signal, kind, crc, first_seen_ns, last_seen_ns"
        " FROM series ORDER BY series_id"
    ):
        key = SeriesKey(service, stage, route, signal)
        if not is_sound_row(key, kind, crc):
            msg = f"series {series_id} does not match its checksum"
            raise StoreCorruptError(msg)
        rows.append(
            SeriesRow(
                series_id=series_id,
                # Few names are in many series, and the series are held in more than one place.
                key=SeriesKey(*map(sys.intern, key)),
                kind=Kind(kind),
                first_seen_ns=first_ns,
                last_seen_ns=last_ns,
            )
        )
    return rows


def series_crc(key: SeriesKey, kind: int) -> int:
    """Checksum of a series' name and kind."""
    return zlib.crc32("\x1f".join((*key, str(kind))).encode("utf-8"))


def is_sound_row(key: Sequence[object], kind: object, crc: object) -> bool:
    """Whether the fields of a row have the right types and match their checksum."""
    if not all(isinstance(part, str) for part in key) or not isinstance(kind, int):
        return False
    return kind in set(Kind) and series_crc(SeriesKey(*map(str, key)), kind) == crc
