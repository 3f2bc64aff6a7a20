"""Senders against receivers that answer well, badly, late, elsewhere or without end.

The receiver is a collector on loopback that a test tells what to answer; for a reply that never comes, a bare socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from sentinel.errors import ConfigError
from sentinel.ports import SendOutcome, SendResult
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import Duration, FilePath, Secret
from sentinel.senders.alertmanager import AlertmanagerConfig, AlertmanagerSender
from sentinel.senders.webhook import WebhookConfig, WebhookSender
from tests.support.alertmanager_server import Collector, collector
from tests.support.outbox import firing, resolved
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOW_NS = 1_790_000_000_000_000_000
QUICK = ClientConfig(connect_timeout=Duration(0.5), timeout=Duration(0.5))


@pytest.fixture
def hook() -> Iterator[Collector]:
    with collector() as running:
        yield running


async def post(config: WebhookConfig, count: int = 1) -> list[SendOutcome]:
    sender = WebhookSender(config)
    try:
        return await sender.send(
            [firing("a1", sequence) for sequence in range(count)], now_ns=NOW_NS
        )
    finally:
        await sender.close()


async def test_the_payload_is_alertmanagers(hook: Collector) -> None:
    sender = WebhookSender(WebhookConfig(name="oncall", url=hook.url))
    page = firing()
    outcomes = await sender.send([page, resolved()], now_ns=NOW_NS)
    await sender.close()
    assert [outcome.result for outcome in outcomes] == [SendResult.DELIVERED] * 2
    first, second = hook.requests
    assert first.headers["Content-Type"] == "application/json"
    assert [first.headers["Idempotency-Key"], second.headers["Idempotency-Key"]] == [
        "a1-0",
        "a1-1",
    ]
    payload = first.json
    assert payload["version"] == "4"
    assert payload["groupKey"] == '{}:{alertname="SentinelAnomaly", service="pay"}'
    assert (payload["status"], payload["receiver"]) == ("firing", "oncall")
    assert payload["commonLabels"] == page.labels
    (alert,) = payload["alerts"]
    assert alert["annotations"] == page.annotations
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    (ended,) = second.json["alerts"]
    assert ended["status"] == "resolved"
    assert ended["endsAt"] > ended["startsAt"] > "2026"


async def test_a_request_is_signed_with_its_time(hook: Collector) -> None:
    await post(WebhookConfig(url=hook.url, hmac_secret=Secret("s3cret")))
    (request,) = hook.requests
    timestamp = request.headers["Sentinel-Timestamp"]
    assert timestamp == str(NOW_NS // 10**9)
    expected = hmac.new(
        b"s3cret", timestamp.encode() + b"." + request.body, hashlib.sha256
    ).hexdigest()
    assert request.headers["Sentinel-Signature"] == f"v1={expected}"


@pytest.mark.parametrize(
    ("client", "header"),
    [
        (ClientConfig(bearer_token=Secret("t0ken")), "Bearer t0ken"),
        (ClientConfig(basic_username="u", basic_password=Secret("p")), "Basic dTpw"),
    ],
    ids=["bearer", "basic"],
)
async def test_it_says_who_it_is(hook: Collector, client: ClientConfig, header: str) -> None:
    await post(WebhookConfig(url=hook.url, client=client))
    assert hook.requests[0].headers["Authorization"] == header


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, SendResult.DELIVERED),
        (202, SendResult.DELIVERED),
        (400, SendResult.REFUSED),
        (401, SendResult.RETRY),
        (404, SendResult.RETRY),
        (408, SendResult.RETRY),
        (410, SendResult.REFUSED),
        (413, SendResult.REFUSED),
        (425, SendResult.RETRY),
        (429, SendResult.RETRY),
        (500, SendResult.RETRY),
        (503, SendResult.RETRY),
    ],
    ids=str,
)
async def test_what_a_webhooks_answer_means(
    hook: Collector, status: int, result: SendResult
) -> None:
    hook.status = status
    hook.reply_body = b"because\nof \x1b]0;\x07\xe2\x80\xaethis"  # what moves a cursor or turns text is not passed on
    (outcome,) = await post(WebhookConfig(url=hook.url))
    assert outcome.result is result
    if result is not SendResult.DELIVERED:
        assert outcome.detail == f"status {status}: because of ]0; this"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(hook: Collector, status: int) -> None:
    """A page that met a 302 was sent on as an empty GET and counted as delivered; a 307 took the body elsewhere."""
    with collector() as elsewhere:
        hook.status = status
        hook.reply_headers = {"Location": elsewhere.url}
        (outcome,) = await post(WebhookConfig(url=hook.url))
        sender = AlertmanagerSender(AlertmanagerConfig(), hook.url)
        (alert,) = await sender.send([firing()], now_ns=NOW_NS)
        await sender.close()
        assert (outcome.result, alert.result) == (SendResult.RETRY, SendResult.RETRY)
        assert elsewhere.requests == []
        assert (outcome.retry_after_s or 0) >= 60


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "99999999999999999999"}, 300.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        (
            {
                "Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT",
                "Date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
    ],
    ids=["seconds", "huge", "negative", "words", "date"],
)
async def test_retry_after_is_read_and_bounded(
    hook: Collector, headers: dict[str, str], wait_s: float | None
) -> None:
    hook.status = 429
    hook.reply_headers = headers
    (outcome,) = await post(WebhookConfig(url=hook.url))
    assert outcome.retry_after_s == wait_s


async def test_an_endless_reply_is_read_to_its_bound(hook: Collector) -> None:
    hook.status = 500
    hook.reply_body = b"x" * (20 << 20)
    (outcome,) = await post(WebhookConfig(url=hook.url))
    assert outcome.result is SendResult.RETRY
    assert len(outcome.detail) < 300


async def test_a_compressed_reply_is_not_inflated(hook: Collector) -> None:
    hook.status = 400
    hook.reply_headers = {"Content-Encoding": "gzip"}
    hook.reply_body = b"\x1f\x8bnot really"
    (outcome,) = await post(WebhookConfig(url=hook.url))
    assert outcome.result is SendResult.REFUSED


@asynccontextmanager
async def silent_server(reply: bytes) -> AsyncIterator[str]:
    """Takes a request, answers these bytes and then nothing, and keeps the connection."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        await writer.drain()
        await done.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/pages"
    finally:
        done.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"garbage\r\n\r\n", b"HTTP/1.1 2"],
    ids=["nothing", "half a body", "garbage", "half a line"],
)
async def test_a_receiver_that_hangs_is_left(reply: bytes) -> None:
    async with silent_server(reply) as url:
        outcomes = await post(WebhookConfig(url=url, client=QUICK), count=3)
        assert [outcome.result for outcome in outcomes] == [SendResult.RETRY] * 3
        assert "127.0.0.1" in outcomes[0].detail


