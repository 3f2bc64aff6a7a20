"""Goal: the edge lets in who shows a token or a certificate, each only to what is their tenant's, and tells all others how to come in.

Method: a real edge over TLS with real certificates and a real issuer, on NATS and PostgreSQL from the wheels.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sentinel.reference.ledger.domain import UnreadableError, UsageError
from sentinel.reference.ledger.edge import listening, server
from sentinel.reference.ledger.edge.auth import AuthConfig, IssuerConfig, Reason, TlsConfig
from sentinel.reference.ledger.edge.auth.tls import ServerTls
from sentinel.reference.ledger.edge.bodies import read_json
from sentinel.reference.ledger.edge.contract import OPERATIONS
from sentinel.reference.ledger.edge.endpoints import WebhookEndpoints
from sentinel.reference.ledger.edge.exports import Exports
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.config import NatsConfig
from tests.support.contract import conforming
from tests.support.ledger_certificates import Authority
from tests.support.ledger_issuer import Issuer, running_issuer
from tests.support.ledger_metrics import Counted
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    delete_streams,
    open_ledger,
    open_site,
    recorded,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BODY = {
    "debit_account": "external:bank",
    "credit_account": "till",
    "amount_minor": 5,
    "currency": "EUR",
}


@dataclass(slots=True)
class Guarded:
    """An edge that wants credentials, and who can give them."""

    site: LedgerSite
    url: str
    authority: Authority
    issuer: Issuer
    counted: Counted

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        files: tuple[Path, Path] | None = None,
        body: dict[str, object] | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, Any], str]:
        """Ask over a connection of its own; returns status, body and challenge."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        connector = aiohttp.TCPConnector(ssl=self.authority.client(files))
        async with (
            aiohttp.ClientSession(self.url, connector=connector, middlewares=[conforming]) as http,
            http.request(method, path, json=body, headers=given) as response,
        ):
            challenge = response.headers.get("WWW-Authenticate", "")
            return response.status, await response.json(), challenge

    def tenant(self, name: str) -> tuple[Path, Path]:
        """A certificate of a tenant."""
        return self.authority.issue(f"client-{name}", uris=(f"urn:ledger:tenant:{name}",))


@pytest.fixture
async def guarded(ledger_servers: LedgerServers, tmp_path: Path) -> AsyncIterator[Guarded]:
    authority, counted = Authority(tmp_path, "ours"), Counted()
    cert_file, key_file = authority.issue("edge", server=True)
    tls = TlsConfig(
        cert_file=cert_file, key_file=key_file, client_ca_file=authority.file, poll_s=0.05
    )
    postgres_config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    nats_config = NatsConfig(url=ledger_servers.nats_url)
    async with running_issuer() as issuer:
        auth = AuthConfig(issuer=IssuerConfig(url=issuer.url), tls=tls)
        async with open_site(
            nats_config, postgres_config, auth=auth, edge_telemetry=counted.telemetry
        ) as site:
            url = str(site.http._base_url).rstrip("/")
            yield Guarded(site, url, authority, issuer, counted)


async def test_tokens_and_certificates_reach_their_own_tenant_only(guarded: Guarded) -> None:
    ask, issuer = guarded.ask, guarded.issuer
    status, accepted, _ = await ask(
        "POST", "/v1/transfers", token=issuer.token(), body=BODY, Idempotency_Key="a"
    )
    assert status == 202
    await guarded.site.start_poster()
    status_url = accepted["status_url"]
    for _ in range(500):
        status, state, _ = await ask("GET", status_url, files=guarded.tenant("shop"))
        if (status, state.get("state")) == (200, "posted"):
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the transfer was not posted")
    # The token of another tenant sees nothing, by whatever path it asks.
    stranger, bare = issuer.token(tenant="rival"), status_url.partition("?")[0]
    for path in (bare, "/v1/accounts/till/balance"):
        assert (await ask("GET", path, token=issuer.token()))[0] == 200
        assert (await ask("GET", path, token=stranger))[0] == 404
        assert (await ask("GET", path, files=guarded.tenant("rival")))[0] == 404
    reading = issuer.token(scope="ledger.read")
    assert (await ask("GET", "/v1/accounts/till/balance", token=reading))[0] == 200
    # HEAD reads as GET does; it once needed the right to write.
    connector = aiohttp.TCPConnector(ssl=guarded.authority.client())
    async with (
        aiohttp.ClientSession(guarded.url, connector=connector) as http,
        http.head(
            "/v1/accounts/till/balance", headers={"Authorization": f"Bearer {reading}"}
        ) as head,
    ):
        assert (head.status, await head.read()) == (200, b"")
    status, told, challenge = await ask(
        "POST", "/v1/transfers", token=reading, body=BODY, Idempotency_Key="b"
    )
    assert (status, code(told)) == (403, "insufficient_scope")
    assert 'scope="ledger.write"' in challenge


