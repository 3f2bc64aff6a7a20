"""The web component: one listener for people and tools, and one that probes may reach from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import hdrs

from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow
from sentinel.runtime.http.server import (
    ConnectionLimitsConfig,
    Handler,
    HttpServer,
    Route,
    loopback_hosts,
)
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.settings import setting
from sentinel.web.api import ApiPages
from sentinel.web.health import HealthPages
from sentinel.web.index_page import IndexPage
from sentinel.web.metrics import MetricsPages
from sentinel.web.replies import render_error
from sentinel.web.scope import PATTERN_LENGTH_MAX, SeriesScope
from sentinel.web.sources import (
    AcceptSource,
    IncidentSource,
    StatusSource,
    ToldSource,
    VerdictSource,
)
from sentinel.web.words import WordPages

_PATTERN_COUNT_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WebListenConfig(ListenConfig):
    """Where the pages for people and tools are served."""

    port: int = setting(9640, help="TCP port; 0 takes a free one.", restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Pages for people, tools and probes."""

    listen: WebListenConfig = setting(
        WebListenConfig(), help="Where all pages are served.", restart=True
    )
    probes: ListenConfig | None = setting(
        None,
        help="A second listener with health and self-metrics only; it may be reachable by others without a token, because these pages carry no telemetry text.",
        restart=True,
    )
    external_url: str = setting(
        "", help="Base of links on pages; unset, links become commands.", restart=True
    )
    hosts: tuple[str, ...] = setting(
        (), help="Names besides localhost that a Host header may have.", restart=True
    )
    series_routes: tuple[str, ...] = setting(
        (),
        help="Series always on /metrics/series, as `service stage route` with `*` for any text.",
        restart=True,
    )
    series_strangest_count: int = setting(
        200,
        help="How many of the other series are on /metrics/series, strangest first.",
        restart=True,
    )
    connections: ConnectionLimitsConfig = setting(
        ConnectionLimitsConfig(), help="Bounds of connections.", restart=True
    )

    def __post_init__(self) -> None:
        refuse_exposed(self.listen, scopes=[AccessScope.READ])
        if self.external_url and not self.external_url.startswith(("http://", "https://")):
            msg = "external_url must begin with http:// or https://"
            raise ValueError(msg)
        if not 0 <= self.series_strangest_count <= 100_000:
            msg = "series_strangest_count must be between 0 and 100000"
            raise ValueError(msg)
        if len(self.series_routes) > _PATTERN_COUNT_MAX:
            msg = f"series_routes may hold at most {_PATTERN_COUNT_MAX} patterns"
            raise ValueError(msg)
        if any(len(pattern) > PATTERN_LENGTH_MAX for pattern in self.series_routes):
            msg = f"a pattern of series_routes may have at most {PATTERN_LENGTH_MAX} characters"
            raise ValueError(msg)


class WebServer:
    """Serves the pages; started first, so that probes see what start-up waits for."""

    def __init__(
        self,
        config: WebConfig,
        surroundings: Surroundings,
        *,
        verdicts: VerdictSource,
        told: ToldSource,
        incidents: IncidentSource,
        status: StatusSource,
        words: AcceptSource,
    ) -> None:
        self._health = HealthRecord(surroundings.clock)
        flow = Flow(self.name, surroundings.metrics)
        metrics = MetricsPages(
            surroundings.metrics,
            verdicts,
            told,
            status,
            SeriesScope(config.series_routes, strangest_count=config.series_strangest_count),
        )
        api = ApiPages(
            verdicts=verdicts, incidents=incidents, status=status, clock=surroundings.clock
        )
        index = IndexPage(
            verdicts=verdicts,
            incidents=incidents,
            status=status,
            clock=surroundings.clock,
            is_detailed=config.listen.is_loopback
            and not config.listen.tokens.opens(AccessScope.READ),
        )
        routes = [
            *_probe_routes(HealthPages(status, detailed=config.listen.is_loopback), metrics),
            # Open, as the probes are: where a token is asked for, it shows names and states only.
            _page("/", index.show, AccessScope.OPEN),
            _page("/metrics/series", metrics.series, AccessScope.READ),
            *(_page(path, handler, AccessScope.READ) for path, handler in api.handlers.items()),
        ]
        if _may_change(config.listen):
            routes += [
                Route(path=path, methods={hdrs.METH_POST: handler}, scope=AccessScope.ADMIN)
                for path, handler in WordPages(words).handlers.items()
            ]
        allowed = loopback_hosts(config.listen)
        self._main = HttpServer(
            self.name,
            config.listen,
            config.connections,
            routes,
            surroundings,
            render_error=render_error,
            hosts=allowed | frozenset(config.hosts) if allowed else allowed,
            flow=flow,
        )
        self._probes: HttpServer | None = None
        if config.probes is not None:
            pages = HealthPages(status, detailed=config.probes.is_loopback)
            self._probes = HttpServer(
                f"{self.name}.probes",
                config.probes,
                config.connections,
                _probe_routes(pages, metrics),
                surroundings,
                render_error=render_error,
                listen_setting=f"{self.name}.probes",
                flow=flow,
            )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "web"

    @property
    def port(self) -> int:
        """The port of the pages; 0 while they are not served."""
        return self._main.port

    @property
    def probes_port(self) -> int:
        """The port of the listener for probes; 0 when there is none."""
        return self._probes.port if self._probes else 0

    @property
    def url(self) -> str:
        """Where the pages are, from this machine."""
        return self._main.url

    async def start(self) -> None:
        """Listen; OSError when an address cannot be bound."""
        await self._main.start()
        if self._probes is not None:
            try:
                await self._probes.start()
            except BaseException:
                await self._main.stop()
                raise
        self._health.ok(f"Serving on {self.url}")

    async def stop(self) -> None:
        """Answer what was begun, and close."""
        if self._probes is not None:
            await self._probes.stop()
        await self._main.stop()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current


def _may_change(listen: ListenConfig) -> bool:
    """Whether the pages that change anything are served: where no token is asked at all, or one is for this."""
    return listen.tokens.opens(AccessScope.ADMIN) or (
        listen.is_loopback and not listen.tokens.pairs()
    )


def _probe_routes(health: HealthPages, metrics: MetricsPages) -> list[Route]:
    return [
        _page("/-/healthy", health.healthy, AccessScope.OPEN),
        _page("/-/ready", health.ready, AccessScope.OPEN),
        _page("/metrics", metrics.own, AccessScope.OPEN),
    ]


def _page(path: str, handler: Handler, scope: AccessScope) -> Route:
    # HEAD runs the same handler; the server leaves the body out.
    return Route(path=path, methods={hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}, scope=scope)
