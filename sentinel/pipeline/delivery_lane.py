"""One destination's own task: read its entries, send what is due, store the answers, count.

A destination that is dead, slow or refuses touches nobody else: it has its own task, its own entries, its own
back-off. While the store does not take answers or new pages, `unrecorded` holds them and pages go out all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from sentinel.core.incidents import with_earlier
from sentinel.core.model import Page, PageReason, PageStatus
from sentinel.errors import StoreError
from sentinel.pipeline.delivery_plan import (
    DeliveryRules,
    Plan,
    after_send,
    briefly_seen,
    brought_forward,
    overtaken,
    plan,
)
from sentinel.pipeline.outbox_states import ALONG, DONE, PARKED, PENDING
from sentinel.pipeline.unrecorded import Unrecorded
from sentinel.ports import Outbox, OutboxEntry, Sender, SendOutcome, SendResult
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.log_bound import ALWAYS_WRITTEN
from sentinel.runtime.tracing import OwnSpan

_SECOND_NS = 1_000_000_000
_POLL_S = 0.25
_REREAD_NS = 10 * _SECOND_NS
_ENTRIES_MAX = 10_000
_SEND_MAX = 256
_HEARTBEAT = "heartbeat"

Result = TypeVar("Result")


class RunBlocking(Protocol):
    """Runs a blocking call of the store where the store wants it run."""

    def __call__(self, call: Callable[[], Result], /) -> Awaitable[Result]:
        """The call's result."""
        ...


class Destination(Sender, Protocol):
    """A sender, and what delivery must know of it."""

    @property
    def resend_s(self) -> float:
        """How often a firing page is sent again, where `wants_resend`."""
        ...

    @property
    def heartbeat(self) -> bool:
        """Whether it gets the heartbeat."""
        ...

    async def has_forgotten(self, page: Page) -> bool:
        """Whether it says for certain that it does not know the page's alert; False when it cannot be asked."""
        ...

    async def close(self) -> None:
        """Release connections; idempotent."""
        ...


