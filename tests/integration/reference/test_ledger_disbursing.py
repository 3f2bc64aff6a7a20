"""Goal: a payment out ends as the rail says, once, whoever dies on the way, and the money is where it should be.

Method: edge and poster on real NATS and PostgreSQL from the wheels, the simulated rail over HTTP, and the disburser
under its own role; the one that cannot note what the rail said fails at that very point, as if it had been killed, and so does
the one whose queue takes nothing. What an older version let happen to a pending transfer is done to its row by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.ledger.books import PAYOUTS
from sentinel.reference.ledger.disburse import (
    Disburser,
    DisburserConfig,
    RailConfig,
    SimulatedRail,
    SimulatedRailConfig,
)
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.storage.checks import look_over
from sentinel.reference.ledger.reconcile import (
    Check,
    ReconcileConfig,
    Reconciler,
    Report,
    Result,
    State,
)
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database, session
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_servers import LedgerSite, recorded

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


class UnnotedDatabase(Database):
    """Lends connections on which what the rail said cannot be noted."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend one."""
        async with super().acquire() as connection:
            yield Unwritable(connection)


class Unwritable:
    """A connection whose updates fail, as when the process is killed before them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, query: str, *args: object) -> str:
        """Run any other statement."""
        if "update ledger.disbursements" in query:
            raise ConnectionResetError
        return str(await self._connection.execute(query, *args))


class SilentQueue(Queue):
    """A queue that takes nothing, as when the process is killed before it says what follows."""

    async def publish(self, **_: Any) -> Any:
        """Refuse."""
        message = "the queue takes nothing"
        raise UnavailableError(message, code="silent")


class Paying:
    """The disburser of one test, and how to ask for payments."""

    def __init__(self, site: LedgerSite, rail_url: str) -> None:
        self.site = site
        self.config = DisburserConfig(
            rail=RailConfig(url=rail_url), look_interval_s=0.05, ask_first_s=0.05
        )
        self.telemetry = recorded("ledger-disburser")

    @asynccontextmanager
    async def running(
        self, kind: type[Database] = Database, queue_kind: type[Queue] = Queue
    ) -> AsyncIterator[None]:
        """Run a disburser."""
        url = role_url(self.site.postgres, Role.DISBURSER, "pass word")
        await prepare(self.site.postgres, (), role_urls=[url])
        queue = await queue_kind.connect(self.site.nats, name="test", on_change=lambda *_: None)
        database = await kind.connect(PostgresConfig(url=url), application_name="disburser")
        disburser = Disburser(
            self.config, queue=queue, database=database, telemetry=self.telemetry.telemetry
        )
        stop = asyncio.Event()
        task = asyncio.create_task(disburser.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task
            await database.close()
            await queue.close()

    async def ask(self, account: str, amount: int = 100) -> str:
        """Ask for a payment; returns where its state is told."""
        async with self.site.http.post(
            "/v1/disbursements",
            json={
                "debit_account": "vendors",
                "amount_minor": amount,
                "currency": "EUR",
                "payee": {"account": account, "name": "Ann Other"},
            },
            headers={"X-Tenant": "shop", "Idempotency-Key": f"to-{account}"},
        ) as response:
            assert response.status == 202
            return str((await response.json())["status_url"])

    async def step(
        self, name: str, target: str, key: str, body: dict[str, object] | None = None
    ) -> dict[str, Any]:
        """Ask for a step as the tenant, and return what became of it."""
        async with self.site.http.post(
            f"/v1/transactions/{target}/{name}",
            json=body or {},
            headers={"X-Tenant": "shop", "Idempotency-Key": key},
        ) as response:
            answer = await response.json()
            if response.status != 202:
                return {"status": response.status, **answer}
        return await self.site.settled(answer["status_url"])

    async def voided_by_hand(self, pending_id: str) -> None:
        """Free what it has reserved, as a tenant could before."""
        await self.site.rows(
            "update ledger.holds set state = 'voided', resolved_by = (select transaction_id from ledger.transactions "
            "where idempotency_key = 'fund') where pending_id = $1",
            pending_id,
        )
        await self.site.rows(
            "update ledger.accounts set debits_pending_minor = 0, credits_pending_minor = 0"
        )

    async def unbooked(self, url: str, reason: str) -> dict[str, Any]:
        """The disbursement, once it is told why the books do not have it."""
        body: dict[str, Any] = {}
        for _ in range(1000):
            _, body = await self.site.get(url)
            if body["disbursement"]["unbooked_reason"] == reason:
                return dict(body["disbursement"])
            await asyncio.sleep(0.02)
        raise AssertionError(body)

    async def until(self, url: str, state: str) -> dict[str, Any]:
        """The transaction, once its disbursement is in this state."""
        body = await self.site.settled(url)
        for _ in range(1000):
            if body["disbursement"]["state"] == state:
                return body
            await asyncio.sleep(0.02)
            _, body = await self.site.get(url)
        msg = f"never {state}: {body}"
        raise AssertionError(msg)

    async def vendors(self, balance: int, available: int) -> None:
        """Wait until the account is so: what the rail said goes through the queue."""
        now: dict[str, Any] = {}
        for _ in range(500):
            _, now = await self.site.get("/v1/accounts/vendors/balance")
            if (now["balance_minor"], now["available_minor"]) == (balance, available):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(now)


@pytest.fixture
async def paying(ledger_site: LedgerSite) -> AsyncIterator[Paying]:
    rail = SimulatedRail(SimulatedRailConfig(settle_s=0.2, return_late_s=0.3))
    try:
        url = await rail.start()
        await ledger_site.start_poster()
        _, fund = await ledger_site.transfer("fund", "external:bank", "vendors", 1000)
        await ledger_site.settled(fund["status_url"])
        yield Paying(ledger_site, url)
    finally:
        await rail.stop()


async def test_each_word_of_the_rail_moves_the_money_where_it_belongs(paying: Paying) -> None:
    urls = {
        account: await paying.ask(account)
        for account in ("DE00-1", "DE00-RAL", "DE00-BAC", "DE00-LBR", "DE00-S")
    }
    await paying.site.settled(urls["DE00-S"])
    await paying.vendors(1000, 500)
    async with paying.running():
        settled = await paying.until(urls["DE00-1"], "settled")
        assert settled["disbursement"]["payee"] == {"account": "DE00-1", "name": "Ann Other"}
        refused = await paying.until(urls["DE00-RAL"], "refused")
        assert refused["disbursement"]["return_code"] == "AL"
        assert (await paying.until(urls["DE00-BAC"], "returned"))["disbursement"][
            "return_code"
        ] == "AC"
        late = await paying.until(urls["DE00-LBR"], "returned_late")
        assert late["disbursement"]["return_code"] == "BR"
        await paying.until(urls["DE00-S"], "submitted")
        # One was paid, one is under way, three came back.
        await paying.vendors(900, 800)
    _, again = await paying.site.get(urls["DE00-LBR"])
    assert again["hold"]["state"] == "posted"
    total = await paying.site.rows("select sum(amount_minor)::int as total from ledger.entries")
    assert total[0]["total"] == 0


async def test_what_could_not_be_noted_moves_nothing_and_is_asked_for_again(
    paying: Paying,
) -> None:
    url = await paying.ask("DE00-1")
    await paying.site.settled(url)
    async with paying.running(UnnotedDatabase):
        for _ in range(500):
            if paying.telemetry.values("ledger.disbursements.asked").get(("answered",), 0) > 5:
                break
            await asyncio.sleep(0.02)
    _, body = await paying.site.get(url)
    assert (body["disbursement"]["state"], body["hold"]["state"]) == ("requested", "open")
    async with paying.running():
        await paying.until(url, "settled")
        await paying.vendors(900, 900)
    assert await posts(paying) == 1


async def test_what_was_noted_and_not_said_is_said_until_it_is_done_and_done_once(
    paying: Paying,
) -> None:
    settled, returned = await paying.ask("DE00-1"), await paying.ask("DE00-BAC")
    async with paying.running(queue_kind=SilentQueue):
        for url, state in ((settled, "settled"), (returned, "returned")):
            assert (await paying.until(url, state))["hold"]["state"] == "open"
    await paying.vendors(1000, 800)
    async with paying.running():
        await paying.vendors(900, 900)
    assert await posts(paying) == 1


async def posts(paying: Paying) -> int:
    rows = await paying.site.rows(
        "select count(*)::int as count from ledger.transactions where kind = 'post' and state = 'posted'"
    )
    return int(rows[0]["count"])


async def test_a_tenant_neither_ends_nor_takes_back_what_the_bank_pays(paying: Paying) -> None:
    url = await paying.ask("DE00-1")
    pending_id = (await paying.site.settled(url))["transaction_id"]

    async def refused(name: str, target: str, key: str, body: dict[str, object] | None) -> None:
        told = await paying.step(name, target, key, body)
        assert (told["state"], told["reason"]) == ("rejected", "belongs_to_disbursement")

    asked: list[tuple[str, dict[str, object] | None]] = [
        ("void", None),
        ("post", {"amount_minor": 1}),
        ("post", None),
    ]
    for place, (name, body) in enumerate(asked):
        await refused(name, pending_id, f"before-{place}", body)
        forged = await paying.step(name, pending_id, f"disburse {name} {pending_id}", body)
        assert (forged["status"], forged["code"]) == (400, "invalid_idempotency_key")
    await paying.vendors(1000, 900)
    async with paying.running():
        settled = await paying.until(url, "settled")
        await paying.vendors(900, 900)
    _, settled = await paying.site.get(url)
    assert settled["disbursement"]["unbooked_reason"] is None
    await refused("reverse", settled["hold"]["resolved_by"], "after", None)
    await paying.vendors(900, 900)
    _, rail = await paying.site.get("/v1/accounts/external:rail/balance")
    assert (rail["balance_minor"], rail["available_minor"]) == (100, 100)
    assert Event.DISBURSING_UNBOOKED not in paying.telemetry.events()


async def test_a_bank_that_is_later_than_any_time_is_paid_all_the_same(paying: Paying) -> None:
    url = await paying.ask("DE00-1")
    await paying.site.settled(url)
    await paying.site.rows("update ledger.holds set expires_at = now() - interval '1 day'")
    # The poster looks for what is over each second; a pending transfer of the tenant's own shows that it has.
    async with paying.site.http.post(
        "/v1/transfers",
        json={
            "debit_account": "vendors",
            "credit_account": "bob",
            "amount_minor": 7,
            "currency": "EUR",
            "expires_in_s": 1,
        },
        headers={"X-Tenant": "shop", "Idempotency-Key": "plain"},
    ) as response:
        plain = (await response.json())["status_url"]
    body: dict[str, Any] = {}
    for _ in range(500):
        _, body = await paying.site.get(plain)
        if body.get("hold", {}).get("state") == "expired":
            break
        await asyncio.sleep(0.02)
    assert body["hold"]["state"] == "expired"
    await paying.vendors(1000, 900)
    async with paying.running():
        await paying.until(url, "settled")
        await paying.vendors(900, 900)


async def test_what_is_not_reserved_any_more_is_not_handed_in_and_told(paying: Paying) -> None:
    url = await paying.ask("DE00-1")
    pending_id = (await paying.site.settled(url))["transaction_id"]
    await paying.voided_by_hand(pending_id)
    async with paying.running():
        told = await paying.unbooked(url, "pending_voided")
        await asyncio.sleep(0.3)
    assert told["state"] == "requested"
    assert paying.telemetry.values("ledger.disbursements.asked") == {}
    assert paying.telemetry.values("ledger.disbursements.unbooked") == {("pending_voided",): 1}
    assert paying.telemetry.events().count(Event.DISBURSING_UNBOOKED) == 1


async def test_a_step_that_the_ledger_rejects_is_told_once(paying: Paying) -> None:
    url = await paying.ask("DE00-1")
    pending_id = (await paying.site.settled(url))["transaction_id"]
    rail = SimulatedRail(SimulatedRailConfig(settle_s=3.0, return_late_s=60.0))
    paying.config = replace(paying.config, rail=RailConfig(url=await rail.start()))
    try:
        async with paying.running():
            await paying.until(url, "submitted")
        await paying.voided_by_hand(pending_id)
        async with paying.running():
            told = await paying.unbooked(url, "pending_resolved")
            # It is asked for all the while: what settled may come back.
            await asyncio.sleep(0.3)
    finally:
        await rail.stop()
    assert told["state"] == "settled"
    assert paying.telemetry.values("ledger.disbursements.unbooked") == {("pending_resolved",): 1}
    assert paying.telemetry.events().count(Event.DISBURSING_UNBOOKED) == 1


async def test_two_disbursers_share_the_work(paying: Paying) -> None:
    urls = [await paying.ask(f"DE00-{number}", 10) for number in range(30)]
    async with paying.running(), paying.running():
        for url in urls:
            await paying.until(url, "settled")
        await paying.vendors(700, 700)
    # Each once, whoever of the two it was.
    posted = await paying.site.rows(
        "select count(*)::int as count, count(distinct target_id)::int as payments from ledger.transactions "
        "where kind = 'post' and state = 'posted'"
    )
    assert dict(posted[0]) == {"count": 30, "payments": 30}


async def test_a_rail_that_is_away_costs_time_and_no_money(paying: Paying) -> None:
    url = await paying.ask("DE00-1")
    await paying.site.settled(url)
    there = paying.config
    paying.config = DisburserConfig(
        rail=RailConfig(url="http://127.0.0.1:1"), look_interval_s=0.05, ask_first_s=0.05
    )
    async with paying.running():
        for _ in range(500):
            if Event.DISBURSING_FAILED in paying.telemetry.events():
                break
            await asyncio.sleep(0.02)
    assert Event.DISBURSING_FAILED in paying.telemetry.events()
    assert (await paying.site.get(url))[1]["disbursement"]["state"] == "requested"
    paying.config = there
    async with paying.running():
        await paying.until(url, "settled")


async def test_the_books_have_what_the_rail_said_and_what_is_altered_is_found(
    paying: Paying,
) -> None:
    site = paying.site
    ends = {
        "DE00-1": "settled",
        "DE00-RAL": "refused",
        "DE00-BAC": "returned",
        "DE00-LBR": "returned_late",
        "DE00-S": "submitted",
    }
    urls = {account: await paying.ask(account) for account in ends}
    reconcile_url = role_url(site.postgres, Role.RECONCILE, "reconcile")
    await prepare(site.postgres, (), role_urls=[reconcile_url])
    reconciler = Reconciler(
        ReconcileConfig(recheck_s=0.01), nats=site.nats, postgres=PostgresConfig(url=reconcile_url)
    )
    async with paying.running():
        for account, state in ends.items():
            await paying.until(urls[account], state)
            # At every moment on the way, whatever waits to be decided.
            assert payouts_of(await reconciler.run()).state is State.AGREES
        await paying.vendors(900, 800)
    report = payouts_of(await reconciler.run())
    assert (report.state, (await looked(site))["ok"]) == (State.AGREES, True)
    assert await books_of(site) == (0, 0)

    _, under_way = await site.get(urls["DE00-S"])
    await paying.voided_by_hand(under_way["transaction_id"])
    await site.rows(
        "update ledger.accounts set debits_pending_minor = 5 where account_id = 'vendors'"
    )
    reconciler = Reconciler(
        ReconcileConfig(), nats=site.nats, postgres=PostgresConfig(url=reconcile_url)
    )
    found = payouts_of(await reconciler.run())
    assert (found.drift_count, found.drift_value_minor, found.examined_count) == (1, 100, 5)
    assert found.findings[0]["transaction_id"] == under_way["transaction_id"]
    assert (found.findings[0]["disbursement"], found.findings[0]["pending"]) == (
        "submitted",
        "voided",
    )
    came_back = await looked(site)
    assert came_back["rows"]["disbursements"] == 5
    assert (came_back["ok"], came_back["wrong"]["payouts_not_booked"]) == (False, 1)
    assert came_back["wrong"]["pending_not_holds"] == 1
    # What is noted since is looked at by the pass that looks at no more than that.
    await site.rows(
        "update ledger.disbursements set state = 'settled', changed_at = now() where pending_id = $1",
        under_way["transaction_id"],
    )
    await site.rows(
        "update ledger.disbursements set state = 'refused', return_code = 'AL', changed_at = now() where payee_account = 'DE00-1'"
    )
    found = payouts_of(await reconciler.run())
    assert (found.drift_count, found.drift_value_minor) == (2, 200)
    assert await books_of(site) == (2, 200)


def payouts_of(report: Report) -> Result:
    return next(one for one in report.results if one.check is Check.PAYOUTS)


async def looked(site: LedgerSite) -> dict[str, Any]:
    """What a drill says of these books, had they come back."""
    async with session(site.postgres, application_name="test") as connection:
        return await look_over(connection)


async def books_of(site: LedgerSite) -> tuple[int, int]:
    """What a load's look at the books says of payments: how many are off, and by how much."""
    (row,) = await site.rows(PAYOUTS)
    return int(row["count"]), int(row["value"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"payee": None}, "payee"),
        ({"payee": {"account": "DE00-1"}}, "payee"),
        ({"payee": {"account": "de", "name": "Ann"}}, "payee.account"),
        ({"payee": {"account": "DE00-1", "name": "Ann\u001b[31m"}}, "payee.name"),
        ({"credit_account": "bob"}, "credit_account"),
        ({"amount_minor": 0}, "amount_minor"),
    ],
)
async def test_what_cannot_be_paid_is_refused_with_the_field(
    paying: Paying, change: dict[str, object], field: str
) -> None:
    body = {
        "debit_account": "vendors",
        "amount_minor": 5,
        "currency": "EUR",
        "payee": {"account": "DE00-1", "name": "Ann"},
    }
    async with paying.site.http.post(
        "/v1/disbursements",
        json={**body, **change},
        headers={"X-Tenant": "shop", "Idempotency-Key": "k"},
    ) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["field"] == field
