"""Where a read goes when connections run out: to the other database while that has room, and nowhere twice when neither has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.position import Position
from sentinel.reference.ledger.edge.sources import Reading, Source
from sentinel.reference.ledger.wire.postgres import POOL_EXHAUSTED, Database


class _Pool:
    """What a question needs of a database: connections, or none."""

    def __init__(self, *, has_room: bool, code: str = POOL_EXHAUSTED) -> None:
        self.has_room, self._code = has_room, code
        self.namespace = "ledger"
        self.asked_count = 0

    def occupancy(self) -> tuple[int, int]:
        return (1, 0) if self.has_room else (0, 1)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        self.asked_count += 1
        if not self.has_room:
            raise UnavailableError("none", code=self._code)
        yield SimpleNamespace(transaction=_transaction, fetchrow=_position)


@asynccontextmanager
async def _transaction(**_: object) -> AsyncIterator[None]:
    yield


async def _position(*_: object) -> dict[str, int]:
    return {"lsn": 7}


class _Telemetry:
    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def observe_pool(self, *_: object) -> None: ...

    @contextmanager
    def query(self, *_: object, **__: object) -> Any:
        yield

    def read_answered(self, *, source: str, reason: str) -> None:
        self.read.append((source, reason))


class _Watch:
    """A replica that is as good as it can be."""

    def __init__(self) -> None:
        self.lost_count = 0

    async def why_not(self, _: Position | None) -> str:
        return ""

    def written(self, lsn: int) -> Position:
        return Position(timeline=1, lsn=lsn)

    replayed = written

    def lost(self, _: Exception) -> None:
        self.lost_count += 1


async def ask(primary: _Pool, replica: _Pool) -> tuple[str | None, _Telemetry]:
    telemetry, watch = _Telemetry(), _Watch()
    source = Source(
        primary=cast("Database", primary),
        replica=cast("Database", replica),
        watch=cast("Any", watch),
        telemetry=cast("Any", telemetry),
        collection="accounts",
    )

    async def question(_: object) -> str:
        return "answer"

    tenant = cast("Any", SimpleNamespace(cohort=0, name="shop"))
    found = await source.ask("accounts", tenant, Reading(), question, is_last=True)
    assert watch.lost_count == 0
    return found, telemetry


async def test_the_primary_answers_for_a_replica_whose_connections_are_all_lent() -> None:
    primary, replica = _Pool(has_room=True), _Pool(has_room=False)
    found, telemetry = await ask(primary, replica)
    assert (found, telemetry.read) == ("answer", [("primary", "refused")])
    assert (primary.asked_count, replica.asked_count) == (1, 1)


async def test_with_every_connection_lent_a_question_waits_once() -> None:
    primary, replica = _Pool(has_room=False), _Pool(has_room=False)
    with pytest.raises(UnavailableError) as raised:
        await ask(primary, replica)
    assert raised.value.code == POOL_EXHAUSTED
    assert (primary.asked_count, replica.asked_count) == (0, 1)


async def test_a_replica_that_refuses_for_another_reason_leaves_the_question_to_the_primary() -> (
    None
):
    """Whether the primary has room is for it to say: nobody has waited yet."""
    primary, replica = _Pool(has_room=False), _Pool(has_room=False, code="40001")
    with pytest.raises(UnavailableError):
        await ask(primary, replica)
    assert primary.asked_count == 1