class Lane:
    """One destination's task; a dead one never slows another."""

    def __init__(
        self,
        sender: Destination,
        outbox: Outbox,
        rules: DeliveryRules,
        *,
        instance: str,
        surroundings: Surroundings,
        run_blocking: RunBlocking,
    ) -> None:
        self._sender = sender
        self._outbox = outbox
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._tracer = surroundings.tracer
        # Of all destinations together, and of this one.
        self._flows = (
            Flow("pipeline.deliver", surroundings.metrics),
            Flow(f"senders.{sender.name}", surroundings.metrics),
        )
        self._logger = surroundings.logger
        self._run_blocking = run_blocking
        self._rules = rules
        self._instance = instance
        self._began_ns = surroundings.clock.now_ns()
        self._awake = True
        self._next_due_ns: int | None = None
        self._read_ns = 0
        self._heartbeat_due_ns: int | None = 0 if sender.heartbeat else None
        self._failure = ""
        self._unrecorded = Unrecorded(sender.name)
        self._unreadable = ""
        self._unwritable = ""
        self._parked: list[OutboxEntry] = []
        self._pending_count = 0

    @property
    def name(self) -> str:
        """The destination's."""
        return self._sender.name

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt did not reach the destination, or what waits cannot be known."""
        return bool(self._failure or self._unreadable)

    @property
    def trouble(self) -> str:
        """A sentence on what is wrong, or ""."""
        sentences = []
        if self._unreadable or self._unwritable:
            reason = self._unreadable or self._unwritable
            sentences.append(
                f"{self.name}: the outbox cannot be used ({reason}); pages go out from memory"
            )
        if self._failure:
            count = self._pending_count
            waiting = "1 page waits" if count == 1 else f"{count} pages wait"
            sentences.append(f"{self.name} does not take pages ({self._failure}); {waiting}")
        elif self._parked:
            count = len(self._parked)
            refused = "1 page" if count == 1 else f"{count} pages"
            sentences.append(f"{self.name} refused {refused} for good")
        return "; ".join(sentences)

    def hold(self, pages: Sequence[Page]) -> None:
        """Deliver pages that the store did not take; the same ones again change nothing."""
        dropped_count = self._unrecorded.hold(pages, now_ns=self._clock.now_ns())
        if dropped_count:
            self._metrics.count(
                "sentinel_outbox_dropped_total",
                dropped_count,
                destination=self.name,
                reason="memory",
            )
            self._flows[0].dropped(FlowReason.LIMIT, dropped_count)
        self._awake = True

    def all_stored(self) -> None:
        """The store has all pages now; look into the outbox soon."""
        self._unrecorded.all_stored()
        self._awake = True

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            if self._is_time():
                await self._round()
            await self._clock.sleep(_POLL_S)

    async def flush(self, *, within_s: float) -> None:
        """One more round, for what is due."""
        async with asyncio.timeout(within_s):
            await self._round(with_heartbeat=False)

    def _is_time(self) -> bool:
        now_ns = self._clock.now_ns()
        waits = (self._next_due_ns, self._heartbeat_due_ns)
        # A clock that was set back must not make anything wait for longer than the reread.
        due = any(at_ns is not None and at_ns <= now_ns for at_ns in waits)
        return self._awake or due or not 0 <= now_ns - self._read_ns < _REREAD_NS

    async def _round(self, *, with_heartbeat: bool = True) -> None:
        self._awake = False
        now_ns = self._clock.now_ns()
        self._read_ns = now_ns
        entries = self._unrecorded.over(await self._read())
        todo = plan(entries, self._rules, now_ns=now_ns, send_max=_SEND_MAX)
        heartbeat = self._heartbeat_pages(now_ns) if with_heartbeat else []
        again, too_early = await self._forgotten(entries, todo.send, now_ns=now_ns)
        send = [entry for entry in todo.send if entry.entry_id not in too_early]
        answered, sent = await self._send(send, todo, heartbeat, now_ns=now_ns)
        changed = self._changes(entries, sent, todo, answered=answered, now_ns=now_ns)
        changed.update({entry.entry_id: entry for entry in again})
        # What was sent changes what is due: the next page of an incident, or the resolved one.
        self._awake = self._awake or bool(changed)
        changed.update({entry.entry_id: entry for entry in todo.changed})
        self._tell_unsent(entries, changed)
        self._unrecorded.change(changed.values())
        is_recorded = await self._record()
        self._next_due_ns = todo.next_due_ns
        if self._unreadable or not is_recorded:
            self._next_due_ns = min(now_ns + _SECOND_NS, todo.next_due_ns or now_ns + _SECOND_NS)
        self._account({entry.entry_id: entry for entry in entries} | changed)

    async def _read(self) -> list[OutboxEntry] | None:
        """What the store says, or None."""
        was_usable = not self._unreadable
        try:
            entries = await self._run_blocking(
                lambda: self._outbox.entries(destination=self.name, limit=_ENTRIES_MAX)
            )
        except StoreError as error:
            self._unreadable = str(error)
            self._tell_unusable(error, was_usable=was_usable)
            return None
        self._unreadable = ""
        return entries

    async def _record(self) -> bool:
        """Store what became of entries; False when that must be tried again."""
        changed = self._unrecorded.to_record()
        if not changed:
            return True
        was_usable = not self._unwritable
        try:
            await self._run_blocking(lambda: self._outbox.update(changed))
        except StoreError as error:
            self._unwritable = str(error)
            self._tell_unusable(error, was_usable=was_usable)
            return False
        self._unrecorded.recorded()
        if not was_usable:
            self._logger.info("Outbox can be used again", extra={"destination": self.name})
        self._unwritable = ""
        return True

    def _tell_unusable(self, error: StoreError, *, was_usable: bool) -> None:
        if was_usable:  # once, not with every attempt
            self._logger.warning(
                "Outbox cannot be used; pages go out from memory",
                extra={"destination": self.name, "reason": str(error)},
            )

    def _tell_unsent(
        self, before: Sequence[OutboxEntry], after: Mapping[int, OutboxEntry]
    ) -> None:
        """Say which pages will not go out: something newer says it all, or they have nothing to take back."""
        for entry in before:
            changed = after.get(entry.entry_id)
            if changed is None or changed.state == entry.state:
                continue
            if changed.state == ALONG:
                self._metrics.count("sentinel_incidents_told_along_total", destination=self.name)
                self._logger.warning(
                    "Incident was over before it could be told; it is told on the page of a later one",
                    extra=_fields_of(entry, self.name),
                )
            elif changed.state == DONE and changed.delivered_ns is None:
                self._logger.info(
                    "Page is not sent: a newer one tells it, or its beginning was not told here",
                    extra=_fields_of(entry, self.name),
                )

    async def _forgotten(
        self, entries: Sequence[OutboxEntry], send: Sequence[OutboxEntry], *, now_ns: int
    ) -> tuple[list[OutboxEntry], set[int]]:
        """Firing entries to be told again, and the resolved ones that must not go out before them."""
        again: list[OutboxEntry] = []
        too_early: set[int] = set()
        for ended, firing in briefly_seen(entries, send, self._rules, now_ns=now_ns):
            if await self._sender.has_forgotten(firing.page):
                again.append(replace(firing, state=PENDING, delivered_ns=None, due_ns=now_ns))
                too_early.add(ended.entry_id)
        return again, too_early

    def _changes(
        self,
        entries: Sequence[OutboxEntry],
        sent: Sequence[OutboxEntry],
        todo: Plan,
        *,
        answered: bool,
        now_ns: int,
    ) -> dict[int, OutboxEntry]:
        """Every entry that this round changed; what is done stays done."""
        changed = {entry.entry_id: entry for entry in sent}
        if answered:
            for entry in brought_forward(entries, sent, now_ns=now_ns):
                changed[entry.entry_id] = entry
        for entry in overtaken(entries, sent, todo.along, self._rules, now_ns=now_ns):
            changed[entry.entry_id] = entry
        return changed

    async def _send(
        self,
        entries: Sequence[OutboxEntry],
        todo: Plan,
        heartbeat: Sequence[Page],
        *,
        now_ns: int,
    ) -> tuple[bool, list[OutboxEntry]]:
        """Try once; whether the destination answered, and the entries after it."""
        pages = list(heartbeat)
        for entry in entries:
            earlier = [before.page for before in todo.along.get(entry.entry_id, ())]
            pages.append(with_earlier(entry.page, earlier))
        if not pages:
            return False, []
        self._flows[1].received(len(pages), signal="pages")
        with self._tracer.span(
            OwnSpan.DELIVER, destination=self.name, page_count=len(pages)
        ) as span:
            outcomes = await self._sender.send(pages, now_ns=now_ns)
            self._note(outcomes)
            if self._failure:
                span.failed(FlowReason.UNREACHABLE)
        for outcome in outcomes[: len(heartbeat)]:
            if outcome.result is SendResult.DELIVERED:
                self._metrics.set(
                    "sentinel_heartbeat_timestamp_seconds",
                    now_ns / _SECOND_NS,
                    destination=self.name,
                )
        now_ns = self._clock.now_ns()
        after: list[OutboxEntry] = []
        for entry, outcome in zip(entries, outcomes[len(heartbeat) :], strict=True):
            changed = after_send(entry, outcome, self._rules, now_ns=now_ns)
            if changed.state == PARKED:
                self._metrics.count("sentinel_pages_parked_total", destination=self.name)
                for flow in self._flows:
                    flow.dropped(FlowReason.REFUSED)
                self._logger.error(
                    "Page was refused for good",
                    extra={
                        **_fields_of(entry, self.name),
                        "reason": outcome.detail,
                        **ALWAYS_WRITTEN,
                    },
                )
            elif entry.delivered_ns is None and changed.delivered_ns is not None:
                self._metrics.count("sentinel_pages_delivered_total", destination=self.name)
                self._flows[0].sent(1, signal="pages")
                if Unrecorded.has(entry):
                    self._metrics.count("sentinel_pages_unrecorded_total", destination=self.name)
                self._logger.info("Page was delivered", extra=_fields_of(entry, self.name))
            after.append(changed)
        return not self._failure, after

    def _note(self, outcomes: Sequence[SendOutcome]) -> None:
        for outcome in outcomes:
            self._metrics.count(
                "sentinel_sends_total", destination=self.name, result=outcome.result.value
            )
            if outcome.result is SendResult.DELIVERED:
                self._flows[1].sent(1, signal="pages")
                continue
            reason = (
                FlowReason.UNREACHABLE
                if outcome.result is SendResult.RETRY
                else FlowReason.REFUSED
            )
            for flow in self._flows:
                flow.error(FlowStage.SEND, reason)
        failed = [outcome for outcome in outcomes if outcome.result is SendResult.RETRY]
        if len(failed) == len(outcomes):
            if not self._failure:
                self._logger.warning(
                    "Destination does not take pages; they wait in the outbox",
                    extra={"destination": self.name, "reason": failed[0].detail},
                )
            self._failure = failed[0].detail or "no reason given"
        else:
            if self._failure:
                self._logger.info(
                    "Destination takes pages again", extra={"destination": self.name}
                )
            self._failure = ""

    def _heartbeat_pages(self, now_ns: int) -> list[Page]:
        due_ns = self._heartbeat_due_ns
        every_ns = self._rules.resend_ns
        if due_ns is None or now_ns < due_ns <= now_ns + every_ns:
            return []
        self._heartbeat_due_ns = now_ns + every_ns
        labels = {"alertname": "SentinelHeartbeat", "service": "sentinel", "severity": "none"}
        if self._instance:
            labels["instance"] = self._instance
        return [
            Page(
                page_id=_HEARTBEAT,
                incident_id=_HEARTBEAT,
                sequence=0,
                reason=PageReason.REMINDER,
                status=PageStatus.FIRING,
                labels=labels,
                annotations={
                    "summary": "Sentinel is alive; page when this alert stops, for then nobody watches"
                },
                starts_ns=min(self._began_ns, now_ns),
            )
        ]

    def _account(self, entries: dict[int, OutboxEntry]) -> None:
        now_ns = self._clock.now_ns()
        pending = [entry for entry in entries.values() if entry.state == PENDING]
        self._parked = [entry for entry in entries.values() if entry.state == PARKED]
        self._pending_count = len(pending)
        stored_ns = (entry.stored_ns or self._began_ns for entry in pending)
        oldest_ns = min(stored_ns, default=now_ns)
        self._metrics.set("sentinel_outbox_entries", len(pending), destination=self.name)
        self._metrics.set(
            "sentinel_outbox_oldest_seconds",
            max(0, now_ns - oldest_ns) / _SECOND_NS,
            destination=self.name,
        )


def _fields_of(entry: OutboxEntry, destination: str) -> dict[str, object]:
    """What a log line about an entry says of it."""
    return {
        "destination": destination,
        "page": entry.page.page_id,
        "incident": entry.page.incident_id,
        "status": entry.page.status.value,
        "why": entry.page.reason.value,
        "attempt": entry.attempts + 1,
    }
