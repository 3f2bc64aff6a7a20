"""Goal: a payment goes to the bank's rail and to nobody else: by https, under authorities that are named, with a token that is never shown.

Method: a rail of the test's own on loopback, with certificates of an authority that no system knows.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from sentinel.reference.ledger.disburse import Rail, RailConfig, RailPayment
from sentinel.reference.ledger.domain import UnavailableError, UnreadableError, UsageError
from sentinel.reference.ledger.domain.disbursement import RailWord
from sentinel.reference.ledger.operate.cli import run
from tests.support.ledger_certificates import Authority

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PAYMENT = RailPayment(
    payment_id=uuid.UUID(int=7), account="DE00-1", name="Ann Other", amount_minor=5, currency="EUR"
)


@asynccontextmanager
async def bank(authority: Authority, asked: list[str]) -> AsyncIterator[str]:
    """A rail that notes what it is shown; its address. It knows one token, and sends who has another elsewhere."""

    async def put(request: web.Request) -> web.Response:
        asked.append(f"{request.path} {request.headers.get('Authorization', '')}")
        if request.headers.get("Authorization") == "Bearer moved":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        known = request.headers.get("Authorization") == "Bearer known"
        return web.json_response(
            {"word": "settled"} if known else {}, status=200 if known else 401
        )

    app = web.Application()
    app.router.add_put("/{path:.*}", put)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("rail", server=True))
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_rail_knows_us_by_a_token_that_may_change_while_we_run(tmp_path: Path) -> None:
    authority, asked = Authority(tmp_path, "bank"), list[str]()
    token = tmp_path / "token"
    token.write_text("old\n")
    async with (
        bank(authority, asked) as url,
        Rail(RailConfig(url=url, token_file=token, ca_file=authority.file)) as rail,
    ):
        with pytest.raises(UnavailableError, match="the rail answers 401"):
            await rail.say(PAYMENT)
        token.write_text("known\n")
        assert (await rail.say(PAYMENT)).word is RailWord.SETTLED
        # Where it is sent to, the token does not go.
        token.write_text("moved\n")
        with pytest.raises(UnavailableError, match="the rail answers 307"):
            await rail.say(PAYMENT)
        token.unlink()
        with pytest.raises(UnavailableError, match="cannot read"):
            await rail.say(PAYMENT)
    path = f"/payments/{PAYMENT.payment_id}"
    assert asked == [f"{path} Bearer {one}" for one in ("old", "known", "moved")]


async def test_a_rail_of_another_authority_is_told_nothing(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    ours, asked = Authority(tmp_path, "bank"), list[str]()
    async with bank(Authority(tmp_path / "theirs", "theirs"), asked) as url:
        for ca_file in (ours.file, None):
            async with Rail(RailConfig(url=url, ca_file=ca_file)) as rail:
                with pytest.raises(UnavailableError, match="Certificate"):
                    await rail.say(PAYMENT)
    assert asked == []


async def test_what_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    url = "https://127.0.0.1:9"
    empty = tmp_path / "empty"
    empty.write_text("two words\n")
    for config in (
        RailConfig(url=url, token_file=tmp_path / "none"),
        RailConfig(url=url, token_file=empty),
        RailConfig(url=url, ca_file=tmp_path / "none"),
    ):
        with pytest.raises(UnreadableError) as told:
            await Rail(config).__aenter__()
        assert "words" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["http://rail.example", "http://10.0.0.1:80", "ftp://127.0.0.1", "x"]
)
def test_a_way_that_others_can_read_is_refused(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = ["--nats-url", "nats://127.0.0.1:9", "--postgres-url", "postgresql://127.0.0.1:9/x"]
    assert run(["disburse", "--rail-url", url, *servers]) == 2
    assert "--rail-url" in capsys.readouterr().err
    with pytest.raises(UsageError):
        RailConfig(url=url)
    assert RailConfig(url="http://127.0.0.1:80").token_file is None


def test_a_simulated_rail_takes_no_token(tmp_path: Path) -> None:
    servers = ["--nats-url", "nats://127.0.0.1:9", "--postgres-url", "postgresql://127.0.0.1:9/x"]
    token = ["--rail-token-file", str(tmp_path / "token")]
    assert run(["disburse", "--simulated-rail", *token, *servers]) == 2
