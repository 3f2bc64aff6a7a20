"""`sentinel check config|ready`: is the configuration right, is the running sidecar ready.

`check config` loads with the code that starts the sidecar, so what it accepts is what starts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.app.config import SentinelConfig, load_config
from sentinel.cli.asking import add_address, address_of, get
from sentinel.cli.options import add_output
from sentinel.errors import ConfigError, ConfigUnreadableError, UnreachableError
from sentinel.runtime.config_loader import Loaded
from sentinel.runtime.config_render import effective_digest
from sentinel.runtime.config_text import printable

_FINE, _WRONG, _UNKNOWN = 0, 1, 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` and what can be checked."""
    parser = subparsers.add_parser("check", help="check the configuration, or a running sidecar")
    what = parser.add_subparsers(title="what to check", metavar="WHAT", required=True)

    config = what.add_parser(
        "config",
        help="check a configuration as the start would, all faults at once",
        description="Exit codes: 0 right, 1 faults, 2 usage, 3 cannot be read.",
    )
    config.add_argument(
        "path", nargs="?", type=Path, help="YAML file, or a folder of them; absent, the defaults"
    )
    add_output(config, "table", "json")
    config.set_defaults(run=run_config)

    ready = what.add_parser(
        "ready",
        help="ask a running sidecar whether it is ready",
        description="Exit codes: 0 ready, 1 not ready, 2 usage, 3 not reachable.",
    )
    add_address(ready)
    add_output(ready, "table", "json")
    ready.set_defaults(run=run_ready)


def run_config(args: argparse.Namespace) -> int:
    """Check the configuration at `args.path`."""
    try:
        loaded = load_config(args.path, environment=os.environ)
    except ConfigError as error:
        code = _UNKNOWN if isinstance(error, ConfigUnreadableError) else _WRONG
        if args.output == "json":
            faults = [asdict(problem) for problem in error.problems]
            print(json.dumps({"ok": False, "faults": faults, "warnings": []}, indent=2))
        else:
            for problem in error.problems:
                print(printable(str(problem)))
            count = len(error.problems)
            print(f"{count} fault{'s' if count > 1 else ''}.")
        return code
    if args.output == "json":
        print(json.dumps(_accepted(loaded), indent=2))
        return _FINE
    for warning in loaded.warnings:
        print(f"warning: {printable(str(warning))}")
    where = ", ".join(str(file) for file in loaded.files) or "no file, the defaults"
    count = len(loaded.origins)
    print(
        f"The configuration is right: {printable(where)};"
        f" {count} setting{'' if count == 1 else 's'} given, mode {loaded.config.mode}."
    )
    return _FINE


def _accepted(loaded: Loaded[SentinelConfig]) -> dict[str, Any]:
    return {
        "ok": True,
        "faults": [],
        "warnings": [asdict(problem) for problem in loaded.warnings],
        "files": [str(file) for file in loaded.files],
        "digest": effective_digest(loaded.config),
    }


def run_ready(args: argparse.Namespace) -> int:
    """Ask the sidecar at `args.url`."""
    try:
        url = f"{address_of(args)}/-/ready"
        status, body = get(url, timeout_s=args.timeout)
    except UnreachableError as error:
        print(f"sentinel check ready: {error}", file=sys.stderr)
        return _UNKNOWN
    if status not in (200, 503):
        print(
            f"sentinel check ready: {url} answered {status}, as a sidecar does not",
            file=sys.stderr,
        )
        return _UNKNOWN
    ready = status == 200
    detail = _detail(body)
    if args.output == "json":
        print(json.dumps({"ready": ready, "detail": detail}, indent=2))
    else:
        print("Ready." if ready else "Not ready.")
        for line in _component_lines(detail):
            print(line)
    return _FINE if ready else _WRONG


def _detail(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace").strip()


def _component_lines(detail: object) -> list[str]:
    """A line a component, where the reply lists them."""
    components = detail.get("components") if isinstance(detail, Mapping) else None
    if not isinstance(components, Mapping):
        return []
    return [
        printable(f"{name}: {health.get('status', '?')}: {health.get('sentence', '')}")
        for name, health in components.items()
        if isinstance(health, Mapping)
    ]
