"""Goal: each operation of the contract is answered as it is told, and so is what each refuses.

Method: an edge with all of its routes, a poster and a sender of webhooks, on real servers. The client holds every answer against the document
(`tests/support/contract.py`) and fails on one that is not told of; here it is seen to that every operation was answered well, and which were
refused how.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from sentinel.reference.ledger.edge.contract import CONTRACT_PATH, OPERATIONS, rendered
from tests.support.contract import answered, check
from tests.support.ledger_servers import LedgerSite
from tests.support.webhook_receiver import WebhookSite

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.webhook_fixtures")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAYEE = {"account": "DE02120300000000202051", "name": "A. Person"}
NOWHERE = str(uuid.UUID(int=1))


class Asking:
    """Asks as the tenant `shop`; every request has a key of its own."""

    def __init__(self, site: LedgerSite) -> None:
        self.site = site
        self._number = 0

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and body, which have been held against the contract."""
        self._number += 1
        given = {"X-Tenant": "shop", "Idempotency-Key": f"k{self._number}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.site.http.request(method, path, json=body, headers=given) as response:
            return response.status, None if response.status == 204 else await response.json()

    async def settled(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What became of a write."""
        status, accepted = await self.ask(method, path, body)
        assert status == 202, accepted
        return await self.site.settled(accepted["status_url"])


def transfer(version: int, debit: str, credit: str, minor: int, **others: Any) -> dict[str, Any]:
    """A transfer's body in either version."""
    accounts = {"debit_account": debit, "credit_account": credit}
    if version == 1:
        return {**accounts, "amount_minor": minor, "currency": "EUR", **others}
    pending = {"pending": others} if others else {}
    return {**accounts, "amount": {"minor": minor, "currency": "EUR"}, **pending}


@pytest.mark.parametrize("version", [1, 2])
async def test_money_moves_as_it_is_told(endpoints_site: LedgerSite, version: int) -> None:
    asking = Asking(endpoints_site)
    await endpoints_site.start_poster()
    root, steps = f"/v{version}", "transactions" if version == 1 else "transfers"
    part: dict[str, Any] = {"amount_minor": 3} if version == 1 else {"amount": {"minor": 3}}
    moved: dict[str, Any] = {}
    for account in ("alice", "dave"):
        body = transfer(version, "external:bank", account, 90)
        moved = await asking.settled("POST", f"{root}/transfers", body)
        assert moved["state"] == "posted"
    held = []
    for _ in range(2):
        body = transfer(version, "alice", "bob", 5, expires_in_s=60)
        held.append((await asking.settled("POST", f"{root}/transfers", body))["transaction_id"])
    asked: tuple[tuple[str, Any], ...] = (
        (f"{root}/{steps}/{held[0]}/post", part),
        (f"{root}/{steps}/{held[1]}/void", None),
        (f"{root}/{steps}/{moved['transaction_id']}/reverse", {}),
        # Nobody knows what these are on: rejected, and without an amount.
        (f"{root}/{steps}/{NOWHERE}/post", None),
        (f"{root}/{steps}/{NOWHERE}/reverse", None),
    )
    for path, sent in asked:
        expected = "rejected" if NOWHERE in path else "posted"
        assert (await asking.settled("POST", path, sent))["state"] == expected, path
    status, found = await asking.ask("GET", f"{root}/transactions/{held[0]}")
    assert (status, found["hold"]["state"]) == (200, "posted")
    items = [transfer(version, "external:bank", "carol", 5), transfer(version, "poor", "carol", 5)]
    batch = await asking.settled("POST", f"{root}/batches", {"items": items})
    assert [one["state"] for one in batch["items"]] == ["posted", "rejected"]
    body = transfer(version, "external:bank", "", 7)
    del body["credit_account"]
    paid = await asking.settled("POST", f"{root}/disbursements", {**body, "payee": PAYEE})
    assert paid["disbursement"]["payee"] == PAYEE
    assert (await asking.ask("GET", f"{root}/accounts/bob/balance"))[1]["balance_minor"] == 3
    # The same key for another request.
    path, body = f"{root}/transfers", transfer(version, "external:bank", "alice", 1)
    assert (await asking.ask("POST", path, body, Idempotency_Key="one"))[0] == 202
    status, accepted = await asking.ask("POST", path, body, Idempotency_Key="one")
    assert status == 202
    await endpoints_site.settled(accepted["status_url"])
    body = transfer(version, "external:bank", "alice", 2)
    assert (await asking.ask("POST", path, body, Idempotency_Key="one"))[0] == 409
    other = accepted["status_url"].partition("?")[0] + "?request=another"
    assert (await asking.ask("GET", other))[1]["state"] == "conflict"
    suffix = "V1" if version == 1 else ""
    assert_answered(
        {
            one.id
            for one in OPERATIONS
            if one.path.startswith(f"/v{version}/")
            # Theirs is another test; and exports, which need an audit, are asked for in audit/test_ledger_exports.py.
            and one.tag not in ("Webhook endpoints", "Exports")
        }
    )
    assert answered[f"createTransfer{suffix}", 409]


async def test_what_waits_and_what_is_refused_is_as_it_is_told(endpoints_site: LedgerSite) -> None:
    ask = Asking(endpoints_site).ask
    body = transfer(2, "external:bank", "alice", 5)
    waiting: tuple[tuple[str, Any], ...] = (
        ("/v2/transfers", body),
        ("/v2/batches", {"items": [body]}),
        (f"/v2/transfers/{NOWHERE}/void", None),
    )
    for path, sent in waiting:
        status, accepted = await ask("POST", path, sent)
        assert status == 202
        # No poster runs: it waits.
        assert (await ask("GET", accepted["status_url"]))[1]["state"] == "pending"
    refused: dict[tuple[str, str], tuple[int, str]] = {}
    wrong: tuple[tuple[str, str, Any, dict[str, str]], ...] = (
        ("POST", "/v2/transfers", {**body, "more": 1}, {}),
        ("POST", "/v2/transfers", {**body, "credit_account": "external:bank"}, {}),
        ("POST", "/v2/transfers", [], {}),
        ("POST", "/v2/transfers", body, {"Idempotency_Key": ""}),
        ("POST", "/v2/transfers", body, {"X_Tenant": "nobody"}),
        ("POST", "/v2/transfers", body, {"X_Tenant": "No Name"}),
        ("POST", "/v2/transfers", body, {"Authorization": "Basic eDp5"}),
        ("POST", "/v2/transfers", body, {"Content_Type": "text/plain"}),
        ("POST", "/v2/transfers", body, {"Ledger_Position": "x"}),
        ("POST", "/v2/transfers", {**body, "debit_account": "a" * 9000}, {}),
        ("POST", "/v2/transfers/x/post", None, {}),
        ("POST", "/v2/batches", {"items": []}, {}),
        ("GET", "/v2/transactions/x", None, {}),
        ("GET", f"/v2/transactions/{NOWHERE}", None, {}),
        ("GET", f"/v2/batches/{NOWHERE}", None, {}),
        ("GET", f"/v2/batches/{NOWHERE}?first_item=x", None, {}),
        ("GET", "/v2/accounts/nobody/balance", None, {}),
        ("GET", "/v2/accounts/:x/balance", None, {}),
        ("GET", "/v2/nowhere", None, {}),
        ("DELETE", "/v2/transfers", None, {}),
    )
    for method, path, sent, headers in wrong:
        status, problem = await ask(method, path, sent, **headers)
        refused[method, path] = (status, problem["code"])
        assert status >= 400
    assert {status for status, _ in refused.values()} >= {400, 404, 405}
    assert {status for (name, status) in answered if name == "createTransfer"} >= {
        *(202, 400, 401, 403, 413, 415)
    }


async def test_webhook_endpoints_answer_as_it_is_told(
    webhook_site: WebhookSite, endpoints_site: LedgerSite
) -> None:
    ask, base = Asking(endpoints_site).ask, "/v2/webhook_endpoints"
    await webhook_site.start()
    url = webhook_site.receiver.url
    for signature in ("v1", "v1a"):
        status, made = await ask(
            "POST", base, {"url": f"{url}/{signature}", "signature": signature}
        )
        assert status == 201
        one = f"{base}/{made['endpoint_id']}"
        for method, path in (
            ("GET", base), ("GET", one), ("POST", f"{one}/rotate"), ("POST", f"{one}/enable"), ("POST", f"{one}/test"),
            ("GET", f"{one}/deliveries?limit=5"), ("DELETE", one),
        ):  # fmt: skip
            assert (await ask(method, path))[0] in (200, 202, 204), path
    assert_answered({one.id for one in OPERATIONS if one.tag == "Webhook endpoints"})
    for method, path, sent in (
        ("POST", base, {"url": "https://10.0.0.1/"}),
        ("POST", f"{base}/{NOWHERE}/rotate", {"overlap_s": -1}),
        ("GET", f"{base}/{NOWHERE}/deliveries?limit=x", None),
        ("DELETE", f"{base}/{NOWHERE}", None),
    ):
        assert (await ask(method, path, sent))[0] in (400, 404), path


async def test_the_edge_tells_anybody_what_it_answers(endpoints_site: LedgerSite) -> None:
    async with endpoints_site.http.get(CONTRACT_PATH) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.read() == rendered()
        mark = response.headers["ETag"]
    for known, status in ((mark, 304), (f'"other", W/{mark}', 304), ("*", 304), ('"other"', 200)):
        headers = {"If-None-Match": known}
        async with endpoints_site.http.get(CONTRACT_PATH, headers=headers) as response:
            assert (response.status, response.headers["ETag"]) == (status, mark), known
            assert await response.read() == (b"" if status == 304 else rendered()), known
    async with endpoints_site.http.get("/healthz") as response:
        assert response.status == 200
    assert_answered({"getContract", "getHealth"})


def test_an_answer_that_is_not_told_of_is_found() -> None:
    """The check itself: a member too much, one that is missing, another status, another type, another problem's code."""
    balance = (
        b'{"account_id":"a","currency":"EUR","balance_minor":1,"available_minor":1,"version":1%s}'
    )
    problem = b'{"type":"urn:x","title":"t","status":404,"detail":"d","code":"%s"}'
    json_type, problem_type = "application/json", "application/problem+json"
    check_balance(200, json_type, balance % b"")
    check_balance(404, problem_type, problem % b"unknown_account")
    for status, media_type, body in (
        (200, json_type, balance % b',"more":1'),
        (200, json_type, b'{"account_id":"a"}'),
        (200, "text/plain", balance % b""),
        (202, json_type, balance % b""),
        (404, problem_type, problem % b"unknown_batch"),
        (404, json_type, problem % b"unknown_account"),
    ):
        with pytest.raises(AssertionError):
            check_balance(status, media_type, body)
    with pytest.raises(AssertionError):
        check_balance(200, json_type, balance % b"", **{"RateLimit-Limit": "many"})


def check_balance(status: int, media_type: str, body: bytes, **headers: str) -> None:
    """Hold an answer about a balance against the contract."""
    given = {"Content-Type": media_type, **headers}
    check(method="GET", path="/v2/accounts/a/balance", status=status, headers=given, body=body)


def assert_answered(names: set[str]) -> None:
    """Fail unless each of these was answered well."""
    assert names
    assert {
        name
        for name in names
        if not any(answered[name, status] for status in (200, 201, 202, 204))
    } == set()
