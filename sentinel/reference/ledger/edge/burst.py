"""The error burst: a control file that makes the edge fail a share of the writes.

A file in the run's own folder, readable by its owner only, is control enough for one machine, and
nothing listens for it. It says until when it holds, so that it ends also when whoever wrote it was
killed before lifting it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from sentinel.reference.ledger.edge.problem import ProblemError
from sentinel.reference.ledger.telemetry import Event, Telemetry

_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Fail `error_ratio` of the writes until `until_ns`."""

    error_ratio: float
    until_ns: int


def read_burst(path: Path) -> Burst | None:
    """Return the burst that the file asks for; None when there is no file or it makes no sense."""
    try:
        with path.open("rb") as file:
            document = orjson.loads(file.read(_BYTES_MAX))
        ratio, until_ns = float(document["error_ratio"]), int(document["until_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Burst(error_ratio=ratio, until_ns=until_ns) if 0 <= ratio <= 1 else None


def write_burst(path: Path, burst: Burst) -> None:
    """Write the control file in one step, so that no half of it is ever read."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps({"error_ratio": burst.error_ratio, "until_ns": burst.until_ns}))
    draft.replace(path)


def lift_burst(path: Path) -> None:
    """End the burst; harmless when there is none."""
    path.unlink(missing_ok=True)


class BurstWatch:
    """Looks at the control file now and then, and fails the share of the writes that it asks for."""

    def __init__(self, path: Path, *, poll_s: float, telemetry: Telemetry) -> None:
        self._path = path
        self._poll_s = poll_s
        self._telemetry = telemetry
        self._burst: Burst | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._look(), name="edge-burst")

    async def stop(self) -> None:
        """Look no longer."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def fail_a_share(self) -> None:
        """Raise `ProblemError` for as many of the writes as the burst asks for; nothing without one."""
        burst = self._burst
        if (
            burst is not None
            and time.time_ns() < burst.until_ns
            and random.random() < burst.error_ratio  # noqa: S311 - a share, not a secret
        ):
            self._telemetry.error(
                Event.EDGE_REQUEST_FAILED, "A request failed: injected by the error burst"
            )
            raise ProblemError(code="internal", detail="The request failed.")

    async def _look(self) -> None:
        while True:
            self._burst = read_burst(self._path)
            await asyncio.sleep(self._poll_s)
