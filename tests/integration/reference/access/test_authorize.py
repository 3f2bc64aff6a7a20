"""Goal: a person comes to a token by code and PKCE and uses it at the edge, and whoever cuts a corner on the way gets none.

Method: the authorization server on loopback, walked through as a browser would, without one; the edge's own check believes its tokens.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from multidict import CIMultiDict

from sentinel.reference.ledger.authorize import (
    Accounts,
    Client,
    User,
    read_accounts,
)
from sentinel.reference.ledger.authorize.memory import Failures, Kept
from sentinel.reference.ledger.authorize.server import AuthorizeConfig, AuthorizeServer
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.edge.auth import (
    AuthConfig,
    Authenticator,
    AuthRefusedError,
    IssuerConfig,
    Reason,
    Scope,
)
from sentinel.reference.ledger.operate.authorizing import accounts_for
from sentinel.reference.ledger.operate.state import write_private
from tests.support.ledger_metrics import Counted

pytestmark = pytest.mark.integration

BACK = "http://127.0.0.1:8765/callback"
ACCOUNTS = Accounts(
    clients={
        "app": Client(id="app", name="Till <b>7</b>", redirect_uris=(BACK,)),
        "other": Client(id="other", redirect_uris=("http://127.0.0.1:8766/",)),
        "machine": Client(id="machine", secret="a-long-secret", tenant="rival"),
    },
    users={"ann": User(name="ann", password="correct horse", tenant="shop")},
)


@dataclass(slots=True)
class Clock:
    """Seconds that pass when they are told to."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


@dataclass(slots=True)
class Walk:
    """A browser and a program before an authorization server."""

    server: AuthorizeServer
    http: aiohttp.ClientSession
    clock: Clock
    counted: Counted
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """What the program sends ahead of its verifier."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    async def ask(self, **changed: str | None) -> tuple[int, str, aiohttp.ClientResponse]:
        """What a browser gets that a program has sent here."""
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "app",
            "redirect_uri": BACK,
            "scope": "ledger.read",
            "state": "s-1",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        asked = {name: value for name, value in given.items() if value is not None}
        async with self.http.get("/authorize", params=asked, allow_redirects=False) as response:
            return response.status, await response.text(), response

    async def decide(
        self, page: str, decision: str = "allow", password: str = "correct horse", **headers: str
    ) -> tuple[int, str, str]:
        """What comes of the page's form: status, where it leads, and the page."""
        [consent] = re.findall(r'name="consent" value="([^"]+)"', page)
        form = {"consent": consent, "decision": decision, "name": "ann", "password": password}
        async with self.http.post(
            "/authorize", data=form, headers=headers, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Location", ""), await response.text()

    async def code(self, **changed: str | None) -> str:
        """A code, allowed by the person."""
        _, page, _ = await self.ask(**changed)
        status, location, _ = await self.decide(page)
        assert status == 303
        return parse_qs(urlsplit(location).query)["code"][0]

    async def token(self, code: str, **changed: str | None) -> tuple[int, dict[str, Any]]:
        """What the program gets for the code."""
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": "app",
            "redirect_uri": BACK,
            "code": code,
            "code_verifier": self.verifier,
            **changed,
        }
        asked = {name: value for name, value in form.items() if value is not None}
        async with self.http.post("/token", data=asked) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def machine(self, secret: str = "a-long-secret") -> tuple[int, dict[str, Any]]:
        """What a program gets for itself."""
        async with self.http.post(
            "/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": aiohttp.encode_basic_auth("machine", secret)},
        ) as response:
            return response.status, await response.json()


@pytest.fixture
async def walk() -> AsyncIterator[Walk]:
    counted, clock = Counted(), Clock()
    server = AuthorizeServer(
        AuthorizeConfig(codes_count_max=3),
        ACCOUNTS,
        telemetry=counted.telemetry,
        monotonic_s=clock,
    )
    url = await server.start()
    try:
        jar = aiohttp.CookieJar(unsafe=True)  # the host is an address
        async with aiohttp.ClientSession(url, cookie_jar=jar) as http:
            yield Walk(server, http, clock, counted)
    finally:
        await server.stop()


@asynccontextmanager
async def edge_of(walk: Walk, **config: float) -> AsyncIterator[Authenticator]:
    """The edge's check, with this issuer."""
    issuer = IssuerConfig(url=walk.server.url, **config)  # type: ignore[arg-type]  # times alone
    auth = Authenticator(AuthConfig(issuer=issuer), telemetry=walk.counted.telemetry)
    await auth.start("127.0.0.1")
    try:
        yield auth
    finally:
        await auth.stop()


