"""The store: the four ports over one SQLite file, for one process.

Every public method may be called from any thread; a lock lets one through at a time. What can go wrong
and what follows:

- The disk is full: windows are dropped and counted; pages go in with the room of the ballast file; when
  there is space again, windows are kept again.
- The disk fails: nothing is acknowledged; the next call opens the file anew, checks it, and goes on.
- The structure is damaged: the file is put aside and rebuilt from what can be read, pages first.
- A chunk is damaged: it is set aside and counted, and the rest goes on.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from sentinel.core.model import Incident, Kind, SeriesKey, WindowBlock
from sentinel.errors import StoreCorruptError, StoreError, StoreFullError
from sentinel.ports import OutboxEntry, SeriesRow, Snapshot, Tick
from sentinel.runtime.component import Surroundings
from sentinel.storage.sqlite import retention
from sentinel.storage.sqlite.baselines import (
    SnapshotKind,
    read_snapshot,
    snapshot_ids,
    write_snapshot,
)
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.connection import (
    DATABASE_NAME,
    DirectoryLock,
    Failure,
    checkpoint,
    failure_of,
    make_directory,
    store_error,
    wal_bytes,
)
from sentinel.storage.sqlite.histograms import (
    HistogramGatherer,
    HourHistograms,
    histogram_hours,
    read_hour,
)
from sentinel.storage.sqlite.incidents import read_incidents, write_incidents
from sentinel.storage.sqlite.outbox import (
    read_entries,
    set_aside_entry,
    update_entries,
    write_pages,
)
from sentinel.storage.sqlite.salvage import finish_interrupted, rebuild
from sentinel.storage.sqlite.series import read_series
from sentinel.storage.sqlite.session import Session, open_session
from sentinel.storage.sqlite.space import Space
from sentinel.storage.windows import chunk_span_ns, roll_up_steps

Result = TypeVar("Result")

_WAL_BYTES_MAX = 4 << 20
_WAL_BYTES_ALARM = 64 << 20
_TICKS_BETWEEN_FLUSHES = 30
_TICKS_BETWEEN_PASSES = 60
_SPANS_PACKED_AT_ONCE = 2
_PAGES_GIVEN_BACK_AT_ONCE = 2048
_SERIES_FORGOTTEN_AT_ONCE = 1000
_CEILING_SHARE = 0.95  # removal begins here, so that the file itself stays under the ceiling


class SqliteStore:
    """`SeriesStore`, `BaselineStore`, `IncidentStore` and `Outbox` in a folder."""

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._logger = surroundings.logger
        self._directory = Path(config.directory)
        self._path = self._directory / DATABASE_NAME
        self._space = Space(self._directory, reserve_bytes=config.reserve_bytes)
        self._folder_lock = DirectoryLock(self._directory)
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._is_open = False
        self._is_over_ceiling = False
        self._destinations: tuple[str, ...] = ()
        self._gatherer = HistogramGatherer()
        self._tick_count = 0
        self._damaged: dict[int, str] = {}
        self._trouble: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """What is wrong now, in sentences, or "" when all is well."""
        return "; ".join(self._trouble.copy().values())

    @property
    def is_failing(self) -> bool:
        """Whether the database could not be used at the last attempt."""
        return "failing" in self._trouble

    def open(self) -> None:
        """Take the folder and open the database, making, migrating or rebuilding it as needed.

        Raises:
            StoreLockedError: another process uses the folder.
            StoreTooNewError: the database was written by a newer program.
            StoreError: the folder cannot be used.
        """
        with self._lock:
            if self._is_open:
                return
            make_directory(self._directory)
            self._folder_lock.acquire()
            try:
                finish_interrupted(self._path)
                self._session = self._opened_session()
                self._space.refresh()
            except OSError as error:
                self._folder_lock.release()
                msg = f"the store in {self._directory} cannot be opened: {error.strerror}"
                raise StoreError(msg) from error
            except BaseException:
                self._folder_lock.release()
                raise
            self._is_open = True
            self._metrics.set("sentinel_store_bytes", self.size_bytes())

    def close(self) -> None:
        """Write what is held in memory, bring in the write-ahead log, and let go; idempotent."""
        with self._lock:
            if not self._is_open:
                return
            if self._session is not None:
                self._attempt("flush", self._flush_histograms)
                self._attempt("checkpoint", self._checkpoint)
            self._is_open = False
            self._end_session()
            self._folder_lock.release()

    def size_bytes(self) -> int:
        """Bytes on the disk: database, write-ahead log and ballast."""
        main_bytes = self._path.stat().st_size if self._path.exists() else 0
        return main_bytes + wal_bytes(self._path) + self._space.ballast_bytes

    # SeriesStore

    def register(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> list[int]:
        """See `SeriesStore.register`."""
        with self._lock:
            names = self._ready().names
            if names.is_known(keys, now_ns=now_ns):
                return names.register(keys, now_ns=now_ns)
            return self._write(
                "register",
                lambda session: session.names.register(keys, now_ns=now_ns),
                may_use_reserve=True,
            )

    def series(self) -> list[SeriesRow]:
        """See `SeriesStore.series`."""
        return self._read("series", lambda session: read_series(session.connection))

    def append_tick(self, tick: Tick) -> None:
        """See `SeriesStore.append_tick`."""
        with self._lock:
            self._ready()
            if not self._has_room():
                self._drop_window(tick, "disk_full")
            elif self._is_over_ceiling:
                self._drop_window(tick, "ceiling")
            else:
                try:
                    self._write("append_tick", lambda session: self._put_tick(session, tick))
                except StoreFullError:
                    self._drop_window(tick, "disk_full")
            self._tick_count += 1
            self._attempt("housekeeping", lambda: self._keep_house(tick.block))

    def append_history(self, block: WindowBlock) -> None:
        """See `SeriesStore.append_history`.

        Raises:
            StoreFullError: there is no room for it on the disk.
        """
        with self._lock:
            self._ready()
            if not self._has_room():
                msg = f"the disk of {self._directory} is full"
                raise StoreFullError(msg)
            self._write(
                "append_history",
                lambda session: session.chunks.put(block, on_damage=self._note_damage),
            )
            self._set_damage_aside()
            if wal_bytes(self._path) > self._wal_bytes_max():
                self._attempt("checkpoint", self._checkpoint)
            self._attempt("retention", self._keep_under_ceiling)
            self._metrics.set("sentinel_store_bytes", self.size_bytes())

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """See `SeriesStore.windows`; a block spans at most 48 windows.

        The lock is taken anew for every chunk span, so a long read does not hold up pages.
        """
        spans = self._read(
            "windows",
            lambda session: session.chunks.spans(
                step_ns=step_ns, start_ns=start_ns, end_ns=end_ns
            ),
        )
        for span_start_ns in spans:

            def read_span(session: Session, at_ns: int = span_start_ns) -> list[WindowBlock]:
                return session.chunks.read_span(
                    step_ns=step_ns,
                    span_start_ns=at_ns,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    series=series,
                    on_damage=self._note_damage,
                )

            with self._lock:
                blocks = self._read("windows", read_span)
                self._set_damage_aside()
            yield from blocks

    def histograms(self, *, start_ns: int, end_ns: int) -> Iterator[HourHistograms]:
        """The merged latency histograms of the hours that begin in `[start_ns, end_ns)`.

        The present hour is written every few minutes and when the store is closed.
        """
        hours = self._read(
            "histograms",
            lambda session: histogram_hours(session.connection, start_ns=start_ns, end_ns=end_ns),
        )
        for hour_ns in hours:

            def read(session: Session, at_ns: int = hour_ns) -> HourHistograms | None:
                return read_hour(session.connection, at_ns)

            try:
                hour = self._read("histograms", read)
            except StoreCorruptError as error:
                self._count_damage("histograms", str(error))
                continue
            if hour is not None:
                yield hour

    def notes(self, *, start_ns: int, end_ns: int) -> list[tuple[int, str]]:
        """Events with the end of the window they were stored with, in order."""
        return self._read(
            "notes",
            lambda session: session.connection.execute(
                "SELECT at_ns, text FROM notes WHERE at_ns >= ? AND at_ns < ? ORDER BY note_id",
                (start_ns, end_ns),
            ).fetchall(),
        )

    # BaselineStore

    def save_fit(self, fit: Snapshot) -> None:
        """See `BaselineStore.save_fit`."""
        self._save(SnapshotKind.FIT, fit)

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """See `BaselineStore.fits`."""
        return self._snapshots(SnapshotKind.FIT, limit)

    def save_state(self, state: Snapshot) -> None:
        """See `BaselineStore.save_state`."""
        self._save(SnapshotKind.STATE, state)

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """See `BaselineStore.states`."""
        return self._snapshots(SnapshotKind.STATE, limit)

    # IncidentStore

    def incidents(self, *, limit: int = 100, open_only: bool = False) -> list[Incident]:
        """See `IncidentStore.incidents`."""
        found, damaged_count = self._read(
            "incidents",
            lambda session: read_incidents(session.connection, limit=limit, open_only=open_only),
        )
        for _ in range(damaged_count):
            self._count_damage("incident", "an incident does not match its checksum")
        return found

    # Outbox

    def set_destinations(self, names: Sequence[str]) -> None:
        """See `Outbox.set_destinations`."""
        with self._lock:
            self._destinations = tuple(dict.fromkeys(names))

    def entries(self, *, destination: str, limit: int = 1000) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        with self._lock:
            entries, damaged = self._read(
                "entries",
                lambda session: read_entries(
                    session.connection, destination=destination, limit=limit
                ),
            )
            if damaged:
                self._attempt("set_aside", lambda: self._set_entries_aside(damaged))
        return entries

    def update(self, entries: Sequence[OutboxEntry]) -> None:
        """See `Outbox.update`."""
        with self._lock:
            self._write(
                "update_outbox",
                lambda session: update_entries(session.connection, entries),
                may_use_reserve=True,
            )

    # Opening and failing

    def _opened_session(self) -> Session:
        try:
            return open_session(self._path)
        except StoreCorruptError as error:
            return self._rebuilt_session(str(error))

    def _rebuilt_session(self, reason: str) -> Session:
        self._logger.error("Store is damaged and will be rebuilt", extra={"reason": reason})
        self._metrics.count("sentinel_store_corrupt_chunks_total", what="database")
        try:
            salvage = rebuild(self._path)
        except (OSError, sqlite3.Error) as error:
            msg = f"the damaged store in {self._directory} cannot be rebuilt: {error}"
            raise StoreError(msg) from error
        self._trouble["damage"] = salvage.sentence
        self._logger.error(salvage.sentence)
        return open_session(self._path)

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _ready(self) -> Session:
        """The session; begun anew when it was ended by a failure."""
        if not self._is_open:
            msg = f"the store in {self._directory} is not open"
            raise StoreError(msg)
        if self._session is None:
            finish_interrupted(self._path)
            self._session = self._opened_session()
            self._trouble.pop("failing", None)
            self._logger.warning("Store was opened again after a failure")
        return self._session

    def _write(
        self,
        operation: str,
        work: Callable[[Session], Result],
        *,
        may_use_reserve: bool = False,
    ) -> Result:
        """Run `work` in a transaction that is on the disk when this returns.

        A full disk gives up the ballast and tries once more, for work that may use it; a damaged
        file is rebuilt and the work tried once more.

        Raises:
            StoreFullError: no room.
            StoreError: nothing was kept.
        """
        try:
            return self._transact(operation, work)
        except StoreFullError:
            self._trouble["full"] = "The disk is full: windows are dropped, pages are kept"
            self._space.note_full()
            if not may_use_reserve or not self._space.give_up_ballast():
                raise
            self._logger.warning("Disk is full; the reserve was given up for pages")
        except StoreCorruptError as error:
            self._end_session()
            self._session = self._rebuilt_session(str(error))
        return self._transact(operation, work)

    def _transact(self, operation: str, work: Callable[[Session], Result]) -> Result:
        session = self._ready()
        try:
            session.connection.execute("BEGIN IMMEDIATE")
            result = work(session)
            session.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(session)
            raise self._failed(operation, error) from error
        except BaseException:
            self._roll_back(session)
            raise
        self._metrics.count("sentinel_store_writes_total")
        return result

    def _roll_back(self, session: Session) -> None:
        try:
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
            session.forget()
        except (sqlite3.Error, StoreCorruptError):
            self._end_session()  # the next call opens the file anew and checks it

    def _read(self, operation: str, work: Callable[[Session], Result]) -> Result:
        with self._lock:
            session = self._ready()
            try:
                return work(session)
            except sqlite3.Error as error:
                failure = self._failed(operation, error)
                if not isinstance(failure, StoreCorruptError):
                    raise failure from error
                self._end_session()
                session = self._session = self._rebuilt_session(str(failure))
            try:
                return work(session)
            except sqlite3.Error as error:
                raise self._failed(operation, error) from error

    def _failed(self, operation: str, error: sqlite3.Error) -> StoreError:
        """Count a failure and say what it means.

        After a failure of the disk, what reached it is unknown: nothing is believed before the file
        has been opened and checked anew, so the session ends here.
        """
        failure = failure_of(error)
        self._metrics.count("sentinel_store_errors_total", operation=operation, reason=failure)
        if failure is Failure.IO:
            self._end_session()
            self._trouble["failing"] = f"The disk fails: {error}"
        return store_error(error, operation=operation)

    def _attempt(self, operation: str, work: Callable[[], object]) -> None:
        """Do work whose failure must not fail the call it rides on; it is tried again later."""
        try:
            work()
        except (StoreError, OSError) as error:
            self._logger.warning(
                "Store work is put off", extra={"operation": operation, "reason": str(error)}
            )

    # Windows

    def _put_tick(self, session: Session, tick: Tick) -> None:
        session.chunks.put(tick.block, on_damage=self._note_damage)
        self._put_transitions(session, tick)

    def _put_transitions(self, session: Session, tick: Tick) -> None:
        write_incidents(session.connection, tick.incidents)
        write_pages(session.connection, tick.pages, self._destinations)
        session.connection.executemany(
            "INSERT OR IGNORE INTO notes (at_ns, text) VALUES (?, ?)",
            [(tick.block.end_ns, text) for text in tick.notes],
        )

    def _drop_window(self, tick: Tick, reason: str) -> None:
        """Give up the window, never what it led to."""
        self._metrics.count(
            "sentinel_store_dropped_windows_total", tick.block.window_count, reason=reason
        )
        if tick.incidents or tick.pages or tick.notes:
            self._write(
                "append_pages",
                lambda session: self._put_transitions(session, tick),
                may_use_reserve=True,
            )

    def _has_room(self) -> bool:
        try:
            has_room = self._space.refresh()
        except OSError:
            return True  # the write itself will tell
        if has_room:
            self._trouble.pop("full", None)
        else:
            self._trouble["full"] = "The disk is nearly full: windows are dropped, pages are kept"
        return has_room

    def _keep_house(self, block: WindowBlock) -> None:
        """Roll up, pack, thin out, bring in the log; each bounded, each again with a later window."""
        self._set_damage_aside()
        given_up = self._gatherer.add(block)
        if given_up:
            self._metrics.count(
                "sentinel_store_dropped_windows_total", given_up, reason="histograms"
            )
        if self._has_room():
            self._roll_up(block)
            for step_ns in (block.step_ns, *roll_up_steps(block.step_ns)):
                self._pack(step_ns, now_ns=block.end_ns)
            if self._tick_count % _TICKS_BETWEEN_FLUSHES == 0:
                self._flush_histograms()
        if self._tick_count % _TICKS_BETWEEN_PASSES == 0:
            self._retire(block)
        self._keep_under_ceiling()
        if self._space.is_low or wal_bytes(self._path) > self._wal_bytes_max():
            self._checkpoint()
        self._set_damage_aside()
        self._metrics.set("sentinel_store_bytes", self.size_bytes())

    def _roll_up(self, block: WindowBlock) -> None:
        for step_ns, since_ns, until_ns in self._ready().due_roll_ups(block):

            def work(
                session: Session,
                step_ns: int = step_ns,
                since: int = since_ns,
                until: int = until_ns,
            ) -> None:
                session.put_roll_ups(
                    fine_ns=block.step_ns,
                    step_ns=step_ns,
                    since_ns=since,
                    until_ns=until,
                    on_damage=self._note_damage,
                )

            self._write("roll_up", work)
            self._ready().rolled_up_until_ns[step_ns] = until_ns

    def _pack(self, step_ns: int, *, now_ns: int) -> None:
        if now_ns % chunk_span_ns(step_ns) and self._tick_count % _TICKS_BETWEEN_PASSES:
            return  # spans end at multiples; in between only a gap can have left something
        self._write(
            "pack",
            lambda session: session.chunks.compact(
                before_span_of_ns=now_ns,
                step_ns=step_ns,
                limit=_SPANS_PACKED_AT_ONCE,
                on_damage=self._note_damage,
            ),
        )

    def _flush_histograms(self) -> None:
        self._write("flush", lambda session: self._gatherer.flush(session.connection))
        self._gatherer.clear()

    # Age and size

    def _retire(self, block: WindowBlock) -> None:
        now_ns = self._clock.now_ns()
        oldest_ns = min(now_ns, block.end_ns) - round(self._config.keep_5m * 1e9)

        def work(session: Session) -> None:
            session.names.mark_seen(block.series.tolist(), now_ns=now_ns)
            retention.remove_expired(
                session.connection, self._config, now_ns=now_ns, on_retired=self._count_retired
            )
            session.names.forget(seen_before_ns=oldest_ns, limit=_SERIES_FORGOTTEN_AT_ONCE)
            session.chunks.drop_unused_layouts()

        self._write("retention", work)
        self._give_back_pages()

    def _keep_under_ceiling(self) -> None:
        limit_bytes = int(self._config.max_bytes * _CEILING_SHARE) - self._space.ballast_bytes
        used_bytes = self._read(
            "retention", lambda session: retention.used_bytes(session.connection)
        )
        if used_bytes + self._wal_bytes_max() <= limit_bytes:
            self._is_over_ceiling = False
            return
        removed = self._write(
            "retention",
            lambda session: retention.remove_over_ceiling(
                session.connection, self._config, on_retired=self._count_retired
            ),
        )
        self._is_over_ceiling = not removed
        if removed:
            self._give_back_pages()

    def _give_back_pages(self) -> None:
        self._read(
            "retention",
            lambda session: retention.give_back_pages(
                session.connection, page_count_max=_PAGES_GIVEN_BACK_AT_ONCE
            ),
        )

    def _wal_bytes_max(self) -> int:
        """How long the log may get; on a full disk the reserve must take in all of it and the pages."""
        reserve_bytes = self._config.reserve_bytes or _WAL_BYTES_MAX
        return min(_WAL_BYTES_MAX, self._config.max_bytes // 8, reserve_bytes // 2)

    def _checkpoint(self) -> None:
        cut = not self._space.is_low
        if self._read("checkpoint", lambda session: checkpoint(session.connection, cut=cut)):
            self._trouble.pop("log", None)
        elif wal_bytes(self._path) > _WAL_BYTES_ALARM:
            self._trouble["log"] = "A reader keeps the write-ahead log from being brought in"
            self._metrics.count(
                "sentinel_store_errors_total", operation="checkpoint", reason=Failure.BUSY
            )

    def _count_retired(self, label: str, count: int) -> None:
        self._metrics.count("sentinel_store_retired_chunks_total", count, step=label)

    # Snapshots and damage

    def _save(self, what: SnapshotKind, snapshot: Snapshot) -> None:
        with self._lock:
            self._write(
                f"save_{what}",
                lambda session: write_snapshot(session.connection, what, snapshot),
            )

    def _snapshots(self, what: SnapshotKind, limit: int) -> list[Snapshot]:
        found: list[Snapshot] = []
        for number in self._read(what, lambda session: snapshot_ids(session.connection, what)):
            if len(found) == limit:
                break

            def read(session: Session, number: int = number) -> Snapshot:
                return read_snapshot(session.connection, what, number)

            try:
                found.append(self._read(what, read))
            except StoreCorruptError as error:
                self._count_damage(what, str(error))
        return found

    def _note_damage(self, chunk_id: int, reason: str) -> None:
        self._damaged[chunk_id] = reason

    def _set_damage_aside(self) -> None:
        """Move damaged chunks out of the way, after the transaction that met them."""
        if not self._damaged:
            return
        damaged, self._damaged = self._damaged, {}
        for reason in damaged.values():
            self._count_damage("chunk", reason)
        now_ns = self._clock.now_ns()

        def work(session: Session) -> None:
            for chunk_id, reason in damaged.items():
                session.chunks.set_aside(chunk_id, reason=reason, now_ns=now_ns)

        self._attempt("set_aside", lambda: self._write("set_aside", work))

    def _set_entries_aside(self, damaged: Sequence[tuple[int, str]]) -> None:
        now_ns = self._clock.now_ns()

        def work(session: Session) -> None:
            for entry_id, reason in damaged:
                set_aside_entry(session.connection, entry_id, reason=reason, now_ns=now_ns)

        self._write("set_aside", work)
        for _, reason in damaged:
            self._count_damage("page", reason)

    def _count_damage(self, what: str, reason: str) -> None:
        self._metrics.count("sentinel_store_corrupt_chunks_total", what=what)
        self._trouble["damage"] = f"Something damaged was set aside: {reason}"
        self._logger.error("Damaged data was set aside", extra={"what": what, "reason": reason})
