"""The disburser's loop: ask the rail, note what it said, put what follows on the ledger's queue, and look what became of that.

So the books are never ahead of what is noted. Killed on the way, or with the queue away, it says the step again until the
ledger has decided it: the step's key is derived, and the ledger takes it once. A step that the ledger rejects is told and noted:
then the bank has done one thing, and the books another. Several disbursers may run: each locks the rows it works on, and passes
over those that another has.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sentinel.reference.ledger.disburse.rail import Rail, RailAnswer, RailConfig, RailPayment
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.disbursement import (
    Disbursement,
    DisbursementState,
    ReturnCode,
    hear,
)
from sentinel.reference.ledger.domain.steps import Step
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.domain.transfer import Payee
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.disbursing import DisburseMetrics
from sentinel.reference.ledger.wire.envelope import Envelope, encode_envelope, transfer_subject
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Connection, Database

# A settled one is asked for while it may still come back; the others until their last word and its step.
_DUE: Final = """
select d.pending_id, d.tenant, d.payee_account, d.payee_name, d.amount_minor, d.currency, d.state, d.return_code, d.attempts,
       d.unbooked_reason, h.state as hold_state, h.resolved_by,
       extract(epoch from now() - d.changed_at)::float8 as unchanged_s,
       extract(epoch from now() - d.next_at)::float8 as overdue_s
from ledger.disbursements d left join ledger.holds h on h.cohort = $1 and h.pending_id = d.pending_id
where d.cohort = $1 and d.next_at <= now()
order by d.next_at limit $2 for update of d skip locked
"""
_DECIDED: Final = """
select t.transaction_id, t.state, t.reason from unnest($2::uuid[]) as k (transaction_id)
cross join lateral (
    select d.transaction_id, d.state, d.reason from ledger.transactions d
    where d.cohort = $1 and d.transaction_id = k.transaction_id limit 1
) as t
"""
_NOTE: Final = """
update ledger.disbursements set state = $3, return_code = $4, unbooked_reason = $6, attempts = attempts + 1,
       next_at = now() + make_interval(secs => $5),
       changed_at = case when state = $3 then changed_at else now() end
