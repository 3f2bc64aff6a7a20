"""Metrics pages, as Prometheus scrapes them: targets at known addresses, and targets that files name.

A series that vanished from a page that was read, or all of a target whose page was not, has no value from that moment: nothing is
repeated, and nothing is made 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from sentinel.core.normalise.labels import label_of
from sentinel.core.normalise.prometheus import DefaultPlacing, MetricsParser
from sentinel.runtime.component import Health, HealthRecord, HealthStatus, Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.component import Scraping
from sentinel.runtime.polling.metrics_target import MetricsTarget, MetricsTargetSettings
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.tasks import TaskGroup
from sentinel.scrapers.prometheus.config import (
    FileDiscoveryConfig,
    PageConfig,
    PrometheusTargetConfig,
)
from sentinel.scrapers.prometheus.discovery import Discovered, FileDiscovery
from sentinel.scrapers.prometheus.file_targets import FileTarget

NAME = "scrapers.prometheus"
_PROBLEMS_SHOWN = 2


class PrometheusScraper:
    """All pages that are configured, and all that files name."""

    def __init__(
        self,
        targets: Sequence[PrometheusTargetConfig],
        files: Sequence[FileDiscoveryConfig],
        downstream: Downstream,
        surroundings: Surroundings,
    ) -> None:
        self._downstream = downstream
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(NAME, metrics=surroundings.metrics, logger=surroundings.logger)
        self._fixed = Scraping(
            NAME, [_fixed_target(one) for one in targets], downstream, surroundings
        )
        self._has_fixed = bool(targets)
        self._discoveries = [_Discovery(one) for one in files]
        self._running = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return NAME

    async def start(self) -> None:
        """Ask from now on, also those that files name already."""
        self._running = True
        await self._fixed.start()
        for discovery in self._discoveries:
            await self._look(discovery)
            self._tasks.spawn(f"files {discovery.config.name}", partial(self._watch, discovery))

    async def stop(self) -> None:
        """Ask no more, and let go of the connections."""
        self._running = False
        await self._tasks.close()
        await self._fixed.stop()
        for discovery in self._discoveries:
            for name in list(discovery.scrapings):
                await self._let_go(discovery, name)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Failing when no target answers, degraded when one does not, or a file makes no sense."""
        if self._running:
            self._judge()
        return self._health.current

    async def reach(self) -> tuple[Reach, ...]:
        """What is reachable of all targets, and what is wrong with the files that name them."""
        found: list[Reach] = list(await self._fixed.reach())
        for discovery in self._discoveries:
            what = f"{NAME} {discovery.config.name}"
            discovered = await asyncio.to_thread(discovery.files.look)
            for path, problem in discovered.problems.items():
                sentence = f"{path}: {problem}"
                remedy = "write it as a list of groups with targets and labels"
                found.append(
                    Reach(what=what, status=ReachStatus.FAILING, sentence=sentence, remedy=remedy)
                )
            made = [
                Scraping(
                    NAME,
                    [_discovered_target(discovery.config, target)],
                    self._downstream,
                    self._surroundings,
                )
                for target in discovered.targets
            ]
            for answers in await asyncio.gather(*(one.reach() for one in made)):
                found += answers
            for one in made:
                await one.stop()
        return tuple(found)

    async def _watch(self, discovery: _Discovery) -> None:
        while self._running:
            await self._surroundings.clock.sleep(discovery.config.refresh)
            await self._look(discovery)

    async def _look(self, discovery: _Discovery) -> None:
        """Begin to ask what files name now, and no more what they do not."""
        discovered = await asyncio.to_thread(discovery.files.look)
        self._tell(discovery, discovered)
        discovery.discovered = discovered
        wanted = {_name_of(discovery.config, target): target for target in discovered.targets}
        for name in [one for one in discovery.scrapings if one not in wanted]:
            await self._let_go(discovery, name)
        for name, target in wanted.items():
            known = discovery.scrapings.get(name)
            if known is not None and known[0] == target:
                continue
            if known is not None:
                await self._let_go(discovery, name)
            made = Scraping(
                NAME,
                [_discovered_target(discovery.config, target)],
                self._downstream,
                self._surroundings,
            )
            discovery.scrapings[name] = (target, made)
            await made.start()

    def _tell(self, discovery: _Discovery, discovered: Discovered) -> None:
        metrics, name = self._surroundings.metrics, discovery.config.name
        metrics.set("sentinel_discovered_targets", len(discovered.targets), discovery=name)
        metrics.set("sentinel_discovery_left_out", discovered.left_out_count, discovery=name)
        metrics.set("sentinel_discovery_bad_files", len(discovered.problems), discovery=name)
        for path, problem in discovered.problems.items():
            if discovery.discovered.problems.get(path) != problem:
                self._surroundings.logger.warning(
                    "A file of targets cannot be used; those it named last are kept",
                    extra={"discovery": name, "file": path, "reason": problem},
                )

    async def _let_go(self, discovery: _Discovery, name: str) -> None:
        _, scraping = discovery.scrapings.pop(name)
        await scraping.stop()
        # Targets come and go; what was counted of one that is gone must not stay on the page for ever.
        self._surroundings.metrics.forget(scraper=NAME, target=name)

    def _judge(self) -> None:
        parts = [scraping for each in self._discoveries for _, scraping in each.scrapings.values()]
        healths = [part.health() for part in parts]
        if self._has_fixed:
            healths.append(self._fixed.health())
        problems = [
            f"{path}: {problem}"
            for each in self._discoveries
            for path, problem in each.discovered.problems.items()
        ]
        problems += [
            f"{each.config.name}: {each.discovered.left_out_count} targets over target_count_max"
            for each in self._discoveries
            if each.discovered.left_out_count
        ]
        bad = [health for health in healths if health.status is not HealthStatus.OK]
        said = "; ".join([*problems, *(health.sentence for health in bad)][:_PROBLEMS_SHOWN])
        crashed = self._tasks.failing
        if crashed:
            self._health.failing(f"Crashed and restarting: {', '.join(sorted(crashed))}")
        elif healths and all(health.status is HealthStatus.FAILING for health in healths):
            self._health.failing(said)
        elif said:
            self._health.degraded(said)
        elif len(healths) == 1:
            self._health.ok(healths[0].sentence)
        else:
            self._health.ok("Every target is read" if healths else "Files name no target yet")


