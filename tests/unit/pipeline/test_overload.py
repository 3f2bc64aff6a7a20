"""Goal: pressure leads to shedding in order, and what is shed is told in metrics, health and on pages."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sentinel.core.model import Missing, Rung
from sentinel.pipeline.overload import Overload, OverloadConfig
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.settings import ByteSize, Duration
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

MIB = 2**20
RUNG_WORDS = ("traces", "logs", "names not seen before", "fits")
NOON_NS = 1_790_000_000 * 10**9


@dataclass
class Scene:
    """An overload whose pressures a test sets."""

    config: OverloadConfig = field(
        default_factory=lambda: OverloadConfig(memory_max=ByteSize(100 * MIB))
    )
    group_limit_bytes: int = 0
    queue: float = 0.0
    resident_bytes: int = 50 * MIB
    heard: list[tuple[tuple[Rung, ...], tuple[Rung, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.surroundings = make_surroundings(self.clock)
        self.metrics = self.surroundings.metrics
        self.overload = Overload(
            self.config,
            self.surroundings,
            pressures={"queue": lambda: self.queue},
            changed=lambda rungs, unsettled, _now_ns: self.heard.append((rungs, unsettled)),
            resident=lambda: self.resident_bytes,
            group_limit=lambda: self.group_limit_bytes,
        )

    async def started(self) -> None:
        """Begin to look; the first look is over when this returns."""
        await self.overload.start()
        await self.clock.advance(0.0)


def shed_by(scene: Scene) -> list[Rung]:
    """What is given up now."""
    return list(scene.overload.shed.rungs)


def unsettled(scene: Scene) -> list[Rung]:
    """What was given up a moment ago, with nothing given up now."""
    now, lately = scene.heard[-1]
    assert not now
    return list(lately)


async def test_a_full_queue_sheds_traces_first_and_all_of_it_shows() -> None:
    scene = Scene()
    overload = scene.overload
    await scene.started()
    try:
        await scene.clock.advance(1.0)
        assert overload.health().status is HealthStatus.OK
        assert not any(overload.sheds(rung) for rung in Rung)
        scene.queue = 0.9
        await scene.clock.advance(1.3)
        assert overload.sheds(Rung.TRACES)
        assert not overload.sheds(Rung.LOGS)
        assert scene.metrics.value("sentinel_overload_rung", rung="traces") == 1
        assert scene.metrics.value("sentinel_overload_rung", rung="logs") == 0
        assert scene.metrics.value("sentinel_overload_pressure_ratio", source="queue") == 0.9
        health = overload.health()
        assert health.status is HealthStatus.DEGRADED
        assert "queue at 90%" in health.sentence
        assert "traces are shed" in health.sentence
        await scene.clock.advance(1.0)
        assert overload.sheds(Rung.LOGS)
        assert shed_by(scene) == [Rung.TRACES, Rung.LOGS]
        assert overload.shed.pressure == ("queue", 0.9)
        assert scene.metrics.value("sentinel_overload_shed_seconds_total", rung="traces") >= 0.75
    finally:
        await overload.stop()
    assert not overload.sheds(Rung.TRACES)


async def test_what_is_over_is_taken_for_unknown_until_senders_have_caught_up() -> None:
    scene = Scene()
    await scene.started()
    try:
        scene.queue = 0.9
        await scene.clock.advance(1.5)
        scene.queue = 0.0
        await scene.clock.advance(15.5)
        assert shed_by(scene) == []
        assert scene.overload.health().status is HealthStatus.OK
        assert unsettled(scene) == [Rung.TRACES]
        await scene.clock.advance(15.5)
        assert unsettled(scene) == []
    finally:
        await scene.overload.stop()


async def test_a_pressure_that_cannot_be_read_hides_no_other() -> None:
    """One that raised ended the look: nothing was given up any more, whatever the queue was like."""
    scene = Scene()

    def unreadable() -> int:
        msg = "no such file"
        raise OSError(msg)

    scene.overload._resident = unreadable
    await scene.started()
    try:
        assert scene.overload.health().status is HealthStatus.DEGRADED
        assert "memory cannot be read" in scene.overload.health().sentence
        scene.queue = 0.9
        await scene.clock.advance(1.3)
        assert shed_by(scene) == [Rung.TRACES]
    finally:
        await scene.overload.stop()
    own = {"component": "pipeline.overload"}
    looks = scene.metrics.value("sentinel_component_dropped_total", **own, reason="fault")
    assert looks > 0
    received = scene.metrics.value("sentinel_component_received_total", **own, signal="readings")
    sent = scene.metrics.value("sentinel_component_sent_total", **own, signal="readings")
    assert (received, sent) == (3 * looks, 2 * looks)


async def test_memory_at_its_limit_sheds_everything_that_may_be_within_a_second() -> None:
    scene = Scene()
    await scene.started()
    try:
        scene.resident_bytes = 101 * MIB
        await scene.clock.advance(1.0)
        assert all(scene.overload.sheds(rung) for rung in Rung)
        assert scene.metrics.value("sentinel_memory_resident_bytes") == 101 * MIB
    finally:
        await scene.overload.stop()


@pytest.mark.parametrize(("group", "limit"), [(0, 100), (1000, 100), (80, 72)])
async def test_a_containers_limit_counts_where_it_is_less(group: int, limit: int) -> None:
    scene = Scene(group_limit_bytes=group * MIB)
    await scene.overload.start()
    await scene.overload.stop()
    assert scene.metrics.value("sentinel_memory_limit_bytes") == limit * MIB


async def test_pages_say_what_was_shed_in_their_time_and_others_do_not() -> None:
    scene = Scene()
    overload = scene.overload
    await scene.started()
    try:
        assert overload.note(NOON_NS) == ""
        scene.queue = 0.9
        await scene.clock.advance(2.5)
        during_ns = scene.clock.now_ns()
        note = overload.note(during_ns)
        assert "shedding traces and logs since 2026-09-21" in note
        assert "not known" in note
        scene.queue = 0.0
        await scene.clock.advance(60.0)
        assert "shed telemetry until" in overload.note(during_ns)
        assert overload.note(scene.clock.now_ns()) == ""
    finally:
        await overload.stop()


@pytest.mark.parametrize(("rung", "word"), list(zip(Rung, RUNG_WORDS, strict=True)))
async def test_each_rung_is_a_metric_and_is_named_on_pages_and_in_health(
    rung: Rung, word: str
) -> None:
    scene, height = Scene(), list(Rung).index(rung) + 1
    await scene.started()
    try:
        for other in Rung:
            assert scene.metrics.value("sentinel_overload_rung", rung=other.value) == 0
        scene.queue = 0.9
        while len(shed_by(scene)) < height:
            assert word not in scene.overload.note(NOON_NS)
            await scene.clock.advance(0.25)
        scene.queue = 0.6
        for number, other in enumerate(Rung):
            value = scene.metrics.value("sentinel_overload_rung", rung=other.value)
            assert value == (number < height)
        assert word in scene.overload.note(NOON_NS).partition(" since ")[0]
        assert f"{word} are shed" in scene.overload.health().sentence
        await scene.clock.advance(1.0)
        seconds = scene.metrics.value("sentinel_overload_shed_seconds_total", rung=rung.value)
        assert seconds >= 0.75
    finally:
        await scene.overload.stop()


async def test_pages_say_what_there_was_no_room_for() -> None:
    scene = Scene()
    missing: list[Missing] = []
    scene.overload._missing = lambda: missing
    await scene.started()
    try:
        during_ns = scene.clock.now_ns()
        missing = [Missing(signal="traces", since_ns=during_ns)]
        await scene.clock.advance(1.0)
        assert "had no room" in scene.overload.note(during_ns)
        missing = []
        await scene.clock.advance(60.0)
        assert scene.overload.note(scene.clock.now_ns() - 10**9) == ""
        assert shed_by(scene) == []
    finally:
        await scene.overload.stop()


async def test_what_is_turned_away_for_long_and_does_not_come_again_shows_in_health() -> None:
    """A sender whose requests never found room made every window unknown, with all healthy: a fall was seen by nobody."""
    scene = Scene()
    missing = [
        Missing(signal="traces", since_ns=NOON_NS),
        Missing(signal="logs", since_ns=NOON_NS),
    ]
    scene.overload._missing = lambda: missing
    await scene.started()
    try:
        await scene.clock.advance(30.0)
        assert scene.overload.health().status is HealthStatus.OK, "one that was given up"
        await scene.clock.advance(60.0)
        health = scene.overload.health()
        assert health.status is HealthStatus.DEGRADED
        assert "logs and traces" in health.sentence
        assert "not known" in health.sentence
        assert shed_by(scene) == []
        missing = []
        await scene.clock.advance(1.0)
        assert scene.overload.health().status is HealthStatus.OK
        missing = [Missing(signal="logs", since_ns=NOON_NS)]
        await scene.clock.advance(30.0)
        assert scene.overload.health().status is HealthStatus.OK, "another time"
    finally:
        await scene.overload.stop()


async def test_a_process_that_gets_to_its_work_late_is_overloaded_but_never_at_once() -> None:
    """One long turn, as of a machine that was suspended for an hour, took all rungs at once: it counted as over the bound."""
    scene = Scene()
    scene.overload.look(delay_s=3600.0)
    assert shed_by(scene) == []
    await scene.clock.advance(0.5)
    scene.overload.look(delay_s=0.0)
    assert shed_by(scene) == []
    for _ in range(6):
        scene.overload.look(delay_s=1.8)
        await scene.clock.advance(0.25)
    assert shed_by(scene) == [Rung.TRACES]
    assert scene.overload.shed.pressure[0] == "loop"


@pytest.mark.parametrize(
    "changed",
    [
        {"memory_max": ByteSize(0)},
        {"look": Duration(0.0)},
        {"settle": Duration(-1.0)},
        {"low_ratio": 0.9},
        {"delay_max": Duration(0.0)},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        OverloadConfig(**changed)  # type: ignore[arg-type]