async def test_a_poisoned_page_does_not_keep_the_next_one_back(hook: Collector) -> None:
    hook.status = 500
    await post(WebhookConfig(url=hook.url), count=3)
    assert len(hook.requests) == 3


async def test_nobody_there_is_found_out_once(hook: Collector) -> None:
    hook.status = 503
    outcomes = await post(WebhookConfig(url=hook.url), count=3)
    assert len(hook.requests) == 1
    assert [outcome.result for outcome in outcomes] == [SendResult.RETRY] * 3
    assert [outcome.page_id for outcome in outcomes] == ["a1-0", "a1-1", "a1-2"]


@pytest.mark.parametrize(
    "client",
    [
        ClientConfig(bearer_token=Secret("t0ken-of-ours")),
        ClientConfig(basic_username="u", basic_password=Secret("p4ssword")),
    ],
    ids=["bearer", "basic"],
)
async def test_a_receiver_that_says_the_request_back_tells_no_secret(
    hook: Collector, client: ClientConfig
) -> None:
    """Its answer stands in health and in the log, and with it stood the token and the address."""
    hook.status = 500
    url = f"{hook.url}/T0AB12CD?key=URLSECRET456"
    await post(WebhookConfig(url=url, client=client, hmac_secret=Secret("hm4c")))
    sent = dict(hook.requests[0].headers)
    hook.reply_body = f"{sent['Authorization']} for T0AB12CD with URLSECRET456: {sent}".encode()
    (outcome,) = await post(WebhookConfig(url=url, client=client))
    assert outcome.detail.startswith("status 500: [SECRET] for [SECRET] with [SECRET]: ")
    for secret in ("t0ken-of-ours", "p4ssword", "dTpw", "T0AB12CD", "URLSECRET456"):
        assert secret not in outcome.detail


