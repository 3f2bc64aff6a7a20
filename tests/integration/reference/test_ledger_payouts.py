"""Goal: the statement that looks for payments the books do not have finds what the domain's table says, and no more.

Method: a row of each state, with each thing that the books can say of it, written by hand into a real PostgreSQL; then who
compares, as its own role, and the look at books that came back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import orjson
import pytest

from sentinel.reference.ledger.domain import HoldState, Kind
from sentinel.reference.ledger.domain.disbursement import STEP_OF, DisbursementState, own_key
from sentinel.reference.ledger.domain.payouts import Booked, agrees
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.storage.checks import look_over
from sentinel.reference.ledger.reconcile import wrong_payouts
from sentinel.reference.ledger.reconcile.payouts import compare_payouts
from sentinel.reference.ledger.reconcile.place import EVER
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_servers import LedgerServers, open_ledger

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

COHORT = new_cohort("shop")
LONG_AGO = datetime.now(UTC) - timedelta(days=3)
CODED = {DisbursementState.REFUSED, DisbursementState.RETURNED, DisbursementState.RETURNED_LATE}
TRANSACTION = """
insert into ledger.transactions (cohort, transaction_id, tenant, idempotency_key, fingerprint, kind, state, reason, target_id,
    debit_account, credit_account, amount_minor, currency, accepted_at, posted_at)
values ($1, $2, 'shop', $3, '', $4, $5, $6, $7, 'vendors', 'external:rail', $8, 'EUR', $9, $9)
"""
HOLD = """
insert into ledger.holds (cohort, pending_id, tenant, debit_account, credit_account, amount_minor, currency, expires_at, state, resolved_by)
values ($1, $2, 'shop', 'vendors', 'external:rail', 100, 'EUR', now(), $3, $4)
"""
DISBURSEMENT = """
insert into ledger.disbursements (cohort, pending_id, tenant, payee_account, payee_name, amount_minor, currency, state, return_code,
    next_at, changed_at)
values ($1, $2, 'shop', 'DE00-1', 'Ann', 100, 'EUR', $3, $4, $5, $6)
"""


@dataclass(frozen=True)
class Case:
    """A payment in every respect that counts."""

    state: DisbursementState
    booked: Booked
    posted: int
    is_decided: bool
    is_looked_at: bool
    is_fresh: bool
    pending_id: uuid.UUID

    @property
    def agrees(self) -> bool:
        """What the domain's table says of it."""
        waits = not self.is_decided and (self.is_looked_at or self.is_fresh)
        return agrees(self.state, self.booked, waits=waits)


def cases() -> Iterator[Case]:
    said: list[tuple[Booked, int]] = [
        (Booked(hold=HoldState.OPEN), 0),
        (Booked(hold=HoldState.VOIDED), 0),
        (Booked(hold=HoldState.EXPIRED), 0),
        *(
            (Booked(hold=HoldState.POSTED, in_full=posted == 100, moved_back=back), posted)
            for posted, back in product((100, 1), (False, True))
        ),
    ]
    flags = product((True, False), repeat=3)
    for place, (state, (booked, posted), (decided, looked_at, fresh)) in enumerate(
        product(DisbursementState, said, flags)
    ):
        yield Case(state, booked, posted, decided, looked_at, fresh, uuid.UUID(int=place + 1))


async def write(connection: postgres.Connection, case: Case) -> None:
    async def transaction(
        key: str, kind: Kind, target: uuid.UUID, amount: int, reason: str | None = None
    ) -> uuid.UUID:
        made = uuid.uuid4()
        state = "posted" if reason is None else "rejected"
        await connection.execute(
            TRANSACTION, COHORT, made, key, kind.value, state, reason, target, amount, LONG_AGO
        )
        return made

    pending_id, booked, ended = case.pending_id, case.booked, None
    if booked.hold is not HoldState.OPEN:
        kinds = {HoldState.POSTED: Kind.POST, HoldState.VOIDED: Kind.VOID}
        kind = kinds.get(booked.hold, Kind.EXPIRE)
        ended = await transaction(f"end-{pending_id}", kind, pending_id, case.posted or 100)
        if booked.moved_back:
            await transaction(f"back-{pending_id}", Kind.REVERSAL, ended, case.posted)
    if case.is_decided and case.state in STEP_OF:
        kind = STEP_OF[case.state]
        await transaction(own_key(kind, pending_id), kind, pending_id, 100, "pending_resolved")
    await connection.execute(HOLD, COHORT, pending_id, booked.hold.value, ended)
    await connection.execute(
        DISBURSEMENT,
        COHORT,
        pending_id,
        case.state.value,
        "AC" if case.state in CODED else None,
        LONG_AGO if case.is_looked_at else None,
        datetime.now(UTC) if case.is_fresh else LONG_AGO,
    )


