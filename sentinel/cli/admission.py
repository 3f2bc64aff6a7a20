"""`sentinel admission`: the webhook that puts the sidecar into pods as they are made."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

from sentinel.cli.wrapping import tell
from sentinel.runtime.lean_imports import lean_imports
from sentinel.runtime.loop import run_to_end
from sentinel.runtime.printable import printable

with lean_imports():
    from sentinel.app.admission.config import load_admission
    from sentinel.app.admission.serve import serve_admission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Answers an API server's AdmissionReviews over HTTPS, counts pods that lack their sidecar, and keeps its own"
        " certificate where nobody else does. Runs until SIGTERM or SIGINT."
    )
    parser.add_argument(
        "--config", type=Path, metavar="PATH", help="YAML file, or a folder of them"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the configuration, ask nobody, and end: 0 right, 1 faults, 3 cannot be read",
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="write addresses and process id there, as one line of JSON, once everything runs",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run to the end; 0 after a drain, or when a check found no fault."""
    if args.ready_file is not None and not args.ready_file.absolute().parent.is_dir():
        # Before anything runs, and by the name that was given.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(args.ready_file))
    loaded = load_admission(args.config, environment=os.environ)
    if args.check:
        for warning in loaded.warnings:
            tell(f"warning: {printable(str(warning))}", file=sys.stderr)
        print("ok")
        return 0
    run_to_end(serve_admission(loaded, path=args.config, ready_file=args.ready_file))
    return 0
