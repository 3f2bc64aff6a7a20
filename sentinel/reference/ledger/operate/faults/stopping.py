"""`sentinel-ledger fault stop`: whoever holds a fault is told to end it, and what nobody holds is undone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.notes import Note, note_file, read_note
from sentinel.reference.ledger.operate.faults.running import end_left
from sentinel.reference.ledger.operate.state import RunState, read_state

# As long as a server that stood still may take until it answers.
STOP_TIMEOUT_S: Final = 60.0
_PAUSE_S: Final = 0.05


async def stop_faults(
    state_file: Path, names: Iterable[str], *, timeout_s: float = STOP_TIMEOUT_S
) -> list[dict[str, object]]:
    """End the named faults of a run, as far as they are held, and wait until each is undone; what became of each.

    Raises:
        UnreadableError: the run's state cannot be read.
        LedgerError: one could not be undone, or its holder did not end in time; the others are ended.
    """
    state = read_state(state_file)
    names = list(names)
    before = {
        name: note for name in names if (note := read_note(note_file(state, name))) is not None
    }
    # All at once: one may have to wait for another, such as a setting for a server that stands still.
    for note in before.values():
        if note.has_holder:
            with suppress(ProcessLookupError):
                os.kill(note.pid, signal.SIGTERM)
    busy = await _still_held(state, before, timeout_s)
    left = await end_left(state, [name for name in before if name not in busy])
    if busy:
        told = ", ".join(f"{name} (process {before[name].pid})" for name in busy)
        message = f"still held after {timeout_s:g} s: {told}"
        raise LedgerError(message)
    return [
        {
            "event": "fault_stopped" if name in before else "fault_not_held",
            "fault": name,
            **(
                {"start_ns": before[name].start_ns, "killed": name in left}
                if name in before
                else {}
            ),
        }
        for name in names
    ]


async def _still_held(state: RunState, notes: dict[str, Note], timeout_s: float) -> list[str]:
    """Wait for the holders; which faults have theirs even so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        busy = [
            name for name, note in notes.items() if note.has_holder and _same(state, name, note)
        ]
        if not busy or loop.time() > deadline:
            return busy
        await asyncio.sleep(_PAUSE_S)


def _same(state: RunState, name: str, before: Note) -> bool:
    now = read_note(note_file(state, name))
    return now is not None and (now.pid, now.start_ns) == (before.pid, before.start_ns)
