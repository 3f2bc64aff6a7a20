"""Delivery to real Alertmanagers, with real but short times and an outbox in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from sentinel.core.model import Page, PageStatus
from sentinel.pipeline.deliver import Deliver, DeliverConfig
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.settings import Duration
from sentinel.senders.alertmanager import AlertmanagerConfig, alertmanager_senders
from tests.support.outbox import MemoryOutbox
from tests.support.surroundings import make_surroundings

CONFIG = DeliverConfig(retry_first=Duration(0.2), retry_max=Duration(0.5), settle=Duration(3.0))


class Sidecar:
    """Delivery as the program runs it, with a clock of its own hours."""

    def __init__(self, urls: list[str], *, resend_s: float, config: DeliverConfig) -> None:
        made = make_surroundings()
        self.clock = SystemClock()
        self.surroundings = Surroundings(
            clock=self.clock, metrics=made.metrics, logger=made.logger
        )
        self.outbox = MemoryOutbox()
        self.deliver = Deliver(
            config,
            self.outbox,
            alertmanager_senders(
                AlertmanagerConfig(
                    urls=tuple(urls),
                    resend=Duration(resend_s),
                    firing_lifetime=Duration(max(30.0, 4 * resend_s)),
                )
            ),
            surroundings=self.surroundings,
        )

    def page(self, page: Page, *, began_s_ago: float = 60.0) -> Page:
        """Store a page whose times are near now, and say so."""
        now_ns = self.clock.now_ns()
        ends_ns = None if page.ends_ns is None else now_ns
        starts_ns = now_ns - round(began_s_ago * 1e9)
        timely = replace(page, starts_ns=starts_ns, ends_ns=ends_ns)
        self.outbox.store(timely)
        self.deliver.pages_stored([timely])
        return timely

    def told_to_the_end(self) -> set[str]:
        """The resolved pages that every destination has taken."""
        return {
            entry.page.page_id
            for entry in self.outbox.all.values()
            if entry.page.status is PageStatus.RESOLVED and entry.delivered_ns is not None
        }


@asynccontextmanager
async def sidecar(
    *urls: str, resend_s: float = 1.0, config: DeliverConfig = CONFIG
) -> AsyncIterator[Sidecar]:
    """One that delivers to these Alertmanagers."""
    running = Sidecar(list(urls), resend_s=resend_s, config=config)
    await running.deliver.start()
    try:
        yield running
    finally:
        await running.deliver.stop()


async def until(true: Callable[[], bool], *, what: str, timeout_s: float = 45.0) -> None:
    """Wait until it is true; AssertionError naming `what` when the time is up."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not true():
        assert loop.time() < deadline_s, f"waited in vain for {what}"
        await asyncio.sleep(0.05)
