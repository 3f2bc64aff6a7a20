"""Goal: one attempt goes to an address that was judged, whatever the name's owner does to the name meanwhile.

Method: a receiver on loopback that must not be reached, and a system resolver that answers as an attacker's would.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
from sentinel.reference.ledger.domain.webhooks.delivery import Outcome, Reason
from sentinel.reference.ledger.webhooks.sender import Sender, SenderConfig
from tests.support.webhook_receiver import LOOPBACK, Receiver

pytestmark = [pytest.mark.integration]

NAME = "hooks.example.com"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


class Names:
    """A system resolver of one name, whose answers are given in turn; it counts its questions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked_count = 0
        self._answers = answers
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, port: int, **options: Any) -> list[Any]:
        if host != NAME:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answer = self._answers[min(self.asked_count, len(self._answers) - 1)]
        self.asked_count += 1
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in answer
        ]


async def attempted(url: str, policy: AddressPolicy, **limits: float) -> tuple[Outcome, Reason]:
    sender = Sender(SenderConfig(**{"timeout_s": 2.0, "connect_timeout_s": 1.0, **limits}), policy)  # type: ignore[arg-type]
    await sender.start()
    try:
        attempt = await sender.send(url, body=b"{}", headers={})
    finally:
        await sender.stop()
    return attempt.judgement.outcome, attempt.judgement.reason


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(["127.0.0.1"], id="loopback"),
        pytest.param(["::1"], id="loopback-6"),
        pytest.param(["::ffff:127.0.0.1"], id="mapped"),
        pytest.param(["10.0.0.1"], id="private"),
        pytest.param(["169.254.169.254"], id="metadata"),
        pytest.param(["93.184.215.14", "127.0.0.1"], id="mixed"),
    ],
)
async def test_a_name_that_leads_inside_is_not_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: list[str]
) -> None:
    names = Names(monkeypatch, answer)
    port = int(receiver.url.rpartition(":")[2])
    policy = AddressPolicy(ports=frozenset({port}))
    assert await attempted(f"https://{NAME}:{port}/", policy) == (
        Outcome.FAILED,
        Reason.ADDRESS_REFUSED,
    )
    assert names.asked_count == 1
    assert not receiver.received


async def test_a_name_is_resolved_once_and_the_judged_address_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is outside when it is judged and inside when it is connected to: it is asked for once only."""
    names = Names(monkeypatch, ["192.0.2.1"], ["127.0.0.1"])
    connected: list[Any] = []

    async def connect(*args: Any, addr_infos: Any, **options: Any) -> Any:
        connected.extend(info[4][0] for info in addr_infos)
        raise OSError("no way out of a test")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    # An address of documentation stands for the world: what counts here is which one is used.
    monkeypatch.setattr(
        "sentinel.reference.ledger.webhooks.lookups.judge_address", lambda address, policy: None
    )
    assert await attempted(f"https://{NAME}/", AddressPolicy()) == (
        Outcome.FAILED,
        Reason.CONNECTION,
    )
    assert connected == ["192.0.2.1"]
    assert names.asked_count == 1
    assert not receiver.received


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"])
async def test_an_address_in_a_url_is_judged_before_anything_is_connected(
    receiver: Receiver, address: str
) -> None:
    port = int(receiver.url.rpartition(":")[2])
    policy = AddressPolicy(ports=frozenset({port}))
    assert await attempted(f"https://{address}:{port}/", policy) == (
        Outcome.FAILED,
        Reason.ADDRESS_REFUSED,
    )
    assert not receiver.received


async def test_an_environments_proxy_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await attempted(f"{receiver.url}/x", LOOPBACK) == (Outcome.DELIVERED, Reason.OK)
    assert [one.path for one in receiver.received] == ["/x"]


async def test_what_goes_wrong_has_a_reason(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.rpartition(":")[2])
    # Speaks no TLS.
    secure = f"https://127.0.0.1:{port}/"
    assert await attempted(secure, LOOPBACK) == (Outcome.FAILED, Reason.TLS)
    assert await attempted("http://127.0.0.1:9/", LOOPBACK) == (Outcome.FAILED, Reason.CONNECTION)
    Names(monkeypatch, [])
    assert await attempted("https://gone.example.com/", LOOPBACK) == (Outcome.FAILED, Reason.DNS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert await attempted(url, LOOPBACK, timeout_s=0.2, connect_timeout_s=0.2) == (
            Outcome.FAILED,
            Reason.TIMEOUT,
        )


async def test_an_answer_that_is_no_http_is_a_bad_one() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"220 smtp.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        assert await attempted(f"http://127.0.0.1:{port}/", LOOPBACK) == (
            Outcome.FAILED,
            Reason.BAD_ANSWER,
        )
    finally:
        server.close()
        await server.wait_closed()
