"""What stands beside a run about a fault that is held: by whom, since when, and what undoing it takes.

The note is there before anything is broken and goes last, after the fault's end is on record. So a note whose holder is gone is
of a fault that nobody ended: the next command does, and knows from the note whose record to complete.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.operate.state import RunState, write_private

_LOCK_FILE: Final = "faults.lock"
_LOCK_TIMEOUT_S: Final = 60.0
_LOCK_PAUSE_S: Final = 0.05
# Of /proc/PID/stat, counted from behind the command's name, which may hold blanks and brackets.
_STATE_FIELD: Final = 0
_START_FIELD: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A fault that is held, or was when its holder was killed.

    Attributes:
        pid: the process that holds it; 0 when it could not undo it and gave up.
        pid_start_ticks: when that process began, which tells it from a later one of the same id.
        start_ns: right before the first thing was broken.
        until_ns: when it is lifted, if nobody says otherwise before.
        holding_ns: when all of it held; None before.
        record_file: what its start and end are written to; empty for none.
        parameters: what the record has of how it is held.
        undo: what undoing it will need; empty when there is nothing to undo.
    """

    fault: str
    pid: int
    pid_start_ticks: int
    start_ns: int
    until_ns: int
    holding_ns: int | None = None
    record_file: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    undo: dict[str, object] = field(default_factory=dict)

    @property
    def has_holder(self) -> bool:
        """Whether whoever holds it is still there to end it."""
        return self.pid > 0 and start_ticks(self.pid) == self.pid_start_ticks


def note_file(state: RunState, fault: str) -> Path:
    """Where a run keeps the note of a fault."""
    return Path(state.burst_file).with_name(f"fault-{fault}.json")


def read_note(path: Path) -> Note | None:
    """The note in a file; None when there is none."""
    try:
        return Note(**orjson.loads(path.read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def write_note(path: Path, note: Note) -> None:
    """Write it in one step, readable by its owner only."""
    write_private(path, orjson.dumps(asdict(note)))


def last_held_ns(path: Path) -> int:
    """When the holder last said that it is there; 0 when it never did."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@asynccontextmanager
async def alone(state: RunState) -> AsyncIterator[None]:
    """Keep other commands from beginning or undoing a fault of this run meanwhile.

    Raises:
        UnreadableError: the run's folder is gone.
        LedgerError: another command kept it for too long.
    """
    path = Path(state.burst_file).with_name(_LOCK_FILE)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"the run's folder {path.parent} is gone: {error.strerror}"
        raise UnreadableError(message) from error
    try:
        await _locked(descriptor)
        yield
    finally:
        os.close(descriptor)


async def _locked(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() > deadline:
                message = f"another command has been undoing faults for {_LOCK_TIMEOUT_S:g} s"
                raise LedgerError(message) from None
            await asyncio.sleep(_LOCK_PAUSE_S)
        else:
            return


def start_ticks(pid: int) -> int:
    """When a process began, in the kernel's ticks since the machine did; 0 when it is gone or a zombie.

    >>> start_ticks(os.getpid()) > 0, start_ticks(2**22 + 1)
    (True, 0)
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[_STATE_FIELD] == "Z" else int(fields[_START_FIELD])
