"""Follows the injector's configuration: a change by content is taken when it is right, else the last good one stays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sentinel.admission.config import AdmissionConfig
from sentinel.app.admission.config import load_admission
from sentinel.app.admission.injector import Injector
from sentinel.errors import ConfigError
from sentinel.runtime.component import Health, HealthRecord
from sentinel.runtime.config.loader import Loaded, changed
from sentinel.runtime.config.render import differences
from sentinel.runtime.logging import configure_logging
from sentinel.runtime.tasks import TaskGroup

_LOOK_EVERY_S = 2.0


class AdmissionReloader:
    """The component `admission.reload`.

    Args:
        loaded: what is in effect.
        path: where it came from; None when there was no file.
        injector: who goes by it.
        environment: its overrides.
    """

    def __init__(
        self,
        loaded: Loaded[AdmissionConfig],
        path: Path | None,
        injector: Injector,
        environment: Mapping[str, str],
    ) -> None:
        self._loaded = loaded
        self._started_with = loaded.config
        self._path = path
        self._injector = injector
        self._environment = environment
        self._surroundings = injector.surroundings
        self._health = HealthRecord(self._surroundings.clock)
        self._tasks = TaskGroup(
            self.name, metrics=self._surroundings.metrics, logger=self._surroundings.logger
        )
        self._asked = asyncio.Event()
        self._looking = asyncio.Lock()
        self._refused = ""

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.reload"

    async def start(self) -> None:
        """Watch from now on."""
        self._taken()
        self._tasks.spawn("asked", self._answer)
        if self._path is not None:
            self._tasks.spawn("watch", self._watch)

    async def stop(self) -> None:
        """Watch no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded while the last good configuration is kept, or a restart is needed."""
        return self._health.current

    def look_now(self) -> None:
        """Look at once; for SIGHUP."""
        self._asked.set()

    async def look(self) -> bool:
        """Look once; True when another configuration took effect."""
        async with self._looking:
            if not await asyncio.to_thread(changed, self._loaded, self._path, self._environment):
                if self._refused:
                    self._taken()
                return False
            try:
                loaded = await asyncio.to_thread(
                    load_admission, self._path, environment=self._environment
                )
            except ConfigError as error:
                self._refuse(str(error))
                return False
            if _is_written(self._loaded) and not _is_written(loaded):
                # Half written, or a volume that is not there yet: the built-in profiles are nobody's wish.
                self._refuse("is empty")
                return False
            self._take(loaded)
            return True

    async def _watch(self) -> None:
        while True:
            await self._surroundings.clock.sleep(_LOOK_EVERY_S)
            await self.look()

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            if not await self.look():
                told = self._refused or "it has not changed"
                self._surroundings.logger.info(
                    "Asked to look at the configuration", extra={"found": told}
                )

    def _take(self, loaded: Loaded[AdmissionConfig]) -> None:
        paths = [one.path for one in differences(self._loaded.config, loaded.config)]
        self._loaded = loaded
        self._injector.take(loaded.config)
        if any(path.startswith("logging") for path in paths):
            configure_logging(loaded.config.logging)
        self._taken()
        self._surroundings.metrics.count("sentinel_config_reloads_total", result="taken")
        self._surroundings.logger.info(
            "Changed configuration taken", extra={"changed": ", ".join(paths) or "nothing"}
        )

    def _refuse(self, faults: str) -> None:
        if faults == self._refused:
            return
        self._refused = faults
        metrics = self._surroundings.metrics
        metrics.set("sentinel_config_last_reload_success", 0)
        metrics.count("sentinel_config_reloads_total", result="refused")
        self._health.degraded("The changed configuration is refused; the last good one is kept")
        self._surroundings.logger.error(
            "Changed configuration refused, the last good one is kept", extra={"faults": faults}
        )

    def _taken(self) -> None:
        self._refused = ""
        metrics = self._surroundings.metrics
        metrics.set("sentinel_config_last_reload_success", 1)
        metrics.set(
            "sentinel_config_last_reload_success_timestamp_seconds",
            self._surroundings.clock.now_ns() / 1e9,
        )
        # Against what runs, not against the last file: a restart that was needed before still is.
        waiting = [
            one.path for one in differences(self._started_with, self._loaded.config) if one.restart
        ]
        if waiting:
            self._health.degraded(f"A restart is needed for {', '.join(waiting)}")
        else:
            self._health.ok("In effect")


def _is_written(loaded: Loaded[AdmissionConfig]) -> bool:
    """Whether a file says anything at all."""
    return any(origin.file for origin in loaded.origins.values())
