"""From closed windows to stored decisions: names, fit, `decide`, one transaction a window, the page path.

Order is what matters here. A window is decided once, on exactly the values that are stored; its incidents and
pages are durable in the same transaction; only then does anyone see them. After a restart the newest snapshot of
the state is loaded and the stored windows after it are decided again, without storing or sending, so that the
sidecar goes on as if it had never stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.evidence import RecentEvidence
from sentinel.core.incidents import taken_up
from sentinel.core.model import (
    Incident,
    Page,
    Reason,
    SeriesKey,
    TransitionKind,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.series import ClosedWindow, ClosedWindows, to_block
from sentinel.errors import StoreError, StoreFullError
from sentinel.pipeline.fit import Fit
from sentinel.ports import BaselineStore, IncidentStore, SeriesStore, Snapshot, Tick
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.settings import Duration, setting

_PAGES_WAITING_MAX = 1000
_INCIDENTS_WAITING_MAX = 1000
_INCIDENTS_RECALLED = 1000
_NOTES_WAITING_MAX = 1000

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class EvaluationStore(SeriesStore, BaselineStore, IncidentStore, Protocol):
    """What evaluation reads and writes."""


class StoreThread(Protocol):
    """The store, and the thread its calls run in."""

    @property
    def sync(self) -> EvaluationStore:
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


class FitSource(Protocol):
    """Where fits come from."""

    def current(self) -> Fit | None:
        """The newest fit, which takes effect at its `at_ns`."""
        ...

    def adopted(self, fit: Fit) -> None:
        """Hear that a fit is in effect and what it learned is in the state."""
        ...

    def stored(self, snapshot: Snapshot) -> Fit | None:
        """A fit that was stored, or None when its bytes cannot be used."""
        ...


class Remember(Protocol):
    """Takes series for live that were so before a restart."""

    def __call__(self, keys: Iterable[SeriesKey], *, last_ns: int) -> None:
        """Take them, as last heard at `last_ns`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How decisions survive a restart."""

    snapshot_interval: Duration = setting(
        Duration(300.0), help="How often what was learned is stored; a stop stores it too."
    )
    resume_max: Duration = setting(
        Duration(3600.0),
        help="Stored windows older than this are not decided again after a start; they count as missing.",
    )

    def __post_init__(self) -> None:
        if self.snapshot_interval <= 0 or self.resume_max < 0:
            msg = "snapshot_interval must be above 0, resume_max not below"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The last evaluated window, for pages; never changed after it was made."""

    block: WindowBlock
    verdicts: VerdictBlock
    keys: tuple[SeriesKey, ...]


