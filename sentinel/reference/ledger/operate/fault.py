"""`sentinel-ledger fault`: break the running ledger on purpose, and say exactly when and how.

Each fault is lifted when its time is over, on SIGTERM or SIGINT, and as far as possible also when
this process is killed: a lock goes with its session, a burst carries its own end, and a stopped
poster is let go by the next fault command. The record is the truth that detection is scored on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.edge.burst import Burst, lift_burst, write_burst
from sentinel.reference.ledger.operate.state import RunState, read_state, write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url

_EDGE: Final = "ledger-edge"
_POSTER: Final = "ledger-poster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSignal:
    """A series that the fault should move, and which way."""

    service: str
    stage: str
    route: str
    signal: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultConfig:
    """Which fault, for how long, on which run."""

    fault: str
    state_file: Path
    seconds: float
    record_file: Path | None = None
    error_ratio: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a fault that would never show or never end."""
        if not 0 < self.seconds <= 86_400:
            message = "--seconds must be above 0 and at most 86400"
            raise UsageError(message)
        if not 0 < self.error_ratio <= 1:
            message = "--ratio must be above 0 and at most 1"
            raise UsageError(message)


def _signals(*rows: tuple[str, str, str, str, str]) -> tuple[ExpectedSignal, ...]:
    return tuple(
        ExpectedSignal(service=service, stage=stage, route=route, signal=name, direction=direction)
        for service, stage, route, name, direction in rows
    )


EXPECTED: Final[dict[str, tuple[ExpectedSignal, ...]]] = {
    # Batches and balance reads wait for the table until their time limit ends them.
    "lock": _signals(
        (_POSTER, "database", "COMMIT transactions", "errors", "up"),
        (_POSTER, "database", "COMMIT transactions", "latency", "up"),
        (_POSTER, "consumer", "process ledger.transfers", "errors", "up"),
        (_POSTER, "consumer", "process ledger.transfers", "latency", "up"),
        (_EDGE, "database", "SELECT accounts", "errors", "up"),
        (_EDGE, "database", "SELECT accounts", "latency", "up"),
        (_EDGE, "edge", "GET /v1/accounts/{id}/balance", "errors", "up"),
        (_EDGE, "edge", "GET /v1/accounts/{id}/balance", "latency", "up"),
    ),
    # The edge goes on accepting: only what the poster does falls silent.
    "stall": _signals(
        (_POSTER, "consumer", "process ledger.transfers", "traffic", "down"),
        (_POSTER, "database", "COMMIT transactions", "traffic", "down"),
    ),
    # A write that fails at the edge is never published, so less of everything follows.
    "errors": _signals(
        (_EDGE, "edge", "POST /v1/transfers", "errors", "up"),
        (_EDGE, "queue", "publish ledger.transfers", "traffic", "down"),
        (_POSTER, "consumer", "process ledger.transfers", "traffic", "down"),
        (_POSTER, "database", "COMMIT transactions", "traffic", "down"),
    ),
}


async def run_fault(config: FaultConfig, stop: asyncio.Event) -> None:
    """Hold the fault for its time or until `stop`, recording start and end as they happen.

    Raises:
        UnreadableError: the run's state cannot be read.
        LedgerError: it makes no sense, or its poster is not there.
        UnavailableError: the database cannot be reached or the lock was not got.
    """
    state = read_state(config.state_file)
    _release_forgotten_stall(state)
    holders: dict[str, Callable[[], AbstractAsyncContextManager[dict[str, object]]]] = {
        "lock": lambda: _lock(state, config),
        "stall": lambda: _stall(state),
        "errors": lambda: _errors(state, config),
    }
    async with holders[config.fault]() as parameters:
        record = {
            "fault": config.fault,
            "start_ns": time.time_ns(),
            "end_ns": None,
            "expected": [asdict(signal) for signal in EXPECTED[config.fault]],
            "parameters": {"seconds": config.seconds, **parameters},
        }
        _record(config, {"event": "fault_start", **record})
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=config.seconds)
    _record(config, {"event": "fault_end", **record, "end_ns": time.time_ns()})


@asynccontextmanager
async def _lock(state: RunState, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Hold the accounts table's strongest lock in a session of its own."""
    url = read_url(Path(state.postgres_url_file))
    settings = {
        "statement_timeout": "0",
        "lock_timeout": "10000",
        # Should this process hang, the server ends the session and with it the lock.
        "idle_in_transaction_session_timeout": str(int((config.seconds + 30) * 1000)),
    }
    async with (
        postgres.session(
            PostgresConfig(url=url), application_name="ledger_fault:lock", settings=settings
        ) as session,
        session.transaction(),
    ):
        await session.execute("lock table ledger.accounts in access exclusive mode")
        yield {"table": "ledger.accounts", "mode": "access exclusive"}


@asynccontextmanager
async def _stall(state: RunState) -> AsyncIterator[dict[str, object]]:
    """Stop the poster's process with SIGSTOP."""
    pid = state.pids.get("poster", 0)
    if not _is_poster(pid):
        message = f"no poster runs as process {pid}"
        raise LedgerError(message)
    marker = _stall_marker(state)
    write_private(marker, str(os.getpid()).encode())
    try:
        os.kill(pid, signal.SIGSTOP)
        yield {"pid": pid}
    finally:
        _continue(pid)
        marker.unlink(missing_ok=True)


@asynccontextmanager
async def _errors(state: RunState, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have the edge answer a share of the writes with 500."""
    path = Path(state.burst_file)
    until_ns = time.time_ns() + int(config.seconds * 1e9)
    write_burst(path, Burst(error_ratio=config.error_ratio, until_ns=until_ns))
    try:
        yield {"error_ratio": config.error_ratio}
    finally:
        lift_burst(path)


def _release_forgotten_stall(state: RunState) -> None:
    """Let the poster go when the command that stopped it was killed before it could."""
    marker = _stall_marker(state)
    try:
        holder = int(marker.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if b"fault" not in _command_line(holder):
        _continue(state.pids.get("poster", 0))
        marker.unlink(missing_ok=True)


def _stall_marker(state: RunState) -> Path:
    return Path(state.burst_file).with_name("stall.pid")


def _continue(pid: int) -> None:
    # The id may by now be another process's: only ever signal a poster.
    if _is_poster(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _is_poster(pid: int) -> bool:
    words = _command_line(pid).split(b"\0")
    return b"sentinel.reference.ledger" in words and b"poster" in words


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _record(config: FaultConfig, record: dict[str, object]) -> None:
    line = orjson.dumps(record).decode() + "\n"
    if config.record_file is not None:
        with config.record_file.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    sys.stdout.write(line)
    sys.stdout.flush()
