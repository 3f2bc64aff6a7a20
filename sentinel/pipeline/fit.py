"""Keeps the baseline fresh: refits in a child process, stores what it found, and says from when it holds.

A fit that fails, hangs or answers with nonsense costs nothing but time: it is counted, tried again after a
back-off, and the old fit stays in effect.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol, TypeVar

from sentinel.core.baseline import Model
from sentinel.core.model import Rung
from sentinel.core.scoring import ScoringSettings
from sentinel.errors import SentinelError, StoreError
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.pipeline.fit_child import FitChild, FitFailedError, FitResult
from sentinel.pipeline.fit_result import Fit, fit_from_snapshot
from sentinel.pipeline.held import in_file
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.plain_settings import settings_to_plain
from sentinel.ports import BaselineStore, SeriesRow, Snapshot
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.intake.downstream import NO_SHEDDING, Shedding
from sentinel.runtime.settings import ByteSize, Duration, setting
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tracing import OwnSpan, SpanNotes

__all__ = ["Fit", "FitConfig", "FitResult", "Fitter"]

_WORKER = ("-I", "-m", "sentinel.app.fit_worker")
_LOOK_S = 1.0
_FLOW_OF = {
    FitResult.TIMEOUT: (FlowStage.READ, FlowReason.TIMEOUT),
    FitResult.GARBAGE: (FlowStage.DECODE, FlowReason.MALFORMED),
    FitResult.TOO_LARGE: (FlowStage.DECODE, FlowReason.TOO_LARGE),
    FitResult.NOT_STORED: (FlowStage.STORE, FlowReason.FAULT),
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class FitStore(BaselineStore, Protocol):
    """What the fitter reads and writes; its child reads history by itself."""

    def series(self) -> list[SeriesRow]:
        """Every registered series, by id."""
        ...


class StoreThread(Protocol):
    """The store, and the thread its calls run in."""

    @property
    def sync(self) -> FitStore:
        """The store's blocking methods."""
        ...

    def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Awaitable[Result]:
        """Call one of them without blocking the event loop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """When the baseline is fitted anew, and what the fitting child may cost."""

    interval: Duration = setting(
        Duration(3600.0), help="How often the baseline is fitted; a fit reaches 26 hours ahead."
    )
    timeout: Duration = setting(
        Duration(600.0), help="A fit that takes longer is ended; the old one stays in effect."
    )
    result_bytes_max: ByteSize = setting(
        ByteSize(512 << 20), help="A fit larger than this is refused."
    )

    def __post_init__(self) -> None:
        if not 1.0 <= self.interval <= 86_400.0:
            msg = (
                "interval must be between 1 second and 1 day, because a fit reaches 26 hours ahead"
            )
            raise ValueError(msg)
        if self.timeout <= 0:
            msg = "timeout must be above 0"
            raise ValueError(msg)
        if self.result_bytes_max < 1 << 20:
            msg = "result_bytes_max must be at least 1MiB"
            raise ValueError(msg)


class Fitter:
    """Fits when the stored fit is as old as the interval, and whenever it is asked."""

    def __init__(
        self,
        config: FitConfig,
        store: StoreThread,
        surroundings: Surroundings,
        *,
        step_ns: int,
        store_directory: str,
        scoring: Callable[[], ScoringSettings],
        models: Callable[[], ModelSettings] = ModelSettings,
        calendar: Callable[[], Mapping[str, Any] | None] = lambda: None,
        drift_ratio: Callable[[], float] = lambda: DRIFT_RATIO,
        shedding: Shedding = NO_SHEDDING,
        command: Sequence[str] = (sys.executable, *_WORKER),
    ) -> None:
        self._config = config
        self._store = store
        self._surroundings = surroundings
        self._step_ns = step_ns
        self._directory = store_directory
        # Asked for at each fit, because a reload may change it.
        self._scoring = scoring
        self._models = models
        self._calendar = calendar
        self._drift_ratio = drift_ratio
        self._shedding = shedding
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._asked = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended_count = 0
        self._working = False
        self._started = False
        self._due_s = math.inf
        self._current: Fit | None = None
        self._last_version = 0
        # A start reads a fit up to three times; it is told once why one is of no use.
        self._unusable: set[tuple[int, int]] = set()
        self._child = FitChild(
            command, timeout_s=config.timeout, bytes_max=config.result_bytes_max
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.fit"

    def current(self) -> Fit | None:
        """The newest fit, which takes effect at its `at_ns`; None before the first."""
        return self._current

    def adopted(self, fit: Fit) -> Fit:
        """Hear that a fit is in effect and what it learned is in the state; the one to keep, so that nothing is kept twice."""
        kept = fit.without_rows()
        if self._current is not None and self._current.version == fit.version:
            # Of the two the one that lies in a file.
            kept = self._current.without_rows() if self._current.in_file else kept
            self._current = kept
        age_s = (self._surroundings.clock.now_ns() - fit.at_ns) / 1e9
        self._surroundings.logger.info(
            "A fit is in effect",
            extra={
                "version": fit.version,
                "series": len(fit.profile.series),
                "age_s": max(0, round(age_s)),
                "calendar": fit.calendar,
            },
        )
        return kept

    def stored(self, snapshot: Snapshot) -> Fit | None:
        """A fit that was stored, or None when its bytes cannot be used."""
        try:
            return self._checked(snapshot)
        except (ValueError, KeyError) as error:
            which = (snapshot.version, snapshot.at_ns)
            if which not in self._unusable:
                self._unusable.add(which)
                self._surroundings.logger.warning(
                    "A stored fit cannot be used",
                    extra={"version": snapshot.version, "reason": str(error)},
                )
            return None

    def request(self) -> None:
        """Fit soon, without waiting for the interval."""
        self._asked.set()

    async def fitted(self) -> None:
        """Ask, and wait until a fit that began after this call has ended, well or not."""
        target = self._ended_count + (2 if self._working else 1)
        while self._ended_count < target and self._started:
            self._ended.clear()
            self.request()
            await self._ended.wait()

    async def start(self) -> None:
        """Load the newest stored fit and begin to fit."""
        # The older one is read only when the newest is of no use.
        for limit in (1, 2):
            for snapshot in await self._store.run(self._store.sync.fits, limit=limit):
                self._last_version = max(self._last_version, snapshot.version)
                if self._current is None and (found := self.stored(snapshot)) is not None:
                    self._current = await self._held(found)
            if self._current is not None:
                break
        self._due_s = self._surroundings.clock.monotonic_s() + await self._fresh_for_s()
        self._health.ok(
            "Waiting for the first fit"
            if self._current is None
            else f"Fit {self._current.version} was loaded"
        )
        self._started = True
        self._tasks.spawn("fit", self._run)
        self._tasks.spawn("clock", self._watch_clock)

    async def stop(self) -> None:
        """End the child, if one runs; idempotent."""
        self._started = False
        await self._tasks.close()
        await self._child.end()
        self._ended.set()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _run(self) -> None:
        backoff = Backoff(first_s=5.0, limit_s=self._config.interval)
        failures = 0
        if self._surroundings.clock.monotonic_s() < self._due_s < math.inf:
            await self._asked.wait()
        while True:
            await self._postpone()
            self._asked.clear()
            self._working, self._due_s = True, math.inf
            try:
                self._flow.received(1, signal="fits")
                with self._surroundings.tracer.span(OwnSpan.FIT) as span:
                    await self._fit_once(span)
                failures = 0
                wait_s = float(self._config.interval)
            except (FitFailedError, StoreError) as error:
                failures += 1
                wait_s = backoff.wait_s(failures)
                self._note_failure(error, wait_s=wait_s)
            self._due_s = self._surroundings.clock.monotonic_s() + wait_s
            self._working = False
            self._ended_count += 1
            self._ended.set()
            await self._asked.wait()

    async def _postpone(self) -> None:
        """Wait while fits are shed; the fit in effect reaches a day ahead, so that waiting costs nothing for long."""
        if not self._shedding.sheds(Rung.FITS):
            return
        before = self._health.current
        self._surroundings.metrics.count("sentinel_fits_postponed_total")
        self._health.degraded("A fit is put off until the overload is over")
        while self._shedding.sheds(Rung.FITS):
            await self._surroundings.clock.sleep(_LOOK_S)
        self._health.set(before.status, before.sentence)

    async def _fresh_for_s(self) -> float:
        """How long the loaded fit may wait for the next; 0 when a fit is due."""
        if self._current is None:
            return 0.0
        at_ns = self._current.at_ns
        age_ns = self._surroundings.clock.now_ns() - at_ns
        # It takes effect at the next boundary of windows, so a younger one is from a clock that ran ahead.
        if age_ns < -self._step_ns:
            return 0.0
        rows = await self._store.run(self._store.sync.series)
        if any(row.first_seen_ns > at_ns for row in rows):
            # History of theirs may have been stored while nothing ran.
            return 0.0
        return max(0.0, float(self._config.interval) - age_ns / 1e9)

    async def _watch_clock(self) -> None:
        """Ask when the next fit is due."""
        clock = self._surroundings.clock
        while True:
            await clock.sleep(_LOOK_S)
            if clock.monotonic_s() >= self._due_s:
                self._asked.set()

    async def _fit_once(self, span: SpanNotes) -> None:
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        started_s = clock.monotonic_s()
        version = self._last_version + 1
        payload = await self._child.run(self._request(now_ns=clock.now_ns(), version=version))
        if payload is None:
            metrics.count("sentinel_fits_total", result=FitResult.NO_HISTORY)
            span.note(result=FitResult.NO_HISTORY.value)
            if self._current is None:
                self._health.ok("Waiting for history; without a backfill it takes about 30 hours")
            return
        now_ns = clock.now_ns()
        # The first boundary that no window has reached: what begins later is judged by the new fit, also when
        # it is decided again after a restart.
        at_ns = (now_ns // self._step_ns + 1) * self._step_ns
        snapshot = Snapshot(at_ns=at_ns, version=version, payload=payload)
        try:
            fit = self._checked(snapshot)
        except (ValueError, KeyError) as error:
            raise FitFailedError(
                FitResult.GARBAGE, f"the child's answer is no fit: {error}"
            ) from error
        await self._store.run(self._store.sync.save_fit, snapshot)
        self._last_version, self._current = version, await self._held(fit)
        metrics.count("sentinel_fits_total", result=FitResult.OK)
        self._flow.sent(1, signal="fits")
        span.note(result=FitResult.OK.value, version=version, series_count=len(fit.profile.series))
        metrics.set("sentinel_fit_duration_seconds", clock.monotonic_s() - started_s)
        for model in Model:
            metrics.set("sentinel_fit_series", fit.used.get(model, 0), model=model)
        metrics.set("sentinel_fit_drifts", len(fit.drifts))
        metrics.count("sentinel_fit_drifts_dropped_total", fit.drifts_dropped)
        for reason, count in fit.fallbacks.items():
            metrics.count("sentinel_fit_fallbacks_total", count, reason=reason)
        self._health.ok(f"Fit {version} knows {len(fit.profile.series)} series{_by_model(fit)}")

    async def _held(self, fit: Fit) -> Fit:
        """The fit with its expectation in a file, where that is worth it and there is room."""
        profile = await self._store.run(in_file, fit.profile, self._directory)
        return fit if profile is None else replace(fit, profile=profile, in_file=True)

    def _checked(self, snapshot: Snapshot) -> Fit:
        """The fit in a snapshot; ValueError or KeyError when it is none for these windows."""
        fit = fit_from_snapshot(snapshot)
        if fit.rows is not None and fit.rows.step_ns != self._step_ns:
            msg = (
                f"it is for windows of {fit.rows.step_ns / 1e9:g} s, not {self._step_ns / 1e9:g} s"
            )
            raise ValueError(msg)
        return fit

    def _request(self, *, now_ns: int, version: int) -> dict[str, Any]:
        """What the child is told."""
        return {
            "directory": self._directory,
            "now_ns": now_ns,
            "version": version,
            "step_ns": self._step_ns,
            "scoring": settings_to_plain(self._scoring()),
            "models": self._models().to_plain(),
            "calendar": self._calendar(),
            "drift_ratio": self._drift_ratio(),
        }

    def _note_failure(self, error: SentinelError, *, wait_s: float) -> None:
        result = error.result if isinstance(error, FitFailedError) else FitResult.NOT_STORED
        self._surroundings.metrics.count("sentinel_fits_total", result=result)
        stage, reason = _FLOW_OF.get(result, (FlowStage.TAKE, FlowReason.FAULT))
        self._flow.error(stage, reason)
        self._flow.dropped(reason)
        self._surroundings.logger.warning(
            "A fit failed and will be tried again",
            extra={"reason": str(error), "wait_s": round(wait_s, 1)},
        )
        kept = "none is in effect" if self._current is None else "the old fit stays in effect"
        self._health.degraded(f"The last fit failed, {kept}: {error}")


def _by_model(fit: Fit) -> str:
    """The end of a sentence on series that are not expected by the profile; nothing when all are.

    >>> from types import SimpleNamespace
    >>> _by_model(SimpleNamespace(used={"fourier": 3, "mstl": 0}, fallbacks={"time_limit": 2}))
    '; 3 by fourier; 2 keep the profile (time_limit 2)'
    """
    told = [
        f"{count} by {model}"
        for model, count in fit.used.items()
        if count and model != Model.PROFILE
    ]
    if fit.fallbacks:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(fit.fallbacks.items()))
        told.append(f"{sum(fit.fallbacks.values())} keep the profile ({reasons})")
    return "".join(f"; {one}" for one in told)
