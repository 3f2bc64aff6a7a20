"""How much memory a process has, by the kernel's word: `process.memory.usage`, as the semantic conventions name it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def memory_bytes() -> int | None:
    """Return the physical memory that this process has; None where the kernel does not tell.

    >>> (memory_bytes() or 0) > 1024 * 1024
    True
    """
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def observe_memory(meter: Meter) -> None:
    """Export it, whenever metrics are."""

    def observe(_: CallbackOptions) -> list[Observation]:
        found = memory_bytes()
        return [] if found is None else [Observation(found)]

    meter.create_observable_up_down_counter(
        "process.memory.usage",
        callbacks=[observe],
        unit="By",
        description="The amount of physical memory in use.",
    )
