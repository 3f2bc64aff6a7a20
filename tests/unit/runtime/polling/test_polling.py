"""Goal: targets are asked on time, each for itself, and what fails is counted, told once and shown.

Method: the component alone under a manual clock, with targets that a test holds, breaks and mends.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from sentinel.core.model import (
    NumberPoint,
    PointStream,
    RejectReason,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.errors import MalformedInputError, RefusedError, UnreachableError
from sentinel.ports import Admission
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.intake.owed import Owed
from sentinel.runtime.polling.component import Polled, Scraping, SlowReading
from sentinel.runtime.polling.reach import Reach, ReachStatus
from tests.support.clock import ManualClock
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings


def one_number(service: str, now_ns: int) -> SampleBatch:
    point = NumberPoint(
        stream=PointStream((service, "", "up", "")),
        scope=Scope(service, "queue", "all"),
        signal="up",
        temporality=Temporality.GAUGE,
        monotonic=False,
        start_ns=0,
        time_ns=now_ns,
        value=1.0,
    )
    return SampleBatch(numbers=(point,), services=frozenset({service}))


class HeldTarget:
    """Answers, fails or hangs as the test says."""

    def __init__(self, name: str, *, interval_s: float = 10.0) -> None:
        self.name = name
        self.interval_s = interval_s
        self.timeout_s = 0.05
        self.error: Exception | None = None
        self.hangs = False
        self.notes: tuple[str, ...] = ()
        self.rejected: dict[RejectReason, int] = {}
        self.polled_ns: list[int] = []
        self.closed_count = 0

    async def poll(self, now_ns: int) -> Polled:
        """As `Target`."""
        self.polled_ns.append(now_ns)
        if self.hangs:
            await asyncio.sleep(60)
        if self.error is not None:
            raise self.error
        batch = replace(one_number(self.name, now_ns), rejected=self.rejected)
        return Polled(batch=batch, size_bytes=64, notes=self.notes)

    async def reach(self) -> tuple[Reach, ...]:
        """As `Target`."""
        if self.hangs:
            await asyncio.sleep(60)
        if self.error is not None:
            raise self.error
        return (Reach(what=self.name, status=ReachStatus.OK, sentence="reached"),)

    async def close(self) -> None:
        """As `Target`."""
        self.closed_count += 1


def make(*targets: HeldTarget, sink: ListSink | None = None) -> tuple[Scraping, Surroundings]:
    surroundings = make_surroundings(ManualClock())
    downstream = Downstream(sink=sink or ListSink())
    return Scraping("scrapers.test", targets, downstream, surroundings), surroundings


async def advance(surroundings: Surroundings, seconds: float) -> None:
    assert isinstance(surroundings.clock, ManualClock)
    # What was just spawned gets to its first wait before time goes on.
    await surroundings.clock.advance(0)
    await surroundings.clock.advance(seconds)


def up(surroundings: Surroundings, target: str) -> float:
    return surroundings.metrics.value(
        "sentinel_scraper_up", scraper="scrapers.test", target=target
    )


async def test_each_target_is_asked_at_its_own_place_in_each_interval() -> None:
    first, second = HeldTarget("first"), HeldTarget("second", interval_s=30.0)
    sink = ListSink()
    scraping, surroundings = make(first, second, sink=sink)
    await scraping.start()
    await advance(surroundings, 90)
    await scraping.stop()
    # One at once, then one an interval.
    assert len(first.polled_ns) in (9, 10)
    assert len(second.polled_ns) in (3, 4)
    steps = {b - a for a, b in zip(first.polled_ns[1:], first.polled_ns[2:], strict=False)}
    assert steps == {10 * 10**9}
    assert len(sink.batches) == len(first.polled_ns) + len(second.polled_ns)
    assert (first.closed_count, second.closed_count) == (1, 1)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 7.3, -7.3])
async def test_a_clock_that_is_stepped_costs_no_poll_and_is_told_as_no_delay(
    step_s: float,
) -> None:
    """An hour ahead was counted as 360 polls that came late."""
    target = HeldTarget("stepped")
    scraping, surroundings = make(target)
    await scraping.start()
    await advance(surroundings, 30)
    assert isinstance(surroundings.clock, ManualClock)
    before = len(target.polled_ns)
    surroundings.clock.step_wall(step_s)
    await advance(surroundings, 60)
    await scraping.stop()
    # At its place of the new time from then on: one interval may be shorter, none is longer than two.
    assert 5 <= len(target.polled_ns) - before <= 7
    late = surroundings.metrics.value(
        "sentinel_scrape_late_total", scraper="scrapers.test", target="stepped"
    )
    assert late == 0


async def test_one_that_hangs_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    held, free = HeldTarget("held"), HeldTarget("free")
    held.hangs = True
    scraping, surroundings = make(held, free)
    await scraping.start()
    await asyncio.sleep(0.2)
    await advance(surroundings, 30)
    await asyncio.sleep(0.2)
    assert len(free.polled_ns) >= 3
    assert (up(surroundings, "held"), up(surroundings, "free")) == (0, 1)
    health = scraping.health()
    assert health.status is HealthStatus.DEGRADED
    assert "held: no answer within 0.05 s" in health.sentence
    counted = surroundings.metrics.value(
        "sentinel_scrapes_total", scraper="scrapers.test", target="held", result="timeout"
    )
    assert counted >= 1
    await scraping.stop()


async def test_a_failure_is_told_when_it_begins_and_ends_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = HeldTarget("one")
    target.error = UnreachableError("Connection refused at 127.0.0.1:1, password=hunter2")
    scraping, surroundings = make(target)
    with caplog.at_level(logging.INFO, logger="sentinel.tests"):
        await scraping.start()
        await advance(surroundings, 50)
        assert scraping.health().status is HealthStatus.FAILING
        assert "Connection refused" in scraping.health().sentence
        assert "hunter2" not in scraping.health().sentence
        target.error = None
        await advance(surroundings, 20)
    told = [record.message for record in caplog.records]
    assert told == ["A target cannot be read", "A target answers again"]
    assert "hunter2" not in caplog.text
    errors = surroundings.metrics.value(
        "sentinel_component_errors_total",
        component="scrapers.test",
        stage="read",
        reason="unreachable",
    )
    assert errors == len(target.polled_ns) - 2
    assert scraping.health().status is HealthStatus.OK
    await scraping.stop()


@pytest.mark.parametrize(
    ("error", "stage", "reason"),
    [
        (RefusedError("no", status=403, endpoint="here"), "read", "refused"),
        (MalformedInputError("line 3"), "decode", "malformed"),
        (ZeroDivisionError("ours"), "decode", "fault"),
    ],
)
async def test_each_end_has_its_stage_and_reason(
    error: Exception, stage: str, reason: str
) -> None:
    target = HeldTarget("one")
    target.error = error
    scraping, surroundings = make(target)
    await scraping.start()
    await advance(surroundings, 1)
    assert (
        surroundings.metrics.value(
            "sentinel_component_errors_total",
            component="scrapers.test",
            stage=stage,
            reason=reason,
        )
        == 1
    )
    await scraping.stop()


async def test_a_full_sink_loses_the_poll_and_counts_it() -> None:
    target = HeldTarget("one")
    sink = ListSink(Admission.RETRY_LATER)
    scraping, surroundings = make(target, sink=sink)
    await scraping.start()
    await advance(surroundings, 15)
    dropped = surroundings.metrics.value(
        "sentinel_component_dropped_total", component="scrapers.test", reason="queue_full"
    )
    assert dropped == 1
    assert len(sink.batches) == len(target.polled_ns) - 1
    await scraping.stop()


async def test_samples_that_were_not_kept_are_counted_under_their_own_reason() -> None:
    """Every one was counted as beyond a limit, whatever was wrong with it."""
    target = HeldTarget("one")
    target.rejected = {
        RejectReason.LIMIT: 5,
        RejectReason.NOT_FINITE: 3,
        RejectReason.NEGATIVE: 1,
        RejectReason.UNSUPPORTED: 2,
    }
    scraping, surroundings = make(target)
    await scraping.start()
    await advance(surroundings, 10)
    await scraping.stop()
    dropped = {
        reason: surroundings.metrics.value(
            "sentinel_component_dropped_total", component="scrapers.test", reason=reason
        )
        / len(target.polled_ns)
        for reason in ("limit", "malformed", "unsupported")
    }
    assert dropped == {"limit": 5, "malformed": 4, "unsupported": 2}


async def test_what_is_missing_is_shown_as_degraded_until_it_is_there() -> None:
    target = HeldTarget("one")
    target.notes = ("pg_stat_statements is not installed",)
    scraping, surroundings = make(target)
    await scraping.start()
    await advance(surroundings, 11)
    assert scraping.health().status is HealthStatus.DEGRADED
    assert "pg_stat_statements" in scraping.health().sentence
    target.notes = ()
    await advance(surroundings, 10)
    assert scraping.health().status is HealthStatus.OK
    await scraping.stop()


async def test_reach_asks_all_at_once_and_names_each_that_fails() -> None:
    good, held, broken = HeldTarget("good"), HeldTarget("held"), HeldTarget("broken")
    held.hangs = True
    broken.error = RuntimeError("ours")
    scraping, _ = make(good, held, broken)
    found = await scraping.reach()
    assert [one.status for one in found] == [
        ReachStatus.OK,
        ReachStatus.FAILING,
        ReachStatus.FAILING,
    ]
    assert [one.what for one in found[1:]] == ["scrapers.test held", "scrapers.test broken"]
    await scraping.stop()


def test_targets_have_different_names() -> None:
    with pytest.raises(ValueError, match="different names"):
        make(HeldTarget("one"), HeldTarget("one"))


def test_a_slow_reading_is_due_again_sooner_when_it_failed() -> None:
    reading = SlowReading(300.0)
    assert reading.is_due(0.0)
    reading.done(0.0)
    assert not reading.is_due(299.0)
    assert reading.is_due(300.0)
    reading.failed(300.0)
    assert not reading.is_due(329.0)
    assert reading.is_due(330.0)


async def test_a_target_is_asked_another_time_while_there_is_no_room_for_its_answer() -> None:
    surroundings, sink, inflight = make_surroundings(ManualClock()), ListSink(), Inflight(1000)
    target = HeldTarget("first")
    downstream = Downstream(sink=sink, inflight=inflight)
    scraping = Scraping("scrapers.test", [target], downstream, surroundings)
    await scraping.start()
    await advance(surroundings, 10)
    asked = len(target.polled_ns)
    assert asked == 2
    assert inflight.take(990)
    await advance(surroundings, 20)
    assert len(target.polled_ns) == asked
    labels = {"scraper": "scrapers.test", "target": "first"}
    over = surroundings.metrics.value("sentinel_scrapes_total", result="overloaded", **labels)
    errors = surroundings.metrics.value(
        "sentinel_component_errors_total",
        component="scrapers.test",
        stage="read",
        reason="overloaded",
    )
    assert (over, errors) == (2, 2)
    assert up(surroundings, "first") == 1, "that there is no room says nothing of the target"
    assert scraping.health().status is HealthStatus.OK
    inflight.give_back(990)
    assert all(batch.pulled for batch in sink.batches)
    target.error = RefusedError("no", status=403, endpoint="here")
    await advance(surroundings, 10)
    await scraping.stop()
    assert len(target.polled_ns) == asked + 1
    assert inflight.held_bytes == 0


async def test_what_a_page_would_have_told_is_missing_until_the_next_is_taken() -> None:
    """A page that the queue had no room for was dropped, and a sum over several targets fell by its part."""
    surroundings, sink = make_surroundings(clock := ManualClock()), ListSink()
    owed = Owed(clock, surroundings.metrics, hold_s=30)
    target = HeldTarget("first")
    downstream = Downstream(sink=sink, owed=owed, inflight=Inflight(1000))
    scraping = Scraping("scrapers.test", [target], downstream, surroundings)
    await scraping.start()
    await advance(surroundings, 0)
    sink.answers.append(Admission.RETRY_LATER)
    await advance(surroundings, 10)
    (missing,) = owed.missing()
    assert (missing.signal, missing.services) == ("metrics", frozenset({"first"}))
    await advance(surroundings, 10)
    assert owed.missing() == ()
    assert downstream.inflight.take(990)
    await advance(surroundings, 10)
    assert len(owed.missing()) == 1
    downstream.inflight.give_back(990)
    await advance(surroundings, 10)
    assert owed.missing() == ()
    await scraping.stop()
