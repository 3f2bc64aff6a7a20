"""How a fault is held, from its recorded start to its recorded end, and how one is ended that nobody holds any more.

Each fault is lifted when its time is over, on SIGTERM or SIGINT, when the run ends, and as far as possible also when this process
is killed: what lives in a session goes with it, a burst carries its own end, and all else is undone by the next fault command,
which completes the record, too. The record is the truth that detection is scored on.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.operate.faults.catalogue import FAULTS
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.operate.faults.notes import (
    Note,
    alone,
    last_held_ns,
    note_file,
    read_note,
    start_ticks,
    write_note,
)
from sentinel.reference.ledger.operate.state import RunState, read_state

_LOOK_S = 1.0


async def run_fault(config: FaultConfig, stop: asyncio.Event) -> None:
    """Hold the fault for its time, until `stop` or the end of the run, recording start and end as they happen.

    Raises:
        UnreadableError: the run's state cannot be read.
        LedgerError: it makes no sense here, such as a poster that is not there.
        UnavailableError: a server cannot be reached, or the lock was not got.
    """
    state = read_state(config.state_file)
    async with alone(state):
        await _end_left(state)
        target = _claimed(state, config)
    try:
        async with FAULTS[config.fault].hold(target, config) as parameters:
            now_ns = time.time_ns()
            target.change(
                holding_ns=now_ns,
                until_ns=now_ns + int(config.seconds * 1e9),
                parameters={"seconds": config.seconds, **parameters},
            )
            _tell(target.held, record_of(target.held, "fault_start"))
            await _until_over(config, target, stop)
    finally:
        await _end(target)


async def end_left(state: RunState, names: Iterable[str] = FAULTS) -> list[str]:
    """Undo what commands left that were killed before they could; which faults it was.

    Raises:
        LedgerError: one of them could not be undone; the others are.
    """
    async with alone(state):
        return await _end_left(state, names)


def record_of(note: Note, event: str, **more: object) -> dict[str, object]:
    """A line of the record."""
    return {
        "event": event,
        "fault": note.fault,
        "start_ns": note.start_ns,
        "holding_ns": note.holding_ns,
        "end_ns": None,
        "expected": [asdict(signal) for signal in FAULTS[note.fault].expected],
        "parameters": note.parameters,
        **more,
    }


def _claimed(state: RunState, config: FaultConfig) -> Target:
    """Write the note, from which on the fault is this process's."""
    path = note_file(state, config.fault)
    if path.exists():
        message = f"{config.fault} is held already, by another command"
        raise LedgerError(message)
    now_ns, record = time.time_ns(), config.record_file
    note = Note(
        fault=config.fault,
        pid=os.getpid(),
        pid_start_ticks=start_ticks(os.getpid()),
        start_ns=now_ns,
        until_ns=now_ns + int(config.seconds * 1e9),
        record_file="" if record is None else str(record.absolute()),
        parameters={"seconds": config.seconds},
    )
    write_note(path, note)
    return Target(state=state, held=note)


async def _until_over(config: FaultConfig, target: Target, stop: asyncio.Event) -> None:
    ends = time.monotonic() + config.seconds
    while not stop.is_set() and (left_s := ends - time.monotonic()) > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=min(left_s, _LOOK_S))
        if not _runs(config.state_file):
            return
        with suppress(FileNotFoundError):
            os.utime(target.marker)


def _runs(state_file: Path) -> bool:
    """Whether the run is still there: `up` takes its state away, or is killed and all its children with it."""
    try:
        state = read_state(state_file)
    except LedgerError:
        return False
    return any(start_ticks(pid) for pid in state.pids.values())


async def _end_left(state: RunState, names: Iterable[str] = FAULTS) -> list[str]:
    left = {
        name: note
        for name in names
        if (note := read_note(note_file(state, name))) is not None and not note.has_holder
    }
    ended: list[str] = []
    failed: LedgerError | None = None
    # Twice: what makes one fail may be another that is undone after it, such as a server that stands still.
    for _ in range(2):
        failed = None
        for name, note in left.items():
            if not note_file(state, name).exists():
                continue
            try:
                await _end(Target(state=state, held=note))
            except (LedgerError, OSError) as error:
                failed = LedgerError(f"{name} was left behind and cannot be undone: {error}")
            else:
                ended.append(name)
    if failed is not None:
        raise failed
    return ended


async def _end(target: Target) -> None:
    """Undo a fault, complete its record, and take its note away.

    What cannot be undone keeps its note, as one that nobody holds.
    """
    note, undo = target.held, FAULTS[target.held.fault].undo
    is_own = note.has_holder
    try:
        if undo is not None and target.notes:
            await undo(target)
    except BaseException:
        with suppress(OSError):
            target.change(pid=0)
        raise
    more: dict[str, object] = {}
    if not is_own:
        more = {"killed": True, "last_held_ns": last_held_ns(target.marker)}
    try:
        # What failed before it held was no fault, unless its process was killed in the middle of it.
        if note.holding_ns is not None or not is_own:
            _tell(note, record_of(note, "fault_end", **more, end_ns=time.time_ns()))
    finally:
        target.marker.unlink(missing_ok=True)


def _tell(note: Note, record: dict[str, object]) -> None:
    line = orjson.dumps(record).decode() + "\n"
    sys.stdout.write(line)
    sys.stdout.flush()
    if not note.record_file:
        return
    try:
        with Path(note.record_file).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        message = f"the record {note.record_file} cannot be written to: {error.strerror}"
        raise UnreadableError(message) from error
