"""Runs the injector until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from sentinel import __version__
from sentinel.admission.config import AdmissionConfig
from sentinel.app.admission.injector import Injector
from sentinel.app.admission.reload import AdmissionReloader
from sentinel.app.process import started, stop_on_signals, write_whole
from sentinel.runtime.catalogue import INJECTOR
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.config.loader import Loaded
from sentinel.runtime.logging import configure_logging
from sentinel.runtime.memory import limit_kept_memory
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.tasks import TaskGroup

_HEALTH_EVERY_S = 5.0
_SWITCH_S = 0.0005
_GARBAGE_THRESHOLDS = (5_000, 20, 50)


async def serve_admission(
    loaded: Loaded[AdmissionConfig], *, path: Path | None, ready_file: Path | None
) -> None:
    """Start, say where, wait for a signal, be not ready for a while, drain.

    Args:
        loaded: the configuration.
        path: where it came from, to be followed.
        ready_file: where the addresses are written as one line of JSON once everything runs.

    Raises:
        SentinelError, OSError: something could not be started; what had started was stopped.
    """
    limit_kept_memory()
    # A large review is worked on in a thread, and after each of its calls the loop waits that long for its turn: at Python's
    # usual 5 ms four calls for a small review took 20.
    sys.setswitchinterval(_SWITCH_S)
    metrics = Metrics(INJECTOR)
    logger = configure_logging(
        loaded.config.logging,
        on_withheld=lambda level: metrics.count("sentinel_log_lines_withheld_total", level=level),
    )
    for warning in loaded.warnings:
        logger.warning("Configuration warning", extra={"warning": str(warning)})
    surroundings = Surroundings(clock=SystemClock(), metrics=metrics, logger=logger)
    injector = Injector(loaded.config, surroundings, os.environ)
    reloader = AdmissionReloader(loaded, path, injector, os.environ)
    injector.lifecycle.add(reloader)
    tasks = TaskGroup("app.admission", metrics=metrics, logger=logger)
    stopping = stop_on_signals(on_hangup=reloader.look_now)
    logger.info(
        "Starting the injector",
        extra={"version": __version__, "config": path or "none, the defaults"},
    )
    if not await started(injector.start(), stopping):
        logger.info("Told to stop before everything had started")
        return
    try:
        # What is there now stays: it is looked through no more. What a review makes is gone with it and forms no rings, so that a
        # look at each few hundred of its parts finds nothing, and one at all parts of a large one stops everything meanwhile.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        tasks.spawn("health", lambda: _report_health(injector))
        addresses = injector.addresses()
        logger.info("The injector is ready", extra=addresses)
        if ready_file is not None:
            write_whole(ready_file, json.dumps({"pid": os.getpid(), **addresses}) + "\n")
        await stopping.wait()
        logger.info("Told to stop: reviews are answered until the Service knows")
    finally:
        await tasks.close()
        await injector.stop()
        logger.info("Stopped")


async def _report_health(injector: Injector) -> None:
    while True:
        injector.lifecycle.health()
        await asyncio.sleep(_HEALTH_EVERY_S)
