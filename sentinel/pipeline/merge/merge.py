"""From parts of windows to windows: kept before they are acknowledged, waited for, merged once, and handed on in order.

A part is on the disk before its collector is told so, and stays there until its window is decided and a while longer. So a scorer that
is killed at any moment goes on where it stopped: windows that were stored as decided are merged again for what counters need to
know, and decided no second time; parts of all others are merged for the first time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sentinel.core.evidence import ServiceVersions
from sentinel.core.model import Page
from sentinel.core.series import Closed, ClosedWindow, SeriesSettings
from sentinel.core.series.collected import (
    Attendance,
    CollectedWindow,
    Merging,
    PartKind,
    Roster,
    RosterSettings,
    Taken,
    decode,
    encode,
)
from sentinel.core.series.counts import SeriesCounts
from sentinel.errors import (
    InputTooLargeError,
    MalformedInputError,
    OverloadedError,
    StoreError,
    StoreFullError,
)
from sentinel.pipeline.merge.config import MergeConfig
from sentinel.pipeline.merge.ports import OwnWays, PartStore
from sentinel.pipeline.merge.reading import PartReading
from sentinel.pipeline.merge.told import CollectorsTold
from sentinel.pipeline.merge.turn import Turn
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.tasks import TaskGroup

LOCAL = "scorer"
"""What the scorer's own ways in are called among collectors."""
_CLOSED_A_TURN = 8
_RETRY_S = 2.0


