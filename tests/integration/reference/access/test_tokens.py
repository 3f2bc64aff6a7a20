"""Goal: a bearer token is believed when the issuer signed it for here and now, and each other one is refused by its own reason.

Method: the authenticator asks a real issuer on loopback; time is an argument, so nothing waits.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from operator import eq
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from multidict import CIMultiDict

from sentinel.reference.ledger.domain import InvalidTransferError, UsageError
from sentinel.reference.ledger.edge.auth import (
    AuthConfig,
    Authenticator,
    AuthRefusedError,
    Caller,
    IssuerConfig,
    Method,
    Reason,
    Scope,
)
from sentinel.reference.ledger.edge.auth.bearer import Bearer
from tests.support.ledger_issuer import Issuer, new_key, running_issuer, signed
from tests.support.ledger_metrics import Counted
from tests.support.ledger_run import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


@pytest.fixture
def counted() -> Counted:
    return Counted()


@asynccontextmanager
async def checking(
    config: IssuerConfig, counted: Counted, *, insecure: bool = False
) -> AsyncIterator[Authenticator]:
    auth = Authenticator(
        AuthConfig(issuer=config, insecure_tenant_header=insecure), telemetry=counted.telemetry
    )
    await auth.start("127.0.0.1")
    try:
        yield auth
    finally:
        await auth.stop()


async def ask(auth: Authenticator, token: str, **headers: str) -> Caller:
    given = CIMultiDict({"Authorization": f"Bearer {token}"})
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    return await auth.authenticate(given, None, needs=Scope.WRITE)


async def refusal(auth: Authenticator, token: str, **headers: str) -> AuthRefusedError:
    with pytest.raises(AuthRefusedError) as caught:
        await ask(auth, token, **headers)
    return caught.value


async def test_a_token_says_who_asks_and_what_they_may(issuer: Issuer, counted: Counted) -> None:
    async with checking(IssuerConfig(url=issuer.url), counted) as auth:
        caller = await ask(auth, issuer.token())
        assert caller == Caller(tenant="shop", scopes=frozenset(Scope), method=Method.BEARER)
        # Some issuers give a list, several audiences, no type, and scopes of others.
        token = issuer.token(scope=None, scp=["ledger.write", "mail"], aud=["other", "ledger"])
        assert (await ask(auth, token)).scopes == {Scope.WRITE}
        assert (await ask(auth, issuer.token(), X_Tenant="shop")).tenant == "shop"
    assert issuer.asked_count == 1
    assert counted.value("ledger.auth.accepted", "bearer") == 3


def unsigned(issuer: Issuer) -> str:
    _, body, _ = issuer.token().split(".")
    return f"{_part({'alg': 'none', 'kid': 'first'})}.{body}."


def by_the_public_key(issuer: Issuer) -> str:
    """HS256, with what everybody can read as its secret; by hand, for no library would do it."""
    secret = issuer.keys[0].as_pem(private=False)
    told = f"{_part({'alg': 'HS256', 'kid': 'first'})}.{_part(issuer.claims())}"
    return f"{told}.{_text(hmac.digest(secret, told.encode(), 'sha256'))}"


def _part(document: dict[str, Any]) -> str:
    return _text(json.dumps(document).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def altered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{_part(issuer.claims(tenant='bank'))}.{signature}"


def now_s() -> int:
    """Asked when a token is made: this module may have been read long before its tests are run."""
    return int(time.time())


BAD: dict[str, tuple[Callable[[Issuer], str], Reason]] = {
    "signature of another key": (
        lambda issuer: signed(issuer.claims(), new_key("first")),
        Reason.BAD_SIGNATURE,
    ),
    "altered after it was signed": (altered, Reason.BAD_SIGNATURE),
    "no signature": (unsigned, Reason.FORBIDDEN_ALGORITHM),
    "public key as a secret": (by_the_public_key, Reason.FORBIDDEN_ALGORITHM),
    "algorithm of another kind of key": (
        lambda issuer: signed(
            issuer.claims(), RSAKey.generate_key(2048, {"kid": "first"}), alg="RS256"
        ),
        Reason.FORBIDDEN_ALGORITHM,
    ),
    "unknown key": (lambda issuer: signed(issuer.claims(), new_key("z")), Reason.UNKNOWN_KEY),
    "expired": (lambda issuer: issuer.token(exp=now_s() - 60), Reason.TOKEN_EXPIRED),
    "never expires": (lambda issuer: issuer.token(exp=None), Reason.INVALID_CLAIM),
    "not yet valid": (lambda issuer: issuer.token(nbf=now_s() + 900), Reason.TOKEN_NOT_YET_VALID),
    "of tomorrow": (lambda issuer: issuer.token(iat=now_s() + 90_000), Reason.TOKEN_NOT_YET_VALID),
    "another issuer": (
        lambda issuer: issuer.token(iss="https://else.example"),
        Reason.WRONG_ISSUER,
    ),
    "no issuer": (lambda issuer: issuer.token(iss=None), Reason.WRONG_ISSUER),
    "another audience": (lambda issuer: issuer.token(aud="mail"), Reason.WRONG_AUDIENCE),
    "no audience": (lambda issuer: issuer.token(aud=None), Reason.WRONG_AUDIENCE),
    "no tenant": (lambda issuer: issuer.token(tenant=None), Reason.NO_TENANT_CLAIM),
    "a tenant that is no name": (
        lambda issuer: issuer.token(tenant="../shop"),
        Reason.NO_TENANT_CLAIM,
    ),
    "tenants as a list": (lambda issuer: issuer.token(tenant=["shop"]), Reason.NO_TENANT_CLAIM),
    "of another type": (
        lambda issuer: signed(issuer.claims(), issuer.keys[0], typ="logout+jwt"),
        Reason.MALFORMED_TOKEN,
    ),
    "no token at all": (lambda issuer: "abc", Reason.MALFORMED_TOKEN),
    "empty": (lambda issuer: "", Reason.MALFORMED_TOKEN),
    "very long": (lambda issuer: "a" * 9000, Reason.MALFORMED_TOKEN),
    "may only read": (lambda issuer: issuer.token(scope="ledger.read"), Reason.INSUFFICIENT_SCOPE),
    "scope as a number": (lambda issuer: issuer.token(scope=7), Reason.INSUFFICIENT_SCOPE),
}


@pytest.mark.parametrize("what", BAD)
async def test_each_bad_token_is_refused_by_its_reason_and_counted(
    what: str, issuer: Issuer, counted: Counted
) -> None:
    make, reason = BAD[what]
    async with checking(IssuerConfig(url=issuer.url), counted, insecure=True) as auth:
        # Also where a header alone would be believed: a token that is there must be good.
        refused = await refusal(auth, make(issuer), X_Tenant="shop")
    assert refused.reason is reason
    assert refused.status == (403 if reason is Reason.INSUFFICIENT_SCOPE else 401)
    assert refused.headers["WWW-Authenticate"].startswith('Bearer realm="ledger", error="')
    assert counted.value("ledger.auth.refused", reason) == 1
    assert counted.value("ledger.auth.accepted", "bearer") == 0


async def test_what_a_token_may_not_is_said_with_the_scope_it_needs(
    issuer: Issuer, counted: Counted
) -> None:
    async with checking(IssuerConfig(url=issuer.url), counted) as auth:
        told = (await refusal(auth, issuer.token(scope=""))).headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in told
    assert told.endswith('scope="ledger.write"')


async def test_a_header_names_no_other_tenant_than_the_token(
    issuer: Issuer, counted: Counted
) -> None:
    async with checking(IssuerConfig(url=issuer.url), counted, insecure=True) as auth:
        refused = await refusal(auth, issuer.token(), X_Tenant="bank")
    assert (refused.reason, refused.status) == (Reason.TENANT_MISMATCH, 403)


async def test_a_flood_of_unknown_keys_is_one_question_to_the_issuer(
    issuer: Issuer, counted: Counted
) -> None:
    async with checking(IssuerConfig(url=issuer.url, unknown_pause_s=60), counted) as auth:
        await ask(auth, issuer.token())
        strangers = [signed(issuer.claims(), new_key(f"made-up-{count}")) for count in range(40)]
        refused = await asyncio.gather(*(refusal(auth, token) for token in strangers))
    assert {one.reason for one in refused} == {Reason.UNKNOWN_KEY}
    # The first one, for a token that was good; those after it came within the pause.
    assert issuer.asked_count == 1
    assert counted.value("ledger.auth.keys.asked", "held_back") == 40


async def test_a_new_key_is_found_and_one_that_is_gone_no_longer_counts(
    issuer: Issuer, counted: Counted
) -> None:
    config = IssuerConfig(url=issuer.url, unknown_pause_s=0)
    async with checking(config, counted) as auth:
        old = issuer.token()
        await ask(auth, old)
        await ask(auth, old)
        issuer.keys = [new_key("second")]
        assert (await ask(auth, issuer.token())).tenant == "shop"
        # It was remembered; its key is gone, so it is checked again.
        assert (await refusal(auth, old)).reason is Reason.UNKNOWN_KEY


async def test_known_keys_outlive_an_issuer_that_is_away_and_nothing_is_believed_without(
    issuer: Issuer, counted: Counted
) -> None:
    config = IssuerConfig(url=issuer.url, unknown_pause_s=0, refresh_s=0)
    issuer.away = True
    async with checking(config, counted) as auth:
        refused = await refusal(auth, issuer.token())
        assert (refused.reason, refused.status) == (Reason.ISSUER_UNAVAILABLE, 503)
        assert refused.headers == {"Retry-After": "1"}
        issuer.away = False
        await ask(auth, issuer.token())
        issuer.away = True
        assert (await ask(auth, issuer.token(jti="another"))).tenant == "shop"
    assert counted.value("ledger.auth.keys.asked", "ok") >= 1
    assert counted.value("ledger.auth.keys.asked", "failed") >= 1
    async with checking(replace(config, keys_max_age_s=0), counted) as auth:
        assert (await refusal(auth, issuer.token())).reason is Reason.ISSUER_UNAVAILABLE


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"jwks_uri": "http://keys.example/keys"},
        {"jwks_uri": 7},
    ],
)
async def test_a_discovery_document_that_points_elsewhere_is_not_followed(
    document: dict[str, object], issuer: Issuer, counted: Counted
) -> None:
    issuer.discovery = document
    async with checking(IssuerConfig(url=issuer.url), counted) as auth:
        assert (await refusal(auth, issuer.token())).reason is Reason.ISSUER_UNAVAILABLE


async def test_a_remembered_token_ends_with_its_time_and_the_memory_is_bounded(
    issuer: Issuer, counted: Counted
) -> None:
    bearer = Bearer(
        IssuerConfig(url=issuer.url, tokens_count_max=2, leeway_s=0), telemetry=counted.telemetry
    )
    try:
        now_s = time.time()
        token = issuer.token(exp=int(now_s) + 10)
        await bearer.caller_of(token, now_s)
        await bearer.caller_of(token, now_s + 5)
        with pytest.raises(AuthRefusedError) as caught:
            await bearer.caller_of(token, now_s + 11)
        assert caught.value.reason is Reason.TOKEN_EXPIRED
        for count in range(4):
            await bearer.caller_of(issuer.token(jti=str(count)), now_s)
        assert counted.value("ledger.auth.tokens.forgotten") == 2
    finally:
        await bearer.keys.close()


async def test_a_withdrawn_key_is_noticed_though_every_token_is_remembered(
    issuer: Issuer, counted: Counted
) -> None:
    """Only a look-up of a key once caused a question: who was remembered was believed until their token's end."""
    steady_s = 1000.0
    bearer = Bearer(
        IssuerConfig(url=issuer.url), telemetry=counted.telemetry, monotonic_s=lambda: steady_s
    )
    try:
        now_s = time.time()
        token = issuer.token(exp=int(now_s) + 86_400)
        await bearer.caller_of(token, now_s)
        issuer.keys = [new_key("second")]
        steady_s += 299
        await bearer.caller_of(token, now_s)
        assert issuer.asked_count == 1
        steady_s += 2
        # Nobody waits for the answer: this one is still believed.
        await bearer.caller_of(token, now_s)
        await eventually(
            "the keys",
            lambda: counted.value("ledger.auth.keys.asked", "ok"),
            lambda count: count == 2,
        )
        with pytest.raises(AuthRefusedError) as caught:
            await bearer.caller_of(token, now_s)
        assert caught.value.reason is Reason.UNKNOWN_KEY
    finally:
        await bearer.keys.close()


