"""Runs the program until it is told to stop: SIGTERM and SIGINT drain, a second one hurries.

SIGHUP asks it to look at the configuration now.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from sentinel import __version__
from sentinel.app.config import SentinelConfig
from sentinel.app.making import make_program, metrics_of
from sentinel.app.process import started, stop_on_signals, write_whole
from sentinel.app.program import Program
from sentinel.app.reload import Reloader
from sentinel.app.stand_in import until_right
from sentinel.errors import ConfigError
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.config.loader import Loaded
from sentinel.runtime.lean_imports import import_what_comes_late
from sentinel.runtime.logging import configure_logging
from sentinel.runtime.memory import limit_kept_memory
from sentinel.runtime.tasks import TaskGroup

_HEALTH_EVERY_S = 5.0


async def serve(
    loaded: Loaded[SentinelConfig],
    *,
    path: Path | None,
    ready_file: Path | None,
    refused: ConfigError | None = None,
) -> bool:
    """Start, say where, wait for a signal, drain; True when it ended because the program should begin anew.

    Args:
        loaded: the configuration.
        path: where it came from, to be watched.
        ready_file: where the addresses are written as one line of JSON once everything runs.
        refused: what was wrong with the configuration there, when `loaded` stands in for it until it is right.

    Raises:
        SentinelError, OSError: something could not be started; what had started was stopped.
    """
    limit_kept_memory()
    import_what_comes_late()
    metrics = metrics_of(loaded.config)
    logger = configure_logging(
        loaded.config.logging,
        on_withheld=lambda level: metrics.count("sentinel_log_lines_withheld_total", level=level),
    )
    for warning in loaded.warnings:
        logger.warning("Configuration warning", extra={"warning": str(warning)})
    if refused is not None:
        logger.error(
            "The configuration cannot be taken, the defaults hold until it is right",
            extra={"faults": str(refused)},
        )
    application = make_program(
        loaded.config,
        clock=SystemClock(),
        logger=logger,
        metrics=metrics,
        config_path="" if path is None else str(path),
    )
    reloader = Reloader(loaded, path, application)
    application.lifecycle.add(reloader)
    tasks = TaskGroup("app.serve", metrics=application.surroundings.metrics, logger=logger)
    stopping = stop_on_signals(on_hangup=reloader.look_now)
    logger.info("Starting", extra=_told_at_start(loaded, path))
    if not await started(application.start(), stopping):
        logger.info("Told to stop before everything had started")
        return False
    can_be_taken = asyncio.Event()

    async def wait_for_a_right_one() -> None:
        await until_right(path)
        logger.info("The configuration can be taken: beginning anew")
        can_be_taken.set()
        stopping.set()

    try:
        if refused is not None:
            tasks.spawn("stand-in", wait_for_a_right_one)
        tasks.spawn("health", lambda: _report_health(application))
        addresses = application.addresses()
        logger.info("Sentinel is ready", extra={"mode": loaded.config.mode, **addresses})
        if ready_file is not None:
            write_whole(ready_file, json.dumps({"pid": os.getpid(), **addresses}) + "\n")
        await stopping.wait()
        logger.info("Draining: nothing new is accepted, what was accepted is decided and stored")
    finally:
        await tasks.close()
        await application.stop()
        logger.info("Stopped")
    return can_be_taken.is_set()


def _told_at_start(loaded: Loaded[SentinelConfig], path: Path | None) -> dict[str, object]:
    senders = loaded.config.senders
    destinations = ["alertmanager"] if senders.alertmanager.urls else []
    destinations += [f"webhook {webhook.name}" for webhook in senders.webhooks]
    return {
        "version": __version__,
        "config": "none, the defaults" if path is None else path,
        "role": loaded.config.role,
        "mode": loaded.config.mode,
        "destinations": ", ".join(destinations) or "none",
        "store": loaded.config.store.directory,
    }


async def _report_health(application: Program) -> None:
    while True:
        application.lifecycle.health()
        application.report()
        await asyncio.sleep(_HEALTH_EVERY_S)
