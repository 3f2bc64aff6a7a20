"""Goal: an accepted transfer is posted exactly once, whatever fails on the way, and every answer is true.

Method: edge and poster on real NATS and PostgreSQL from the wheels; a poster that must die between
commit and acknowledgement is a process of its own, killed with SIGKILL at that very point.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.edge import EdgeConfig
from sentinel.reference.ledger.operate.servers import start_nats
from sentinel.reference.ledger.posting import PosterConfig
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats import CONSUMER, stream_name
from tests.support.ledger_servers import LedgerServers, LedgerSite, open_ledger, open_site

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOPS_COHORT = new_cohort("shop")
SHOPS_STREAM = stream_name(SHOPS_COHORT)

DYING_POSTER = """
import asyncio, os, signal, sys
from sentinel.reference.ledger.posting import BY_INDEX, Poster, PosterConfig
from sentinel.reference.ledger.telemetry import start_telemetry
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database

class DyingQueue(Queue):
    async def acknowledge(self, messages):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    queue = await DyingQueue.connect(
        NatsConfig(url=os.environ["NATS"], ack_wait_s=2.0), name="dying", on_change=lambda *_: None)
    await queue.subscribe(range(4))
    database = await Database.connect(
        PostgresConfig(url=os.environ["POSTGRES"]), application_name="dying", settings=BY_INDEX)
    poster = Poster(PosterConfig(), queue=queue, database=database,
                    telemetry=start_telemetry("dying", {}))
    await poster.run(asyncio.Event())

asyncio.run(main())
"""


async def books(site: LedgerSite) -> dict[str, int]:
    """Balances by account, after checking that the books agree with themselves."""
    accounts = await site.rows("select account_id, balance_minor, version from ledger.accounts")
    entries = await site.rows(
        "select account_id, sum(amount_minor)::bigint as total, count(*) as count "
        "from ledger.entries group by account_id"
    )
    sums = {row["account_id"]: (row["total"], row["count"]) for row in entries}
    for row in accounts:
        assert (row["balance_minor"], row["version"]) == sums.get(row["account_id"], (0, 0))
    assert sum(row["balance_minor"] for row in accounts) == 0
    return {row["account_id"]: row["balance_minor"] for row in accounts}


async def test_an_accepted_transfer_is_posted_and_can_be_read(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    status, accepted = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    assert status == 202
    state = await ledger_site.settled(accepted["status_url"])
    assert state["state"] == "posted"
    assert state["transaction_id"] == accepted["transaction_id"]
    status, balance = await ledger_site.get("/v1/accounts/alice/balance")
    assert (status, balance["balance_minor"], balance["currency"]) == (200, 500, "EUR")
    assert await books(ledger_site) == {"alice": 500, "external:bank": -500}


async def test_a_transfer_waits_for_the_poster_as_pending(ledger_site: LedgerSite) -> None:
    _, accepted = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    _, state = await ledger_site.get(accepted["status_url"])
    assert state["state"] == "pending"
    await ledger_site.start_poster()
    assert (await ledger_site.settled(accepted["status_url"]))["state"] == "posted"


async def test_a_replay_gets_the_same_answer_and_posts_nothing(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    answers = [await ledger_site.transfer("k1", "external:bank", "alice", 500) for _ in range(3)]
    await ledger_site.settled(answers[0][1]["status_url"])
    answers.append(await ledger_site.transfer("k1", "external:bank", "alice", 500))
    assert {status for status, _ in answers} == {202}
    assert len({answer["transaction_id"] for _, answer in answers}) == 1
    assert (await books(ledger_site))["alice"] == 500


@pytest.mark.parametrize("poster_first", [True, False])
async def test_a_key_used_for_another_body_is_a_conflict(
    ledger_site: LedgerSite, *, poster_first: bool
) -> None:
    _, first = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    if poster_first:
        await ledger_site.start_poster()
        await ledger_site.settled(first["status_url"])
    status, answer = await ledger_site.transfer("k1", "external:bank", "alice", 501)
    assert status == 409
    assert answer["code"] == "idempotency_key_reused"


async def forgotten(
    servers: LedgerServers, ask: Callable[[], Awaitable[tuple[int, dict[str, Any]]]]
) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """Yield what is answered, until the shop's stream has forgotten the key."""
    client = await nats.connect(servers.nats_url)
    manager = client.jsm()
    stream = (await manager.stream_info(SHOPS_STREAM)).config
    try:
        for again in range(50):
            # A changed window makes the server look for what it may forget; it may do so before it has taken the new window
            # in, and would then look again after the old one's two minutes. So the window is changed until it has forgotten.
            stream.duplicate_window = (0.1, 0.2)[again % 2]
            await manager.update_stream(stream)
            await asyncio.sleep(0.3)
            status, answer = await ask()
            yield status, answer
            if status != 409:
                return
    finally:
        await client.close()


