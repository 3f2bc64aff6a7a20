"""Goal: a bad release and a leak begin, are felt, and are undone, also when whoever made them was killed.

Method: `sentinel-ledger up --edges 2` as a person runs it; versions and errors are looked at where telemetry arrives, memory at the kernel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from sentinel.reference.ledger.operate.state import read_state
from sentinel.reference.ledger.telemetry import release_version
from tests.support.ledger_run import Up, end_up, eventually, start_up
from tests.support.otlp_collector import OtlpCollector

# Whole ledgers that are started again and again: minutes of processor time.
pytestmark = [
    pytest.mark.full,
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

_GROWN_BYTES = 16 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(
        tmp_path_factory.mktemp("releases"),
        collector,
        *("--edges", "2", "--no-replica"),
        ready_s=150,
    )
    try:
        await running.posted("the-first")
        yield running
    finally:
        await end_up(running)
        await collector.stop()


def pid_of(up: Up, name: str) -> int:
    return read_state(up.state_file).pids[name]


def is_bad(up: Up, name: str) -> bool:
    """Whether the process runs as a bad release, by its command line."""
    try:
        words = psutil.Process(pid_of(up, name)).cmdline()
    except psutil.NoSuchProcess:
        return False
    return any(word.endswith(f"release-{name}.json") for word in words)


def memory_of(up: Up, name: str) -> int:
    try:
        return int(psutil.Process(pid_of(up, name)).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def versions(up: Up, service: str) -> set[str]:
    return up.collector.versions.get(service, set())


def bad_versions(up: Up, service: str) -> set[str]:
    return {one for one in versions(up, service) if "-bad." in one}


async def rolled_back(up: Up, name: str, bad_pid: int) -> None:
    await eventually(
        "the version before",
        lambda: (pid_of(up, name), is_bad(up, name)),
        lambda seen: seen[0] != bad_pid and not seen[1],
    )


def failed_commits(up: Up) -> int:
    return sum(
        one.service == "ledger-poster" and one.name == "COMMIT transactions" and one.is_error
        for one in up.collector.spans
    )


async def test_a_bad_poster_names_its_version_fails_batches_and_posts_all_of_them(
    up: Up, tmp_path: Path
) -> None:
    before, failed = pid_of(up, "poster"), failed_commits(up)
    assert versions(up, "ledger-poster") >= {release_version()}
    known = bad_versions(up, "ledger-poster")
    keys = [f"bad-release-{number}" for number in range(12)]
    async with up.broken(
        tmp_path / "record", "bad-release", "--seconds", "100", "--ratio", "0.7"
    ) as fault:
        bad = pid_of(up, "poster")
        assert bad != before
        assert is_bad(up, "poster")
        for key in keys:
            await up.posted(key)
        await eventually(
            "failed batches", lambda: failed_commits(up) - failed, lambda new: new > 0
        )
        await eventually(
            "the version",
            lambda: bad_versions(up, "ledger-poster") - known,
            lambda new: len(new) == 1,
        )
    await rolled_back(up, "poster", bad)
    start = fault.record[0]
    assert start["parameters"]["version"] in versions(up, "ledger-poster")
    assert start["parameters"]["version_before"] == release_version()
    failed = failed_commits(up)
    await up.posted("after-the-bad-release")
    assert failed_commits(up) == failed


async def answers(up: Up, prefix: str, count: int) -> set[int]:
    """What transfers are answered, each on a connection of its own, which the kernel gives to either edge."""
    found = set()
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(up.ready["edge_url"], connector=connector) as http:
        for number in range(count):
            async with http.post(
                "/v1/transfers",
                json={
                    "debit_account": "external:bank",
                    "credit_account": "alice",
                    "amount_minor": 5,
                    "currency": "EUR",
                },
                headers={"X-Tenant": "shop", "Idempotency-Key": f"{prefix}-{number}"},
            ) as response:
                found.add(response.status)
    return found


async def test_a_canary_fails_beside_an_edge_that_does_not(up: Up, tmp_path: Path) -> None:
    edge, canary = pid_of(up, "edge"), pid_of(up, "edge-2")
    async with up.broken(
        tmp_path / "record", "canary-regression", "--seconds", "100", "--ratio", "1"
    ) as fault:
        bad = pid_of(up, "edge-2")
        assert bad != canary
        assert is_bad(up, "edge-2")
        assert not is_bad(up, "edge")
        # Of forty connections none would be the one's, or the other's, once in a trillion times.
        assert await answers(up, "canary", 40) == {202, 500}
        await eventually(
            "both versions",
            lambda: versions(up, "ledger-edge"),
            lambda seen: release_version() in seen and any("-bad." in one for one in seen),
        )
    assert fault.record[0]["parameters"]["process"] == "edge-2"
    await rolled_back(up, "edge-2", bad)
    assert pid_of(up, "edge") == edge
    assert await answers(up, "after-the-canary", 20) == {202}


async def test_a_release_whose_command_was_killed_is_rolled_back_by_the_next_one(
    up: Up, tmp_path: Path
) -> None:
    async with up.broken(tmp_path / "record", "bad-release", "--seconds", "100") as fault:
        bad = pid_of(up, "poster")
        assert is_bad(up, "poster")
        fault.process.kill()
        await fault.process.wait()
    assert is_bad(up, "poster")
    code, _ = await up.command("fault", "stop")
    assert code == 0
    await rolled_back(up, "poster", bad)
    await up.posted("after-a-killed-release")


async def test_a_leak_grows_is_told_and_is_freed(up: Up, tmp_path: Path) -> None:
    before = memory_of(up, "poster")
    async with up.broken(tmp_path / "record", "memory-leak", "--seconds", "100"):
        await eventually(
            "a leak", lambda: memory_of(up, "poster"), lambda now: now > before + _GROWN_BYTES
        )
        await up.posted("while-it-leaks")
    await eventually(
        "freed", lambda: memory_of(up, "poster"), lambda now: 0 < now < before + _GROWN_BYTES // 2
    )
    told = {service for service, name in up.collector.metrics if name == "process.memory.usage"}
    assert told >= {"ledger-poster", "ledger-edge", "ledger-webhooks"}


async def test_a_leak_ends_by_itself_though_whoever_made_it_was_killed(
    up: Up, tmp_path: Path
) -> None:
    before = memory_of(up, "poster")
    async with up.broken(tmp_path / "record", "memory-leak", "--seconds", "10") as fault:
        fault.process.kill()
        await fault.process.wait()
        await eventually(
            "a leak", lambda: memory_of(up, "poster"), lambda now: now > before + _GROWN_BYTES
        )
        await eventually(
            "freed",
            lambda: memory_of(up, "poster"),
            lambda now: 0 < now < before + _GROWN_BYTES // 2,
        )
    code, _ = await up.command("fault", "stop")
    assert code == 0
