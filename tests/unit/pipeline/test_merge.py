"""Goal: parts are on disk before they are acknowledged; a restart takes up where the last one stopped; bounds are told as what they are.

Method: a merge with a manual clock, parts made by a collecting reduction, a stage that keeps what it is handed, and a second merge on the same
folder as a scorer that was started again.
"""

from __future__ import annotations

import asyncio
import math
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from sentinel.core.model import NumberPoint, SeriesKey
from sentinel.core.series import Closed, ClosedWindow, SeriesSettings
from sentinel.core.series.collected import (
    COLLECTORS,
    CollectedWindow,
    Collecting,
    Merging,
    Taken,
    WireLimits,
    decode,
    encode,
)
from sentinel.errors import MalformedInputError, OverloadedError
from sentinel.pipeline.merge.config import MergeConfig
from sentinel.pipeline.merge.merge import LOCAL, Merge
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.storage.parts import PartFiles
from tests.support.batches import EDGE, START_NS, at, calls, number, numbers
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

TRAFFIC = SeriesKey(*EDGE, "traffic")
JOBS = SeriesKey("ledger", "metrics", "all", "jobs")
CONFIG = MergeConfig(wait=Duration(5.0), grace=Duration(30.0))


class Stage:
    """Keeps the windows it was handed."""

    def __init__(self) -> None:
        self.windows: list[ClosedWindow] = []

    async def take(self, closed: Closed[ClosedWindow]) -> None:
        """Keep what was merged."""
        self.windows += closed.windows

    def values(self, key: SeriesKey) -> list[float | None]:
        """The series' value of each window."""
        return [
            float(window.value[window.keys.index(key)]) if key in window.keys else None
            for window in self.windows
        ]


class Pod:
    """A collector whose parts are made by hand."""

    def __init__(self, name: str, *, incarnation: int = 1, ahead_s: int = 0) -> None:
        start_ns = at(ahead_s)
        self._collecting = Collecting(
            SeriesSettings(), collector=name, incarnation=incarnation, start_ns=start_ns
        )
        self.hello = encode(self._collecting.hello(start_ns)).body

    def window(self, of_number: int, *, call_count: int, jobs: NumberPoint | None = None) -> bytes:
        """The part of a window with some calls, and a reading of a counter."""
        end_s = 10.0 * of_number + 3
        self._collecting.add(calls([(EDGE, end_s, 0.1, False)] * call_count), at(end_s))
        if jobs is not None:
            self._collecting.add(numbers(jobs), at(end_s))
        *_, part = self._collecting.close(at(10.0 * (of_number + 1) + 5)).windows
        return encode(part).body


class Own:
    """The scorer's own ways in, of which there are none."""

    def hello(self, now_ns: int) -> CollectedWindow:
        """What is said at the start."""
        collecting = Collecting(
            SeriesSettings(), collector=LOCAL, incarnation=now_ns, start_ns=now_ns
        )
        return collecting.hello(now_ns)


@asynccontextmanager
async def merging(
    folder: Path, *, now_s: float, decided_s: float = 0.0, config: MergeConfig = CONFIG
) -> AsyncIterator[tuple[Merge, Stage, ManualClock]]:
    """A scorer that has decided all windows until then."""
    clock, stage = ManualClock(at(now_s)), Stage()
    reduction = Merging(SeriesSettings())
    reduction.begin_after(at(decided_s))
    merge = Merge(
        config,
        SeriesSettings(),
        reduction,
        PartFiles(folder, bytes_max=int(config.parts_max)),
        stage.take,
        make_surroundings(clock),
        own=Own(),
    )
    await merge.start()
    try:
        yield merge, stage, clock
    finally:
        await merge.stop()


async def until(clock: ManualClock, seconds: float) -> None:
    """Let time pass, and what is due be closed."""
    while clock.now_ns() < at(seconds):
        await clock.advance(1.0)
        await settled()


