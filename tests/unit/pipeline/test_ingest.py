"""Goal: every accepted batch ends in a window, silence closes windows too, and a full queue says so.

Method: the real aggregator behind the component, a manual clock, and a next stage the test holds open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from sentinel.core.model import CallColumns, CallRows, SampleBatch, Scope
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.normalise.call_table import CallTable
from sentinel.core.series import Aggregator, ClosedWindow, ClosedWindows
from sentinel.core.series.streams import Streams
from sentinel.pipeline.ingest import Ingest, IngestConfig
from sentinel.ports import Admission
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.settings import Duration
from tests.support.clock import ManualClock
from tests.support.otlp_messages import span, traces
from tests.support.surroundings import make_surroundings

S = 10**9
START_NS = 1_790_000_000 * S
SCOPE = Scope("api", "edge", "GET /x")


class Stage:
    """The next stage: keeps windows, waits or fails when told to."""

    def __init__(self) -> None:
        self.windows: list[ClosedWindow] = []
        self.open = asyncio.Event()
        self.open.set()
        self.faults = 0

    async def take(self, closed: ClosedWindows) -> None:
        """As `WindowStage`."""
        await self.open.wait()
        if self.faults:
            self.faults -= 1
            msg = "cannot decide"
            raise RuntimeError(msg)
        self.windows += closed.windows

    def traffic(self) -> list[float]:
        """Calls a second of each window, in order."""
        found = []
        for window in self.windows:
            for key, value in zip(window.keys, window.value.tolist(), strict=True):
                if key == (*SCOPE, "traffic"):
                    found.append(value)
        return found


def calls_at(time_ns: int, count: int) -> SampleBatch:
    return SampleBatch(
        calls=CallColumns(
            scopes=(SCOPE,),
            scope_index=np.zeros(count, np.int32),
            end_ns=np.full(count, time_ns, np.int64),
            duration_s=np.full(count, 0.01),
            error=np.zeros(count, np.bool_),
        ),
        services=frozenset({"api"}),
    )


@asynccontextmanager
async def running(
    stage: Stage,
    config: IngestConfig | None = None,
    *,
    start_ns: int | None = START_NS,
    inflight: Inflight | None = None,
) -> AsyncIterator[tuple[Ingest[ClosedWindow], ManualClock, Surroundings]]:
    clock = ManualClock(START_NS)
    surroundings = make_surroundings(clock)
    config = config or IngestConfig()
    aggregator = Aggregator(config.series_settings(), start_ns=start_ns)
    ingest = Ingest(config, aggregator, stage.take, surroundings, inflight=inflight)
    await ingest.start()
    try:
        yield ingest, clock, surroundings
    finally:
        stage.open.set()
        await ingest.stop()


async def test_batches_become_windows_and_silence_closes_them() -> None:
    stage = Stage()
    async with running(stage) as (ingest, clock, surroundings):
        for _ in range(10):
            batch = calls_at(clock.now_ns(), 20)
            assert ingest.accept(batch, size_bytes=100) is Admission.ACCEPTED
            await clock.advance(1)
        assert stage.traffic() == []
        # Nothing comes any more; the clock alone closes the window, and then one nobody told us about.
        await clock.advance(16)
        assert stage.traffic() == [20.0, pytest.approx(np.nan, nan_ok=True)]
        assert ingest.watermark_ns >= START_NS + 20 * 10**9
        assert surroundings.metrics.value("sentinel_ingest_batches_total") == 10
        assert surroundings.metrics.value("sentinel_series", kind="traffic") == 1


async def test_the_window_that_runs_at_the_start_is_not_told_as_what_cannot_be_used() -> None:
    """Every start counted hundreds of good samples as `malformed`, and its runbook sent people to mend their sources."""
    async with running(Stage(), start_ns=None) as (ingest, clock, surroundings):
        ingest.accept(calls_at(START_NS - 3 * S, 7), size_bytes=1)
        await clock.advance(15)
        total, component = "sentinel_component_dropped_total", "pipeline.ingest"
        value = surroundings.metrics.value
        assert value("sentinel_samples_dropped_total", signal="traces", reason="before_start") == 7
        assert value(total, component=component, reason="before_start") == 7
        assert value(total, component=component, reason="malformed") == 0


async def test_a_slow_stage_does_not_stop_accepting_until_the_bound() -> None:
    stage = Stage()
    config = IngestConfig(queue_count_max=10)
    async with running(stage, config) as (ingest, clock, surroundings):
        ingest.accept(calls_at(START_NS, 1), size_bytes=1)
        stage.open.clear()
        await clock.advance(15)
        held_ns = clock.now_ns()
        answers = [ingest.accept(calls_at(held_ns, 10), size_bytes=1) for _ in range(12)]
        assert answers == [Admission.ACCEPTED] * 10 + [Admission.RETRY_LATER] * 2
        assert ingest.health().status is HealthStatus.DEGRADED
        assert surroundings.metrics.value("sentinel_ingest_refused_batches_total") == 2
        stage.open.set()
        await clock.advance(10)
        # What was accepted while the stage was held is all there.
        assert stage.traffic() == [pytest.approx(0.1), 10.0]
        assert ingest.health().status is HealthStatus.OK


async def test_what_is_queued_is_held_until_it_is_reduced() -> None:
    """A queue that was emptied at once had room again while all of it was still being worked on."""
    stage, inflight = Stage(), Inflight(1000)
    config = IngestConfig(queue_count_max=3)
    async with running(stage, config, inflight=inflight) as (ingest, clock, _):
        ingest.accept(calls_at(START_NS, 1), size_bytes=7)
        assert inflight.held_bytes == 7
        stage.open.clear()
        await clock.advance(15)
        assert inflight.held_bytes == 0
        answers = [ingest.accept(calls_at(clock.now_ns(), 1), size_bytes=100) for _ in range(4)]
        assert answers[-1] is Admission.RETRY_LATER
        assert inflight.held_bytes == 300
        stage.open.set()
        await clock.advance(10)
        assert inflight.held_bytes == 0


async def test_what_comes_while_a_round_passes_the_end_of_a_window_is_still_of_it() -> None:
    """The round asked the clock once it had reduced all it had taken; what was accepted meanwhile was late, and lost."""
    stage = Stage()
    async with running(stage) as (ingest, clock, surroundings):
        await clock.advance(14.9)
        for _ in range(100):
            ingest.accept(calls_at(START_NS, 1), size_bytes=1)
        for _ in range(3):
            await asyncio.sleep(0)
        value = surroundings.metrics.value
        assert value("sentinel_ingest_batches_total") == 0, "the round is under way"
        clock.step_wall(0.2)
        assert ingest.accept(calls_at(START_NS, 50), size_bytes=1) is Admission.ACCEPTED
        await clock.advance(1)
        assert value("sentinel_samples_late_total", signal="traces") == 0
        assert stage.traffic() == [15.0]


async def test_windows_the_stage_fails_on_are_counted_and_the_next_ones_go_on() -> None:
    stage = Stage()
    stage.faults = 1
    async with running(stage) as (ingest, clock, surroundings):
        ingest.accept(calls_at(START_NS, 10), size_bytes=1)
        await clock.advance(15)
        assert surroundings.metrics.value("sentinel_windows_dropped_total", reason="failed") == 1
        assert ingest.health().status is HealthStatus.FAILING
        ingest.accept(calls_at(clock.now_ns(), 30), size_bytes=1)
        await clock.advance(10)
        assert stage.traffic() == [3.0]
        assert ingest.health().status is HealthStatus.OK


async def test_a_batch_that_breaks_the_reduction_takes_no_other_with_it() -> None:
    stage = Stage()
    async with running(stage) as (ingest, clock, surroundings):
        good = calls_at(START_NS, 10)
        assert good.calls is not None
        broken = SampleBatch(
            calls=CallColumns(
                scopes=(SCOPE,),
                scope_index=np.array([7], np.int32),  # outside of `scopes`
                end_ns=np.array([START_NS]),
                duration_s=np.array([0.1]),
                error=np.array([False]),
            )
        )
        for batch in (good, broken, good):
            ingest.accept(batch, size_bytes=1)
        await clock.advance(15)
        assert surroundings.metrics.value("sentinel_ingest_faulty_batches_total") == 1
        assert stage.traffic() == [2.0]


def rows_at(*numbers: int, decoder: OtlpDecoder) -> SampleBatch:
    """A request of spans as rows, as the receivers hand them on."""
    spans = [
        span(number=number, end_ns=START_NS + S, http__request__method="GET", http__route="/x")
        for number in numbers
    ]
    body = traces(*spans, service="api").SerializeToString()
    return decoder.decode("traces", "application/x-protobuf", body, now_ns=START_NS + S)


async def test_small_requests_are_reduced_together_and_a_repeat_among_them_counts_once() -> None:
    stage, decoder = Stage(), OtlpDecoder()
    async with running(stage) as (ingest, clock, surroundings):
        for numbers in ((1, 2, 3), (4, 5), (1, 2, 3), (6, 7, 8, 9, 10)):
            ingest.accept(rows_at(*numbers, decoder=decoder), size_bytes=1)
        await clock.advance(15)
        value = surroundings.metrics.value
        assert stage.traffic() == [1.0]
        assert value("sentinel_ingest_batches_total") == 4
        assert value("sentinel_duplicate_batches_total") == 1
        assert (
            value(
                "sentinel_component_received_total",
                component="pipeline.ingest",
                signal="traces",
            )
            == 13
        )


async def test_the_first_batch_is_reduced_at_once_and_those_right_after_it_in_one_round() -> None:
    """Each request had a round of its own, which at 200 a second cost more than what was in them."""
    stage, decoder = Stage(), OtlpDecoder()
    async with running(stage) as (ingest, clock, surroundings):
        count = "sentinel_ingest_batches_total"
        await clock.advance(0.5)
        ingest.accept(rows_at(1, decoder=decoder), size_bytes=1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert surroundings.metrics.value(count) == 1
        rounds = surroundings.metrics.registry.get_sample_value
        for number in range(2, 12):
            ingest.accept(rows_at(number, decoder=decoder), size_bytes=1)
            await asyncio.sleep(0)
        await clock.advance(1)
        assert surroundings.metrics.value(count) == 11
        assert rounds("sentinel_ingest_reduce_seconds_count") == 2


async def test_many_that_wait_are_not_gathered_any_longer() -> None:
    stage, decoder = Stage(), OtlpDecoder()
    async with running(stage, IngestConfig(queue_count_max=20)) as (ingest, clock, _):
        await clock.advance(0.5)
        for number in range(1, 101):
            answer = ingest.accept(rows_at(number, decoder=decoder), size_bytes=1)
            assert answer is Admission.ACCEPTED
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await clock.advance(15)
        assert stage.traffic() == [10.0]


async def test_large_ones_that_wait_are_not_gathered_any_longer() -> None:
    """They are in flight until they are reduced, and what is in flight turns senders away."""
    stage, decoder = Stage(), OtlpDecoder()
    async with running(stage) as (ingest, clock, surroundings):
        await clock.advance(0.5)
        reduced = []
        for number in range(1, 6):
            ingest.accept(rows_at(number, decoder=decoder), size_bytes=2**19)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            reduced.append(surroundings.metrics.value("sentinel_ingest_batches_total"))
        assert reduced == [1, 1, 1, 4, 4]


async def test_rows_that_cannot_be_joined_take_no_other_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, decoder = Stage(), OtlpDecoder()
    columns = CallTable.columns

    def faulty(self: CallTable, parts: Sequence[CallRows], *, now_ns: int) -> CallColumns:
        if any(len(part) == 3 for part in parts):
            msg = "a fault of ours"
            raise RuntimeError(msg)
        return columns(self, parts, now_ns=now_ns)

    monkeypatch.setattr(CallTable, "columns", faulty)
    async with running(stage) as (ingest, clock, surroundings):
        for numbers in ((1, 2, 3, 4), (5, 6, 7), (8, 9, 10, 11, 12, 13)):
            ingest.accept(rows_at(*numbers, decoder=decoder), size_bytes=1)
        await clock.advance(15)
        assert stage.traffic() == [1.0]
        assert surroundings.metrics.value("sentinel_ingest_faulty_batches_total") == 1
        assert surroundings.metrics.value("sentinel_duplicate_batches_total") == 0


async def test_a_clock_that_was_ahead_and_was_put_back_costs_a_minute() -> None:
    """All that came was late until time had caught up, an hour later; first nothing told why, then nothing mended it."""
    stage = Stage()
    async with running(stage) as (ingest, clock, surroundings):
        clock.step_wall(3600)
        await clock.advance(60)
        assert ingest.health().status is HealthStatus.OK
        # Heard by the wrong clock; its silence later must not look like traffic that has stopped.
        ingest.accept(calls_at(clock.now_ns(), 5), size_bytes=1)
        await clock.advance(20)
        closed = len(stage.windows)
        clock.step_wall(-3600)
        assert ingest.accept(calls_at(clock.now_ns(), 7), size_bytes=1) is Admission.ACCEPTED
        await clock.advance(30)
        health = ingest.health()
        assert health.status is HealthStatus.FAILING
        assert health.sentence.startswith("The clock went back by 3565 s")
        assert surroundings.metrics.value("sentinel_samples_late_total", signal="traces") == 7
        assert len(stage.windows) == closed
        await clock.advance(60)
        assert ingest.health().status is HealthStatus.OK
        assert surroundings.metrics.value("sentinel_clock_set_back_total") == 1
        after = stage.windows[closed:]
        assert [window.start_ns for window in after[:2]] == [
            START_NS + 140 * S,
            START_NS + 150 * S,
        ]
        assert not any(window.heard.any() for window in after)
        ingest.accept(calls_at(clock.now_ns(), 30), size_bytes=1)
        await clock.advance(20)
        assert stage.traffic()[-2:] == [0.0, 3.0]


async def test_stopping_reduces_what_is_queued_and_leaves_open_windows_out() -> None:
    stage = Stage()
    async with running(stage) as (ingest, clock, _):
        ingest.accept(calls_at(START_NS, 10), size_bytes=1)
        await clock.advance(14)
        # A sender whose clock is ahead closes the first window; the second stays open.
        ingest.accept(calls_at(START_NS + 15 * 10**9, 10), size_bytes=1)
        await ingest.stop()
        assert stage.traffic() == [1.0]
        assert ingest.accept(calls_at(START_NS, 1), size_bytes=1) is Admission.RETRY_LATER
        await ingest.stop()


async def test_stop_without_start_does_nothing() -> None:
    stage = Stage()
    config = IngestConfig()
    ingest = Ingest(config, Aggregator(config.series_settings()), stage.take, make_surroundings())
    await ingest.stop()
    assert stage.windows == []


@pytest.mark.parametrize(
    ("field", "value"), [("window", 7.0), ("tick", 0.0), ("queue_count_max", 0), ("tick", 11.0)]
)
def test_config_refuses_what_cannot_work(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"must|hour"):
        IngestConfig(**{field: value})  # type: ignore[arg-type]


async def test_a_fault_in_reducing_costs_its_window_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ended every round with an exception: nothing was handed on, and nothing counted."""
    stage = Stage()
    async with running(stage) as (ingest, clock, surroundings):
        ingest.accept(calls_at(START_NS + S, 10), size_bytes=100)
        await clock.advance(9.0)
        with monkeypatch.context() as faulty:
            faulty.setattr(Streams, "increases", _no_increases)
            await clock.advance(7.0)
        assert not stage.windows
        assert surroundings.metrics.value("sentinel_windows_dropped_total", reason="faulty") == 1
        health = ingest.health()
        assert health.status is HealthStatus.FAILING
        assert health.sentence == "RuntimeError while reducing a window"
        ingest.accept(calls_at(START_NS + 11 * S, 20), size_bytes=100)
        await clock.advance(10.0)
        assert stage.traffic() == [2.0]
        assert ingest.health().status is HealthStatus.OK


def _no_increases(*_: object) -> None:
    msg = "a fault of ours"
    raise RuntimeError(msg)


async def test_a_window_is_looked_at_when_it_falls_due_and_not_only_at_a_tick() -> None:
    stage = Stage()
    async with running(stage, IngestConfig(tick=Duration(10.0))) as (ingest, clock, _):
        ingest.accept(calls_at(clock.now_ns(), 20), size_bytes=1)
        # The first window ends after 10 s and is waited for 5 s more.
        await clock.advance(14.9)
        assert stage.traffic() == []
        await clock.advance(0.2)
        assert stage.traffic() == [2.0]
