"""Faults of a release: a process comes back as a version that is new and wrong, and is rolled back at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.operate.faults.processes import command_line, runs_as
from sentinel.reference.ledger.operate.release import Release, release_file, write_release
from sentinel.reference.ledger.operate.state import read_state
from sentinel.reference.ledger.telemetry import release_version

_DELAY_S: Final = 0.3
_RESTART_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.1


def released(
    role: str, *, beside: bool, delay_s: float = _DELAY_S
) -> Callable[..., AbstractAsyncContextManager[dict[str, object]]]:
    """The fault that releases a bad version of a process.

    Args:
        role: its name.
        beside: whether it is released to the last of several alone, as a canary, and refused where there is one.
        delay_s: how much longer its calls take.
    """

    @asynccontextmanager
    async def hold(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
        name = _last(target, role) if beside else role
        pid = target.state.pids.get(name, 0)
        if not runs_as(role, pid):
            message = f"no {name} runs as process {pid}"
            raise LedgerError(message)
        before = release_version()
        version = f"{before or '0'}-bad.{int(time.time())}"
        file = release_file(_folder(target), name)
        target.note(process=name)
        # The restart is in the time: it is part of what a release does.
        until_ns = time.time_ns() + int(config.seconds * 1e9)
        write_release(
            file,
            Release(
                version=version, error_ratio=config.error_ratio, delay_s=delay_s, until_ns=until_ns
            ),
        )
        _end(pid)
        target.note(released_pid=await _started_again(config.state_file, name, pid))
        yield {
            "process": name,
            "version": version,
            "version_before": before,
            "error_ratio": config.error_ratio,
            "delay_s": delay_s,
        }

    return hold


async def roll_back(target: Target) -> None:
    """Have the process started as the version that it was; harmless when it is."""
    name = target.notes.get("process")
    if not isinstance(name, str):
        return
    file = release_file(_folder(target), name)
    file.unlink(missing_ok=True)
    for pid in {target.notes.get("released_pid"), target.state.pids.get(name)}:
        # By its file in the command line: a number may by now be another process's, or the good version's.
        if isinstance(pid, int) and str(file).encode() in command_line(pid).split(b"\0"):
            _end(pid)


def _last(target: Target, role: str) -> str:
    numbered = [name for name in target.state.pids if name.rpartition("-")[0] == role]
    if not numbered:
        message = f"this run has one {role}, beside which there is no canary: start the ledger with `up --edges 2`"
        raise LedgerError(message)
    return max(numbered, key=lambda name: int(name.rpartition("-")[2]))


async def _started_again(state_file: Path, name: str, before: int) -> int:
    deadline = time.monotonic() + _RESTART_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(LedgerError):
            pid = read_state(state_file).pids.get(name, before)
            if pid != before:
                return pid
        await asyncio.sleep(_POLL_S)
    message = f"{name} was not started again within {_RESTART_TIMEOUT_S:g} s"
    raise UnavailableError(message)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _folder(target: Target) -> Path:
    return Path(target.state.burst_file).parent
