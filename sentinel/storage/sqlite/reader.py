"""Reading a store beside the process that writes it, such as from the child that fits baselines."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sentinel.core.model import Incident, WindowBlock
from sentinel.errors import StoreCorruptError, StoreError
from sentinel.ports import SeriesRow, Snapshot
from sentinel.storage.sqlite.baselines import SnapshotKind, read_snapshot, snapshot_ids
from sentinel.storage.sqlite.chunks import ChunkTable
from sentinel.storage.sqlite.connection import DATABASE_NAME, connect_read_only, store_error
from sentinel.storage.sqlite.histograms import HourHistograms, histogram_hours, read_hour
from sentinel.storage.sqlite.incidents import read_incidents
from sentinel.storage.sqlite.migrations import version_of
from sentinel.storage.sqlite.progress import read_progress
from sentinel.storage.sqlite.records import RecordKind, read_record, record_times
from sentinel.storage.sqlite.schema import SCHEMA_VERSION
from sentinel.storage.sqlite.series import read_series


class StoreReader:
    """A view of a store that takes no lock and changes nothing; damaged chunks are skipped.

    Attributes:
        damaged_count: chunks and snapshots that were skipped so far.
    """

    def __init__(self, directory: str | Path) -> None:
        """Open the store in `directory`, or a copy of a part of one that is a file.

        Raises:
            StoreError: there is none, or it has another schema version than this program.
        """
        path = Path(directory)
        if not path.is_file():
            path /= DATABASE_NAME
        self.damaged_count = 0
        if not path.exists():
            msg = f"there is no store in {directory}"
            raise StoreError(msg)
        try:
            self._connection = connect_read_only(path)
        except sqlite3.Error as error:
            raise store_error(error, operation="opening the store") from error
        except UnicodeDecodeError as error:
            raise _unreadable_names(path) from error
        try:
            _check_version(self._connection, path)
            self._rows = read_series(self._connection)
            self._chunks = ChunkTable(
                self._connection, named=[row.series_id for row in self._rows]
            )
        except sqlite3.Error as error:
            self.close()
            raise store_error(error, operation="opening the store") from error
        except UnicodeDecodeError as error:
            self.close()
            raise _unreadable_names(path) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; idempotent."""
        self._connection.close()

    def series(self) -> list[SeriesRow]:
        """Every series that was registered when the reader was opened, by id."""
        return self._rows

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """See `sentinel.ports.SeriesStore.windows`."""
        try:
            for span_start_ns in self._chunks.spans(
                step_ns=step_ns, start_ns=start_ns, end_ns=end_ns
            ):
                # One read transaction a span: the writer may pack its chunks at any moment.
                self._connection.execute("BEGIN")
                try:
                    blocks = self._chunks.read_span(
                        step_ns=step_ns,
                        span_start_ns=span_start_ns,
                        start_ns=start_ns,
                        end_ns=end_ns,
                        series=series,
                        on_damage=self._skip,
                    )
                finally:
                    self._connection.execute("COMMIT")
                yield from blocks
        except sqlite3.Error as error:
            raise store_error(error, operation="windows") from error

    def past_progress(self, source: str) -> bytes:
        """See `sentinel.ports.PastStore.past_progress`."""
        try:
            return read_progress(self._connection, source)
        except sqlite3.Error as error:
            raise store_error(error, operation="progress") from error

    def history_span(self) -> list[tuple[int, int, int]]:
        """Of each resolution: step, start of the first window, end of the last."""
        try:
            return self._connection.execute(
                "SELECT step_ns, min(start_ns), max(end_ns) FROM chunks GROUP BY step_ns ORDER BY 1"
            ).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, operation="history") from error

    def incidents(self, *, limit: int = 100, open_only: bool = False) -> list[Incident]:
        """See `sentinel.ports.IncidentStore.incidents`."""
        try:
            found, damaged_count = read_incidents(
                self._connection, limit=limit, open_only=open_only
            )
        except sqlite3.Error as error:
            raise store_error(error, operation="incidents") from error
        self.damaged_count += damaged_count
        return found

    def histogram_hours(self, *, start_ns: int, end_ns: int) -> list[int]:
        """Starts of the stored hours of histograms that begin in `[start_ns, end_ns)`."""
        try:
            return histogram_hours(self._connection, start_ns=start_ns, end_ns=end_ns)
        except sqlite3.Error as error:
            raise store_error(error, operation="histograms") from error

    def histogram_hour(self, start_ns: int) -> HourHistograms | None:
        """The histograms of one hour; None when there are none, or they are damaged, which is counted."""
        try:
            return read_hour(self._connection, start_ns)
        except StoreCorruptError:
            self.damaged_count += 1
        except sqlite3.Error as error:
            raise store_error(error, operation="histograms") from error
        return None

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """See `sentinel.ports.BaselineStore.fits`."""
        return self._snapshots(SnapshotKind.FIT, limit)

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """See `sentinel.ports.BaselineStore.states`."""
        return self._snapshots(SnapshotKind.STATE, limit)

    def state_before(self, at_ns: int) -> Snapshot | None:
        """The newest recorded state of that instant or earlier whose bytes are whole; else the oldest after it."""
        times = self._record_times(RecordKind.STATE)
        earlier = sorted(
            (entry for entry in times if entry[1] <= at_ns), key=lambda one: one[::-1]
        )
        later = sorted((entry for entry in times if entry[1] > at_ns), key=lambda one: one[1])
        for number, _ in (*reversed(earlier), *later):
            if (found := self._record(RecordKind.STATE, number)) is not None:
                return found
        return None

    def fit_parts(self, *, start_ns: int, end_ns: int) -> Iterator[Snapshot]:
        """Recorded parts of fits in effect from an instant within `[start_ns, end_ns)` on, earliest first."""
        times = self._record_times(RecordKind.FIT)
        for number, at_ns in sorted(times, key=lambda one: (one[1], one[0])):
            if start_ns <= at_ns < end_ns:
                found = self._record(RecordKind.FIT, number)
                if found is not None:
                    yield found

    def notes(self, *, start_ns: int, end_ns: int) -> list[tuple[int, str]]:
        """Events with the end of the window they were stored with, in order."""
        try:
            return self._connection.execute(
                "SELECT at_ns, text FROM notes WHERE at_ns >= ? AND at_ns < ? ORDER BY note_id",
                (start_ns, end_ns),
            ).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, operation="notes") from error

    def _record_times(self, what: RecordKind) -> list[tuple[int, int]]:
        """Id and instant of each record, without those of a clock that was put back: one of an earlier time came after."""
        try:
            times = record_times(self._connection, what)
        except sqlite3.Error as error:
            raise store_error(error, operation=what) from error
        found: list[tuple[int, int]] = []
        for number, at_ns in reversed(times):
            if not found or at_ns <= found[-1][1]:
                found.append((number, at_ns))
        return found[::-1]

    def _record(self, what: RecordKind, number: int) -> Snapshot | None:
        try:
            return read_record(self._connection, what, number)
        except StoreCorruptError:
            self.damaged_count += 1
        except sqlite3.Error as error:
            raise store_error(error, operation=what) from error
        return None

    def _snapshots(self, what: SnapshotKind, limit: int) -> list[Snapshot]:
        found: list[Snapshot] = []
        try:
            for number in snapshot_ids(self._connection, what):
                if len(found) == limit:
                    break
                try:
                    found.append(read_snapshot(self._connection, what, number))
                except StoreCorruptError:
                    self.damaged_count += 1
        except sqlite3.Error as error:
            raise store_error(error, operation=what) from error
        return found

    def _skip(self, _chunk_id: int, _reason: str) -> None:
        self.damaged_count += 1


def _unreadable_names(path: Path) -> StoreCorruptError:
    """What is said where the text of SQLite's own message is no text, because it names what is damaged."""
    return StoreCorruptError(f"{path} has names that cannot be read")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    found = version_of(connection, path)
    if found != SCHEMA_VERSION:
        msg = (
            f"{path} has schema version {found}, and this program reads {SCHEMA_VERSION}:"
            " restart needed, the program that uses the store and this one are of two versions"
        )
        raise StoreError(msg)
