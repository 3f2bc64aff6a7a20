"""One batch of one cohort in one database transaction.

Order inside the transaction: what was decided before, the pending transfers that are named, then
the accounts' row locks in key order (two posters can not deadlock on rows that both take in the
same order), then the decisions in memory, then one insert of transactions, one of entries, one
update an account, what was taken off the stream, and what others are to be told of. A hot account is thus written once a batch, however many transfers name it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sentinel.reference.ledger.domain import (
    Account,
    Batch,
    Book,
    Decision,
    Movement,
    Outcome,
    Request,
    Transfer,
    contradicts,
    decide,
    items_of,
    open_account,
    targets,
)
from sentinel.reference.ledger.posting import intake, outbox, rows, undecided
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import Connection


async def apply_batch(
    connection: Connection,
    cohort: int,
    envelopes: Sequence[Envelope],
    *,
    taken: Sequence[intake.Taken] = (),
    trace_parents: Sequence[str | None] = (),
) -> list[Decision]:
    """Apply what was asked, all of one cohort, and commit; returns a decision a request, in order.

    `taken` is each envelope's place on the stream, of those that came from one, and `trace_parents` its place in its trace.

    Raises whatever the connection raises; then nothing was applied, unless the answer to the
    commit itself was lost, in which case a retry finds the transactions decided.
    """
    async with connection.transaction():
        book = await _read(connection, cohort, [one.asked for one in envelopes])
        # Read once the locks are held: whoever waited for them decides later, also by the clock.
        now_ns = time.time_ns()
        decisions = decide([one.asked for one in envelopes], book, now_ns=now_ns)
        written = [
            decision
            for decision in decisions
            if decision.outcome in (Outcome.POSTED, Outcome.REJECTED)
        ]
        if written:
            batches = [one for one in envelopes if isinstance(one.asked, Batch)]
            await rows.insert_batches(connection, cohort, batches)
            await rows.insert_transactions(
                connection,
                cohort,
                written,
                accepted_ns={
                    request.transaction_id: envelope.accepted_ns
                    for envelope in envelopes
                    for request in envelope.requests
                },
                holds=book.holds,
                now_ns=now_ns,
            )
            await rows.insert_entries(connection, cohort, written)
            await _write(connection, cohort, book, written)
        await tell(
            connection,
            cohort,
            decisions,
            envelopes,
            taken=taken,
            trace_parents=trace_parents,
            now_ns=now_ns,
        )
    return decisions


def by_message(
    decisions: Sequence[Decision], envelopes: Sequence[Envelope]
) -> list[Sequence[Decision]]:
    """Return each message's decisions: one, or one an item of a batch."""
    parts, place = [], 0
    for envelope in envelopes:
        size = len(envelope.requests)
        parts.append(decisions[place : place + size])
        place += size
    return parts


async def tell(
    connection: Connection,
    cohort: int,
    decisions: Sequence[Decision],
    envelopes: Sequence[Envelope],
    *,
    taken: Sequence[intake.Taken],
    trace_parents: Sequence[str | None] = (),
    now_ns: int,
) -> None:
    """Write what was taken off the stream, and whom others are to be told of: last, for the outbox's lock is held on."""
    decided_at = rows.moment(now_ns)
    if taken:
        found = list(intake.runs(taken, by_message(decisions, envelopes)))
        await intake.insert(connection, cohort, found, decided_at=decided_at)
    told: list[outbox.Told] = []
    for trace_parent, envelope, many in zip(
        trace_parents or [None] * len(envelopes),
        envelopes,
        by_message(decisions, envelopes),
        strict=True,
    ):
        told += (
            outbox.Told(event_id=decision.request.transaction_id, trace_parent=trace_parent)
            for decision in many
            if decision.outcome in (Outcome.POSTED, Outcome.REJECTED)
        )
        if any(decision.outcome is Outcome.CONFLICT for decision in many):
            told.append(undecided.conflict(envelope.asked, trace_parent))
    if told:
        await outbox.insert(connection, cohort, told, created_at=decided_at)


async def _read(connection: Connection, cohort: int, asked: Sequence[Request | Batch]) -> Book:
    """Read and lock what the requests are decided by."""
    batch_ids = [one.batch_id for one in asked if isinstance(one, Batch)]
    book = Book()
    if batch_ids:
        book.batches = await rows.known_batches(connection, cohort, batch_ids)
    # Of a batch that is another's, nothing is posted: it needs no rows and opens no accounts.
    requests = [one for whole in asked if not contradicts(whole, book) for one in items_of(whole)]
    book.decided = await rows.decided(connection, cohort, (one.transaction_id for one in requests))
    fresh = [one for one in requests if one.transaction_id not in book.decided]
    # What a step names may be in the same batch; then there is nothing to read of it yet.
    named = targets(fresh) - {one.transaction_id for one in fresh}
    if named:
        book.holds = await rows.lock_holds(connection, cohort, named)
        book.posted = await rows.posted(connection, cohort, named)
    movements = [hold.movement for hold in book.holds.values()]
    movements += [one.movement for one in book.posted.values()]
    book.accounts = await _lock_accounts(connection, cohort, fresh, movements)
    return book


async def _lock_accounts(
    connection: Connection,
    cohort: int,
    requests: Sequence[Request],
    movements: Sequence[Movement],
) -> dict[rows.AccountKey, Account]:
    """Lock the accounts that are named, opening those that no transfer named before."""
    opening: dict[rows.AccountKey, Account] = {}
    for request in requests:
        if isinstance(request, Transfer):
            for account_id in (request.debit_account, request.credit_account):
                account = open_account(
                    tenant=request.tenant, account_id=account_id, currency=request.currency
                )
                opening.setdefault(account.key, account)
    keys = opening.keys() | {key for movement in movements for key in movement.keys}
    locked = await rows.lock_accounts(connection, cohort, sorted(keys))
    missing = [opening[key] for key in sorted(opening.keys() - locked.keys())]
    if missing:
        await rows.open_accounts(connection, cohort, missing)
        # Another poster may have opened one first: its row is the truth, so read again.
        locked.update(
            await rows.lock_accounts(connection, cohort, [account.key for account in missing])
        )
    return locked


async def _write(
    connection: Connection, cohort: int, book: Book, written: Sequence[Decision]
) -> None:
    """Write what the batch changed of accounts and pending transfers."""
    if book.changed_accounts:
        ordered = [book.accounts[key] for key in sorted(book.changed_accounts)]
        await rows.update_accounts(connection, cohort, ordered)
    begun = {decision.request.transaction_id for decision in written} & book.changed_holds
    if begun:
        await rows.insert_holds(connection, cohort, [book.holds[one] for one in sorted(begun)])
        await rows.insert_disbursements(connection, cohort, written)
    ended = book.changed_holds - begun
    if ended:
        await rows.end_holds(connection, cohort, [book.holds[one] for one in sorted(ended)])