class Evaluate:
    """Decides each closed window, stores it with what follows from it, and wakes delivery."""

    def __init__(
        self,
        config: EvaluateConfig,
        settings: DecisionSettings,
        store: StoreThread,
        fits: FitSource,
        surroundings: Surroundings,
        *,
        step_ns: int,
        remember: Remember,
        pages_stored: Callable[[Sequence[Page]], None],
    ) -> None:
        self._config = config
        self._settings = settings
        self._next_settings: tuple[DecisionSettings, str] | None = None
        self._store = store
        self._fits = fits
        self._surroundings = surroundings
        self._step_ns = step_ns
        self._remember = remember
        self._pages_stored = pages_stored
        self._health = HealthRecord(surroundings.clock)
        self._evidence = RecentEvidence()
        self._ids: dict[SeriesKey, int] = {}
        self._keys: dict[int, SeriesKey] = {}
        self._state = new_decision_state(step_ns=step_ns, settings=settings)
        self._fit: Fit | None = None
        self._latest: Latest | None = None
        self._snapshot_due_ns = 0
        self._waiting: deque[Page] = deque()
        self._changed: dict[str, Incident] = {}
        self._notes: deque[str] = deque(maxlen=_NOTES_WAITING_MAX)
        self._last_end_ns = 0
        self._started = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.evaluate"

    @property
    def latest(self) -> Latest | None:
        """The last evaluated window, or None before the first."""
        return self._latest

    @property
    def fit_version(self) -> int | None:
        """The baseline in effect, or None before the first."""
        return None if self._fit is None else self._fit.version

    def use(self, settings: DecisionSettings, *, digest: str) -> None:
        """Decide by other settings from the next window on; the change is stored with it."""
        self._next_settings = (settings, digest)

    async def start(self) -> None:
        """Load the newest state and decide the stored windows after it again."""
        rows = await self._store.run(self._store.sync.series)
        self._keys = {row.series_id: row.key for row in rows}
        self._ids = {row.key: row.series_id for row in rows}
        await self._resume()
        self._started = True
        self._health.ok("Waiting for the first window")

    async def stop(self) -> None:
        """Store what was learned; idempotent."""
        if not self._started:
            return
        self._started = False
        if self._last_end_ns:
            await self._save_state(self._last_end_ns)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def on_closed(self, closed: ClosedWindows) -> None:
        """Decide closed windows in order; the next stage of ingest."""
        for window in closed.windows:
            await self._evaluate(window)
        self.report_lag()

    def report_lag(self) -> None:
        """Show how far evaluation is behind; called from outside too, because a stuck one cannot say so."""
        if self._last_end_ns:
            lag_s = (self._surroundings.clock.now_ns() - self._last_end_ns) / 1e9
            self._surroundings.metrics.set("sentinel_evaluation_lag_seconds", lag_s)

    async def _evaluate(self, window: ClosedWindow) -> None:
        if window.start_ns < self._state.detector.next_ns:
            # The clock went back over a restart: these windows are decided and stored already.
            self._surroundings.metrics.count(
                "sentinel_windows_dropped_total", reason="decided_already"
            )
            return
        await self._adopt_settings()
        block = to_block(await self._named(window), self._ids)
        self._adopt_fit(block.start_ns)
        self._remember_evidence(window)
        clock = self._surroundings.clock
        started_s = clock.monotonic_s()
        decision = decide(
            self._state,
            block,
            profile=None if self._fit is None else self._fit.profile,
            keys=self._keys,
            settings=self._settings,
            attach=self._evidence.attach,
        )
        self._surroundings.metrics.observe(
            "sentinel_decide_seconds", clock.monotonic_s() - started_s
        )
        self._state = decision.state
        await self._store_tick(block, decision)
        self._show(block, decision)
        if block.end_ns >= self._snapshot_due_ns:
            await self._save_state(block.end_ns)

    def _remember_evidence(self, window: ClosedWindow) -> None:
        before = self._evidence.dropped_count
        self._evidence.remember(window.exemplars, window.logs)
        if dropped := self._evidence.dropped_count - before:
            self._surroundings.metrics.count("sentinel_evidence_dropped_total", dropped)

    async def _adopt_settings(self) -> None:
        """Take changed settings; what was decided by the old ones is not decided again by these."""
        if self._next_settings is None:
            return
        (self._settings, digest), self._next_settings = self._next_settings, None
        self._notes.append(json.dumps({"event": "settings", "digest": digest}))
        if self._last_end_ns:
            await self._save_state(self._last_end_ns)

    async def _named(self, window: ClosedWindow) -> ClosedWindow:
        """The window, once the store knows its series; without the new ones while it takes no names."""
        new = [entry for entry in window.named() if entry[0] not in self._ids]
        if not new:
            return window
        try:
            ids = await self._store.run(
                self._store.sync.register, new, now_ns=self._surroundings.clock.now_ns()
            )
        except StoreError as error:
            # What is known must still be watched: a store in trouble is no reason to miss an outage.
            self._health.failing(f"The store takes no new series: {error}")
            self._surroundings.metrics.count("sentinel_series_unnamed_total", len(new))
            return window.without({key for key, _ in new})
        for (key, _), series_id in zip(new, ids, strict=True):
            self._ids[key] = series_id
            self._keys[series_id] = key
        return window

    def _adopt_fit(self, start_ns: int) -> None:
        """Take the newest fit from the window on at which it takes effect."""
        fit = self._fits.current()
        if fit is None or fit.at_ns > start_ns:
            return
        if self._fit is not None and fit.version <= self._fit.version:
            return
        self._use_fit(fit)
        self._notes.append(json.dumps({"event": "fit", "version": fit.version, "at_ns": start_ns}))
        metrics = self._surroundings.metrics
        metrics.set("sentinel_fit_version", fit.version)
        metrics.set("sentinel_fit_effective_timestamp_seconds", start_ns / 1e9)

    def _use_fit(self, fit: Fit) -> None:
        self._state = fit.primed_state(self._state, settings=self._settings.scoring)
        self._keep_fit(fit)

    def _keep_fit(self, fit: Fit) -> None:
        """Judge by a fit whose rows are in the state."""
        self._fit = fit.without_rows()
        self._fits.adopted(fit)

    async def _store_tick(self, block: WindowBlock, decision: Decision) -> None:
        """One transaction; pages that it could not keep are kept here and tried with the next window."""
        metrics = self._surroundings.metrics
        for transition in decision.transitions:
            self._changed[transition.incident.incident_id] = transition.incident
        for page in decision.pages:
            metrics.count("sentinel_pages_total", reason=page.reason)
        self._waiting.extend(decision.pages)
        tick = Tick(
            block=block,
            incidents=tuple(self._changed.values()),
            pages=tuple(self._waiting),
            notes=tuple(self._notes),
        )
        try:
            await self._store.run(self._store.sync.append_tick, tick)
        except StoreError as error:
            self._drop_window(block, error)
            self._health.failing(f"The store takes no windows: {error}")
            self._surroundings.logger.error(  # noqa: TRY400  # the store has logged its own cause
                "A window could not be stored", extra={"pages_waiting": len(self._waiting)}
            )
            return
        self._waiting.clear()
        self._changed.clear()
        self._notes.clear()
        self._last_end_ns = block.end_ns
        if tick.pages:
            self._pages_stored(tick.pages)
        self._health.ok(f"Deciding on {block.series_count} series")

    def _drop_window(self, block: WindowBlock, error: StoreError) -> None:
        """Count a window that was not stored; what it led to waits for the next, up to a bound."""
        metrics = self._surroundings.metrics
        if not isinstance(error, StoreFullError):  # the store has counted what it has no room for
            metrics.count(
                "sentinel_store_dropped_windows_total", block.window_count, reason="failing"
            )
        while len(self._waiting) > _PAGES_WAITING_MAX:
            self._waiting.popleft()
            metrics.count("sentinel_store_dropped_pages_total")
        while len(self._changed) > _INCIDENTS_WAITING_MAX:
            # The oldest; its pages are still sent, and it is stored when it changes again.
            self._changed.pop(next(iter(self._changed)))

    def _show(self, block: WindowBlock, decision: Decision) -> None:
        keys = tuple(self._keys[series_id] for series_id in block.series.tolist())
        if self._latest is not None and self._latest.keys == keys:
            keys = self._latest.keys
        self._latest = Latest(block=block, verdicts=decision.verdicts, keys=keys)
        metrics = self._surroundings.metrics
        metrics.count("sentinel_ticks_total")
        counts = np.bincount(decision.verdicts.reason[0], minlength=len(Reason))
        for reason in Reason:
            metrics.set("sentinel_series_state", int(counts[reason]), state=reason.name.lower())
        for transition in decision.transitions:
            incident = transition.incident
            if transition.kind is TransitionKind.OPENED:
                metrics.count(
                    "sentinel_incidents_total", kind=incident.kind, severity=incident.severity
                )
        for severity, count in self._open_counts().items():
            metrics.set("sentinel_incidents_open", count, severity=severity)

    def _open_counts(self) -> dict[str, int]:
        counts = {"page": 0, "ticket": 0}
        for incident in self._state.tracker.open_incidents():
            counts[incident.severity] += 1
        return counts

    async def _save_state(self, at_ns: int) -> None:
        version = 0 if self._fit is None else self._fit.version
        snapshot = Snapshot(at_ns=at_ns, version=version, payload=self._state.to_bytes())
        self._snapshot_due_ns = at_ns + round(self._config.snapshot_interval * 1e9)
        try:
            await self._store.run(self._store.sync.save_state, snapshot)
        except StoreError as error:
            self._health.degraded(f"What was learned could not be stored: {error}")

    async def _resume(self) -> None:
        """Load the newest usable state, then decide what was stored after it."""
        from_ns, usable = 0, False
        for snapshot in await self._store.run(self._store.sync.states):
            try:
                state = DecisionState.from_bytes(snapshot.payload)
            except ValueError as error:
                self._surroundings.logger.warning(
                    "A stored state cannot be used", extra={"reason": str(error)}
                )
                continue
            if state.detector.step_ns == self._step_ns:
                self._state, from_ns, usable = state, snapshot.at_ns, True
                break
        now_ns = self._surroundings.clock.now_ns()
        oldest_ns = now_ns - round(self._config.resume_max * 1e9)
        oldest_ns -= oldest_ns % self._step_ns
        fits = await self._stored_fits(before_ns=from_ns if usable else 0)
        for fit in fits:
            if usable and fit.at_ns < from_ns:
                # What it primed is in the state already.
                self._keep_fit(fit)
        decided = await self._decide_again(max(from_ns, oldest_ns), fits)
        await self._take_up_orphans(now_ns - now_ns % self._step_ns)
        if usable or decided:
            self._surroundings.logger.info(
                "Resumed from the store",
                extra={"windows_decided_again": decided, "series": len(self._keys)},
            )

    async def _take_up_orphans(self, at_ns: int) -> None:
        """Incidents that are open in the store and that no decided window led to must still resolve."""
        stored = await self._store.run(
            self._store.sync.incidents, limit=_INCIDENTS_RECALLED, open_only=True
        )
        tracker, count = taken_up(
            self._state.tracker,
            stored,
            at_ns=at_ns,
            step_ns=self._step_ns,
            settings=self._settings.incidents,
        )
        if count:
            self._state = replace(self._state, tracker=tracker)
            self._notes.append(json.dumps({"event": "taken_up", "count": count}))
            self._surroundings.logger.warning(
                "Open incidents were taken up again whose windows were not decided again",
                extra={"count": count},
            )

    async def _stored_fits(self, *, before_ns: int) -> list[Fit]:
        """The fits that stored windows are decided by again, earliest first.

        That is the newest alone when it was in effect before these windows; the others are not even read then.
        """
        newest = self._fits.current()
        if newest is not None and newest.at_ns < before_ns:
            return [newest]
        fits = [
            fit
            for snapshot in await self._store.run(self._store.sync.fits)
            if (fit := self._fits.stored(snapshot)) is not None
        ]
        return sorted(fits, key=lambda fit: fit.at_ns)

    async def _decide_again(self, from_ns: int, fits: Sequence[Fit]) -> int:
        recalled = {
            incident.incident_id: incident
            for incident in await self._store.run(
                self._store.sync.incidents, limit=_INCIDENTS_RECALLED
            )
        }

        def recall(
            incident: Incident, _open: Sequence[Incident], *, at_ns: int, step_ns: int
        ) -> Incident:
            # The evidence of then is not heard again; what the page carried is in the store.
            del at_ns, step_ns
            known = recalled.get(incident.incident_id)
            if known is None:
                return incident
            return replace(
                incident,
                first_mover=known.first_mover,
                exemplars=known.exemplars,
                log_lines=known.log_lines,
            )

        blocks = await self._store.run(
            lambda: list(
                self._store.sync.windows(step_ns=self._step_ns, start_ns=from_ns, end_ns=2**62)
            )
        )
        decided = 0
        pending = list(fits)
        for block in blocks:
            for at in range(block.window_count):
                window = block.windows(at, at + 1)
                if window.start_ns < self._state.detector.next_ns:
                    continue
                while pending and pending[0].at_ns <= window.start_ns:
                    fit = pending.pop(0)
                    if self._fit is None or fit.version > self._fit.version:
                        self._use_fit(fit)
                decision = decide(
                    self._state,
                    window,
                    profile=None if self._fit is None else self._fit.profile,
                    keys=self._keys,
                    settings=self._settings,
                    attach=recall,
                )
                self._state = decision.state
                self._last_end_ns = window.end_ns
                self._recall_live(window)
                decided += 1
                # Probes are answered meanwhile.
                await asyncio.sleep(0)
        return decided

    def _recall_live(self, window: WindowBlock) -> None:
        live = [self._keys[int(series_id)] for series_id in window.series[window.heard[0]]]
        self._remember(live, last_ns=window.end_ns)
