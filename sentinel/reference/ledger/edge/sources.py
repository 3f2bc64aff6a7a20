"""Where a question is answered: by the replica when it is good enough, else by the primary.

Every answer has a position; a client that hands it back with its next question is never shown an older
state than it has seen, whichever server answers. The replica may be away, late or slow at any moment:
that costs the primary a question and the client a fraction of a second, never an error. Only where more is asked than the edge has
connections for, to both, is a question ended after one wait and not after two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.domain.position import HEADER, Position, parse_position
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.lookup import PRIMARY_LSN, REPLICA_LSN, Lookup
from sentinel.reference.ledger.edge.watch import ReplicaWatch
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.postgres import POOL_EXHAUSTED, Connection, Database

_T = TypeVar("_T")
# Asked in one statement with the position, whose snapshot then holds for the whole transaction: what is
# read is no newer than the position says.
_ASKING: Final = """
select set_config('ledger.cohort', $1, true), set_config('ledger.tenant', $2, true),
"""
_ASKING_REPLICA: Final = f"{_ASKING} {REPLICA_LSN} as lsn"
_ASKING_PRIMARY: Final = f"{_ASKING} {PRIMARY_LSN} as lsn"
# The server has gone, is going, or does not answer at all: nobody else need find that out.
_LOST: Final = frozenset({"timeout", "disconnected", "57P01", "57P02", "57P03"})


@dataclass(slots=True)
class Reading:
    """One request's reading: what it must not be older than, and what it was answered from.

    Attributes:
        at_least: the position that the client has seen.
        seen: the newest position that an answer came from.
    """

    at_least: Position | None = None
    seen: Position | None = None

    @classmethod
    def of(cls, token: str | None) -> Reading:
        """Begin with what a client handed back.

        Raises:
            InvalidTransferError: it is no position that an answer carried.
        """
        return cls(at_least=parse_position(token) if token else None)

    def note(self, position: Position) -> None:
        """Note that something was answered from this position."""
        if self.seen is None or position > self.seen:
            self.seen = position

    def headers(self, otherwise: Position | None = None) -> dict[str, str]:
        """Return the header for the client: where it was answered from, or the newest known else."""
        known = [one for one in (self.at_least, otherwise) if one is not None]
        position = self.seen or max(known, default=None)
        return {HEADER: position.token} if position is not None and position.timeline else {}


class Source:
    """A pool of the primary and one of the replica, for one kind of question."""

    def __init__(
        self,
        *,
        primary: Database,
        replica: Database | None,
        watch: ReplicaWatch,
        telemetry: Telemetry,
        collection: str,
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._watch = watch
        self._telemetry = telemetry
        telemetry.observe_pool(f"edge-{collection}", primary.occupancy)
        if replica is not None:
            telemetry.observe_pool(f"edge-{collection}-replica", replica.occupancy)

    async def ask(
        self,
        collection: str,
        tenant: Tenant,
        reading: Reading,
        question: Lookup[_T] | Callable[[Connection], Awaitable[_T | None]],
        *,
        is_last: bool,
    ) -> _T | None:
        """Return the question's answer, from the replica when it can be had there.

        What the replica does not know yet the primary may: when nobody else will be asked (`is_last`),
        it is.

        Raises:
            UnavailableError: the primary was needed and did not answer in time, or every connection to both is lent.
        """
        reason = await self._watch.why_not(reading.at_least)
        if not reason and self._replica is not None:
            try:
                found = await self._answer(
                    "replica", self._replica, collection, tenant, reading, question
                )
                if found is not None or not is_last:
                    return found
                reason = "missing"
            except (UnavailableError, PermanentError) as error:
                if error.code == POOL_EXHAUSTED and not self._primary.has_room:
                    # More is asked than the edge can ask: each waiting a second time, elsewhere, is less for everybody.
                    raise
                reason = "refused"
                if error.code in _LOST or error.code.startswith("08"):
                    reason = "away"
                    self._watch.lost(error)
        return await self.ask_primary(collection, tenant, reading, question, reason=reason)

    async def ask_primary(
        self,
        collection: str,
        tenant: Tenant,
        reading: Reading,
        question: Lookup[_T] | Callable[[Connection], Awaitable[_T | None]],
        *,
        reason: str,
    ) -> _T | None:
        """Return the question's answer from the primary, which knows all there is.

        Raises:
            UnavailableError: it did not answer in time.
        """
        return await self._answer(
            "primary", self._primary, collection, tenant, reading, question, reason=reason
        )

    async def _answer(
        self,
        name: str,
        database: Database,
        collection: str,
        tenant: Tenant,
        reading: Reading,
        question: Lookup[_T] | Callable[[Connection], Awaitable[_T | None]],
        *,
        reason: str = "ok",
    ) -> _T | None:
        is_replica = name == "replica"
        asking = _ASKING_REPLICA if is_replica else _ASKING_PRIMARY
        with self._telemetry.query("SELECT", collection, database.namespace, source=name):
            # Who asks is said for the transaction alone: on a pooled connection anything else would be
            # there for the next.
            async with database.acquire() as connection:
                if isinstance(question, Lookup):
                    lsn, answer = await question.ask(connection, tenant, is_replica=is_replica)
                else:
                    async with connection.transaction(readonly=True, isolation="repeatable_read"):
                        said = await connection.fetchrow(asking, str(tenant.cohort), tenant.name)
                        lsn, answer = said["lsn"], await question(connection)
        reading.note(self._watch.replayed(lsn) if is_replica else self._watch.written(lsn))
        self._telemetry.read_answered(source=name, reason=reason)
        return answer
