"""How a process of the hot path runs: its event loop, and when it looks for garbage."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
# Telemetry is encoded on a thread of its own, some milliseconds at a time. By default a request that comes meanwhile waits five of them
# for the interpreter, again and again.
_SWITCH_S: Final = 0.0005
# By default all that there is was looked at about once a second, for spans live that long before they are exported: 62,000 objects after
# the start alone, which takes 15 to 35 ms, and every request waits. Nearly all that a request leaves is freed without being looked for.
_GARBAGE: Final = (10_000, 10, 10)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run it on uvloop, which takes a third less of a processor a request; where that is not installed, on asyncio's own."""
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_GARBAGE)
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(main)
    return uvloop.run(main)


def has_started() -> None:
    """Say that the process is ready: what there is now stays, and is not looked at again for garbage."""
    gc.collect()
    gc.freeze()
