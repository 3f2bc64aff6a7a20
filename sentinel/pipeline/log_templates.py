"""The templates of free text over a restart: kept in a file beside the store, so that series keep their names.

Templates are redacted before they are made. The file is replaced as a whole, so a crash leaves the old one or the new one. That it
cannot be read or written costs names of series and nothing else: it shows in health, and work goes on.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson

from sentinel.core.series.templates import Templates
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.tasks import TaskGroup

_SAVE_EVERY_S = 60.0
_FILE_BYTES_MAX = 16 << 20
_FORMAT = 1
_SIGNAL = "templates"


class LogTemplates:
    """Reads the templates when it starts, and writes them now and then and when it stops."""

    def __init__(self, templates: Templates, directory: str, surroundings: Surroundings) -> None:
        self._templates = templates
        self._path = Path(directory) / "log_templates.json"
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._running = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "pipeline.log_templates"

    async def start(self) -> None:
        """Know what was known before; what cannot be read is left out."""
        try:
            rows, damaged_count = await asyncio.to_thread(self._read)
        except (OSError, ValueError, TypeError) as error:
            self._surroundings.logger.warning(
                "Templates of log lines could not be read; series of free text may get other names",
                exc_info=error,
            )
            self._flow.error(FlowStage.READ, FlowReason.DAMAGED)
            # The file counts as one: how many were in it nobody can say.
            rows, damaged_count = [], 1
        self._templates.restore(rows)
        self._flow.received(len(rows) + damaged_count, signal=_SIGNAL)
        self._flow.sent(len(rows), signal=_SIGNAL)
        self._flow.dropped(FlowReason.DAMAGED, damaged_count)
        self._running = True
        self._tasks.spawn("save", self._save_now_and_then)
        self._health.ok("Keeping templates")

    async def stop(self) -> None:
        """Write what is not written yet."""
        await self._tasks.close()
        if self._running:
            self._running = False
            await self._save(is_last=True)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._tasks.failing:
            self._health.degraded(f"Crashed and restarting: {', '.join(self._tasks.failing)}")
        return self._health.current

    async def _save_now_and_then(self) -> None:
        while True:
            await self._surroundings.clock.sleep(_SAVE_EVERY_S)
            await self._save()

    async def _save(self, *, is_last: bool = False) -> None:
        if not self._templates.is_changed:
            return
        rows = self._templates.rows()
        self._templates.is_changed = False
        try:
            await asyncio.to_thread(self._write, rows)
        except OSError as error:
            self._templates.is_changed = True
            self._flow.error(FlowStage.STORE, reason_of(error))
            if is_last:  # before, they are written the next time
                self._flow.received(len(rows), signal=_SIGNAL)
                self._flow.dropped(reason_of(error), len(rows))
            self._health.degraded(
                f"Templates cannot be stored ({type(error).__name__}): after a restart series may get other names"
            )
        else:
            self._flow.received(len(rows), signal=_SIGNAL)
            self._flow.sent(len(rows), signal=_SIGNAL)
            self._health.ok("Keeping templates")

    def _read(self) -> tuple[list[tuple[str, str, int]], int]:
        """What is in the file, and how many entries of it make no sense."""
        if not self._path.exists():
            return [], 0
        if self._path.stat().st_size > _FILE_BYTES_MAX:
            msg = "the file of templates is larger than any that is written"
            raise ValueError(msg)
        document = orjson.loads(self._path.read_bytes())
        if (
            not isinstance(document, dict)
            or document.get("format") != _FORMAT
            or not isinstance(document.get("templates"), list)
        ):
            msg = "the file of templates has another format"
            raise ValueError(msg)
        found = document["templates"]
        rows = [
            (row[0], row[1], row[2])
            for row in found
            if isinstance(row, list) and list(map(type, row)) == [str, str, int]
        ]
        return rows, len(found) - len(rows)

    def _write(self, rows: list[tuple[str, str, int]]) -> None:
        draft = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(draft, flags, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(orjson.dumps({"format": _FORMAT, "templates": rows}))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
