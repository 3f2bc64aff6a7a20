"""Takes pages from the outbox to where they must be, one task a destination, for as long as it takes.

The outbox is the truth: every page is durable in it before the first attempt, and every answer is stored before
the next. So a page is sent at least once, and again after a crash between an answer and its storing; receivers
tell by the page's id. Only what the store does not take, on a full or failing disk, goes out from memory: a page
that is late until somebody makes room on a disk is no page. `delivery_plan` decides what is due, `delivery_lane` does it, and this is the component round them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sentinel.core.model import Page
from sentinel.errors import StoreError
from sentinel.pipeline.delivery_lane import Destination, Lane, RunBlocking
from sentinel.pipeline.delivery_plan import DeliveryRules
from sentinel.ports import Outbox
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason
from sentinel.runtime.settings import Duration, setting
from sentinel.runtime.tasks import TaskGroup

_SECOND_NS = 1_000_000_000
_FORGETTING_RETRY_MAX_S = 30.0
_FLUSH_S = 5.0
_NEWS_NS = 24 * 3600 * _SECOND_NS
"""A page that waited for longer, for a destination that is gone, is news to nobody else."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverConfig:
    """How pages get where they must be."""

    retry_first: Duration = setting(
        Duration(1.0), help="Wait after the first failed attempt; it doubles each time."
    )
    retry_max: Duration = setting(
        Duration(300.0),
        help="Longest wait between attempts, of which there is no limit; 30s at most for an Alertmanager.",
    )
    settle: Duration = setting(
        Duration(330.0),
        help="How long an Alertmanager must have had a page before it is told that it resolved: its group_wait and its "
        "group_interval together. It delays only what was paged late, after an outage.",
    )
    resolved_for: Duration = setting(
        Duration(900.0), help="How long an Alertmanager is told again that an incident resolved."
    )
    parked_for: Duration = setting(
        Duration(86_400.0), help="How long a page that was refused for good shows in health."
    )
    instance: str = setting(
        "", help="Label `instance` of the heartbeat, to tell several sidecars apart."
    )

    def __post_init__(self) -> None:
        if not 0.01 <= self.retry_first <= self.retry_max <= 3600.0:
            msg = "retry_first must be at least 10ms and not above retry_max, which is at most 1h"
            raise ValueError(msg)
        if self.settle < 0 or self.resolved_for < 0 or self.parked_for < 0:
            msg = "settle, resolved_for and parked_for must not be negative"
            raise ValueError(msg)


async def run_here(call: Callable[[], Result], /) -> Result:
    """Runs a call of the store at once; right for a store in memory."""
    return call()


