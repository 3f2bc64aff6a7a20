"""From closed windows to stored decisions: names, fit, `decide`, one transaction a window, the page path.

Order is what matters here. A window is decided once, on exactly the values that are stored; its incidents and
pages are durable in the same transaction; only then does anyone see them.

What closes windows is the judge of time. A window that begins before the next one means that the clock was ahead and has
been put back: decisions go on from there, and what was stored beyond stays until its time comes and it is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.decide import Decision, DecisionSettings
from sentinel.core.evidence import RecentEvidence
from sentinel.core.incidents.page_notes import noted
from sentinel.core.incidents.text import one_line
from sentinel.core.model import (
    Incident,
    IncidentKind,
    NamedCalls,
    Page,
    Scope,
    SeriesKey,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.series import ClosedWindow, ClosedWindows, to_block
from sentinel.errors import StoreError
from sentinel.pipeline.accepting import Accepting
from sentinel.pipeline.deciding import Deciding, FitSource, LiveSeries, StoreThread
from sentinel.pipeline.decision_metrics import begin_counts, count_decision
from sentinel.pipeline.incident_log import IncidentLog
from sentinel.pipeline.plain_settings import plain_settings
from sentinel.pipeline.recording import Evidence, Recorder
from sentinel.pipeline.replay_notes import ReplayNotes
from sentinel.pipeline.resume import resume
from sentinel.pipeline.slow_calls import with_slow_calls
from sentinel.pipeline.ticks import Ticks
from sentinel.ports import Snapshot
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowStage, reason_of
from sentinel.runtime.settings import Duration, setting
from sentinel.runtime.tracing import OwnSpan, SpanNotes

_AHEAD_COUNTED_MAX = 10_000
_INCIDENTS_ASKED_MAX = 10_000
_LATE_NAMED_MAX = 5
_WINDOWS_WAITED = 3
_LATENESS_WAITED_S = 15.0


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
    horizons: NDArray[np.float32]


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
        live: LiveSeries,
        pages_stored: Callable[[Sequence[Page]], None],
        pages_unstored: Callable[[Sequence[Page]], None],
        page_note: Callable[[int], str] = lambda _start_ns: "",
        amended: Callable[[Page], Page] = lambda page: page,
    ) -> None:
        self._config = config
        self._next_settings: tuple[DecisionSettings, str] | None = None
        self._store = store
        self._fits = fits
        self._surroundings = surroundings
        self._live = live
        self._pages_stored = pages_stored
        self._page_note = page_note
        self._amended = amended
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._evidence = RecentEvidence()
        self._ids: dict[SeriesKey, int] = {}
        self._deciding = Deciding(settings, fits, step_ns=step_ns)
        self._incident_log = IncidentLog(surroundings)
        self._recorder = Recorder(store)
        self._latest: Latest | None = None
        self._snapshot_due_ns = 0
        self._accepting = Accepting()
        self._notes = ReplayNotes()
        self._ticks = Ticks(
            store, self._notes, self._flow, surroundings, pages_unstored=pages_unstored
        )
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
    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are open, oldest first, with every member."""
        return self._deciding.state.tracker.open_incidents()

    def named_calls(self) -> dict[tuple[Scope, bool], NamedCalls]:
        """The calls that windows named, by place and whether they failed."""
        return self._evidence.named()

    @property
    def fit_version(self) -> int | None:
        """The baseline in effect, or None before the first."""
        return self._deciding.fit_version

    def use(self, settings: DecisionSettings, *, digest: str) -> None:
        """Decide by other settings from the next window on; the change is stored with it."""
        self._next_settings = (settings, digest)

    async def start(self) -> None:
        """Load the newest state and decide the stored windows after it again."""
        rows = await self._store.run(self._store.sync.series)
        self._deciding.keys = {row.series_id: row.key for row in rows}
        self._ids = {row.key: row.series_id for row in rows}
        resumed = await resume(
            self._deciding,
            self._store,
            self._fits,
            self._live,
            self._surroundings,
            resume_max_s=self._config.resume_max,
        )
        self._last_end_ns = resumed.last_end_ns
        decides = plain_settings(self._deciding.settings)
        self._notes.add("settings", decides=decides, fit=self.fit_version or 0)
        if resumed.left_out_ns != (0, 0):
            from_ns, until_ns = resumed.left_out_ns
            self._notes.add("left_out", from_ns=from_ns, until_ns=until_ns)
        if resumed.taken_up_count:
            self._notes.add("taken_up", count=resumed.taken_up_count)
        if resumed.usable or resumed.decided_count:
            self._surroundings.logger.info(
                "Resumed from the store",
                extra={
                    "windows_decided_again": resumed.decided_count,
                    "series": len(self._deciding.keys),
                },
            )
        begin_counts(self._surroundings.metrics)
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

    async def accept(self, incident_id: str, *, by: str, accepted: bool) -> Incident | None:
        """Take a person's word that what an incident shows is the new normal, or take that back.

        Returns:
            The incident once it is stored so, or None where there is none of this id.

        Raises:
            NotAcceptableError: nothing of it could be normal.
            OverloadedError: too many such words wait.
            TimeoutError: no window was stored in time; what was said still waits for the next.
        """
        recent = await self._store.run(self._store.sync.incidents, limit=_INCIDENTS_ASKED_MAX)
        for open_now in self.open_incidents:
            if open_now.incident_id == incident_id:
                recent = [open_now]
        incident = next((one for one in recent if one.incident_id == incident_id), None)
        if incident is None:
            return None
        heard, changed = self._accepting.say(
            incident, by=by, accepted=accepted, now_ns=self._surroundings.clock.now_ns()
        )
        if changed is not None:
            self._ticks.change(changed)
        wait_s = _WINDOWS_WAITED * self._deciding.step_ns / 1e9 + _LATENESS_WAITED_S
        stored = await asyncio.wait_for(heard, wait_s)
        # What counts as history has changed.
        self._fits.request()
        return stored

    async def on_closed(self, closed: ClosedWindows) -> None:
        """Decide closed windows in order; the next stage of ingest."""
        for window in closed.windows:
            self._flow.received(1, signal="windows")
            with self._surroundings.tracer.span(
                OwnSpan.EVALUATE, series_count=len(window.keys)
            ) as span:
                await self._evaluate(window, span)
        self.report_lag()

    def report_lag(self) -> None:
        """Show how far evaluation is behind; called from outside too, because a stuck one cannot say so."""
        if self._last_end_ns:
            lag_s = (self._surroundings.clock.now_ns() - self._last_end_ns) / 1e9
            self._surroundings.metrics.set("sentinel_evaluation_lag_seconds", lag_s)

    async def _evaluate(self, window: ClosedWindow, span: SpanNotes) -> None:
        await self._adopt_settings()
        if window.start_ns < self._deciding.next_ns:
            await self._set_back(window.start_ns)
        await self._recorder.before(
            window.start_ns, self._deciding.state, self._deciding.fit, self._deciding.settings
        )
        await self._adopt_fit(window.start_ns)
        window = await self._named(window)
        fit = self._deciding.fit
        slow = with_slow_calls(window, None if fit is None else fit.slow, self._ids)
        added = slow.keys[len(window.keys) :]
        window = slow if all(key in self._ids for key in added) else await self._named(slow)
        block = to_block(window, self._ids)
        self._remember_evidence(window)
        clock = self._surroundings.clock
        started_s = clock.monotonic_s()
        accepted = self._accepting.acceptances()
        decision = self._deciding.decide(block, attach=self._attach, accepted=accepted)
        self._surroundings.metrics.observe(
            "sentinel_decide_seconds", clock.monotonic_s() - started_s
        )
        span.note(page_count=len(decision.pages), transition_count=len(decision.transitions))
        self._incident_log.note(decision)
        self._notes.add_accepted(decision.transitions)
        await self._store_tick(block, decision)
        self._show(block, decision)
        # What a person said is not derived from windows: deciding them again must not begin before it.
        if block.end_ns >= self._snapshot_due_ns or accepted:
            await self._save_state(block.end_ns)

    def _attach(
        self,
        incident: Incident,
        open_incidents: Sequence[Incident],
        /,
        *,
        at_ns: int,
        step_ns: int,
    ) -> Incident:
        """Evidence for a page; noted, because it does not follow from the windows."""
        attached = self._evidence.attach(incident, open_incidents, at_ns=at_ns, step_ns=step_ns)
        self._notes.add("evidence", **Evidence.noted(attached, at_ns))
        return attached

    async def _set_back(self, at_ns: int) -> None:
        """Go on at `at_ns`; a state of the time that was ahead must not be taken up any more, so it is stored anew."""
        before_ns = self._deciding.next_ns
        for incident in self._deciding.set_back(at_ns):
            self._ticks.change(incident)
        try:
            ahead_count = await self._store.run(self._stored_after, at_ns)
        except StoreError:
            ahead_count = (before_ns - at_ns) // self._deciding.step_ns
        self._surroundings.metrics.count("sentinel_windows_ahead_total", ahead_count)
        self._recorder.set_back()
        self._notes.add("set_back", from_ns=before_ns, at_ns=at_ns)
        self._last_end_ns = at_ns
        self._snapshot_due_ns = 0

    def _stored_after(self, at_ns: int) -> int:
        """How many windows are stored that lie ahead; not counted beyond a bound, because each is read for it."""
        found = 0
        for block in self._store.sync.windows(
            step_ns=self._deciding.step_ns, start_ns=at_ns, end_ns=2**62
        ):
            found += block.window_count
            if found >= _AHEAD_COUNTED_MAX:
                break
        return found

    def _remember_evidence(self, window: ClosedWindow) -> None:
        before = self._evidence.dropped_count
        self._evidence.remember(window.exemplars, window.logs)
        if dropped := self._evidence.dropped_count - before:
            self._surroundings.metrics.count("sentinel_evidence_dropped_total", dropped)

    async def _adopt_settings(self) -> None:
        """Take changed settings; what was decided by the old ones is not decided again by these."""
        if self._next_settings is None:
            return
        (self._deciding.settings, digest), self._next_settings = self._next_settings, None
        self._notes.add("settings", digest=digest, decides=plain_settings(self._deciding.settings))
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
            self._flow.error(FlowStage.STORE, reason_of(error))
            return window.without({key for key, _ in new})
        for (key, _), series_id in zip(new, ids, strict=True):
            self._ids[key] = series_id
            self._deciding.keys[series_id] = key
        return window

    async def _adopt_fit(self, start_ns: int) -> None:
        """Take the newest fit from the window on at which it takes effect."""
        fit = self._fits.current()
        if fit is None or fit.at_ns > start_ns or fit.version <= (self.fit_version or 0):
            return
        await self._recorder.fit(fit, start_ns)
        self._deciding.take_fit(fit)
        self._notes.add("fit", version=fit.version, at_ns=start_ns)
        # Two fits are kept: with a state of each, what was decided is decided again by the same one after a kill.
        self._snapshot_due_ns = 0
        metrics = self._surroundings.metrics
        metrics.set("sentinel_fit_version", fit.version)
        metrics.set("sentinel_fit_effective_timestamp_seconds", start_ns / 1e9)

    async def _store_tick(self, block: WindowBlock, decision: Decision) -> None:
        for page in decision.pages:
            self._surroundings.metrics.count("sentinel_pages_total", reason=page.reason)
        note = self._page_note(block.start_ns) if decision.pages else ""
        self._ticks.add(
            decision.transitions,
            [
                noted(page, name="overload", text=note) if note else page
                for page in map(self._amended, decision.pages)
            ],
        )
        try:
            tick = await self._ticks.store(block)
        except StoreError as error:
            self._health.failing(f"The store takes no windows: {error}")
            return
        self._accepting.stored(tick.incidents)
        self._last_end_ns = block.end_ns
        if tick.pages:
            self._pages_stored(tick.pages)
        self._tell_health(block)

    def _tell_health(self, block: WindowBlock) -> None:
        late = sorted(
            incident.group
            for incident in self.open_incidents
            if incident.kind is IncidentKind.LATE
        )
        if not late:
            count = block.series_count
            self._health.ok(f"Deciding on {count} series" if count else "Deciding; none is heard")
            return
        named = one_line(", ".join(late[:_LATE_NAMED_MAX]), characters_max=100)
        more = f" and {len(late) - _LATE_NAMED_MAX} more" if len(late) > _LATE_NAMED_MAX else ""
        self._health.degraded(f"Data comes too late to be counted: {named}{more}")

    def _show(self, block: WindowBlock, decision: Decision) -> None:
        keys = tuple(self._deciding.keys[series_id] for series_id in block.series.tolist())
        if self._latest is not None and self._latest.keys == keys:
            keys = self._latest.keys
        self._latest = Latest(
            block=block, verdicts=decision.verdicts, keys=keys, horizons=decision.horizons
        )
        metrics = self._surroundings.metrics
        count_decision(metrics, decision)
        for severity, count in self._open_counts().items():
            metrics.set("sentinel_incidents_open", count, severity=severity)

    def _open_counts(self) -> dict[str, int]:
        counts = {"page": 0, "ticket": 0}
        for incident in self.open_incidents:
            counts[incident.severity] += 1
        return counts

    async def _save_state(self, at_ns: int) -> None:
        snapshot = Snapshot(
            at_ns=at_ns, version=self.fit_version or 0, payload=self._deciding.state.to_bytes()
        )
        self._snapshot_due_ns = at_ns + round(self._config.snapshot_interval * 1e9)
        self._notes.add_learned(snapshot)
        await self._recorder.state(snapshot, self._deciding.settings)
        try:
            await self._store.run(self._store.sync.save_state, snapshot)
        except StoreError as error:
            self._health.degraded(f"What was learned could not be stored: {error}")
