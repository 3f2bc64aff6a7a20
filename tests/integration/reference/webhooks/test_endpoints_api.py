"""Goal: a tenant keeps its own endpoints through the edge, sees a secret once, and learns what became of its webhooks.

Method: the edge with its register on real servers, under the roles that they have in earnest, and the process that sends.
"""

from __future__ import annotations

import uuid
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite
from tests.support.webhook_receiver import WebhookSite

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.webhook_fixtures")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BASE = "/v2/webhook_endpoints"


class Api:
    """Asks the edge as a tenant."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def ask(
        self, method: str, path: str = "", body: object = None, *, tenant: str = "shop"
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer."""
        async with self._http.request(
            method, BASE + path, json=body, headers={"X-Tenant": tenant}
        ) as response:
            return response.status, (await response.json()) if response.status != 204 else {}

    async def made(self, url: str, **others: object) -> dict[str, Any]:
        """A new endpoint."""
        status, answer = await self.ask("POST", "", {"url": url, **others})
        assert status == 201, answer
        return answer


@pytest.fixture
def api(endpoints_site: LedgerSite) -> Api:
    return Api(endpoints_site.http)


async def test_an_endpoint_from_its_registration_to_its_end(
    webhook_site: WebhookSite, api: Api
) -> None:
    site = webhook_site
    made = await api.made(
        site.receiver.url + "/hook", description="books", event_types=["transaction.posted"]
    )
    secret, path = made.pop("secret"), f"/{made['endpoint_id']}"
    assert made["state"] == "active"
    # The secret is shown once; what the database keeps is sealed.
    assert await api.ask("GET", path) == (200, made)
    assert await api.ask("GET") == (200, {"endpoints": [made]})
    (row,) = await site.rows("select secret from ledger.webhook_endpoints")
    assert secret.encode() not in row["secret"]
    await site.start()
    status, test = await api.ask("POST", f"{path}/test")
    assert status == 202
    (one,) = await eventually("the test", lambda: list(site.receiver.received), bool)
    assert Webhook(secret).verify(one.body, one.headers)["type"] == "webhook_endpoint.test"
    assert one.message_id == test["event_id"]

    async def delivered() -> list[dict[str, Any]]:
        status, answer = await api.ask("GET", f"{path}/deliveries?state=delivered&limit=5")
        assert status == 200
        return list(answer["deliveries"])

    (delivery,) = await eventually("its note", delivered, bool)
    assert delivery["delivery_id"] == test["delivery_id"]
    assert (delivery["last_status"], delivery["attempts_count"]) == (200, 1)
    assert await api.ask("DELETE", path) == (204, {})
    assert (await api.ask("GET", path))[0] == 404
    assert (await api.ask("DELETE", path))[0] == 404
    assert not await site.deliveries()


async def test_a_rotation_has_two_secrets_sign_and_a_second_one_waits(
    webhook_site: WebhookSite, api: Api
) -> None:
    site = webhook_site
    made = await api.made(site.receiver.url + "/hook")
    path = f"/{made['endpoint_id']}/rotate"
    status, second = await api.ask("POST", path)
    assert status == 200
    assert second["previous_secret_until"] is not None
    status, refused = await api.ask("POST", path, {"overlap_s": 60})
    assert (status, refused["code"]) == (409, "rotation_under_way")
    await site.start()
    await site.publish()
    await eventually("one", lambda: len(site.receiver.received), lambda count: count == 1)
    for secret in (made["secret"], second["secret"]):
        Webhook(secret).verify(site.receiver.received[0].body, site.receiver.received[0].headers)
    # A secret that somebody has stolen is ended at once.
    status, third = await api.ask("POST", path, {"overlap_s": 0})
    assert (status, third["previous_secret_until"]) == (200, None)
    (row,) = await site.rows("select previous_secret from ledger.webhook_endpoints")
    assert row["previous_secret"] is None


async def test_a_pair_shows_its_public_half_alone(webhook_site: WebhookSite, api: Api) -> None:
    made = await api.made(webhook_site.receiver.url + "/hook", signature="v1a")
    assert "secret" not in made
    assert made["public_key"].startswith("whpk_")
    _, rotated = await api.ask("POST", f"/{made['endpoint_id']}/rotate", {"overlap_s": 5})
    assert rotated["public_key"] != made["public_key"]


async def test_a_disabled_endpoint_is_enabled_and_what_waited_goes_out(
    webhook_site: WebhookSite, api: Api
) -> None:
    site = webhook_site
    made = await api.made(site.receiver.url + "/hook")
    path = f"/{made['endpoint_id']}"
    await site.start()
    site.receiver.answer("/hook", 429, Retry_After="3600")
    await site.publish()
    await eventually("tried", lambda: len(site.receiver.received), lambda count: count == 1)
    await site.execute(
        "update ledger.webhook_endpoints set state = 'disabled', disabled_because = 'failed_long'"
    )
    status, refused = await api.ask("POST", f"{path}/test")
    assert (status, refused["code"]) == (409, "endpoint_disabled")
    site.receiver.answer("/hook", 200)
    status, enabled = await api.ask("POST", f"{path}/enable")
    assert (status, enabled["state"], enabled["disabled_because"]) == (200, "active", None)
    await eventually(
        "delivered", site.deliveries, lambda rows: [one["state"] for one in rows] == ["delivered"]
    )


async def test_what_cannot_be_done_is_answered_with_why(
    webhook_site: WebhookSite, api: Api
) -> None:
    url = webhook_site.receiver.url
    made = await api.made(url + "/1")
    path = f"/{made['endpoint_id']}"
    status, answer = await api.ask("POST", "", {"url": url + "/1"})
    assert (status, answer["code"]) == (409, "endpoint_exists")
    assert made["endpoint_id"] in answer["detail"]
    await api.made(url + "/2")
    await api.made(url + "/3")
    status, answer = await api.ask("POST", "", {"url": url + "/4"})
    assert (status, answer["code"]) == (409, "too_many_endpoints")
    assert (await api.ask("POST", "", {"url": url + "/4"}, tenant="rival"))[0] == 201
    for body, field in (({"url": "https://10.0.0.1/"}, ["url"]), ({"x": 1}, ["x"]), ([], [])):
        status, answer = await api.ask("POST", "", body)
        assert (status, [one["field"] for one in answer.get("errors", ())]) == (400, field)
    for query in ("?state=lost", "?limit=0", "?limit=x", "?limit=201"):
        assert (await api.ask("GET", f"{path}/deliveries{query}"))[0] == 400
    assert (await api.ask("GET", "/x"))[0] == 400
    assert (await api.ask("GET", f"/{uuid.uuid4()}"))[0] == 404
    assert (await api.ask("POST", f"{path}/test"))[0] == 202
    status, answer = await api.ask("POST", f"{path}/test")
    assert (status, answer["code"]) == (409, "too_many_tests")
    # Another tenant's endpoint is as good as none.
    for method, what in (
        ("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/enable"), ("POST", "/test"),
        ("GET", "/deliveries"),
    ):  # fmt: skip
        status, answer = await api.ask(method, path + what, tenant="rival")
        assert (status, answer["code"]) == (404, "unknown_endpoint"), what
    assert (await api.ask("GET", path))[0] == 200