async def settled() -> None:
    """Let what is on its way, through threads too, arrive."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_window_is_the_sum_of_its_parts_and_is_closed_when_all_have_told(
    tmp_path: Path,
) -> None:
    one, two = Pod("a"), Pod("b")
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        for body in (one.hello, two.hello, one.window(0, call_count=20)):
            assert await merge.take(body) is Taken.FRESH
        await until(clock, 17)
        assert stage.windows == []
        assert await merge.take(two.window(0, call_count=30)) is Taken.FRESH
        await settled()
        assert stage.values(TRAFFIC) == [5.0]
        assert stage.values(COLLECTORS) == [1.0]


async def test_a_part_is_on_disk_before_it_is_acknowledged_and_counts_once(tmp_path: Path) -> None:
    pod = Pod("a")
    body = pod.window(0, call_count=20)
    async with merging(tmp_path, now_s=5) as (merge, stage, _):
        await merge.take(pod.hello)
        assert await merge.take(body) is Taken.FRESH
        assert stage.windows == []
    async with merging(tmp_path, now_s=20) as (merge, stage, clock):
        assert await merge.take(body) is Taken.AGAIN, "it was on the disk"
        await until(clock, 21)
        assert stage.values(TRAFFIC) == [2.0]


async def test_a_restart_decides_nothing_twice_and_counters_go_on(tmp_path: Path) -> None:
    pod = Pod("a")
    bodies = [
        pod.window(of_number, call_count=10, jobs=number(10.0 * of_number + 2, 100.0 * of_number))
        for of_number in range(4)
    ]
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        await merge.take(pod.hello)
        for body in bodies[:3]:
            await merge.take(body)
        await until(clock, 41)
        assert stage.values(TRAFFIC) == [1.0] * 3
        assert stage.values(JOBS) == [None, 10.0, 10.0]
    # Two of the three were stored as decided when it was killed.
    async with merging(tmp_path, now_s=40, decided_s=20) as (merge, stage, clock):
        await merge.take(bodies[3])
        await until(clock, 71)
        assert [window.start_ns for window in stage.windows[:2]] == [at(20), at(30)]
        assert stage.values(JOBS)[:2] == [10.0, 10.0], "the reading before the restart is known"


async def test_what_collectors_kept_while_the_scorer_was_away_is_waited_for(
    tmp_path: Path,
) -> None:
    one, two = Pod("a"), Pod("b")
    async with merging(tmp_path, now_s=5) as (merge, _, _):
        for body in (one.hello, two.hello):
            await merge.take(body)
    async with merging(tmp_path, now_s=100, decided_s=0.0) as (merge, stage, clock):
        for of_number in range(8):
            await merge.take(one.window(of_number, call_count=10))
        await until(clock, 120)
        assert stage.windows == [], "the other has its time to bring what it kept"
        for of_number in range(8):
            await merge.take(two.window(of_number, call_count=10))
        await until(clock, 121)
        assert stage.values(TRAFFIC)[:8] == [2.0] * 8


async def test_who_is_silent_makes_amounts_unknown_and_health_says_who(tmp_path: Path) -> None:
    one, two = Pod("a"), Pod("b")
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        for body in (
            one.hello,
            two.hello,
            one.window(0, call_count=9),
            two.window(0, call_count=9),
        ):
            await merge.take(body)
        await merge.take(one.window(1, call_count=9))
        await until(clock, 36)
        window = stage.windows[1]
        assert window.weight[window.keys.index(TRAFFIC)] == -4.0
        assert not window.heard[window.keys.index(COLLECTORS)]
        assert merge.health().sentence == "blind 1/2: b is not heard"


async def test_windows_of_another_width_and_no_parts_are_refused(tmp_path: Path) -> None:
    async with merging(tmp_path, now_s=5) as (merge, _, _):
        other = Collecting(
            SeriesSettings(window_ns=5 * 10**9), collector="a", incarnation=1, start_ns=START_NS
        )
        with pytest.raises(MalformedInputError, match="5 s wide, the scorer's 10 s"):
            await merge.take(encode(other.hello(START_NS)).body)
        with pytest.raises(MalformedInputError):
            await merge.take(b"no part at all, but long enough to be one")


async def test_a_full_disk_tells_collectors_to_come_back(tmp_path: Path) -> None:
    config = MergeConfig(parts_max=ByteSize(1 << 20))
    pod = Pod("a")
    async with merging(tmp_path, now_s=5, config=config) as (merge, _, _):
        await merge.take(pod.hello)
        merge._parts._bytes_max = 1000  # type: ignore[attr-defined]
        bodies = [pod.window(of_number, call_count=10) for of_number in range(9)]
        await merge.take(bodies[0])
        with pytest.raises(OverloadedError, match="room"):
            await asyncio.gather(*(merge.take(body) for body in bodies[1:]))
        assert "room" in merge.health().sentence


async def test_a_clock_that_steps_forward_and_back_closes_nothing(tmp_path: Path) -> None:
    pod = Pod("a")
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        await merge.take(pod.hello)
        await merge.take(pod.window(0, call_count=10))
        await until(clock, 36)
        closed = len(stage.windows)
        clock.step_wall(3600)
        await clock.advance(10.0)
        await settled()
        clock.step_wall(-3600)
        await clock.advance(1.0)
        await settled()
        assert len(stage.windows) <= closed + 1, "an hour of windows was not closed as silent"
        assert await merge.take(pod.window(5, call_count=10)) is Taken.FRESH


async def test_a_part_of_a_time_far_ahead_is_dropped_and_holds_nothing_up(tmp_path: Path) -> None:
    pod = Pod("a")
    async with merging(tmp_path, now_s=5) as (merge, _, _):
        await merge.take(pod.hello)
        ahead = Collecting(
            SeriesSettings(), collector="b", incarnation=1, start_ns=at(10_000)
        ).hello(at(10_000))
        assert await merge.take(encode(ahead).body) is Taken.AHEAD
        assert await merge.take(pod.window(0, call_count=10)) is Taken.FRESH


async def test_two_collectors_of_one_name_make_amounts_unknown_and_health_says_so(
    tmp_path: Path,
) -> None:
    elder, younger = Pod("a"), Pod("a", incarnation=2)
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        for body in (elder.hello, younger.hello):
            await merge.take(body)
        for of_number in range(6):
            await until(clock, 10 * of_number + 16)
            await merge.take(younger.window(of_number, call_count=10))
            await settled()
            await merge.take(elder.window(of_number, call_count=10))
        traffic = stage.values(TRAFFIC)
        assert str(traffic[3:]) == str([math.nan] * len(traffic[3:])), "half of it would be a fall"
        assert "several collectors have the name a" in merge.health().sentence


async def test_a_small_part_that_becomes_large_is_read_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with a token could hold the scorer up for seconds with each of its 24 KiB."""
    threads: list[bool] = []

    def noted(data: bytes, limits: WireLimits | None = None) -> CollectedWindow:
        part = decode(data, limits)
        threads.append(threading.current_thread() is threading.main_thread())
        return part

    document = orjson.loads(zlib.decompress(Pod("a").window(0, call_count=1)[12:]))
    document["nothing"] = "x" * 2_000_000
    packed = zlib.compress(orjson.dumps(document))
    body = b"SNCW\x01\x00\x00\x00" + zlib.crc32(packed).to_bytes(4, "little") + packed
    assert len(body) < 20_000
    async with merging(tmp_path, now_s=12) as (merge, _, _):
        monkeypatch.setattr("sentinel.pipeline.merge.reading.decode", noted)
        assert await merge.take(body) is Taken.FRESH
        assert await merge.take(Pod("b").window(0, call_count=1)) is Taken.FRESH
    assert threads == [False, True]


@pytest.mark.parametrize("ahead_s", [20, 290])
async def test_a_collector_whose_clock_is_ahead_does_not_shut_the_others_out(
    ahead_s: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its stamps took the five seconds away for which a window waits: all parts of all others came too late."""
    right, ahead = Pod("a"), Pod("b", ahead_s=ahead_s)
    async with merging(tmp_path, now_s=5) as (merge, stage, clock):
        for body in (right.hello, ahead.hello):
            await merge.take(body)
        for of_number in range(6):
            await until(clock, 10 * of_number + 15.5)
            assert await merge.take(right.window(of_number, call_count=10)) is Taken.FRESH
            await merge.take(ahead.window(of_number + ahead_s // 10, call_count=10))
            await settled()
        assert stage.values(TRAFFIC)[:2] == [1.0, 1.0]
        assert "a is not heard" not in merge.health().sentence
    told = [one for one in caplog.records if "clock of a collector is ahead" in one.message]
    assert [getattr(one, "collector", "") for one in told] == ["b"]
