"""`sentinel-ledger up` as a process of its own, for tests: its processes are recognised by an environment variable they inherit."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.support.contract import conforming
from tests.support.otlp_collector import OtlpCollector

MARK = "LEDGER_TEST_RUN"


@dataclass(slots=True)
class Fault:
    """A running `fault` command."""

    process: asyncio.subprocess.Process
    record: list[dict[str, Any]] = field(default_factory=list)

    async def end(self) -> None:
        """Lift it, unless it is over, and keep what it recorded."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()
        await self.over()

    async def over(self) -> None:
        """Wait for its end; idempotent."""
        output, _ = await self.process.communicate() if not self.record else (b"", b"")
        self.record.extend(json.loads(line) for line in output.splitlines())


@dataclass(slots=True)
class Up:
    """A running `up` and what it said."""

    process: asyncio.subprocess.Process
    mark: str
    state_file: Path
    ready: dict[str, Any]
    collector: OtlpCollector
    http: aiohttp.ClientSession
    listener: asyncio.Task[None]

    async def transfer(self, key: str) -> tuple[int, dict[str, Any]]:
        """Ask for a small transfer."""
        async with self.http.post(
            "/v1/transfers",
            json={
                "debit_account": "external:bank",
                "credit_account": "alice",
                "amount_minor": 5,
                "currency": "EUR",
            },
            headers={"X-Tenant": "shop", "Idempotency-Key": key},
        ) as response:
            return response.status, await response.json()

    async def read(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask for a resource."""
        async with self.http.get(path, headers={"X-Tenant": "shop"}) as response:
            return response.status, await response.json()

    async def posted(self, key: str) -> None:
        """Ask for a transfer and wait until it is posted."""
        status, accepted = await self.transfer(key)
        assert status == 202
        await eventually(
            f"{key} posted",
            lambda: self.read(accepted["status_url"]),
            lambda answer: answer[1].get("state") == "posted",
        )

    @asynccontextmanager
    async def broken(self, record_file: Path, *arguments: str) -> AsyncIterator[Fault]:
        """Hold a fault while the block runs; it is lifted at the end, also when the block fails.

        A burst that a failed test left behind once failed every test after it.
        """
        command = ("fault", "start", *arguments, "--record", str(record_file))
        process = await ledger(*command, "--state", str(self.state_file), mark=self.mark)
        fault = Fault(process=process)
        try:
            await eventually("the fault", record_file.exists, bool)
            yield fault
        finally:
            await fault.end()

    async def command(self, name: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run a command against this run; returns exit code and its JSON lines."""
        process = await ledger(name, *arguments, "--state", str(self.state_file), mark=self.mark)
        output, _ = await process.communicate()
        return process.returncode or 0, [json.loads(line) for line in output.splitlines()]


async def ledger(*arguments: str, mark: str, **environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sentinel.reference.ledger",
        *arguments,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: mark, **environ},
    )


async def start_up(
    tmp_path: Path, collector: OtlpCollector, *arguments: str, ready_s: float = 60
) -> Up:
    state_file = tmp_path / "state.json"
    process = await ledger(
        "up",
        *("--tenant", "shop=enterprise", "--tenant", "demo=enterprise"),
        "--state",
        str(state_file),
        *arguments,
        mark=str(tmp_path),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BLRP_SCHEDULE_DELAY="100",
        OTEL_METRIC_EXPORT_INTERVAL="500",
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), timeout=ready_s)
    except TimeoutError:
        # Nobody else knows of it, and all that it started goes with it.
        process.kill()
        await process.wait()
        raise
    ready = json.loads(line)
    assert ready["event"] == "ready"
    # What `up` says later (a child that exited, and how) is shown with a test that fails.
    listener = asyncio.create_task(_show(process.stdout), name="up-events")
    return Up(
        process=process,
        mark=str(tmp_path),
        state_file=state_file,
        ready=ready,
        collector=collector,
        http=aiohttp.ClientSession(ready["edge_url"], middlewares=[conforming]),
        listener=listener,
    )


async def _show(events: asyncio.StreamReader) -> None:
    async for line in events:
        sys.stderr.write(f"up: {line.decode()}")


async def end_up(up: Up) -> int:
    await up.http.close()
    if up.process.returncode is None:
        up.process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(up.process.wait(), timeout=30)
    await up.listener
    return code


def left_behind(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        environment = process.info["environ"] or {}
        if environment.get(MARK) == mark and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(process.info["cmdline"] or []))
    return found


async def eventually(what: str, look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """Look again and again until it is so; AssertionError when it never is."""
    deadline = time.monotonic() + 30
    while True:
        seen = look()
        if asyncio.iscoroutine(seen):
            seen = await seen
        if is_so(seen):
            return seen
        assert time.monotonic() < deadline, f"never came: {what}; last seen {seen!r}"
        await asyncio.sleep(0.05)
