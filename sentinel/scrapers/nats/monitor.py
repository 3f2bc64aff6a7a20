"""The monitoring ports of a cluster's servers as one target: all are asked at once, each within its own time.

A server that hangs or is gone costs its own figures and no other's. Streams and consumers come from `/jsz`, page by page; a
server is asked for all it holds and not only for what it leads (`stream-leader-only`), because the leader of a
consumer may be another server than that of its stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from sentinel.core.normalise.nats import (
    NatsSamples,
    ServerAnswer,
    StreamReading,
    is_safe,
    read_connz,
    read_healthz,
    read_jsz,
    read_varz,
    safe_minimum,
)
from sentinel.core.redact import redact
from sentinel.errors import SentinelError
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.http.client import place_of
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.scrapers.nats.config import NatsConfig

_PAGES_MAX = 64
_CONNECTIONS_SHOWN = 16
_MARGIN_S = 1.0
_POINT_BYTES = 48
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class _Failure:
    place: str
    error: Exception


@dataclass(slots=True)
class _Pages:
    streams: list[StreamReading] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)
    at_ns: int = 0
    off: bool = False


@dataclass(frozen=True, slots=True)
class _Streams:
    streams: tuple[StreamReading, ...] | None
    at_ns: int = 0
    off: bool = False


class NatsMonitor:
    """Asks the servers of one cluster, as a target of the scraper."""

    def __init__(
        self,
        scraper: str,
        config: NatsConfig,
        samples: NatsSamples,
        surroundings: Surroundings,
    ) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used.

        Args:
            scraper: name of the component.
            config: of this target.
            samples: the memory of its service, shared with other targets of the same one.
            surroundings: as for a component.
        """
        self._what = f"{scraper} {config.name}"
        self._config = config
        self._samples = samples
        self._flow = Flow(scraper, surroundings.metrics)
        # A client a server, so that one that hangs holds no other's connection.
        self._fetchers = {
            url.rstrip("/"): Fetcher(config.client, url, body_bytes_max=config.body_max)
            for url in config.urls
        }

    @property
    def name(self) -> str:
        """As configured."""
        return self._config.name

    @property
    def interval_s(self) -> float:
        """How often the servers are asked."""
        return float(self._config.interval)

    @property
    def timeout_s(self) -> float:
        """Longest time of a poll; each server's own limit is a little shorter."""
        return float(self._config.client.timeout) + _MARGIN_S

    async def poll(self, now_ns: int) -> Polled:
        """Ask all servers once; what one could not say is missing from the batch and named.

        Raises:
            UnreachableError, RefusedError, InputError: none of them answered.
        """
        answers, failures = await self._ask_all()
        if not answers:
            raise failures[0].error
        reduced = self._samples.reduce(
            answers,
            source=self.name,
            unanswered=[failure.place for failure in failures],
            now_ns=now_ns,
        )
        return Polled(
            batch=reduced.batch,
            size_bytes=_POINT_BYTES * max(1, reduced.batch.sample_count),
            notes=reduced.notes + self._of_domain(answers),
        )

    async def reach(self) -> tuple[Reach, ...]:
        """Whether each port answers, whether JetStream is on and told of, and whether the versions are safe."""
        answers, failures = await self._ask_all()
        found = [
            Reach(
                what=f"{self._what} {failure.place}",
                status=ReachStatus.FAILING,
                sentence=redact(str(failure.error)),
                remedy="start nats-server with `http` set to that port, and let the sidecar reach it",
            )
            for failure in failures
        ]
        for answer in answers:
            found += self._reach_of(answer)
        return tuple(found)

    async def close(self) -> None:
        """Release connections; idempotent."""
        for fetcher in self._fetchers.values():
            await fetcher.close()

    async def _ask_all(self) -> tuple[list[ServerAnswer], list[_Failure]]:
        found = await asyncio.gather(*(self._ask(url) for url in self._fetchers))
        answers = [one for one in found if isinstance(one, ServerAnswer)]
        failures = [one for one in found if isinstance(one, _Failure)]
        for failure in failures if answers else ():
            # Of a poll that failed as a whole the component counts the error.
            self._flow.error(FlowStage.READ, reason_of(failure.error))
        return answers, failures

    async def _ask(self, url: str) -> ServerAnswer | _Failure:
        place = place_of(url)
        partly: ServerAnswer | None = None
        try:
            async with asyncio.timeout(self._config.client.timeout):
                server = read_varz((await self._fetchers[url].get(f"{url}/varz")).body)
                # What follows may take long on a large server; what is known until then is kept.
                off = self._config.jetstream and server.jetstream is None
                partly = ServerAnswer(place=place, server=server, jetstream_off=off)
                ill = await self._health(url)
                gauges = await self._connections(url)
                partly = ServerAnswer(
                    place=place,
                    server=server,
                    gauges=gauges,
                    ill=ill,
                    jetstream_off=off,
                )
                told = await self._streams(url)
        except TimeoutError as error:
            if partly is not None:
                self._flow.error(FlowStage.READ, FlowReason.TIMEOUT)
                return partly
            return _Failure(place, error)
        except SentinelError as error:
            return _Failure(place, error)
        return ServerAnswer(
            place=place,
            server=server,
            gauges=gauges,
            ill=ill,
            streams=told.streams,
            streams_ns=told.at_ns,
            jetstream_off=off or told.off,
            one_account=bool(self._config.account),
        )

    async def _health(self, url: str) -> str | None:
        """Why the server says that it is not well; of its streams it is asked elsewhere, for there may be thousands."""
        try:
            fetched = await self._fetchers[url].get(
                f"{url}/healthz?js-server-only=true", also={_UNAVAILABLE}
            )
            ill = read_healthz(fetched.body)
        except SentinelError as error:
            self._flow.error(FlowStage.READ, reason_of(error))
            return None
        return ill or ("" if fetched.status != _UNAVAILABLE else "status 503")

    async def _connections(self, url: str) -> dict[str, float]:
        query = urlencode({"sort": "pending", "limit": _CONNECTIONS_SHOWN})
        try:
            return read_connz((await self._fetchers[url].get(f"{url}/connz?{query}")).body)
        except SentinelError as error:
            self._flow.error(FlowStage.READ, reason_of(error))
            return {}

    async def _streams(self, url: str) -> _Streams:
        """All pages of the server's streams; None where they cannot be read, because a part of them would mislead."""
        if not self._config.jetstream:
            return _Streams(())
        limit = self._config.accounts_per_page
        try:
            found, missing_count = await self._pages(url, limit)
            if missing_count:
                # Servers of 2.9 do not sort the first page as they do the others, so some accounts are on none.
                found, _ = await self._pages(url, len(found.accounts) + missing_count)
        except SentinelError as error:
            self._flow.error(FlowStage.READ, reason_of(error))
            return _Streams(None)
        return _Streams(tuple(found.streams), found.at_ns, off=found.off)

    async def _pages(self, url: str, limit: int) -> tuple[_Pages, int]:
        """All pages with so many accounts each, and how many accounts were on none of them."""
        found = _Pages()
        total = 0
        for page_number in range(_PAGES_MAX):
            asked: dict[str, str | int] = {"consumers": "true", "config": "true"}
            if self._config.account:
                asked |= {"acc": self._config.account, "streams": "true"}
            else:
                asked |= {"limit": limit, "offset": page_number * limit}
            fetched = await self._fetchers[url].get(f"{url}/jsz?{urlencode(asked)}")
            page = read_jsz(fetched.body)
            self._flow.error(FlowStage.DECODE, FlowReason.MALFORMED, page.malformed_count)
            found.off, found.at_ns = page.disabled, page.now_ns
            found.streams += page.streams
            found.accounts.update(page.accounts)
            total = page.account_count
            if self._config.account or page.disabled:
                return found, 0
            if len(page.accounts) < limit or len(found.accounts) >= total:
                return found, max(0, total - len(found.accounts))
        self._flow.dropped(FlowReason.LIMIT, total - len(found.accounts))
        return found, 0

    def _of_domain(self, answers: Sequence[ServerAnswer]) -> tuple[str, ...]:
        wanted = self._config.domain
        others = {
            one.server.jetstream.domain
            for one in answers
            if one.server.jetstream is not None and one.server.jetstream.domain != wanted
        }
        if not wanted or not others:
            return ()
        return (f"the servers are of another JetStream domain than {wanted}",)

    def _reach_of(self, answer: ServerAnswer) -> list[Reach]:
        what = f"{self._what} {answer.place}"
        version = redact(answer.server.version) or "unknown"
        found = [
            Reach(
                what=what,
                status=ReachStatus.OK,
                sentence=f"the monitoring port answers, nats-server {version}",
            )
        ]
        if is_safe(answer.server.version) is False:
            found.append(
                Reach(
                    what=what,
                    status=ReachStatus.DEGRADED,
                    sentence=f"nats-server {version} has known weaknesses",
                    remedy=f"run {safe_minimum()} or newer",
                )
            )
        if answer.jetstream_off:
            found.append(
                Reach(
                    what=what,
                    status=ReachStatus.DEGRADED,
                    sentence="JetStream is off, so there are no streams and consumers",
                    remedy="turn it on with a `jetstream` block, or set `jetstream: false` here",
                )
            )
        elif answer.streams is None:
            found.append(
                Reach(
                    what=what,
                    status=ReachStatus.DEGRADED,
                    sentence="its streams and consumers cannot be read",
                    remedy="make accounts_per_page smaller, or body_max or client.timeout larger",
                )
            )
        if answer.ill:
            found.append(
                Reach(
                    what=what,
                    status=ReachStatus.DEGRADED,
                    sentence=f"the server says that it is not well: {redact(answer.ill)}",
                )
            )
        return found
