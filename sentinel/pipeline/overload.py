"""Overload: what is bounded is looked at a few times a second, and what may be given up is, in a fixed order.

Senders are told to come back (429 or 503 with Retry-After, UNAVAILABLE with RetryInfo), never that their data is wrong.
Pages are no rung: windows are closed, decided and delivered whatever is shed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sentinel.core.incidents.text import clock_time
from sentinel.core.model import Missing, Rung
from sentinel.pipeline.shedding_ladder import RUNGS, Ladder, LadderSettings, stepped
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.intake.inflight import LIMIT_BYTES
from sentinel.runtime.resident import group_limit_bytes, resident_bytes
from sentinel.runtime.settings import ByteSize, Duration, setting
from sentinel.runtime.tasks import TaskGroup

_GROUP_SHARE = 0.9
"""Of a container's limit: children that fit, and the kernel's own pages, count against it as well."""
_KNOWN_IN_PART = (
    "Amounts of calls told by spans, and of log lines, are not known for that time; shares of failed and of slow calls are"
    " those of the calls it took, and what metrics tell is whole."
)
_MISSING_LONG_S = 60.0
"""What is turned away once and given up is missing for half as long."""
_TELLS = {
    Rung.TRACES: "traces",
    Rung.LOGS: "logs",
    Rung.LABELS: "names not seen before",
    Rung.FITS: "fits",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadConfig:
    """When telemetry is given up, in the order traces, logs, new names, fits."""

    memory_max: ByteSize = setting(
        ByteSize(512 * 2**20),
        help="Resident memory at which everything that may be given up is; a container's limit counts where it is less.",
        restart=True,
    )
    high_ratio: float = setting(
        0.8,
        help="How full the queue, bytes in flight, memory or time may be before more is given up.",
        restart=True,
    )
    low_ratio: float = setting(
        0.5, help="How full they may be for less to be given up again.", restart=True
    )
    climb: Duration = setting(
        Duration(1.0), help="How long it must be too full for each next step.", restart=True
    )
    calm: Duration = setting(
        Duration(15.0), help="How long it must be calm for each step back.", restart=True
    )
    settle: Duration = setting(
        Duration(15.0),
        help="How long after traces or logs were shed their amounts are still taken for unknown: senders hold some back.",
        restart=True,
    )
    inflight_max: ByteSize = setting(
        ByteSize(LIMIT_BYTES),
        help="Most bytes taken in and not reduced yet, of all receivers and scrapers together.",
        restart=True,
    )
    delay_max: Duration = setting(
        Duration(2.0), help="How late the process may get to its work at most.", restart=True
    )
    look: Duration = setting(
        Duration(0.25), help="How often it is looked how full everything is.", restart=True
    )

    def __post_init__(self) -> None:
        for name in ("memory_max", "inflight_max", "delay_max", "look"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)
        if self.settle < 0:
            msg = "settle must not be below 0"
            raise ValueError(msg)
        self.ladder_settings()

    def ladder_settings(self) -> LadderSettings:
        """The same for the ladder; ValueError when it cannot work."""
        return LadderSettings(
            high_ratio=self.high_ratio,
            low_ratio=self.low_ratio,
            climb_s=self.climb,
            calm_s=self.calm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """What is given up at the moment.

    Attributes:
        rungs: in order; empty when nothing is.
        since_ns: since when something has been, without a break; 0 when nothing is.
        pressure: how full the fullest is, and what that is.
    """

    rungs: tuple[Rung, ...] = ()
    since_ns: int = 0
    pressure: tuple[str, float] = ("", 0.0)


class Overload:
    """Reads the pressure, moves on the ladder, and says what is shed."""

    def __init__(
        self,
        config: OverloadConfig,
        surroundings: Surroundings,
        *,
        pressures: Mapping[str, Callable[[], float]],
        changed: Callable[[tuple[Rung, ...], tuple[Rung, ...], int], None] | None = None,
        missing: Callable[[], Sequence[Missing]] = tuple,
        resident: Callable[[], int] = resident_bytes,
        group_limit: Callable[[], int] = group_limit_bytes,
    ) -> None:
        """Store what is needed.

        Args:
            config: see there.
            surroundings: clock, metrics, logger.
            pressures: what is looked at besides memory and time, by name; each gives how full it is.
            changed: called at each look with what is shed, what was shed within `settle`, and the time.
            missing: what was turned away at a bound and has not come again.
            resident: resident memory in bytes.
            group_limit: the memory a container may have, 0 for any.
        """
        self._config = config
        self._settings = config.ladder_settings()
        self._surroundings = surroundings
        self._pressures = pressures
        self._changed = changed
        self._missing = missing
        self._last_missing_ns = 0
        self._missing_since_s: float | None = None
        self._missing_long = ""
        self._resident = resident
        self._group_limit = group_limit
        self._limit_bytes = int(config.memory_max)
        self._ladder = Ladder()
        self._shed = Shed()
        self._last_shed_s: dict[Rung, float] = {}
        self._last_shed_ns = 0
        self._looked_s: float | None = None
        self._unread: frozenset[str] = frozenset()
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.overload"

    @property
    def shed(self) -> Shed:
        """What is given up at the moment."""
        return self._shed

    def sheds(self, rung: Rung) -> bool:
        """Whether this is given up now; asking costs nothing."""
        return rung in self._shed.rungs

    def note(self, start_ns: int) -> str:
        """What a page about a window that begins at `start_ns` must say of shedding; "" when nothing was shed since then."""
        shed = self._shed
        if shed.rungs:
            listed, since = _listed(shed.rungs), clock_time(shed.since_ns)
            return f"Sentinel is overloaded and has been shedding {listed} since {since}. {_KNOWN_IN_PART}"
        if self._last_shed_ns > start_ns:
            until = clock_time(self._last_shed_ns)
            return f"Sentinel was overloaded and shed telemetry until {until}. {_KNOWN_IN_PART}"
        if self._last_missing_ns > start_ns:
            until = clock_time(self._last_missing_ns)
            return f"Sentinel had no room for all that came until {until}. Amounts that are missing are not known."
        return ""

    async def start(self) -> None:
        """Look from now on."""
        limit = self._group_limit()
        if limit:
            self._limit_bytes = min(int(self._config.memory_max), int(limit * _GROUP_SHARE))
        self._surroundings.metrics.set("sentinel_memory_limit_bytes", self._limit_bytes)
        for rung in RUNGS:
            self._surroundings.metrics.set("sentinel_overload_rung", 0, rung=rung.value)
        self._health.ok("Nothing is shed")
        self._tasks.spawn("look", self._run)

    async def stop(self) -> None:
        """Shed nothing more; idempotent."""
        await self._tasks.close()
        self._ladder, self._shed = Ladder(), Shed()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _run(self) -> None:
        clock = self._surroundings.clock
        self._looked_s = None
        while True:
            before_s = clock.monotonic_s()
            # One turn of the event loop: what is ready to run before us is what everybody waits for.
            await asyncio.sleep(0)
            self.look(delay_s=clock.monotonic_s() - before_s)
            await clock.sleep(self._config.look)

    def look(self, *, delay_s: float = 0.0) -> None:
        """Read all pressures once and move on the ladder; `delay_s` is how late this process gets to its work."""
        clock = self._surroundings.clock
        now_s, now_ns = clock.monotonic_s(), clock.now_ns()
        passed_s = 0.0 if self._looked_s is None else max(0.0, now_s - self._looked_s)
        self._looked_s = now_s
        source, pressure = self._fullest(delay_s=delay_s)
        self._count(passed_s)
        before = self._shed
        self._ladder = stepped(
            self._ladder, pressure=pressure, now_s=now_s, settings=self._settings
        )
        rungs = self._ladder.rungs
        since_ns = (before.since_ns or now_ns) if rungs else 0
        self._shed = Shed(rungs=rungs, since_ns=since_ns, pressure=(source, pressure))
        for rung in rungs:
            self._last_shed_s[rung] = now_s
            self._last_shed_ns = now_ns
        self._note_missing(self._missing(), now_s=now_s, now_ns=now_ns)
        if rungs != before.rungs:
            self._tell(before.rungs)
        elif not rungs:
            self._judge_readings()
        if self._changed is not None:
            unsettled = tuple(
                rung
                for rung, at_s in self._last_shed_s.items()
                if now_s - at_s <= self._config.settle
            )
            self._changed(rungs, unsettled, now_ns)

    def _fullest(self, *, delay_s: float) -> tuple[str, float]:
        # One long wait, as of a machine that was suspended, is no overload: the next is short again.
        found = {"loop": min(delay_s / self._config.delay_max, 0.999)}
        unread = set()
        for name, read in {**self._pressures, "memory": self._memory_ratio}.items():
            try:
                found[name] = read()
            except Exception:
                # The others are looked at all the same: without any, nothing would be given up at all.
                unread.add(name)
                if name not in self._unread:
                    self._surroundings.logger.exception(
                        "What an overload is told by could not be read", extra={"source": name}
                    )
        self._unread = frozenset(unread)
        self._flow.received(len(found) + len(unread), signal="readings")
        self._flow.sent(len(found), signal="readings")
        self._flow.error(FlowStage.READ, FlowReason.FAULT, len(unread))
        self._flow.dropped(FlowReason.FAULT, len(unread))
        for name, ratio in found.items():
            self._surroundings.metrics.set("sentinel_overload_pressure_ratio", ratio, source=name)
        return max(found.items(), key=lambda item: item[1])

    def _memory_ratio(self) -> float:
        resident = self._resident()
        self._surroundings.metrics.set("sentinel_memory_resident_bytes", resident)
        return resident / self._limit_bytes

    def _note_missing(self, missing: Sequence[Missing], *, now_s: float, now_ns: int) -> None:
        if not missing:
            self._missing_since_s, self._missing_long = None, ""
            return
        self._last_missing_ns = now_ns
        if self._missing_since_s is None:
            self._missing_since_s = now_s
        elif now_s - self._missing_since_s > _MISSING_LONG_S:
            self._missing_long = " and ".join(sorted({one.signal for one in missing}))

    def _judge_readings(self) -> None:
        if self._unread:
            self._health.degraded(
                f"Nothing is shed, but {' and '.join(sorted(self._unread))} cannot be read"
            )
        elif self._missing_long:
            self._health.degraded(
                f"Nothing is shed, but of {self._missing_long} some is turned away at a bound and does not come again:"
                " amounts are not known meanwhile"
            )
        else:
            self._health.ok("Nothing is shed")

    def _count(self, passed_s: float) -> None:
        for rung in self._shed.rungs:
            self._surroundings.metrics.count(
                "sentinel_overload_shed_seconds_total", passed_s, rung=rung.value
            )

    def _tell(self, before: tuple[Rung, ...]) -> None:
        shed = self._shed
        for rung in RUNGS:
            self._surroundings.metrics.set(
                "sentinel_overload_rung", int(rung in shed.rungs), rung=rung.value
            )
        source, pressure = shed.pressure
        if not shed.rungs:
            self._judge_readings()
            self._surroundings.logger.info("The overload is over, nothing is shed any more")
            return
        self._health.degraded(
            f"Overloaded ({source} at {pressure:.0%}): {_listed(shed.rungs)} are shed; pages go on"
        )
        if len(shed.rungs) > len(before):
            self._surroundings.logger.warning(
                "Overloaded, and more is shed",
                extra={
                    "shed": _listed(shed.rungs),
                    "pressure_of": source,
                    "pressure": round(pressure, 2),
                },
            )


def _listed(rungs: tuple[Rung, ...]) -> str:
    """The rungs in words.

    >>> _listed((Rung.TRACES, Rung.LOGS, Rung.LABELS))
    'traces, logs and names not seen before'
    """
    words = [_TELLS[rung] for rung in rungs]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
