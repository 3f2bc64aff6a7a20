"""A whole program beside a Kong that tells of its calls window by window, in any of its three ways."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import SeriesKey
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.http_log.component import PATH
from sentinel.scrapers.kong import KongSwitch, KongTargetConfig
from tests.support.kong_records import record
from tests.support.kong_status import KongStatus, kong_status
from tests.support.otlp_messages import CLIENT, span, traces
from tests.support.places import early_name
from tests.support.whole_app import SECOND_NS, Sidecar, config_of, sidecar, until

TARGET = early_name("scrapers.kong")
CALLS = 50
"""In each window."""
ROUTE = ("kong", "edge", "orders-v1")


class Gateway:
    """Serves calls and tells of them as its switches say.

    Attributes:
        logged: whether http-log sends records; each batch comes twice, as if the first answer had been lost.
        traced: whether one call a window has a span.
    """

    def __init__(
        self, side: Sidecar, kong: KongStatus, client: aiohttp.ClientSession, *, logged: bool
    ) -> None:
        self.logged = logged
        self.traced = False
        self._side = side
        self._kong = kong
        self._client = client
        self._number = 0
        self._poll_count = 0

    async def windows(
        self, count: int, *, code: int = 200, of_calls: int = 0, by_kong: bool = False
    ) -> None:
        """So many windows in each of which `of_calls` calls are answered with a code, the others with 200."""
        for _ in range(count):
            start_ns = self._side.next_ns
            self._kong.serve(CALLS - of_calls)
            if of_calls:
                self._kong.serve(of_calls, code=code, source="kong" if by_kong else "service")
            await self._side.send()
            if self.logged:
                await self._log(start_ns // 10**6, code, of_calls, by_kong=by_kong)
            if self.traced:
                await self._trace(start_ns)
            if "kong" in self._side.app.scrapers:
                self._poll_count += 1
                await until(self._is_polled, what="the poll of this window")
            await self._side.close()

    async def away(self, count: int) -> None:
        """So many windows in which Kong is stopped: no page, no record, and then it begins anew."""
        await self._kong.stop()
        before = self._failed_poll_count()
        for number in range(count):
            await self._side.send()
            await self._side.close()
            if "kong" in self._side.app.scrapers:
                await until(
                    lambda number=number: self._failed_poll_count() - before >= number,  # type: ignore[misc]  # of this turn
                    what="a poll in vain",
                )
        self._kong.restart()
        await self._kong.listen()

    def value(self, *key: str) -> float:
        """What the last window says of a series."""
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return float(latest.block.value[0, latest.keys.index(SeriesKey(*key))])

    def has(self, *key: str) -> bool:
        """Whether there is such a series."""
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return SeriesKey(*key) in latest.keys

    def _is_polled(self) -> bool:
        polled = self._side.metrics.value(
            "sentinel_scrapes_total", scraper="scrapers.kong", target=TARGET, result="ok"
        )
        return polled >= self._poll_count

    def _failed_poll_count(self) -> float:
        return sum(
            self._side.metrics.value(
                "sentinel_scrapes_total", scraper="scrapers.kong", target=TARGET, result=result
            )
            for result in ("unreachable", "timeout")
        )

    async def _log(self, start_ms: int, code: int, of_calls: int, *, by_kong: bool) -> None:
        records = []
        for at in range(CALLS):
            self._number += 1
            is_odd = at < of_calls
            records.append(
                record(
                    self._number,
                    started_ms=start_ms + 8000 * at // CALLS,
                    status=code if is_odd else 200,
                    by_kong=by_kong and is_odd,
                )
            )
        body = json.dumps(records).encode()
        url = self._side.app.addresses()["http_log_url"] + PATH
        headers = {"Content-Type": "application/json"}
        for _ in range(2):
            async with self._client.post(url, data=body, headers=headers) as reply:
                assert reply.status == 200

    async def _trace(self, start_ns: int) -> None:
        self._number += 1
        root = span(
            "kong",
            number=2**40 + self._number,
            end_ns=start_ns + 5 * SECOND_NS,
            http__method="GET",
            http__route="/v1/orders",
            http__status_code=200,
        )
        tried = span(
            "kong.balancer",
            kind=CLIENT,
            number=2**41 + self._number,
            end_ns=start_ns + 5 * SECOND_NS,
            net__peer__name="orders.svc",
        )
        body = traces(root, tried, service="kong").SerializeToString()
        assert await self._side.post("/v1/traces", body) == 200


@asynccontextmanager
async def gateway(
    folder: Path, webhook_url: str, *, logged: bool, scraped: bool
) -> AsyncIterator[tuple[Sidecar, Gateway]]:
    """The program with the ways it is told by, and the gateway."""
    config = config_of(folder, webhook_url=webhook_url)
    if logged:
        http_log = HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0))
        config = replace(config, receivers=replace(config.receivers, http_log=http_log))
    async with kong_status() as kong, aiohttp.ClientSession() as client:
        if scraped:
            kong.serve(CALLS)
            target = KongTargetConfig(
                name=TARGET,
                url=kong.url,
                off_on_purpose=(KongSwitch.BANDWIDTH, KongSwitch.UPSTREAM_HEALTH),
            )
            config = replace(config, scrapers=ScrapersConfig(kong=(target,)))
        async with sidecar(config) as side:
            yield side, Gateway(side, kong, client, logged=logged)