async def test_what_is_wrong_is_what_the_table_says(ledger_servers: LedgerServers) -> None:
    config = await open_ledger(ledger_servers)
    every = list(cases())
    wrong = {str(one.pending_id) for one in every if not one.agrees}
    assert 0 < len(wrong) < len(every)
    async with postgres.session(config, application_name="test") as session:
        async with session.transaction():
            await session.execute("set local session_replication_role = replica")
            for case in every:
                await write(session, case)
        found = await found_wrong(session)
        assert found.keys() == wrong
        # By what the money is off: a void in place of a payment, or less of it, and what is reserved for nothing.
        settled = {one: every[int(uuid.UUID(one)) - 1] for one in found}
        values = {
            (case.booked.hold, case.posted, case.booked.moved_back): found[one]["value"]
            for one, case in settled.items()
            if case.state is DisbursementState.SETTLED
        }
        assert values == {
            (HoldState.OPEN, 0, False): 100,
            (HoldState.VOIDED, 0, False): 100,
            (HoldState.EXPIRED, 0, False): 100,
            (HoldState.POSTED, 1, False): 99,
            (HoldState.POSTED, 1, True): 100,
            (HoldState.POSTED, 100, True): 100,
        }
        assert (await look_over(session))["wrong"]["payouts_not_booked"] == len(wrong)
        await as_its_role(config, found)
        await put_right(session, sorted(wrong)[0])


async def found_wrong(session: postgres.Connection) -> dict[str, dict[str, Any]]:
    rows = await session.fetch(f"select value, detail::text from ({wrong_payouts()}) wrong")
    details = [(orjson.loads(row["detail"]), int(row["value"])) for row in rows]
    return {one["transaction_id"]: {**one, "value": value} for one, value in details}


async def as_its_role(config: PostgresConfig, found: dict[str, dict[str, Any]]) -> None:
    url = role_url(config, Role.RECONCILE, "reconcile")
    await prepare(config, (), role_urls=[url])
    async with postgres.session(
        PostgresConfig(url=url),
        application_name="reconcile",
        settings={"statement_timeout": "60000"},
    ) as connection:
        result = await compare_payouts(connection, COHORT, EVER)
        assert (result.drift_count, result.examined_count) == (len(found), len(list(cases())))
        assert result.drift_value_minor == sum(one["value"] for one in found.values())
        assert len(result.findings) == 10
        assert (await compare_payouts(connection, (COHORT + 1) % 4, EVER)).drift_count == 0
        # What was noted since, alone: all else of these was long ago.
        recent = datetime.now(UTC) - timedelta(hours=1)
        fresh = [one for one in cases() if one.is_fresh]
        result = await compare_payouts(connection, COHORT, recent)
        assert result.examined_count == len(fresh)
        assert result.drift_count == sum(not one.agrees for one in fresh)


async def put_right(session: postgres.Connection, pending_id: str) -> None:
    """A person's transfer between the two accounts is an answer; one between others is none."""
    for credit, is_wrong in (("bob", True), ("external:rail", False)):
        made = uuid.uuid4()
        await session.execute(
            TRANSACTION.replace("external:rail", credit),
            COHORT,
            made,
            f"to-{credit}",
            "transfer",
            "posted",
            None,
            None,
            99,
            LONG_AGO,
        )
        await session.execute(
            "update ledger.disbursements set corrected_by = $2 where pending_id = $1",
            uuid.UUID(pending_id),
            made,
        )
        assert (pending_id in await found_wrong(session)) == is_wrong
