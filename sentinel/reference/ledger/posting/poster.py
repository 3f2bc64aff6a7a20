"""The poster's loop: fetch, apply, commit, and only then acknowledge.

A crash between commit and acknowledgement leads to redelivery, which the database's key absorbs; a
crash before the commit leaves nothing behind. So every accepted transfer is applied exactly once.

What goes wrong is sorted by kind. A database that is away, blocked or not as it should be says nothing
about the messages: the batch is kept and tried again for as long as it takes, and no number of
deliveries gives it up, or an outage with a few restarts would cost good transfers. A message that the
database refuses for good is found by halving the batch and handed back; a refusal counts against it
only when the database takes a neutral transfer at that moment, and after `refusals_max` of them it is
given up to the dead-letter stream. One that cannot be decoded goes there at once, since no retry can
help it. What cannot be given up just now is handed back and holds nobody up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from nats.aio.msg import Msg

from sentinel.reference.ledger.domain import (
    Decision,
    LedgerError,
    Outcome,
    PermanentError,
    UnavailableError,
)
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.posting import expiry, intake, outbox, undecided
from sentinel.reference.ledger.posting.apply import apply_batch, by_message
from sentinel.reference.ledger.posting.item import Item, halves, parts, requests_count, taken
from sentinel.reference.ledger.posting.neutral import try_neutral
from sentinel.reference.ledger.posting.refusals import Refusals
from sentinel.reference.ledger.posting.relay import Relay, RelayConfig
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.wire.envelope import Envelope, dead_subject, decode_envelope
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import TOOK_TOO_LONG, Database, log_position

_TOP_UP_WAIT_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PosterConfig:
    """Sizes and times of the poster's loops, of which each cohort has one."""

    cohorts: tuple[int, ...] = tuple(range(COHORTS_COUNT))
    batch_count_max: int = 200
    # Of one transaction: a few large batches must not hold their accounts' locks for all together.
    requests_count_max: int = 5000
    fetch_wait_s: float = 1.0
    # After a batch the next one gathers for so long: a commit costs the same for one transfer and for fifty. Whoever comes to an
    # idle cohort does not wait.
    gather_s: float = 0.05
    refusals_max: int = 5
    # What cannot be given up, for the dead-letter stream is full, comes again after so long.
    dead_pause_s: float = 5.0
    back_off_first_s: float = 0.2
    back_off_max_s: float = 2.0
    backlog_interval_s: float = 5.0
    expiry_interval_s: float = 1.0
    relay: RelayConfig = field(default_factory=RelayConfig)

    def __post_init__(self) -> None:
        """Refuse cohorts, sizes and times that cannot work."""
        if not self.cohorts or not set(self.cohorts) <= set(range(COHORTS_COUNT)):
            message = f"cohorts must be some of 0 to {COHORTS_COUNT - 1}"
            raise LedgerError(message)
        if min(self.batch_count_max, self.requests_count_max, self.refusals_max) < 1:
            message = "batch_count_max, requests_count_max and refusals_max must be at least 1"
            raise LedgerError(message)
        if self.gather_s < 0:
            message = "gather_s must not be below 0"
            raise LedgerError(message)
        if not 0 < self.back_off_first_s <= self.back_off_max_s:
            message = "back_off_first_s must be above 0 and not above back_off_max_s"
            raise LedgerError(message)


