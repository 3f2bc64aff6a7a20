"""The scrapers that can be configured: what they are called, and how each is made.

An entry imports its scraper only when a target of it is configured, for that is when it and its library are needed: at the
start, never later, so that a full disk or a deleted file keeps nothing from running.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sentinel.app.config import ScrapersConfig
from sentinel.core.series import SeriesSettings
from sentinel.runtime.component import Component, Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.reach import Reach


class Scraper(Component, Protocol):
    """A component that asks targets."""

    async def reach(self) -> tuple[Reach, ...]:
        """What is reachable of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScraperEntry:
    """One kind of scraper.

    Attributes:
        name: as in `scrapers.<name>` of the configuration.
        make: the component with its targets, or None where none is configured; it is handed the widths of windows besides.
    """

    name: str
    make: Callable[[ScrapersConfig, Downstream, Surroundings, SeriesSettings], Scraper | None]


def _prometheus(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    _windows: SeriesSettings,
) -> Scraper | None:
    if not config.prometheus and not config.prometheus_files:
        return None
    from sentinel.scrapers.prometheus.component import PrometheusScraper

    return PrometheusScraper(config.prometheus, config.prometheus_files, downstream, surroundings)


def _kong(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    _windows: SeriesSettings,
) -> Scraper | None:
    if not config.kong:
        return None
    from sentinel.scrapers.kong.component import kong_scraping

    return kong_scraping(config.kong, downstream, surroundings)


def _postgres(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    _windows: SeriesSettings,
) -> Scraper | None:
    if not config.postgres:
        return None
    from sentinel.runtime.polling.component import Scraping
    from sentinel.scrapers.postgres.target import PostgresTarget

    targets = [PostgresTarget(one, surroundings) for one in config.postgres]
    return Scraping("scrapers.postgres", targets, downstream, surroundings)


def _nats(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    _windows: SeriesSettings,
) -> Scraper | None:
    if not config.nats:
        return None
    from sentinel.scrapers.nats.component import make_nats

    return make_nats(config.nats, downstream, surroundings)


def _prometheus_queries(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    windows: SeriesSettings,
) -> Scraper | None:
    if not config.prometheus_queries:
        return None
    from sentinel.scrapers.prometheus_queries.component import QueryScraping

    return QueryScraping(config.prometheus_queries, windows, downstream, surroundings)


SCRAPERS: tuple[ScraperEntry, ...] = (
    ScraperEntry(name="prometheus", make=_prometheus),
    ScraperEntry(name="kong", make=_kong),
    ScraperEntry(name="postgres", make=_postgres),
    ScraperEntry(name="nats", make=_nats),
    ScraperEntry(name="prometheus_queries", make=_prometheus_queries),
)


def make_scrapers(
    config: ScrapersConfig,
    downstream: Downstream,
    surroundings: Surroundings,
    *,
    windows: SeriesSettings | None = None,
) -> dict[str, Scraper]:
    """The scrapers that are configured, by name; what they measure for whole windows is for those of `windows`."""
    settings = windows or SeriesSettings()
    made = {
        entry.name: entry.make(config, downstream, surroundings, settings) for entry in SCRAPERS
    }
    return {name: component for name, component in made.items() if component is not None}
