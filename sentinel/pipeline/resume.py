"""Taking up after a restart: the newest stored state, and the stored windows after it decided again.

Nothing is stored or sent meanwhile: what those windows led to is in the store already, and names of incidents and pages
are derived, so it is the same. Then the sidecar goes on as if it had never stopped. Where it is not the same, because
settings or formats have changed or windows are too old, the store is right: it knows what people were told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentinel.core.decide import DecisionState
from sentinel.core.incidents import first_and_next_pages, taken_up
from sentinel.core.model import Acceptance, Incident, IncidentKind, Resolution, WindowBlock
from sentinel.core.series.watermark import STEP_MAX_NS
from sentinel.pipeline.deciding import Deciding, FitSource, LiveSeries, StoreThread
from sentinel.pipeline.fit import Fit
from sentinel.ports import Snapshot
from sentinel.runtime.component import Surroundings

_INCIDENTS_RECALLED = 1000
_OPEN_RECALLED_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What was found.

    Attributes:
        usable: whether there was a state to go on from.
        decided_count: windows that were decided again.
        taken_up_count: open incidents that no decided window led to.
        last_end_ns: end of the last window that is decided, 0 when none was decided again.
        left_out_ns: from when to when stored windows were not decided again, and count as missing; (0, 0) for none.
    """

    usable: bool
    decided_count: int
    taken_up_count: int
    last_end_ns: int
    left_out_ns: tuple[int, int]


async def resume(
    deciding: Deciding,
    store: StoreThread,
    fits: FitSource,
    live: LiveSeries,
    surroundings: Surroundings,
    *,
    resume_max_s: float,
) -> Resumed:
    """Bring `deciding` to where the process before it ended; its names must be loaded.

    Args:
        deciding: as new.
        store: where states, windows and incidents are read.
        fits: where stored fits are checked.
        live: is told which series live, and up to where windows are decided.
        surroundings: its clock says how old stored windows are.
        resume_max_s: windows older than this count as missing.
    """
    return await _Resuming(deciding, store, fits, live, surroundings).run(resume_max_s)