class Poster:
    """Applies the queue's transfers to the database until told to stop."""

    def __init__(
        self,
        config: PosterConfig,
        *,
        queue: Queue,
        database: Database,
        telemetry: Telemetry,
        before_attempt: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Make it; `before_attempt` is done before each batch is applied, and fails it by UnavailableError."""
        self._before_attempt = before_attempt
        self._config = config
        self._queue = queue
        self._database = database
        self._telemetry = telemetry
        self._backlog: tuple[int, int] | None = None
        self._refusals = Refusals()
        self._relay = Relay(
            config.relay,
            cohorts=config.cohorts,
            queue=queue,
            database=database,
            telemetry=telemetry,
        )
        telemetry.observe_consumer(lambda: self._backlog)
        telemetry.observe_pool("poster", database.occupancy)

    async def run(self, stop: asyncio.Event) -> None:
        """Post until `stop` is set; a batch in progress gets one more attempt at most."""
        watcher = asyncio.create_task(self._watch_backlog(), name="poster-backlog")
        expirer = asyncio.create_task(self._expire(), name="poster-expiry")
        relay = asyncio.create_task(self._relay.run(), name="poster-relay")
        try:
            async with asyncio.TaskGroup() as loops:
                for cohort in self._config.cohorts:
                    loops.create_task(self._run_cohort(cohort, stop), name=f"poster-c{cohort}")
        finally:
            for task in (watcher, expirer, relay):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _run_cohort(self, cohort: int, stop: asyncio.Event) -> None:
        failures_count = 0
        while not stop.is_set():
            try:
                messages = await self._queue.fetch(
                    cohort,
                    count_max=self._config.batch_count_max,
                    wait_s=self._config.fetch_wait_s,
                )
            except UnavailableError as error:
                self._telemetry.warning(
                    Event.POSTING_FETCH_FAILED, f"Fetching transfers failed: {error}"
                )
                failures_count += 1
                await self._back_off(failures_count, stop)
                continue
            failures_count = 0
            await self._post(await self._readable(cohort, messages), stop)
            if 0 < len(messages) < self._config.batch_count_max:
                await asyncio.sleep(self._config.gather_s)

    async def _readable(self, cohort: int, messages: Sequence[Msg]) -> list[Item]:
        """Decode messages; those that are beyond help go to the dead-letter stream."""
        items: list[Item] = []
        for message in messages:
            try:
                envelope = decode_envelope(message.data)
            except PermanentError as error:
                await self._give_up(cohort, message, reason=error.code)
                continue
            if envelope.cohort != cohort:
                # On another cohort's stream it would be posted beside its accounts.
                await self._give_up(cohort, message, reason="foreign_cohort")
                continue
            items.append(Item(message=message, envelope=envelope))
        return items

    async def _post(self, items: Sequence[Item], stop: asyncio.Event) -> None:
        """Apply messages, in as many transactions as it takes, again and again while the database is the problem."""
        waiting = deque(parts(items, self._config.requests_count_max))
        failures_count, is_whole = 0, True
        while waiting:
            part = waiting[0]
            try:
                # Only one that is alone can be refused: of several it is not known which.
                await (self._attempt(part) if len(part) > 1 else self._attempt_one(part[0]))
            except UnavailableError as error:
                failures_count += 1
                held = [item for one in waiting for item in one]
                if stop.is_set():
                    await self._hand_back([item.message for item in held], delay_s=0.0)
                    return
                with suppress(UnavailableError):  # a lost connection only means redelivery
                    await self._queue.keep([item.message for item in held])
                await self._back_off(failures_count, stop)
                if error.code == TOOK_TOO_LONG and len(part) > 1:
                    # The same again would take as long again.
                    is_whole = False
                    waiting.popleft()
                    waiting.extendleft(reversed(halves(part)))
                elif is_whole and len(waiting) == 1:
                    more = await self._waiting(part)
                    waiting = deque(parts([*part, *more], self._config.requests_count_max))
            except PermanentError:
                is_whole = False
                waiting.popleft()
                waiting.extendleft(reversed(halves(part)))
            else:
                waiting.popleft()
                if failures_count:
                    self._telemetry.info(
                        Event.POSTING_BATCH_RECOVERED,
                        "Posting works again",
                        failed_attempts_count=failures_count,
                        transfers_count=len(part),
                    )
                failures_count = 0

    async def _waiting(self, items: Sequence[Item]) -> list[Item]:
        """Return what came meanwhile: one retry for all is the shortest way out of an outage."""
        room_count = min(
            self._config.batch_count_max - len(items),
            self._config.requests_count_max - requests_count(items),
        )
        if room_count < 1:
            return []
        cohort = items[0].cohort
        try:
            messages = await self._queue.fetch(cohort, count_max=room_count, wait_s=_TOP_UP_WAIT_S)
        except UnavailableError:
            return []
        return await self._readable(cohort, messages)

    async def _attempt_one(self, item: Item) -> None:
        """Apply one message once; a refusal is judged here.

        Raises:
            UnavailableError: the database is away, or refuses every message alike.
        """
        try:
            await self._attempt([item])
        except PermanentError as error:
            await self._check_takes_any(item.cohort)
            if self._refusals.add(item.cohort, item.taken) < self._config.refusals_max:
                await self._hand_back([item.message], delay_s=self._config.back_off_max_s)
                return
            await self._give_up(
                item.cohort, item.message, reason=error.code, envelope=item.envelope
            )

    async def _check_takes_any(self, cohort: int) -> None:
        try:
            async with self._database.acquire() as connection:
                await try_neutral(connection, cohort)
        except PermanentError as error:
            message = f"the database takes no transfer at all: {error}"
            raise UnavailableError(message, code=error.code) from error

    async def _attempt(self, items: Sequence[Item]) -> None:
        """Apply a batch once, inside its span, and acknowledge it."""
        envelopes = [item.envelope for item in items]
        described = [
            (item.message.headers or {}, item.message.metadata.num_delivered) for item in items
        ]
        cohort = items[0].cohort
        with self._telemetry.process(described, cohort=cohort) as batch:
            try:
                with batch.commit(self._database.namespace):
                    if self._before_attempt is not None:
                        await self._before_attempt()
                    async with self._database.acquire() as connection:
                        decisions = await apply_batch(
                            connection,
                            cohort,
                            envelopes,
                            taken=[item.taken for item in items],
                            trace_parents=batch.trace_parents,
                        )
                        batch.lsn = await log_position(connection)
            except (UnavailableError, PermanentError) as error:
                self._telemetry.error(
                    Event.POSTING_BATCH_FAILED,
                    f"Posting a batch failed: {error}",
                    span=batch.span,
                    transfers_count=len(items),
                    error_code=error.code,
                )
                raise
            committed_ns = time.time_ns()
            for item in items:
                self._refusals.forget(cohort, item.taken)
            decided_by_message = by_message(decisions, envelopes)
            batch.outcomes = [_outcome(decided) for decided in decided_by_message]
            self._count(decided_by_message, envelopes, committed_ns)
            self._relay.call()
            try:
                await self._queue.acknowledge([item.message for item in items])
            except UnavailableError as error:
                # Committed all the same; what is delivered again will be found decided.
                self._telemetry.warning(Event.NATS_ERROR, f"Acknowledging a batch failed: {error}")

    def _count(
        self,
        decided_by_message: Sequence[Sequence[Decision]],
        envelopes: Sequence[Envelope],
        committed_ns: int,
    ) -> None:
        pairs = zip(decided_by_message, envelopes, strict=True)
        for decision, envelope in ((one, envelope) for many, envelope in pairs for one in many):
            match decision.outcome:
                case Outcome.POSTED:
                    self._telemetry.transfer_posted((committed_ns - envelope.accepted_ns) / 1e9)
                case Outcome.REJECTED:
                    self._telemetry.transfer_rejected(decision.reason or "")
                case Outcome.REPLAYED | Outcome.CONFLICT:
                    self._telemetry.transfer_repeated(decision.outcome)
            if decision.outcome is Outcome.CONFLICT:
                self._telemetry.warning(
                    Event.POSTING_CONFLICT,
                    "An idempotency key was used again for another transfer, which is not posted",
                    transaction_id=str(decision.request.transaction_id),
                )

    async def _give_up(
        self, cohort: int, message: Msg, *, reason: str, envelope: Envelope | None = None
    ) -> None:
        """Keep a message aside and take it off the queue; when that cannot be done now, it comes again later."""
        # The subject's last token is the transaction's id, also where the payload is unreadable.
        transaction_id = message.subject.rpartition(".")[2]
        try:
            # Before it leaves the queue: a number that left it and stands nowhere is a transfer lost. And first what can be undone.
            async with self._database.acquire() as connection, connection.transaction():
                await intake.insert_dead(connection, cohort, taken(message))
                await self._queue.keep_dead(
                    message, subject=dead_subject(transaction_id), reason=reason
                )
                if envelope is not None:  # else nobody knows whom to tell
                    told = undecided.failed(
                        envelope.asked, (message.headers or {}).get("traceparent")
                    )
                    # Last: nobody else of the cohort commits meanwhile.
                    await outbox.insert(connection, cohort, [told], created_at=datetime.now(UTC))
            self._relay.call()
            await self._queue.end(message)
        except (UnavailableError, PermanentError) as error:
            self._telemetry.dead_refused()
            self._telemetry.error(
                Event.POSTING_DEAD_REFUSED,
                f"A message could not be given up, and is tried again: {error}",
                transaction_id=transaction_id,
                reason=reason,
            )
            await self._hand_back([message], delay_s=self._config.dead_pause_s)
            return
        self._refusals.forget(cohort, taken(message))
        self._telemetry.dead_lettered(reason)
        self._telemetry.error(
            Event.POSTING_DEAD_LETTERED,
            "A message was given up and kept on the dead-letter stream",
            transaction_id=transaction_id,
            reason=reason,
            deliveries_count=message.metadata.num_delivered,
        )

    async def _hand_back(self, messages: Sequence[Msg], *, delay_s: float) -> None:
        with suppress(UnavailableError):  # the server delivers them again anyway, later
            await self._queue.hand_back(list(messages), delay_s=delay_s)

    async def _back_off(self, failures_count: int, stop: asyncio.Event) -> None:
        wait_s = min(
            self._config.back_off_first_s * 2 ** min(failures_count - 1, 10),
            self._config.back_off_max_s,
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=wait_s)

    async def _watch_backlog(self) -> None:
        while True:
            try:
                self._backlog = await self._queue.backlog()
            except UnavailableError:
                self._backlog = None  # not known is not zero
            await asyncio.sleep(self._config.backlog_interval_s)

    async def _expire(self) -> None:
        while True:
            for cohort in self._config.cohorts:
                # Whatever is away now is found again: what has expired stays so.
                with suppress(UnavailableError, PermanentError):
                    steps = await expiry.expired(self._database, cohort)
                    taken_count = await expiry.publish(self._queue, cohort, steps)
                    self._telemetry.transfers_accepted(taken_count)
            await asyncio.sleep(self._config.expiry_interval_s)


def _outcome(decided: Sequence[Decision]) -> str:
    """Return what became of all of a message's requests, or that they differ."""
    outcomes = {decision.outcome for decision in decided}
    return outcomes.pop().value if len(outcomes) == 1 else "mixed"
