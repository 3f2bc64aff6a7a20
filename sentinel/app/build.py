"""Wires the program, top to bottom: one straight function, and the handful of things only wiring knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sentinel import __version__
from sentinel.app.config import Mode, SentinelConfig
from sentinel.app.deciding import asked_by, decision_settings
from sentinel.app.lifecycle import Lifecycle
from sentinel.app.owed import owed_of
from sentinel.app.query_windows import may_be_measured
from sentinel.app.registry import (
    Receiver,
    addresses_of,
    make_destinations,
    make_receivers,
    make_scrapers,
    make_sources,
)
from sentinel.app.registry.windows import make_windows_receivers, windows_addresses_of
from sentinel.app.role import Role
from sentinel.core.decide import DecisionSettings
from sentinel.core.evidence import ServiceVersions
from sentinel.core.model import Incident, Page, Rung
from sentinel.core.normalise import require_fast_protobuf
from sentinel.core.redact import put_in_force
from sentinel.core.series import Aggregator, ClosedWindow
from sentinel.core.series.collected import CollectedWindow, Collecting, Merging
from sentinel.pipeline.deliver import Deliver
from sentinel.pipeline.evaluate import Evaluate
from sentinel.pipeline.fit import Fitter
from sentinel.pipeline.ingest import Ingest
from sentinel.pipeline.log_templates import LogTemplates
from sentinel.pipeline.merge.merge import LOCAL, Merge
from sentinel.pipeline.overload import Overload
from sentinel.pipeline.past_windows import PastWindows
from sentinel.ports import Clock
from sentinel.runtime.catalogue import SIDECAR
from sentinel.runtime.component import Component, Health, HealthStatus, Surroundings
from sentinel.runtime.intake.downstream import NO_TAP, Downstream
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.metrics import Metrics
from sentinel.senders.otlp_forward import make_forwarding
from sentinel.senders.self_telemetry import SelfTelemetry
from sentinel.storage.parts import PartFiles
from sentinel.storage.sqlite import Store
from sentinel.web.server import WebServer
from sentinel.web.sources import LatestVerdicts, Status
from sentinel.web.told import Told

_STOP_MARGIN_S = 10.0
_DELIVERY_SECTIONS = ("senders", "deliver", "mode")
_FIT_SECTIONS = ("calendar", "zone")
"""What these say is only felt after a fit, which would else come within the hour."""


class Application:
    """The wired program: its components in the order of the flow, and what pages ask of all of them."""

    def __init__(
        self, config: SentinelConfig, surroundings: Surroundings, *, config_path: str = ""
    ) -> None:
        """Wire everything; nothing runs yet.

        Args:
            config: what is in effect.
            surroundings: for every component.
            config_path: where it was read, for what pages tell to type.
        """
        require_fast_protobuf()
        # Before anything is logged or taken in.
        put_in_force(config.redact.policy())
        self.config = config
        self.self_telemetry: SelfTelemetry | None = None
        if config.self_telemetry.is_asked_for:
            self.self_telemetry = SelfTelemetry(config.self_telemetry, surroundings)
            surroundings = replace(surroundings, tracer=self.self_telemetry)
        self.surroundings = surroundings
        self._config_path = config_path
        self._started_ns = surroundings.clock.now_ns()
        self._ready = False
        self.store = Store(config.store, surroundings)
        self.inflight = Inflight(int(config.overload.inflight_max))
        windows = config.series.series_settings()
        self.owed = owed_of(config, surroundings)
        # Asked by what is made before it can ask anything itself, so its pressures are looked up at each look.
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
        self.fitter = Fitter(
            config.fit,
            self.store,
            surroundings,
            step_ns=config.series.series_settings().window_ns,
            store_directory=config.store.directory,
            scoring=lambda: self.config.scoring.settings(self.config.sensitivity),
            models=lambda: self.config.baseline.settings(fit_timeout_s=self.config.fit.timeout),
            calendar=lambda: self.config.calendar.to_plain(self.config.zone),
            drift_ratio=lambda: self.config.baseline.drift_ratio,
            shedding=self.overload,
        )
        measured = may_be_measured(config.scrapers.prometheus_queries)
        self.merging = (
            Merging(windows, may_be_measured=measured) if config.role is Role.SCORE else None
        )
        self.aggregator: Aggregator | Collecting = (
            Aggregator(windows, may_be_measured=measured)
            if self.merging is None
            else Collecting(windows, collector=LOCAL, incarnation=self._started_ns, qualify=False)
        )
        scoring = self.merging or self.aggregator
        self.evaluate = Evaluate(
            config.evaluate,
            self.decision_settings(config),
            self.store,
            self.fitter,
            surroundings,
            step_ns=config.series.series_settings().window_ns,
            live=scoring,
            pages_stored=self._pages_stored,
            pages_unstored=self._pages_unstored,
            page_note=self.overload.note,
            amended=self._amended,
        )
        self.log_templates = LogTemplates(scoring.templates, config.store.directory, surroundings)
        self.versions = ServiceVersions()
        self.ingest: Ingest[ClosedWindow] | Ingest[CollectedWindow]
        self.merge: Merge | None = None
        if isinstance(self.aggregator, Collecting) and self.merging is not None:
            self.merge = Merge(
                config.merge,
                windows,
                self.merging,
                PartFiles(
                    Path(config.store.directory) / "windows", bytes_max=int(config.merge.parts_max)
                ),
                self.evaluate.on_closed,
                surroundings,
                own=self.aggregator,
                stage_timeout_s=config.series.stage_timeout,
                versions=self.versions,
                report=lambda counts: self.ingest.report(counts),
            )
            self.ingest = Ingest(
                config.series,
                self.aggregator,
                self.merge.take_own,
                surroundings,
                finish=self.aggregator.finish,
                inflight=self.inflight,
                missing=self.owed.missing,
            )
        elif isinstance(self.aggregator, Aggregator):
            self.ingest = Ingest(
                config.series,
                self.aggregator,
                self.evaluate.on_closed,
                surroundings,
                inflight=self.inflight,
                missing=self.owed.missing,
                versions=self.versions,
            )
        self.deliver = self._make_deliver(config)
        self.forwarding = make_forwarding(config.forward, config.store.directory, surroundings)
        downstream = Downstream(
            sink=self.ingest,
            tap=self.forwarding or NO_TAP,
            shedding=self.overload,
            inflight=self.inflight,
            owed=self.owed,
            past=PastWindows(self.store, surroundings.clock, keep_ns=config.store.keep_ns),
        )
        self.receivers: dict[str, Receiver] = make_receivers(
            config.receivers, downstream, surroundings
        )
        self.sources = make_sources(config, downstream, surroundings)
        self.scrapers = make_scrapers(config.scrapers, downstream, surroundings, windows=windows)
        self.windows_in = (
            make_windows_receivers(config.receivers, self.merge.take, surroundings)
            if self.merge is not None
            else {}
        )
        self.web = WebServer(
            config.web,
            surroundings,
            verdicts=self,
            told=self,
            incidents=self,
            status=self,
            words=self,
        )
        # Downstream first; the web stands before all, so that probes see what start-up waits for.
        self.lifecycle = Lifecycle(
            [
                # First up and last down: what the others have to say while stopping is sent as well.
                *([self.self_telemetry] if self.self_telemetry else []),
                self.web,
                self.store,
                _Current(self),
                self.fitter,
                self.evaluate,
                self.log_templates,
                *([self.merge] if self.merge else []),
                self.ingest,
                self.overload,
                *([self.forwarding] if self.forwarding else []),
                *self.windows_in.values(),
                *self.receivers.values(),
                *self.sources.values(),
                *self.scrapers.values(),
            ],
            metrics=surroundings.metrics,
            logger=surroundings.logger,
            # Longer than any component's own limit, so that each may end its way.
            stop_timeout_s=max(config.series.drain_timeout, config.forward.drain_timeout)
            + _STOP_MARGIN_S,
        )

    async def start(self) -> None:
        """Start all components; raises what stopped the start, after stopping what had started."""
        metrics = self.surroundings.metrics
        metrics.set("sentinel_build_info", 1, version=__version__)
        metrics.set("sentinel_start_time_seconds", self._started_ns / 1e9)
        await self.lifecycle.start()
        self._ready = True

    async def stop(self) -> None:
        """Stop all components: receivers first, then what is behind them; never raises."""
        self._ready = False
        await self.lifecycle.stop()

    def addresses(self) -> dict[str, str]:
        """Where the running program answers, by name."""
        receivers = addresses_of(self.config.receivers, self.receivers)
        windows = windows_addresses_of(self.config.receivers, self.windows_in)
        return {"web_url": self.web.url, **receivers, **windows}

    def decision_settings(self, config: SentinelConfig) -> DecisionSettings:
        """What decides, as the core takes it."""
        return decision_settings(
            config,
            now_ns=self.surroundings.clock.now_ns(),
            asked_by=asked_by(config.web, config_path=self._config_path),
        )

    async def adopt(self, config: SentinelConfig, *, paths: Sequence[str], digest: str) -> None:
        """Go on by a changed configuration, of which `paths` take effect without a restart.

        Raises:
            OSError, ValueError: a destination cannot be made; nothing of the rest is taken.
            StoreError: the store does not take it now; call again.
        """
        if paths:
            self.evaluate.use(self.decision_settings(config), digest=digest)
        if any(path.split(".")[0].split("[")[0] in _DELIVERY_SECTIONS for path in paths):
            await self.change_delivery(config)
        self.config = config
        if any(path.split(".")[0] in _FIT_SECTIONS for path in paths):
            self.fitter.request()

    def report(self) -> None:
        """Show what nobody would show who is stuck."""
        self.evaluate.report_lag()

    async def change_delivery(self, config: SentinelConfig) -> None:
        """Deliver by another configuration; what is under way is in the outbox and goes on from there.

        Raises:
            OSError, ValueError: a destination cannot be made; the ones in place go on.
            StoreError: the store does not take it now; call again.
        """
        another = self._make_deliver(config)
        await self.deliver.stop()
        self.deliver = another
        await self.deliver.start()

    # What the pages ask.

    def latest_verdicts(self) -> LatestVerdicts | None:
        """The last evaluated window, or None before the first."""
        latest = self.evaluate.latest
        if latest is None:
            return None
        return LatestVerdicts(
            block=latest.block,
            verdicts=latest.verdicts,
            keys=latest.keys,
            horizons=latest.horizons,
        )

    def told(self) -> Told:
        """Open incidents, calls that windows named, and versions that services came to run."""
        return Told(
            incidents=self.evaluate.open_incidents,
            calls=self.evaluate.named_calls(),
            versions=self.versions.since(),
        )

    async def incidents(self, *, limit: int, open_only: bool) -> list[Incident]:
        """Newest first."""
        return await self.store.run(self.store.sync.incidents, limit=limit, open_only=open_only)

    async def accept(self, incident_id: str, *, by: str, accepted: bool) -> Incident | None:
        """Take a person's word on an incident; see `Evaluate.accept`."""
        return await self.evaluate.accept(incident_id, by=by, accepted=accepted)

    def status(self) -> Status:
        """The present state of the process."""
        components = self.lifecycle.health()
        waiting = () if self._ready else ("start-up has not ended",)
        failing = tuple(
            f"{name}: {health.sentence}"
            for name, health in components.items()
            if health.status is HealthStatus.FAILING and name.startswith(("receivers", "storage"))
        )
        return Status(
            version=__version__,
            mode=self.config.mode,
            role=self.config.role.value,
            started_ns=self._started_ns,
            ready=self._ready and not failing,
            waiting_for=waiting or failing,
            components=components,
            watermark_ns=(self.merge or self.ingest).watermark_ns or None,
            fit_version=self.evaluate.fit_version,
            shed=tuple(rung.value for rung in self.overload.shed.rungs),
            shed_since_ns=self.overload.shed.since_ns or None,
            pressure=self.overload.shed.pressure,
            pages_left_to_rules=self.deliver.is_left_to_rules,
            first_decided_ns=None
            if self.merge
            else first_decided_ns(self.config, self._started_ns),
        )

    def _shed(self, rungs: tuple[Rung, ...], unsettled: tuple[Rung, ...], now_ns: int) -> None:
        """Tell the reduction what is turned away, and what was a moment ago."""
        self.aggregator.hold_names(held=Rung.LABELS in rungs)
        if self.merging is not None:
            self.merging.hold_names(held=Rung.LABELS in rungs)
        signals = {rung.value for rung in unsettled if rung in {Rung.TRACES, Rung.LOGS}}
        self.aggregator.shed(signals, now_ns)

    def _amended(self, page: Page) -> Page:
        return page if self.merge is None else self.merge.amended(page)

    def _inflight_pressure(self) -> float:
        self.surroundings.metrics.set("sentinel_inflight_bytes", self.inflight.held_bytes)
        return self.inflight.pressure()

    def _make_deliver(self, config: SentinelConfig) -> Deliver:
        return Deliver(
            config.deliver,
            self.store.sync,
            make_destinations(config.senders),
            surroundings=self.surroundings,
            shadow=config.mode is Mode.SHADOW,
            run_blocking=self.store.run,
        )

    def _pages_stored(self, pages: Sequence[Page]) -> None:
        self.deliver.pages_stored(pages)

    def _pages_unstored(self, pages: Sequence[Page]) -> None:
        self.deliver.pages_unstored(pages)


