"""The scraper of NATS: its targets and what they share."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.core.normalise.nats import AdvisoryLog, NatsLimits, NatsSamples
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.component import Scraping, Target
from sentinel.scrapers.nats.advisories import NatsAdvisories
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.nats.monitor import NatsMonitor

NAME = "scrapers.nats"


def make_nats(
    configs: Sequence[NatsConfig], downstream: Downstream, surroundings: Surroundings
) -> Scraping:
    """The component with its targets; ConfigError when a file of TLS cannot be used.

    Targets of one service share its memory: named apart or together, the servers of a cluster count once.
    """
    now_ns = surroundings.clock.now_ns()
    samples: dict[str, NatsSamples] = {}
    logs: dict[str, AdvisoryLog] = {}
    targets: list[Target] = []
    for config in configs:
        limits = NatsLimits(
            stream_count_max=config.streams_max,
            consumer_count_max=config.consumers_max,
        )
        own = samples.setdefault(config.service, NatsSamples(config.service, limits=limits))
        targets.append(NatsMonitor(NAME, config, own, surroundings))
        if config.advisories.urls:
            log = logs.setdefault(config.service, AdvisoryLog(config.service, now_ns=now_ns))
            targets.append(NatsAdvisories(NAME, config, log, surroundings))
    return Scraping(NAME, targets, downstream, surroundings)