class _Discovery:
    """Files and the targets they name, each with what asks for it, by its name."""

    def __init__(self, config: FileDiscoveryConfig) -> None:
        self.config = config
        self.files = FileDiscovery(config.files, target_count_max=config.target_count_max)
        self.discovered = Discovered()
        self.scrapings: dict[str, tuple[FileTarget, Scraping]] = {}


def _name_of(config: FileDiscoveryConfig, target: FileTarget) -> str:
    return f"{config.name} {label_of(target.address)}"


def _fixed_target(config: PrometheusTargetConfig) -> MetricsTarget:
    return _target(
        name=config.name,
        url=config.url,
        service=config.service or config.name,
        interval_s=config.interval,
        page=config.page,
        client=config.client,
        labels={},
    )


def _discovered_target(config: FileDiscoveryConfig, target: FileTarget) -> MetricsTarget:
    labels = dict(target.labels)
    named = next((labels[one] for one in config.page.service_labels if labels.get(one)), "")
    return _target(
        name=_name_of(config, target),
        url=target.url,
        service=label_of(named) or config.service or config.name,
        interval_s=config.interval,
        page=config.page,
        client=config.client,
        labels=labels,
    )


def _target(
    *,
    name: str,
    url: str,
    service: str,
    interval_s: float,
    page: PageConfig,
    client: ClientConfig,
    labels: dict[str, str],
) -> MetricsTarget:
    settings = MetricsTargetSettings(
        component=NAME,
        name=name,
        url=url,
        interval_s=interval_s,
        timeout_s=min(client.timeout, interval_s),
        formats=page.formats,
        sample_count_max=page.sample_count_max,
    )
    parser = MetricsParser(
        f"{NAME} {name}",
        DefaultPlacing(page.rules(service), labels=labels),
        service=service,
        limits=page.limits(),
        strict=page.strict,
        honour_timestamps=page.honour_timestamps,
    )
    return MetricsTarget(settings, Fetcher(client, url, body_bytes_max=page.body_max), parser)