async def test_a_path_that_is_a_secret_is_not_told() -> None:
    (outcome,) = await post(WebhookConfig(url="http://127.0.0.1:1/T0/s3cret-path", client=QUICK))
    assert outcome.result is SendResult.RETRY
    assert "s3cret" not in outcome.detail


async def test_a_batch_that_is_refused_is_cut_until_the_bad_alert_stands_alone(
    hook: Collector,
) -> None:
    hook.status = 400
    sender = AlertmanagerSender(AlertmanagerConfig(batch_max=4), hook.url)
    pages = [firing(f"i{at}", service=f"s{at}") for at in range(6)]
    outcomes = await sender.send(pages, now_ns=NOW_NS)
    await sender.close()
    assert [outcome.result for outcome in outcomes] == [SendResult.REFUSED] * 6
    assert [outcome.page_id for outcome in outcomes] == [page.page_id for page in pages]
    sizes = [len(orjson.loads(request.body)) for request in hook.requests]
    assert sizes == [4, 2, 1, 1, 2, 1, 1, 2, 1, 1]


async def test_times_are_true_but_never_in_the_future(hook: Collector) -> None:
    sender = AlertmanagerSender(AlertmanagerConfig(), hook.url)
    page = firing(starts_ns=NOW_NS + 10**15)
    over = resolved(ends_ns=NOW_NS + 10**15)
    await sender.send([page, over], now_ns=NOW_NS)
    await sender.close()
    alerts = orjson.loads(hook.requests[0].body)
    assert alerts[0]["startsAt"] == "2026-09-21T14:13:20.000000Z"
    assert alerts[0]["endsAt"] == "2026-09-21T14:18:20.000000Z"
    assert alerts[1]["endsAt"] == "2026-09-21T14:13:20.000000Z"


async def test_a_page_that_ended_before_it_began_is_still_an_interval(hook: Collector) -> None:
    sender = AlertmanagerSender(AlertmanagerConfig(), hook.url)
    page = replace(resolved(), starts_ns=NOW_NS - 10, ends_ns=NOW_NS - 10**12)
    await sender.send([page], now_ns=NOW_NS)
    await sender.close()
    (alert,) = orjson.loads(hook.requests[0].body)
    assert alert["startsAt"] == alert["endsAt"]


@asynccontextmanager
async def tls_server(directory: Path, *, client_ca: Path | None = None) -> AsyncIterator[str]:
    """Answers 200 to anything, over TLS, to clients whose certificate it trusts when it asks for one."""
    cert, key = make_certificate(directory, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(cert, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/pages"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_certificate_that_is_not_trusted_gets_no_page(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as url:
        (stranger,) = await post(WebhookConfig(url=url))
        assert stranger.result is SendResult.RETRY
        assert "certificate not trusted" in stranger.detail
        trusted = ClientConfig(ca_file=FilePath(str(tmp_path / "server.crt")))
        (known,) = await post(WebhookConfig(url=url, client=trusted))
        assert known.result is SendResult.DELIVERED


async def test_our_own_certificate_is_shown_when_it_is_asked_for(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "client")
    async with tls_server(tmp_path, client_ca=cert) as url:
        ca_file = str(tmp_path / "server.crt")
        ours = ClientConfig(
            ca_file=FilePath(ca_file), cert_file=FilePath(str(cert)), key_file=FilePath(str(key))
        )
        (known,) = await post(WebhookConfig(url=url, client=ours))
        assert known.result is SendResult.DELIVERED


def test_a_sender_whose_files_cannot_be_used_is_not_made(tmp_path: Path) -> None:
    """A missing authority was once found by the first page, as an error that named no file, at every attempt."""
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match=re.escape(missing)) as refusal:
        WebhookSender(
            WebhookConfig(
                url="https://127.0.0.1:1/", client=ClientConfig(ca_file=FilePath(missing))
            )
        )
    assert refusal.value.problems[0].path == "ca_file"