async def test_a_token_is_remembered_for_an_hour_and_not_beyond_the_age_of_keys(
    issuer: Issuer, counted: Counted
) -> None:
    steady_s = 1000.0
    bearer = Bearer(
        IssuerConfig(url=issuer.url, refresh_s=1e9, keys_max_age_s=5000),
        telemetry=counted.telemetry,
        monotonic_s=lambda: steady_s,
    )
    try:
        now_s = time.time()
        token = issuer.token(exp=int(now_s) + 86_400)
        checked_count = 0
        whole = bearer._claims

        async def counting(token: str, now_s: float) -> Any:
            nonlocal checked_count
            checked_count += 1
            return await whole(token, now_s)

        bearer._claims = counting  # type: ignore[method-assign]
        for wait_s, expected in ((0, 1), (3599, 1), (2, 2), (1300, 2)):
            steady_s += wait_s
            await bearer.caller_of(token, now_s)
            assert checked_count == expected
        # The keys are older than they may be, and there are no others.
        issuer.away = True
        steady_s += 200
        with pytest.raises(AuthRefusedError) as caught:
            await bearer.caller_of(token, now_s)
        assert caught.value.reason is Reason.ISSUER_UNAVAILABLE
    finally:
        await bearer.keys.close()


async def test_an_issuer_that_is_away_is_not_asked_at_each_request(
    issuer: Issuer, counted: Counted
) -> None:
    steady_s = 1000.0
    bearer = Bearer(
        IssuerConfig(url=issuer.url), telemetry=counted.telemetry, monotonic_s=lambda: steady_s
    )
    try:
        now_s = time.time()
        token = issuer.token(exp=int(now_s) + 86_400)
        await bearer.caller_of(token, now_s)
        issuer.away = True
        steady_s += 301
        for expected in (1, 1, 2):
            await bearer.caller_of(token, now_s)
            await eventually(
                "the question",
                lambda: counted.value("ledger.auth.keys.asked", "failed"),
                partial(eq, expected),
            )
            steady_s += 6
        assert counted.value("ledger.auth.keys.asked", "held_back") == 0
    finally:
        await bearer.keys.close()