class Deliver:
    """Delivers pages; with `shadow`, they are recorded and never sent."""

    def __init__(
        self,
        config: DeliverConfig,
        outbox: Outbox,
        senders: Sequence[Destination],
        *,
        surroundings: Surroundings,
        shadow: bool = False,
        run_blocking: RunBlocking = run_here,
    ) -> None:
        names = [sender.name for sender in senders]
        if len(set(names)) != len(names):
            msg = f"two destinations have the same name: {', '.join(sorted(names))}"
            raise ValueError(msg)
        self._outbox = outbox
        self._senders = tuple(senders)
        self._surroundings = surroundings
        self._shadow = shadow
        self._run_blocking = run_blocking
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._lanes = [
            Lane(
                sender,
                outbox,
                _rules_of(config, sender),
                instance=config.instance,
                surroundings=surroundings,
                run_blocking=run_blocking,
            )
            for sender in senders
        ]
        self._started = False

    @property
    def name(self) -> str:
        """Name of the component."""
        return "pipeline.deliver"

    @property
    def is_left_to_rules(self) -> bool:
        """Whether pages are decided and nobody is told from here, so that rules in Prometheus may tell; never in shadow mode."""
        return not self._shadow and not self._senders

    async def start(self) -> None:
        """Tell the outbox who must get every page from now on, and begin to deliver what it holds."""
        names = [] if self._shadow else [sender.name for sender in self._senders]
        await self._run_blocking(lambda: self._outbox.set_destinations(names))
        if names:
            await self._take_over()
        self._started = True
        if not self._shadow:
            for lane in self._lanes:
                self._tasks.spawn(lane.name, lane.run)

    async def stop(self) -> None:
        """Try once more what is due, then release; what is left stays in the outbox."""
        running = self._started and not self._shadow
        self._started = False
        await self._tasks.close()
        if running:
            flushes = [lane.flush(within_s=_FLUSH_S) for lane in self._lanes]
            for lane, ended in zip(
                self._lanes, await asyncio.gather(*flushes, return_exceptions=True), strict=True
            ):
                if isinstance(ended, BaseException):
                    self._surroundings.logger.warning(
                        "Last attempt to deliver failed; the pages stay in the outbox",
                        extra={"destination": lane.name, "reason": type(ended).__name__},
                    )
        for sender in self._senders:
            await sender.close()

    def health(self) -> Health:
        """Failing when no destination takes pages, degraded when one does not or a page was refused."""
        if not self._started:
            self._health.failing("Not started")
        elif self._shadow:
            self._health.ok("Shadow mode: pages are recorded and not sent")
        elif not self._lanes:
            self._health.degraded(
                "No destination is configured: pages are only recorded, and left to rules in Prometheus"
            )
        else:
            troubles = [lane.trouble for lane in self._lanes if lane.trouble]
            stuck = [lane for lane in self._lanes if lane.is_failing]
            if len(stuck) == len(self._lanes):
                self._health.failing("; ".join(troubles))
            elif troubles:
                self._health.degraded("; ".join(troubles))
            else:
                count = len(self._lanes)
                self._health.ok(
                    "1 destination takes pages"
                    if count == 1
                    else f"{count} destinations take pages"
                )
        return self._health.current

    def pages_stored(self, pages: Iterable[Page]) -> None:
        """Say that these pages are in the store now; call it after every tick that has pages."""
        pages = tuple(pages)
        self._flow.received(len(pages), signal="pages")
        if self._shadow:
            for page in pages:
                self._flow.dropped(FlowReason.WITHHELD)
                self._surroundings.metrics.count(
                    "sentinel_pages_withheld_total", reason=page.reason.value
                )
                self._surroundings.logger.info(
                    "Page was withheld: the mode is shadow",
                    extra={
                        "page": page.page_id,
                        "incident": page.incident_id,
                        "status": page.status.value,
                        "why": page.reason.value,
                    },
                )
            return
        for lane in self._lanes:
            lane.all_stored()

    def pages_unstored(self, pages: Sequence[Page]) -> None:
        """Say that the store did not take these pages: they are sent from memory until it does.

        Call it with all of them after every tick that could not be stored, so that delivery by another
        configuration hears of them, too.
        """
        if not self._shadow:
            for lane in self._lanes:
                lane.hold(pages)

    async def _take_over(self) -> None:
        """Take over what waits for destinations that are not configured any more."""
        oldest_ns = self._surroundings.clock.now_ns() - _NEWS_NS
        try:
            ended = await self._run_blocking(lambda: self._outbox.hand_over(oldest_ns=oldest_ns))
        except StoreError as error:
            self._surroundings.logger.warning(
                "Pages for destinations of before are left until the next start",
                extra={"reason": str(error)},
            )
            return
        for name, what in ended.items():
            if what.moved_count or what.dropped_count:
                self._surroundings.logger.warning(
                    "Destination is not configured any more; what it had not taken goes to the others",
                    extra={
                        "destination": name,
                        "pages_moved": what.moved_count,
                        "pages_dropped": what.dropped_count,
                    },
                )
            if what.dropped_count:
                self._surroundings.metrics.count(
                    "sentinel_outbox_dropped_total",
                    what.dropped_count,
                    destination=name,
                    reason="destination_removed",
                )
                self._flow.dropped(FlowReason.STALE, what.dropped_count)


def _rules_of(config: DeliverConfig, sender: Destination) -> DeliveryRules:
    retry_max_s = config.retry_max
    if sender.wants_resend:
        # An Alertmanager is ours and near; a page should be there within half a minute of its return.
        retry_max_s = Duration(min(retry_max_s, _FORGETTING_RETRY_MAX_S))
    return DeliveryRules(
        forgets=sender.wants_resend,
        resend_ns=round(sender.resend_s * _SECOND_NS),
        settle_ns=round(config.settle * _SECOND_NS),
        resolved_for_ns=round(config.resolved_for * _SECOND_NS),
        parked_for_ns=round(config.parked_for * _SECOND_NS),
        backoff=Backoff(first_s=min(config.retry_first, retry_max_s), limit_s=retry_max_s),
    )
