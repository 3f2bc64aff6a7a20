"""What programs that run until they are told to stop have in common: signals, a start cut short, a file that says ready."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any


def stop_on_signals(*, on_hangup: Callable[[], None]) -> asyncio.Event:
    """Set by SIGTERM or SIGINT; a second one ends the process at once. SIGHUP calls `on_hangup`."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told_to_stop, stopping)
    # Untaken it would end the process at once, without a drain: a terminal that closes sends it too.
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    return stopping


async def started(start: Coroutine[Any, Any, None], stopping: asyncio.Event) -> bool:
    """Start; False when a signal came first, and what had started is stopped again."""
    starting = asyncio.create_task(start)  # noqa: TID251  # ended here in every case
    told = asyncio.create_task(stopping.wait())  # noqa: TID251  # the same
    await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Readers see the whole file or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".ready-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)


def _told_to_stop(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        # Told twice: a person is waiting. What is stored is safe at any moment.
        os._exit(130)
    stopping.set()
