"""The `sentinel` command: finds the command's own file, and turns the end of it into an exit code.

Exit codes: 0 done, 1 the thing asked about is wrong, 2 usage, 3 could not tell (unreachable, unreadable).
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

# numpy's BLAS would start threads that spin; it reads this once, when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sentinel import __version__
from sentinel.cli.options import reason_of
from sentinel.cli.wrapping import tell
from sentinel.errors import (
    ConfigError,
    ConfigUnreadableError,
    RetryableError,
    SentinelError,
    StoreError,
)
from sentinel.runtime.nearest import hint_for
from sentinel.runtime.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Where a command is, and what the list of commands says of it.

    Attributes:
        file: the module; it has `add_arguments(parser)`, which names the function that runs the command.
        help: a line for the list, which therefore needs none of the files.
    """

    file: str
    help: str


COMMANDS = {
    "run": Command(file="sentinel.cli.run", help="run the sidecar"),
    "demo": Command(
        file="sentinel.cli.demo",
        help="see a real pipeline run, break and page; some 80 seconds, on a busy machine over two minutes",
    ),
    "discover": Command(
        file="sentinel.cli.discover",
        help="look at what runs already, and print a configuration that watches it",
    ),
    "preview": Command(
        file="sentinel.cli.preview.command",
        help="print the pages that would have gone out for series of the past",
    ),
    "check": Command(
        file="sentinel.cli.check", help="check the configuration, or a running sidecar"
    ),
    "config": Command(file="sentinel.cli.config", help="show the configuration, or its schema"),
    "baseline": Command(
        file="sentinel.cli.baseline.command",
        help="bring past data into a store, show what it holds, say what is normal",
    ),
    "incidents": Command(
        file="sentinel.cli.incidents",
        help="list incidents of a running sidecar, or show one whole",
    ),
    "inject": Command(
        file="sentinel.cli.inject", help="put the sidecar into Kubernetes manifests"
    ),
    "admission": Command(
        file="sentinel.cli.admission",
        help="put the sidecar into pods as they are made: the webhook of a cluster",
    ),
    "completion": Command(
        file="sentinel.cli.completion", help="print a completion script for bash, zsh or fish"
    ),
}
"""Every command, in the order of the list; a command's file, and what that imports, is loaded when the command is named."""

EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3


class _CommandFile(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...


class Parser(argparse.ArgumentParser):
    """Says after a fault of usage where to read on, and which command was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Usage, one clear line, the way to the help; exit code 2."""
        self.print_usage(sys.stderr)
        mistyped = re.search(r"argument COMMAND: invalid choice: '([^']{1,64})'", message)
        if mistyped:
            told = f"{printable(mistyped[1])} is not a command"
            message = told + hint_for(mistyped[1], COMMANDS)
        tell(f"{self.prog}: {printable(message)}", file=sys.stderr)
        self.exit(EXIT_USAGE, f"See {self.prog} --help.\n")


def build_parser(named: Collection[str] = COMMANDS.keys()) -> argparse.ArgumentParser:
    """The grammar: whole, or with the arguments of the `named` commands alone and the others in the list only."""
    parser: argparse.ArgumentParser = Parser(
        prog="sentinel",
        description="Learns what is normal for a pipeline, and pages a person when it is not.",
        epilog="Start with `sentinel demo`; then `sentinel check config` and `sentinel run`.",
    )
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command"
    )
    for name, command in COMMANDS.items():
        grammar = subparsers.add_parser(name, help=command.help)
        if name in named:
            file = cast(_CommandFile, importlib.import_module(command.file))
            file.add_arguments(grammar)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what went wrong becomes one clear line and an exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = [one for one in arguments if not one.startswith("-")][:1]
    parser = build_parser(named)
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
            tell(printable(str(problem)), file=sys.stderr)
        return EXIT_UNKNOWN if isinstance(error, ConfigUnreadableError) else EXIT_WRONG
    except (RetryableError, StoreError) as error:
        tell(f"sentinel {arguments[0]}: {error}", file=sys.stderr)
        return EXIT_UNKNOWN
    except OSError as error:
        # An address that cannot be bound is named in the text, a file beside it.
        told = f"{error.filename}: {reason_of(error)}" if error.filename else error.strerror
        tell(f"sentinel {arguments[0]}: {printable(told or str(error))}", file=sys.stderr)
        return EXIT_UNKNOWN
    except SentinelError as error:
        tell(f"sentinel {arguments[0]}: {error}", file=sys.stderr)
        return EXIT_WRONG
