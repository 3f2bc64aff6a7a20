"""A metrics page that is asked for again and again: what every scraper of such pages shares.

A scraper gives a `MetricsParser` with its own `Placing`, and an `inspect` that looks at what a page has and has not; all else is
the same for an application, an exporter and a gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from sentinel.core.model import RejectReason, SampleBatch
from sentinel.core.normalise.page_settings import DEFAULT_FORMATS
from sentinel.core.normalise.prometheus import (
    MetricsPage,
    MetricsParser,
    PageFormat,
    accept_of,
)
from sentinel.core.redact import redact
from sentinel.errors import SentinelError
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.polling.reach import Reach, ReachStatus

_INLINE_BYTES_MAX = 1 << 20
"""Larger pages are read beside the loop: one that has changed is read line by line, and may take a second."""
_POINT_BYTES = 512


class Finding(NamedTuple):
    """What a page lacks.

    Attributes:
        sentence: one clause, for health and `check ready`.
        remedy: what to do about it, or "".
    """

    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTargetSettings:
    """One page to ask for.

    Attributes:
        component: whose target it is, such as `scrapers.prometheus`.
        name: unique among its targets.
        url: of the page, without credentials.
        interval_s, timeout_s: as of a `Target`.
        formats: asked for, the first one liked best; protobuf is the only one with native histograms.
        headers: sent besides.
        sample_count_max: of the parser's limits, for what is told of them.
    """

    component: str
    name: str
    url: str
    interval_s: float = 10.0
    timeout_s: float = 10.0
    formats: tuple[PageFormat, ...] = DEFAULT_FORMATS
    headers: Mapping[str, str] = field(default_factory=dict)
    sample_count_max: int = 20_000


def nothing_found(page: MetricsPage) -> tuple[Finding, ...]:  # noqa: ARG001  # an `inspect` that has nothing to say
    """Any page is as it should be."""
    return ()


class MetricsTarget:
    """One page, as a `Target` of `runtime.polling`."""

    def __init__(
        self,
        settings: MetricsTargetSettings,
        fetcher: Fetcher,
        parser: MetricsParser,
        *,
        inspect: Callable[[MetricsPage], tuple[Finding, ...]] = nothing_found,
    ) -> None:
        """Make it; the fetcher is its own and closed with it."""
        self._settings = settings
        self._fetcher = fetcher
        self._parser = parser
        self._inspect = inspect
        self._headers = {
            "Accept": accept_of(settings.formats),
            "X-Prometheus-Scrape-Timeout-Seconds": f"{settings.timeout_s:g}",
            # On this machine there is no network to spare: packing and unpacking cost both sides more than copying.
            **({"Accept-Encoding": "identity"} if _is_here(settings.url) else {}),
            **settings.headers,
        }
        self._parsing: asyncio.Future[MetricsPage] | None = None

    @property
    def name(self) -> str:
        """As configured."""
        return self._settings.name

    @property
    def interval_s(self) -> float:
        """How often it is asked."""
        return self._settings.interval_s

    @property
    def timeout_s(self) -> float:
        """Longest time of a whole poll."""
        return self._settings.timeout_s

    async def poll(self, now_ns: int) -> Polled:
        """Ask once; see `Target`."""
        page = await self._page(now_ns)
        notes = tuple(finding.sentence for finding in self._findings(page))
        return Polled(batch=page.batch, size_bytes=weight_of(page.batch), notes=notes)

    async def reach(self) -> tuple[Reach, ...]:
        """Ask once and say what came, and what is missing."""
        what = f"{self._settings.component} {self.name}"
        try:
            async with asyncio.timeout(self.timeout_s):
                page = await self._page(0)
        except TimeoutError:
            return (_failing(what, f"no answer within {self.timeout_s:g} s"),)
        except SentinelError as error:
            return (_failing(what, redact(str(error))),)
        sentence = f"{page.batch.sample_count} samples, as {page.format}"
        good = Reach(what=what, status=ReachStatus.OK, sentence=sentence)
        lacking = (
            Reach(
                what=what,
                status=ReachStatus.DEGRADED,
                sentence=finding.sentence,
                remedy=finding.remedy,
            )
            for finding in self._findings(page)
        )
        return (good, *lacking)

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._fetcher.close()

    async def _page(self, now_ns: int) -> MetricsPage:
        fetched = await self._fetcher.get(self._settings.url, self._headers)
        content_type = fetched.headers.get("content-type", "")
        if self._parsing is not None and not self._parsing.done():
            # A poll that was given up left it; a parser reads one page at a time.
            await asyncio.wait((self._parsing,))
        if len(fetched.body) <= _INLINE_BYTES_MAX:
            return self._parser.parse(fetched.body, content_type=content_type, time_ns=now_ns)
        self._parsing = asyncio.ensure_future(
            asyncio.to_thread(
                self._parser.parse, fetched.body, content_type=content_type, time_ns=now_ns
            )
        )
        self._parsing.add_done_callback(_look_at)
        return await asyncio.shield(self._parsing)

    def _findings(self, page: MetricsPage) -> tuple[Finding, ...]:
        found = list(self._inspect(page))
        if over := page.batch.rejected.get(RejectReason.LIMIT, 0):
            found.append(
                Finding(
                    f"{over} samples are over a limit and left out",
                    "take fewer metrics with `allow` and `deny`, or raise `sample_count_max`,"
                    f" which is {self._settings.sample_count_max}",
                )
            )
        if page.faults:
            found.append(
                Finding(f"lines that make no sense are left out: {redact(page.faults[0])}")
            )
        return tuple(found)


def weight_of(batch: SampleBatch) -> int:
    """What a batch weighs in a queue, in bytes; columns that are the same from page to page weigh nothing."""
    columns = sum(columns.value.nbytes for columns in batch.scraped)
    return 1024 + columns + _POINT_BYTES * (len(batch.numbers) + len(batch.distributions))


def _is_here(url: str) -> bool:
    """Whether a URL names this machine.

    >>> _is_here("http://127.0.0.1:9464/metrics"), _is_here("http://10.0.0.7:9464/metrics")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_REMEDY = "is it running there, and are port and path of `url` right? ask the address by hand"


def _failing(what: str, sentence: str) -> Reach:
    return Reach(what=what, status=ReachStatus.FAILING, sentence=sentence, remedy=_REMEDY)


def _look_at(parsing: asyncio.Future[MetricsPage]) -> None:
    """Look at how a reading ended that nobody waits for any more, so that it is not told as never looked at."""
    if not parsing.cancelled():
        parsing.exception()
