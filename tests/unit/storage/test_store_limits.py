"""What is kept how long and how much, whatever the clock says.

Method: stores with short ages and low ceilings, windows appended under a clock that the test moves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.errors import StoreError
from sentinel.ports import Tick
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.storage.memory import MemoryStore
from sentinel.storage.sqlite import SqliteStore, Store, StoreConfig
from tests.support.clock import ManualClock
from tests.support.store_blocks import BASE_NS, STEP_NS, block, keys, page
from tests.support.surroundings import make_surroundings

MINUTE_NS = 60_000_000_000
RETIRED = "sentinel_store_retired_chunks_total"


def opened(config: StoreConfig, surroundings: Surroundings) -> SqliteStore:
    store = SqliteStore(config, surroundings)
    store.open()
    return store


def starts(store: SqliteStore, step_ns: int) -> list[int]:
    return [
        one.start_ns + row * step_ns
        for one in store.windows(step_ns=step_ns, start_ns=0, end_ns=2**62)
        for row in range(one.window_count)
    ]


async def append(
    store: SqliteStore, clock: ManualClock, ids: list[int], first: int, count: int
) -> None:
    for at in range(first, first + count):
        clock._now_ns = BASE_NS + (at + 1) * STEP_NS
        store.append_tick(Tick(block=block(ids, at=at)))


async def test_each_resolution_has_its_own_age(tmp_path: Path) -> None:
    clock = ManualClock(BASE_NS)
    config = StoreConfig(
        directory=str(tmp_path),
        keep_finest=Duration(1800.0),
        keep_1m=Duration(3600.0),
        keep_5m=Duration(40 * 86400.0),
    )
    store = opened(config, make_surroundings(clock))
    ids = store.register(keys(2), now_ns=BASE_NS)
    await append(store, clock, ids, 0, 1800)
    end_ns = BASE_NS + 1800 * STEP_NS
    slack_ns = 48 * STEP_NS + 60 * STEP_NS + STEP_NS  # a chunk goes as a whole, a pass comes by
    assert end_ns - 1800 * 10**9 >= starts(store, STEP_NS)[0] >= end_ns - 1800 * 10**9 - slack_ns
    assert starts(store, MINUTE_NS)[0] > BASE_NS
    assert starts(store, 5 * MINUTE_NS)[0] == BASE_NS
    assert starts(store, STEP_NS)[-1] == end_ns - STEP_NS
    store.close()


async def test_a_clock_that_jumps_does_not_empty_the_store(tmp_path: Path) -> None:
    clock = ManualClock(BASE_NS)
    surroundings = make_surroundings(clock)
    store = opened(
        StoreConfig(directory=str(tmp_path), keep_finest=Duration(86400.0)), surroundings
    )
    ids = store.register(keys(2), now_ns=BASE_NS)
    await append(store, clock, ids, 0, 960)
    jump = 10 * 8640 + 60  # ten days ahead, clock and windows together
    await append(store, clock, ids, jump, 60)
    assert surroundings.metrics.value(RETIRED, step="10s") <= 2  # of 20
    await append(store, clock, ids, 960, 120)
    gone = surroundings.metrics.value(RETIRED, step="10s")
    assert gone <= 2
    assert len(starts(store, STEP_NS)) >= 960 + 60 + 120 - 2 * 48
    store.close()


async def test_only_the_clock_ahead_removes_nothing(tmp_path: Path) -> None:
    clock = ManualClock(BASE_NS)
    surroundings = make_surroundings(clock)
    store = opened(
        StoreConfig(directory=str(tmp_path), keep_finest=Duration(86400.0)), surroundings
    )
    ids = store.register(keys(2), now_ns=BASE_NS)
    for at in range(240):
        clock._now_ns = BASE_NS + at * STEP_NS + 10 * 365 * 86400 * 10**9
        store.append_tick(Tick(block=block(ids, at=at)))
    assert len(starts(store, STEP_NS)) == 240
    store.close()


async def test_the_ceiling_holds_and_pages_stay(tmp_path: Path) -> None:
    clock = ManualClock(BASE_NS)
    surroundings = make_surroundings(clock)
    ceiling = 2 << 20
    config = StoreConfig(
        directory=str(tmp_path), max_bytes=ByteSize(ceiling), reserve_bytes=ByteSize(64 << 10)
    )
    store = opened(config, surroundings)
    store.set_destinations(["am"])
    ids = store.register(keys(400), now_ns=BASE_NS)
    store.append_tick(Tick(block=block(ids), pages=(page("first"),)))
    largest = 0
    for at in range(1, 1500):
        clock._now_ns = BASE_NS + (at + 1) * STEP_NS
        store.append_tick(Tick(block=block(ids, at=at)))
        largest = max(largest, store.size_bytes())
    assert largest <= ceiling
    assert surroundings.metrics.value(RETIRED, step="10s") > 0
    assert surroundings.metrics.value(RETIRED, step="5m") == 0
    assert starts(store, 5 * MINUTE_NS)[0] == BASE_NS
    assert starts(store, STEP_NS)[-1] == BASE_NS + 1499 * STEP_NS
    assert [entry.page for entry in store.entries(destination="am")] == [page("first")]
    store.close()


def test_memory_is_bounded_too() -> None:
    store = MemoryStore(window_count_max=10)
    ids = store.register(keys(1), now_ns=1)
    for at in range(25):
        store.append_tick(Tick(block=block(ids, at=at)))
    kept = list(store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))
    assert [one.start_ns for one in kept] == [BASE_NS + 15 * STEP_NS]
    assert store.dropped_window_count == 15


def test_latency_histograms_are_merged_by_the_hour(tmp_path: Path) -> None:
    store = opened(StoreConfig(directory=str(tmp_path)), make_surroundings())
    ids = store.register(keys(6), now_ns=1)
    given = [block(ids, at=at, histograms=True) for at in range(350, 375)]
    for one in given:
        store.append_tick(Tick(block=one))
    store.close()
    store.open()
    for one in given[:3]:  # another process adds to an hour that is there
        store.append_tick(Tick(block=replace(one, start_ns=one.start_ns + 30 * STEP_NS)))
    store.close()
    store.open()
    expected: dict[tuple[int, int, int], int] = {}
    moved = [replace(one, start_ns=one.start_ns + 30 * STEP_NS) for one in given[:3]]
    for one in [*given, *moved]:
        found = one.histograms
        assert found is not None
        hour_ns = one.start_ns // 3_600_000_000_000 * 3_600_000_000_000
        for number, row in enumerate(found.row.tolist()):
            for at in range(found.offset[number], found.offset[number + 1]):
                cell = (hour_ns, int(one.series[row]), int(found.bucket[at]))
                expected[cell] = expected.get(cell, 0) + int(found.count[at])
    kept: dict[tuple[int, int, int], int] = {}
    for hour in store.histograms(start_ns=0, end_ns=2**62):
        counts = hour.histograms
        for number, row in enumerate(counts.row.tolist()):
            for at in range(counts.offset[number], counts.offset[number + 1]):
                cell = (hour.start_ns, int(hour.series[row]), int(counts.bucket[at]))
                kept[cell] = int(counts.count[at])
    assert kept == expected
    assert len({hour_ns for hour_ns, _, _ in kept}) == 2
    store.close()


def test_the_folder_is_private_and_a_closed_store_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "store"
    store = opened(StoreConfig(directory=str(directory)), make_surroundings())
    store.register(keys(1), now_ns=1)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}
    store.close()
    store.close()
    with pytest.raises(StoreError, match="not open"):
        store.series()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteStore(StoreConfig(directory=str(tmp_path / "file")), make_surroundings())
    with pytest.raises(StoreError, match="file"):
        store.open()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.storage.sqlite.connection._file_system", lambda _: "nfs4")
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
    with pytest.raises(StoreError, match="nfs4; it must be on a local disk"):
        store.open()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"directory": ""}, "directory"),
        ({"max_bytes": 1000}, "max_bytes"),
        ({"max_bytes": 8 << 20, "reserve_bytes": 5 << 20}, "reserve_bytes"),
        ({"reserve_bytes": -1}, "reserve_bytes"),
        ({"keep_1m": 0.0}, "keep_1m"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StoreConfig(**settings)  # type: ignore[arg-type]


async def test_the_component_starts_works_and_stops(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    store = Store(StoreConfig(directory=str(tmp_path)), surroundings)
    await store.stop()
    assert store.health().status is HealthStatus.FAILING
    with pytest.raises(StoreError, match="not started"):
        await store.run(store.sync.series)
    await store.start()
    await store.start()
    assert store.health().status is HealthStatus.OK
    ids = await store.run(store.sync.register, keys(2), now_ns=1)
    assert len(ids) == 2
    other = Store(StoreConfig(directory=str(tmp_path)), surroundings)
    with pytest.raises(StoreError, match="another process"):
        await other.start()
    await store.stop()
    await store.stop()
    assert store.health().status is HealthStatus.FAILING
    await other.start()
    assert len(await other.run(other.sync.series)) == 2
    await other.stop()
