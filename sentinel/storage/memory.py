"""The same ports in memory, for tests and previews; nothing outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sentinel.core.model import Incident, IncidentState, Kind, Page, SeriesKey, WindowBlock
from sentinel.ports import HandedOver, OutboxEntry, SeriesRow, Snapshot, Tick
from sentinel.storage.windows import (
    chunk_span_ns,
    clip,
    join_neighbours,
    overlay,
    roll_up,
    roll_up_steps,
    select,
)

_GENERATION_COUNT = 2
_RECORDS_MAX = 256


class MemoryStore:
    """`SeriesStore`, `BaselineStore`, `IncidentStore` and `Outbox` as plain dictionaries.

    Windows beyond `window_count_max` of a resolution are dropped, oldest first.
    """

    def __init__(self, *, window_count_max: int = 120_000) -> None:
        self._window_count_max = window_count_max
        self._lock = threading.RLock()
        self._rows: dict[SeriesKey, SeriesRow] = {}
        self._windows: dict[int, dict[int, WindowBlock]] = {}
        self._rolled_up_until_ns: dict[int, int] = {}
        self._fits: list[Snapshot] = []
        self._states: list[Snapshot] = []
        self.state_records: list[Snapshot] = []
        self.fit_records: list[Snapshot] = []
        self._incidents: dict[str, Incident] = {}
        self._page_ids: set[str] = set()
        self._destinations: tuple[str, ...] = ()
        self._entries: dict[tuple[str, str], OutboxEntry] = {}
        self.notes: list[tuple[int, str]] = []
        self.dropped_window_count = 0
        self._progress: dict[str, bytes] = {}

    # SeriesStore

    def register(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> list[int]:
        """See `SeriesStore.register`."""
        with self._lock:
            ids = []
            for key, kind in keys:
                row = self._rows.get(key)
                if row is None:
                    row = SeriesRow(
                        series_id=len(self._rows) + 1,
                        key=key,
                        kind=kind,
                        first_seen_ns=now_ns,
                        last_seen_ns=now_ns,
                    )
                self._rows[key] = replace(row, last_seen_ns=max(row.last_seen_ns, now_ns))
                ids.append(row.series_id)
            return ids

    def series(self) -> list[SeriesRow]:
        """See `SeriesStore.series`."""
        with self._lock:
            return sorted(self._rows.values(), key=lambda row: row.series_id)

    def append_tick(self, tick: Tick) -> bool:
        """See `SeriesStore.append_tick`."""
        with self._lock:
            self._put(tick.block)
            self._roll_up(tick.block)
            for incident in tick.incidents:
                self._incidents[incident.incident_id] = incident
            for page in tick.pages:
                self._page_ids.add(page.page_id)
                self._put_page(page, stored_ns=tick.block.end_ns)
            self.notes.extend((tick.block.end_ns, text) for text in tick.notes)
        return True

    def append_history(self, block: WindowBlock) -> None:
        """See `SeriesStore.append_history`."""
        with self._lock:
            self._put(block)

    # PastStore

    def append_past(
        self,
        blocks: Sequence[WindowBlock],
        *,
        source: str,
        progress: bytes,
        now_ns: int,  # noqa: ARG002  # a port
    ) -> None:
        """See `PastStore.append_past`."""
        with self._lock:
            for block in blocks:
                self._put(block)
            self._progress[source] = progress

    def past_progress(self, source: str) -> bytes:
        """See `PastStore.past_progress`."""
        with self._lock:
            return self._progress.get(source, b"")

    # SeriesStore, what is read

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """See `SeriesStore.windows`; a block spans at most 48 windows."""
        wanted = None if series is None else np.unique(np.asarray(series, dtype=np.int64))
        with self._lock:
            held = sorted(self._windows.get(step_ns, {}).items())
        spans: dict[int, list[WindowBlock]] = {}
        for at_ns, window in held:
            inside = clip(window, start_ns=start_ns, end_ns=end_ns)
            if inside is not None and wanted is not None:
                inside = select(inside, wanted)
            if inside is not None:
                spans.setdefault(at_ns // chunk_span_ns(step_ns), []).append(inside)
        for blocks in spans.values():
            yield from join_neighbours(blocks)

    # BaselineStore

    def save_fit(self, fit: Snapshot) -> None:
        """See `BaselineStore.save_fit`."""
        with self._lock:
            self._fits = [fit, *self._fits][:_GENERATION_COUNT]

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """See `BaselineStore.fits`."""
        return self._fits[:limit]

    def save_state(self, state: Snapshot) -> None:
        """See `BaselineStore.save_state`."""
        with self._lock:
            self._states = [state, *self._states][:_GENERATION_COUNT]

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """See `BaselineStore.states`."""
        return self._states[:limit]

    def histogram_hours(self, *, start_ns: int, end_ns: int) -> list[int]:
        """None: histograms are not kept here."""
        del start_ns, end_ns
        return []

    def histogram_hour(self, start_ns: int) -> None:
        """None: histograms are not kept here."""
        del start_ns

    # ReplayRecord

    def record_state(self, state: Snapshot) -> None:
        """See `ReplayRecord.record_state`; of those that are kept here none is older than the windows."""
        with self._lock:
            self.state_records = [*self.state_records, state][-_RECORDS_MAX:]

    def record_fit(self, part: Snapshot) -> None:
        """See `ReplayRecord.record_fit`."""
        with self._lock:
            self.fit_records = [*self.fit_records, part][-_RECORDS_MAX:]

    def newest_record_ns(self) -> int:
        """See `ReplayRecord.newest_record_ns`."""
        return max((state.at_ns for state in self.state_records), default=0)

    # IncidentStore

    def incidents(self, *, limit: int = 100, open_only: bool = False) -> list[Incident]:
        """See `IncidentStore.incidents`."""
        with self._lock:
            in_order = sorted(self._incidents.values(), key=lambda incident: incident.opened_ns)
        newest = in_order[::-1]
        if open_only:
            newest = [one for one in newest if one.state is IncidentState.OPEN]
        return newest[:limit]

    def known_pages(self, page_ids: Iterable[str]) -> frozenset[str]:
        """See `IncidentStore.known_pages`."""
        with self._lock:
            return frozenset(self._page_ids.intersection(page_ids))

    # Outbox

    def set_destinations(self, names: Sequence[str]) -> None:
        """See `Outbox.set_destinations`."""
        with self._lock:
            self._destinations = tuple(dict.fromkeys(names))

    def hand_over(self, *, oldest_ns: int) -> dict[str, HandedOver]:
        """See `Outbox.hand_over`."""
        with self._lock:
            if not self._destinations:
                return {}
            left = [
                entry
                for entry in self._entries.values()
                if entry.destination not in self._destinations and entry.state != "done"
            ]
            found = {entry.destination: [0, 0] for entry in left}
            for entry in left:
                self._entries[entry.destination, entry.page.page_id] = replace(entry, state="done")
                if entry.state != "pending" or entry.delivered_ns is not None:
                    continue
                is_old = 0 < entry.stored_ns < oldest_ns
                found[entry.destination][is_old] += 1
                if not is_old:
                    self._put_page(entry.page, stored_ns=entry.stored_ns)
            return {
                name: HandedOver(moved_count=moved, dropped_count=dropped)
                for name, (moved, dropped) in found.items()
            }

    def entries(self, *, destination: str, limit: int = 1000) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        with self._lock:
            found = [
                entry
                for entry in self._entries.values()
                if entry.destination == destination and entry.state != "done"
            ]
        return found[:limit]

    def update(self, entries: Sequence[OutboxEntry]) -> None:
        """See `Outbox.update`."""
        with self._lock:
            for entry in entries:
                name = (entry.destination, entry.page.page_id)
                self._entries[name] = replace(entry, page=self._entries[name].page)

    def _put(self, block: WindowBlock) -> None:
        held = self._windows.setdefault(block.step_ns, {})
        for index in range(block.window_count):
            window = replace(block.windows(index, index + 1), histograms=None)
            old = held.get(window.start_ns)
            held[window.start_ns] = window if old is None else overlay([old, window])
        for start_ns in sorted(held)[: -self._window_count_max]:
            del held[start_ns]
            self.dropped_window_count += 1

    def _roll_up(self, block: WindowBlock) -> None:
        fine = self._windows[block.step_ns]
        for step_ns in roll_up_steps(block.step_ns):
            since_ns = self._rolled_up_until_ns.get(step_ns, min(fine))
            since_ns = min(since_ns, block.start_ns) // step_ns * step_ns
            until_ns = block.end_ns // step_ns * step_ns
            for start_ns in range(since_ns, until_ns, step_ns):
                inside = [
                    fine[at_ns]
                    for at_ns in range(start_ns, start_ns + step_ns, block.step_ns)
                    if at_ns in fine
                ]
                if inside:
                    self._put(roll_up(inside, start_ns=start_ns, step_ns=step_ns))
            if until_ns > since_ns:
                self._rolled_up_until_ns[step_ns] = until_ns

    def _put_page(self, page: Page, *, stored_ns: int) -> None:
        for destination in self._destinations:
            name = (destination, page.page_id)
            if name not in self._entries:
                self._entries[name] = OutboxEntry(
                    entry_id=len(self._entries) + 1,
                    destination=destination,
                    page=page,
                    attempts=0,
                    due_ns=0,
                    state="pending",
                    stored_ns=stored_ns,
                )