async def test_who_is_not_known_is_told_how_to_come_in(guarded: Guarded) -> None:
    path = f"/v1/transactions/{uuid.uuid4()}"
    status, told, challenge = await guarded.ask("GET", path, X_Tenant="shop")
    assert (status, code(told), challenge) == (401, "no_credentials", 'Bearer realm="ledger"')
    status, told, challenge = await guarded.ask("GET", path, token=guarded.issuer.token(exp=1))
    assert (status, code(told)) == (401, "token_expired")
    assert 'error="invalid_token"' in challenge
    # Certificate and token are of two tenants.
    status, told, challenge = await guarded.ask(
        "GET", path, token=guarded.issuer.token(), files=guarded.tenant("rival")
    )
    assert (status, code(told)) == (403, "tenant_mismatch")
    assert challenge
    nobody = guarded.issuer.token(tenant="nobody-opened-it")
    status, told, _ = await guarded.ask("GET", path, token=nobody)
    assert (status, code(told)) == (403, "unknown_tenant")
    for names in ((), ("urn:ledger:tenant:a", "urn:ledger:tenant:b"), ("urn:ledger:tenant:/",)):
        files = guarded.authority.issue("unnamed", uris=names)
        status, told, challenge = await guarded.ask("GET", path, files=files)
        assert (status, code(told)) == (401, "certificate_without_tenant")
        assert challenge
    counted = guarded.counted
    for reason in ("no_credentials", "token_expired", "tenant_mismatch", "unknown_tenant"):
        assert counted.value("ledger.auth.refused", reason) == 1
    assert counted.value("ledger.auth.refused", "certificate_without_tenant") == 3


