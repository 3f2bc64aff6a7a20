"""The defaults in place of a configuration that cannot be taken, until it can: for injected sidecars.

A container that does not run makes its whole pod unready, which takes the application out of its Service. So a sidecar whose
ConfigMap is missing or wrong runs all the same, pages nobody, and says so. When a right one is there the program begins anew
in the same process, so that the container goes on running.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sentinel.app.config import SentinelConfig, load_config
from sentinel.errors import ConfigError
from sentinel.runtime.config.loader import Loaded

_LOOK_EVERY_S = 2.0
_NEED_MORE = ("SENTINEL_ROLE", "SENTINEL_REPLICAS", "SENTINEL_REPLICA_NAME")
"""Overrides that ask for settings which the defaults do not have, or refuse them."""
_PAGES = "SENTINEL_SENDERS__"
"""Destinations given by override: what stands in for a refused configuration has none, or a refused `both` would page all the same."""


def load_or_defaults(
    path: Path | None, environment: Mapping[str, str]
) -> tuple[Loaded[SentinelConfig], ConfigError | None]:
    """The configuration, or the defaults and what is wrong with it; ConfigError when the overrides alone are wrong."""
    try:
        return load_config(path, environment=environment), None
    except ConfigError as refused:
        kept = {
            name: text
            for name, text in environment.items()
            if name not in _NEED_MORE and not name.startswith(_PAGES)
        }
        return load_config(None, environment=kept), refused


async def until_right(path: Path | None) -> None:
    """Return when the configuration can be taken."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            await asyncio.to_thread(load_config, path, environment=os.environ)
        except ConfigError:
            continue
        return


def begin_anew() -> None:
    """Run this program again in this process, from its start; does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # itself, as it was called