async def test_a_conflict_that_slips_past_the_window_is_told_by_its_status_url(
    ledger_servers: LedgerServers, ledger_site: LedgerSite
) -> None:
    """The stream recognises a key for a while only; after that the database's key decides."""
    await ledger_site.start_poster()
    _, first = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    await ledger_site.settled(first["status_url"])
    answers = [
        answer
        async for answer in forgotten(
            ledger_servers, lambda: ledger_site.transfer("k1", "external:bank", "alice", 501)
        )
    ]
    status, second = answers[-1]
    assert status == 202
    assert second["status_url"] != first["status_url"]
    assert (await ledger_site.settled(second["status_url"]))["state"] == "conflict"
    assert (await ledger_site.settled(first["status_url"]))["state"] == "posted"
    await ledger_site.stop_posters()
    assert (await books(ledger_site))["alice"] == 500
    assert Event.POSTING_CONFLICT in ledger_site.poster.events()


async def test_a_longer_batch_that_slips_past_the_window_posts_nothing(
    ledger_servers: LedgerServers, ledger_site: LedgerSite
) -> None:
    async def ask(*names: str) -> tuple[int, dict[str, Any]]:
        items = [
            {
                "debit_account": "external:bank",
                "credit_account": name,
                "amount_minor": 5,
                "currency": "EUR",
            }
            for name in names
        ]
        headers = {"X-Tenant": "shop", "Idempotency-Key": "june"}
        async with ledger_site.http.post(
            "/v1/batches", json={"items": items}, headers=headers
        ) as response:
            return response.status, await response.json()

    await ledger_site.start_poster()
    _, first = await ask("alice")
    assert (await ledger_site.settled(first["status_url"]))["posted_count"] == 1
    answers = [answer async for answer in forgotten(ledger_servers, lambda: ask("alice", "bob"))]
    status, second = answers[-1]
    assert status == 202
    assert (await ledger_site.settled(second["status_url"]))["state"] == "conflict"
    told = await ledger_site.settled(first["status_url"])
    assert (told["state"], told["items_count"], len(told["items"])) == ("decided", 1, 1)
    # Behind it on the stream, so the batch was decided.
    _, after = await ledger_site.transfer("after", "external:bank", "bob", 7)
    await ledger_site.settled(after["status_url"])
    await ledger_site.stop_posters()
    assert await books(ledger_site) == {"external:bank": -12, "alice": 5, "bob": 7}
    assert Event.POSTING_CONFLICT in ledger_site.poster.events()


async def test_a_transfer_without_funds_is_rejected_with_the_reason(
    ledger_site: LedgerSite,
) -> None:
    await ledger_site.start_poster()
    _, accepted = await ledger_site.transfer("k1", "alice", "bob", 500)
    state = await ledger_site.settled(accepted["status_url"])
    assert (state["state"], state["reason"]) == ("rejected", "insufficient_funds")
    assert await books(ledger_site) == {"alice": 0, "bob": 0}


