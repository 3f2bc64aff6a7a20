"""The program of a sidecar that collects: ways in, windows, a queue to the scorer. No store, no fits, no pages."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sentinel import __version__
from sentinel.app.config import SentinelConfig
from sentinel.app.lifecycle import Lifecycle
from sentinel.app.owed import owed_of
from sentinel.app.registry import (
    Receiver,
    addresses_of,
    make_receivers,
    make_scrapers,
    make_sources,
)
from sentinel.app.registry.windows import make_windows_transport
from sentinel.core.model import Incident, Rung
from sentinel.core.normalise import require_fast_protobuf
from sentinel.core.redact import put_in_force
from sentinel.core.series.collected import Collecting
from sentinel.pipeline.ingest import Ingest
from sentinel.pipeline.overload import Overload
from sentinel.runtime.component import Component, HealthStatus, Surroundings
from sentinel.runtime.intake.downstream import NO_TAP, Downstream
from sentinel.runtime.intake.inflight import Inflight
from sentinel.senders.otlp_forward import make_forwarding
from sentinel.senders.self_telemetry import SelfTelemetry
from sentinel.senders.windows.shipping import Shipping
from sentinel.web.server import WebServer
from sentinel.web.sources import LatestVerdicts, Status
from sentinel.web.told import Told

_STOP_MARGIN_S = 10.0


class Collector:
    """The wired program: its components in the order of the flow, and what pages ask of all of them."""

    def __init__(self, config: SentinelConfig, surroundings: Surroundings) -> None:
        """Wire everything; nothing runs yet."""
        require_fast_protobuf()
        # Before anything is logged or taken in.
        put_in_force(config.redact.policy())
        self.config = config
        self.self_telemetry: SelfTelemetry | None = None
        if config.self_telemetry.is_asked_for:
            self.self_telemetry = SelfTelemetry(config.self_telemetry, surroundings)
            surroundings = replace(surroundings, tracer=self.self_telemetry)
        self._surroundings = surroundings
        self._started_ns = surroundings.clock.now_ns()
        self._ready = False
        self.inflight = Inflight(int(config.overload.inflight_max))
        windows = config.series.series_settings()
        self.owed = owed_of(config, surroundings)
        self.overload = Overload(
            config.overload,
            surroundings,
            pressures={
                "queue": lambda: self.ingest.fill_ratio,
                "inflight": self._inflight_pressure,
            },
            changed=self._shed,
            missing=self.owed.missing,
        )
        self.aggregator = Collecting(
            windows, collector=collector_name(config), incarnation=self._started_ns
        )
        directory = Path(config.store.directory)
        self.shipping = Shipping(
            config.collect,
            directory / "collected",
            make_windows_transport(config.collect, collector=collector_name(config)),
            lambda: self.aggregator.hello(surroundings.clock.now_ns()),
            surroundings,
        )
        self.ingest = Ingest(
            config.series,
            self.aggregator,
            self.shipping.ship,
            surroundings,
            finish=self.aggregator.finish,
            inflight=self.inflight,
            missing=self.owed.missing,
        )
        self.forwarding = make_forwarding(config.forward, config.store.directory, surroundings)
        downstream = Downstream(
            sink=self.ingest,
            tap=self.forwarding or NO_TAP,
            shedding=self.overload,
            inflight=self.inflight,
            owed=self.owed,
        )
        self.receivers: dict[str, Receiver] = make_receivers(
            config.receivers, downstream, surroundings
        )
        self.sources = make_sources(config, downstream, surroundings)
        self.scrapers = make_scrapers(config.scrapers, downstream, surroundings, windows=windows)
        self.web = WebServer(
            config.web,
            surroundings,
            verdicts=self,
            told=self,
            incidents=self,
            status=self,
            words=self,
        )
        self._lifecycle = Lifecycle(
            list(self.components()),
            metrics=surroundings.metrics,
            logger=surroundings.logger,
            stop_timeout_s=max(
                config.series.drain_timeout,
                config.forward.drain_timeout,
                config.collect.drain_timeout,
            )
            + _STOP_MARGIN_S,
        )

    def components(self) -> Sequence[Component]:
        """All of it, downstream first."""
        return [
            *([self.self_telemetry] if self.self_telemetry else []),
            self.web,
            self.shipping,
            self.ingest,
            self.overload,
            *([self.forwarding] if self.forwarding else []),
            *self.receivers.values(),
            *self.sources.values(),
            *self.scrapers.values(),
        ]

    @property
    def surroundings(self) -> Surroundings:
        """Clock, metrics, logger."""
        return self._surroundings

    @property
    def lifecycle(self) -> Lifecycle:
        """Its components."""
        return self._lifecycle

    async def start(self) -> None:
        """Start all components; raises what stopped the start, after stopping what had started."""
        metrics = self._surroundings.metrics
        metrics.set("sentinel_build_info", 1, version=__version__)
        metrics.set("sentinel_start_time_seconds", self._started_ns / 1e9)
        await self._lifecycle.start()
        self._ready = True

    async def stop(self) -> None:
        """Stop all components: receivers first, then what is behind them; never raises."""
        self._ready = False
        await self._lifecycle.stop()

    def addresses(self) -> dict[str, str]:
        """Where the running program answers, by name."""
        return {"web_url": self.web.url, **addresses_of(self.config.receivers, self.receivers)}

    async def adopt(self, config: SentinelConfig, *, paths: Sequence[str], digest: str) -> None:
        """Go on by a changed configuration; what decides and delivers is the scorer's."""
        del paths, digest
        self.config = config

    def report(self) -> None:
        """Nothing of a collector is only seen from outside."""

    # What the pages ask.

    def latest_verdicts(self) -> LatestVerdicts | None:
        """A collector decides nothing."""
        return None

    def told(self) -> Told:
        """Incidents, calls and versions are the scorer's to tell of."""
        return Told(calls={})

    async def incidents(self, *, limit: int, open_only: bool) -> list[Incident]:
        """Incidents are the scorer's."""
        del limit, open_only
        return []

    async def accept(self, incident_id: str, *, by: str, accepted: bool) -> Incident | None:
        """Incidents are the scorer's, so there is none."""
        del incident_id, by, accepted
        return None

    def status(self) -> Status:
        """The present state of the process."""
        components = self._lifecycle.health()
        waiting = () if self._ready else ("start-up has not ended",)
        failing = tuple(
            f"{name}: {health.sentence}"
            for name, health in components.items()
            if health.status is HealthStatus.FAILING and name.startswith("receivers")
        )
        shed = self.overload.shed
        return Status(
            version=__version__,
            mode=self.config.mode,
            role=self.config.role.value,
            started_ns=self._started_ns,
            ready=self._ready and not failing,
            waiting_for=waiting or failing,
            components=components,
            watermark_ns=self.ingest.watermark_ns or None,
            shed=tuple(rung.value for rung in shed.rungs),
            shed_since_ns=shed.since_ns or None,
            pressure=shed.pressure,
        )

    def _shed(self, rungs: tuple[Rung, ...], unsettled: tuple[Rung, ...], now_ns: int) -> None:
        self.aggregator.hold_names(held=Rung.LABELS in rungs)
        signals = {rung.value for rung in unsettled if rung in {Rung.TRACES, Rung.LOGS}}
        self.aggregator.shed(signals, now_ns)

    def _inflight_pressure(self) -> float:
        self._surroundings.metrics.set("sentinel_inflight_bytes", self.inflight.held_bytes)
        return self.inflight.pressure()


def collector_name(config: SentinelConfig) -> str:
    """What a collector is called: as configured, else as its host, which is its pod."""
    return config.collect.name or socket.gethostname() or "collector"