async def test_without_credentials_nobody_is_known_and_the_header_needs_its_option(
    issuer: Issuer, counted: Counted
) -> None:
    async with checking(IssuerConfig(url=issuer.url), counted) as auth:
        for headers in ({}, {"X-Tenant": "shop"}):
            with pytest.raises(AuthRefusedError) as caught:
                await auth.authenticate(CIMultiDict(headers), None, needs=Scope.READ)
            assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="ledger"'}
        for given in ("Basic c2hvcDpzaG9w", "Bearer", "bearer"):
            with pytest.raises(AuthRefusedError) as caught:
                await auth.authenticate(
                    CIMultiDict({"Authorization": given}), None, needs=Scope.READ
                )
            assert caught.value.reason is Reason.UNKNOWN_SCHEME
        twice = CIMultiDict(
            [("Authorization", f"Bearer {issuer.token()}"), ("Authorization", "Bearer x")]
        )
        with pytest.raises(AuthRefusedError) as caught:
            await auth.authenticate(twice, None, needs=Scope.READ)
        assert caught.value.reason is Reason.UNKNOWN_SCHEME
    async with checking(IssuerConfig(url=issuer.url), counted, insecure=True) as auth:
        asked = await auth.authenticate(CIMultiDict({"X-Tenant": "shop"}), None, needs=Scope.READ)
        assert asked.method is Method.HEADER
        several = CIMultiDict([("X-Tenant", "shop"), ("X-Tenant", "bank")])
        with pytest.raises(AuthRefusedError, match="more than one tenant"):
            await auth.authenticate(several, None, needs=Scope.READ)
        with pytest.raises(InvalidTransferError):
            await auth.authenticate(CIMultiDict(), None, needs=Scope.READ)


@pytest.mark.parametrize(
    ("host", "config", "told"),
    [
        ("127.0.0.1", AuthConfig(), "nobody could come in"),
        ("0.0.0.0", AuthConfig(insecure_tenant_header=True), "for loopback only"),
        ("10.0.0.1", AuthConfig(issuer=IssuerConfig(url="https://a.example")), "--tls-cert"),
    ],
)
def test_ways_in_that_are_not_for_an_address_are_refused(
    host: str, config: AuthConfig, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        config.check_host(host)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"url": "http://issuer.example"}, "https, unless"),
        ({"url": "issuer"}, "not a URL"),
        ({"audience": ""}, "may not be empty"),
        ({"algorithms": ("ES256", "HS256")}, "HS256"),
        ({"algorithms": ()}, "none given"),
    ],
)
def test_an_issuer_that_could_be_stood_in_for_is_refused(
    changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        replace(IssuerConfig(url="https://issuer.example"), **changed)
