"""What every backfill says, and the store that it opens."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.cli.baseline.report import instant_told
from sentinel.cli.wrapping import next_step, tell
from sentinel.errors import StoreLockedError
from sentinel.pipeline.backfill import BackfillSummary
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.connection import DirectoryLock

DONE, WRONG, USAGE, CANNOT_TELL = 0, 1, 2, 3
AFTER = "Stored. Start the sidecar; it fits at once."
AFTER_LATEST = "Within the hour it judges from its first window on: the last ones are kept as it will see them."
_MEND = "stop the sidecar, backfill, and start it again"
AFTER_DRY_RUN = "Dry run: all of it can be stored, and nothing was."


def close(args: argparse.Namespace, store: StoreConfig, *, judges_at_once: bool = False) -> None:
    """Say for people how it ended, and what is typed next; `judges_at_once` where the last windows are kept."""
    if args.output != "table":
        return
    if args.dry_run:
        tell(AFTER_DRY_RUN)
        tell("Next: the same without --dry-run.")
        return
    tell(AFTER)
    if judges_at_once:
        tell(AFTER_LATEST)
    options = "" if args.config is None else f" --config {shlex.quote(str(args.config))}"
    # As that variable it is taken over what a configuration says, so that the past is not given to a folder that nobody reads.
    is_elsewhere = args.store is not None
    folder = f"SENTINEL_STORE__DIRECTORY={shlex.quote(store.directory)} " if is_elsewhere else ""
    next_step(f"{folder}sentinel run{options}")


def say(sentence: str) -> None:
    """On standard error, as this command's."""
    tell(f"sentinel baseline: {printable(sentence)}", file=sys.stderr)


def is_used(config: StoreConfig) -> bool:
    """Whether another process uses the store, with a sentence said: reading may take long, and would be for nothing."""
    folder = Path(config.directory)
    if not folder.is_dir():
        return False
    lock = DirectoryLock(folder)
    try:
        lock.acquire()
    except StoreLockedError as error:
        say(f"{error}; {_MEND}")
        return True
    finally:
        lock.release()
    return False


@contextmanager
def opened_store(config: StoreConfig) -> Iterator[SqliteStore | None]:
    """The store, or None with a sentence said when a sidecar uses it."""
    logger = logging.getLogger("sentinel.baseline")
    surroundings = Surroundings(clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logger)
    store = SqliteStore(config, surroundings)
    try:
        store.open()
    except StoreLockedError as error:
        say(f"{error}; {_MEND}")
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def told_of(summary: BackfillSummary, *, dry_run: bool) -> dict[str, Any]:
    """The summary as it is reported."""
    told = asdict(summary)
    start_ns, end_ns = told.pop("start_ns"), told.pop("end_ns")
    return {
        "dry_run": dry_run,
        **told,
        "start": instant_told(start_ns) if end_ns else None,
        "end": instant_told(end_ns) if end_ns else None,
    }
