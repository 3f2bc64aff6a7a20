"""Goal: what is written of a tenant by `sentinel-ledger tenant` is what the edge does.

Method: the command on a real PostgreSQL, and an edge that is asked more often than it may be, from where
it may not, and on behalf of others by proxies that are trusted and are not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.edge import EdgeConfig
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.tenants import Tenants
from tests.support.ledger_servers import LedgerSite, open_site

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PATH = "/v1/accounts/alice/balance"


Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def tenant(
    ledger_site: LedgerSite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """`sentinel-ledger tenant` on the site's database: a line of words, and more that may have spaces."""
    monkeypatch.setenv("LEDGER_POSTGRES_URL", ledger_site.postgres.url)

    async def command(line: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(run, ["tenant", *line.split(), *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


async def ask(site: LedgerSite, tenant: str, **headers: str) -> tuple[int, Any, dict[str, Any]]:
    """Status, headers and body of one read."""
    sent = {"X-Tenant": tenant} | {name.replace("_", "-"): text for name, text in headers.items()}
    async with site.http.get(PATH, headers=sent) as response:
        return response.status, response.headers, await response.json()


async def test_more_than_the_limit_is_told_when_to_come_again(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    assert (await tenant("add small"))[0] == 0
    assert (await tenant("limit small --tier enterprise --rps 1 --burst 3"))[0] == 0
    answers = [await ask(ledger_site, "small")]
    while answers[-1][0] == 404:
        answers.append(await ask(ledger_site, "small"))
    assert len(answers) >= 4
    assert {headers["RateLimit-Limit"] for _, headers, _ in answers} == {"1"}
    assert answers[0][1]["RateLimit-Remaining"] == "2"
    status, headers, problem = answers[-1]
    assert (status, problem["code"]) == (429, "rate_limited")
    assert headers["RateLimit-Remaining"] == "0"
    assert 0 < problem["retry_after_s"] <= int(headers["Retry-After"]) == 1
    assert int(headers["RateLimit-Reset"]) == 3
    # What a limit takes from one it takes from no other; and who waits is served.
    assert (await ask(ledger_site, "shop"))[0] == 404
    await asyncio.sleep(problem["retry_after_s"])
    assert (await ask(ledger_site, "small"))[0] == 404
    assert ledger_site.edge.values("ledger.edge.limited") == {("enterprise",): 1}


async def test_an_elevation_holds_from_its_start_to_its_end(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    await tenant("add batcher")
    code, said, _ = await tenant("elevate batcher --rps 5000 --for 2h --reason", "payroll of June")
    assert code == 0
    number = json.loads(said)["elevation_id"]
    later = datetime.now(UTC) + timedelta(minutes=30)
    assert (await tenant("elevate batcher --rps 9000 --for 1h --from", later.isoformat()))[0] == 0
    _, headers, _ = await ask(ledger_site, "batcher")
    assert headers["RateLimit-Limit"] == "5000"
    known = await Database.connect(ledger_site.postgres, application_name="test")
    try:
        found = await Tenants(known).find("batcher")
        assert found is not None
        now_ns = time.time_ns()
        minute_ns = 60 * 1_000_000_000
        assert found.allowance.at(now_ns - 10 * minute_ns) == Limit(rps=100, burst=200)
        assert found.allowance.at(now_ns + 29 * minute_ns) == Limit(rps=5000, burst=10_000)
        assert found.allowance.at(now_ns + 31 * minute_ns) == Limit(rps=9000, burst=18_000)
        assert found.allowance.at(now_ns + 91 * minute_ns) == Limit(rps=5000, burst=10_000)
        assert found.allowance.at(now_ns + 121 * minute_ns) == Limit(rps=100, burst=200)
        _, said, _ = await tenant("list -o json")
        listed = {one["tenant"]: one for one in json.loads(said)}["batcher"]
        assert [one["rps"] for one in listed["elevations"]] == [5000, 9000]
        assert listed["elevations"][0]["reason"] == "payroll of June"
        assert (await tenant("elevate batcher --end", str(number)))[0] == 0
        found = await Tenants(known).find("batcher")
        assert found is not None
        assert found.allowance.at(time.time_ns()) == Limit(rps=100, burst=200)
    finally:
        await known.close()
    code, _, error = await tenant("elevate batcher --end", str(number))
    assert (code, "no elevation" in error) == (2, True)


async def test_an_elevation_of_the_burst_alone_holds_and_one_of_the_rate_leaves_the_burst(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    for name, more in (("burster", "--rps 100 --burst 900"), ("pacer", "--rps 300 --burst 5")):
        await tenant(f"add {name}")
        code, _, error = await tenant(f"elevate {name} {more} --for 1h")
        assert (code, error) == (0, "")
    for name, expected in (
        ("burster", Limit(rps=100, burst=900)),
        ("pacer", Limit(rps=300, burst=200)),
    ):
        _, headers, _ = await ask(ledger_site, name)
        told = (int(headers["RateLimit-Limit"]), int(headers["RateLimit-Remaining"]) + 1)
        assert told == (expected.rps, expected.burst)


async def test_a_suspended_tenant_is_answered_nothing_until_it_is_resumed(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    await tenant("add leaver")
    assert (await tenant("suspend leaver"))[0] == 0
    since = json.loads((await tenant("list -o json"))[1])
    assert [one["tenant"] for one in since if one["suspended_at"]] == ["leaver"]
    status, _, problem = await ask(ledger_site, "leaver")
    assert (status, problem["code"]) == (403, "tenant_suspended")
    status, problem = await ledger_site.transfer("k", "external:bank", "bob", 5, tenant="leaver")
    assert (status, problem["code"]) == (403, "tenant_suspended")
    assert (await ask(ledger_site, "shop"))[0] == 404
    assert ledger_site.edge.values("ledger.auth.refused") == {("tenant_suspended",): 2}
    # Again: since when it was stays.
    await tenant("suspend leaver")
    assert json.loads((await tenant("list -o json"))[1]) == since
    assert "suspended since" in (await tenant("list"))[1]
    assert (await tenant("resume leaver"))[0] == 0
    async with open_site(ledger_site.nats, ledger_site.postgres) as site:
        assert (await ask(site, "leaver"))[0] == 404
    for word in ("suspend", "resume"):
        code, _, error = await tenant(f"{word} nobody")
        assert (code, "there is no tenant nobody" in error) == (2, True)


async def test_limits_are_read_again_while_the_tenant_is_served(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    now_s = 0.0
    database = await Database.connect(ledger_site.postgres, application_name="test")
    try:
        tenants = Tenants(database, steady_s=lambda: now_s)
        await tenant("add grower")
        first = await tenants.find("grower")
        await tenant("limit grower --tier enterprise --rps 700")
        assert await tenants.find("grower") == first
        now_s = 15.0
        # Nobody waits for what was asked again, and the next one has it.
        assert await tenants.find("grower") == first
        while (found := await tenants.find("grower")) == first:
            await asyncio.sleep(0.01)
        assert found is not None
        assert found.allowance.limit == Limit(rps=700, burst=1400)
    finally:
        await database.close()


async def test_only_the_networks_that_are_named_may_ask(
    ledger_site: LedgerSite, tenant: Command
) -> None:
    await tenant("add office --allow 198.51.100.0/24 --allow 2001:db8::/32")
    await tenant("add local --allow 127.0.0.0/8")
    status, _, problem = await ask(ledger_site, "office", X_Forwarded_For="198.51.100.7")
    assert (status, problem["code"]) == (403, "address_not_allowed")
    assert (await ask(ledger_site, "local"))[0] == 404
    assert ledger_site.edge.values("ledger.edge.address_refused") == {("standard",): 1}
    assert Event.EDGE_ADDRESS_REFUSED in ledger_site.edge.events()
    trusting = EdgeConfig(trusted_proxies=(ip_network("127.0.0.1/32"),))
    async with open_site(ledger_site.nats, ledger_site.postgres, trusting) as site:
        for forwarded, expected in (
            ("198.51.100.7", 404),
            ("2001:db8::1", 404),
            ("198.51.100.7, 203.0.113.1", 403),
            ("203.0.113.1, 198.51.100.7", 404),
            ("nonsense", 403),
        ):
            assert (await ask(site, "office", X_Forwarded_For=forwarded))[0] == expected
        # Behind the proxy it is the client's address that counts.
        assert (await ask(site, "local", X_Forwarded_For="198.51.100.7"))[0] == 403


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("add shop", "is there already"),
        ("limit nobody --rps 5", "there is no tenant nobody"),
        ("add new --rps 5", "needs --tier enterprise"),
        ("limit small --rps 5 --tier standard", "standard tier, which has no contracts"),
        ("limit small", "nothing to change"),
        ("limit small --burst 5", "--burst needs --rps"),
        ("limit small --allow-any --allow 10.0.0.0/8", "exclude each other"),
        ("limit small --rps 5 --no-contract", "exclude each other"),
        ("limit small --rps 2000000", "1 to 1000000 requests a second"),
        ("elevate small --rps 5", "needs --rps, and --until or --for"),
        ("elevate small --rps 5 --until 2020-01-01T00:00:00Z", "not in the past"),
        ("elevate nobody --rps 5 --for 1h", "there is no tenant nobody"),
        ("elevate small --rps 100 --for 1h", "would raise nothing"),
        ("elevate small --rps 20 --burst 200 --for 1h", "would raise nothing"),
        ("elevate small --end 1 --rps 5", "takes no other limits"),
    ],
)
async def test_what_cannot_be_meant_is_refused(tenant: Command, words: str, said: str) -> None:
    await tenant("add small")
    code, _, error = await tenant(words)
    assert code == 2
    assert said in error


async def test_a_list_is_for_people_and_for_programs(tenant: Command) -> None:
    await tenant("add big --tier enterprise --rps 1500 --burst 10 --allow 10.0.0.0/8")
    await tenant("elevate big --rps 3000 --for 1d --reason audit")
    _, said, _ = await tenant("list")
    assert "1500/s, burst 10 (contract), 10.0.0.0/8" in said
    assert "elevation 1: 3000/s, burst 6000" in said
    await tenant("limit big --no-contract --allow-any")
    _, said, _ = await tenant("list -o json")
    big = {one["tenant"]: one for one in json.loads(said)}["big"]
    assert (big["rps"], big["burst"], big["has_contract"]) == (1000, 2000, False)
    assert big["allow_cidrs"] == []
    assert big["tier"] == "enterprise"


async def test_the_gateway_is_told_what_the_register_says(
    tenant: Command, ledger_site: LedgerSite, tmp_path: Path
) -> None:
    await tenant("add plain")
    await tenant("add office --allow 198.51.100.0/24")
    await tenant("add batcher")
    await tenant("elevate batcher --rps 5000 --for 2h")
    assert (await tenant("tier standard --rps 150"))[0] == 0
    assert "standard    150/s, burst 300" in (await tenant("tier"))[1]
    assert (await tenant("tier --rps 5"))[0] == 2
    file = tmp_path / "kong.yml"
    assert await asyncio.to_thread(run, ["gateway", "-o", str(file)]) == 0
    services = {one["name"]: one for one in yaml.safe_load(file.read_text())["services"]}
    # Tenants of the tests are enterprises; who has the standard tier's terms needs nothing of his own.
    expected = {"ledger", "ledger-office", "ledger-batcher", "ledger-shop", "ledger-rival"}
    assert services.keys() == expected | {"ledger-health"}
    limit, networks = services["ledger-office"]["plugins"]
    assert limit["config"]["second"] == 450
    assert networks["config"]["allow"] == ["198.51.100.0/24"]
    assert services["ledger-batcher"]["plugins"][0]["config"]["second"] == 15_000
