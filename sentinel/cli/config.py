"""`sentinel config show|schema`: what is in effect and where it was written, and what may be written."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sentinel.app.config import SentinelConfig, load_config
from sentinel.cli.options import add_output
from sentinel.cli.wrapping import tell
from sentinel.errors import ConfigError, ConfigUnreadableError
from sentinel.runtime.config.render import plain, to_yaml
from sentinel.runtime.config.schema import json_schema
from sentinel.runtime.printable import printable

_FINE, _WRONG, _UNKNOWN = 0, 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `config` and its two views."""
    what = parser.add_subparsers(title="what to show", metavar="WHAT", required=True)

    show = what.add_parser(
        "show",
        help="show every setting in effect; secrets as ***",
        description="Exit codes: 0 shown, 1 the configuration has faults, 2 usage, 3 cannot be read.",
    )
    show.add_argument(
        "path", nargs="?", type=Path, help="YAML file, or a folder of them; absent, the defaults"
    )
    show.add_argument("--origin", action="store_true", help="say where each value was written")
    add_output(show, "yaml", "json")
    show.set_defaults(run=run_show)

    schema = what.add_parser("schema", help="print the JSON Schema (2020-12) of the configuration")
    schema.set_defaults(run=run_schema)


def run_show(args: argparse.Namespace) -> int:
    """Print the configuration at `args.path` with defaults and overrides filled in."""
    try:
        loaded = load_config(args.path, environment=os.environ)
    except ConfigError as error:
        for problem in error.problems:
            tell(printable(str(problem)), file=sys.stderr)
        return _UNKNOWN if isinstance(error, ConfigUnreadableError) else _WRONG
    for warning in loaded.warnings:
        tell(f"warning: {printable(str(warning))}", file=sys.stderr)
    if args.output == "yaml":
        origins = loaded.origins if args.origin else None
        print(to_yaml(loaded.config, origins=origins), end="")
    elif args.origin:
        origin_by_path = {path: str(origin) for path, origin in loaded.origins.items()}
        print(json.dumps({"config": plain(loaded.config), "origins": origin_by_path}, indent=2))
    else:
        print(json.dumps(plain(loaded.config), indent=2))
    return _FINE


def run_schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    del args  # it has no choices
    print(json.dumps(json_schema(SentinelConfig, title="Sentinel configuration"), indent=2))
    return _FINE
