"""A leak on purpose: a control file in the run's folder makes a process keep more and more memory, up to a bound.

The file says until when it holds, and the process frees what it kept when the file is gone or over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.operate.state import write_private

BOUND_BYTES_MAX: Final = 512 * 1024 * 1024
_FILE_BYTES_MAX: Final = 1024
_POLL_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Keep `bytes_per_s` more, up to `bytes_max`, until `until_ns`."""

    bytes_per_s: int
    bytes_max: int
    until_ns: int


def leak_file(folder: Path, name: str) -> Path:
    """Where a process of this name looks for its leak."""
    return folder / f"leak-{name}.json"


def write_leak(file: Path, leak: Leak) -> None:
    """Have the process leak from now on."""
    write_private(file, orjson.dumps(asdict(leak)))


def lift_leak(file: Path) -> None:
    """Have it free what it kept; harmless when there is no leak."""
    file.unlink(missing_ok=True)


def read_leak(file: Path, now_ns: int) -> Leak | None:
    """Return the leak that holds; None when there is none, it is over, or the file makes no sense."""
    try:
        with file.open("rb") as opened:
            document = orjson.loads(opened.read(_FILE_BYTES_MAX))
        leak = Leak(
            bytes_per_s=int(document["bytes_per_s"]),
            bytes_max=int(document["bytes_max"]),
            until_ns=int(document["until_ns"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sound = leak.bytes_per_s > 0 and 0 < leak.bytes_max <= BOUND_BYTES_MAX
    return leak if sound and now_ns < leak.until_ns else None


def missing_bytes(leak: Leak, *, kept_bytes: int, passed_s: float) -> int:
    """Return how much more is to be kept, after so long since it was last looked at.

    >>> leak = Leak(bytes_per_s=100, bytes_max=250, until_ns=0)
    >>> missing_bytes(leak, kept_bytes=0, passed_s=2.0), missing_bytes(leak, kept_bytes=200, passed_s=2.0)
    (200, 50)
    """
    return max(0, min(int(leak.bytes_per_s * passed_s), leak.bytes_max - kept_bytes))


@asynccontextmanager
async def leaking(file: Path | None) -> AsyncIterator[None]:
    """Leak as the file says while the block runs; without a file, never."""
    if file is None:
        yield
        return
    task = asyncio.create_task(_leak(file), name="leak")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _leak(file: Path) -> None:
    kept: list[bytes] = []
    looked_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        leak = read_leak(file, time.time_ns())
        if leak is None:
            kept.clear()
        elif count := missing_bytes(
            leak, kept_bytes=sum(map(len, kept)), passed_s=now_s - looked_s
        ):
            # Not zeros: the kernel gives those no memory until somebody writes to it.
            kept.append(b"\x01" * count)
        looked_s = now_s
        await asyncio.sleep(_POLL_S)
