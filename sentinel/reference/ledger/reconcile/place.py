"""How far a cohort was looked at, in an order that no clock moves, and what came after it.

`posted_at` is the clock of whoever posted, and two posters have two clocks. The stream's numbers are nobody's clock:

    what is committed after a snapshot was on the stream before it, or came later;
    so its control total has a number that is not below the lowest that the stream then held.

The moments of those control totals say from where on transactions are looked at, whatever the clocks were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sentinel.reference.ledger.wire.postgres import Connection
from sentinel.reference.ledger.wire.streams import StreamState

# Both ends of all time: what lies outside is nobody's transaction.
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
# What was just compared is compared once more, by the database's clock: who alters what was posted a moment ago is seen.
OVERLAP: Final = timedelta(seconds=30)

_SINCE: Final = """
select least($4::timestamptz, min(decided_at)) from ledger.intake where cohort = $1 and last_sequence >= $2 and stored_at >= $3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Everything that was committed before it has been compared.

    Attributes:
        stream_created_at: the stream that `number` is of.
        number: the lowest that the stream still held, read before the snapshot.
        at: the database's clock at the snapshot.
    """

    stream_created_at: datetime
    number: int
    at: datetime


def place_of(stream: StreamState, *, at: datetime) -> Place:
    """Return the place of a snapshot that was taken after the stream was read."""
    return Place(stream_created_at=stream.created_at, number=stream.first, at=at)


async def since(
    connection: Connection,
    cohort: int,
    place: Place,
    *,
    stream_created_at: datetime | None,
    began: datetime,
) -> datetime:
    """Return the moment from which on transactions are to be looked at, those that came after `place` all among them.

    Args:
        connection: in a transaction that sees one moment.
        cohort: whose.
        place: up to where all was compared.
        stream_created_at: the stream of now; one that was made anew gives its numbers anew. None when it is not known.
        began: control totals with an earlier `stored_at` are another stream's.
    """
    made_anew = stream_created_at is not None and stream_created_at != place.stream_created_at
    found: datetime = await connection.fetchval(
        _SINCE, cohort, 0 if made_anew else place.number, began, place.at - OVERLAP
    )
    return found