def bearing(token: object) -> CIMultiDict[str]:
    return CIMultiDict({"Authorization": f"Bearer {token}"})


async def test_a_person_lets_a_program_in_and_the_edge_knows_whose_it_is(walk: Walk) -> None:
    async with walk.http.get("/.well-known/openid-configuration") as response:
        told = await response.json()
    assert told["issuer"] == walk.server.url
    assert told["code_challenge_methods_supported"] == ["S256"]
    status, page, response = await walk.ask()
    assert status == 200
    # What the client calls itself is text, there is no script, and the form leads back to it alone.
    assert "Till &lt;b&gt;7&lt;/b&gt; wants to use the ledger as you" in page
    assert "see transactions and balances" in page
    assert "move money" not in page
    assert "<script" not in page
    assert (
        "form-action 'self' http://127.0.0.1:8765;" in response.headers["Content-Security-Policy"]
    )
    status, location, _ = await walk.decide(page)
    back = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert (status, location.partition("?")[0]) == (303, BACK)
    assert (back["state"], back["iss"]) == ("s-1", walk.server.url)
    status, given = await walk.token(back["code"])
    assert (status, given["token_type"], given["scope"]) == (200, "Bearer", "ledger.read")
    async with edge_of(walk) as auth:
        caller = await auth.authenticate(bearing(given["access_token"]), None, needs=Scope.READ)
        assert (caller.tenant, caller.scopes) == ("shop", frozenset({Scope.READ}))
        with pytest.raises(AuthRefusedError):
            await auth.authenticate(bearing(given["access_token"]), None, needs=Scope.WRITE)
        # A program for itself, and not by what it is not.
        status, given = await walk.machine()
        assert status == 200
        caller = await auth.authenticate(bearing(given["access_token"]), None, needs=Scope.WRITE)
        assert caller.tenant == "rival"
    assert walk.counted.value("ledger.authorize.tokens.issued", "authorization_code") == 1
    assert walk.counted.value("ledger.authorize.tokens.issued", "client_credentials") == 1


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "everything"}, "invalid_scope"),
    ],
)
async def test_a_request_that_is_wrong_goes_back_to_the_program(
    changed: dict[str, str | None], error: str, walk: Walk
) -> None:
    status, _, response = await walk.ask(**changed)
    location = response.headers["Location"]
    assert status == 302
    assert location.startswith(BACK)
    assert parse_qs(urlsplit(location).query)["error"] == [error]
    assert walk.counted.value("ledger.authorize.refused") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": BACK.replace("8765", "8767")},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": None},
        {"client_id": "nobody"},
        {"client_id": "machine"},
        {"client_id": None},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_the_clients(
    changed: dict[str, str | None], walk: Walk
) -> None:
    status, page, response = await walk.ask(**changed)
    assert status in (400, 401)
    assert "Location" not in response.headers
    assert "This cannot be asked" in page


async def test_a_code_is_good_once_for_who_asked_and_not_for_long(walk: Walk) -> None:
    code = await walk.code()
    assert (await walk.token(code))[0] == 200
    status, told = await walk.token(code)
    assert (status, told["error"]) == (400, "invalid_grant")
    for changed in (
        {"code_verifier": secrets.token_urlsafe(48)},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": None},
        {"client_id": "other"},
    ):
        walk.clock.now_s += 120  # past the count of wrong guesses
        code = await walk.code()
        status, told = await walk.token(code, **changed)
        assert (status, told["error"]) == (400, "invalid_grant")
        # One guess was all there was.
        assert (await walk.token(code))[1]["error"] == "invalid_grant"
    walk.clock.now_s += 120
    status, told = await walk.token(await walk.code(), code_verifier=None)
    assert (status, told["error"]) == (400, "invalid_request")
    code = await walk.code()
    walk.clock.now_s += 31
    assert (await walk.token(code))[1]["error"] == "invalid_grant"
    codes = [await walk.code() for _ in range(4)]
    assert (await walk.token(codes[0]))[1]["error"] == "invalid_grant"
    assert (await walk.token(codes[3]))[0] == 200
    assert walk.counted.value("ledger.authorize.dropped", "code") == 1


async def test_only_the_person_in_that_browser_decides_and_may_say_no(walk: Walk) -> None:
    _, page, _ = await walk.ask()
    status, location, _ = await walk.decide(page, "deny")
    assert status == 303
    assert parse_qs(urlsplit(location).query)["error"] == ["access_denied"]
    # It is decided: the form leads nowhere any more.
    assert (await walk.decide(page))[0] == 400
    _, page, _ = await walk.ask()
    assert (await walk.decide(page, Origin="https://evil.example"))[0] == 400
    walk.http.cookie_jar.clear()
    assert (await walk.decide(page))[0] == 400
    _, page, _ = await walk.ask()
    walk.clock.now_s += 301
    assert (await walk.decide(page))[0] == 400


