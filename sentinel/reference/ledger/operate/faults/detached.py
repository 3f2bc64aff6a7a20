"""A fault that is held by a process of its own, so that the command returns once it holds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig
from sentinel.reference.ledger.operate.faults.notes import note_file, read_note
from sentinel.reference.ledger.operate.faults.running import record_of
from sentinel.reference.ledger.operate.state import read_state

# Filling a store or losing a slot takes seconds; a lock that is waited for, ten.
_HOLDS_TIMEOUT_S: Final = 120.0
_STOP_TIMEOUT_S: Final = 60.0
_PAUSE_S: Final = 0.05


def hold_detached(config: FaultConfig, *, say: Callable[[str], object]) -> int:
    """Have a process hold the fault that outlives this one, and wait until it does; the exit code.

    What the process says is in a file beside the run's state, and its start is told here. It ends the fault itself: in time, on
    SIGTERM, and when the run ends.

    Raises:
        UnreadableError: the run's state cannot be read.
        UnavailableError: it did not hold in time, and has been told to end.
    """
    note_path = note_file(read_state(config.state_file), config.fault)
    log = note_path.with_suffix(".log")
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    with log.open("ab") as output:
        # In a session of its own: no Ctrl-C for this one and no terminal that is closed is meant for it.
        child = subprocess.Popen(  # noqa: S603  # this program itself
            _command(config),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        return _until_it_holds(child, config, note_path, log, say)
    except BaseException:
        child.terminate()
        child.wait(_STOP_TIMEOUT_S)
        raise


def _until_it_holds(
    child: subprocess.Popen[bytes],
    config: FaultConfig,
    note_path: Path,
    log: Path,
    say: Callable[[str], object],
) -> int:
    deadline = time.monotonic() + _HOLDS_TIMEOUT_S
    while time.monotonic() < deadline:
        note = read_note(note_path)
        if note is not None and note.pid == child.pid and note.holding_ns is not None:
            say(orjson.dumps(record_of(note, "fault_start")).decode())
            return 0
        code = child.poll()
        if code is not None:
            # Over already, which a fault of a moment may be, or refused: it has said why.
            if code == 0:
                say(log.read_text().rstrip())
            else:
                sys.stderr.write(log.read_text())
            return code
        time.sleep(_PAUSE_S)
    message = f"{config.fault} did not hold within {_HOLDS_TIMEOUT_S:g} s"
    raise UnavailableError(message)


def _command(config: FaultConfig) -> list[str]:
    command = [
        *(sys.executable, "-m", "sentinel.reference.ledger", "fault", "start", config.fault),
        *("--state", str(config.state_file), "--seconds", f"{config.seconds!r}"),
        *("--ratio", f"{config.error_ratio!r}"),
    ]
    if config.record_file is not None:
        command += ["--record", str(config.record_file)]
    return command
