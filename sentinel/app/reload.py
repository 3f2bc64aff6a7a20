"""Hot reload: looks at the content of the configuration, takes what is right, keeps the last good otherwise.

Content is compared, not time stamps, because a ConfigMap changes by a switched link. A configuration that cannot
be loaded changes nothing, nor does one that became empty or lost its last destination without a word: that is a file
half written far more often than a wish. One that can is taken at once, but for settings that need a restart: those
are named in the log and in health until the restart.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sentinel.app.config import Mode, SentinelConfig, load_config
from sentinel.app.program import Program
from sentinel.core.redact import put_in_force
from sentinel.errors import ConfigError, SentinelError
from sentinel.runtime.component import Health, HealthRecord, HealthStatus
from sentinel.runtime.config.loader import Loaded, changed
from sentinel.runtime.config.render import differences, effective_digest
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.log_bound import ALWAYS_WRITTEN
from sentinel.runtime.logging import configure_logging
from sentinel.runtime.tasks import TaskGroup

_LOOK_EVERY_S = 2.0
_DESTINATION_PATHS = ("senders.webhooks", "senders.alertmanager.urls")


class Reloader:
    """Watches one configuration for one application."""

    def __init__(
        self, loaded: Loaded[SentinelConfig], path: Path | None, application: Program
    ) -> None:
        self._loaded = loaded
        self._asked = asyncio.Event()
        self._looking = asyncio.Lock()
        self._started_with = loaded.config
        self._needs_restart: tuple[str, ...] = ()
        self._path = path
        self._application = application
        surroundings = application.surroundings
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._refused = ""

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "app.reload"

    async def start(self) -> None:
        """Watch from now on."""
        self._taken()
        if self._path is not None:
            self._tasks.spawn("watch", self._watch)
        self._tasks.spawn("asked", self._answer)

    async def stop(self) -> None:
        """Watch no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded while the last good configuration is kept, or a restart is needed."""
        failing = self._tasks.failing
        if failing:
            return Health(
                status=HealthStatus.DEGRADED,
                sentence=f"Crashed and restarting: {', '.join(failing.values())}",
                since_ns=self._health.current.since_ns,
            )
        return self._health.current

    def look_now(self) -> None:
        """Look at once rather than at the next turn, and say what came of it; for SIGHUP. Returns at once."""
        self._asked.set()

    async def look(self) -> bool:
        """Look once; True when another configuration took effect."""
        async with self._looking:
            is_changed = await asyncio.to_thread(changed, self._loaded, self._path, os.environ)
            if not is_changed:
                if self._refused:
                    self._surroundings.logger.info(
                        "Configuration is right again, as it was before the fault"
                    )
                    self._taken()
                return False
            try:
                loaded = await asyncio.to_thread(load_config, self._path, environment=os.environ)
                if why := emptied(self._loaded, loaded):
                    self._refuse(why, why)
                    return False
                await self._take(loaded)
            except ConfigError as error:
                count = len(error.problems)
                self._refuse(f"has {count} fault{'s' if count > 1 else ''}", str(error))
                return False
            except (SentinelError, OSError, ValueError) as error:
                # Looked at again in a moment, because what is loaded still differs.
                self._refuse("cannot be taken now", str(error))
                return False
            return True

    async def _watch(self) -> None:
        while True:
            await self._surroundings.clock.sleep(_LOOK_EVERY_S)
            await self.look()

    async def _answer(self) -> None:
        """Every look that was asked for ends in a line: a person waits for it."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            took = await self.look()
            if self._refused:
                self._surroundings.logger.warning(
                    "Asked to look at the configuration: refused, the last good one is kept",
                    extra={"faults": self._refused, **ALWAYS_WRITTEN},
                )
            elif not took:
                self._surroundings.logger.info(
                    "Asked to look at the configuration: it has not changed",
                    extra={"path": "none, the defaults" if self._path is None else self._path},
                )

    def _refuse(self, why: str, faults: str) -> None:
        if faults == self._refused:
            return
        self._refused = faults
        self._flow.received(1, signal="changes")
        self._flow.error(FlowStage.TAKE, FlowReason.MALFORMED)
        self._flow.dropped(FlowReason.MALFORMED)
        metrics = self._surroundings.metrics
        metrics.set("sentinel_config_last_reload_success", 0)
        metrics.count("sentinel_config_reloads_total", result="refused")
        self._health.degraded(f"The changed configuration {why}; the last good one is kept")
        self._surroundings.logger.error(
            "Changed configuration refused, the last good one is kept", extra={"faults": faults}
        )

    async def _take(self, loaded: Loaded[SentinelConfig]) -> None:
        application, old = self._application, self._application.config
        self._flow.received(1, signal="changes")
        found = differences(old, loaded.config)
        paths = [one.path for one in found if not one.restart]
        digest = effective_digest(loaded.config)
        await application.adopt(loaded.config, paths=paths, digest=digest)
        if any(path.startswith("redact") for path in paths):
            put_in_force(loaded.config.redact.policy())
        if any(path.startswith("logging") for path in paths):
            configure_logging(loaded.config.logging)
        self._loaded = loaded
        # Against what runs, not against the last file: a restart that was needed before still is.
        self._needs_restart = tuple(
            one.path for one in differences(self._started_with, loaded.config) if one.restart
        )
        self._taken()
        self._surroundings.metrics.count("sentinel_config_reloads_total", result="taken")
        self._flow.sent(1, signal="changes")
        told = {"changed": ", ".join(paths) or "nothing that is in effect"}
        if self._needs_restart:
            told["needs_restart"] = ", ".join(self._needs_restart)
        self._surroundings.logger.info("Changed configuration taken", extra=told)

    def _taken(self) -> None:
        self._refused = ""
        metrics = self._surroundings.metrics
        metrics.set("sentinel_config_last_reload_success", 1)
        metrics.set(
            "sentinel_config_last_reload_success_timestamp_seconds",
            self._surroundings.clock.now_ns() / 1e9,
        )
        if self._needs_restart:
            self._health.degraded(f"A restart is needed for {', '.join(self._needs_restart)}")
        else:
            self._health.ok("In effect")


def emptied(old: Loaded[SentinelConfig], new: Loaded[SentinelConfig]) -> str:
    """Why a changed configuration is probably not meant, as the end of a sentence; "" when it may be taken.

    A file that is truncated and then written, a template that rendered nothing, a volume that is not there yet: each
    reads as a right configuration that sends no page. Who means it writes it down.
    """
    if _is_written(old) and not _is_written(new):
        return "is empty"
    if (
        old.config.mode is Mode.LIVE
        and new.config.mode is Mode.LIVE
        and new.config.senders.is_empty
        and not old.config.senders.is_empty
        and not any(path in new.origins for path in _DESTINATION_PATHS)
    ):
        return (
            "takes away every destination of pages"
            " (if that is meant, write mode: shadow, or senders: {webhooks: []})"
        )
    return ""


def _is_written(loaded: Loaded[SentinelConfig]) -> bool:
    """Whether a file says anything at all."""
    return any(origin.file for origin in loaded.origins.values())