class Merge:
    """The way of parts to the evaluation; there is one of it, and one of its windows at a time."""

    def __init__(
        self,
        config: MergeConfig,
        settings: SeriesSettings,
        merging: Merging,
        parts: PartStore,
        next_stage: Callable[[Closed[ClosedWindow]], Awaitable[None]],
        surroundings: Surroundings,
        *,
        own: OwnWays,
        stage_timeout_s: float = 120.0,
        versions: ServiceVersions | None = None,
        report: Callable[[SeriesCounts], None] = lambda _counts: None,
    ) -> None:
        """Store what is needed.

        Args:
            config: see there.
            settings: how wide windows are, and how long their samples are waited for.
            merging: what merges; it knows after the evaluation's start up to where windows are decided.
            parts: where parts are kept.
            next_stage: what windows are handed to.
            surroundings: clock, metrics, logger.
            own: what the scorer's own ways in are collected by.
            stage_timeout_s: longest time that deciding on a window may take.
            versions: where it is noted which versions services name.
            report: counts what was given up or noticed while merging.
        """
        self._config = config
        self._settings = settings
        self._merging = merging
        self._parts = parts
        self._next_stage = next_stage
        self._surroundings = surroundings
        self._own = own
        self._stage_timeout_s = stage_timeout_s
        self._told = CollectorsTold(surroundings, versions or ServiceVersions())
        self._report_counts = report
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._roster = Roster(
            RosterSettings(
                step_ns=settings.window_ns,
                wait_ns=settings.lateness_ns + round(config.wait * 1e9),
                gone_after_ns=round(config.gone_after * 1e9),
                collectors_max=config.collectors_max,
                aside=LOCAL,
            )
        )
        # Of parts that wait for long the bytes are kept: read, they take thirty times as much.
        self._bodies: dict[str, bytes] = {}
        self._disk = asyncio.Lock()
        self._reading = PartReading()
        self._wake = asyncio.Event()
        self._turn = Turn(
            self._roster,
            surroundings,
            step_ns=settings.window_ns,
            collectors_max=config.collectors_max,
        )
        self._trouble = ""
        self._failed = ""
        self._running = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.merge"

    @property
    def watermark_ns(self) -> int:
        """Windows that end by here are merged."""
        return self._merging.watermark_ns

    async def start(self) -> None:
        """Take up what was kept: merge again what is decided, and wait for the rest."""
        clock = self._surroundings.clock
        decided_ns = self._merging.next_ns
        async with self._disk:
            found = await asyncio.to_thread(self._parts.open)
        for stored in found:
            try:
                part = decode(stored.body)
                taken = self._roster.take(part, stored.received_ns, kept_elsewhere=True)
                if taken is Taken.FRESH and part.kind is not PartKind.HELLO:
                    self._bodies[part.identity] = stored.body
            except (MalformedInputError, InputTooLargeError) as error:
                self._flow.error(FlowStage.READ, reason_of(error))
        first_ns = self._roster.first_waiting_ns
        if first_ns is not None:
            await self._warm_up(first_ns, decided_ns)
        self._turn.start(
            decided_ns, not_before_ns=clock.now_ns() + round(self._config.grace * 1e9)
        )
        self._merging.take_counts()
        self._running = True
        await self._hear_own(self._own.hello(clock.now_ns()))
        self._wake.set()
        self._tasks.spawn("merge", self._run)
        self._tasks.spawn("tick", self._tick)
        self._tell_health()

    async def stop(self) -> None:
        """Merge no more; what came is on the disk."""
        if not self._running:
            return
        self._running = False
        # A window that is being decided on is let end.
        self._wake.set()
        await self._tasks.close(timeout_s=10.0)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._running:
            self._tell_health()
        return self._health.current

    # Taking.

    async def take(self, body: bytes) -> Taken:
        """Take a part; on return it is kept, or known already, or too late.

        Raises:
            InputError: it is no part that could ever be taken.
            OverloadedError: not now.
        """
        part = await self._reading.part(body)
        self._flow.received(1, signal="windows")
        if part.step_ns != self._settings.window_ns:
            self._flow.dropped(FlowReason.UNSUPPORTED)
            msg = (
                f"its windows are {part.step_ns / 1e9:g} s wide, the scorer's {self._settings.window_ns / 1e9:g} s:"
                " give both the same `series.window`"
            )
            raise MalformedInputError(msg)
        return await self._take(part, body)

    async def take_own(self, closed: Closed[CollectedWindow]) -> None:
        """Take what the scorer's own ways in came to."""
        for window in closed.windows:
            await self._hear_own(window)

    async def _hear_own(self, window: CollectedWindow) -> None:
        """Take one part of our own."""
        encoded = encode(window)
        # As it is read from the wire, so that both ways are one.
        await self._take(decode(encoded.body), encoded.body)

    async def _take(self, part: CollectedWindow, body: bytes) -> Taken:
        if not self._running:
            msg = "the scorer is starting or stopping"
            raise OverloadedError(msg, retry_after_s=_RETRY_S)
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        async with self._disk:
            now_ns = clock.now_ns()
            if self._roster.judge(part, now_ns) is Taken.FRESH:
                await self._keep(part, body, now_ns)
            is_far = self._turn.is_far(part.start_ns)
            taken = self._roster.take(part, now_ns, kept_elsewhere=is_far)
            if is_far and taken is Taken.FRESH and part.kind is not PartKind.HELLO:
                self._bodies[part.identity] = body
        metrics.count("sentinel_collected_parts_total", outcome=taken.value)
        if taken is Taken.FULL:
            msg = f"{self._config.collectors_max} collectors are all that may be at once"
            raise OverloadedError(msg, retry_after_s=_RETRY_S)
        if taken is Taken.AHEAD:
            # Told to come back it would hold up what is behind it until its time has come.
            self._flow.dropped(FlowReason.STALE)
            self._surroundings.logger.warning(
                "A window lies far ahead: the clock of its collector, or ours, is wrong",
                extra={"collector": part.collector},
            )
        elif taken is Taken.LATE:
            self._flow.dropped(FlowReason.STALE)
        elif taken is Taken.AGAIN:
            self._flow.dropped(FlowReason.DUPLICATE)
        elif now_ns >= self._roster.deadline_ns(part.start_ns):
            # It brings what it has kept; the rest of that is on its way.
            self._turn.hold(until_ns=now_ns + round(self._config.wait * 1e9))
        if taken is Taken.FRESH:
            self._turn.note(part, now_ns)
        metrics.set("sentinel_collected_waiting_parts", self._roster.waiting_count)
        self._wake.set()
        return taken

    async def _keep(self, part: CollectedWindow, body: bytes, now_ns: int) -> None:
        try:
            await asyncio.to_thread(self._store, part.start_ns, body, now_ns)
        except StoreFullError as error:
            self._trouble = str(error)
            self._flow.error(FlowStage.STORE, FlowReason.DISK_FULL)
            raise OverloadedError(str(error), retry_after_s=_RETRY_S) from error
        except StoreError as error:
            self._trouble = str(error)
            self._flow.error(FlowStage.STORE, reason_of(error))
            raise OverloadedError(str(error), retry_after_s=_RETRY_S) from error
        self._trouble = ""

    def _store(self, start_ns: int, body: bytes, now_ns: int) -> None:
        try:
            self._parts.add(start_ns, body, received_ns=now_ns)
        except StoreFullError:
            self._parts.make_room(len(body) + 4096, before_ns=self._turn.next_ns or 0)
            self._parts.add(start_ns, body, received_ns=now_ns)

    # Merging.

    async def _warm_up(self, first_ns: int, decided_ns: int) -> None:
        """Merge what is decided already once more: what follows needs what counters showed before."""
        step_ns = self._settings.window_ns
        first_ns = max(first_ns, decided_ns - round(self._config.keep * 1e9 // step_ns) * step_ns)
        count = 0
        for start_ns in range(first_ns, decided_ns, step_ns):
            attendance = self._roster.close(start_ns)
            self._merge(start_ns, attendance)
            count += 1
            if count % _CLOSED_A_TURN == 0:
                await asyncio.sleep(0)
        if count:
            self._surroundings.logger.info(
                "Merged the newest decided windows again", extra={"window_count": count}
            )

    async def _run(self) -> None:
        while self._running:
            # The tick task sets it at the latest.
            await self._wake.wait()
            self._wake.clear()
            await self._close_due()

    async def _tick(self) -> None:
        clock = self._surroundings.clock
        while self._running:
            await clock.sleep(self._turn.wait_s(clock.now_ns()))
            self._wake.set()

    async def _close_due(self) -> None:
        """Close and hand on what waits for nobody any more, a few windows at most."""
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        step_ns = self._settings.window_ns
        for _ in range(_CLOSED_A_TURN):
            start_ns = self._turn.due(clock.now_ns())
            if not self._running or start_ns is None:
                return
            async with self._disk:
                attendance = self._roster.close(start_ns)
                self._turn.closed(start_ns)
            closed = self._merge(start_ns, attendance)
            self._told.note(attendance)
            metrics.set("sentinel_collected_waiting_parts", self._roster.waiting_count)
            await self._hand_on(closed)
            if start_ns // step_ns % 60 == 0:
                await self._forget(start_ns)
        self._wake.set()

    def _merge(self, start_ns: int, attendance: Attendance) -> Closed[ClosedWindow]:
        attendance = replace(
            attendance, parts=tuple(self._unpacked(part) for part in attendance.parts)
        )
        self._told.note_versions(attendance.parts)
        replicas = attendance.expected_count
        return self._merging.merge(
            start_ns,
            attendance.parts,
            partly_told=attendance.partly_told,
            attended=None if not replicas else not attendance.silent,
        )

    def _unpacked(self, part: CollectedWindow) -> CollectedWindow:
        body = self._bodies.pop(part.identity, None)
        return part if body is None else decode(body)

    async def _hand_on(self, closed: Closed[ClosedWindow]) -> None:
        metrics, logger = self._surroundings.metrics, self._surroundings.logger
        self._report_counts(self._merging.take_counts())
        templates = self._merging.templates
        metrics.set("sentinel_log_templates", templates.count)
        if templates.refused_count:
            metrics.count("sentinel_log_templates_refused_total", templates.refused_count)
            templates.refused_count = 0
        metrics.set("sentinel_watermark_timestamp_seconds", closed.watermark_ns / 1e9)
        for fault in closed.faults:
            self._failed = f"{type(fault).__name__} while merging a window"
            logger.error("A window could not be merged", exc_info=fault)
        if not closed.windows:
            return
        for kind, count in closed.windows[-1].series_counts.items():
            metrics.set("sentinel_series", count, kind=kind.name.lower())
        try:
            await asyncio.wait_for(self._next_stage(closed), self._stage_timeout_s)
        except Exception as error:
            self._failed = f"{type(error).__name__} while deciding on a window"
            metrics.count("sentinel_windows_dropped_total", len(closed.windows), reason="failed")
            self._flow.error(FlowStage.SEND, reason_of(error))
            self._flow.dropped(reason_of(error), len(closed.windows))
            logger.exception("A merged window was dropped")
        else:
            self._failed = ""
            self._flow.sent(len(closed.windows), signal="windows")

    async def _forget(self, start_ns: int) -> None:
        before_ns = start_ns - round(self._config.keep * 1e9)
        async with self._disk:
            self._roster.forget_before(before_ns)
            await asyncio.to_thread(self._parts.forget_before, before_ns)
        self._surroundings.metrics.set("sentinel_collected_parts_bytes", self._parts.size_bytes)

    def amended(self, page: Page) -> Page:
        """A page about collectors, with who is silent; any other as it is."""
        return self._told.amended(page)

    def _tell_health(self) -> None:
        if self._tasks.failing:
            self._health.failing(f"Crashed and restarting: {', '.join(self._tasks.failing)}")
        elif self._failed or self._trouble:
            self._health.failing(self._failed or self._trouble)
        elif self._told.is_any_silent:
            self._health.degraded(self._told.sentence())
        else:
            self._health.ok(self._told.sentence())