class _Resuming:
    def __init__(
        self,
        deciding: Deciding,
        store: StoreThread,
        fits: FitSource,
        live: LiveSeries,
        surroundings: Surroundings,
    ) -> None:
        self._deciding = deciding
        self._store = store
        self._fits = fits
        self._live = live
        self._surroundings = surroundings
        self._last_end_ns = 0

    async def run(self, resume_max_s: float) -> Resumed:
        """As `resume`."""
        deciding = self._deciding
        snapshot = await self._load_state()
        now_ns = self._surroundings.clock.now_ns()
        oldest_ns = now_ns - round(resume_max_s * 1e9)
        oldest_ns -= oldest_ns % deciding.step_ns
        fits = await self._stored_fits(snapshot)
        for fit in fits:
            if snapshot is not None and fit.version <= snapshot.version:
                # What it primed is in the state already.
                deciding.keep_fit(fit)
        begun_ns = 0 if snapshot is None else snapshot.at_ns
        left_out_ns = await self._left_out(begun_ns, oldest_ns)
        decided_count = await self._decide_again(
            max(begun_ns, oldest_ns),
            # What lies further ahead was stored by a clock that has been put back since.
            until_ns=now_ns + STEP_MAX_NS,
            fits=fits,
        )
        taken_up_count = await self._agree_with_store(now_ns - now_ns % deciding.step_ns)
        self._remember_late()
        self._live.begin_after(deciding.next_ns)
        return Resumed(
            usable=snapshot is not None,
            decided_count=decided_count,
            taken_up_count=taken_up_count,
            last_end_ns=self._last_end_ns,
            left_out_ns=left_out_ns,
        )

    async def _left_out(self, begun_ns: int, until_ns: int) -> tuple[int, int]:
        """From when to when windows are stored that are too old to be decided again."""

        def first() -> int:
            windows = self._store.sync.windows(
                step_ns=self._deciding.step_ns, start_ns=begun_ns, end_ns=until_ns
            )
            return next((block.start_ns for block in windows), until_ns)

        if until_ns <= begun_ns:
            return 0, 0
        first_ns = await self._store.run(first)
        return (first_ns, until_ns) if first_ns < until_ns else (0, 0)

    async def _load_state(self) -> Snapshot | None:
        """Take the newest usable state; its snapshot, or None when there is none."""
        for snapshot in await self._store.run(self._store.sync.states):
            try:
                state = DecisionState.from_bytes(snapshot.payload)
            except ValueError as error:
                self._surroundings.logger.warning(
                    "A stored state cannot be used", extra={"reason": str(error)}
                )
                continue
            if state.detector.step_ns == self._deciding.step_ns:
                self._deciding.state = state
                # Its bytes are as large as the state, and are not needed any more.
                return replace(snapshot, payload=b"")
        return None

    async def _stored_fits(self, snapshot: Snapshot | None) -> list[Fit]:
        """The fits that stored windows are decided by again, earliest first.

        That is the newest alone when the state was decided by it; the others are not even read then.
        """
        newest = self._fits.current()
        if newest is not None and snapshot is not None and newest.version <= snapshot.version:
            return [newest]
        fits = [
            fit
            for stored in await self._store.run(self._store.sync.fits)
            if (fit := self._fits.stored(stored)) is not None
        ]
        return sorted(fits, key=lambda fit: fit.version)

    async def _agree_with_store(self, at_ns: int) -> int:
        """Go on with the incidents that are open in the store; how many of them no decided window led to."""
        stored = await self._store.run(
            self._store.sync.incidents, limit=_OPEN_RECALLED_MAX, open_only=True
        )
        tracker = self._deciding.state.tracker
        asked = first_and_next_pages(tracker, stored)
        taken = taken_up(
            tracker,
            stored,
            pages=await self._store.run(self._store.sync.known_pages, asked),
            at_ns=at_ns,
            step_ns=self._deciding.step_ns,
            settings=self._deciding.settings.incidents,
        )
        self._deciding.take_tracker(taken.state)
        if taken.taken_up_count:
            self._surroundings.logger.warning(
                "Open incidents were taken up again whose windows were not decided again",
                extra={"count": taken.taken_up_count},
            )
        if taken.left_out_count:
            self._surroundings.logger.warning(
                "Stored windows lead to incidents now that nobody was told of; each opens, and pages, if it goes on",
                extra={"count": taken.left_out_count},
            )
        return taken.taken_up_count

    async def _decide_again(self, from_ns: int, *, until_ns: int, fits: Sequence[Fit]) -> int:
        recent = await self._store.run(self._store.sync.incidents, limit=_INCIDENTS_RECALLED)
        attach = _Recalled(recent)
        accepted = [
            Acceptance(incident_id=one.incident_id, by=one.accepted_by, at_ns=one.resolved_ns)
            for one in recent
            if one.resolution is Resolution.ACCEPTED and one.resolved_ns is not None
        ]
        step_ns = self._deciding.step_ns
        blocks = await self._store.run(
            lambda: list(
                self._store.sync.windows(step_ns=step_ns, start_ns=from_ns, end_ns=until_ns)
            )
        )
        decided_count = 0
        pending = list(fits)
        for block in blocks:
            for at in range(block.window_count):
                window = block.windows(at, at + 1)
                if window.start_ns < self._deciding.next_ns:
                    continue
                while pending and pending[0].at_ns <= window.start_ns:
                    fit = pending.pop(0)
                    if fit.version > (self._deciding.fit_version or 0):
                        self._deciding.take_fit(fit)
                self._deciding.decide(window, attach=attach, accepted=accepted)
                self._last_end_ns = window.end_ns
                self._recall_live(window)
                decided_count += 1
                # Probes are answered meanwhile.
                await asyncio.sleep(0)
        return decided_count

    def _remember_late(self) -> None:
        """Let series of late sources be live: nothing of theirs will come in time that would make them so."""
        deciding = self._deciding
        late = {
            incident.group
            for incident in deciding.state.tracker.open_incidents()
            if incident.kind is IncidentKind.LATE
        }
        keys = [deciding.keys.get(one) for one in deciding.state.detector.series.tolist()]
        known = [key for key in keys if key is not None and key.service in late]
        self._live.remember(known, last_ns=deciding.next_ns)

    def _recall_live(self, window: WindowBlock) -> None:
        keys = self._deciding.keys
        live = [keys[int(series_id)] for series_id in window.series[window.heard[0]]]
        self._live.remember(live, last_ns=window.end_ns)


class _Recalled:
    """Evidence of incidents as it was stored: that of then is not heard again."""

    def __init__(self, incidents: Sequence[Incident]) -> None:
        self._by_id = {incident.incident_id: incident for incident in incidents}

    def __call__(
        self,
        incident: Incident,
        open_incidents: Sequence[Incident],
        /,
        *,
        at_ns: int,
        step_ns: int,
    ) -> Incident:
        """The incident with what its page carried; as `Attach`."""
        del open_incidents, at_ns, step_ns
        known = self._by_id.get(incident.incident_id)
        if known is None:
            return incident
        return replace(
            incident,
            first_mover=known.first_mover,
            exemplars=known.exemplars,
            log_lines=known.log_lines,
        )
