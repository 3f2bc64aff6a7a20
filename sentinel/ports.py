"""Protocols between the ring and the core; their docstrings state order, loss and blocking."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Incident, Kind, Page, SampleBatch, SeriesKey, WindowBlock

__all__ = [
    "Admission",
    "BaselineStore",
    "Clock",
    "HandedOver",
    "IncidentStore",
    "KeyedRows",
    "Outbox",
    "OutboxEntry",
    "PastSink",
    "PastStore",
    "SampleSink",
    "SendOutcome",
    "SendResult",
    "Sender",
    "SeriesRow",
    "SeriesStore",
    "Snapshot",
    "Tick",
]


class Admission(StrEnum):
    """What became of a batch: taken, come back later, or never going to work."""

    ACCEPTED = "accepted"
    RETRY_LATER = "retry_later"
    REFUSED = "refused"


class SampleSink(Protocol):
    """Where receivers and scrapers put batches."""

    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:
        """Take a batch without blocking.

        The whole batch is taken or nothing of it. ACCEPTED means held in memory until its windows close.
        """
        ...


class Clock(Protocol):
    """The only way to the time outside `sentinel.runtime.clock`."""

    def now_ns(self) -> int:
        """Wall clock, Unix nanoseconds; may step."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back, for measuring waits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a manual clock returns when it was advanced that far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A registered series: the id is for life, never reused."""

    series_id: int
    key: SeriesKey
    kind: Kind
    first_seen_ns: int
    last_seen_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Learned state at a window boundary, as bytes that the core wrote and can read."""

    at_ns: int
    version: int
    payload: bytes | bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """All that one evaluated window leaves behind; stored together or not at all.

    Attributes:
        block: the closed window (T = 1).
        incidents: incidents that changed in it.
        pages: pages to be delivered, in order.
        notes: events a replay needs, such as a refit taking effect, as JSON text.
    """

    block: WindowBlock
    incidents: tuple[Incident, ...] = ()
    pages: tuple[Page, ...] = ()
    notes: tuple[str, ...] = ()


class SeriesStore(Protocol):
    """Windows by resolution, and the names of series. One writer; calls block and run in a thread of their own."""

    def register(self, keys: Sequence[tuple[SeriesKey, Kind]], *, now_ns: int) -> list[int]:
        """Ids of the keys, made where they are new; ascending in order of first registration."""
        ...

    def series(self) -> list[SeriesRow]:
        """Every registered series, by id."""
        ...

    def append_tick(self, tick: Tick) -> bool:
        """Store a window with its incidents and pages in one transaction; whether the window was kept.

        Pages are durable (synchronous=FULL) when this returns. When the disk is full the window may be
        dropped and counted, the pages never: `StoreFullError` is raised only when they could not be kept.
        """
        ...

    def append_history(self, block: WindowBlock) -> None:
        """Store windows of the past at the block's own resolution; the same windows again replace the old ones."""
        ...

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Stored windows of one resolution in time order, chunk by chunk; damaged chunks are skipped and counted."""
        ...


class PastStore(SeriesStore, Protocol):
    """Windows of the past that come piece by piece, with a note of how far that got."""

    def append_past(
        self, blocks: Sequence[WindowBlock], *, source: str, progress: bytes, now_ns: int
    ) -> None:
        """Store windows as `append_history` does, and the note on their source in the same transaction; an empty one is none."""
        ...

    def past_progress(self, source: str) -> bytes:
        """The note on a source that was stored last; empty when there is none."""
        ...


class KeyedRows(Protocol):
    """Rows of past data with the names of their series; see `sentinel.core.normalise.promql.rows.QueryRows`."""

    @property
    def keys(self) -> tuple[SeriesKey, ...]: ...  # noqa: D102  # said there
    @property
    def key_index(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def time_ns(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def value(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def weight(self) -> NDArray[np.float64]: ...  # noqa: D102


class PastSink(Protocol):
    """Where a source that was away puts what it tells of that time: learned from, and never decided on."""

    async def gaps(
        self, keys: Collection[SeriesKey], *, start_ns: int, end_ns: int
    ) -> list[tuple[int, int]]:
        """Spans of whole windows of five minutes in which none of these series has a value, ascending."""
        ...

    async def put(self, rows: Sequence[KeyedRows]) -> int:
        """Keep rows as windows of five minutes; how many windows, over all series.

        Raises:
            StoreError: they are not kept.
        """
        ...


class BaselineStore(Protocol):
    """Fits and learned state; two generations are kept of each."""

    def save_fit(self, fit: Snapshot) -> None:
        """Store a fit that takes effect at `fit.at_ns`."""
        ...

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest fits, newest first; damaged ones are set aside and counted."""
        ...

    def save_state(self, state: Snapshot) -> None:
        """Store the decision state as it was at the window boundary `state.at_ns`."""
        ...

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest states, newest first; damaged ones are set aside and counted."""
        ...


class ReplayRecord(Protocol):
    """What a later replay of the stored windows begins from and judges by."""

    def record_state(self, state: Snapshot) -> None:
        """Keep a state for as long as windows after it are kept."""
        ...

    def record_fit(self, part: Snapshot) -> None:
        """Keep what is judged by from an instant on."""
        ...

    def newest_record_ns(self) -> int:
        """Instant of the newest recorded state, 0 when there is none."""
        ...


class IncidentStore(Protocol):
    """Incidents for people; written through `SeriesStore.append_tick`."""

    def incidents(self, *, limit: int = 100, open_only: bool = False) -> list[Incident]:
        """Newest first."""
        ...

    def known_pages(self, page_ids: Iterable[str]) -> frozenset[str]:
        """Those of the pages that are stored."""
        ...


class SendResult(StrEnum):
    """How one attempt to send a page ended; fit to be a metric label."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """The end of one attempt for one page at one destination.

    Attributes:
        page_id: the page it was.
        result: see `SendResult`.
        detail: one clause for a person, without credentials; "" when delivered.
        retry_after_s: the destination's own wish, or None.
    """

    page_id: str
    result: SendResult
    detail: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A page on its way to one destination.

    Attributes:
        entry_id: position in the outbox; order of pages of an incident is order of entry_id.
        destination: name of the sender instance it is for.
        page: what is to be sent.
        attempts: how often it was tried.
        due_ns: not before this.
        state: `pending`, `delivered`, `along` (told on the page of a later incident), `parked` (refused for good;
            a person must look) or `done`.
        delivered_ns: when the destination took it first, or an earlier firing page of the incident that it
            replaced there; or None.
        stored_ns: when it was stored, or 0 for one stored by a version that did not write that down.
    """

    entry_id: int
    destination: str
    page: Page
    attempts: int
    due_ns: int
    state: str
    delivered_ns: int | None = None
    stored_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What became of the entries of a destination that pages are no longer for.

    Attributes:
        moved_count: pages it never took, which the present destinations that had them not have now.
        dropped_count: pages it never took that were too old to be news to anybody.
    """

    moved_count: int
    dropped_count: int


class Outbox(Protocol):
    """Pages that are not yet everywhere they must be; durable before any send."""

    def set_destinations(self, names: Sequence[str]) -> None:
        """The destinations every page that is stored from now on gets an entry for."""
        ...

    def hand_over(self, *, oldest_ns: int) -> dict[str, HandedOver]:
        """End all entries for others than the present destinations, of which there must be one.

        What such a destination never took goes to every present one that had it not, unless it was stored
        before `oldest_ns`: an address is mended while pages wait for it, and they must not be lost with its name.
        """
        ...

    def entries(self, *, destination: str, limit: int = 1000) -> list[OutboxEntry]:
        """Entries that are not done, oldest first."""
        ...

    def update(self, entries: Sequence[OutboxEntry]) -> None:
        """Store new attempts, due_ns, state and delivered_ns of entries, durably."""
        ...


class Sender(Protocol):
    """One kind of destination for pages; an instance is one address."""

    @property
    def name(self) -> str:
        """Unique name of this destination, without credentials."""
        ...

    @property
    def wants_resend(self) -> bool:
        """Whether firing pages must be sent again and again (Alertmanager) or once (a webhook)."""
        ...

    async def send(self, pages: Sequence[Page], *, now_ns: int) -> list[SendOutcome]:
        """Try once, within the sender's own time limit; one outcome a page, in order; never raises for a failed send."""
        ...
