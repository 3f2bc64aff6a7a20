"""An outbox in memory, and pages and destinations, for tests of delivery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sentinel.core.model import Page, PageReason, PageStatus
from sentinel.errors import StoreFullError
from sentinel.ports import HandedOver, OutboxEntry, SendOutcome, SendResult


class MemoryOutbox:
    """Keeps to the port's words; survives a restart of what uses it, as a file would."""

    def __init__(self) -> None:
        self.all: dict[int, OutboxEntry] = {}
        self.destinations: tuple[str, ...] = ()
        self.broken = False
        self.full = False

    def refuse_if_full(self) -> None:
        """What can be read cannot always be written."""
        if self.full:
            msg = "disk full"
            raise StoreFullError(msg)

    def set_destinations(self, names: Sequence[str]) -> None:
        """Whom pages are for."""
        self.destinations = tuple(names)

    def hand_over(self, *, oldest_ns: int) -> dict[str, HandedOver]:
        """Nothing: what becomes of other destinations' entries is tried on real stores."""
        return {}

    def entries(self, *, destination: str, limit: int = 1000) -> list[OutboxEntry]:
        """As the port says."""
        if self.broken:
            msg = "disk full"
            raise StoreFullError(msg)
        found = [
            entry
            for entry in self.all.values()
            if entry.destination == destination and entry.state != "done"
        ]
        return found[:limit]

    def update(self, entries: Sequence[OutboxEntry]) -> None:
        """As the port says."""
        self.refuse_if_full()
        for entry in entries:
            assert entry.entry_id in self.all
            self.all[entry.entry_id] = entry

    def store(self, page: Page, *, now_ns: int = 0) -> None:
        """What a tick does: an entry for each destination."""
        for destination in self.destinations:
            entry_id = len(self.all) + 1
            self.all[entry_id] = OutboxEntry(
                entry_id=entry_id,
                destination=destination,
                page=page,
                attempts=0,
                due_ns=0,
                state="pending",
                stored_ns=now_ns,
            )

    def states(self, destination: str) -> dict[str, str]:
        """State by page."""
        return {
            entry.page.page_id: entry.state
            for entry in self.all.values()
            if entry.destination == destination
        }


class ScriptedDestination:
    """Answers as its script says, and writes down what it was sent and when."""

    def __init__(
        self, name: str, *, forgets: bool, heartbeat: bool = False, resend_s: float = 60.0
    ) -> None:
        self._name = name
        self._forgets = forgets
        self._heartbeat = heartbeat
        self._resend_s = resend_s
        self.answer: Callable[[Page], SendResult] = lambda page: SendResult.DELIVERED
        self.retry_after_s: float | None = None
        self.taken: list[tuple[int, str]] = []
        self.pages: list[Page] = []
        self.tried_count = 0
        self.closed = False
        self.forgot_at = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def wants_resend(self) -> bool:
        """Whether it forgets."""
        return self._forgets

    @property
    def resend_s(self) -> float:
        """How often."""
        return self._resend_s

    @property
    def heartbeat(self) -> bool:
        """Whether it gets one."""
        return self._heartbeat

    async def send(self, pages: Sequence[Page], *, now_ns: int) -> list[SendOutcome]:
        """Answer by the script."""
        outcomes = []
        for page in pages:
            self.tried_count += 1
            result = self.answer(page)
            if result is SendResult.DELIVERED:
                self.taken.append((now_ns, page.page_id))
                self.pages.append(page)
            outcomes.append(
                SendOutcome(
                    page_id=page.page_id,
                    result=result,
                    detail="" if result is SendResult.DELIVERED else "scripted",
                    retry_after_s=self.retry_after_s if result is SendResult.RETRY else None,
                )
            )
        return outcomes

    async def has_forgotten(self, page: Page) -> bool:
        """Whether it lost its memory since it took the alert."""
        labels_known = {taken for _, taken in self.taken[self.forgot_at :]}
        return not any(taken.rsplit("-", 1)[0] == page.incident_id for taken in labels_known)

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def order(self) -> list[str]:
        """Page ids in the order they were taken, repeats in a row once."""
        ids = [page_id for _, page_id in self.taken]
        return [one for at, one in enumerate(ids) if at == 0 or ids[at - 1] != one]


def firing(
    incident: str = "a1",
    sequence: int = 0,
    *,
    service: str = "pay",
    starts_ns: int = 1_789_999_000_000_000_000,
) -> Page:
    """A firing page of an incident."""
    return Page(
        page_id=f"{incident}-{sequence}",
        incident_id=incident,
        sequence=sequence,
        reason=PageReason.OPENED if sequence == 0 else PageReason.WORSENED,
        status=PageStatus.FIRING,
        labels={
            "alertname": "SentinelAnomaly",
            "service": service,
            "severity": "page",
            "sentinel_anomaly": "true",
        },
        annotations={"summary": f"{incident} {sequence}", "incident": incident},
        starts_ns=starts_ns,
    )


def resolved(
    incident: str = "a1",
    sequence: int = 1,
    *,
    service: str = "pay",
    ends_ns: int = 1_789_999_500_000_000_000,
) -> Page:
    """The resolved page of the same incident."""
    page = firing(incident, sequence, service=service)
    return replace(page, reason=PageReason.RESOLVED, status=PageStatus.RESOLVED, ends_ns=ends_ns)
