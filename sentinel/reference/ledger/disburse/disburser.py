"""The disburser's loop: ask the rail, put what follows on the ledger's queue, and only then note it.

Killed between the two, it says the same again: the step's key is derived, and the ledger takes it once. Several
may run: each locks the rows it works on, and passes over those that another has.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sentinel.reference.ledger.disburse.rail import Rail, RailAnswer, RailPayment
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.disbursement import (
    Disbursement,
    DisbursementState,
    hear,
)
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.domain.transfer import Payee
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.disbursing import DisburseMetrics
from sentinel.reference.ledger.wire.envelope import Envelope, encode_envelope, transfer_subject
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Connection, Database

# A settled one is asked for while it may still come back; the others until their last word.
_DUE: Final = """
select pending_id, tenant, payee_account, payee_name, amount_minor, currency, state, attempts,
       extract(epoch from now() - changed_at)::float8 as unchanged_s,
       extract(epoch from now() - next_at)::float8 as overdue_s
from ledger.disbursements where cohort = $1 and next_at <= now()
order by next_at limit $2 for update skip locked
"""
_NOTE: Final = """
update ledger.disbursements set state = $3, return_code = $4, attempts = attempts + 1,
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

    rail_url: str
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
        async with Rail(self._config.rail_url) as rail:
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
        """Ask the rail for what is due in a cohort; returns how many were asked for, and how late the latest of them was."""
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, cohort, self._config.at_once_count)
            answers = await asyncio.gather(*(self._ask(cohort, row, rail) for row in rows))
            for row, after in zip(rows, answers, strict=True):
                await self._note(connection, cohort, row, after)
            return len(rows), rows[0]["overdue_s"] if rows else 0.0

    async def _ask(self, cohort: int, row: Any, rail: Rail) -> Disbursement:
        """Return the disbursement after the rail's word, once what follows from it is on the queue."""
        before = _disbursement(row)
        payment = RailPayment(
            payment_id=before.pending_id,
            account=before.payee.account,
            name=before.payee.name,
            amount_minor=before.amount_minor,
            currency=before.currency,
        )
        try:
            answer = await self._say(rail, payment)
            after, step = hear(before, answer.word, answer.return_code)
            if step is not None:
                envelope = Envelope(asked=step, cohort=cohort, accepted_ns=time.time_ns())
                result = await self._queue.publish(
                    subject=transfer_subject(cohort=cohort, asked_id=step.transaction_id),
                    payload=encode_envelope(envelope),
                    message_id=f"{step.tenant}:{step.idempotency_key}",
                    headers={},
                )
                self._telemetry.transfers_accepted(int(not result.duplicate))
        except UnavailableError as error:
            self._telemetry.warning(
                Event.DISBURSING_FAILED, f"Disbursing failed: {error}", error_code=error.code
            )
            return before
        if after.state is not before.state:
            self._telemetry.disbursement_moved(after.state.value, after.return_code or "")
        return after

    async def _say(self, rail: Rail, payment: RailPayment) -> RailAnswer:
        try:
            answer = await rail.say(payment)
        except UnavailableError:
            self._metrics.asked(answered=False)
            raise
        self._metrics.asked(answered=True)
        return answer

    async def _note(
        self, connection: Connection, cohort: int, row: Any, after: Disbursement
    ) -> None:
        await connection.execute(
            _NOTE,
            cohort,
            row["pending_id"],
            after.state.value,
            after.return_code.value if after.return_code else None,
            self._next_s(after, row["attempts"], row["unchanged_s"]),
        )

    def _next_s(self, after: Disbursement, attempts: int, unchanged_s: float) -> float | None:
        """How long until the rail is asked again; None after its last word."""
        is_final = (
            after.state is DisbursementState.SETTLED and unchanged_s > self._config.late_return_s
        )
        if after.state in _OVER or is_final:
            return None
        wait_s: float = self._config.ask_first_s * 2.0 ** min(attempts, 30)
        return min(wait_s, self._config.ask_max_s)


def _disbursement(row: Any) -> Disbursement:
    return Disbursement(
        pending_id=uuid.UUID(int=row["pending_id"].int),
        tenant=row["tenant"],
        payee=Payee(account=row["payee_account"], name=row["payee_name"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        state=DisbursementState(row["state"]),
    )
