"""What commands have in common: the form of the output, and the words for what the system refused."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TextIO

from sentinel.runtime.printable import printable


def add_output(parser: argparse.ArgumentParser, *forms: str) -> None:
    """The option that says who the output is for; the first form is the default."""
    parser.add_argument(
        "-o",
        "--output",
        choices=forms,
        default=forms[0],
        help="for people, or for programs (default: %(default)s)",
    )


def terminal_columns(stream: TextIO | None = None) -> int | None:
    """Width of the terminal that a stream is, or what COLUMNS says; None when neither is there, as in a file: then nothing is cut.

    Without a stream it is standard output that is looked at.
    """
    if "COLUMNS" not in os.environ and not (sys.stdout if stream is None else stream).isatty():
        return None
    return shutil.get_terminal_size().columns


def unreadable(path: Path, error: OSError) -> str:
    """One sentence on a file or folder that cannot be read.

    >>> unreadable(Path("a.csv"), FileNotFoundError(2, "No such file or directory"))
    'a.csv cannot be read: no such file or directory'
    """
    return f"{printable(str(path))} cannot be read: {reason_of(error)}"


def reason_of(error: OSError) -> str:
    """Why the system refused, without the number and without what a library wraps around it.

    >>> reason_of(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9640)"))
    'connection refused'
    """
    if error.errno is None or error.errno <= 0:
        return printable(error.strerror or str(error)) or type(error).__name__
    reason = os.strerror(error.errno)
    return reason[:1].lower() + reason[1:]
