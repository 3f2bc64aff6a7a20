"""One endpoint of remote write: requests that are tried until they are taken, refused, or given up.

    answer                         means for the samples of the request
    2xx                            written; 2.0 says how many
    400                            something is refused, such as what is out of order: counted and told, never sent again
    413                            too large: in halves
    408, 425, 429, 5xx, none       tried again, not before Retry-After, until the time is up
    415                            another version is asked for: `auto` goes down to 1.0
    3xx, 401, 403, 404, other      the address or the access is wrong: nothing further is sent

A receiver of 1.0 that does not look at the content type finds nothing in a request of 2.0, and says that it was written: Prometheus
before 2.54 does. Who understood it must say how many samples were written, so an answer without that is one of 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol as Typed

import cramjam

from sentinel import __version__
from sentinel.errors import RefusedError, UnreachableError
from sentinel.history.writing.messages import Protocol, Run, encoded
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.http.client import ClientConfig, HttpClient, Reply, place_of

_TRY_AGAIN = frozenset({408, 425, 429})
_WRITTEN = "x-prometheus-remote-write-samples-written"
_REFUSED_IN_ROW_MAX = 20
_BACKOFF = Backoff(first_s=0.5, limit_s=30.0)


class WaitingClock(Typed):
    """What of a clock is needed."""

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(slots=True)
class Sent:
    """What became of the samples.

    Attributes:
        requests: that were answered for good.
        retries: attempts that were tried again.
        written: samples that were taken.
        refused: samples of requests that were answered with 400, less what the receiver says it took of them. Of 1.0 it says nothing:
            some of these may be written.
        refused_why: what was said first.
        wire_bytes: compressed bytes of the requests, each once.
    """

    requests: int = 0
    retries: int = 0
    written: int = 0
    refused: int = 0
    refused_why: str = ""
    wire_bytes: int = 0


class RemoteWriteEndpoint:
    """Sends requests one after another, so that samples arrive in order of time."""

    def __init__(
        self,
        url: str,
        config: ClientConfig,
        clock: WaitingClock,
        *,
        protocol: Protocol | None,
        give_up_after_s: float,
        tenant: str = "",
        on_news: Callable[[str], None],
    ) -> None:
        """Make one; ConfigError when a file of its TLS cannot be used.

        Args:
            url: of the receiver, such as `http://127.0.0.1:9090/api/v1/write`.
            config: credentials, TLS, time limits of an attempt.
            clock: for waiting.
            protocol: the version to speak; None to try 2.0 first, and go down to 1.0 where that is not spoken.
            give_up_after_s: how long a request is tried.
            tenant: sent as `X-Scope-OrgID`; empty for none.
            on_news: told what a person should know, a sentence each.
        """
        self._url = url
        self._client = HttpClient(config, url)
        self._clock = clock
        self._is_settled = protocol is not None
        self.protocol = protocol or Protocol.V2
        self._give_up_after_s = give_up_after_s
        self._headers = {"User-Agent": f"sentinel/{__version__}"}
        if tenant:
            self._headers["X-Scope-OrgID"] = tenant
        self._on_news = on_news
        self._refused_in_row = 0
        self.sent = Sent()

    async def send(self, runs: Sequence[Run]) -> None:
        """Send samples, in as many requests as the receiver's limit of bytes asks for.

        Raises:
            UnreachableError: it did not take them in time.
            RefusedError: the address, the access or the version is wrong, or everything is refused.
        """
        if not runs:
            return
        body = bytes(cramjam.snappy.compress_raw(encoded(runs, self.protocol)))
        reply = await self._tried(body)
        count = sum(map(len, runs))
        if reply.status == 413 and count > 1:
            for half in _halves(runs):
                await self.send(half)
        elif self._is_another_version(reply):
            self._go_down(reply)
            await self.send(runs)
        else:
            self._note(reply, count, len(body))

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._client.close()

    async def _tried(self, body: bytes) -> Reply:
        began_s = self._clock.monotonic_s()
        attempts = 0
        while True:
            headers = self._headers | self.protocol.headers
            reply = await self._client.post(self._url, body, headers)
            again = reply.status == 0 or reply.status in _TRY_AGAIN or reply.status >= 500
            if not again:
                return reply
            attempts += 1
            wait_s = _BACKOFF.wait_s(attempts)
            # What it asks for is kept to also where that is longer than we would wait.
            wait_s = max(wait_s, reply.retry_after_s or 0.0)
            spent_s = self._clock.monotonic_s() - began_s
            if spent_s + wait_s > self._give_up_after_s:
                msg = f"{place_of(self._url)} did not take a request within {self._give_up_after_s:g} s: {reply.detail}"
                raise UnreachableError(msg)
            self.sent.retries += 1
            await self._clock.sleep(wait_s)

    def _is_another_version(self, reply: Reply) -> bool:
        """Whether `auto` should try 1.0: the version is not spoken, or not even looked at."""
        if self._is_settled or self.protocol is Protocol.V1:
            return False
        return reply.status == 415 or (
            (reply.ok or reply.status == 400) and _written_of(reply) is None
        )

    def _go_down(self, reply: Reply) -> None:
        self.protocol, self._is_settled = Protocol.V1, True
        why = "does not say what it wrote" if reply.ok else f"answered {reply.status}"
        self._on_news(f"{place_of(self._url)} {why} to remote write 2.0: it is written to by 1.0")

    def _note(self, reply: Reply, count: int, size_bytes: int) -> None:
        sent, written = self.sent, _written_of(reply)
        sent.requests += 1
        sent.wire_bytes += size_bytes
        if reply.ok:
            if self.protocol is Protocol.V2 and written is None:
                msg = "the answer does not say what was written, as 2.0 demands"
                raise RefusedError(msg, status=reply.status, endpoint=place_of(self._url))
            taken = count if written is None else min(written, count)
        elif reply.status in {400, 413}:
            taken = min(written or 0, count)
        else:
            msg = reply.detail.partition(": ")[2] or "refused"
            raise RefusedError(msg, status=reply.status, endpoint=place_of(self._url))
        self._is_settled = True
        sent.written += taken
        if taken < count:
            sent.refused += count - taken
            why = "it says that it wrote fewer" if reply.ok else reply.detail
            sent.refused_why = sent.refused_why or why
        self._refused_in_row = 0 if taken else self._refused_in_row + 1
        if self._refused_in_row >= _REFUSED_IN_ROW_MAX:
            msg = f"{_REFUSED_IN_ROW_MAX} requests in a row were refused, the last with: {reply.detail}"
            raise RefusedError(msg, status=reply.status, endpoint=place_of(self._url))


def _written_of(reply: Reply) -> int | None:
    """How many samples the receiver says it wrote; None when it does not."""
    text = reply.headers.get(_WRITTEN, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _halves(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Two requests of half the samples, in order of time for each series."""
    if len(runs) == 1:
        middle = len(runs[0]) // 2
        return [runs[0].first(middle)], [runs[0].after(middle)]
    middle = len(runs) // 2
    return list(runs[:middle]), list(runs[middle:])
