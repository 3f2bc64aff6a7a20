"""The `sentinel` command: finds the command's own file, and turns the end of it into an exit code.

Exit codes: 0 done, 1 the thing asked about is wrong, 2 usage, 3 could not tell (unreachable, unreadable).
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, cast

# numpy's BLAS would start threads that spin; it reads this once, when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sentinel import __version__
from sentinel.cli.options import reason_of
from sentinel.errors import (
    ConfigError,
    ConfigUnreadableError,
    RetryableError,
    SentinelError,
    StoreError,
)
from sentinel.runtime.config_text import printable
from sentinel.runtime.nearest import hint_for

COMMANDS = {
    "run": "sentinel.cli.run",
    "demo": "sentinel.cli.demo",
    "discover": "sentinel.cli.discover",
    "preview": "sentinel.cli.preview",
    "check": "sentinel.cli.check",
    "config": "sentinel.cli.config",
    "baseline": "sentinel.cli.baseline",
    "incidents": "sentinel.cli.incidents",
    "inject": "sentinel.cli.inject",
}
"""Every command and the file it lives in; a file is imported only when its command, or help, is asked for."""

EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3


class _CommandFile(Protocol):
    def add_parser(
        self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]
    ) -> None: ...


class Parser(argparse.ArgumentParser):
    """Says after a fault of usage where to read on, and which command was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Usage, one clear line, the way to the help; exit code 2."""
        self.print_usage(sys.stderr)
        mistyped = re.search(r"argument COMMAND: invalid choice: '([^']{1,64})'", message)
        if mistyped:
            told = f"{printable(mistyped[1])} is not a command"
            message = told + hint_for(mistyped[1], COMMANDS)
        self.exit(EXIT_USAGE, f"{self.prog}: {printable(message)}\nSee {self.prog} --help.\n")


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The whole grammar, or that of some commands only."""
    parser: argparse.ArgumentParser = Parser(
        prog="sentinel",
        description="Learns what is normal for a pipeline, and pages a person when it is not.",
        epilog="Start with `sentinel demo`; then `sentinel check config` and `sentinel run`.",
    )
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command"
    )
    for name in commands:
        command = cast(_CommandFile, importlib.import_module(COMMANDS[name]))
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what went wrong becomes one clear line and an exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = arguments[0] if arguments and arguments[0] in COMMANDS else None
    parser = build_parser((named,) if named else tuple(COMMANDS))
    if not arguments:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    args = parser.parse_args(arguments)
    run = cast(Callable[[argparse.Namespace], int], args.run)
    try:
        return run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # A reader that closes the pipe early (`sentinel preview | head`) is not an error of ours; what
        # the interpreter would still flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ConfigError as error:
        count = len(error.problems)
        print(f"The configuration has {count} fault{'s' if count > 1 else ''}:", file=sys.stderr)
        for problem in error.problems:
            # A key or a value may hold what moves a terminal's cursor.
            print(printable(str(problem)), file=sys.stderr)
        return EXIT_UNKNOWN if isinstance(error, ConfigUnreadableError) else EXIT_WRONG
    except (RetryableError, StoreError) as error:
        print(f"sentinel {arguments[0]}: {error}", file=sys.stderr)
        return EXIT_UNKNOWN
    except OSError as error:
        # An address that cannot be bound is named in the text, a file beside it.
        told = f"{error.filename}: {reason_of(error)}" if error.filename else error.strerror
        print(f"sentinel {arguments[0]}: {printable(told or str(error))}", file=sys.stderr)
        return EXIT_UNKNOWN
    except SentinelError as error:
        print(f"sentinel {arguments[0]}: {error}", file=sys.stderr)
        return EXIT_WRONG
