"""A file that a process touches while its event loop turns, for whoever starts it and can ask it nothing.

Most of the ledger's processes serve nothing. That one has begun to work, and has not come to a standstill since, is told by the age
of this file: an orchestrator's probe looks at it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UsageError

HEARTBEAT_VARIABLE: Final = "LEDGER_HEARTBEAT_FILE"
_EVERY_S: Final = 5.0


def start_heartbeat(environ: Mapping[str, str] = os.environ, *, every_s: float = _EVERY_S) -> None:
    """Touch the file that the environment names, now and again while this loop runs; nothing where it names none.

    Raises:
        UsageError: it cannot be written.
    """
    name = environ.get(HEARTBEAT_VARIABLE)
    if not name:
        return
    file = Path(name)
    try:
        file.touch()
    except OSError as error:
        message = f"{HEARTBEAT_VARIABLE}: cannot write {file}: {error.strerror}"
        raise UsageError(message) from error
    loop = asyncio.get_running_loop()

    def beat() -> None:
        # One that cannot be written any more grows old, and that is what it is for.
        with suppress(OSError):
            file.touch()
        loop.call_later(every_s, beat)

    loop.call_later(every_s, beat)
