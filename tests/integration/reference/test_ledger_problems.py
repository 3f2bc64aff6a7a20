"""Goal: every answer that is an error is problem details, also where no handler was ever reached.

Method: an edge on real servers is asked what it must refuse, in whole requests and in bytes that are none.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def raw(site: LedgerSite, sent: bytes) -> tuple[bytes, dict[str, Any]]:
    """Head and document of the answer to bytes on a connection of their own."""
    url = site.http._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(sent)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = next(
            int(line.partition(b":")[2])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length:")
        )
        return head, orjson.loads(await asyncio.wait_for(reader.readexactly(length), 10))
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"this is no HTTP\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/transfers HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
        (
            b"POST /v1/transfers HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 0\r\n\r\n",
            417,
            "expectation_failed",
        ),
        (b"GET /v1/accounts/a/balance HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_tenant"),
    ],
)
async def test_what_is_refused_early_is_a_problem_too(
    ledger_site: LedgerSite, sent: bytes, status: int, code: str
) -> None:
    head, problem = await raw(ledger_site, sent)
    assert head.split()[1] == str(status).encode()
    assert b"Content-Type: application/problem+json" in head
    assert (problem["status"], problem["code"]) == (status, code)
    assert (b"Allow: POST" in head) == (status == 405)


async def test_a_field_that_is_wrong_is_named(ledger_site: LedgerSite) -> None:
    status, problem = await ledger_site.transfer("k", "alice", "bob", -1)
    assert status == 400
    assert problem["errors"] == [
        {
            "field": "amount_minor",
            "code": "invalid_field",
            "message": problem["detail"],
        }
    ]
