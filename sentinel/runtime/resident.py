"""How much memory the process has, and how much it may have: /proc and the control group, where they are."""

from __future__ import annotations

import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2, as a container sees its own group
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)
_UNLIMITED_BYTES = 1 << 60
"""Version 1 writes a number near 2^63 for no limit."""


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        fields = _STATM.read_bytes().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def group_limit_bytes(paths: tuple[Path, ...] = _LIMITS) -> int:
    """The memory that the control group allows, such as a container's limit; 0 where there is none."""
    for path in paths:
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit() and 0 < int(text) < _UNLIMITED_BYTES:
            return int(text)
    return 0
