"""`sentinel-ledger fault`: break the running ledger on purpose, and say exactly when and how.

Each fault is lifted when its time is over, on SIGTERM or SIGINT, and as far as possible also when this process is killed: what
lives in a session goes with it, a burst carries its own end, and all else is undone by the next fault command. The record is the
truth that detection is scored on.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import orjson

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.catalogue import FAULTS
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.operate.faults.processes import command_line
from sentinel.reference.ledger.operate.state import RunState, read_state


async def run_fault(config: FaultConfig, stop: asyncio.Event) -> None:
    """Hold the fault for its time or until `stop`, recording start and end as they happen.

    Raises:
        UnreadableError: the run's state cannot be read.
        LedgerError: it makes no sense here, such as a poster that is not there.
        UnavailableError: a server cannot be reached, or the lock was not got.
    """
    state = read_state(config.state_file)
    await _undo_what_was_left(state)
    fault = FAULTS[config.fault]
    target = Target(fault=config.fault, state=state)
    if target.marker.exists():
        message = f"{config.fault} is held already, by another command"
        raise LedgerError(message)
    try:
        async with fault.hold(target, config) as parameters:
            record = {
                "fault": config.fault,
                "start_ns": time.time_ns(),
                "end_ns": None,
                "expected": [asdict(signal) for signal in fault.expected],
                "parameters": {"seconds": config.seconds, **parameters},
            }
            _record(config, {"event": "fault_start", **record})
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=config.seconds)
    finally:
        if fault.undo is not None and target.notes:
            await fault.undo(target)
            target.marker.unlink(missing_ok=True)
    _record(config, {"event": "fault_end", **record, "end_ns": time.time_ns()})


def listed() -> list[dict[str, object]]:
    """Every fault with what it does and what it should move."""
    return [
        {
            "fault": name,
            "summary": fault.summary,
            "expected": [asdict(signal) for signal in fault.expected],
        }
        for name, fault in FAULTS.items()
    ]


async def _undo_what_was_left(state: RunState) -> None:
    """Undo what commands left that were killed before they could."""
    for name, fault in FAULTS.items():
        target = Target(fault=name, state=state)
        notes = _notes(target.marker)
        if notes is None or fault.undo is None or _is_held(notes):
            continue
        target.notes = notes
        await fault.undo(target)
        target.marker.unlink(missing_ok=True)


def _notes(marker: Path) -> dict[str, object] | None:
    try:
        found = orjson.loads(marker.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _is_held(notes: dict[str, object]) -> bool:
    pid = notes.get("pid")
    return isinstance(pid, int) and (pid == os.getpid() or b"fault" in command_line(pid))


def _record(config: FaultConfig, record: dict[str, object]) -> None:
    line = orjson.dumps(record).decode() + "\n"
    if config.record_file is not None:
        with config.record_file.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    sys.stdout.write(line)
    sys.stdout.flush()
