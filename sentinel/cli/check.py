"""`sentinel check config|ready|rules`: is the configuration right; is the sidecar ready, and what is reachable; are rules.

`check config` loads with the code that starts the sidecar, so what it accepts is what starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.app.config import SentinelConfig, load_config
from sentinel.cli.asking import add_address
from sentinel.cli.check_ready import run_ready
from sentinel.cli.check_rules import add_rules_arguments
from sentinel.cli.options import add_output
from sentinel.cli.wrapping import next_step, tell
from sentinel.errors import ConfigError, ConfigUnreadableError
from sentinel.runtime.config.loader import Loaded
from sentinel.runtime.config.render import effective_digest
from sentinel.runtime.printable import printable

_FINE, _WRONG, _UNKNOWN = 0, 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `check` and what can be checked."""
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
        help="ask a running sidecar whether it is ready, or look what of a configuration is reachable",
        description=(
            "Without --config, or with --url, the running sidecar is asked: 0 ready, 1 not ready, 3 not reachable. With --config"
            " everything that the configuration names is looked at from here, whether a sidecar runs or not: ports, store, disk,"
            " targets of scrapers, destinations. Each is told with the reason and what to do: 0 nothing fails, 1 something does,"
            " 3 the configuration cannot be read."
        ),
    )
    add_address(ready, config_help="look at what this configuration names, and ask its sidecar")
    add_output(ready, "table", "json")
    ready.set_defaults(run=run_ready)

    add_rules_arguments(
        what.add_parser(
            "rules",
            help="check files of Prometheus rules against the metrics that there are",
            description=(
                "What promtool check rules cannot know: whether the metrics of Sentinel, Kong and the reference ledger that rules ask"
                " for exist, whether each alert says who must look (severity) and what to do (summary, description, a runbook of its"
                " name). Other names are noted. Exit codes: 0 no fault, 1 faults, 2 usage, 3 cannot be read."
            ),
        )
    )


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
                tell(printable(str(problem)))
            count = len(error.problems)
            print(f"{count} fault{'s' if count > 1 else ''}.")
        return code
    if args.output == "json":
        print(json.dumps(_accepted(loaded), indent=2))
        return _FINE
    for warning in loaded.warnings:
        tell(f"warning: {printable(str(warning))}")
    where = ", ".join(str(file) for file in loaded.files) or "no file, the defaults"
    count = len(loaded.origins)
    tell(
        f"The configuration is right: {printable(where)};"
        f" {count} setting{'' if count == 1 else 's'} given, mode {loaded.config.mode}."
    )
    if args.path is None:
        next_step("sentinel run")
    else:
        next_step(f"sentinel check ready --config {shlex.quote(str(args.path))}")
    return _FINE


def _accepted(loaded: Loaded[SentinelConfig]) -> dict[str, Any]:
    return {
        "ok": True,
        "faults": [],
        "warnings": [asdict(problem) for problem in loaded.warnings],
        "files": [str(file) for file in loaded.files],
        "digest": effective_digest(loaded.config),
    }