async def test_another_tenant_sees_nothing(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    _, accepted = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    await ledger_site.settled(accepted["status_url"])
    assert (await ledger_site.get(accepted["status_url"], tenant="rival"))[0] == 404
    assert (await ledger_site.get("/v1/accounts/alice/balance", tenant="rival"))[0] == 404
    assert (await ledger_site.transfer("k1", "external:bank", "alice", 9, tenant="rival"))[
        0
    ] == 202


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, b"{", 400, "invalid_json"),
        ({}, b"[1]", 400, "invalid_body"),
        ({}, b'{"amount_minor": NaN}', 400, "invalid_json"),
        ({"X-Tenant": ""}, b"{}", 400, "invalid_tenant"),
        ({"Idempotency-Key": "a b"}, b"{}", 400, "invalid_idempotency_key"),
        ({"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ({}, b" " * 9000, 413, "body_too_large"),
    ],
)
async def test_bad_requests_are_answered_with_what_is_wrong(
    ledger_site: LedgerSite, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    sent = {
        "X-Tenant": "shop",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        **headers,
    }
    async with ledger_site.http.post("/v1/transfers", data=body, headers=sent) as response:
        assert (response.status, (await response.json())["code"]) == (status, code)


async def test_parameters_of_the_content_type_are_not_read(
    ledger_site: LedgerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of nothing but semicolons held the edge for two seconds: the library's parser takes each one anew."""

    def parse(value: str) -> object:
        msg = "the parameters were parsed"
        raise AssertionError(msg)

    # Where the edge would parse: the client's own replies are not asked for their type.
    monkeypatch.setattr("aiohttp.helpers.parse_content_type", parse)
    headers = {"X-Tenant": "shop", "Idempotency-Key": "k"}
    headers["Content-Type"] = "application/json" + ";" * 8000
    async with ledger_site.http.post("/v1/transfers", data=b"[1]", headers=headers) as response:
        assert response.status == 400
        assert b"invalid_body" in await response.read()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/transactions/not-a-uuid", 400),
        ("/v1/transactions/00000000-0000-0000-0000-000000000000", 404),
        ("/v1/accounts/nobody/balance", 404),
        ("/v1/accounts/%20/balance", 400),
        ("/v1/elsewhere", 404),
    ],
)
async def test_reads_of_what_is_not_there(ledger_site: LedgerSite, path: str, status: int) -> None:
    assert (await ledger_site.get(path))[0] == status


async def test_a_lost_queue_is_answered_503_and_comes_back(
    ledger_servers: LedgerServers, tmp_path: Path
) -> None:
    database = await open_ledger(ledger_servers)
    server = await start_nats(tmp_path / "nats")
    port, monitor = (int(url.rpartition(":")[2]) for url in (server.url, server.monitor_url))
    try:
        async with open_site(NatsConfig(url=server.url), database) as site:
            assert (await site.transfer("k1", "external:bank", "alice", 5))[0] == 202
            await server.stop(timeout_s=5.0)
            async with site.http.post(
                "/v1/transfers",
                json={
                    "debit_account": "external:bank",
                    "credit_account": "alice",
                    "amount_minor": 5,
                    "currency": "EUR",
                },
                headers={"X-Tenant": "shop", "Idempotency-Key": "k2"},
            ) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) >= 1
            server = await start_nats(tmp_path / "nats", port=port, monitor_port=monitor)
            status = 0
            for _ in range(500):
                status, _ = await site.transfer("k2", "external:bank", "alice", 5)
                if status == 202:
                    break
                await asyncio.sleep(0.02)
            assert status == 202
            assert Event.EDGE_PUBLISH_FAILED in site.edge.events()
    finally:
        await server.stop(timeout_s=5.0)