where cohort = $1 and pending_id = $2
"""
_OVER: Final = frozenset(
    {DisbursementState.REFUSED, DisbursementState.RETURNED, DisbursementState.RETURNED_LATE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisburserConfig:
    """How often it looks, and how long it goes on asking."""

    rail: RailConfig
    look_interval_s: float = 0.5
    at_once_count: int = 50
    ask_first_s: float = 0.5
    ask_max_s: float = 60.0
    late_return_s: float = 5 * 86_400.0

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        if self.at_once_count < 1 or not 0 < self.ask_first_s <= self.ask_max_s:
            message = (
                "at_once_count must be 1 at least, and ask_first_s above 0 and not above ask_max_s"
            )
            raise LedgerError(message)


class Disburser:
    """Hands disbursements to the rail until told to stop."""

    def __init__(
        self, config: DisburserConfig, *, queue: Queue, database: Database, telemetry: Telemetry
    ) -> None:
        self._config = config
        self._queue = queue
        self._database = database
        self._telemetry = telemetry
        self._metrics = DisburseMetrics(telemetry.meter)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is in hand is ended."""
        async with Rail(self._config.rail) as rail:
            while not stop.is_set():
                done_count, overdue_s, looked = 0, 0.0, True
                for cohort in range(COHORTS_COUNT):
                    try:
                        count, late_s = await self._work(cohort, rail)
                        done_count += count
                        overdue_s = max(overdue_s, late_s)
                    except (UnavailableError, PermanentError) as error:
                        self._telemetry.warning(
                            Event.DISBURSING_FAILED,
                            f"Disbursing failed: {error}",
                            error_code=error.code,
                        )
                        looked = False
                if looked:
                    self._metrics.looked(overdue_s)
                if done_count < self._config.at_once_count:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), timeout=self._config.look_interval_s)

    async def _work(self, cohort: int, rail: Rail) -> tuple[int, float]:
        """Look at what is due in a cohort; returns how many that were, and how late the latest of them was."""
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, cohort, self._config.at_once_count)
            known = [_known(row) for row in rows]
            due = {one.step.transaction_id for one in known if one.step is not None}
            ends = {} if not due else await _ends(connection, cohort, due)
            looks = await asyncio.gather(*(self._look(one, ends, rail) for one in known))
            for look in looks:
                await self._note(connection, cohort, look)
        for look in looks:
            self._tell(look)
        # Behind the commit: what is on the queue is noted, and what could not be put there is found again.
        await asyncio.gather(*(self._put(cohort, look.after) for look in looks if look.waits))
        return len(rows), rows[0]["overdue_s"] if rows else 0.0

    async def _look(self, known: _Known, ends: Mapping[uuid.UUID, _End], rail: Rail) -> _Look:
        """Return how a disbursement stands after the rail's word, where it is still asked for one."""
        before, unbooked = known.disbursement, known.unbooked
        if known.ended_as is not None:
            # Its money is not there any more, and the rail has not said that it took the payment.
            return _Look(known=known, after=before, unbooked=unbooked or known.ended_as)
        if known.step is not None:
            end = ends.get(known.step.transaction_id)
            if end is None:
                # One after the other: what the next word calls for is done on what this one has done.
                return _Look(known=known, after=before, unbooked=unbooked, waits=True)
            unbooked = unbooked or end.reason
        if before.state in _OVER:
            return _Look(known=known, after=before, unbooked=unbooked)
        try:
            answer = await self._say(rail, _payment(before))
        except UnavailableError as error:
            self._failed(error)
            return _Look(known=known, after=before, unbooked=unbooked)
        after, step = hear(before, answer.word, answer.return_code)
        return _Look(known=known, after=after, unbooked=unbooked, waits=step is not None)

    async def _put(self, cohort: int, disbursement: Disbursement) -> None:
        """Put the step that its state calls for on the ledger's queue, which takes it once."""
        step = disbursement.due_step
        if step is None:
            return
        envelope = Envelope(asked=step, cohort=cohort, accepted_ns=time.time_ns())
        try:
            result = await self._queue.publish(
                subject=transfer_subject(cohort=cohort, asked_id=step.transaction_id),
                payload=encode_envelope(envelope),
                message_id=f"{step.tenant}:{step.idempotency_key}",
                headers={},
            )
        except UnavailableError as error:
            self._failed(error)
        else:
            self._telemetry.transfers_accepted(int(not result.duplicate))

    async def _say(self, rail: Rail, payment: RailPayment) -> RailAnswer:
        try:
            answer = await rail.say(payment)
        except UnavailableError:
            self._metrics.asked(answered=False)
            raise
        self._metrics.asked(answered=True)
        return answer

    async def _note(self, connection: Connection, cohort: int, look: _Look) -> None:
        after = look.after
        await connection.execute(
            _NOTE,
            cohort,
            after.pending_id,
            after.state.value,
            after.return_code.value if after.return_code else None,
            self._next_s(look),
            look.unbooked,
        )

    def _tell(self, look: _Look) -> None:
        before, after = look.known.disbursement, look.after
        if after.state is not before.state:
            self._telemetry.disbursement_moved(after.state.value, after.return_code or "")
        if look.unbooked is not None and look.unbooked != look.known.unbooked:
            self._metrics.unbooked(look.unbooked)
            self._telemetry.error(
                Event.DISBURSING_UNBOOKED,
                "What the rail has said of a payment is not in the books, or a payment was not handed in",
                transaction_id=str(after.pending_id),
                state=after.state.value,
                reason=look.unbooked,
            )

    def _failed(self, error: UnavailableError) -> None:
        self._telemetry.warning(
            Event.DISBURSING_FAILED, f"Disbursing failed: {error}", error_code=error.code
        )

    def _next_s(self, look: _Look) -> float | None:
        """How long until it is looked at again; None after the rail's last word, once its step is decided."""
        known, after = look.known, look.after
        is_over = after.state in _OVER or (
            after.state is DisbursementState.SETTLED
            and known.unchanged_s > self._config.late_return_s
        )
        if known.ended_as is not None or (is_over and not look.waits):
            return None
        wait_s: float = self._config.ask_first_s * 2.0 ** min(known.attempts, 30)
        return min(wait_s, self._config.ask_max_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A row that is due.

    Attributes:
        step: what its state calls for on the ledger.
        ended_as: how what it had reserved was ended by another, before the rail took the payment.
        unbooked: what was told of it before.
    """

    disbursement: Disbursement
    step: Step | None
    ended_as: str | None
    unbooked: str | None
    attempts: int
    unchanged_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look came to; `waits` says that the ledger has not decided the step that `after` calls for."""

    known: _Known
    after: Disbursement
    unbooked: str | None
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How the ledger decided a step; `reason` is why it was rejected."""

    reason: str | None


async def _ends(
    connection: Connection, cohort: int, step_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, _End]:
    rows = await connection.fetch(_DECIDED, cohort, list(step_ids))
    return {uuid.UUID(int=row["transaction_id"].int): _End(reason=row["reason"]) for row in rows}


def _known(row: Any) -> _Known:
    disbursement = Disbursement(
        pending_id=uuid.UUID(int=row["pending_id"].int),
        tenant=row["tenant"],
        payee=Payee(account=row["payee_account"], name=row["payee_name"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        state=DisbursementState(row["state"]),
        return_code=ReturnCode(row["return_code"]) if row["return_code"] is not None else None,
    )
    by = row["resolved_by"]
    ended = (
        disbursement.state is DisbursementState.REQUESTED
        and by is not None
        and disbursement.was_ended_by_another(uuid.UUID(int=by.int))
    )
    return _Known(
        disbursement=disbursement,
        step=disbursement.due_step,
        ended_as=f"pending_{row['hold_state']}" if ended else None,
        unbooked=row["unbooked_reason"],
        attempts=row["attempts"],
        unchanged_s=row["unchanged_s"],
    )


def _payment(disbursement: Disbursement) -> RailPayment:
    return RailPayment(
        payment_id=disbursement.pending_id,
        account=disbursement.payee.account,
        name=disbursement.payee.name,
        amount_minor=disbursement.amount_minor,
        currency=disbursement.currency,
    )
