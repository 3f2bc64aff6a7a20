"""Goal: pending transfers, their ends and reversals survive the whole way: edge, queue, poster, database.

Method: edge and poster on real NATS and PostgreSQL from the wheels, asked over HTTP.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import orjson
import pytest

from sentinel.reference.ledger.posting import PosterConfig
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def ask(
    site: LedgerSite, path: str, key: str, body: object = None, *, tenant: str = "shop"
) -> tuple[int, dict[str, Any]]:
    async with site.http.post(
        path, json=body, headers={"X-Tenant": tenant, "Idempotency-Key": key}
    ) as response:
        return response.status, await response.json()


async def decided(site: LedgerSite, path: str, key: str, body: object = None) -> dict[str, Any]:
    status, accepted = await ask(site, path, key, body)
    assert status == 202, accepted
    return await site.settled(accepted["status_url"])


def body(debit: str, credit: str, amount: int, expires_in_s: int | None = None) -> dict[str, Any]:
    asked = {
        "debit_account": debit,
        "credit_account": credit,
        "amount_minor": amount,
        "currency": "EUR",
    }
    return asked if expires_in_s is None else {**asked, "expires_in_s": expires_in_s}


async def available(site: LedgerSite, account: str) -> tuple[int, int]:
    _, answer = await site.get(f"/v1/accounts/{account}/balance")
    return answer["balance_minor"], answer["available_minor"]


async def test_a_pending_transfer_is_posted_in_part_and_reversed(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    await decided(ledger_site, "/v1/transfers", "fund", body("external:bank", "alice", 100))
    held = await decided(ledger_site, "/v1/transfers", "hold", body("alice", "bob", 60, 600))
    assert (held["kind"], held["state"], held["hold"]["state"]) == ("pending", "posted", "open")
    assert await available(ledger_site, "alice") == (100, 40)
    pending = f"/v1/transactions/{held['transaction_id']}"
    much = await decided(ledger_site, f"{pending}/post", "much", {"amount_minor": 61})
    assert (much["state"], much["reason"]) == ("rejected", "exceeds_pending")
    post = await decided(ledger_site, f"{pending}/post", "post", {"amount_minor": 25})
    assert (post["kind"], post["state"], post["amount_minor"]) == ("post", "posted", 25)
    assert post["target_id"] == held["transaction_id"]
    assert await available(ledger_site, "alice") == (75, 75)
    assert await available(ledger_site, "bob") == (25, 25)
    late = await decided(ledger_site, f"{pending}/void", "void")
    assert late["reason"] == "pending_resolved"
    _, now = await ledger_site.get(pending)
    assert (now["hold"]["state"], now["hold"]["resolved_by"]) == ("posted", post["transaction_id"])
    moved = f"/v1/transactions/{post['transaction_id']}"
    back = await decided(ledger_site, f"{moved}/reverse", "back")
    assert (back["state"], back["debit_account"], back["credit_account"]) == (
        "posted",
        "bob",
        "alice",
    )
    again = await decided(ledger_site, f"{moved}/reverse", "again")
    assert again["reason"] == "already_reversed"
    assert await available(ledger_site, "alice") == (100, 100)
    entries = await ledger_site.rows("select sum(amount_minor)::int as total from ledger.entries")
    assert entries[0]["total"] == 0


async def test_what_is_pending_too_long_expires_by_itself(ledger_site: LedgerSite) -> None:
    config = PosterConfig(fetch_wait_s=0.2, expiry_interval_s=0.1)
    # Two of them: both notice, one transaction comes of it.
    await ledger_site.start_poster(config)
    await ledger_site.start_poster(config)
    await decided(ledger_site, "/v1/transfers", "fund", body("external:bank", "alice", 100))
    held = await decided(ledger_site, "/v1/transfers", "hold", body("alice", "bob", 60, 1))
    path = f"/v1/transactions/{held['transaction_id']}"
    _, now = await ledger_site.get(path)
    for _ in range(1000):
        if now["hold"]["state"] != "open":
            break
        await asyncio.sleep(0.01)
        _, now = await ledger_site.get(path)
    assert now["hold"]["state"] == "expired"
    assert await available(ledger_site, "alice") == (100, 100)
    _, expiry = await ledger_site.get(f"/v1/transactions/{now['hold']['resolved_by']}")
    assert (expiry["kind"], expiry["state"]) == ("expire", "posted")
    late = await decided(ledger_site, f"{path}/post", "late")
    assert late["reason"] == "pending_resolved"
    kinds = await ledger_site.rows(
        "select count(*) as count from ledger.transactions where kind = 'expire' and state = 'posted'"
    )
    assert kinds[0]["count"] == 1


async def test_a_step_of_another_tenant_moves_nothing(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    await decided(ledger_site, "/v1/transfers", "fund", body("external:bank", "alice", 100))
    held = await decided(ledger_site, "/v1/transfers", "hold", body("alice", "bob", 60, 600))
    path = f"/v1/transactions/{held['transaction_id']}"
    status, accepted = await ask(ledger_site, f"{path}/post", "steal", tenant="rival")
    assert status == 202
    state = await ledger_site.settled(accepted["status_url"], tenant="rival")
    assert (state["state"], state["reason"]) == ("rejected", "pending_unknown")
    assert (await ledger_site.get(path))[1]["hold"]["state"] == "open"


@pytest.mark.parametrize(
    ("path", "sent", "status", "code"),
    [
        ("/v1/transactions/nope/post", None, 400, "invalid_id"),
        (
            f"/v1/transactions/{'0' * 8}-0000-0000-0000-{'0' * 12}/post",
            {"a": 1},
            400,
            "unknown_field",
        ),
        (f"/v1/transactions/{'0' * 8}-0000-0000-0000-{'0' * 12}/expire", None, 404, "not_found"),
    ],
)
async def test_a_step_that_makes_no_sense_is_refused(
    ledger_site: LedgerSite, path: str, sent: object, status: int, code: str
) -> None:
    got, answer = await ask(ledger_site, path, "k", sent)
    assert (got, answer["code"]) == (status, code)


async def test_a_tenant_nobody_has_opened_is_refused(ledger_site: LedgerSite) -> None:
    status, answer = await ask(
        ledger_site, "/v1/transfers", "k", body("external:bank", "alice", 1), tenant="stranger"
    )
    assert (status, answer["code"]) == (403, "unknown_tenant")


async def test_a_payroll_is_one_request_and_a_state_for_each_item(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    await decided(ledger_site, "/v1/transfers", "fund", body("external:bank", "payroll", 1000))
    people = [f"person-{index}" for index in range(300)]
    items = [body("payroll", name, 3) for name in people]
    items[7] = body("payroll", "person-7", 2000)
    status, accepted = await ask(ledger_site, "/v1/batches", "june", {"items": items})
    assert status == 202
    done = await ledger_site.settled(accepted["status_url"])
    assert (done["state"], done["items_count"]) == ("decided", 300)
    assert (done["posted_count"], done["rejected_count"]) == (299, 1)
    assert [one["item"] for one in done["items"]] == list(range(300))
    assert done["items"][7]["reason"] == "insufficient_funds"
    _, one = await ledger_site.get(f"/v1/transactions/{done['items'][9]['transaction_id']}")
    assert (one["state"], one["credit_account"]) == ("posted", "person-9")
    _, rest = await ledger_site.get(f"/v1/batches/{accepted['batch_id']}?first_item=298")
    assert [one["item"] for one in rest["items"]] == [298, 299]
    # Again: the same answer and nothing moved; with another item: a conflict. The key is free for a transaction.
    status, again = await ask(ledger_site, "/v1/batches", "june", {"items": items})
    assert (status, again["batch_id"]) == (202, accepted["batch_id"])
    status, other = await ask(ledger_site, "/v1/batches", "june", {"items": items[1:]})
    assert (status, other["code"]) == (409, "idempotency_key_reused")
    assert (await decided(ledger_site, "/v1/transfers", "june", items[0]))["state"] == "posted"
    assert await available(ledger_site, "payroll") == (100, 100)
    assert (await ledger_site.get(f"/v1/batches/{accepted['batch_id']}", tenant="rival"))[0] == 404


async def test_a_batch_is_refused_whole_with_the_item_that_is_wrong(
    ledger_site: LedgerSite,
) -> None:
    items = [
        body("external:bank", "alice", 5),
        {**body("external:bank", "bob", 5), "amount_minor": 0},
    ]
    status, answer = await ask(ledger_site, "/v1/batches", "june", {"items": items})
    assert (status, answer["errors"][0]["field"]) == (400, "items[1].amount_minor")
    headers = {"X-Tenant": "shop", "Idempotency-Key": "june", "Content-Type": "application/json"}
    large = io.BytesIO(b" " * (1024 * 1024 + 1))
    async with ledger_site.http.post("/v1/batches", data=large, headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "body_too_large"
    assert (await ledger_site.get("/v1/accounts/alice/balance"))[0] == 404


@pytest.mark.parametrize(("body_bytes", "status"), [(1024 * 1024 - 300, 413), (1_030_000, 202)])
async def test_a_batch_that_is_too_large_for_the_queue_is_refused_for_good(
    ledger_site: LedgerSite, body_bytes: int, status: int
) -> None:
    """Within a few hundred bytes of the edge's own limit it outgrew NATS's, and was to be sent again for ever."""
    empty = orjson.dumps({"items": [body("a", "b", 1)] * 4999 + [body("a", "b", 1)]})
    # Amounts of more digits, until it has its size.
    room, items = body_bytes - len(empty), []
    for _ in range(5000):
        more = min(room, 2 * 63 + 9)
        room -= more
        debit, credit = min(more, 63), min(max(more - 63, 0), 63)
        amount = 10 ** max(more - 126, 0)
        items.append(body("a" + "a" * debit, "b" + "b" * credit, amount))
    sent = orjson.dumps({"items": items})
    assert len(sent) == body_bytes
    headers = {"X-Tenant": "shop", "Idempotency-Key": "june", "Content-Type": "application/json"}
    async with ledger_site.http.post(
        "/v1/batches", data=io.BytesIO(sent), headers=headers
    ) as response:
        answer = await response.json()
        assert response.status == status, answer
        if status == 413:
            assert answer["code"] == "body_too_large"
            assert "Retry-After" not in response.headers