async def test_a_full_stream_pushes_back_instead_of_losing(
    ledger_servers: LedgerServers, tmp_path: Path
) -> None:
    database = await open_ledger(ledger_servers)
    server = await start_nats(tmp_path / "nats")
    try:
        small = NatsConfig(url=server.url, stream_bytes_max=4096)
        async with open_site(small, database) as site:
            answers = [
                await site.transfer(f"k{index}", "external:bank", "alice", 5)
                for index in range(20)
            ]
            taken = [answer for status, answer in answers if status == 202]
            assert {status for status, _ in answers} == {202, 503}
            await site.start_poster()
            for answer in taken:
                assert (await site.settled(answer["status_url"]))["state"] == "posted"
            assert (await books(site))["alice"] == 5 * len(taken)
            assert (await site.transfer("again", "external:bank", "alice", 5))[0] == 202
    finally:
        await server.stop(timeout_s=5.0)


async def test_too_many_requests_in_flight_are_refused(
    ledger_site: LedgerSite, ledger_servers: LedgerServers
) -> None:
    narrow = EdgeConfig(inflight_count_max=1)
    async with open_site(ledger_site.nats, ledger_site.postgres, narrow) as site:
        answers = await asyncio.gather(
            *(site.transfer(f"k{index}", "external:bank", "alice", 5) for index in range(20))
        )
    assert {status for status, _ in answers} == {202, 503}


