"""The store: the four ports over one SQLite file, for one process.

Every public method may be called from any thread; a lock lets one through at a time. What can go wrong
and what follows:

- The disk is full: windows are dropped and counted; pages go in with the room of the ballast file; when
  even that is used up, the caller is told and keeps them; when there is space again, windows are kept again.
- The disk fails: nothing is acknowledged; the next call opens the file anew, checks it, and goes on.
- The structure is damaged: the file is put aside and rebuilt from what can be read, pages first.
- A chunk is damaged: it is set aside and counted, and the rest goes on.

`access` holds the file and its transactions, `housekeeping` what rides on windows, `damage` what is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sentinel.core.model import Incident, Kind, SeriesKey, WindowBlock
from sentinel.errors import StoreCorruptError, StoreError, StoreFullError
from sentinel.ports import HandedOver, OutboxEntry, SeriesRow, Snapshot, Tick
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.storage.sqlite.access import Access
from sentinel.storage.sqlite.baselines import (
    SnapshotKind,
    read_snapshot,
    snapshot_ids,
    write_snapshot,
)
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.damage import Damage
from sentinel.storage.sqlite.histograms import HourHistograms, histogram_hours, read_hour
from sentinel.storage.sqlite.housekeeping import Housekeeping
from sentinel.storage.sqlite.incidents import known_pages, read_incidents, write_incidents
from sentinel.storage.sqlite.outbox import hand_over, read_entries, update_entries, write_pages
from sentinel.storage.sqlite.progress import read_progress, write_progress
from sentinel.storage.sqlite.records import RecordKind, record_times, write_record
from sentinel.storage.sqlite.series import read_series
from sentinel.storage.sqlite.session import Session
from sentinel.storage.sqlite.trouble import Topic

_IN_MEMORY_ONLY = "incidents and pages could not be stored: they are kept in memory only, and a restart loses them"


class SqliteStore:
    """`SeriesStore`, `BaselineStore`, `ReplayRecord`, `IncidentStore` and `Outbox` in a folder."""

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self._directory = config.directory
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._flow = Flow("storage.sqlite", surroundings.metrics)
        self._access = Access(config, surroundings)
        self._damage = Damage(self._access, surroundings)
        self._house = Housekeeping(config, self._access, self._damage, surroundings)
        self._destinations: tuple[str, ...] = ()

    @property
    def trouble(self) -> str:
        """What is wrong now, in sentences, or "" when all is well."""
        return self._access.trouble.sentence

    @property
    def is_failing(self) -> bool:
        """Whether the database could not be used at the last attempt, or did not take what is for it."""
        return self._access.trouble.is_failing

    def open(self) -> None:
        """Take the folder and open the database, making, migrating or rebuilding it as needed.

        Raises:
            StoreLockedError: another process uses the folder.
            StoreTooNewError: the database was written by a newer program.
            StoreError: the folder cannot be used.
        """
        with self._access.lock:
            if not self._access.is_open:
                self._access.open()
                self._metrics.set("sentinel_store_bytes", self.size_bytes())

    def close(self) -> None:
        """Write what is held in memory, bring in the write-ahead log, and let go; idempotent."""
        with self._access.lock:
            if self._access.is_open:
                self._house.before_close()
                self._access.close()

    def size_bytes(self) -> int:
        """Bytes on the disk: database, write-ahead log, ballast, and the copy from before an upgrade."""
        return self._access.size_bytes

    # SeriesStore

    def register(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> list[int]:
        """See `SeriesStore.register`."""
        with self._access.lock:
            names = self._access.ready().names
            if names.is_known(keys, now_ns=now_ns):
                return names.register(keys, now_ns=now_ns)
            return self._access.write(
                "register",
                lambda session: session.names.register(keys, now_ns=now_ns),
                may_use_reserve=True,
            )

    def series(self) -> list[SeriesRow]:
        """See `SeriesStore.series`."""
        return self._access.read("series", lambda session: read_series(session.connection))

    def append_tick(self, tick: Tick) -> bool:
        """See `SeriesStore.append_tick`."""
        self._flow.received(1, signal="windows")
        with self._access.lock:
            try:
                is_kept = self._store_tick(tick)
            except StoreError:
                if tick.incidents or tick.pages:
                    self._access.trouble.note(Topic.UNRECORDED, _IN_MEMORY_ONLY)
                raise
            if is_kept:
                self._flow.sent(1, signal="windows")
            # What was not stored comes again with the next window, so this one had it all.
            self._access.trouble.clear(Topic.UNRECORDED)
            self._house.after_tick(tick.block)
            return is_kept

    def append_history(self, block: WindowBlock) -> None:
        """See `SeriesStore.append_history`.

        Raises:
            StoreFullError: there is no room for it on the disk.
        """
        self._put_past(lambda session: self._put_block(session, block))

    # PastStore

    def append_past(
        self, blocks: Sequence[WindowBlock], *, source: str, progress: bytes, now_ns: int
    ) -> None:
        """See `PastStore.append_past`.

        Raises:
            StoreFullError: there is no room for it on the disk.
        """

        def put(session: Session) -> None:
            for block in blocks:
                self._put_block(session, block)
            write_progress(session.connection, source, progress, now_ns=now_ns)

        self._put_past(put)

    def past_progress(self, source: str) -> bytes:
        """See `PastStore.past_progress`."""
        return self._access.read(
            "progress", lambda session: read_progress(session.connection, source)
        )

    # SeriesStore, what is read

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """See `SeriesStore.windows`; a block spans at most 48 windows.

        The lock is taken anew for every chunk span, so a long read does not hold up pages.
        """
        spans = self._access.read(
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
                    on_damage=self._damage.note_chunk,
                )

            with self._access.lock:
                blocks = self._access.read("windows", read_span)
                self._damage.set_chunks_aside()
            yield from blocks

    def histograms(self, *, start_ns: int, end_ns: int) -> Iterator[HourHistograms]:
        """The merged latency histograms of the hours that begin in `[start_ns, end_ns)`.

        The present hour is written every few minutes and when the store is closed.
        """
        hours = self._access.read(
            "histograms",
            lambda session: histogram_hours(session.connection, start_ns=start_ns, end_ns=end_ns),
        )
        for hour_ns in hours:

            def read(session: Session, at_ns: int = hour_ns) -> HourHistograms | None:
                return read_hour(session.connection, at_ns)

            try:
                hour = self._access.read("histograms", read)
            except StoreCorruptError as error:
                self._damage.count("histograms", str(error))
                continue
            if hour is not None:
                yield hour

    def notes(self, *, start_ns: int, end_ns: int) -> list[tuple[int, str]]:
        """Events with the end of the window they were stored with, in order."""
        return self._access.read(
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

    # ReplayRecord

    def record_state(self, state: Snapshot) -> None:
        """See `ReplayRecord.record_state`."""
        self._record(RecordKind.STATE, state)

    def record_fit(self, part: Snapshot) -> None:
        """See `ReplayRecord.record_fit`."""
        self._record(RecordKind.FIT, part)

    def newest_record_ns(self) -> int:
        """See `ReplayRecord.newest_record_ns`."""
        times = self._access.read(
            "records", lambda session: record_times(session.connection, RecordKind.STATE)
        )
        return max((at_ns for _, at_ns in times), default=0)

    # IncidentStore

    def incidents(self, *, limit: int = 100, open_only: bool = False) -> list[Incident]:
        """See `IncidentStore.incidents`."""
        found, damaged_count = self._access.read(
            "incidents",
            lambda session: read_incidents(session.connection, limit=limit, open_only=open_only),
        )
        for _ in range(damaged_count):
            self._damage.count("incident", "an incident does not match its checksum")
        return found

    def known_pages(self, page_ids: Iterable[str]) -> frozenset[str]:
        """See `IncidentStore.known_pages`."""
        return self._access.read(
            "pages", lambda session: known_pages(session.connection, page_ids)
        )

    # Outbox

    def set_destinations(self, names: Sequence[str]) -> None:
        """See `Outbox.set_destinations`."""
        with self._access.lock:
            self._destinations = tuple(dict.fromkeys(names))

    def hand_over(self, *, oldest_ns: int) -> dict[str, HandedOver]:
        """See `Outbox.hand_over`."""
        with self._access.lock:
            names = self._destinations
            if not names:
                return {}
            return self._access.write(
                "hand_over",
                lambda session: hand_over(session.connection, names, oldest_ns=oldest_ns),
                may_use_reserve=True,
            )

    def entries(self, *, destination: str, limit: int = 1000) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        with self._access.lock:
            entries, damaged = self._access.read(
                "entries",
                lambda session: read_entries(
                    session.connection, destination=destination, limit=limit
                ),
            )
            if damaged:
                self._access.attempt("set_aside", lambda: self._damage.set_entries_aside(damaged))
        return entries

    def update(self, entries: Sequence[OutboxEntry]) -> None:
        """See `Outbox.update`."""
        with self._access.lock:
            self._access.write(
                "update_outbox",
                lambda session: update_entries(session.connection, entries),
                may_use_reserve=True,
            )

    def _store_tick(self, tick: Tick) -> bool:
        try:
            self._access.ready()
        except StoreError:
            self._flow.dropped(FlowReason.FAULT, tick.block.window_count)
            raise
        if not self._access.has_room():
            self._drop_window(tick, "disk_full")
        elif self._house.is_over_ceiling:
            self._drop_window(tick, "ceiling")
        else:
            try:
                self._access.write("append_tick", lambda session: self._put_tick(session, tick))
            except StoreFullError:
                self._drop_window(tick, "disk_full")
            except StoreError:
                self._flow.dropped(FlowReason.FAULT, tick.block.window_count)
                raise
            else:
                return True
        return False

    def _put_tick(self, session: Session, tick: Tick) -> None:
        self._put_block(session, tick.block)
        self._put_transitions(session, tick)

    def _put_block(self, session: Session, block: WindowBlock) -> None:
        session.chunks.put(block, on_damage=self._damage.note_chunk)

    def _put_past(self, put: Callable[[Session], None]) -> None:
        with self._access.lock:
            self._access.ready()
            if not self._access.has_room():
                msg = f"the disk of {self._directory} is full"
                raise StoreFullError(msg)
            self._access.write("append_history", put)
            self._house.after_history()

    def _put_transitions(self, session: Session, tick: Tick) -> None:
        write_incidents(session.connection, tick.incidents)
        write_pages(
            session.connection, tick.pages, self._destinations, now_ns=self._clock.now_ns()
        )
        session.connection.executemany(
            "INSERT OR IGNORE INTO notes (at_ns, text) VALUES (?, ?)",
            [(tick.block.end_ns, text) for text in tick.notes],
        )

    def _drop_window(self, tick: Tick, reason: str) -> None:
        """Give up the window, never what it led to."""
        self._metrics.count(
            "sentinel_store_dropped_windows_total", tick.block.window_count, reason=reason
        )
        self._flow.error(FlowStage.STORE, FlowReason.DISK_FULL)
        self._flow.dropped(FlowReason.DISK_FULL, tick.block.window_count)
        if tick.incidents or tick.pages or tick.notes:
            self._access.write(
                "append_pages",
                lambda session: self._put_transitions(session, tick),
                may_use_reserve=True,
            )

    def _save(self, what: SnapshotKind, snapshot: Snapshot) -> None:
        with self._access.lock:
            self._access.write(
                f"save_{what}",
                lambda session: write_snapshot(session.connection, what, snapshot),
            )

    def _record(self, what: RecordKind, record: Snapshot) -> None:
        with self._access.lock:
            self._access.ready()
            if not self._access.has_room() or self._house.is_over_ceiling:
                self._metrics.count("sentinel_replay_records_dropped_total")
                return
            self._access.write(
                f"write_{what}",
                lambda session: write_record(session.connection, what, record),
            )

    def _snapshots(self, what: SnapshotKind, limit: int) -> list[Snapshot]:
        found: list[Snapshot] = []
        for number in self._access.read(
            what, lambda session: snapshot_ids(session.connection, what)
        ):
            if len(found) == limit:
                break

            def read(session: Session, number: int = number) -> Snapshot:
                return read_snapshot(session.connection, what, number)

            try:
                found.append(self._access.read(what, read))
            except StoreCorruptError as error:
                self._damage.count(what, str(error))
        return found