async def test_certificates_that_are_not_ours_end_the_handshake_and_are_counted(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    foreign = Authority(tmp_path / "theirs", "theirs")
    shop = ("urn:ledger:tenant:shop",)
    shown = {
        Reason.CERTIFICATE_EXPIRED: guarded.authority.issue("late", uris=shop, days=-1),
        Reason.CERTIFICATE_FOREIGN: foreign.issue("foreign", uris=shop),
        # The edge's own certificate is a server's: nobody comes in with it.
        Reason.CERTIFICATE_REFUSED: guarded.authority.issue("servers", uris=shop, server=True),
    }
    for reason, files in shown.items():
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
            # No GET, which the client would send twice.
            await guarded.ask("POST", "/v1/transfers", body=BODY, files=files)
        assert guarded.counted.value("ledger.auth.refused", reason) == 1
    status, _, _ = await guarded.ask(
        "GET", "/v1/accounts/till/balance", files=guarded.tenant("shop")
    )
    assert status == 404
    left_s = guarded.counted.value("ledger.auth.certificate.expiry") - time.time()
    assert 0 < left_s <= 86_400


async def test_new_authorities_count_without_a_restart_and_half_a_file_changes_nothing(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next", "next")
    newer = following.issue("newer", uris=("urn:ledger:tenant:shop",))
    path, counted = "/v1/accounts/till/balance", guarded.counted
    ours = guarded.authority.file.read_bytes()
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(ours)
    cert_file, key_file = guarded.authority.issue("edge-2", server=True)
    tls = ServerTls(
        TlsConfig(cert_file=cert_file, key_file=key_file, client_ca_file=authorities),
        telemetry=counted.telemetry,
    )
    tls.load()
    before = tls.context.current
    assert not tls.reload()
    authorities.write_bytes(ours[: len(ours) // 2])
    assert not tls.reload()
    authorities.unlink()
    assert not tls.reload()
    assert tls.context.current is before
    # And at an edge that runs, whose authorities are replaced: the old one's clients are refused.
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
        await guarded.ask("GET", path, files=newer)
    trusting = guarded.authority.client(newer)
    kept = aiohttp.TCPConnector(ssl=guarded.authority.client(guarded.tenant("shop")))
    async with aiohttp.ClientSession(guarded.url, connector=kept) as http:
        async with http.get(path) as response:
            assert "Connection" not in response.headers
        guarded.authority.file.write_bytes(following.file.read_bytes())
        async with asyncio.timeout(10):
            while await answered(guarded.url + path, trusting) != 404:
                await asyncio.sleep(0.05)
        # A connection that stood has one answer more.
        async with http.get(path) as response:
            assert (response.status, response.headers["Connection"]) == (404, "close")
    older = Authority.client(following, guarded.tenant("shop"))
    older.load_verify_locations(cadata=ours.decode())
    assert await answered(guarded.url + path, older) is None


async def answered(url: str, context: ssl.SSLContext) -> int | None:
    """The status of an answer; None when the connection was refused."""
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
            http.get(url) as response,
        ):
            return response.status
    except (aiohttp.ClientError, ssl.SSLError, OSError):
        return None


async def test_a_revoked_certificate_is_cut_off_and_the_others_are_not(
    ledger_servers: LedgerServers, tmp_path: Path
) -> None:
    authority, counted = Authority(tmp_path, "ours"), Counted()
    cert_file, key_file = authority.issue("edge", server=True)
    shop, rival = (
        authority.issue(name, uris=(f"urn:ledger:tenant:{name}",)) for name in ("shop", "rival")
    )
    crl_file = authority.revoke(tmp_path / "crl.pem")
    tls = TlsConfig(
        cert_file=cert_file,
        key_file=key_file,
        client_ca_file=authority.file,
        client_crl_file=crl_file,
        poll_s=0.05,
    )
    postgres_config = await open_ledger(ledger_servers)
    async with open_site(
        NatsConfig(url=ledger_servers.nats_url),
        postgres_config,
        auth=AuthConfig(tls=tls),
        edge_telemetry=counted.telemetry,
    ) as site:
        url = str(site.http._base_url).rstrip("/") + "/v1/accounts/till/balance"
        kept = aiohttp.TCPConnector(ssl=authority.client(shop))
        async with aiohttp.ClientSession(connector=kept) as http:
            async with http.get(url) as response:
                assert response.status == 404
            authority.revoke(crl_file, shop)
            async with asyncio.timeout(10):
                while await answered(url, authority.client(shop)) is not None:
                    await asyncio.sleep(0.05)
            # A connection that stood has one answer more.
            async with http.get(url) as response:
                assert (response.status, response.headers["Connection"]) == (404, "close")
            with pytest.raises((aiohttp.ClientError, OSError)):
                await http.get(url)
        assert await answered(url, authority.client(rival)) == 404
        assert counted.value("ledger.auth.refused", "certificate_revoked") >= 2
        assert counted.value("ledger.auth.crl.expiry") > time.time()
        # A list that is out of date says nothing of anybody, so nobody is believed.
        authority.revoke(crl_file, shop, days=-1)
        async with asyncio.timeout(10):
            while await answered(url, authority.client(rival)) is not None:
                await asyncio.sleep(0.05)
        assert counted.value("ledger.auth.refused", "certificate_unchecked") >= 1
        assert counted.value("ledger.auth.crl.expiry") < time.time()
        assert await answered(url, authority.client()) == 401


def test_a_revocation_list_that_runs_out_is_told_once(tmp_path: Path) -> None:
    authority, heard, now_s = Authority(tmp_path, "ours"), recorded("edge"), time.time()
    cert_file, key_file = authority.issue("edge", server=True)
    crl_file = authority.revoke(tmp_path / "crl.pem", days=1)
    other = Authority(tmp_path, "other").revoke(tmp_path / "other.pem", days=5)
    crl_file.write_bytes(other.read_bytes() + crl_file.read_bytes())
    config = TlsConfig(
        cert_file=cert_file,
        key_file=key_file,
        client_ca_file=authority.file,
        client_crl_file=crl_file,
    )
    tls = ServerTls(config, telemetry=heard.telemetry, now_s=lambda: now_s)
    tls.load()
    assert heard.events() == []
    # Of several lists the first that runs out counts.
    now_s += 86_500
    for _ in range(3):
        tls.tell_of_late_crl()
    assert heard.events() == [Event.AUTH_CRL_EXPIRED]
    authority.revoke(crl_file, days=3)
    assert tls.reload()
    tls.tell_of_late_crl()
    assert heard.events() == [Event.AUTH_CRL_EXPIRED, Event.AUTH_TLS_RELOADED]
    # What holds no list is none: the old one stays in use.
    crl_file.write_bytes(authority.file.read_bytes())
    assert not tls.reload()
    with pytest.raises(UnreadableError, match="holds no revocation list"):
        ServerTls(config, telemetry=heard.telemetry).load()
    with pytest.raises(UsageError, match="needs the authorities"):
        TlsConfig(cert_file=cert_file, key_file=key_file, client_crl_file=crl_file)


def test_files_that_make_no_tls_are_refused_at_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    cert_file, _ = authority.issue("edge", server=True)
    _, other_key = authority.issue("other", server=True)
    for key_file in (other_key, tmp_path / "absent"):
        config = TlsConfig(cert_file=cert_file, key_file=key_file)
        with pytest.raises(UnreadableError):
            ServerTls(config, telemetry=Counted().telemetry).load()


def code(told: dict[str, Any]) -> str:
    """The code of an error's answer."""
    return str(told["code"])


# Whoever watches the process and whoever reads the contract need no tenant.
OPEN = {"/healthz", "/openapi.json"}


async def test_no_route_is_open_but_those_that_are_meant_to_be(
    ledger_servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route that is registered is asked, so that a new one without a guard is found here."""
    apps: list[web.Application] = []

    class Seen(listening.Listener):
        def __init__(self, app: web.Application, **others: Any) -> None:
            # Those of webhooks and exports as well, which this edge has no keys or role for: their guard comes first.
            edge = others["told"].failed.__self__
            for part in (WebhookEndpoints.__new__(WebhookEndpoints), Exports.__new__(Exports)):
                part.add_routes(
                    app.router, tenant=edge._tenant, body=partial(read_json, timeout_s=1)
                )
            apps.append(app)
            super().__init__(app, **others)

    monkeypatch.setattr(server, "Listener", Seen)
    postgres_config = await open_ledger(ledger_servers)
    await delete_streams(ledger_servers.nats_url)
    auth = AuthConfig(issuer=IssuerConfig(url="http://127.0.0.1:9"))
    answers: dict[str, tuple[int, bool]] = {}
    async with open_site(
        NatsConfig(url=ledger_servers.nats_url), postgres_config, auth=auth
    ) as site:
        for route in apps[0].router.routes():
            assert route.resource is not None
            path = re.sub(r"\{[^}]+\}", str(uuid.uuid4()), route.resource.canonical)
            if route.method == "HEAD" or path in OPEN:
                continue
            headers = {"X-Tenant": "shop", "Idempotency-Key": "k"}
            async with site.http.request(route.method, path, json={}, headers=headers) as response:
                told = response.headers.get("WWW-Authenticate")
                answers[f"{route.method} {path}"] = (response.status, told is not None)
    # Each is in the contract, and whatever is there is a route.
    assert {
        (route.method, route.resource.canonical)
        for route in apps[0].router.routes()
        if route.method != "HEAD" and route.resource is not None
    } == {(one.method, one.path) for one in OPERATIONS}
    assert len(answers) >= 20
    assert {one for one, answer in answers.items() if answer != (401, True)} == set()
