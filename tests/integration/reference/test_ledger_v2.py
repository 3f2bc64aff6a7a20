"""Goal: version 2 of each request does what version 1 does, and is told of at its own addresses.

Method: edge and poster on real servers; money is moved, reserved, posted in part and paid out by version 2.
"""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def ask(site: LedgerSite, path: str, key: str, body: object) -> tuple[int, dict[str, Any]]:
    headers = {"X-Tenant": "shop", "Idempotency-Key": key}
    async with site.http.post(path, json=body, headers=headers) as response:
        answer = await response.json()
        if response.status == 202:
            assert response.headers["Location"] == answer["status_url"]
            assert answer["status_url"].startswith("/v2/" if path.startswith("/v2/") else "/v1/")
        return response.status, answer


def movement(debit: str, credit: str, minor: int, **more: object) -> dict[str, object]:
    return {
        "debit_account": debit,
        "credit_account": credit,
        "amount": {"minor": minor, "currency": "EUR"},
        **more,
    }


async def decided(site: LedgerSite, path: str, key: str, body: object) -> dict[str, Any]:
    status, accepted = await ask(site, path, key, body)
    assert status == 202
    return await site.settled(accepted["status_url"])


async def test_each_request_of_version_two_does_its_work(ledger_site: LedgerSite) -> None:
    await ledger_site.start_poster()
    funded = await decided(
        ledger_site, "/v2/transfers", "fund", movement("external:bank", "alice", 500)
    )
    assert (funded["state"], funded["amount"]) == ("posted", {"minor": 500, "currency": "EUR"})
    assert "amount_minor" not in funded
    held = await decided(
        ledger_site,
        "/v2/transfers",
        "hold",
        movement("alice", "bob", 200, pending={"expires_in_s": 600}),
    )
    assert (held["kind"], held["hold"]["state"]) == ("pending", "open")
    path = f"/v2/transfers/{held['transaction_id']}"
    posted = await decided(ledger_site, f"{path}/post", "post", {"amount": {"minor": 150}})
    assert (posted["kind"], posted["amount"]["minor"]) == ("post", 150)
    late = await decided(ledger_site, f"{path}/void", "void", {})
    assert late["reason"] == "pending_resolved"
    back = await decided(
        ledger_site, f"/v2/transfers/{posted['transaction_id']}/reverse", "back", {}
    )
    assert back["state"] == "posted"
    batch = {"items": [movement("alice", name, 10) for name in ("carol", "dave")]}
    done = await decided(ledger_site, "/v2/batches", "june", batch)
    assert (done["state"], done["posted_count"]) == ("decided", 2)
    payee = {"account": "DE02120300000000202051", "name": "A. Person"}
    paid = {"debit_account": "alice", "amount": {"minor": 30, "currency": "EUR"}, "payee": payee}
    out = await decided(ledger_site, "/v2/disbursements", "out", paid)
    assert (out["kind"], out["amount"]["minor"]) == ("pending", 30)
    _, balance = await ledger_site.get("/v2/accounts/alice/balance")
    assert (balance["balance_minor"], balance["available_minor"]) == (480, 450)


async def test_a_client_may_change_its_version_between_two_tries(ledger_site: LedgerSite) -> None:
    first = await ledger_site.transfer("k", "external:bank", "alice", 500)
    again = await ask(ledger_site, "/v2/transfers", "k", movement("external:bank", "alice", 500))
    assert (first[0], again[0]) == (202, 202)
    assert first[1]["transaction_id"] == again[1]["transaction_id"]
    other = await ask(ledger_site, "/v2/transfers", "k", movement("external:bank", "alice", 501))
    assert (other[0], other[1]["code"]) == (409, "idempotency_key_reused")


async def test_a_field_is_told_by_its_name_in_version_two(ledger_site: LedgerSite) -> None:
    status, problem = await ask(ledger_site, "/v2/transfers", "k", movement("a", "b", -5))
    assert (status, problem["code"]) == (400, "invalid_field")
    assert problem["errors"][0]["field"] == "amount.minor"
    headers = {"X-Tenant": "shop", "Idempotency-Key": "k", "Content-Type": "application/json"}
    large = io.BytesIO(b" " * (1024 * 1024 + 1))
    async with ledger_site.http.post("/v2/batches", data=large, headers=headers) as response:
        status, problem = response.status, await response.json()
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_who_speaks_version_one_through_a_gateway_is_answered_in_it(
    ledger_site: LedgerSite,
) -> None:
    """The gateway has made version 2 of what its client sent, and says so."""
    headers = {"X-Tenant": "shop", "X-Ledger-Version": "1"}
    for minor, expected in ((5, 202), (-5, 400)):
        body = {
            "debit_account": "external:bank",
            "credit_account": "alice",
            "amount.minor": minor,
            "amount.currency": "EUR",
        }
        sent = {**headers, "Idempotency-Key": f"k{minor}"}
        async with ledger_site.http.post("/v2/transfers", json=body, headers=sent) as response:
            answer = await response.json()
            assert response.status == expected
        if expected == 202:
            assert answer["status_url"].startswith("/v1/transactions/")
        else:
            assert answer["errors"][0]["field"] == "amount_minor"
    names = {span.name for span in ledger_site.edge.spans.get_finished_spans()}
    assert "POST /v1/transfers" in names
    assert "POST /v2/transfers" not in names
