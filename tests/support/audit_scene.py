"""A ledger's database with an audit trail, for tests: who does what in it, and a recorder that can be stopped anywhere."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.recorder import SETTINGS, Recorder
from sentinel.reference.ledger.domain import Step, Transfer
from sentinel.reference.ledger.domain.audit.check import Record, Report
from sentinel.reference.ledger.domain.audit.entry import AuditEntry, decode_entry
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.posting import BY_INDEX
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.audit_log import ORIGIN, Keys
from tests.support.ledger_servers import LedgerServers, open_ledger

SHOP = new_cohort("shop")
DROP_SLOTS = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()"


@dataclass(slots=True)
class Scene:
    """A ledger's database, the keys of its trail, and who does what in it."""

    admin: PostgresConfig
    audit: PostgresConfig
    keys: Keys

    @asynccontextmanager
    async def recorder(self) -> AsyncIterator[Recorder]:
        """A recorder on sessions of its own, as the audit's role."""
        async with AsyncExitStack() as stack:
            sessions = [
                await stack.enter_async_context(
                    postgres.session(self.audit, application_name="audit", settings=dict(SETTINGS))
                )
                for _ in range(2)
            ]
            stack.enter_context(postgres.translated())
            yield Recorder(
                reader=sessions[0], writer=sessions[1], origin=ORIGIN, signer=self.keys.log
            )

    async def post(self, *requests: Transfer | Step) -> None:
        """Have the ledger decide requests in one transaction."""
        async with postgres.session(
            self.admin, application_name="test", settings=dict(BY_INDEX)
        ) as connection:
            envelopes = [Envelope(asked=one, cohort=SHOP, accepted_ns=1000) for one in requests]
            await apply_batch(connection, SHOP, envelopes)

    async def execute(self, *statements: str) -> None:
        """Run statements as the superuser."""
        async with postgres.session(self.admin, application_name="test") as connection:
            for statement in statements:
                await connection.execute(statement)

    async def entries(self) -> list[AuditEntry]:
        """The whole trail."""
        return [decode_entry(one.leaf) for one in await self.records()]

    async def check(self) -> Report:
        """What a check comes to, by a checkpoint over what is there."""
        found = await self.records()
        return self.keys.check(found, [self.keys.checkpoint(found)])

    async def records(self) -> list[Record]:
        """The whole trail as it is kept."""
        async with (
            postgres.session(self.audit, application_name="test") as connection,
            connection.transaction(),
        ):
            return [one async for one, _ in rows.records(connection, 0, 2**62)]


@asynccontextmanager
async def audit_scene(ledger_servers: LedgerServers) -> AsyncIterator[Scene]:
    """A database of its own, whose slots are gone at the end."""
    admin = await open_ledger(ledger_servers)
    url = role_url(admin, Role.AUDIT, "secret")
    await prepare(admin, (), role_urls=[url])
    scene = Scene(admin=admin, audit=PostgresConfig(url=url), keys=Keys())
    try:
        yield scene
    finally:
        await scene.execute(DROP_SLOTS)


def now_us() -> int:
    return time.time_ns() // 1000


def transfer(key: str, *, expires_in_s: int | None = None) -> Transfer:
    return Transfer(
        tenant="shop",
        idempotency_key=key,
        debit_account="external:bank",
        credit_account="alice",
        amount_minor=100,
        currency="EUR",
        expires_in_s=expires_in_s,
    )


async def drain(recorder: Recorder) -> int:
    count = 0
    while True:
        progress = await recorder.cycle()
        count += progress.entries_count
        if progress.caught_up:
            return count
