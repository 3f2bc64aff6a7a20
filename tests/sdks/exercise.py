"""Uses the generated Python client as an integrator would: `use` a running ledger, `hear` its webhooks. JSON in, JSON out.

It is run by `tests/integration/reference/contract/test_sdks.py`, with the client on its path; `exercise.mjs` and `exercise.go` do the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ledger_client import (
    AccountsApi,
    ApiClient,
    Balance,
    BatchesApi,
    BatchRequest,
    Configuration,
    Money,
    PendingTerms,
    PostAmount,
    PostRequest,
    TransactionsApi,
    TransferRequest,
    TransfersApi,
    WebhookEndpointRequest,
    WebhookEndpointsApi,
    WebhookEvent,
)
from ledger_client.exceptions import ApiException
from standardwebhooks import Webhook


def transfer(debit: str, credit: str, minor: int, pending_s: int | None = None) -> TransferRequest:
    return TransferRequest(
        debit_account=debit,
        credit_account=credit,
        amount=Money(minor=minor, currency="EUR"),
        pending=None if pending_s is None else PendingTerms(expires_in_s=pending_s),
    )


def refusal(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        call()
    except ApiException as refused:
        problem, headers = refused.data, refused.headers
        told = {
            "status": refused.status,
            "code": problem.code,
            "fields": [error.field for error in problem.errors or []],
        }
        if problem.retry_after_s is not None:
            told["waits"] = problem.retry_after_s > 0 and int(headers["Retry-After"]) >= 1
        return told
    return {}


def settled(read: Callable[[], Any]) -> Any:
    for _ in range(1200):
        found = read()
        if found.state != "pending":
            return found
        time.sleep(0.05)
    raise SystemExit("it stayed pending")


def use(asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["name"]
    alice, bob = f"{name}-alice", f"{name}-bob"
    told: dict[str, Any] = {}
    with ApiClient(Configuration(host=asked["url"], access_token=asked["token"])) as client:
        transfers, transactions = TransfersApi(client), TransactionsApi(client)
        accounts, batches = AccountsApi(client), BatchesApi(client)
        request = transfer("external:bank", alice, 500)
        first = transfers.create_transfer_with_http_info(f"{name}-1", request)
        found = settled(lambda: transactions.get_transaction(first.data.transaction_id))
        told["transfer"] = [found.state, found.kind, found.amount.minor, found.amount.currency]
        position = first.headers["Ledger-Position"]
        balance = accounts.get_balance(alice, ledger_position=position)
        told["balance"] = [balance.balance_minor, balance.available_minor]
        again = transfers.create_transfer_with_http_info(f"{name}-1", request)
        # An answer of a later ledger, which says more.
        told["newer"] = Balance.from_json(json.dumps(asked["newer"])).balance_minor
        told["replayed"] = [
            again.data.transaction_id == first.data.transaction_id,
            again.headers.get("Idempotent-Replay"),
        ]
        told["reused"] = refusal(
            lambda: transfers.create_transfer(f"{name}-1", transfer("external:bank", alice, 501))
        )
        told["wrong"] = refusal(
            lambda: transfers.create_transfer(f"{name}-2", transfer(alice, alice, 1))
        )
        told["unknown"] = refusal(lambda: accounts.get_balance(f"{name}-nobody"))
        items = [transfer(alice, bob, 100), transfer(f"{name}-poor", bob, 1)]
        accepted = batches.create_batch(f"{name}-3", BatchRequest(items=items))
        batch = settled(lambda: batches.get_batch(accepted.batch_id))
        told["batch"] = [batch.state, *([one.state, one.reason] for one in batch.items)]
        pending = transfers.create_transfer(f"{name}-4", transfer(alice, bob, 50, 600))
        settled(lambda: transactions.get_transaction(pending.transaction_id))
        step = transfers.post_transfer(
            pending.transaction_id,
            f"{name}-5",
            post_request=PostRequest(amount=PostAmount(minor=30)),
        )
        posted = settled(lambda: transactions.get_transaction(step.transaction_id))
        held = transactions.get_transaction(pending.transaction_id).hold
        told["pending"] = [posted.state, posted.amount.minor, held.state, str(held.resolved_by) == str(step.transaction_id)]  # fmt: skip
        balance = accounts.get_balance(alice)
        told["left"] = [balance.balance_minor, balance.available_minor]
        endpoints = WebhookEndpointsApi(client)
        made = endpoints.create_webhook_endpoint(
            WebhookEndpointRequest(url=asked["hook_url"], signature="v1")
        )
        last = transfers.create_transfer(f"{name}-6", transfer(alice, bob, 1))
        endpoints.test_webhook_endpoint(made.endpoint_id)
        told["webhook"] = {
            "endpoint_id": str(made.endpoint_id),
            "transaction_id": str(last.transaction_id),
            "key": made.secret,
        }
    with ApiClient(
        Configuration(host=asked["url"], access_token=asked["limited_token"])
    ) as client:
        limited = AccountsApi(client)
        # Together, for one a second passes.
        with ThreadPoolExecutor(10) as pool:
            asked_at_once = [
                pool.submit(refusal, lambda: limited.get_balance("nobody")) for _ in range(50)
            ]
        refusals = [one.result() for one in asked_at_once]
        told["limited"] = next((one for one in refusals if one["status"] == 429), None)
    with ApiClient(Configuration(host=asked["url"])) as client:
        told["stranger"] = refusal(lambda: AccountsApi(client).get_balance("nobody"))
    return told


def hear(asked: dict[str, Any]) -> list[Any]:
    told = []
    for message in asked["messages"]:
        Webhook(asked["key"]).verify(message["body"], message["headers"])
        event = WebhookEvent.from_json(message["body"]).actual_instance
        which = event.data.endpoint_id if "endpoint" in event.type else event.data.transaction_id
        told.append([event.type, str(which)])
    return told


if __name__ == "__main__":
    json.dump({"use": use, "hear": hear}[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
