"""Control totals of what a database transaction took off the stream, written in that very transaction.

For each run of the stream's sequence numbers: what was posted, rejected, and had been decided before. A number that left the
stream and stands in no run was lost; a total that differs from its transactions says that those were changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sentinel.reference.ledger.domain import Decision, Outcome
from sentinel.reference.ledger.wire.postgres import Connection

_INSERT: Final = """
insert into ledger.intake
    (cohort, decided_at, first_sequence, last_sequence, stored_at, posted_count, rejected_count, repeated_count, amount_minor)
select $1, $2, * from unnest(
    $3::bigint[], $4::bigint[], $5::timestamptz[], $6::int[], $7::int[], $8::int[], $9::numeric[])
"""

_INSERT_DEAD: Final = """
insert into ledger.intake
    (cohort, decided_at, first_sequence, last_sequence, stored_at, posted_count, rejected_count, repeated_count, amount_minor, dead_count)
values ($1, clock_timestamp(), $2, $2, $3, 0, 0, 0, 0, 1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message's place on its cohort's stream, and when the stream stored it."""

    sequence: int
    stored_at: datetime


@dataclass(slots=True, kw_only=True)
class Run:
    """Messages with sequence numbers that follow one another, and what became of them."""

    first: int
    last: int
    stored_at: datetime
    posted_count: int = 0
    rejected_count: int = 0
    repeated_count: int = 0
    amount_minor: int = 0

    def add(self, decisions: Sequence[Decision]) -> None:
        """Add what became of one message."""
        for decision in decisions:
            match decision.outcome:
                case Outcome.POSTED:
                    self.posted_count += 1
                case Outcome.REJECTED:
                    self.rejected_count += 1
                case _:
                    self.repeated_count += 1
                    continue
            if decision.movement is not None:
                self.amount_minor += decision.movement.amount_minor


def runs(taken: Sequence[Taken], by_message: Sequence[Sequence[Decision]]) -> Iterator[Run]:
    """Yield the runs of the messages' sequence numbers, in their order; a number that comes twice counts once.

    Args:
        taken: each message's place.
        by_message: each message's decisions, in the same order.
    """
    run: Run | None = None
    for place, decisions in sorted(
        zip(taken, by_message, strict=True), key=lambda pair: pair[0].sequence
    ):
        if run is not None and place.sequence <= run.last + 1:
            run.last = place.sequence
        else:
            if run is not None:
                yield run
            run = Run(first=place.sequence, last=place.sequence, stored_at=place.stored_at)
        run.add(decisions)
    if run is not None:
        yield run


async def insert(
    connection: Connection, cohort: int, found: Sequence[Run], *, decided_at: datetime
) -> None:
    """Write the runs of a database transaction."""
    await connection.execute(
        _INSERT,
        cohort,
        decided_at,
        [run.first for run in found],
        [run.last for run in found],
        [run.stored_at for run in found],
        [run.posted_count for run in found],
        [run.rejected_count for run in found],
        [run.repeated_count for run in found],
        [run.amount_minor for run in found],
    )


async def insert_dead(connection: Connection, cohort: int, taken: Taken) -> None:
    """Write that a message was given up and is kept on the dead-letter stream."""
    await connection.execute(_INSERT_DEAD, cohort, taken.sequence, taken.stored_at)
