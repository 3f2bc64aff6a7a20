"""The fault of a leak: a process keeps more and more memory, up to a bound that a machine can spare."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target
from sentinel.reference.ledger.operate.faults.processes import runs_as
from sentinel.reference.ledger.operate.leak import Leak, leak_file, lift_leak, write_leak

_PROCESS: Final = "poster"
_BYTES_PER_S: Final = 4 * 1024 * 1024
_BYTES_MAX: Final = 256 * 1024 * 1024


@asynccontextmanager
async def memory_leak(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have the poster keep 4 MiB a second more, up to 256 MiB.

    Raises:
        LedgerError: it does not run.
    """
    pid = target.state.pids.get(_PROCESS, 0)
    if not runs_as(_PROCESS, pid):
        message = f"no {_PROCESS} runs as process {pid}"
        raise LedgerError(message)
    file = leak_file(Path(target.state.burst_file).parent, _PROCESS)
    until_ns = time.time_ns() + int(config.seconds * 1e9)
    target.note(leak_file=str(file))
    write_leak(file, Leak(bytes_per_s=_BYTES_PER_S, bytes_max=_BYTES_MAX, until_ns=until_ns))
    yield {"process": _PROCESS, "bytes_per_s": _BYTES_PER_S, "bytes_max": _BYTES_MAX}


async def free(target: Target) -> None:
    """Have the poster free what it kept; the leak's own end would, later."""
    lift_leak(Path(str(target.notes["leak_file"])))