class _Current:
    """Delivery as the lifecycle sees it: whichever is in place, because a reload may change it."""

    def __init__(self, application: Application) -> None:
        self._application = application

    @property
    def name(self) -> str:
        return "pipeline.deliver"

    async def start(self) -> None:
        await self._application.deliver.start()

    async def stop(self) -> None:
        await self._application.deliver.stop()

    def health(self) -> Health:
        return self._application.deliver.health()


def first_decided_ns(config: SentinelConfig, started_ns: int) -> int:
    """When the first window is decided that is seen whole: the one that runs at the start is not."""
    windows = config.series.series_settings()
    return (started_ns // windows.window_ns + 2) * windows.window_ns + windows.lateness_ns


def build(
    config: SentinelConfig,
    *,
    clock: Clock,
    logger: logging.Logger,
    metrics: Metrics | None = None,
    config_path: str = "",
) -> Application:
    """The program for a configuration."""
    surroundings = Surroundings(clock=clock, metrics=metrics or Metrics(SIDECAR), logger=logger)
    return Application(config, surroundings, config_path=config_path)


def components_of(application: Application) -> dict[str, Component]:
    """Every component by name, for contract tests."""
    parts: list[Component] = [
        application.store,
        application.deliver,
        application.fitter,
        application.evaluate,
        application.ingest,
        application.log_templates,
        application.overload,
        application.web,
        *([application.self_telemetry] if application.self_telemetry else []),
        *([application.forwarding] if application.forwarding else []),
        *([application.merge] if application.merge else []),
        *application.windows_in.values(),
        *application.receivers.values(),
        *application.sources.values(),
        *application.scrapers.values(),
    ]
    return {part.name: part for part in parts}
