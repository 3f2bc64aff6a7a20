"""A cohort's stream against its books: which numbers left it and were taken by nobody, and whether dead letters are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sentinel.reference.ledger.reconcile import numbers, statements
from sentinel.reference.ledger.reconcile.place import EVER
from sentinel.reference.ledger.reconcile.report import FINDINGS_COUNT_MAX, Check, Result, Totals
from sentinel.reference.ledger.wire.postgres import Connection
from sentinel.reference.ledger.wire.streams import Letters, StreamState

DEAD_COUNT_MAX: Final = 10_000


@dataclass(slots=True)
class Numbers:
    """What is known of a stream's numbers.

    Attributes:
        stream_created_at: the stream that they are of.
        began: control totals whose message was stored before are another stream's.
        began_known: its number 1 was found from there on, so that no later look says otherwise.
        done: every number up to it has left the stream and was found, or is in `lost`.
        lost: numbers that left the stream and that nobody took.
        dead: numbers of messages that were given up, at most DEAD_COUNT_MAX.
    """

    stream_created_at: datetime | None = None
    began: datetime = EVER
    began_known: bool = False
    done: int = 0
    lost: list[numbers.Run] = field(default_factory=list)
    dead: tuple[int, ...] = ()


async def compare_stream(
    connection: Connection, cohort: int, before: StreamState, known: Numbers
) -> tuple[Result, Totals]:
    """Return which numbers left the stream and were taken by nobody; the stream was read before this snapshot."""
    began = known.began
    if known.stream_created_at != before.created_at or not known.began_known:
        began, known.began_known = await _began(connection, cohort, before)
    if (known.stream_created_at, known.began) != (before.created_at, began):
        known.stream_created_at, known.began = before.created_at, began
        known.done, known.lost = 0, []
        kept_since = await connection.fetchval(statements.INTAKE_SINCE)
        if began < kept_since:
            # Older than the control totals: what it gave out before the first of them, none of them names.
            row = await connection.fetchrow(statements.TAKEN, cohort, 0, began)
            known.done = (row["lowest"] or before.last + 1) - 1
    stretch = (cohort, known.done, began)
    taken = await connection.fetchrow(statements.TAKEN, *stretch)
    runs: list[numbers.Run] = []
    if taken["highest"] is not None:
        # All that was taken, but for the gaps: so few rows come over, however much was taken.
        gaps = await connection.fetch(statements.GAPS, *stretch)
        runs = _between(
            [(row["first"], row["last"]) for row in gaps],
            lowest=taken["lowest"],
            highest=taken["highest"],
        )
    untaken = numbers.untaken(after=known.done, taken=runs, last=before.last)
    lost = numbers.lost(untaken, before)
    done = before.first - 1
    all_lost = [*known.lost, *lost]
    totals = await _totals(connection, cohort, before, began, untaken=untaken, lost=all_lost)
    if done > known.done:
        known.done = done
        known.lost = [*known.lost, *(run for run in lost if run[1] <= done)]
    dead = await connection.fetch(statements.DEAD, cohort, began, DEAD_COUNT_MAX)
    known.dead = tuple(row["number"] for row in dead)
    return _lost(cohort, all_lost, examined_count=before.last), totals


def remembered_lost(cohort: int, known: Numbers, *, reason: str) -> Result:
    """Return what earlier looks have found, where the stream cannot be looked at."""
    return Result(
        check=Check.STREAM,
        drift_count=numbers.count(known.lost),
        findings=_lost(cohort, known.lost, examined_count=0).findings,
        reason=reason,
    )


def compare_letters(
    dead: Mapping[int, tuple[str, Sequence[int]]], letters: Letters, known: set[tuple[str, int]]
) -> list[Result]:
    """Return which messages were given up and are in no dead letter.

    Args:
        dead: by cohort, its stream and the numbers of messages that were given up; read before the letters, which were kept
            before their numbers were written down.
        letters: what the stream of dead letters holds, and how many have left it: whoever has dealt with a letter removes it,
            and so many may be missing.
        known: letters that were seen before, and may have been removed since.
    """
    seen = known | letters.of
    excused_count = letters.gone_count
    results = []
    for cohort, (stream, given_up) in sorted(dead.items()):
        missing = [number for number in given_up if (stream, number) not in seen]
        # Nothing is missing that may be in what is not read yet.
        lost = missing[excused_count:] if letters.whole else []
        excused_count = max(excused_count - len(missing), 0)
        results.append(
            Result(
                check=Check.STREAM,
                drift_count=len(lost),
                findings=tuple(
                    {
                        "cohort": cohort,
                        "first_sequence": number,
                        "last_sequence": number,
                        "taken_by": "dead letter, which is not kept",
                    }
                    for number in lost[:FINDINGS_COUNT_MAX]
                ),
                reason="" if letters.whole else "not all dead letters have been read yet",
            )
        )
    return results


def _lost(cohort: int, runs: Sequence[numbers.Run], *, examined_count: int) -> Result:
    return Result(
        check=Check.STREAM,
        drift_count=numbers.count(runs),
        examined_count=examined_count,
        findings=tuple(
            {"cohort": cohort, "first_sequence": first, "last_sequence": last, "taken_by": None}
            for first, last in runs[:FINDINGS_COUNT_MAX]
        ),
    )


async def _began(
    connection: Connection, cohort: int, stream: StreamState
) -> tuple[datetime, bool]:
    """Return from which `stored_at` on control totals are this stream's, and whether that is its first."""
    row = await connection.fetchrow(statements.TAKEN, cohort, 0, stream.created_at)
    lowest: int = row["lowest"] or stream.last + 1
    if lowest <= 1:
        return stream.created_at, row["lowest"] is not None
    reached = min(lowest, stream.first) - 1
    if reached < 1:
        return stream.created_at, False
    at = await connection.fetchval(statements.BEGAN, cohort, stream.created_at, lowest, reached)
    return at or stream.created_at, at is not None


async def _totals(
    connection: Connection,
    cohort: int,
    stream: StreamState,
    began: datetime,
    *,
    untaken: Sequence[numbers.Run],
    lost: Sequence[numbers.Run],
) -> Totals:
    row = await connection.fetchrow(statements.TAKEN, cohort, 0, began)
    lost_count = numbers.count(lost)
    new_lost = numbers.count(numbers.lost(untaken, stream))
    in_flight = numbers.count(untaken) - new_lost
    return Totals(
        accepted_messages=stream.last,
        decided_messages=stream.last - in_flight - lost_count - row["dead"],
        dead_messages=row["dead"],
        in_flight_messages=in_flight,
        lost_messages=lost_count,
        posted_requests=row["posted"],
        rejected_requests=row["rejected"],
        repeated_requests=row["repeated"],
    )


def _between(gaps: Sequence[numbers.Run], *, lowest: int, highest: int) -> list[numbers.Run]:
    """Return the runs that the gaps leave of `lowest` to `highest`."""
    runs, reached = [], lowest
    for first, last in gaps:
        runs.append((reached, first - 1))
        reached = last + 1
    return [*runs, (reached, highest)]
