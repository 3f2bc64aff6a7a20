"""Goal: what no API server sends is answered too, within the bounds of memory and time, and holds up nobody else.

Method: bytes on a TLS connection, written as a test wants them; beside them, ordinary reviews.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sentinel.admission.config import ReviewsConfig
from sentinel.app.admission.injector import Injector
from sentinel.runtime.settings import ByteSize, Duration
from tests.support.injector import (
    HOST,
    calling,
    injector_config,
    make_pod,
    make_review,
    response_of,
    running,
)

pytestmark = pytest.mark.integration

REVIEW = json.dumps(make_review(make_pod())).encode()


def head(
    length: int | None,
    *,
    version: str = "1.1",
    target: str = "/mutate?timeout=5s",
    method: str = "POST",
    more: str = "",
) -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"{method} {target} HTTP/{version}\r\nHost: {HOST}\r\n{size}{more}\r\n".encode()


class Line:
    """One TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, injector: Injector, folder: Path) -> Line:
        """A new one."""
        parts = urlsplit(injector.webhook.url)
        tls = ssl.create_default_context(cafile=str(folder / "tls/current/ca.crt"))
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=tls, server_hostname=HOST
        )
        return cls(reader, writer)

    async def answer(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, head and body of the answer to these bytes."""
        for part in parts:
            self.writer.write(part)
        return await asyncio.wait_for(self.read(), 20)

    async def read(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return int(lines[0].split()[1]), fields, body

    def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


async def test_whatever_speaks_http_gets_a_review_answered(tmp_path: Path) -> None:
    ways: dict[str, tuple[bytes, ...]] = {
        "in one piece": (head(len(REVIEW)) + REVIEW,),
        "head first": (head(len(REVIEW)), REVIEW),
        "in many pieces": (head(len(REVIEW)), *(REVIEW[at : at + 40] for at in range(0, len(REVIEW), 40))),
        "HTTP/1.0": (head(len(REVIEW), version="1.0") + REVIEW,),
        "no content type that is JSON": (
            head(len(REVIEW), more="Content-Type: text/html; charset=x\r\n") + REVIEW,
        ),
        "in chunks": (
            head(None, more="Transfer-Encoding: chunked\r\n")
            + f"{len(REVIEW):x}\r\n".encode() + REVIEW + b"\r\n0\r\n\r\n",
        ),
        "to be closed": (head(len(REVIEW), more="Connection: close\r\n") + REVIEW,),
        "without a query": (head(len(REVIEW), target="/mutate") + REVIEW,),
        "with an odd query": (head(len(REVIEW), target="/mutate?timeout=%00&timeout=-5s&=&&") + REVIEW,),
    }  # fmt: skip
    async with running(injector_config(tmp_path, None)) as injector:
        for name, parts in ways.items():
            line = await Line.to(injector, tmp_path)
            try:
                status, fields, body = await line.answer(*parts)
                assert status == 200, name
                assert fields["content-type"].startswith("application/json")
                assert "patch" in response_of(body, uid="1a2b"), name
            finally:
                line.close()
        value = injector.surroundings.metrics.value
        assert value("sentinel_admission_reviews_total", outcome="injected") == len(ways)


async def test_what_is_no_review_by_its_address_is_refused_and_counted(tmp_path: Path) -> None:
    """Only what is posted to the path is a review; all else gets HTTP's own answers."""
    async with running(injector_config(tmp_path, None)) as injector:
        for request, expected in (
            (head(len(REVIEW), target="/mutate/") + REVIEW, 404),
            (head(len(REVIEW), target="/%6dutate") + REVIEW, 200),
            (head(len(REVIEW), target="/") + REVIEW, 404),
            (head(len(REVIEW), method="PUT") + REVIEW, 405),
            (head(None, method="GET"), 405),
            (head(None, method="BREW"), 400),
            (head(-7) + REVIEW, 400),
            (b"\x00\xff\r\n\r\n", 400),
        ):
            line = await Line.to(injector, tmp_path)
            try:
                status, _, _ = await line.answer(request)
                assert status == expected, request[:60]
            finally:
                line.close()
        value = injector.surroundings.metrics.value
        other = {"route": "admission.webhook/other"}
        assert value("sentinel_http_requests_total", code="404", **other) == 2
        route = {"route": "admission.webhook/mutate"}
        assert value("sentinel_http_requests_total", code="405", **route) == 2


async def test_two_large_bodies_at_once_hold_up_no_small_one(tmp_path: Path) -> None:
    variables = [{"name": f"V{number}", "value": "x" * 60} for number in range(30)]
    containers = [{"name": f"c{number}", "image": "a", "env": variables} for number in range(1100)]
    large = json.dumps(make_review(make_pod(containers=containers), uid="large")).encode()
    assert 2.5e6 < len(large) < 4e6
    async with (
        running(injector_config(tmp_path, None)) as injector,
        calling(injector, tmp_path) as caller,
    ):
        under_way = [asyncio.create_task(caller.post(large)) for _ in range(2)]
        while not all(one.done() for one in under_way):
            assert "patch" in await caller.review(make_review(make_pod()))
        for one in under_way:
            assert "patch" in response_of(await one, uid="large")
        # Nothing is held of them.
        assert injector.webhook._load.places == set()


async def test_bodies_that_do_not_end_hold_no_more_than_the_bound(tmp_path: Path) -> None:
    """Each takes the room that it may come to need; who finds none is told at once, and small ones are answered again after."""
    reviews = ReviewsConfig(
        body_max=ByteSize(2**20), in_flight_bytes_max=ByteSize(2 * 2**20), time_limit=Duration(1.0)
    )
    async with running(injector_config(tmp_path, None, reviews=reviews)) as injector:
        lines = [await Line.to(injector, tmp_path) for _ in range(6)]
        try:
            answers = await asyncio.gather(
                *(
                    line.answer(
                        head(None, more="Transfer-Encoding: chunked\r\n"), b"5\r\nabcde\r\n"
                    )
                    for line in lines[:4]
                )
            )
            assert [status for status, _, _ in answers] == [200] * 4
            value = injector.surroundings.metrics.value
            told = {
                reason: value("sentinel_admission_errors_total", reason=reason)
                for reason in ("late", "overloaded", "too_large")
            }
            assert told == {"late": 2, "overloaded": 2, "too_large": 0}
            # One that says how large it is gets its answer before it has come, and the line is closed behind it.
            status, fields, body = await lines[4].answer(head(10**12), b"x" * 2**21)
            assert (status, fields["connection"]) == (200, "close")
            assert "larger than is looked at" in response_of(body)["warnings"][0]
            status, _, body = await lines[5].answer(head(len(REVIEW)) + REVIEW)
            assert "patch" in response_of(body)
            assert injector.webhook._load.places == set()
        finally:
            for line in lines:
                line.close()


async def test_who_hangs_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(injector_config(tmp_path, None)) as injector:
        for part in (head(len(REVIEW)), head(len(REVIEW)) + REVIEW[:50], head(3_000_000) + b"{"):
            line = await Line.to(injector, tmp_path)
            line.writer.write(part)
            await line.writer.drain()
            await asyncio.sleep(0.1)
            line.close()
        for _ in range(100):
            if not injector.webhook._load.places:
                break
            await asyncio.sleep(0.05)
        assert injector.webhook._load.places == set()
        line = await Line.to(injector, tmp_path)
        try:
            odd: list[Any] = [b"[" * 60_000, b"\xff\x00" * 99, b'"\\u0000"', b"1" * 90_000, b"nul"]
            for body in (*odd, REVIEW):
                status, _, answer = await line.answer(head(len(body)) + body)
                assert status == 200
                response_of(answer)
        finally:
            line.close()
        value = injector.surroundings.metrics.value
        assert value("sentinel_admission_errors_total", reason="malformed") == len(odd)
        assert value("sentinel_admission_reviews_total", outcome="injected") == 1
