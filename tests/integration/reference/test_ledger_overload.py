"""Goal: halves of heads, halves of bodies and connections without number cost whoever sends them, and nobody else.

Method: an edge on real servers with small limits, and clients that send the half of something and wait.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from sentinel.reference.ledger.edge import EdgeConfig, connections
from sentinel.reference.ledger.edge.auth import AuthConfig, TlsConfig
from sentinel.reference.ledger.edge.connections import ConnectionLimits
from tests.support.ledger_certificates import Authority
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite, open_site

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
WHOLE = b"GET /v1/accounts/alice/balance HTTP/1.1\r\nHost: a\r\nX-Tenant: rival\r\n\r\n"


@asynccontextmanager
async def connected(site: LedgerSite, sent: bytes) -> AsyncIterator[Streams]:
    """A connection of its own on which these bytes were sent."""
    url = site.http._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(sent)
        yield reader, writer
    finally:
        writer.close()
        # The edge may have reset it.
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def answer(streams: Streams) -> tuple[int, bytes, dict[str, Any]]:
    """Status, head and document of the next answer."""
    head = await asyncio.wait_for(streams[0].readuntil(b"\r\n\r\n"), 10)
    length = next(
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    )
    return int(head.split()[1]), head, orjson.loads(await streams[0].readexactly(length))


def half(path: str, tenant: str, *, length: int | None = 100) -> bytes:
    """A head, and the first byte of a body."""
    told = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    body = b"1\r\n{\r\n" if length is None else b"{"
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Tenant: {tenant}\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\n{told}\r\n\r\n"
    ).encode() + body


async def test_half_bodies_hold_no_more_places_than_their_tenants(ledger_site: LedgerSite) -> None:
    """One tenant once had every place there is, for five seconds at a time."""
    narrow = EdgeConfig(inflight_count_max=8, tenant_inflight_count_max=4)
    async with (
        open_site(ledger_site.nats, ledger_site.postgres, narrow) as site,
        AsyncExitStack() as stack,
    ):
        held = [
            await stack.enter_async_context(connected(site, half("/v1/transfers", "shop")))
            for _ in range(4)
        ]
        await eventually("their places", lambda: refused_one(site), lambda status: status == 503)
        status, problem = await site.get("/v1/accounts/alice/balance", tenant="rival")
        assert (status, problem["code"]) == (404, "unknown_account")
        async with connected(site, half("/v1/transfers", "shop")) as streams:
            status, head, problem = await answer(streams)
        assert (status, problem["code"]) == (503, "overloaded")
        assert b"Retry-After: 1" in head
        told = site.edge.values("ledger.edge.refused")
        assert told.keys() == {("tenant_in_flight",)}
        # Their time is over, and the places are there again.
        assert {(await answer(streams))[0] for streams in held} == {408}
        assert (await site.transfer("after", "external:bank", "alice", 5))[0] == 202


async def refused_one(site: LedgerSite) -> int:
    return (await site.get("/v1/accounts/alice/balance", tenant="shop"))[0]


@pytest.mark.parametrize("length", [900_000, None])
async def test_half_of_large_bodies_hold_no_more_room_than_their_tenants(
    ledger_site: LedgerSite, length: int | None
) -> None:
    narrow = EdgeConfig(bodies_bytes_max=4 * 1024 * 1024, tenant_bodies_bytes_max=2 * 1024 * 1024)
    async with (
        open_site(ledger_site.nats, ledger_site.postgres, narrow) as site,
        AsyncExitStack() as stack,
    ):
        large = half("/v1/batches", "shop", length=length)
        for _ in range(2):
            await stack.enter_async_context(connected(site, large))

        async def once_more() -> tuple[int, str]:
            async with connected(site, large) as streams:
                status, _, problem = await answer(streams)
            return status, problem["code"]

        assert await once_more() == (503, "overloaded")
        assert site.edge.values("ledger.edge.refused") == {("tenant_bodies",): 1}
        # A small one needs no such room, and another tenant has its own.
        items = {
            "items": [
                {
                    "debit_account": "external:bank",
                    "credit_account": "bob",
                    "amount_minor": 1,
                    "currency": "EUR",
                }
            ]
        }
        for tenant, count in (("shop", 1), ("rival", 200)):
            async with site.http.post(
                "/v1/batches",
                json={"items": items["items"] * count},
                headers={"X-Tenant": tenant, "Idempotency-Key": "small"},
            ) as response:
                assert response.status == 202


async def test_half_a_head_ends_its_connection_and_a_whole_one_keeps_it(
    ledger_site: LedgerSite,
) -> None:
    """Half a head once kept a connection for an hour."""
    config = EdgeConfig(connections=ConnectionLimits(head_timeout_s=0.5))
    async with open_site(ledger_site.nats, ledger_site.postgres, config) as site:
        for sent in (b"", WHOLE[:30]):
            began_s = time.monotonic()
            async with connected(site, sent) as (reader, _):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            assert time.monotonic() - began_s > 0.4
        assert site.edge.values("ledger.edge.connections_closed") == {("slow_head",): 2}
        async with connected(site, WHOLE) as streams:
            assert (await answer(streams))[0] == 404
            # Idle, a connection is kept for longer than a head may take.
            await asyncio.sleep(0.8)
            streams[1].write(WHOLE)
            assert (await answer(streams))[0] == 404
            # A byte now and then does not make a head longer.
            ended = asyncio.create_task(streams[0].read())
            for byte in WHOLE[:40]:
                streams[1].write(bytes([byte]))
                if (await asyncio.wait({ended}, timeout=0.1))[0]:
                    break
            else:
                pytest.fail("a head may take four seconds")
            assert isinstance(ended.exception(), ConnectionError) or ended.result() == b""
        assert site.edge.values("ledger.edge.connections_closed") == {("slow_head",): 3}
        # A body has its own time, of which a head takes nothing.
        body = orjson.dumps(
            {
                "debit_account": "external:bank",
                "credit_account": "a",
                "amount_minor": 1,
                "currency": "EUR",
            }
        )
        async with connected(site, half("/v1/transfers", "shop", length=len(body))) as streams:
            await asyncio.sleep(0.8)
            streams[1].write(body[1:])
            assert (await answer(streams))[0] == 202


async def test_an_idle_connection_ends_after_its_time(ledger_site: LedgerSite) -> None:
    config = EdgeConfig(connections=ConnectionLimits(idle_timeout_s=0.3))
    async with (
        open_site(ledger_site.nats, ledger_site.postgres, config) as site,
        connected(site, WHOLE) as streams,
    ):
        assert (await answer(streams))[0] == 404
        assert await asyncio.wait_for(streams[0].read(), 10) == b""
        assert site.edge.values("ledger.edge.connections_closed") == {}


async def test_connections_beyond_the_limit_are_told_to_come_again(
    ledger_site: LedgerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EdgeConfig(connections=ConnectionLimits(count_max=3, head_timeout_s=60))
    async with (
        open_site(ledger_site.nats, ledger_site.postgres, config) as site,
        AsyncExitStack() as stack,
    ):
        for _ in range(3):
            streams = await stack.enter_async_context(connected(site, WHOLE))
            assert (await answer(streams))[0] == 404
        assert site.edge.values("ledger.edge.connections") == {(): 3}
        async with connected(site, WHOLE) as late:
            status, head, problem = await answer(late)
            assert (status, problem["code"]) == (503, "overloaded")
            assert b"Retry-After: 1" in head
            assert await asyncio.wait_for(late[0].read(), 10) == b""
        # Who says nothing is let go of soon.
        async with connected(site, b"") as (reader, _):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        # Of a flood the rest is closed without a word. None is let go of meanwhile, however long it takes to come.
        monkeypatch.setattr(connections, "_TOLD_WITHIN_S", 60.0)
        async with AsyncExitStack() as crowd:
            flood = [await crowd.enter_async_context(connected(site, b"")) for _ in range(70)]
            for reader, _ in flood[64:]:
                with suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(), 10) == b""
            closed = site.edge.values("ledger.edge.connections_closed")
            assert closed == {("too_many",): 66, ("too_many_untold",): 6}
        await eventually(
            "room",
            lambda: site.edge.values("ledger.edge.connections")[()],
            lambda count: count == 3,
        )


async def test_a_client_that_does_not_read_its_answers_is_let_go_of(
    ledger_site: LedgerSite,
) -> None:
    config = EdgeConfig(connections=ConnectionLimits(write_timeout_s=0.5))
    async with open_site(ledger_site.nats, ledger_site.postgres, config) as site:
        async with connected(site, b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200):
            await eventually(
                "its end",
                lambda: site.edge.values("ledger.edge.connections_closed"),
                lambda closed: closed == {("slow_reader",): 1},
            )
        assert (await site.get("/v1/accounts/alice/balance"))[0] == 404


async def test_a_handshake_that_stands_still_ends(ledger_site: LedgerSite, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    cert_file, key_file = authority.issue("edge", server=True)
    tls = TlsConfig(cert_file=cert_file, key_file=key_file, client_ca_file=authority.file)
    config = EdgeConfig(connections=ConnectionLimits(head_timeout_s=0.5))
    async with open_site(
        ledger_site.nats, ledger_site.postgres, config, auth=AuthConfig(tls=tls)
    ) as site:
        async with connected(site, b"\x16\x03\x01") as (reader, _):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        url = site.http._base_url
        assert url is not None
        shop = authority.issue("client", uris=("urn:ledger:tenant:rival",))
        context: ssl.SSLContext = authority.client(shop)
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
        writer.write(WHOLE)
        assert (await answer((reader, writer)))[0] == 404
        # And the next head has its time here too.
        writer.write(WHOLE[:10])
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
