"""Servers of PromQL as a component: asked for each window, and afterwards for what was missed while they, or Sentinel, were away.

What was missed is looked for where it should be kept: a stretch of five minutes in which no series of a server has a value. It is asked
for once, when it is over for long enough that nothing of it is still being put together, and as far back as `gap_max`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sentinel.core.redact import redact
from sentinel.core.series import SeriesSettings
from sentinel.errors import SentinelError
from sentinel.ports import PastSink
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.component import Scraping
from sentinel.runtime.promql import QueryServerConfig
from sentinel.scrapers.prometheus_queries.target import NAME, QueryTarget

_LOOK_S = 600.0
"""Between two looks for what was missed, and before the first; so long after its end all that live makes of a stretch is made."""

_STRETCH_NS = 300 * 10**9
_POINTS_MAX = 10_000
"""Fewer than a server of PromQL answers of one series."""


class QueryScraping(Scraping):
    """All servers that are asked."""

    def __init__(
        self,
        servers: Sequence[QueryServerConfig],
        windows: SeriesSettings,
        downstream: Downstream,
        surroundings: Surroundings,
    ) -> None:
        """Make the targets; ConfigError when a file of their TLS cannot be used."""
        targets = [QueryTarget(one, windows, surroundings) for one in servers]
        super().__init__(NAME, targets, downstream, surroundings)
        self._query_targets = targets
        self._past = downstream.past
        self._clock, self._metrics = surroundings.clock, surroundings.metrics
        self._logger = surroundings.logger

    async def start(self) -> None:
        """Ask from now on, and look for what was missed."""
        await super().start()
        if self._past is None:
            return
        for target in self._query_targets:
            if target.gap_max_s:
                self._tasks.spawn(f"gaps {target.name}", partial(self._fill, target, self._past))

    async def _fill(self, target: QueryTarget, past: PastSink) -> None:
        asked: set[int] = set()
        while self._running:
            await self._clock.sleep(_LOOK_S)
            missed_ns, end_ns = target.missed_ns, self._clock.now_ns() - round(_LOOK_S * 1e9)
            if not missed_ns or not target.told:
                continue
            try:
                await self._look(target, past, asked, end_ns=end_ns)
            except (SentinelError, TimeoutError) as error:
                self._logger.warning(
                    "What was missed is not told yet, and is asked for again",
                    extra={"target": target.name, "reason": redact(str(error))},
                )
                continue
            if target.missed_ns == missed_ns <= end_ns - _STRETCH_NS:
                target.missed_ns = 0

    async def _look(
        self, target: QueryTarget, past: PastSink, asked: set[int], *, end_ns: int
    ) -> None:
        start_ns = self._clock.now_ns() - round(target.gap_max_s * 1e9)
        longest_ns = round(_POINTS_MAX * target.interval_s * 1e9)
        for first_ns, last_ns in await past.gaps(target.told, start_ns=start_ns, end_ns=end_ns):
            # What was asked for and not there is not there the next time either.
            if last_ns in asked:
                continue
            rows = await target.past(max(first_ns, last_ns - longest_ns), last_ns)
            count = await past.put(rows)
            asked.add(last_ns)
            if count:
                self._metrics.count("sentinel_query_gap_windows_total", count, server=target.name)
                self._logger.info(
                    "What was missed is learned from after all",
                    extra={"target": target.name, "windows": count},
                )
        asked.intersection_update({one for one in asked if one > start_ns})
