"""`sentinel run`: the sidecar itself."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

from sentinel.runtime.lean_imports import lean_imports
from sentinel.runtime.loop import run_to_end

with lean_imports():
    from sentinel.app.config import load_config
    from sentinel.app.serve import serve
    from sentinel.app.stand_in import begin_anew, load_or_defaults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Runs until SIGTERM or SIGINT, which drain. Without a configuration it listens on loopback with"
        " embedded defaults and records incidents without sending pages."
    )
    parser.add_argument(
        "--config", type=Path, metavar="PATH", help="YAML file, or a folder of them"
    )
    parser.add_argument(
        "--or-defaults",
        action="store_true",
        help="where that is not there or has a fault, say so and run on the defaults until it is right: an injected sidecar that"
        " does not run would take its pod out of service",
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="write addresses and process id there, as one line of JSON, once everything runs",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run to the end; 0 after a drain."""
    if args.ready_file is not None and not args.ready_file.absolute().parent.is_dir():
        # Before anything runs, and by the name that was given.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(args.ready_file))
    if not args.or_defaults:
        loaded = load_config(args.config, environment=os.environ)
        run_to_end(serve(loaded, path=args.config, ready_file=args.ready_file))
        return 0
    loaded, refused = load_or_defaults(args.config, os.environ)
    if run_to_end(serve(loaded, path=args.config, ready_file=args.ready_file, refused=refused)):
        begin_anew()
    return 0