async def test_a_locked_table_is_an_error_and_a_retry_not_a_loss(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    _, before = await ledger_site.transfer("k0", "external:bank", "alice", 100)
    await ledger_site.settled(before["status_url"])
    accepted: list[tuple[int, dict[str, Any]]] = []
    async with (
        postgres.session(ledger_site.postgres, application_name="locker") as locker,
        locker.transaction(),
    ):
        await locker.execute("lock table ledger.accounts in access exclusive mode")
        accepted += [
            await ledger_site.transfer(f"k{index}", "external:bank", "alice", 100)
            for index in range(1, 4)
        ]
        status, body = await ledger_site.get("/v1/accounts/alice/balance")
        assert (status, body["code"]) == (503, "unavailable")
        await locker.execute("select 1")
        while Event.POSTING_BATCH_FAILED not in ledger_site.poster.events():
            await asyncio.sleep(0.05)
            await locker.execute("select 1")
    for status, answer in accepted:
        assert status == 202
        assert (await ledger_site.settled(answer["status_url"]))["state"] == "posted"
    await ledger_site.stop_posters()
    assert (await books(ledger_site))["alice"] == 400
    assert Event.POSTING_BATCH_RECOVERED in ledger_site.poster.events()
    failed = [
        span
        for span in ledger_site.poster.spans.get_finished_spans()
        if span.name == "COMMIT transactions"
        and not span.status.is_ok
        and span.attributes
        and "error.type" in span.attributes
    ]
    assert failed
    assert failed[0].attributes is not None
    assert failed[0].attributes["db.response.status_code"] == "55P03"
    lines = [one.log_record.body for one in ledger_site.poster.logs.get_finished_logs()]
    assert "Posting a batch failed: canceling statement due to lock timeout" in lines


async def test_a_message_nobody_can_read_is_kept_aside_and_holds_nobody_up(
    ledger_site: LedgerSite,
) -> None:
    client = await nats.connect(ledger_site.nats.url)
    stream = client.jetstream()
    await stream.publish(
        f"ledger.c{SHOPS_COHORT}.transfers.00000000-0000-0000-0000-00000000dead", b"\x00garbage"
    )
    _, accepted = await ledger_site.transfer("k1", "external:bank", "alice", 500)
    await ledger_site.start_poster()
    assert (await ledger_site.settled(accepted["status_url"]))["state"] == "posted"
    dead = await stream.get_last_msg(
        "LEDGER_DEAD", "ledger.dead.00000000-0000-0000-0000-00000000dead"
    )
    assert dead.data == b"\x00garbage"
    assert dead.headers is not None
    assert dead.headers["Ledger-Reason"] == "not_json"
    await ledger_site.stop_posters()
    info = await stream.consumer_info(SHOPS_STREAM, CONSUMER)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    await client.close()


async def test_a_transfer_the_database_refuses_for_good_fails_alone(
    ledger_site: LedgerSite,
) -> None:
    """One poisoned transfer in a batch is found by halving and given up; its neighbours are posted."""
    await ledger_site.rows(
        "alter table ledger.transactions add constraint poison check (amount_minor <> 666)"
    )
    accepted = {}
    for index, amount in enumerate((100, 666, 200, 300)):
        accepted[amount] = (
            await ledger_site.transfer(f"k{index}", "external:bank", "alice", amount)
        )[1]
    await ledger_site.start_poster(
        PosterConfig(fetch_wait_s=0.2, refusals_max=2, back_off_first_s=0.05, back_off_max_s=0.1)
    )
    states = {
        amount: (await ledger_site.settled(answer["status_url"]))
        for amount, answer in accepted.items()
    }
    assert {amount: state["state"] for amount, state in states.items()} == {
        100: "posted",
        666: "failed",
        200: "posted",
        300: "posted",
    }
    assert states[666]["reason"] == "dead_lettered"
    await ledger_site.stop_posters()
    assert (await books(ledger_site))["alice"] == 600
    assert Event.POSTING_DEAD_LETTERED in ledger_site.poster.events()


async def test_a_poster_killed_between_commit_and_acknowledgement_posts_once(
    ledger_site: LedgerSite,
) -> None:
    accepted = [
        (await ledger_site.transfer(f"k{index}", "external:bank", "alice", 10))[1]
        for index in range(25)
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DYING_POSTER,
        env={"NATS": ledger_site.nats.url, "POSTGRES": ledger_site.postgres.url, "PATH": ""},
    )
    assert await asyncio.wait_for(process.wait(), timeout=30) == -signal.SIGKILL
    posted = await ledger_site.rows("select count(*) as count from ledger.transactions")
    assert posted[0]["count"] > 0, "it must have died after the commit"
    await ledger_site.start_poster()
    for answer in accepted:
        assert (await ledger_site.settled(answer["status_url"]))["state"] == "posted"
    await _drained(ledger_site)
    await ledger_site.stop_posters()
    assert await books(ledger_site) == {"alice": 250, "external:bank": -250}
    outcomes = [
        dict(span.attributes or {}).get("ledger.transfer.outcome")
        for span in ledger_site.poster.spans.get_finished_spans()
        if span.name == "process ledger.transfers"
    ]
    assert outcomes.count("replayed") == posted[0]["count"]


async def test_two_posters_share_the_work_without_posting_twice(ledger_site: LedgerSite) -> None:
    config = PosterConfig(fetch_wait_s=0.2, batch_count_max=7)
    await ledger_site.start_poster(config)
    await ledger_site.start_poster(config)
    answers: list[tuple[int, dict[str, Any]]] = await asyncio.gather(
        *(
            ledger_site.transfer(f"k{index}", "external:bank", f"account-{index % 5}", 10)
            for index in range(120)
        )
    )
    for status, answer in answers:
        assert status == 202
        assert (await ledger_site.settled(answer["status_url"]))["state"] == "posted"
    assert (await books(ledger_site))["external:bank"] == -1200


async def test_a_newer_database_is_refused(ledger_site: LedgerSite) -> None:
    await ledger_site.rows("insert into ledger.schema_version (version) values (99)")
    with pytest.raises(Exception, match="newer than"):
        await postgres.migrate(ledger_site.postgres)


async def _drained(site: LedgerSite) -> None:
    """Wait until the queue holds nothing that is still to be acknowledged."""
    client = await nats.connect(site.nats.url)
    try:
        for _ in range(1000):
            info = await client.jetstream().consumer_info(SHOPS_STREAM, CONSUMER)
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.02)
    finally:
        await client.close()
    msg = "the queue was not drained"
    raise AssertionError(msg)