async def test_whoever_guesses_has_to_wait(walk: Walk) -> None:
    _, page, _ = await walk.ask()
    for _ in range(5):
        status, _, told = await walk.decide(page, password="wrong guess")
        assert status == 403
        assert "Name or password is wrong" in told
    status, _, told = await walk.decide(page)
    assert status == 429
    assert "wait a minute" in told
    walk.clock.now_s += 61
    assert (await walk.decide(page))[0] == 303
    for _ in range(5):
        assert (await walk.machine("wrong"))[0] == 401
    status, told_json = await walk.machine()
    assert (status, told_json["error"]) == (429, "too_many_failures")
    walk.clock.now_s += 61
    assert (await walk.machine())[0] == 200


async def test_keys_change_and_tokens_of_the_one_before_go_on_until_they_expire(
    walk: Walk,
) -> None:
    async def kids() -> set[str]:
        async with walk.http.get("/jwks") as response:
            keys = (await response.json())["keys"]
        assert not any("d" in key for key in keys)
        return {key["kid"] for key in keys}

    before = await kids()
    _, old = await walk.machine()
    async with edge_of(walk, unknown_pause_s=0) as auth:
        await auth.authenticate(bearing(old["access_token"]), None, needs=Scope.READ)
        walk.server.rotate()
        _, new = await walk.machine()
        await auth.authenticate(bearing(new["access_token"]), None, needs=Scope.READ)
        assert before < await kids()
        await auth.authenticate(bearing(old["access_token"]), None, needs=Scope.READ)
    walk.clock.now_s += 700
    assert not before <= await kids()
    async with edge_of(walk) as auth:
        with pytest.raises(AuthRefusedError) as caught:
            await auth.authenticate(bearing(old["access_token"]), None, needs=Scope.READ)
        assert caught.value.reason is Reason.UNKNOWN_KEY


async def test_it_answers_by_its_own_name_only_and_reads_no_more_than_a_form(walk: Walk) -> None:
    async with walk.http.get("/jwks", headers={"Host": "evil.example"}) as response:
        assert response.status == 421
    async with walk.http.post("/token", json={"grant_type": "client_credentials"}) as response:
        assert response.status == 415
    async with walk.http.post("/token", data={"grant_type": "x" * 9000}) as response:
        assert response.status == 413
    async with walk.http.post("/token", data={"grant_type": "password"}) as response:
        assert (await response.json())["error"] == "unsupported_grant_type"
    twice = aiohttp.FormData([("grant_type", "client_credentials"), ("grant_type", "x")])
    async with walk.http.post("/token", data=twice) as response:
        assert (await response.json())["error"] == "invalid_request"


def test_what_is_remembered_is_bounded() -> None:
    dropped: list[str] = []
    kept: Kept[int] = Kept(lasts_s=10, count_max=2, on_dropped=lambda: dropped.append("x"))
    for count in range(3):
        kept.keep(str(count), count, now_s=count)
    assert (kept.take("0", 3), kept.take("1", 3), kept.take("1", 3)) == (None, 1, None)
    assert (kept.see("2", 11), kept.see("2", 12)) == (2, None)
    assert dropped == ["x"]
    failures = Failures(count_max=1, window_s=10, names_count_max=2)
    for name in ("a", "b", "c"):
        failures.add(name, 0)
    assert [failures.wait_s(name, 4) for name in ("a", "b", "c")] == [0, 6, 6]


def test_accounts_are_their_owners_secret_and_make_sense(tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    write_private(file, accounts_for(file, ["shop"]))
    known = read_accounts(file)
    assert known.users["shop"].tenant == known.clients["machine-shop"].tenant == "shop"
    assert known.clients["machine-shop"].secret not in repr(known)
    # A run that is begun again keeps them, and adds those of tenants that are new.
    write_private(file, accounts_for(file, ["shop", "bank"]))
    assert read_accounts(file).users["shop"] == known.users["shop"]
    assert "machine-bank" in read_accounts(file).clients
    file.chmod(0o640)
    with pytest.raises(LedgerError, match="others may read it"):
        read_accounts(file)
    for text in (
        "",
        "[]",
        '{"clients": [{"id": "a"}], "users": []}',
        '{"clients": [], "users": [{"name": "a", "password": "12345678", "tenant": "/"}]}',
    ):
        write_private(file, text.encode())
        with pytest.raises(LedgerError):
            read_accounts(file)
