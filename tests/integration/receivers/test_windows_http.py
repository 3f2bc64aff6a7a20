"""Goal: windows come in as telemetry does: over TLS, with a token for it, within bounds, and nothing is acknowledged that is not taken.

Method: a real listener with a certificate of its own, the transport of a collector that trusts it or does not, and raw requests for what no
collector sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sentinel.core.series.collected import Taken, WireLimits
from sentinel.errors import OverloadedError, UnsupportedInputError
from sentinel.receivers.windows.http import (
    WindowsHttpConfig,
    WindowsHttpReceiver,
    WindowsListenConfig,
)
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import ByteSize, Duration, FilePath, Secret
from sentinel.runtime.tls import TlsConfig
from sentinel.senders.windows.transports import HttpTransport, Outcome, Verdict
from tests.support.fetch import fetch
from tests.support.surroundings import make_surroundings
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TOKEN = "an-ingest-token-0123"


class Taker:
    """Takes what comes, or is full."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.is_full = False

    async def take(self, body: bytes) -> Taken:
        """Keep it."""
        if self.is_full:
            msg = "no room"
            raise OverloadedError(msg, retry_after_s=3.0)
        if body.startswith(b"\x02"):
            msg = f"a collected window of version {body[0]}"
            raise UnsupportedInputError(msg)
        self.bodies.append(body)
        return Taken.FRESH


@asynccontextmanager
async def listening(
    listen: WindowsListenConfig, *, inflight_max: int = 64 << 20
) -> AsyncIterator[tuple[Taker, str]]:
    taker = Taker()
    receiver = WindowsHttpReceiver(
        WindowsHttpConfig(listen=listen, inflight_max=ByteSize(inflight_max)),
        taker.take,
        make_surroundings(),
    )
    await receiver.start()
    scheme = "https" if listen.tls else "http"
    try:
        yield taker, f"{scheme}://127.0.0.1:{receiver.port}"
    finally:
        await receiver.stop()


async def sent(url: str, client: ClientConfig, body: bytes = b"a part") -> Outcome:
    transport = HttpTransport(url, client)
    try:
        return await transport.send(body, identity="one")
    finally:
        await transport.close()


async def test_over_tls_with_the_token_it_is_taken_and_not_otherwise(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "scorer")
    listen = WindowsListenConfig(
        port=0,
        tls=TlsConfig(cert_file=FilePath(str(cert)), key_file=FilePath(str(key))),
        tokens=TokensConfig(ingest=Secret(TOKEN)),
    )
    async with listening(listen) as (taker, url):
        trusted = ClientConfig(bearer_token=Secret(TOKEN), ca_file=FilePath(str(cert)))
        assert (await sent(url, trusted)).verdict is Verdict.TAKEN
        nobody = ClientConfig(ca_file=FilePath(str(cert)))
        wrong = ClientConfig(
            bearer_token=Secret("another-token-012345"), ca_file=FilePath(str(cert))
        )
        for client, words in (
            (nobody, "401"),
            (wrong, "401"),
            (ClientConfig(bearer_token=Secret(TOKEN)), "certificate"),
        ):
            outcome = await sent(url, client)
            assert outcome.verdict is Verdict.RETRY, "a token can be put right; the window waits"
            assert words in outcome.detail
            assert TOKEN not in outcome.detail
        assert taker.bodies == [b"a part"]


async def test_a_scorer_without_room_is_come_back_to_when_it_says(tmp_path: Path) -> None:
    async with listening(WindowsListenConfig(port=0)) as (taker, url):
        taker.is_full = True
        outcome = await sent(url, ClientConfig())
        assert (outcome.verdict, outcome.retry_after_s) == (Verdict.RETRY, 3.0)
        assert "no room" in outcome.detail


async def test_a_scorer_that_is_older_is_waited_for() -> None:
    """While collectors were upgraded before their scorer, every window of theirs was lost."""
    async with listening(WindowsListenConfig(port=0)) as (taker, url):
        outcome = await sent(url, ClientConfig(), b"\x02 is another version")
        assert outcome.verdict is Verdict.RETRY
        assert "version 2" in outcome.detail
        assert taker.bodies == []


async def test_bounds_of_one_request_and_of_all_hold() -> None:
    limit = WireLimits().encoded_max
    async with listening(WindowsListenConfig(port=0), inflight_max=limit) as (taker, url):
        too_large = await sent(url, ClientConfig(timeout=Duration(20.0)), bytes(limit + 1))
        assert too_large.verdict is Verdict.REFUSED
        assert (await sent(url, ClientConfig(timeout=Duration(20.0)), bytes(limit))).verdict is (
            Verdict.TAKEN
        )
        assert [len(body) for body in taker.bodies] == [limit]
        assert (await fetch(f"{url}/v1/windows")).status == 405
        assert (await fetch(f"{url}/v1/other", method="POST", body=b"x")).status == 404
        assert (await sent(url, ClientConfig())).verdict is Verdict.TAKEN, "nothing stays held"


async def test_a_scorer_that_is_away_is_tried_again() -> None:
    outcome = await sent("http://127.0.0.1:1", ClientConfig())
    assert outcome.verdict is Verdict.RETRY
    assert "127.0.0.1:1" in outcome.detail
