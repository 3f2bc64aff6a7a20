"""Which child `up` leaves dead for a while: a control file in the run's folder that says until when.

It carries its own end, so that a child comes back also when whoever keeps it away was killed.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.operate.state import write_private

_POLL_S: Final = 0.2


def keep_away(folder: Path, name: str, *, until_ns: int) -> None:
    """Have `up` not start this child again before `until_ns`; it does not end it."""
    write_private(_file(folder, name), orjson.dumps({"until_ns": until_ns}))


def come_back(folder: Path, name: str) -> None:
    """Have it started again from now on; harmless when nobody keeps it away."""
    _file(folder, name).unlink(missing_ok=True)


async def until_it_may_come_back(folder: Path, name: str) -> None:
    """Return when nobody keeps this child away any longer."""
    while time.time_ns() < _until_ns(_file(folder, name)):  # noqa: ASYNC110  # a file tells nobody
        await asyncio.sleep(_POLL_S)


def _until_ns(file: Path) -> int:
    try:
        return int(orjson.loads(file.read_bytes())["until_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.away.json"
