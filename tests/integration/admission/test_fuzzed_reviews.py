"""Goal: over the wire, too, whatever is posted as a review is answered 200 and allowed, and the next one is as well.

Method: generated bodies over kept HTTPS connections to an injector in a thread of this process; between them an ordinary review,
which must be decided as ever.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.app.admission.injector import Injector
from tests.support.injector import (
    injector_config,
    make_pod,
    make_review,
    response_of,
    running,
)

pytestmark = pytest.mark.integration

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "containers", "annotations", "name", "request"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_reviews = st.builds(
    lambda part, value: json.dumps(make_review(make_pod(), **{part: value})).encode(),
    st.sampled_from(["object", "kind", "operation", "namespace", "uid"]),
    _json,
)
_bodies = (
    st.binary(max_size=300)
    | _json.map(lambda value: json.dumps(value).encode())
    | _reviews
    # Cut off anywhere, or with a byte changed.
    | st.builds(lambda data, end: data[: end % (len(data) + 1)], _reviews, st.integers(0, 4000))
    | st.builds(
        lambda data, at, byte: data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :],
        _reviews,
        st.integers(0, 4000),
        st.integers(0, 255),
    )
)
_heads = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/plain", "x" * 50, ";;;"]),
        "Content-Encoding": st.sampled_from(["gzip", "br", "identity"]),
        "Accept": st.sampled_from(["*/*", "text/html"]),
    },
)
_queries = st.sampled_from(
    ["", "?timeout=5s", "?timeout=", "?timeout=1h", "?timeout=9" * 20, "?a"]
)


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    """One that runs in a thread, for hypothesis calls its tests one after another without a loop."""
    folder: Path = tmp_path_factory.mktemp("injector")
    found: list[Injector] = []
    is_up = Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with running(injector_config(folder, None)) as one:
            found.append(one)
            is_up.set()
            await stopping.wait()

    thread = Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert is_up.wait(timeout=30)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(timeout=20)
        loop.close()


class Wire:
    """A kept connection, made anew where the server closed it."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._connection: http.client.HTTPSConnection | None = None

    def post(self, body: Any, head: dict[str, str], query: str = "") -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                str(self._parts.hostname), self._parts.port, timeout=10, context=self._tls
            )
        self._connection.request("POST", f"{self._parts.path}{query}", body=body, headers=head)
        reply = self._connection.getresponse()
        answer = reply.read()
        if reply.will_close:
            self.close()
        return reply.status, answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def wire(injector: Injector) -> Iterator[Wire]:
    one = Wire(injector.webhook.url)
    try:
        yield one
    finally:
        one.close()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=_bodies, head=_heads, query=_queries, chunked=st.booleans())
def test_every_post_is_answered(
    wire: Wire,
    injector: Injector,
    body: bytes,
    head: dict[str, str],
    query: str,
    chunked: bool,  # noqa: FBT001  # drawn by name
) -> None:
    status, answer = wire.post(iter([body]) if chunked and body else body, head, query)
    assert status == 200
    response_of(answer)
    value = injector.surroundings.metrics.value
    assert value("sentinel_admission_errors_total", reason="fault") == 0
    status, answer = wire.post(json.dumps(make_review(make_pod())).encode(), {})
    assert status == 200
    assert "patch" in response_of(answer, uid="1a2b")
