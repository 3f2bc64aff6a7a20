"""Goal: a bad release and a leak are what their control files say, and nothing else. Method: files, with and without sense, and what is read of them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate import leak as leaks
from sentinel.reference.ledger.operate.away import (
    come_back,
    keep_away,
    until_it_may_come_back,
)
from sentinel.reference.ledger.operate.faults import FaultConfig, run_fault
from sentinel.reference.ledger.operate.leak import (
    BOUND_BYTES_MAX,
    Leak,
    leak_file,
    leaking,
    lift_leak,
    missing_bytes,
    read_leak,
    write_leak,
)
from sentinel.reference.ledger.operate.release import (
    Release,
    fail_a_share,
    read_release,
    release_file,
    write_release,
)
from sentinel.reference.ledger.operate.state import RunState, write_state
from sentinel.reference.ledger.operate.up.processes import released_as
from sentinel.reference.ledger.operate.up.run import Run
from sentinel.reference.ledger.telemetry import release_version, start_telemetry
from sentinel.reference.ledger.telemetry.process import memory_bytes, observe_memory


def in_a_minute() -> int:
    return time.time_ns() + 60_000_000_000


def release(**changed: object) -> Release:
    told = {"version": "2-bad", "error_ratio": 1.0, "delay_s": 0.0, "until_ns": in_a_minute()}
    return Release(**{**told, **changed})  # type: ignore[arg-type]  # each has its own type


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"version": "2", "error_ratio": 2, "delay_s": 0, "until_ns": in_a_minute()}),
        json.dumps({"version": "2", "error_ratio": 1, "delay_s": 0, "until_ns": 1}),
    ],
    ids=["empty", "a list", "no members", "a share over 1", "over"],
)
def test_a_release_that_is_over_or_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "release"
    assert read_release(file) is None
    file.write_text(text)
    assert read_release(file) is None
    asyncio.run(fail_a_share(file))


def test_a_release_fails_its_share_and_is_slow(tmp_path: Path) -> None:
    file = tmp_path / "release"
    write_release(file, release())
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnavailableError, match="2-bad"):
        asyncio.run(fail_a_share(file))
    write_release(file, release(error_ratio=0.0, delay_s=0.2))
    began = time.monotonic()
    asyncio.run(fail_a_share(file))
    assert time.monotonic() - began >= 0.2
    asyncio.run(fail_a_share(None))


def test_a_process_is_started_as_the_release_that_holds_and_no_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(folder=tmp_path, state_file=None, edges_count=2)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=pay")
    assert released_as(run, "poster") == ([], {})
    for name, option in (("poster", "--release-file"), ("edge-2", "--burst-file")):
        write_release(release_file(tmp_path, name), release())
        assert released_as(run, name) == (
            [option, release_file(tmp_path, name)],
            {"OTEL_RESOURCE_ATTRIBUTES": "team=pay,service.version=2-bad"},
        )
    assert released_as(run, "edge") == ([], {})
    write_release(release_file(tmp_path, "poster"), release(until_ns=1))
    assert released_as(run, "poster") == ([], {})


def test_telemetry_names_the_version_that_is_installed_unless_the_environment_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version() -> object:
        telemetry = start_telemetry("ledger-poster", {})
        try:
            return telemetry._providers[0].resource.attributes.get("service.version")
        finally:
            telemetry.stop()

    assert release_version()
    assert version() == release_version()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1,service.version=2-bad")
    assert version() == "2-bad"


def test_what_is_missing_of_a_leak_grows_with_time_up_to_the_bound() -> None:
    leak = Leak(bytes_per_s=10, bytes_max=25, until_ns=0)
    assert [
        missing_bytes(leak, kept_bytes=kept, passed_s=1.0) for kept in (0, 10, 20, 25, 30)
    ] == [*(10, 10, 5, 0, 0)]


@pytest.mark.parametrize(
    "changed",
    [{"until_ns": 1}, {"bytes_per_s": 0}, {"bytes_max": BOUND_BYTES_MAX + 1}, {"bytes_max": "x"}],
)
def test_a_leak_that_is_over_or_beyond_all_bounds_is_none(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    file = tmp_path / "leak"
    good = {"bytes_per_s": 5, "bytes_max": 9, "until_ns": in_a_minute()}
    file.write_text(json.dumps(good))
    assert read_leak(file, time.time_ns()) is not None
    file.write_text(json.dumps({**good, **changed}))
    assert read_leak(file, time.time_ns()) is None


async def test_memory_is_kept_up_to_the_bound_and_freed_when_the_leak_is_lifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "_POLL_S", 0.02)
    bound = 64 * 1024 * 1024
    file = leak_file(tmp_path, "poster")
    before = memory_bytes() or 0
    async with leaking(file):
        write_leak(file, Leak(bytes_per_s=20 * bound, bytes_max=bound, until_ns=in_a_minute()))
        async with asyncio.timeout(20):
            while (memory_bytes() or 0) < before + 0.9 * bound:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert (memory_bytes() or 0) < before + 1.5 * bound
        lift_leak(file)
        async with asyncio.timeout(20):
            while (memory_bytes() or 0) > before + 0.5 * bound:
                await asyncio.sleep(0.02)


def test_memory_is_told_by_its_name_and_unit_of_the_conventions() -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    observe_memory(meters.get_meter("test"))
    found = reader.get_metrics_data()
    assert found is not None
    [metric] = found.resource_metrics[0].scope_metrics[0].metrics
    [point] = metric.data.data_points
    assert (metric.name, metric.unit) == ("process.memory.usage", "By")
    assert isinstance(point.value, int)  # type: ignore[union-attr]  # of a sum
    assert 1 << 20 < point.value < 1 << 40  # type: ignore[union-attr]
    meters.shutdown()


async def test_whoever_is_kept_away_comes_back_in_time_or_before(tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        await until_it_may_come_back(tmp_path, "nats-1")
        began = time.monotonic()
        keep_away(tmp_path, "nats-1", until_ns=time.time_ns() + 300_000_000)
        await until_it_may_come_back(tmp_path, "nats-2")
        await until_it_may_come_back(tmp_path, "nats-1")
        assert time.monotonic() - began >= 0.3
        keep_away(tmp_path, "nats-1", until_ns=in_a_minute())
        come_back(tmp_path, "nats-1")
        come_back(tmp_path, "nats-1")
        await until_it_may_come_back(tmp_path, "nats-1")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("canary-regression", "up --edges 2"),
        ("leader-election", "up --nats-nodes 3"),
        ("bad-release", "no poster runs"),
        ("memory-leak", "no poster runs"),
    ],
)
async def test_a_run_that_cannot_have_the_fault_is_told_why(
    tmp_path: Path, fault: str, told: str
) -> None:
    state = RunState(
        edge_url="",
        nats_url="nats://127.0.0.1:1",
        nats_monitor_url="",
        postgres_url_file="",
        burst_file=str(tmp_path / "burst.json"),
        pids={"nats": 1, "edge": 1},
    )
    write_state(tmp_path / "state", state)
    config = FaultConfig(fault=fault, state_file=tmp_path / "state", seconds=1)
    with pytest.raises(LedgerError, match=told):
        await run_fault(config, asyncio.Event())
    assert [
        one.name for one in tmp_path.iterdir() if one.name.startswith(("release", "leak"))
    ] == []
